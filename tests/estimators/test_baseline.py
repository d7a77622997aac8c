"""The score of a model, that of a constant, and whether chance gives as much.

The oracles are NumPy's: formulas, and random permutations of the targets.
"""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators import skill

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 3)).astype(np.float32)
LABELS = np.where(X[:, 0] + X[:, 1] > 0.4, "yes", "no")
TARGETS = X @ np.array([1.0, 2.0, 0.5], dtype=np.float32)
NOTHING = "The model has learnt nothing"


def permuted(errors, n=20_000):
    """Return the z-score of the mean of the diagonal among random permutations."""
    generator = np.random.default_rng(0)
    rows = np.arange(len(errors))
    means = [errors[rows, generator.permutation(rows)].mean() for _ in range(n)]
    return (np.mean(means) - np.diag(errors).mean()) / np.std(means)


def test_classifier():
    clf = SGDInfluenceClassifier(random_state=0).fit(X[:60], LABELS[:60])
    found = skill(clf, X[60:], LABELS[60:])
    values, counts = np.unique(LABELS[:60], return_counts=True)
    common = values[counts.argmax()]
    assert found.score == pytest.approx((clf.predict(X[60:]) == LABELS[60:]).mean())
    assert found.baseline == pytest.approx((LABELS[60:] == common).mean())
    proba = clf.predict_proba(X[60:]).astype(np.float64)
    errors = 1 - proba[:, (LABELS[60:] == "yes").astype(int)]
    # 20,000 permutations give their standard deviation to half a percent.
    assert found.z_score == pytest.approx(permuted(errors), rel=0.02)
    assert found.has_learnt
    assert f"always predicting {str(common)!r} gives" in str(found)
    assert "nothing" not in str(found)


def test_regressor():
    reg = SGDInfluenceRegressor(random_state=0).fit(X[:60], TARGETS[:60])
    found = skill(reg, X[60:], TARGETS[60:])
    y = TARGETS[60:].astype(np.float64)
    total = ((y - y.mean()) ** 2).sum()
    errors = ((y - reg.predict(X[60:])) ** 2).sum()
    assert found.score == pytest.approx(1 - errors / total, rel=1e-5)
    constant = ((y - TARGETS[:60].mean()) ** 2).sum()
    assert found.baseline == pytest.approx(1 - constant / total, abs=1e-5)
    pairs = np.abs(reg.predict(X[60:]).astype(np.float64)[:, None] - y)
    assert found.z_score == pytest.approx(permuted(pairs), rel=0.02)
    assert found.has_learnt


def test_outputs_count_the_same_whatever_their_unit():
    both = np.stack([TARGETS, rng.permutation(TARGETS)], axis=1)
    reg = SGDInfluenceRegressor(random_state=0).fit(X[:60], both[:60])
    found = skill(reg, X[60:], both[60:])
    pairs = np.abs(reg.predict(X[60:]).astype(float)[:, None] - both[60:])
    centered = pairs - pairs.mean(axis=0) - pairs.mean(axis=1)[:, None]
    centered += pairs.mean(axis=(0, 1))
    errors = (centered / centered.std(axis=(0, 1))).sum(axis=2)
    assert found.z_score == pytest.approx(permuted(errors), rel=0.02)


@pytest.mark.parametrize("make", [SGDInfluenceClassifier, SGDInfluenceRegressor])
def test_weights_count_as_repetitions_do_in_the_mean(make):
    y = LABELS if make is SGDInfluenceClassifier else TARGETS
    net = make(random_state=0).fit(X[:60], y[:60])
    # Rows of weight 0 are as good as absent.
    weights = np.arange(30) % 2 * 3.0
    found = skill(net, X[60:], y[60:], weights)
    plain = skill(net, X[61::2], y[61::2])
    assert found.score == pytest.approx(plain.score)
    assert found.baseline == pytest.approx(plain.baseline)
    assert found.z_score == pytest.approx(plain.z_score)


def test_weighted_accuracy():
    clf = SGDInfluenceClassifier(random_state=0).fit(X[:60], LABELS[:60])
    weights = np.where(LABELS[60:] == "no", 3.0, 1.0)
    found = skill(clf, X[60:], LABELS[60:], weights)
    right = clf.predict(X[60:]) == LABELS[60:]
    assert found.score == pytest.approx(np.average(right, weights=weights))
    majority = LABELS[60:] == "no"
    assert found.baseline == pytest.approx(np.average(majority, weights=weights))


@pytest.mark.parametrize("size", [1e3, 1e6])
@pytest.mark.parametrize("n_wrong", [1, 4])
def test_gross_errors_in_the_validation_targets_hide_no_skill(size, n_wrong):
    reg = SGDInfluenceRegressor(random_state=0).fit(X[:60], TARGETS[:60])
    y = TARGETS[60:].copy()
    y[:n_wrong] *= size
    found = skill(reg, X[60:], y)
    assert found.score < 0.1  # R² is ruined
    assert found.has_learnt
    assert NOTHING not in str(found)


class Cubed(nn.Module):
    """Its predictions hold gross errors."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, X):
        out = self.linear(X).squeeze(1)
        return torch.where(X[:, 2] > 1.5, 1e4 * out**3, out)


def test_one_gross_prediction_hides_no_skill():
    reg = SGDInfluenceRegressor(Cubed, lr=0.05, max_epochs=20, random_state=0)
    usual = X[:60][X[:60, 2] <= 1.5]
    reg.fit(usual, TARGETS[:60][X[:60, 2] <= 1.5])
    assert (X[60:, 2] > 1.5).sum() in range(1, 5)
    found = skill(reg, X[60:], TARGETS[60:])
    assert found.score < 0
    assert found.has_learnt


def rare(n, generator):
    """Return samples of which 3 % have another label, none of them surely."""
    X = generator.normal(size=(n, 3)).astype(np.float32)
    chance = 1 / (1 + np.exp(5 - 1.7 * X[:, 0]))
    return X, np.where(generator.random(n) < chance, "yes", "no")


def test_a_rare_label_hides_no_skill():
    data, labels = rare(3000, np.random.default_rng(0))
    clf = SGDInfluenceClassifier(random_state=0).fit(data[:1500], labels[:1500])
    found = skill(clf, data[1500:], labels[1500:])
    assert found.score <= found.baseline
    assert found.has_learnt
    assert "But the accuracy shows little where a label is rare" in str(found)
    assert NOTHING not in str(found)


@pytest.mark.slow
def test_overconfidence_hides_no_skill():
    generator = np.random.default_rng(0)
    data = generator.normal(size=(460, 3)).astype(np.float32)
    wrong = generator.random(460) < 0.25
    labels = np.where(wrong ^ (data[:, 0] > 0), "yes", "no")
    clf = SGDInfluenceClassifier(max_epochs=1000, lr=1.0, record=None, random_state=0)
    clf.fit(data[:60], labels[:60])
    assert clf.score(data[:60], labels[:60]) >= 0.95  # it has memorized them
    loss = log_loss(labels[60:], clf.predict_proba(data[60:]))
    assert loss > np.log(2)  # more than that of a constant
    assert skill(clf, data[60:], labels[60:]).has_learnt


def learnt_nothing(kind, seed):
    """Return a model trained on targets that have nothing to do with the samples."""
    generator = np.random.default_rng(seed)
    data = generator.normal(size=(300, 3)).astype(np.float32)
    if kind == "numbers":
        y = generator.normal(size=300)
        y[207] *= 1e3
    else:
        y = generator.choice(["no", "yes"], size=300, p=kind)
    make = SGDInfluenceRegressor if kind == "numbers" else SGDInfluenceClassifier
    net = make(max_epochs=5, record=None, random_state=seed).fit(data[:200], y[:200])
    return skill(net, data[200:], y[200:])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numbers", (0.5, 0.5), (0.9, 0.1)])
def test_noise_is_told_apart_from_what_can_be_learnt(kind):
    found = [learnt_nothing(kind, seed) for seed in range(20)]
    # By chance at most 16 % exceed one standard deviation: eight of 20 in 1 % of cases.
    assert sum(each.has_learnt for each in found) < 8


@pytest.mark.slow
@pytest.mark.parametrize("make", [SGDInfluenceClassifier, SGDInfluenceRegressor])
def test_z_score_of_exchanged_targets_is_that_of_chance(make):
    y = LABELS if make is SGDInfluenceClassifier else TARGETS**3
    net = make(random_state=0, lr=0.01).fit(X[:60], y[:60])
    generator = np.random.default_rng(1)
    scores = np.array(
        [skill(net, X, generator.permutation(y), y=y[:60]).z_score for _ in range(400)]
    )
    # Four standard errors of a mean and a standard deviation of 400 normal values.
    assert abs(scores.mean()) < 4 / 400**0.5
    assert abs(scores.std() - 1) < 4 / 800**0.5


def test_predictions_far_from_all_targets_are_nothing():
    # An order alone is nothing: that of an untrained network is not random.
    y = TARGETS + 1000
    reg = SGDInfluenceRegressor(max_epochs=1, lr=1e-6, random_state=0)
    found = skill(reg.fit(X[:60], y[:60]), X[60:], y[60:])
    assert found.z_score == 0
    assert NOTHING in str(found)


def test_extreme_targets_that_drown_the_others_are_told():
    y = TARGETS.copy()
    y[[3, 5]] = 1e4
    reg = SGDInfluenceRegressor(lr=1e-5, random_state=0).fit(X[:60], y[:60])
    found = skill(reg, X[60:], y[60:])
    assert found.n_extreme == 2
    assert not found.has_learnt
    assert "but that 2 targets of the training data lie far from all others" in str(
        found
    )
    assert "says little" not in str(found)
    mostly_equal = np.where(np.arange(60) < 10, TARGETS[:60], 0)
    reg.fit(X[:60], mostly_equal)
    assert skill(reg, X[60:], y[60:]).n_extreme == 0


def test_check_says_that_a_model_has_learnt_nothing():
    noise = rng.permutation(LABELS)
    clf = SGDInfluenceClassifier(max_epochs=1, lr=1e-6, random_state=1)
    clf.fit(X[:60], noise[:60])
    found = skill(clf, X[60:], noise[60:])
    check = clf.check_influence(X[60:], noise[60:], 4, n_subsets=0, random_state=0)
    assert check.skill == found
    said = str(check).splitlines()[0]
    assert said.startswith(f"Validation accuracy {found.score:.3f}")
    assert "has learnt nothing" in said
    assert not found.has_learnt


def test_nothing_is_said_of_one_label():
    clf = SGDInfluenceClassifier(random_state=0).fit(X[:60], LABELS[:60])
    common = LABELS == "no"
    found = skill(clf, X[common], LABELS[common])
    assert found.baseline == 1
    assert np.isnan(found.z_score)
    assert found.has_learnt
    assert "nothing" not in str(found)
