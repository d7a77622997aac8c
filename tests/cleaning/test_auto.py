"""`n_remove="auto"`: how the number is chosen."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from skinfluence.cleaning import InfluenceCleaner
from skinfluence.cleaning._choosing_n_remove import FRACTIONS
from tests.cleaning.problems import flipped_blobs, quick


class Spy:
    """Scores by a known ranking and notes what it was given."""

    def __init__(self, scores):
        self.scores = scores
        self.seen = []

    def __call__(self, estimator, X, y, X_val, y_val):
        self.seen.append((X[:, 0].astype(int), X_val[:, 0].astype(int)))
        return self.scores[X[:, 0].astype(int)]


def numbered(n_samples, offset=0):
    """Return samples that carry their number, and a second feature that is 0."""
    rows = np.arange(n_samples) + offset
    return np.stack([rows, np.zeros(n_samples)], axis=1).astype(np.float32)


def test_divides_the_validation_data_where_it_is_given():
    y, y_val = np.arange(40) % 2, np.arange(20) % 2
    spy = Spy(np.linspace(-1, 1, 40))
    cleaner = InfluenceCleaner(quick(), n_remove="auto", scorer=spy, random_state=0)
    cleaner.fit(numbered(40), y, numbered(20, 100), y_val)
    *folds, last = spy.seen
    assert len(folds) == 5
    for rows, validation in folds:
        assert rows.tolist() == list(range(40))
        assert len(validation) == 16
        assert y_val[validation - 100].sum() == 8
    judges = [set(range(100, 120)) - set(validation) for _, validation in folds]
    assert sorted(row for judge in judges for row in judge) == list(range(100, 120))
    assert last[1].tolist() == list(range(100, 120))


def test_divides_the_samples_where_none_is_given():
    spy = Spy(np.linspace(-1, 1, 60))
    y = np.arange(60) % 3
    options = {"validation_fraction": 0.2, "scorer": spy, "random_state": 0}
    InfluenceCleaner(quick(), n_remove="auto", **options).fit(numbered(60), y)
    *folds, last = spy.seen
    assert len(folds) == 5
    left_out = []
    for rows, validation in folds:
        assert len(rows) == 38
        assert len(validation) == 10
        left_out += sorted(set(range(60)) - set(rows) - set(validation))
    assert sorted(left_out) == list(range(60))
    assert len(last[0]) == 48


@pytest.mark.slow
def test_never_removes_what_is_not_estimated_to_help():
    X, y, flips, X_val, y_val = flipped_blobs(200, 0.3, n_val=100)

    def only_twelve(estimator, X, y, X_val, y_val):
        return np.where(np.cumsum(flips) <= 12, -flips.astype(float), 0.0)

    options = {"n_remove": "auto", "random_state": 0}
    cleaner = InfluenceCleaner(quick(), scorer=only_twelve, **options)
    cleaner.fit(X, y, X_val, y_val)
    assert set(cleaner.removed_indices_) <= set(np.flatnonzero(flips)[:12])
    nothing = InfluenceCleaner(
        quick(), scorer=lambda e, X, *_: np.arange(len(X)), **options
    )
    assert nothing.fit(X, y, X_val, y_val).n_removed_ == 0


@pytest.mark.slow
@pytest.mark.parametrize("given", [True, False])
def test_removes_flips_and_keeps_clean_data(given):
    # One nearest neighbour repeats every wrong label: what there is to gain is known.
    options = {
        "final_estimator": KNeighborsClassifier(1),
        "n_remove": "auto",
        "at": "path",
        "random_state": 0,
    }
    cleaner = InfluenceCleaner(quick(max_epochs=10), **options)
    scores = {}
    for fraction in (0.25, 0.0):
        X, y, flips, X_val, y_val = flipped_blobs(400, fraction, n_val=200)
        X_test, y_test = X_val[100:], y_val[100:]
        cleaner.fit(X, y, *((X_val[:100], y_val[:100]) if given else ()))
        before = KNeighborsClassifier(1).fit(X, y).score(X_test, y_test)
        scores[fraction] = before, cleaner.score(X_test, y_test)
        if fraction:
            counts = [round(400 * part) for part in FRACTIONS[1:]]
            harmful = (cleaner.influence_ < 0).sum()
            assert cleaner.n_removed_ in [min(count, harmful) for count in counts]
            assert flips[cleaner.removed_indices_].mean() > 0.6
    # Noisy samples judge less well than clean validation data.
    assert scores[0.25][1] > scores[0.25][0] + (0.2 if given else 0.05)
    assert scores[0.0][1] >= scores[0.0][0]


def test_refuses_too_few_samples_to_choose_by():
    cleaner = InfluenceCleaner(quick(), n_remove="auto")
    with pytest.raises(ValueError, match="at least 5 samples for its folds, got n_sam"):
        cleaner.fit(numbered(10), np.arange(10) % 2, numbered(4), [0, 1, 0, 1])
