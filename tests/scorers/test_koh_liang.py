"""KohLiang: against dense solves by hand, and against leaving samples out."""

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn.linear_model import LogisticRegression
from skorch.dataset import ValidSplit
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators import SmoothHinge
from skinfluence.exceptions import (
    DivergedTrainingError,
    DivergenceWarning,
    IndefiniteHessianError,
    NotRecordedError,
    SolverConvergenceWarning,
)
from skinfluence.scorers import KohLiang, get_scorer
from tests.scorers.problems import binary, logistic, mlp


def by_hand(
    clf, losses_of, X, y, X_val, y_val, *, decay, damping=0.0, c=None, v=None
) -> tuple[np.ndarray, np.ndarray]:
    """Return equation 5 from a dense Hessian, and that Hessian without damping."""
    module = clf.module_.eval()
    named = dict(module.named_parameters())
    shapes = [p.shape for p in named.values()]
    theta = torch.cat([p.detach().reshape(-1) for p in named.values()])
    c = torch.ones(len(X)) if c is None else torch.as_tensor(c * len(c) / c.sum())

    def losses(flat, inputs, targets):
        pieces = torch.split(flat, [shape.numel() for shape in shapes])
        parameters = {
            name: piece.view(shape)
            for name, piece, shape in zip(named, pieces, shapes, strict=True)
        }
        outputs = torch.func.functional_call(
            module, parameters, (torch.from_numpy(inputs),)
        )
        return losses_of(outputs, torch.from_numpy(targets))

    def objective(flat):
        return (c * losses(flat, X, y)).mean() + decay / 2 * (flat @ flat)

    def query(flat):
        found = losses(flat, X_val, y_val)
        w = torch.ones(len(found)) if v is None else torch.from_numpy(v)
        return (w * found).sum() / w.sum()

    hessian = torch.autograd.functional.hessian(objective, theta)
    each = torch.autograd.functional.jacobian(lambda flat: losses(flat, X, y), theta)
    slope = torch.autograd.functional.jacobian(query, theta)
    damped = hessian + damping * torch.eye(len(theta), dtype=torch.float64)
    scores = c * (each @ torch.linalg.solve(damped, slope)) / len(X)
    return scores.numpy(), hessian.numpy()


def bce(outputs, targets):
    return nn.functional.binary_cross_entropy_with_logits(
        outputs[:, 0], targets.double(), reduction="none"
    )


def cross_entropy(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


MODELS = {"logistic": (logistic, bce, 0.05), "mlp": (mlp, cross_entropy, 0.01)}


@pytest.mark.parametrize("solver", ["auto", "cg", "direct"])
@pytest.mark.parametrize("model", MODELS)
def test_is_equation_5_by_a_dense_solve(model, solver):
    make, losses, decay = MODELS[model]
    X, y, X_val, y_val = binary()
    c, v = np.linspace(0.2, 1, len(X)), np.linspace(1, 2, len(X_val))
    clf = make().fit(X, y, sample_weight=c)
    scorer = KohLiang(solver, damping=1.0, tol=1e-11)
    found = scorer(clf, X, y, X_val, y_val, sample_weight_val=v)
    expected, _ = by_hand(
        clf, losses, X, y, X_val, y_val, decay=decay, damping=1.0, c=c, v=v
    )
    # CG's own residual bounds the error, times a condition number of about 10.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * abs(expected).max())
    assert scorer.damping_ == 1.0
    assert scorer.residual_ <= 1e-11
    assert scorer.n_iterations_ > 1


def test_lissa_comes_near_the_dense_solve():
    X, y, X_val, y_val = binary()
    clf = logistic().fit(X, y)
    scorer = KohLiang("lissa", 0.3, tol=0.1, max_iter=600, random_state=0)
    found = scorer(clf, X, y, X_val, y_val)
    expected, _ = by_hand(clf, bce, X, y, X_val, y_val, decay=0.05, damping=0.3)
    # It averages 300 iterates over batches: an error of some percent.
    assert np.abs(found - expected).max() <= 0.1 * np.abs(expected).max()
    assert 0 < scorer.residual_ <= 0.1
    again = KohLiang("lissa", 0.3, tol=0.1, max_iter=600, random_state=0)
    assert np.array_equal(again(clf, X, y, X_val, y_val), found)


@pytest.mark.parametrize("damping", [0, "auto"])
def test_foretells_leaving_one_out_of_a_converged_model(damping):
    X, y, X_val, y_val = binary(60, 40)
    decay = 0.05
    clf = SGDInfluenceClassifier(
        nn.Linear(3, 1, bias=False),
        criterion=nn.BCEWithLogitsLoss,
        optimizer__weight_decay=decay,
        dtype="float64",
        lr=1.0,
        max_epochs=600,
        batch_size=-1,
        record=None,
        random_state=0,
    ).fit(X, y)

    def loss_without(sample):
        rows = np.arange(len(X)) != sample
        model = LogisticRegression(
            C=1 / (decay * len(X)), fit_intercept=False, tol=1e-10
        ).fit(X[rows], y[rows])
        margins = (2 * y_val - 1) * model.decision_function(X_val)
        return np.logaddexp(0, -margins).mean()

    truth = np.array([loss_without(k) for k in range(len(X))]) - loss_without(-1)
    found = KohLiang(damping=damping)(clf, X, y, X_val, y_val)
    # First order in 1/60; the signs and the order are the truth's.
    assert np.corrcoef(found, truth)[0, 1] > 0.99
    assert kendalltau(found, truth).statistic > 0.95
    assert np.polyfit(found, truth, 1)[0] == pytest.approx(1, abs=0.15)


def test_auto_damping_is_the_reciprocal_of_the_training_time():
    X, y, X_val, y_val = binary()
    options = {"optimizer__momentum": 0.5, "lr": 0.25}
    clf = logistic(**options).fit(X, y)
    scorer = KohLiang()
    scorer(clf, X, y, X_val, y_val)
    # 10 epochs of 4 steps, each of which goes 0.25 / (1 - 0.5) in the end.
    assert scorer.damping_ == pytest.approx(1 / 20)
    scorer(logistic(record=None, **options).fit(X, y), X, y, X_val, y_val)
    assert scorer.damping_ == pytest.approx(1 / 20)
    scorer(logistic(optimizer=torch.optim.Adam).fit(X, y), X, y, X_val, y_val)
    assert scorer.damping_ == 0.0


@pytest.mark.parametrize("solver", ["direct", "cg"])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_auto_damping_makes_the_hessian_positive_definite(solver, optimizer):
    X, y, X_val, y_val = binary()
    clf = mlp(lr=0.01, optimizer=optimizer).fit(X, y)
    _, hessian = by_hand(clf, cross_entropy, X, y, X_val, y_val, decay=0.01)
    smallest = np.linalg.eigvalsh(hessian)[0]
    assert smallest < -1e-3
    scorer = KohLiang(solver)
    found = scorer(clf, X, y, X_val, y_val)
    assert smallest + scorer.damping_ > 0
    expected, _ = by_hand(
        clf, cross_entropy, X, y, X_val, y_val, decay=0.01, damping=scorer.damping_
    )
    # The residual of 1e-5, times the condition number, about 100.
    np.testing.assert_allclose(found, expected, atol=2e-3 * abs(expected).max())
    with pytest.raises(IndefiniteHessianError, match="positive definite, got 0, but"):
        KohLiang(solver, damping=0)(clf, X, y, X_val, y_val)


def test_lissa_notices_negative_curvature():
    X, y, X_val, y_val = binary()
    clf = mlp(lr=0.01).fit(X, y)
    scorer = KohLiang("lissa", damping=0, max_iter=300, random_state=0)
    with pytest.raises(IndefiniteHessianError, match="has a curvature of -"):
        scorer(clf, X, y, X_val, y_val)


def test_warns_of_what_has_not_converged():
    X, y, X_val, y_val = binary()
    clf = logistic().fit(X, y)
    scorer = KohLiang("cg", damping=1e-6, max_iter=1)
    with pytest.warns(SolverConvergenceWarning, match="residual of 0.*is 1e-05"):
        scorer(clf, X, y, X_val, y_val)
    assert scorer.residual_ > 1e-5


def test_knows_the_smooth_hinge():
    X, y, X_val, y_val = binary()
    clf = SGDInfluenceClassifier(
        "linear", criterion=SmoothHinge, dtype="float64", random_state=0
    ).fit(X, y)
    scorer = KohLiang(damping=0.1)
    expected, _ = by_hand(
        clf,
        SmoothHinge(reduction="none"),
        X,
        y,
        X_val,
        y_val,
        decay=0.0,
        damping=0.1,
    )
    found = scorer(clf, X, y, X_val, y_val)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_rows_that_were_not_trained_on_score_0():
    X, y, X_val, y_val = binary()
    split = ValidSplit(4, stratified=False)
    clf = logistic(train_split=split).fit(X, y)
    used = np.unique(np.concatenate([r.rows for r in clf.trajectory_.records]))
    assert len(used) == 18
    found = KohLiang(damping=0.1)(clf, X, y, X_val, y_val)
    expected, _ = by_hand(
        clf, bce, X[used], y[used], X_val, y_val, decay=0.05, damping=0.1
    )
    np.testing.assert_allclose(found[used], expected, rtol=1e-9)
    assert not np.delete(found, used).any()
    clf = logistic(train_split=split, record=None).fit(X, y)
    with pytest.raises(NotRecordedError, match="`train_split` takes rows out"):
        KohLiang()(clf, X, y, X_val, y_val)


def test_takes_in_all_data_of_several_calls_of_fit():
    X, y, X_val, y_val = binary()
    clf = logistic().partial_fit(X[:10], y[:10]).partial_fit(X[10:], y[10:])
    found = KohLiang(damping=0.1)(clf, X, y, X_val, y_val)
    expected, _ = by_hand(clf, bce, X, y, X_val, y_val, decay=0.05, damping=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_leaves_the_estimator_as_it_was():
    X, y, X_val, y_val = binary()
    clf = mlp(module__dropout=0.5).fit(X, y)
    before = {k: v.clone() for k, v in clf.module_.state_dict().items()}
    first = KohLiang()(clf, X, y, X_val, y_val)
    assert np.array_equal(first, KohLiang()(clf, X, y, X_val, y_val))
    assert all(torch.equal(before[k], v) for k, v in clf.module_.state_dict().items())


def test_decoupled_decay_is_no_part_of_the_objective():
    X, y, X_val, y_val = binary()
    clf = logistic(optimizer=torch.optim.AdamW).fit(X, y)
    found = KohLiang(damping=0.1)(clf, X, y, X_val, y_val)
    expected, _ = by_hand(clf, bce, X, y, X_val, y_val, decay=0.0, damping=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_says_what_it_needs():
    X, y, X_val, y_val = binary()
    with pytest.raises(TypeError, match="for the scorer 'koh_liang', got Logistic"):
        KohLiang().check_estimator(LogisticRegression())
    with pytest.raises(ValueError, match=r"`solver` must be one of .*, got 'gmres'"):
        KohLiang("gmres").check_estimator(logistic())
    for damping in (-1.0, np.nan, "none"):
        with pytest.raises(ValueError, match="`damping` must be 'auto' or a finite"):
            KohLiang(damping=damping).check_estimator(logistic())
    KohLiang().check_estimator(logistic(record=None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)
        diverged = logistic(lr=1e300, max_epochs=30).fit(X, y)
    with pytest.raises(DivergedTrainingError, match="must be finite"):
        KohLiang()(diverged, X, y, X_val, y_val)
    assert isinstance(get_scorer("koh_liang", at="path"), KohLiang)
