"""The error under the right labels, from noisy ones; formulas of numpy check it."""

import numpy as np
import pandas as pd
import pytest
import torch

from skinfluence import SGDInfluenceClassifier, queries
from skinfluence.datasets import flip_labels, flip_labels_by_class

THREE = np.array([[0.7, 0.2, 0.1], [0, 1, 0], [0.05, 0.15, 0.8]])


def some_logs(n=7, seed=0):
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.normal(size=(n, 3))).log_softmax(1)


def test_it_is_unbiased():
    logs, values = some_logs(), queries.corrected_error(THREE).values
    under = [values(logs, torch.full((7,), k)).numpy() for k in range(3)]
    errors = 1 - logs.exp().numpy()
    # The mean over the noisy label of each right one. Rounding only.
    np.testing.assert_allclose(np.stack(under, 1) @ THREE.T, errors, atol=1e-14)


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 4))
    y = X[:, :3].argmax(1)
    clf = SGDInfluenceClassifier(max_epochs=3, dtype="float64", random_state=0)
    return clf.fit(X[:40], y[:40]), X[40:], y[40:]


def test_without_confusion_it_is_the_error(trained):
    clf, X, y = trained
    found = clf.influence(X, y, query=queries.corrected_error(np.eye(3)))
    # The same numbers, summed up in another order.
    np.testing.assert_allclose(found, clf.influence(X, y, query="error"), rtol=1e-9)


def test_under_uniform_noise_it_ranks_as_the_error(trained):
    clf, X, y = trained
    rate = 0.3
    uniform = np.full((3, 3), rate / 2) + (1 - 1.5 * rate) * np.eye(3)
    found = clf.influence(X, y, query=queries.corrected_error(uniform))
    # Summed over the labels the error is constant: only a factor remains.
    expected = clf.influence(X, y, query="error") / (1 - 1.5 * rate)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("labels", [[0, 1], ["ham", "spam"]])
def test_the_estimate_finds_noise_in_one_class(labels):
    right = np.repeat(labels, 2000)
    noisy, _ = flip_labels_by_class(right, [[0.7, 0.3], [0, 1]], random_state=0)
    sure = np.random.default_rng(0).uniform(0.6, 1, 4000)
    first = np.where(right == labels[0], sure, 1 - sure)
    found = queries.estimate_transition(np.stack([first, 1 - first], 1), noisy)
    # Four standard errors of a share among the 70 anchors of the first class.
    assert found[0, 0] == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / 70))
    assert found[1, 1] == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(found.sum(1), 1)


def test_columns_with_the_classes_as_names_may_be_in_any_order():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    second = np.clip(labels * 0.4 + rng.uniform(size=200) * 0.6, 0, 1)
    frame = pd.DataFrame({1: second, 0: 1 - second})
    expected = queries.estimate_transition(frame[[0, 1]].to_numpy(), labels)
    np.testing.assert_array_equal(queries.estimate_transition(frame, labels), expected)
    # Names that say nothing of the classes stand as they do.
    other = frame[[0, 1]].set_axis(["p", "q"], axis=1)
    np.testing.assert_array_equal(queries.estimate_transition(other, labels), expected)


def test_of_classes_that_do_not_differ_the_estimate_is_uniform():
    right = np.arange(3000) % 3
    noisy, flipped = flip_labels(right, 0.3, random_state=0)
    found = queries.estimate_transition(np.eye(3)[right], noisy)
    off = found[~np.eye(3, dtype=bool)]
    assert np.ptp(off) < 1e-12
    # All samples are as sure, and each class's anchors are a share of all of them.
    assert 1 - found[0, 0] == pytest.approx(flipped.mean(), abs=1e-3)


def hard_to_recognize():
    """Return three classes, half of the last one among the second, as likely as it."""
    right = np.repeat([0, 1, 2], 200)
    probabilities = np.eye(3)[right]
    mixed = np.r_[300:500]
    # A little more probably of the second class, so that none is taken for the last.
    probabilities[mixed] = [0, 0.51, 0.49]
    probabilities[500:] = [0.3, 0.4, 0.3]
    return probabilities, right, np.eye(3)


def mislabelled():
    """Return three classes, the first one with other labels for four in ten."""
    right = np.repeat([0, 1, 2], 200)
    transition = np.array([[0.6, 0.4, 0], [0, 1, 0], [0, 0, 1]])
    labels = right.copy()
    labels[:200:5] = labels[1:200:5] = 1
    return transition[right], labels, transition


@pytest.mark.parametrize("case", [hard_to_recognize, mislabelled])
def test_a_class_that_is_seldom_predicted_has_no_wrong_labels(case):
    probabilities, labels, expected = case()
    found = queries.estimate_transition(probabilities, labels)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_equally_sure_samples_count_in_any_order():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    probabilities = np.eye(2)[(rng.uniform(size=200) < 0.5).astype(int)]
    order = rng.permutation(200)
    np.testing.assert_allclose(
        queries.estimate_transition(probabilities, labels),
        queries.estimate_transition(probabilities[order], labels[order]),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("transition", "message"),
    [
        ([[0.5, 0.5], [0.5, 0.5]], "must have an inverse"),
        ([[0.9, 0.2], [0, 1]], "sum to 1"),
        ([[1.1, -0.1], [0, 1]], "rows of probabilities"),
        ([[np.nan, 1], [0, 1]], "rows of probabilities"),
        ([0.5, 0.5], "a row and a column for each class"),
        ("pair", "a matrix of numbers"),
        (pd.DataFrame([[0.7, 0.3], [0, 1]], columns=["spam", "ham"]), "in the order"),
        (pd.DataFrame([[0.7, 0.3], [0, 1]]), "in the order"),
    ],
)
def test_what_is_no_transition_matrix_is_refused(transition, message):
    with pytest.raises(ValueError, match=message):
        queries.corrected_error(transition)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.ones((4, 3)), [0, 1, 0, 1], "a column for each of the classes"),
        (np.full((60, 2), np.nan), np.arange(60) % 2, "must be finite"),
        (np.ones((60, 2)), np.arange(60) < 5, "at least 40 samples of each class"),
        (np.full((90, 2), -3.0), np.arange(90) % 2, "between 0 and 1, .* got -3 to -3"),
        (np.ones((90, 2)), np.arange(90)[:, None] % 2, r"one label .* shape \(90, 1\)"),
        (np.ones((90, 3)), [0, 1, np.nan] * 30, "one label .* got NaN among them"),
        (np.ones((90, 3)), ["a", "b", None] * 30, "all texts or all numbers"),
        (np.full((90, 2), "a"), np.arange(90) % 2, "a matrix of numbers"),
    ],
)
def test_what_no_matrix_can_be_estimated_from_is_refused(
    probabilities, labels, message
):
    with pytest.raises(ValueError, match=message):
        queries.estimate_transition(probabilities, labels)


def test_weights_by_noisy_labels_are_refused():
    clf = SGDInfluenceClassifier("linear", max_epochs=1, class_weight="balanced")
    X = np.eye(4, dtype=np.float32)
    query = queries.corrected_error(np.eye(2))
    with pytest.raises(ValueError, match=r"without class_weight \(got 'balanced'"):
        clf.fit(X, [0, 1, 0, 1]).influence(X, [0, 1, 0, 1], query=query)


def test_a_matrix_of_other_classes_is_refused_before_the_retrace(trained):
    clf, X, y = trained
    query = queries.corrected_error(np.eye(2))
    with pytest.raises(ValueError, match="for the 3 classes of the estimator, got one"):
        clf.influence(X, y, query=query)
