"""LearnedWeights: against finite differences, and by what the weights do."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import flip_labels
from skinfluence.exceptions import NotRecordedError
from skinfluence.scorers import LearnedWeights, get_scorer
from skinfluence.scorers._descent import judging
from tests.scorers.problems import binary, mlp


@pytest.mark.slow
@pytest.mark.parametrize(
    ("class_weight", "given"),
    [(None, None), (None, np.linspace(0.2, 1, 24)), ({0: 1.0, 1: 3.0}, None)],
    ids=["plain", "sample_weight", "class_weight"],
)
def test_moves_against_the_gradient_in_the_logarithms(class_weight, given):
    X, y, X_val, y_val = binary()
    clf = mlp(class_weight=class_weight).fit(X, y, sample_weight=given)
    c = np.ones(len(X)) if given is None else given
    asked = None
    if class_weight:
        # In training and in the mean of the validation loss.
        c, asked = (np.where(labels == 1, 3.0, 1.0) for labels in (y, y_val))

    def loss(logarithms):
        other = clone(clf).set_params(class_weight=None)
        other.fit(X, y, sample_weight=c * np.exp(logarithms))
        return log_loss(y_val, other.predict_proba(X_val), sample_weight=asked)

    def gradient(logarithms, step=1e-4):
        shifts = step * np.eye(len(X))
        return np.array(
            [loss(logarithms + s) - loss(logarithms - s) for s in shifts]
        ) / (2 * step)

    expected, scale = np.zeros(len(X)), 0.0
    for n_iterations in (1, 2):
        uphill = gradient(expected)
        scale = max(scale, uphill.std())
        expected = expected - 0.5 * uphill / scale
        scorer = LearnedWeights(n_iterations, 0.5, at="final")
        found = scorer(clf, X, y, X_val, y_val)
        # The finite differences' error: third derivatives times 1e-8, over the scale.
        difference = np.log(found) - expected
        assert np.ptp(difference) < 1e-5
        assert found.mean() == pytest.approx(1)
        assert (found > 0).all()
        assert np.array_equal(found, scorer.weights_)
        assert found is not scorer.weights_


def test_the_weights_lower_the_validation_loss_and_find_wrong_labels():
    X, y, X_val, y_val = binary(160, 100)
    noisy, flipped = flip_labels(y, 0.2, random_state=0)
    clf = mlp(max_epochs=10, batch_size=20).fit(X, noisy)
    parameters = {k: v.clone() for k, v in clf.module_.state_dict().items()}
    losses = [log_loss(y_val, clf.predict_proba(X_val))]
    for n_iterations in (1, 4):
        scorer = LearnedWeights(n_iterations, at="final")
        weights = scorer(clf, X, noisy, X_val, y_val)
        again = clone(clf).fit(X, noisy, sample_weight=scorer.weights_)
        losses.append(log_loss(y_val, again.predict_proba(X_val)))
    assert losses[2] < losses[1] < losses[0]
    assert weights[flipped].mean() < 0.8 * weights[~flipped].mean()
    assert all((parameters[k] == v).all() for k, v in clf.module_.state_dict().items())


class Unstable(SGDInfluenceClassifier):
    """Enlarges the influence ten thousand times as soon as it has weights."""

    def influence(self, *args, **kwargs):
        weighted = self.training_data_[-1].weights is not None
        return (1e4 if weighted else 1.0) * super().influence(*args, **kwargs)


def test_an_unstable_run_does_not_throw_the_weights_off():
    X, y, X_val, y_val = binary()
    clf = Unstable("linear", max_epochs=3, batch_size=8, random_state=0).fit(X, y)
    scorer = LearnedWeights(4)
    scorer(clf, X, y, X_val, y_val)
    # Four moves of .3 in units of the standard deviation, of which no entry of a vector
    # of 24 is more than sqrt(24).
    assert np.ptp(np.log(scorer.weights_)) < 2 * 4 * 0.3 * np.sqrt(24)


def test_keeps_the_seed_of_the_run():
    X, y, X_val, y_val = binary()
    found = []
    for _ in range(2):
        clf = mlp(random_state=np.random.RandomState(3)).fit(X, y)
        found.append(LearnedWeights(3)(clf, X, y, X_val, y_val))
    assert np.array_equal(*found)


def test_smooths_kinks():
    X, y, X_val, y_val = binary()
    clf = mlp(module__activation="relu").fit(X, y)
    found = LearnedWeights(1, at="final", smoothing=0.2)(clf, X, y, X_val, y_val)
    influence = clf.influence(X_val, y_val, smoothing=0.2)
    slopes = influence.mean() - influence
    expected = np.exp(-0.3 * slopes / slopes.std())
    # Weights have mean 1 once more after the step.
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-12)


def test_the_step_that_is_judged_best_is_kept():
    X, y, X_val, y_val = binary()
    clf = mlp().fit(X, y)
    judges = judging(0.5, len(y_val))
    logarithms, losses, tried = np.zeros(len(X)), [], []
    for _ in range(3):
        weights = np.exp(logarithms)
        fitted = clone(clf).fit(X, y, sample_weight=weights)
        proba = fitted.predict_proba(X_val[judges])
        losses.append(log_loss(y_val[judges], proba))
        tried.append(weights)
        influence = fitted.influence(X_val[~judges], y_val[~judges], at="final")
        slopes = weights / weights.sum() * influence.sum() - influence
        logarithms = logarithms - 2.0 * np.sign(slopes)
        logarithms -= np.log(np.exp(logarithms).mean())
    # Steps this long overshoot.
    assert np.argmin(losses) == 1
    scorer = LearnedWeights(2, 2.0, "final", update="sign", early_stopping=0.5)
    found = scorer(clf, X, y, X_val, y_val)
    np.testing.assert_allclose(found, tried[np.argmin(losses)], rtol=1e-9)


def test_other_seeds_for_each_step():
    X, y, X_val, y_val = binary()
    clf = mlp().fit(X, y)
    found = [
        LearnedWeights(n, reseed=reseed)(clf, X, y, X_val, y_val)
        for n, reseed in ((1, False), (1, True), (3, False), (3, True), (3, True))
    ]
    # The first step is that of the run that was given.
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[2], found[3])
    assert np.array_equal(found[3], found[4])


def test_says_what_it_needs():
    with pytest.raises(TypeError, match="scorer 'learned_weights', got Logistic"):
        LearnedWeights().check_estimator(LogisticRegression())
    with pytest.raises(NotRecordedError, match="'learned_weights', got record=None"):
        LearnedWeights().check_estimator(SGDInfluenceClassifier(record=None))
    for number in (0, 1.5, True):
        with pytest.raises(ValueError, match="`n_iterations` must be an integer"):
            LearnedWeights(number).check_estimator(mlp())
    for size in (0, -1.0, np.inf, "small"):
        with pytest.raises(ValueError, match="`step_size` must be a finite number"):
            LearnedWeights(step_size=size).check_estimator(mlp())
    for options, match in (
        ({"update": "newton"}, r"`update` must be one of .* got 'newton'"),
        ({"early_stopping": 1.0}, "`early_stopping` must be a share .* got 1.0"),
        ({"early_stopping": True}, "`early_stopping` must be a share .* got True"),
        ({"reseed": "yes"}, "`reseed` must be True or False, got 'yes'"),
    ):
        with pytest.raises(ValueError, match=match):
            LearnedWeights(**options).check_estimator(mlp())
    X, y, X_val, y_val = binary()
    with pytest.raises(ValueError, match=r"`early_stopping` must leave .* 0.5 of 1"):
        LearnedWeights(early_stopping=0.5)(mlp().fit(X, y), X, y, X_val[:1], y_val[:1])
    clf = mlp().partial_fit(X[:10], y[:10]).partial_fit(X[10:], y[10:])
    with pytest.raises(ValueError, match=r"one call of fit .* got 2 on different data"):
        LearnedWeights()(clf, X, y, X_val, y_val)
    assert get_scorer("learned_weights", at="path").at == "path"
