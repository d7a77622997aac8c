"""The score of a model beside that of a constant, which NumPy gives."""

import numpy as np
import pytest

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators import skill

rng = np.random.default_rng(0)
X = rng.normal(size=(90, 3)).astype(np.float32)
LABELS = np.where(X[:, 0] + X[:, 1] > 0.4, "yes", "no")
TARGETS = X @ np.array([1.0, 2.0, 0.5], dtype=np.float32)


def test_classifier():
    clf = SGDInfluenceClassifier(random_state=0).fit(X[:60], LABELS[:60])
    found = skill(clf, X[60:], LABELS[60:])
    values, counts = np.unique(LABELS[:60], return_counts=True)
    common = values[counts.argmax()]
    assert found.score == pytest.approx((clf.predict(X[60:]) == LABELS[60:]).mean())
    assert found.baseline == pytest.approx((LABELS[60:] == common).mean())
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
    assert found.has_learnt


def test_weights_count():
    clf = SGDInfluenceClassifier(random_state=0).fit(X[:60], LABELS[:60])
    weights = np.where(LABELS[60:] == "no", 3.0, 1.0)
    found = skill(clf, X[60:], LABELS[60:], weights)
    right = clf.predict(X[60:]) == LABELS[60:]
    assert found.score == pytest.approx(np.average(right, weights=weights))
    majority = LABELS[60:] == "no"
    assert found.baseline == pytest.approx(np.average(majority, weights=weights))


def test_check_says_that_a_model_has_learnt_nothing():
    # Of so large a scale that all outputs are the same after the first steps.
    noise = rng.permutation(LABELS)
    clf = SGDInfluenceClassifier(max_epochs=1, lr=1e-6, random_state=1)
    clf.fit(X[:60], noise[:60])
    found = skill(clf, X[60:], noise[60:])
    check = clf.check_influence(X[60:], noise[60:], 4, n_subsets=0, random_state=0)
    assert check.skill == found
    said = str(check).splitlines()[0]
    assert said.startswith(f"Validation accuracy {found.score:.3f}")
    assert ("has learnt nothing" in said) == (found.score <= found.baseline)
    assert found.score <= found.baseline


def test_nothing_is_said_of_one_label():
    clf = SGDInfluenceClassifier(random_state=0).fit(X[:60], LABELS[:60])
    common = LABELS == "no"
    found = skill(clf, X[common], LABELS[common])
    assert found.baseline == 1
    assert "nothing" not in str(found)
