"""Groups are held out as a whole, wherever samples are held out."""

from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV, GroupKFold, LeaveOneGroupOut

from skinfluence import InfluenceCleaner
from skinfluence.cleaning import InfluenceCleanerCV

rng = np.random.RandomState(0)
GROUPS = rng.permutation(np.repeat(np.arange(12), 10))
X = np.column_stack([np.arange(120.0), GROUPS])
Y = np.arange(120) % 2


class Seen(DummyClassifier):
    """Notes the groups of each fit and of each score, which are in a column of X."""

    calls: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        self.groups_ = set(X[:, 1])
        return super().fit(X, y)

    def score(self, X, y, sample_weight=None):
        self.calls.append((self.groups_, set(X[:, 1])))
        return super().score(X, y)


def scorer(estimator, X, y, X_val, y_val, sample_weight_val=None):
    Seen.calls.append((set(X[:, 1]), set(X_val[:, 1])))
    return np.arange(len(X), dtype=float)


CLEANERS = [
    InfluenceCleaner(Seen(), scorer=scorer, n_remove=5, random_state=0),
    InfluenceCleaner(Seen(), scorer=scorer, n_remove=5, cv=3, random_state=0),
    InfluenceCleaner(Seen(), scorer=scorer, n_remove=5, cv=GroupKFold(4)),
    InfluenceCleaner(Seen(), scorer=scorer, n_remove="auto", random_state=0),
    InfluenceCleanerCV(Seen(), scorer=scorer, n_removes=[0, 5], random_state=0),
    InfluenceCleanerCV(
        Seen(), scorer=scorer, n_removes=[0, 5], cv=LeaveOneGroupOut(), random_state=0
    ),
]


@pytest.mark.parametrize("cleaner", CLEANERS, ids=range(len(CLEANERS)))
@pytest.mark.parametrize("names", [GROUPS, [f"patient {g}" for g in GROUPS]])
def test_no_group_is_on_both_sides(cleaner, names):
    Seen.calls.clear()
    clone(cleaner).fit(X, Y, groups=names)
    assert Seen.calls
    assert all(not trained & held_out for trained, held_out in Seen.calls)


@pytest.mark.parametrize("fraction", [0.1, 0.25])
def test_about_the_fraction_is_held_out(fraction):
    Seen.calls.clear()
    cleaner = clone(CLEANERS[0]).set_params(validation_fraction=fraction)
    cleaner.fit(X, Y, groups=GROUPS)
    ((trained, held_out),) = Seen.calls
    assert trained | held_out == set(range(12))
    # As near as whole groups go: a fold more or fewer than 12 / round(1 / fraction).
    assert abs(len(held_out) - 12 * fraction) <= 1


def test_fit_resample_takes_them_too():
    Seen.calls.clear()
    clone(CLEANERS[0]).fit_resample(X, Y, groups=GROUPS)
    # Of fewer groups than five, each is held out once.
    assert len(Seen.calls) == min(5, len(set(GROUPS)))
    for trained, held_out in Seen.calls:
        assert trained | held_out == set(range(12))
        assert not trained & held_out


def test_with_metadata_routing_a_grid_search_passes_them_on():
    with config_context(enable_metadata_routing=True):
        estimator = Seen().set_fit_request(sample_weight=False)
        cleaner = clone(CLEANERS[1]).set_params(estimator=estimator)
        cleaner.set_fit_request(groups=True)
        search = GridSearchCV(cleaner, {"n_remove": [0, 3]}, cv=GroupKFold(2))
        Seen.calls.clear()
        search.fit(X, Y, groups=GROUPS)
    assert all(not trained & held_out for trained, held_out in Seen.calls)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (GROUPS[:-1], "one entry for each of the 120 samples, got 119"),
        (np.zeros(120), "at least 3 groups, one for each fold, got 1"),
        ([*GROUPS[:-1].tolist(), None], "the group of every sample, got 1 missing"),
        ([*map(str, GROUPS[:-2]), np.nan, np.nan], "every sample, got 2 missing"),
        ([*GROUPS[:-2].tolist(), np.nan, np.nan], "every sample, got 2 missing"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups, words):
    with pytest.raises(ValueError, match=f"`groups` must .*{words}"):
        clone(CLEANERS[1]).fit(X, Y, groups=groups)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (np.zeros(120), "at least 2 groups, one for each fold, got 1"),
        # All of one class are held out together, and none of it would validate.
        (np.where(Y, 99, GROUPS), r"to train on, but .* none are left of \[1\]"),
    ],
    ids=["one", "of_a_class"],
)
def test_groups_that_leave_a_class_out_are_refused(groups, words):
    with pytest.raises(ValueError, match=f"`groups` must .*{words}"):
        clone(CLEANERS[0]).fit(X, Y, groups=groups)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_verbose_cleaner_shows_its_folds_and_changes_nothing(capfd, n_jobs):
    quiet = InfluenceCleaner(
        DummyClassifier(), scorer="random", cv=4, n_jobs=n_jobs, random_state=0
    )
    shown = clone(quiet).set_params(verbose=1)
    kept = [cleaner.fit(X, Y).sample_indices_ for cleaner in (quiet, shown)]
    assert all(np.array_equal(a, b) for a, b in pairwise(kept))
    assert "3/3" in capfd.readouterr().err  # the first is fitted before the bar
