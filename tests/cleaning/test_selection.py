"""How many samples are removed, and which."""

import numpy as np
import pytest

from skinfluence.cleaning._choosing_n_remove import choose_column
from skinfluence.cleaning._ranking import Ranking
from skinfluence.cleaning._selection import (
    beneficial_removals,
    check_classes_stay,
    check_n_remove,
)
from skinfluence.estimators import ScoresOverRuns


@pytest.mark.parametrize(
    ("n_remove", "count"),
    [(0, 0), (7, 7), (149, 149), (0.0, 0), (0.05, 8), (0.1, 15), (np.int64(3), 3)],
)
def test_counts_and_fractions(n_remove, count):
    assert check_n_remove(n_remove, 150, 150) == count


@pytest.mark.parametrize(
    ("n_remove", "error", "message"),
    [
        (200, ValueError, r"must be below the number of samples \(150\), got 200\."),
        (150, ValueError, r"must be below the number of samples \(150\), got 150\."),
        (-1, ValueError, "must not be negative, got -1"),
        (1.0, ValueError, "a fraction, must be at least 0 and below 1, got 1.0"),
        (-0.1, ValueError, "at least 0 and below 1, got -0.1"),
        (float("nan"), ValueError, "at least 0 and below 1, got nan"),
        (True, TypeError, "must be a count .* got True"),
        (np.bool_(True), TypeError, "must be a count .* got np.True_"),
        ("all", TypeError, "must be a count .* got 'all'"),
        (121, ValueError, r"that are ranked \(120; the others of the 150 are for vali"),
    ],
)
def test_refuses_other_numbers(n_remove, error, message):
    with pytest.raises(error, match=f"`n_remove`.*{message}"):
        check_n_remove(n_remove, 150, 120)


def ranking(*scores):
    return Ranking(ScoresOverRuns.of(scores), None, [], 0)


def test_order_is_by_score_then_row_and_unranked_last():
    scores = [0.5, np.nan, -1.0, 0.5, -2.0, np.nan]
    assert ranking(scores).order.tolist() == [4, 2, 0, 3, 1, 5]


def test_order_is_by_both_ranks_then_score_wherever_the_rows_stand():
    # The ranks of those that have both are 1 to 4: 1 + 3, 2 + 2, 3 + 1 and 4 + 4.
    scores = np.array([np.nan, 1.0, -3.0, -2.0, -1.0, -9.0, -8.0])
    probability = np.array([0.0, 0.9, 0.5, 0.4, 0.1, np.nan, np.nan])
    expected = [2, 3, 4, 1, 5, 6, 0]
    for seed in range(3):
        rows = np.random.RandomState(seed).permutation(7)
        shuffled = ranking(scores[rows])._replace(label_probability=probability[rows])
        assert rows[shuffled.order].tolist() == expected


def test_only_negative_scores_are_beneficial_to_remove():
    scores = [0.5, np.nan, -1.0, 0.0, -2.0, -0.5]
    codes = np.zeros(6, dtype=int)
    assert beneficial_removals(ranking(scores), codes).tolist() == [4, 2, 5]


def test_what_the_runs_do_not_agree_on_is_not_beneficial_to_remove():
    # The means are -2, -2, -2, -1 and 1; of two scores, Student's t for 5 % is 6.3.
    found = ranking(
        [-2.0, -5.0, -2.5, np.nan, 1.0],
        [-2.1, 1.0, -1.5, -1.0, 1.0],
        [-1.9, -2.0, np.nan, np.nan, 1.0],
    )
    codes = np.zeros(5, dtype=int)
    # A single score is all that is known.
    assert beneficial_removals(found, codes).tolist() == [0, 3]


def test_beneficial_removals_leave_a_sample_of_every_class():
    scores = [-3.0, -2.0, -1.0, -5.0, 1.0, -4.0]
    codes = np.array([0, 0, 0, 1, 2, 2])
    assert beneficial_removals(ranking(scores), codes).tolist() == [5, 0, 1]


def test_names_the_class_that_would_vanish():
    y = np.array(["a", "b", "b", "c", "a"])
    codes = np.array([0, 1, 1, 2, 0])
    check_classes_stay(y, codes, np.array([0, 1, 2]), 2)
    with pytest.raises(ValueError, match="but 3 would leave none of 'b', 'c'"):
        check_classes_stay(y, codes, np.array([0, 0]), 3)
    with pytest.raises(ValueError, match=r"but 1 would leave none of 2\. Lower"):
        check_classes_stay(np.array([1, 2]), np.array([0, 1]), np.array([0]), 1)


def one_standard_error(table):
    return choose_column(table, "one_standard_error")


def test_one_standard_error_rule():
    # Best is the third with mean 0.8; its standard error is 0.1 / sqrt(4) = 0.05.
    spread = np.array([-0.1, -0.1, 0.1, 0.1]) * np.sqrt(3) / 2
    means = np.array([0.74, 0.76, 0.80, 0.79])
    table = means + spread[:, None]
    assert spread.std(ddof=1) == pytest.approx(0.1)
    assert one_standard_error(table) == 1
    # Nothing can win, also where the rest was not possible.
    assert one_standard_error(np.full((5, 3), 0.7)) == 0
    assert one_standard_error(np.array([[0.7, np.nan], [0.6, 0.9]])) == 0
    # Without any spread only the best is good enough.
    assert one_standard_error(np.array([[0.5, 0.6], [0.5, 0.6]])) == 1


@pytest.mark.parametrize(
    ("scores", "column"),
    [
        ([[0.8, 0.9], [0.8, 0.9]], 1),  # better in each fold alike
        ([[0.8, 0.7], [0.8, 0.95]], 0),  # better on the mean, within the error
        ([[0.8, 0.8], [0.9, 0.9]], 0),
        ([[0.8, np.nan, 0.9], [0.8, np.nan, 0.9]], 2),  # a class would be empty
    ],
)
def test_one_standard_error_by_hand(scores, column):
    assert one_standard_error(np.array(scores)) == column
