"""Cleaning where the labels of one class are wrong more often than the others'."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import Callback
from torch import nn

from skinfluence import InfluenceCleaner, SGDInfluenceClassifier, queries
from skinfluence.cleaning import InfluenceCleanerCV
from skinfluence.cleaning._label_noise import label_probability, mean_probabilities
from skinfluence.datasets import flip_labels, flip_labels_by_class
from skinfluence.scorers import SGDInfluence
from tests.cleaning.problems import quick

ONE_CLASS = np.array([[0.6, 0.4], [0.0, 1.0]])


def problem(transition=ONE_CLASS):
    """Return two classes that a linear model can tell apart, with noisy labels."""
    options = {"n_informative": 4, "n_clusters_per_class": 1, "flip_y": 0}
    X, y = make_classification(600, 6, class_sep=0.6, random_state=0, **options)
    X = (X / X.std(axis=0)).astype(np.float32)
    if transition is None:
        return X, *flip_labels(y, 0.2, random_state=0)
    return X, *flip_labels_by_class(y, transition, random_state=0)


def cleaned(X, y, count, **options):
    options = {"n_remove": count, "cv": 2, "random_state": 0, **options}
    return InfluenceCleaner(quick(max_epochs=10, lr=0.1), **options).fit(X, y)


def test_noise_in_one_class_is_estimated_and_corrected():
    X, y, flipped = problem()
    count = int(flipped.sum())
    found = cleaned(X, y, count)
    assert found.query_.name == "corrected_error"
    # Three standard errors of the share among the 40 anchors of the first class.
    error = 3 * np.sqrt(0.24 / 40)
    np.testing.assert_allclose(found.transition_, ONE_CLASS, atol=error)
    plain = cleaned(X, y, count, query="error")
    assert plain.transition_ is None
    shares = [flipped[each.removed_indices_].mean() for each in (found, plain)]
    assert shares[0] > shares[1] + 0.1
    named = cleaned(X, y, count, query="corrected_error")
    np.testing.assert_array_equal(named.influence_, found.influence_)


def test_a_known_matrix_is_taken_as_it_is():
    X, y, flipped = problem()
    query = queries.corrected_error(ONE_CLASS)
    found = cleaned(X, y, int(flipped.sum()), query=query)
    assert found.query_.name == "corrected_error"
    assert found.transition_ is None
    assert flipped[found.removed_indices_].mean() > 0.95


def test_uniform_noise_needs_no_correction():
    X, y, _ = problem(None)
    found = cleaned(X, y, 60)
    assert found.query_ == "error"
    assert np.ptp(np.diag(found.transition_)) < 1e-12
    plain = cleaned(X, y, 60, query="error")
    np.testing.assert_array_equal(found.influence_, plain.influence_)


def test_labels_are_right_by_bayes_rule():
    rng = np.random.default_rng(0)
    right, y = rng.dirichlet(np.ones(3), 30), rng.permutation(np.arange(30) % 3)
    transition = np.array([[0.6, 0.4, 0.0], [0.1, 0.7, 0.2], [0.0, 0.0, 1.0]])
    found = label_probability(right @ transition, y, transition)
    joint = [
        [of_class * transition[j, label] for j, of_class in enumerate(row)]
        for row, label in zip(right, y, strict=True)
    ]
    expected = [row[label] / sum(row) for row, label in zip(joint, y, strict=True)]
    # The inverse of a matrix of condition 3 is in between.
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_label_may_be_right_however_sure_the_models_are_of_another():
    # The first class is never mistaken: whatever has the other label is of the other.
    transition = np.array([[1.0, 0.0], [0.3, 0.7]])
    found = label_probability(np.eye(2)[[0, 0]], np.arange(2), transition)
    np.testing.assert_allclose(found, [1, 1], rtol=1e-12)


def test_nothing_is_said_of_a_class_that_no_model_knows():
    X, y, _ = problem()
    groups = np.where(y == 0, 0, np.arange(600) % 4)
    halves = np.arange(0, 600, 2), np.arange(1, 600, 2)
    cleaner = InfluenceCleaner(quick(), cv=[halves], random_state=0)
    found = clone(cleaner).fit(X, y, groups=groups)
    assert found.label_probability_ is None
    assert found.query_ == "error"
    with pytest.raises(ValueError, match="two groups or more of each class"):
        cleaner.set_params(query="corrected_error").fit(X, y, groups=groups)


def test_samples_go_by_their_influence_and_by_how_probable_their_label_is():
    X, y, flipped = problem()
    found = cleaned(X, y, 60)
    ranks = [rankdata(each) for each in (found.influence_, found.label_probability_)]
    assert (np.diff(sum(ranks)[found.ranking_]) >= 0).all()
    shown = found.to_frame()["label_probability"]
    assert np.array_equal(shown, found.label_probability_[found.ranking_])
    assert "by 'influence' and label probability, query" in found._facts()["Ranked"]
    # The classes can be told apart.
    assert flipped[found.label_probability_ < 0.1].mean() > 0.95
    for action in "relabel", "reweight":
        other = cleaned(X, y, 20, action=action)
        assert other.label_probability_ is None
        assert "label_probability" not in other.to_frame()
        assert other.transition_ is not None


def test_held_out_samples_are_judged_by_the_models_of_all_epochs():
    X, y, _ = problem()
    probabilities = []

    class Noted(Callback):
        def on_epoch_end(self, net, **kwargs):
            probabilities.append(net.predict_proba(X))

    clf = quick(callbacks=[Noted()]).fit(X, y)
    found, expected = mean_probabilities(clf, X), np.mean(probabilities, axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)  # float32
    clf = LogisticRegression().fit(X, y)
    np.testing.assert_array_equal(mean_probabilities(clf, X), clf.predict_proba(X))


def test_the_estimate_is_cached(tmp_path):
    X, y, _ = problem()
    first = cleaned(X, y, 30, memory=tmp_path)
    files = {path.name for path in tmp_path.glob("*.safetensors")}
    again = cleaned(X, y, 60, memory=tmp_path)
    assert {path.name for path in tmp_path.glob("*.safetensors")} == files
    np.testing.assert_array_equal(first.transition_, again.transition_)


def test_of_few_groups_each_is_held_out_once():
    X, y, _ = problem()
    fits = []

    class Noted(SGDInfluenceClassifier):
        def fit(self, X, y=None, **fit_params):
            fits.append(set(X[:, 0].tolist()))
            return super().fit(X, y, **fit_params)

    X[:, 0] = np.arange(600) % 2
    clf = Noted("linear", max_epochs=5, random_state=0)
    options = {"n_remove": 20, "cv": 2, "query": "corrected_error"}
    InfluenceCleaner(clf, random_state=0, **options).fit(X, y, groups=X[:, 0])
    # Two fits for the estimate, two for the ranking, and the final one.
    assert sorted(map(sorted, fits[:2])) == [[0.0], [1.0]]
    assert len(fits) == 5


def test_samples_without_weight_tell_nothing():
    X, y, _ = problem()
    halves = np.arange(0, 400, 2), np.arange(1, 400, 2)
    cleaner = InfluenceCleaner(quick(), cv=[halves], random_state=0)
    expected = clone(cleaner).fit(X[:400], y[:400], sample_weight=np.ones(400))
    weights = np.repeat([1.0, 0.0], [400, 200])
    X[400:], y[400:] = 0, 1 - y[400:]
    found = cleaner.fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(found.transition_, expected.transition_)


def test_a_scorer_with_a_query_of_its_own_needs_no_estimate():
    X, y, _ = problem()
    found = InfluenceCleaner(quick(), scorer=SGDInfluence(), random_state=0).fit(X, y)
    assert (found.query_, found.transition_) == ("loss", None)


def test_of_sequences_of_two_labels_the_loss_is_asked_for():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)).astype(np.float32)
    module = nn.Sequential(nn.Linear(3, 8), nn.Unflatten(1, (2, 4)))
    clf = SGDInfluenceClassifier(
        module, max_epochs=2, criterion=nn.CrossEntropyLoss, random_state=0
    )
    y = (X[:, [0, 1, 2, 0]] > 0).astype(int)
    assert InfluenceCleaner(clf, random_state=0).fit(X, y).query_ == "loss"


def test_each_fold_of_a_search_estimates_for_itself():
    X, y, _ = problem()
    search = InfluenceCleanerCV(quick(), n_removes=[0, 60], cv=2, random_state=0)
    assert search.fit(X, y).query_.name == "corrected_error"


@pytest.mark.parametrize(
    ("classes", "rows"),
    [([0, 1, 7], [0, 1]), ([7, 1, 0], [2, 1])],
    ids=["sorted", "unsorted"],
)
def test_the_matrix_is_in_the_order_of_the_estimators_classes(classes, rows):
    X, y, flipped = problem()
    clf = quick(classes=classes, max_epochs=10, lr=0.1)
    found = InfluenceCleaner(clf, n_remove=60, random_state=0).fit(X, y)
    # Of samples that are surely of one class the values tell the inverse's entries.
    logs = torch.eye(3, dtype=torch.float64).log()
    whole = np.stack(
        [
            1 - found.query_.values(logs, torch.full((3,), label)).numpy()
            for label in range(3)
        ]
    )
    expected = np.eye(3)
    expected[np.ix_(rows, rows)] = np.linalg.inv(found.transition_)
    np.testing.assert_allclose(whole, expected, atol=1e-12)
    assert flipped[found.removed_indices_].mean() > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"X_val": True}, "only for samples that are held out"),
        ({"estimator": quick(class_weight="balanced")}, "without class_weight"),
        ({"rows": 80}, "two classes with 50 samples each .*, got 18 of 0"),
        ({"scorer": SGDInfluence()}, "`query` must be 'auto' with scorer=SGDInf"),
        ({"scorer": "loss"}, "`query` must be 'auto' with scorer='loss'"),
        ({"groups": np.zeros(600)}, "two groups or none, got a single group"),
        ({"estimator": quick(criterion=nn.MultiMarginLoss)}, "'corrected_error' only"),
    ],
)
def test_a_correction_that_cannot_be_had_is_refused(options, message):
    X, y, _ = problem()
    rows = options.pop("rows", len(y))
    given = (X[:50], y[:50]) if options.pop("X_val", False) else None
    groups = options.pop("groups", None)
    halves = None if given else [(np.arange(0, rows, 2), np.arange(1, rows, 2))]
    cleaner = InfluenceCleaner(
        **{"estimator": quick(), "query": "corrected_error", "cv": halves, **options}
    )
    with pytest.raises(ValueError, match=message):
        cleaner.fit(X[:rows], y[:rows], X_val=given, groups=groups)


@pytest.mark.parametrize("options", [{"n_samples": 90}, {"X_val": True}])
def test_where_it_cannot_be_estimated_nothing_is_corrected(options):
    X, y, _ = problem()
    n = options.pop("n_samples", len(y))
    given = (X[:50], y[:50]) if options else None
    found = InfluenceCleaner(quick(), random_state=0).fit(X[:n], y[:n], X_val=given)
    assert found.transition_ is None
    assert found.query_ in ("error", "loss")
