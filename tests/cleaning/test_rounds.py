"""Cleaning in rounds: against the same thing done by hand, one round at a time."""

import numpy as np
import pytest
from sklearn.base import clone

from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV
from tests.cleaning.counting import CountingInfluence
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


def cleaner(**options):
    defaults = {"estimator": quick(), "n_remove": 18, "n_rounds": 3, "random_state": 0}
    return InfluenceCleaner(**{**defaults, **options})


def removed_by_hand(X, y, sizes, score):
    """Return what is removed, with its score, if each round trains on what is left."""
    left, removed, scores = np.arange(len(y)), [], []
    for size in sizes:
        changes = score(left)
        worst = changes.argsort(kind="stable")[:size]
        removed += left[worst].tolist()
        scores += changes[worst].tolist()
        left = np.delete(left, worst)
    return removed, scores, left


def test_each_round_trains_and_ranks_anew(blobs):
    X, y, _, X_val, y_val = blobs
    cleaned = cleaner().fit(X, y, X_val, y_val)

    def score(rows):
        return quick().fit(X[rows], y[rows]).influence(X_val, y_val, at="epochs")

    removed, scores, left = removed_by_hand(X, y, [6, 6, 6], score)
    assert cleaned.removed_indices_.tolist() == removed
    assert cleaned.influence_[removed].tolist() == scores
    assert cleaned.ranking_[:18].tolist() == removed
    # The others keep the scores of the last round, which ranks without the first two.
    assert sorted(cleaned.ranking_[18:]) == left.tolist()
    assert np.all(np.diff(cleaned.influence_[cleaned.ranking_[18:]]) >= 0)
    assert np.array_equal(cleaned.sample_indices_, left)
    assert not np.array_equal(
        removed, cleaner(n_rounds=1).fit(X, y, X_val, y_val).removed_indices_
    )
    # The model before cleaning is that of the first round.
    before = quick().fit(X, y)
    assert np.array_equal(
        cleaned.estimator_.predict_proba(X_val), before.predict_proba(X_val)
    )
    assert cleaned.to_frame()["score"].tolist()[:18] == scores


def test_held_out_samples_stay_held_out(blobs):
    X, y, *_ = blobs
    first = cleaner(n_rounds=1, validation_fraction=0.2).fit(X, y)
    held_out = np.flatnonzero(np.isnan(first.influence_))
    assert len(held_out) == 24  # a fifth of 120
    cleaned = cleaner(validation_fraction=0.2).fit(X, y)
    assert np.array_equal(np.flatnonzero(np.isnan(cleaned.influence_)), held_out)

    def score(rows):
        train = np.setdiff1d(rows, held_out)
        changes = np.full(len(y), np.inf)
        fitted = quick().fit(X[train], y[train])
        changes[train] = fitted.influence(
            X[held_out], y[held_out], query="error", at="epochs"
        )
        return changes[rows]

    removed, scores, _ = removed_by_hand(X, y, [6, 6, 6], score)
    assert cleaned.removed_indices_.tolist() == removed
    assert cleaned.influence_[removed].tolist() == scores


def test_removed_samples_still_validate(blobs):
    X, y, *_ = blobs
    halves = [(np.arange(0, 120, 2), np.arange(1, 120, 2))]
    halves.append(halves[0][::-1])
    cleaned = cleaner(cv=halves, n_rounds=2).fit(X, y)

    def score(rows):
        changes = np.empty(len(y))
        for train, test in halves:
            train = np.intersect1d(train, rows)
            fitted = quick().fit(X[train], y[train])
            changes[train] = fitted.influence(
                X[test], y[test], query="error", at="epochs"
            )
        return changes[rows]

    removed, scores, _ = removed_by_hand(X, y, [9, 9], score)
    assert cleaned.removed_indices_.tolist() == removed
    assert cleaned.influence_[removed].tolist() == scores


def test_relabels_in_rounds(blobs):
    X, y, _, X_val, y_val = blobs
    cleaned = cleaner(action="relabel").fit(X, y, X_val, y_val)
    labels, chosen = y.copy(), []
    for _ in range(3):
        fitted = quick().fit(X, labels)
        changes = fitted.label_influence(X_val, y_val, at="epochs")
        order = changes.min(axis=1).argsort(kind="stable")
        # No sample is relabelled twice.
        fresh = order[~np.isin(order, chosen)][:6]
        labels[fresh] = changes[fresh].argmin(axis=1)
        chosen += fresh.tolist()
    table = cleaned.relabelled_
    moved = [row for row in chosen if labels[row] != y[row]]
    assert table["index"].tolist() == moved
    assert table["to"].tolist() == labels[moved].tolist()
    final = quick().fit(X, labels)
    assert np.array_equal(cleaned.predict_proba(X_val), final.predict_proba(X_val))


def test_relabelled_samples_validate_with_their_given_labels(blobs):
    X, y, *_ = blobs
    halves = [(np.arange(0, 120, 2), np.arange(1, 120, 2))]
    halves.append(halves[0][::-1])
    cleaned = cleaner(action="relabel", cv=halves, n_rounds=2).fit(X, y)
    labels, chosen = y.copy(), []
    for _ in range(2):
        changes = np.empty((len(y), 3))
        for train, test in halves:
            fitted = quick().fit(X[train], labels[train])
            changes[train] = fitted.label_influence(
                X[test], y[test], query="error", at="epochs"
            )
        order = changes.min(axis=1).argsort(kind="stable")
        fresh = order[~np.isin(order, chosen)][:9]
        labels[fresh] = changes[fresh].argmin(axis=1)
        chosen += fresh.tolist()
    moved = [row for row in chosen if labels[row] != y[row]]
    assert cleaned.relabelled_["index"].tolist() == moved
    assert cleaned.relabelled_["to"].tolist() == labels[moved].tolist()


@pytest.mark.slow
def test_reweighting_takes_a_step_in_each_round(blobs):
    X, y, _, X_val, y_val = blobs

    def weights(n_rounds):
        changed = cleaner(action="reweight", n_rounds=n_rounds)
        return changed.fit(X, y, X_val, y_val).sample_weight_

    assert np.array_equal(weights(None), weights(5))
    assert not np.array_equal(weights(1), weights(5))
    # More steps than samples are no contradiction here: each is of all weights.
    few = cleaner(action="reweight", n_remove=2, n_rounds=3)
    few.fit(X, y, X_val, y_val)
    assert (1 - few.sample_weight_).sum() <= 2 + 1e-9  # of 120 sums of 1e-16 each


@pytest.mark.slow
def test_the_numbers_of_a_path_share_its_rounds(blobs):
    X, y, *_ = blobs
    options = {"n_rounds": 4, "cv": 3, "random_state": 0}
    path = InfluenceCleanerCV(quick(), n_removes=[5, 10, 16], **options)
    path.fit(X, y)
    # Rounds of four: the number that was chosen is cleaned as it was in the folds.
    whole = cleaner(n_remove=16, n_rounds=4).fit(X, y)
    assert np.array_equal(path.removed_indices_, whole.ranking_[: path.n_removed_])


def test_a_cached_round_is_not_computed_again(blobs, tmp_path):
    X, y, _, X_val, y_val = blobs
    calls = tmp_path / "calls"
    calls.mkdir()

    def fit(**options):
        scorer = CountingInfluence(calls)
        cached = cleaner(scorer=scorer, memory=tmp_path / "memory", **options)
        cached.fit(X, y, X_val, y_val)
        return len(list(calls.iterdir())), cached.removed_indices_.tolist()

    n_calls, removed = fit()
    assert n_calls == 3
    assert fit() == (3, removed)
    # Both begin with the first round of six.
    n_calls, further = fit(n_remove=24, n_rounds=4)
    assert (n_calls, further[:18]) == (4, removed)


@pytest.mark.slow
def test_auto_removes_only_what_harms():
    X, y, flips, X_val, y_val = flipped_blobs(fraction=0.3)
    clf = quick(max_epochs=8, lr=0.3, batch_size=60)
    auto = cleaner(n_remove="auto", n_rounds=2, estimator=clf)
    auto.fit(X, y, X_val, y_val)
    # Rounds divide the largest number tried, 48 of 120: one ends on the way to this.
    assert 24 < auto.n_removed_ <= 48
    assert np.all(auto.influence_[auto.removed_indices_] < 0)
    # Chance would have .3.
    assert flips[auto.removed_indices_].mean() > 0.8


def test_a_class_is_not_emptied_on_the_way(blobs):
    X, y, *_ = blobs
    few = np.concatenate([np.flatnonzero(y == 0)[:4], np.flatnonzero(y != 0)])
    X, y = X[few], y[few]

    def rare_first(estimator, X, y, X_val, y_val):
        return 1000.0 * (y != 0) + np.arange(len(y))

    options = {"scorer": rare_first, "max_class_fraction": None}
    with pytest.raises(ValueError, match="leave samples of every class"):
        cleaner(n_remove=12, n_rounds=3, cv=2, **options).fit(X, y)


@pytest.mark.parametrize("n_rounds", [0, -1, 1.5, True, "two"])
def test_n_rounds_is_checked(blobs, n_rounds):
    with pytest.raises(ValueError, match="'n_rounds' parameter of InfluenceCleaner"):
        cleaner(n_rounds=n_rounds).fit(*blobs[:2])


def test_more_rounds_than_samples_are_refused_before_any_work(blobs):
    X, y, *_ = blobs

    class Untrained(type(quick())):
        def fit(self, X, y, **params):
            raise AssertionError("trained")

    refused = cleaner(n_remove=2, n_rounds=3, estimator=Untrained("linear"))
    match = r"`n_rounds` must not exceed the number of samples to choose \(2\), got 3"
    with pytest.raises(ValueError, match=match):
        refused.fit(X, y)
    # None to remove needs no rounds, so that 0 can be one number of a search.
    assert clone(cleaner(n_remove=0)).fit(X, y).n_removed_ == 0
