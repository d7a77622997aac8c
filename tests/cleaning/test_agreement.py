"""The decisions of two readers, compared and merged."""

import math

import numpy as np
import pytest

from skinfluence.cleaning import Decisions, read_decisions
from skinfluence.exceptions import DecisionsError


def decisions(kept=(), removed=(), relabelled=None):
    kept, removed = (np.array(rows, dtype=int) for rows in (kept, removed))
    return Decisions(kept, removed, relabelled or {})


FIRST = decisions([1, 2, 3], [4, 5], {6: "a", 7: "a", 9: "b"})
SECOND = decisions([1, 2, 4], [3, 5, 8], {6: "a", 7: "b"})


def test_agreement_is_that_on_what_both_decided():
    found = FIRST.agreement(SECOND)
    # By hand. Both: 1 to 7; they differ on 3 and 4, and on 7 by the label alone.
    # First: 3 keep, 2 remove, 2 to "a"; second: 3, 2, 1 to "a" and 1 to "b".
    chance = (3 * 3 + 2 * 2 + 2 * 1 + 0 * 1) / 49
    assert (found.n_both, found.share) == (7, 4 / 7)
    assert found.kappa == pytest.approx((4 / 7 - chance) / (1 - chance))
    assert found.conflicts.to_numpy().tolist() == [
        [3, "keep", "", "remove", ""],
        [4, "remove", "", "keep", ""],
        [7, "relabel", "a", "relabel", "b"],
    ]
    assert str(found) == (
        "Both decided on 7 samples and agree on 4 (57 %; Cohen's kappa 0.38)."
    )


@pytest.mark.parametrize(
    ("other", "n_both", "said"),
    [
        (decisions([20]), 0, "Both decided on none of the same rows."),
        (decisions([1]), 1, "Both decided on 1 rows and agree on 1 (100 %)."),
    ],
    ids=["none", "one"],
)
def test_kappa_of_too_little_is_nan(other, n_both, said):
    found = FIRST.agreement(other)
    assert found.n_both == n_both
    assert math.isnan(found.kappa)
    assert math.isnan(found.share) == (n_both == 0)
    assert found.in_words("rows") == said


def test_conflicts_are_refused_unless_there_is_a_rule():
    said = (
        r"differ on sample 3 \(keep or remove\), sample 4 \(remove or keep\), "
        r"sample 7 \(relabel to 'a' or relabel to 'b'\)\. Let the readers"
    )
    with pytest.raises(DecisionsError, match=said):
        FIRST.merge(SECOND)
    first = FIRST.merge(SECOND, conflicts="first")
    assert (first.kept.tolist(), first.removed.tolist()) == ([1, 2, 3], [4, 5, 8])
    assert first.relabelled == {6: "a", 7: "a", 9: "b"}
    keep = FIRST.merge(SECOND, conflicts="keep")
    assert (keep.kept.tolist(), keep.removed.tolist()) == ([1, 2, 3, 4, 7], [5, 8])
    assert keep.relabelled == {6: "a", 9: "b"}


def test_what_only_one_decided_needs_no_rule():
    merged = FIRST.merge(decisions([11], [10]))
    assert (merged.kept.tolist(), merged.removed.tolist()) == (
        [1, 2, 3, 11],
        [4, 5, 10],
    )
    assert len(merged) == len(FIRST) + 2


def test_many_conflicts_are_counted():
    with pytest.raises(DecisionsError, match=r"sample 4 \(keep or remove\) and 7 more"):
        decisions(range(12)).merge(decisions(removed=range(12)))


def test_only_decisions_are_merged():
    with pytest.raises(TypeError, match="`other` must be Decisions"):
        FIRST.merge("decisions.csv")


@pytest.mark.parametrize("regression", [False, True])
def test_a_table_of_them_is_read_back(tmp_path, regression):
    X = np.arange(24.0).reshape(12, 2)
    y = np.array([0.1, -2.0, 3.0] * 4)
    merged = decisions([1], [2], {0: -7.25, 5: 0.1})
    if not regression:
        y = np.array(["a", "'a", "=1+1", "1"] * 3, dtype=object)
        merged = decisions([1], [2], {0: "'a", 5: "=1+1", 7: "1"})
    path = tmp_path / "d.csv"
    merged.to_frame(X, y).to_csv(path, index=False)
    assert regression or "'=1+1" in path.read_text()
    for source in (path, merged.to_frame(X, y)):
        again = read_decisions(source, X, y, regression=regression)
        assert again.kept.tolist() == [1]
        assert again.removed.tolist() == [2]
        assert again.relabelled == merged.relabelled
