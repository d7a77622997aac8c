"""The comparison of scorers against the same figures computed one by one."""

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.base import clone
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from skinfluence.cleaning import compare_scorers
from skinfluence.scorers import KNNShapley, Loss, Random
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    """Return X, y, flips, validation and test data."""
    X, y, flips, X_rest, y_rest = flipped_blobs(n_val=80)
    return X, y, flips, X_rest[:40], y_rest[:40], X_rest[40:], y_rest[40:]


def noted(scorer, notes):
    """Return a scorer that notes the estimator and what it gave."""

    def call(estimator, *data):
        notes.append((estimator, scorer(estimator, *data)))
        return notes[-1][1]

    return call


def test_figures_are_those_computed_one_by_one(blobs):
    X, y, flips, X_val, y_val, X_test, y_test = blobs
    notes = {"loss": [], "knn": []}
    scorers = {
        "loss": noted(Loss(), notes["loss"]),
        "knn": noted(KNNShapley(), notes["knn"]),
    }
    table = compare_scorers(
        quick(shuffle=True),
        X,
        y,
        X_val,
        y_val,
        scorers,
        X_test=X_test,
        y_test=y_test,
        truth=flips,
        n_remove=[0, 7, 0.25],
        n_seeds=3,
        random_state=0,
    )
    assert table["scorer"].tolist() == ["loss"] * 3 + ["knn"] * 3
    assert table["n_removed"].tolist() == [0, 7, 30] * 2
    models = [model for model, _ in notes["loss"]]
    assert models == [model for model, _ in notes["knn"]]
    # Seeds of their own, whatever the estimator's was.
    assert len({model.random_state for model in models} - {0}) == 3
    for name in scorers:
        columns = {
            key: []
            for key in ("tau", "average_precision", "roc_auc", "precision", "score")
        }
        for (_, first), (model, scores) in zip(notes["loss"], notes[name], strict=True):
            order = np.argsort(scores, kind="stable")
            after = [
                clone(model)
                .fit(np.delete(X, order[:count], 0), np.delete(y, order[:count]))
                .score(X_test, y_test)
                for count in (0, 7, 30)
            ]
            columns["score"].append(after)
            columns["precision"].append(
                [np.nan, flips[order[:7]].mean(), flips[order[:30]].mean()]
            )
            columns["tau"].append([kendalltau(first, scores).statistic] * 3)
            found = average_precision_score(flips, -scores)
            columns["average_precision"].append([found] * 3)
            columns["roc_auc"].append([roc_auc_score(flips, -scores)] * 3)
        own = table[table["scorer"] == name]
        for key, values in columns.items():
            np.testing.assert_allclose(own[key], np.mean(values, axis=0))
            error = np.std(values, axis=0, ddof=1) / 3**0.5
            np.testing.assert_allclose(own[f"{key}_se"], error, atol=1e-15)
        assert (own["seconds"] > 0).all()


def test_seeds_decide_and_processes_do_not(blobs):
    X, y, flips, X_val, y_val, *_ = blobs
    options = {"truth": flips, "n_remove": [5], "n_seeds": 2}
    scorers = ["influence", "random", DecisionTreeScorer()]

    def compare(**more):
        table = compare_scorers(quick(), X, y, X_val, y_val, scorers, **options, **more)
        return table.drop(columns=["seconds", "seconds_se"])

    alone = compare(random_state=1)
    assert alone.equals(compare(random_state=1, n_jobs=2))
    assert not alone.equals(compare(random_state=2))
    chance = alone[alone["scorer"] == "random"]
    assert (chance["average_precision_se"] > 0).all()


class DecisionTreeScorer(Random):
    """A scorer of another kind, whose random state is set as well."""

    def __call__(self, estimator, X, y, X_val, y_val):
        tree = DecisionTreeClassifier(max_features=1, random_state=self.random_state)
        likely = tree.fit(X_val, y_val).predict_proba(X)
        return likely[np.arange(len(y)), y] + 1e-3 * X[:, 0]


def test_without_truth_and_test_data_there_is_a_row_for_each(blobs):
    X, y, _, X_val, y_val, *_ = blobs
    table = compare_scorers(
        KNeighborsClassifier(), X, y, X_val, y_val, ["loss", "random"], n_seeds=1
    )
    assert table.columns.tolist() == [
        "scorer", "n_removed", "seconds", "seconds_se", "tau", "tau_se",
    ]  # fmt: skip
    assert len(table) == 2
    # One seed has no standard error.
    assert table["seconds_se"].isna().all()


def test_no_score_where_a_class_is_gone(blobs):
    X, y, _, X_val, y_val, X_test, y_test = blobs
    by_class = (y + 0.001 * X[:, 0]).astype(float)
    table = compare_scorers(
        quick(),
        X,
        y,
        X_val,
        y_val,
        {"class": lambda *data: by_class},
        X_test=X_test,
        y_test=y_test,
        n_remove=[0, 5, 60],
        n_seeds=1,
    )
    assert table["score"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scorers": "loss"}, ValueError, "`scorers` must be a sequence"),
        ({"scorers": ["loss", "lass"]}, ValueError, "`scorer` must be one of"),
        ({"scorers": ["influence"]}, TypeError, "a method `influence` for the scorer"),
        ({"X_test": [[0.0]]}, ValueError, "`X_test` and `y_test` must be given tog"),
        ({"truth": [True, False]}, ValueError, r"bool of shape \(120,\), with some"),
        ({"truth": np.ones(120, bool)}, ValueError, "with some bad and .* 120 bad"),
        ({"truth": np.arange(120) % 2}, ValueError, "got int64 of shape"),
        ({"n_seeds": 0}, ValueError, r"`n_seeds` must be .* at least 1, got 0"),
        ({"n_remove": [120]}, ValueError, "below the number of samples"),
        ({"scoring": "accurate"}, ValueError, "accurate"),
    ],
)
def test_refuses_before_any_work(blobs, options, error, message):
    class Unfit(KNeighborsClassifier):
        def fit(self, X, y):
            raise AssertionError("work was begun")

    X, y, _, X_val, y_val, *_ = blobs
    scorers = options.pop("scorers", ["loss"])
    with pytest.raises(error, match=message):
        compare_scorers(Unfit(), X, y, X_val, y_val, scorers, **options)


@pytest.mark.parametrize("scores", [np.full(120, np.nan), np.zeros(120)])
def test_refuses_scores_that_are_no_ranking(blobs, scores):
    X, y, _, X_val, y_val, *_ = blobs
    with pytest.raises(ValueError, match=r"`scorer` must (return one|distinguish the)"):
        compare_scorers(
            KNeighborsClassifier(), X, y, X_val, y_val, [lambda *data: scores]
        )
