"""EL2N and GraNd against a plain repetition of the run."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from skorch.dataset import ValidSplit
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.exceptions import NotRecordedError
from skinfluence.scorers import EL2N, GraNd, get_scorer
from tests.oracles import Spy, cross_entropy, retrain
from tests.scorers.problems import binary, linear_regressor, logistic, mlp, regression
from tests.scorers.test_tracin import normalized, squared_error

EPOCHS = 4


def repeated(net, X, y, **options):
    """Fit, and return the modules that a plain loop has at the epochs' ends."""
    net.set_params(callbacks=[Spy()], max_epochs=EPOCHS).fit(X, y)
    run = dict(net.callbacks_)["Spy"].run
    modules = retrain(run, X, np.ones(len(X)), seeds=[0] * len(run.batches), **options)
    return [module.eval() for module in modules]


def norms(module, loss, X, y):
    found = []
    for x, target in zip(torch.from_numpy(X), torch.from_numpy(y), strict=True):
        value = loss(module(x[None]), target[None]).sum()
        parts = torch.autograd.grad(value, list(module.parameters()))
        found.append(float(sum((part**2).sum() for part in parts) ** 0.5))
    return np.array(found)


def batch_norm():
    return SGDInfluenceClassifier(
        normalized, dtype="float64", batch_size=6, random_state=0
    )


PROBLEMS = {
    "mlp": (binary, mlp, cross_entropy),
    "batch_norm": (binary, batch_norm, cross_entropy),
    "regression": (regression, linear_regressor, squared_error),
}


@pytest.mark.parametrize("n_epochs", [1, 3, 10])
@pytest.mark.parametrize("name", PROBLEMS)
def test_grand_is_the_mean_norm_of_plain_gradients(name, n_epochs, monkeypatch):
    data, make, loss = PROBLEMS[name]
    X, y, *_ = data()
    # The gradients are taken in parts.
    monkeypatch.setattr("skinfluence.scorers._gradients._GRADIENT_BYTES", 1500)
    net = make()
    modules = repeated(net, X, y, loss=loss)[:n_epochs]
    expected = -np.mean([norms(module, loss, X, y) for module in modules], axis=0)
    # The same sums in double precision, in another order.
    np.testing.assert_allclose(GraNd(n_epochs)(net), expected, rtol=1e-9)


@pytest.mark.parametrize("n_epochs", [1, 3, 10])
@pytest.mark.parametrize("make", [mlp, batch_norm])
def test_el2n_is_the_mean_norm_of_plain_errors(make, n_epochs):
    X, y, *_ = binary()
    clf = make()
    modules = repeated(clf, X, y)[:n_epochs]
    with torch.no_grad():
        votes = [torch.softmax(m(torch.from_numpy(X)), 1).numpy() for m in modules]
    errors = [np.sqrt(((p - np.eye(2)[y]) ** 2).sum(1)) for p in votes]
    np.testing.assert_allclose(EL2N(n_epochs)(clf), -np.mean(errors, 0), rtol=1e-9)


def test_el2n_of_a_single_output_is_that_of_two_classes():
    X, y, *_ = binary()
    clf = logistic(max_epochs=1).fit(X, y)
    errors = clf.predict_proba(X) - np.eye(2)[y]
    expected = -np.linalg.norm(errors, axis=1)
    np.testing.assert_allclose(EL2N()(clf), expected, rtol=1e-9)


def test_states_that_were_not_kept_are_recomputed():
    X, y, *_ = binary()
    for scorer in (EL2N(2), GraNd(2)):
        whole = scorer(mlp().fit(X, y))
        for options in ({"checkpoint_every": 3}, {"record": 4}, {"record": 9}):
            assert np.array_equal(scorer(mlp(**options).fit(X, y)), whole)
        parts = mlp(max_epochs=2).fit(X, y)
        assert np.array_equal(scorer(parts.partial_fit(X, y)), whole)


def test_grand_of_what_was_not_trained_on_is_none():
    X, y, *_ = binary()
    split = ValidSplit([(np.arange(5, 24), np.arange(5))])
    scores = GraNd()(mlp(train_split=split).fit(X, y))
    assert (scores[:5] == 0).all()
    assert (scores[5:] < 0).all()


@pytest.mark.parametrize("scorer", [EL2N, GraNd])
def test_says_what_is_lacking(scorer):
    name = {"EL2N": "el2n", "GraNd": "grand"}[scorer.__name__]
    assert type(get_scorer(name)) is scorer
    with pytest.raises(TypeError, match=f"for the scorer '{name}', got Logistic"):
        scorer().check_estimator(LogisticRegression())
    with pytest.raises(NotRecordedError, match=f"'{name}', got record=None"):
        scorer().check_estimator(mlp(record=None))
    with pytest.raises(NotRecordedError, match=f"first epochs for .*'{name}', .*d=2"):
        scorer().check_estimator(mlp(record=2))
    X, y, *_ = binary()
    clf = mlp(record=4).fit(X, y).partial_fit(X, y)
    with pytest.raises(NotRecordedError, match=f"first epochs for .*'{name}', got a r"):
        scorer()(clf)
    with pytest.raises(ValueError, match=r"`n_epochs` must be .*, got 0"):
        scorer(0).check_estimator(mlp())


def test_errors_of_probabilities_need_probabilities():
    GraNd().check_estimator(SGDInfluenceRegressor())
    with pytest.raises(TypeError, match="a classifier for the scorer 'el2n'"):
        EL2N().check_estimator(SGDInfluenceRegressor())
    clf = SGDInfluenceClassifier(criterion=nn.MultiMarginLoss)
    with pytest.raises(ValueError, match=r"probabilities of classes for .*'el2n'"):
        EL2N().check_estimator(clf)
    GraNd().check_estimator(clf)
