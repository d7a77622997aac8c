"""EK-FAC: against the influence function where it is exact, and dense factors."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from skorch.dataset import ValidSplit
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.scorers import EKFAC, KohLiang, get_scorer
from skinfluence.scorers._kronfluence import curvature_roots
from tests.oracles import cross_entropy
from tests.scorers.problems import binary, linear_regressor, logistic, mlp, regression
from tests.scorers.unrolled import gauss_newton, sample_gradients


@pytest.fixture
def kronfluence():
    pytest.importorskip("kronfluence")


@pytest.mark.usefixtures("kronfluence")
def test_is_the_influence_function_of_least_squares():
    X, y, *validation = regression()
    c, v = np.linspace(0.5, 1.5, len(X)), np.linspace(1, 2, len(validation[0]))
    for weights in (None, c):
        reg = linear_regressor().fit(X, y, sample_weight=weights)
        options = {"sample_weight_val": v} if weights is None else {}
        found = EKFAC(0.1, batch_size=7)(reg, X, y, *validation, **options)
        expected = KohLiang(damping=0.1)(reg, X, y, *validation, **options)
        # One factor is a number, so that their product is the Hessian, unless it is
        # weighted.
        if weights is None:
            np.testing.assert_allclose(found, expected, rtol=1e-9)
        else:
            assert np.corrcoef(found, expected)[0, 1] > 0.99


class TwoLayers(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1, bias=False))


def dense(module, X, y, c, X_val, y_val, v, damping):
    """Return the scores by factors of each layer, computed sample by sample."""
    one = torch.ones(1, dtype=torch.float64)
    X, X_val = torch.from_numpy(X), torch.from_numpy(X_val)
    y, y_val = (torch.from_numpy(part).double() for part in (y, y_val))

    def parts(x, slope):
        """Return each layer's input, with a 1 for a bias, and what its output gets."""
        hidden = module[0](x[None])
        outputs = module[2](torch.tanh(hidden))
        pulled = torch.autograd.grad(outputs.sum(), hidden)[0][0]
        entering = torch.cat([x, one]), torch.tanh(hidden)[0]
        leaving = slope * pulled, slope * one
        return [
            (a.detach().numpy(), g.numpy())
            for a, g in zip(entering, leaving, strict=True)
        ]

    logits = module(X)[:, 0].detach()
    p = torch.sigmoid(logits)
    slopes = torch.sigmoid(logits) - y
    curved = [parts(x, s) for x, s in zip(X, (c * p * (1 - p)).sqrt(), strict=True)]
    train = [parts(x, s) for x, s in zip(X, c * slopes, strict=True)]
    val_slopes = v * (torch.sigmoid(module(X_val)[:, 0].detach()) - y_val)
    val = [parts(x, s) for x, s in zip(X_val, val_slopes, strict=True)]
    scores = np.zeros(len(X))
    for k in range(2):
        inputs = np.array([sample[k][0] for sample in curved])
        slopes = np.array([sample[k][1] for sample in curved])
        _, U_A = np.linalg.eigh(inputs.T @ inputs)
        _, U_G = np.linalg.eigh(slopes.T @ slopes)
        rotated = np.einsum("no,ni->noi", slopes @ U_G, inputs @ U_A)
        Lambda = np.mean(rotated**2, axis=0)
        added = 0.1 * Lambda.mean() if damping == "auto" else damping
        query = sum(np.outer(g, a) for a, g in (sample[k] for sample in val))
        solved = U_G @ ((U_G.T @ query @ U_A) / (Lambda + added)) @ U_A.T
        scores += [np.sum(solved * np.outer(s[k][1], s[k][0])) for s in train]
    return scores / len(X)


@pytest.mark.usefixtures("kronfluence")
@pytest.mark.parametrize("damping", ["auto", 0.01])
def test_is_the_sum_over_the_layers_of_dense_factors(damping):
    X, y, X_val, y_val = binary()
    c, v = np.linspace(0.5, 1.5, len(X)), np.linspace(1, 2, len(X_val))
    clf = SGDInfluenceClassifier(
        TwoLayers,
        criterion=nn.BCEWithLogitsLoss,
        dtype="float64",
        batch_size=6,
        random_state=0,
    ).fit(X, y, sample_weight=c)
    v = torch.from_numpy(v / v.sum())
    expected = dense(clf.module_, X, y, torch.from_numpy(c), X_val, y_val, v, damping)
    # With one output the signs that are drawn cancel.
    for seed in range(2):
        found = EKFAC(damping, batch_size=5, random_state=seed)(
            clf, X, y, X_val, y_val, sample_weight_val=v.numpy()
        )
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def test_draws_from_the_gauss_newton_matrix():
    outputs = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    losses = nn.functional.cross_entropy(outputs, torch.arange(5) % 3, reduction="none")
    roots = curvature_roots(losses, outputs)
    p = outputs.detach().softmax(1)
    expected = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    torch.testing.assert_close(roots @ roots.mT, expected)


@pytest.mark.usefixtures("kronfluence")
def test_leaves_the_estimator_as_it_was():
    X, y, *validation = binary()
    clf = mlp().fit(X, y)
    before = clf.predict_proba(X)
    scores = [EKFAC(random_state=1)(clf, X, y, *validation) for _ in range(2)]
    np.testing.assert_array_equal(*scores)
    np.testing.assert_array_equal(clf.predict_proba(X), before)
    assert all(parameter.requires_grad for parameter in clf.module_.parameters())


@pytest.mark.usefixtures("kronfluence")
def test_is_near_the_exact_gauss_newton_matrix():
    X, y, X_val, y_val = binary()
    clf = mlp(max_epochs=20).fit(X, y)
    gradients, query = (
        sample_gradients(clf.module_, *part, cross_entropy)
        for part in ((X, y), (X_val, y_val))
    )
    matrix = gauss_newton(clf.module_, X, y, cross_entropy).mean(0)
    solved = np.linalg.solve(matrix + 0.1 * np.eye(len(matrix)), query.mean(0))
    found = EKFAC(0.1, random_state=0)(clf, X, y, X_val, y_val)
    assert np.corrcoef(found, gradients @ solved)[0, 1] > 0.9


@pytest.mark.usefixtures("kronfluence")
def test_what_was_not_trained_on_has_none():
    X, y, *validation = binary()
    split = ValidSplit([(np.arange(5, 24), np.arange(5))])
    scores = EKFAC(random_state=0)(mlp(train_split=split).fit(X, y), X, y, *validation)
    assert (scores[:5] == 0).all()
    assert (scores[5:] != 0).all()


@pytest.mark.usefixtures("kronfluence")
def test_refuses_what_it_cannot_factorize():
    X, y, *validation = binary()
    bare = SGDInfluenceClassifier(
        nn.Linear, module__in_features=3, module__out_features=2, random_state=0
    ).fit(X, y)
    with pytest.raises(ValueError, match="Put a single layer into a Sequential"):
        EKFAC()(bare, X, y, *validation)
    clf = mlp().fit(X, y).partial_fit(X[::-1].copy(), y[::-1].copy())
    with pytest.raises(ValueError, match="must be trained on one data set for the sco"):
        EKFAC()(clf, X, y, *validation)


def test_says_what_is_lacking(monkeypatch):
    with pytest.raises(TypeError, match="for the scorer 'ekfac', got Logistic"):
        EKFAC().check_estimator(LogisticRegression())
    monkeypatch.setattr("skinfluence.scorers._ekfac.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="needs the package kronfluence, which is no"):
        get_scorer("ekfac").check_estimator(logistic())
