"""Cleaning and scoring samples that have several labels each."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.multioutput import MultiOutputClassifier

from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import (
    InfluenceCleaner,
    InfluenceCleanerCV,
    compare_scorers,
    suggest,
)
from skinfluence.scorers import Loss, get_scorer
from skinfluence.scorers._base import NAMED_SCORERS

N_LABELS = 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
X_VAL = RNG.normal(size=(31, 5))
TRUE, Y_VAL = ((x[:, :N_LABELS] > 0.3).astype(np.int64) for x in (X, X_VAL))
WRONG = RNG.permutation(60)[:6], RNG.integers(0, N_LABELS, 6)
Y = TRUE.copy()
Y[WRONG] = 1 - Y[WRONG]


def quick(**options):
    options = {"lr": 0.5, "max_epochs": 10, "random_state": 0, **options}
    return SGDInfluenceClassifier("linear", **options)


def cleaner(**options):
    return InfluenceCleaner(quick(), **{"n_remove": 6, "random_state": 0, **options})


def test_removes_those_with_the_lowest_influence():
    found = cleaner().fit(X, Y, X_VAL, Y_VAL)
    scores = quick().fit(X, Y).influence(X_VAL, Y_VAL, at="epochs")
    np.testing.assert_array_equal(found.influence_, scores)
    assert set(found.removed_indices_) == set(scores.argsort()[:6])
    # Six of sixty have a wrong label: chance would find 0.6 of them.
    assert len(np.intersect1d(found.removed_indices_, WRONG[0])) >= 3
    assert found.predict(X_VAL).shape == Y_VAL.shape
    assert found.score(X_VAL, Y_VAL) == (found.predict(X_VAL) == Y_VAL).all(1).mean()


@pytest.mark.parametrize("options", [{}, {"cv": 3}, {"n_runs": 2}], ids=str)
def test_held_out_samples_count_by_the_share_of_wrong_labels(options):
    found = cleaner(**options).fit(X, Y)
    assert found.query_ == "error"
    assert found.n_removed_ == 6


def test_toggles_the_labels_that_gain_most():
    found = cleaner(action="relabel").fit(X, Y, X_VAL, Y_VAL)
    changes = quick().fit(X, Y).label_influence(X_VAL, Y_VAL, at="epochs")
    rows = changes.min(axis=1).argsort(kind="stable")[:6]
    labels = changes[rows].argmin(axis=1)
    table = found.relabelled_
    assert table.columns.tolist() == ["index", "label", "from", "to", "gain"]
    np.testing.assert_array_equal(table["index"], rows)
    np.testing.assert_array_equal(table["label"], labels)
    np.testing.assert_array_equal(table["from"], Y[rows, labels])
    np.testing.assert_array_equal(table["to"], 1 - Y[rows, labels])
    np.testing.assert_array_equal(table["gain"], -changes[rows, labels])
    mended = Y.copy()
    mended[rows, labels] = 1 - mended[rows, labels]
    # Six of 180 labels are wrong: chance would find 0.2 of them.
    assert (mended[WRONG] == TRUE[WRONG]).sum() >= 3
    direct = quick().fit(X, mended)
    np.testing.assert_array_equal(
        found.predict_proba(X_VAL), direct.predict_proba(X_VAL)
    )


def test_never_toggles_what_would_not_gain():
    found = cleaner(action="relabel", n_remove=59).fit(X, Y, X_VAL, Y_VAL)
    changes = quick().fit(X, Y).label_influence(X_VAL, Y_VAL, at="epochs")
    gaining = np.flatnonzero(changes.min(axis=1) < 0)
    chosen = changes.min(axis=1).argsort(kind="stable")[:59]
    assert len(gaining) < 59
    assert set(found.relabelled_["index"]) == set(gaining) & set(chosen)
    assert (found.relabelled_["gain"] > 0).all()


def test_exact_gains_of_toggles():
    found = cleaner(
        action="relabel", scorer=get_scorer("influence").set_params(verify=2)
    ).fit(X, Y, X_VAL, Y_VAL)
    clf = quick().fit(X, Y)
    for row in found.relabelled_.itertuples():
        if row.Index < 2:
            labels = Y[row.index].copy()
            labels[row.label] = row.to
            (exact,) = clf.counterfactual_influence(
                X_VAL, Y_VAL, [row.index], labels=[labels], at="epochs"
            )
            assert row.gain == pytest.approx(-exact, rel=1e-9)


@pytest.mark.parametrize("action", ["remove", "relabel"])
def test_tables_of_samples(action):
    found = cleaner(action=action).fit(X, Y, X_VAL, Y_VAL)
    table = found.to_frame()
    columns = [f"{name}_{k}" for name in ("label", "prediction") for k in range(3)]
    assert {*columns, *(f"probability_{k}" for k in range(3))} <= {*table}
    probabilities = found.predict_proba(X)[found.ranking_]
    np.testing.assert_array_equal(table["probability_1"], probabilities[:, 1])
    if action == "relabel":
        proposals = table.sort_index()[[f"proposal_{k}" for k in range(3)]]
        differ = (proposals.to_numpy() != Y).any(axis=1)
        assert differ[found.relabelled_["index"]].all()


@pytest.mark.parametrize("final", [RandomForestClassifier, MultiOutputClassifier])
def test_another_final_model(final):
    model = (
        RandomForestClassifier(10, random_state=0)
        if final is RandomForestClassifier
        else MultiOutputClassifier(LogisticRegression())
    )
    found = cleaner(final_estimator=model).fit(X, Y, X_VAL, Y_VAL)
    expected = np.stack([each[:, 1] for each in model.fit(X, Y).predict_proba(X)], 1)
    assert found.to_frame().shape[0] == len(X)
    assert expected.shape == Y.shape
    assert found.predict(X_VAL).shape == Y_VAL.shape


@pytest.mark.parametrize("action", ["remove", "relabel"])
@pytest.mark.parametrize(
    "container", [np.asarray, pd.DataFrame, list, sparse.csr_array], ids=range(4)
)
def test_containers_of_cleaned_labels(container, action):
    y = Y.tolist() if container is list else container(Y)
    own = cleaner(action=action)
    if container is sparse.csr_array and action == "relabel":
        with pytest.raises(TypeError, match="`y` must be an array"):
            own.fit_resample(X, y, X_VAL, Y_VAL)
        return
    X_kept, y_kept = own.fit_resample(X, y, X_VAL, Y_VAL)
    assert type(y_kept) is type(y)
    kept = np.delete(Y, own.removed_indices_, axis=0)
    if action == "relabel":
        table = own.relabelled_
        kept[table["index"], table["label"]] = table["to"]
    found = y_kept.toarray() if container is sparse.csr_array else np.asarray(y_kept)
    np.testing.assert_array_equal(found, kept)
    assert len(X_kept) == len(kept)


def test_how_many_are_removed_may_be_chosen():
    found = InfluenceCleanerCV(quick(), n_removes=[0, 4], random_state=0)
    found.fit(X, Y)
    assert found.n_removed_ in (0, 4)


def test_the_weights_are_learned():
    found = cleaner(action="reweight").fit(X, Y, X_VAL, Y_VAL)
    weights = found.sample_weight_
    assert weights[WRONG[0]].mean() < np.delete(weights, WRONG[0]).mean()


def test_suggests_which_label_to_toggle():
    changes = suggest(quick(max_epochs=30).fit(X, Y), X_VAL, Y_VAL, budget=20)
    told = changes[changes["action"] == "relabel"]
    wrong = {*zip(*(each.tolist() for each in WRONG), strict=True)}
    assert len({*zip(told["index"], told["label"], strict=True)} & wrong) >= 3


OF_ONE_LABEL = [
    *("area_under_margin", "confident_learning", "cook_distance", "data_oob", "el2n"),
    *("edited_neighbours", "forgetting", "knn_shapley", "margin", "mean_rank"),
    "probability_margin",
]


@pytest.mark.parametrize("name", sorted(NAMED_SCORERS))
def test_each_scorer_works_or_is_refused(name):
    if name == "ekfac":
        pytest.importorskip("kronfluence")
    data = X[:24], Y[:24], X_VAL, Y_VAL
    scorer, clf = get_scorer(name), quick(max_epochs=3).fit(*data[:2])
    small = {"n_permutations": 1, "n_subsets": 20, "n_iterations": 2, "random_state": 0}
    scorer.set_params(**{k: v for k, v in small.items() if k in scorer.get_params()})
    if name in OF_ONE_LABEL:
        message = "hold one label for each sample for the scorer"
        with pytest.raises(ValueError, match=message):
            scorer(clf, *data)
        with pytest.raises(ValueError, match=message):
            cleaner(scorer=scorer).fit(*data)
        return
    scores = scorer(clf, *data)
    assert scores.shape == (24,)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 1


def test_the_loss_of_another_model_is_refused():
    forest = RandomForestClassifier(3, random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"one label for each sample .*'loss'"):
        Loss()(forest, X, Y)


def test_scorers_are_compared():
    names = ["influence", "mean_loss"]
    table = compare_scorers(
        quick(), X, Y, X_VAL, Y_VAL, names, truth=(Y != TRUE).any(1), random_state=0
    )
    assert table["scorer"].unique().tolist() == names
    with pytest.raises(ValueError, match=r"one label for each sample .*'margin'"):
        compare_scorers(quick(), X, Y, X_VAL, Y_VAL, ["margin"])


@pytest.mark.parametrize(
    ("options", "y_val", "message"),
    [
        ({}, Y_VAL[:, 0], r"`y_val` must have as many .* as y \(3\), got 1"),
        ({}, Y_VAL[:, :2], r"`y_val` must have as many .* as y \(3\), got 2"),
        ({"max_class_fraction": 0.5}, Y_VAL, "`max_class_fraction` must be 'auto'"),
        ({"action": "unlabel"}, Y_VAL, "unlabel|1d array"),
        ({"decisions": pd.DataFrame()}, Y_VAL, "one target for each sample"),
        ({"final_estimator": LogisticRegressionCV()}, Y_VAL, "1d array"),
        ({"query": "balanced_loss"}, Y_VAL, "only where each sample has one label"),
    ],
    ids=range(7),
)
def test_refuses(options, y_val, message):
    with pytest.raises(ValueError, match=message):
        cleaner(**options).fit(X, Y, X_VAL, y_val)
