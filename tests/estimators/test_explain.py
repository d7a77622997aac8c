"""The training samples behind single predictions."""

import numpy as np
import pytest

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor, queries
from tests.cases import rough

pytestmark = rough


def planted():
    """Return training and validation data, and the rows with a planted wrong label.

    Each validation sample is close to one training sample that says otherwise, and to
    two that say the same.
    """
    rng = np.random.default_rng(0)
    centres = 4 * rng.normal(size=(10, 20))
    X = np.repeat(centres, 3, axis=0) + 0.1 * rng.normal(size=(30, 20))
    y = np.repeat(np.arange(10) % 2, 3)
    wrong = np.arange(0, 30, 3)
    y[wrong] = 1 - y[wrong]
    X_val = centres + 0.1 * rng.normal(size=(10, 20))
    return X, np.array(["no", "yes"])[y], X_val, np.arange(10) % 2, wrong


def test_planted_neighbours_are_found():
    X, y, X_val, y_val, wrong = planted()
    y_val = np.array(["no", "yes"])[y_val]
    clf = SGDInfluenceClassifier(max_epochs=20, batch_size=10, random_state=0)
    clf.fit(X, y)
    found = clf.explain(X_val, y_val, n_harmful=2, n_helpful=2)
    first = found[found["rank"] == 1]
    harmful = first[first["effect"] == "harmful"].set_index("sample")["row"]
    helpful = first[first["effect"] == "helpful"].set_index("sample")["row"]
    np.testing.assert_array_equal(harmful, wrong)
    np.testing.assert_array_equal(helpful // 3, np.arange(10))
    assert (found["label"] == y[found["row"]]).all()
    each = clf.influence(X_val, y_val, aggregate=None)
    np.testing.assert_array_equal(
        found["influence"], each[found["row"], found["sample"]]
    )
    assert ((found["influence"] < 0) == (found["effect"] == "harmful")).all()


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_targets_are_numbers_of_a_regressor(n_outputs):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    y = X[:, :n_outputs].squeeze()
    reg = SGDInfluenceRegressor(max_epochs=2, random_state=0).fit(X, y)
    found = reg.explain(X[:3] + 0.1, y[:3], query=queries.quantile_loss(0.9))
    for row, label in zip(found["row"], found["label"], strict=True):
        np.testing.assert_array_equal(label, y[row])


def test_samples_without_any_effect_are_not_named():
    X, y, X_val, y_val, _ = planted()
    y_val = np.array(["no", "yes"])[y_val]
    clf = SGDInfluenceClassifier(max_epochs=1, batch_size=10, random_state=0)
    clf.fit(X, y)
    found = clf.explain(X_val, y_val, n_harmful=30, n_helpful=30, last_epochs=1)
    each = clf.influence(X_val, y_val, aggregate=None, last_epochs=1)
    assert len(found) == (each != 0).sum()


def test_there_must_be_something_to_name():
    X, y, *_ = planted()
    clf = SGDInfluenceClassifier(max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="`n_harmful` and `n_helpful` must name"):
        clf.explain(X, y, n_harmful=0, n_helpful=0)
