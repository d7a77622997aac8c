"""Which samples are ranked and which validate."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from skinfluence.cleaning._data import CleaningData, Validation
from skinfluence.cleaning._splits import (
    ranking_splits,
    set_apart,
    stratified_folds,
)


def data(y, validation=None, **params):
    y = np.asarray(y)
    return CleaningData(np.zeros((len(y), 1)), y, params, params, validation)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_a_stratified_fraction_is_set_apart(fraction, seed):
    codes = np.random.RandomState(9).permutation(np.repeat([0, 1, 2], [70, 20, 10]))
    train, rows = set_apart(codes, fraction, seed)
    assert sorted([*train, *rows]) == list(range(100))
    assert len(rows) == round(100 * fraction)
    for code, size in enumerate([70, 20, 10]):
        assert abs((codes[rows] == code).sum() - size * fraction) <= 1


def test_it_follows_the_seed():
    codes = np.repeat([0, 1], 20)
    first, again, other = (set_apart(codes, 0.3, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", range(10))
def test_a_class_always_keeps_a_sample_to_train_on(seed):
    codes = np.array([0] * 8 + [1] + [2] * 2)
    train, rows = set_apart(codes, 0.6, seed)
    assert set(codes[train]) == {0, 1, 2}
    assert len(rows) > 0


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_of_the_same_size_in_every_class(seed):
    codes = np.repeat([0, 1, 2], [50, 10, 3])
    folds = stratified_folds(codes, None, 5, seed)
    for code, size in enumerate([50, 10, 3]):
        counts = np.bincount(folds[codes == code], minlength=5)
        assert counts.min() >= size // 5
        assert counts.max() <= -(-size // 5)


def test_validation_data_ranks_all_samples():
    given = Validation(np.zeros((1, 1)), np.array([1]))
    (split,) = ranking_splits(data([0, 1, 1], given), 0.2, None, 0, True)
    assert split[0].tolist() == [0, 1, 2]
    assert split[1] is None


def test_cross_influence_takes_the_folds_of_cv():
    splits = ranking_splits(data(np.arange(6.0)), 0.2, KFold(3), 0, False)
    for found, expected in zip(splits, KFold(3).split(np.zeros(6)), strict=True):
        assert np.array_equal(found[0], expected[0])
        assert np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("n_samples", [1, 3])
def test_refuses_too_few_samples(n_samples):
    with pytest.raises(ValueError, match=f"got 0.2 of n_samples={n_samples}"):
        ranking_splits(data(np.arange(n_samples)), 0.2, None, 0, True)


def test_refuses_labels_that_are_not_trained_on():
    given = Validation(np.zeros((2, 1)), np.array(["a", "c"]))
    with pytest.raises(ValueError, match=r"that y has, got \['c'\] as well"):
        ranking_splits(data(["a", "b"], given), 0.2, None, 0, True)
    with pytest.raises(ValueError, match=r"in a fold there are none of \['b'\]"):
        ranking_splits(data(["a", "a", "b", "a"]), 0.2, KFold(2), 0, True)


@pytest.mark.parametrize("seed", range(3))
def test_the_only_sample_of_a_class_is_always_trained_on(seed):
    y = [0] * 9 + [1] + [2] * 2
    splits = ranking_splits(data(y), None, None, seed, True)
    assert len(splits) == 5
    for train, rows in splits:
        assert sorted({*train, *rows}) == list(range(12))
        assert set(train) & set(rows) == set()
        assert 9 in train
    held_out = np.concatenate([rows for _, rows in splits])
    assert sorted(held_out) == [*range(9), 10, 11]


def test_refuses_two_sources_of_validation_data():
    given = Validation(np.zeros((1, 1)), np.array([1]))
    with pytest.raises(ValueError, match="`cv` must be None where X_val is given"):
        ranking_splits(data([0, 1], given), 0.2, 3, 0, True)


def test_refuses_validation_samples_without_weight():
    weights = np.array([1.0, 1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="`sample_weight` must not be 0 for all"):
        ranking_splits(
            data(np.arange(4.0), sample_weight=weights), 0.2, KFold(2), 0, False
        )


def test_masks_are_taken_for_rows():
    samples = data([0, 1] * 4)
    rows = [(np.arange(4), np.arange(4, 8)), (np.arange(4, 8), np.arange(4))]
    masks = [tuple(np.isin(np.arange(8), part) for part in split) for split in rows]
    found = ranking_splits(samples, 0.2, masks, seed=0, classifier=True)
    for split, expected in zip(found, rows, strict=True):
        np.testing.assert_array_equal(split, expected)
