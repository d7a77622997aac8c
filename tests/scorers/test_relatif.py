"""RelatIF against plain gradients and finite differences."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from skorch.dataset import ValidSplit

from skinfluence.exceptions import NotRecordedError
from skinfluence.scorers import RelatIF, SelfInfluence, get_scorer
from tests.oracles import Spy, cross_entropy, finite_differences, validation_loss
from tests.scorers.problems import binary, mlp
from tests.scorers.test_tracin import plain_loop


@pytest.mark.parametrize("steps", ["epochs", "all"])
def test_is_the_quotient_of_two_plain_computations(steps):
    X, y, X_val, y_val = binary(n=12)
    clf = mlp(max_epochs=2, callbacks=[Spy()]).fit(X, y)
    run = dict(clf.callbacks_)["Spy"].run

    def final_loss(modules, _):
        return validation_loss(modules[-1], X_val, y_val).mean()

    influence = finite_differences(run, X, final_loss, seeds=[0] * len(run.batches))
    validation = [torch.from_numpy(part) for part in (X_val, y_val)]
    _, own = plain_loop(run, X, cross_entropy, validation, np.ones(12), steps)
    found = RelatIF("final", steps)(clf, X, y, X_val, y_val)
    # The rounding error of the differences is about 1e-11.
    expected = influence / np.sqrt(-own)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_what_was_not_trained_on_has_none():
    X, y, *validation = binary()
    split = ValidSplit([(np.arange(5, 24), np.arange(5))])
    scores = RelatIF()(mlp(train_split=split).fit(X, y), X, y, *validation)
    assert (scores[:5] == 0).all()
    assert (scores[5:] != 0).all()


def test_takes_the_last_epochs_alone_and_weights():
    X, y, X_val, y_val = binary()
    weights = np.linspace(0.5, 2, len(y_val))
    clf = mlp().fit(X, y)
    found = RelatIF("path", last_epochs=2)(
        clf, X, y, X_val, y_val, sample_weight_val=weights
    )
    influence = clf.influence(
        X_val, y_val, sample_weight_val=weights, at="path", last_epochs=2
    )
    own = -SelfInfluence(last_epochs=2)(clf)
    np.testing.assert_allclose(found, influence / np.sqrt(own), rtol=1e-12)


def test_smooths_kinks():
    X, y, *validation = binary()
    clf = mlp(module__activation="relu").fit(X, y)
    smooth, exact = (
        scorer(clf, X, y, *validation)
        for scorer in (RelatIF("final", smoothing=0.2), RelatIF("final"))
    )
    influence = [clf.influence(*validation, smoothing=width) for width in (0.2, None)]
    np.testing.assert_allclose(smooth / exact, np.divide(*influence), rtol=1e-12)
    assert not np.array_equal(smooth, exact)


def test_says_what_is_lacking():
    assert isinstance(get_scorer("relatif", at="path"), RelatIF)
    with pytest.raises(TypeError, match="for the scorer 'relatif', got Logistic"):
        RelatIF().check_estimator(LogisticRegression())
    for record in (None, "replay"):
        with pytest.raises(
            NotRecordedError, match=f"'relatif', got .*record={record!r}"
        ):
            RelatIF().check_estimator(mlp(record=record))
    with pytest.raises(ValueError, match=r"`steps` must be one of .*, got 'every'"):
        RelatIF(steps="every").check_estimator(mlp())
    with pytest.raises(ValueError, match=r"`at` must be .*, got 'last'"):
        RelatIF("last").check_estimator(mlp())
    with pytest.raises(ValueError, match=r"`X_val` must be given for .*'relatif'"):
        RelatIF()(mlp())
