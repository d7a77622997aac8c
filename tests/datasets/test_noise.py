import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_series_equal
from scipy.stats import chisquare

from skinfluence.datasets import flip_labels

WORDS = ["ham", "spam", "eggs", "ham", "spam", "ham", "eggs", "ham"]
NUMBERS = [0, 1, 2, 0, 1, 0, 2, 0]


@pytest.mark.parametrize(
    ("fraction", "n_samples", "n_flipped"),
    [(0, 100, 0), (0.29, 100, 29), (0.333, 10, 3), (0.2, 7, 1), (1, 100, 100)],
)
def test_flips_exactly_the_rounded_share_and_says_which(fraction, n_samples, n_flipped):
    y = np.arange(n_samples) % 3
    y_noisy, flipped = flip_labels(y, fraction, random_state=0)
    assert flipped.dtype == bool
    assert flipped.sum() == n_flipped
    np.testing.assert_array_equal(y_noisy != y, flipped)
    assert set(y_noisy) <= {0, 1, 2}


def test_every_other_class_is_as_likely():
    y = np.repeat([0, 1, 2, 3], 6000)
    y_noisy, _ = flip_labels(y, 0.9, random_state=0)
    for own in range(4):
        counts = np.bincount(y_noisy[(y == own) & (y_noisy != own)], minlength=4)
        assert counts[own] == 0
        # The seed is fixed: a right sampler falls below 0.001 for one seed in 250.
        assert chisquare(np.delete(counts, own)).pvalue > 0.001


def test_every_sample_is_as_likely():
    y = np.array([0, 0, 0, 0, 0, 0, 0, 1])
    rng = np.random.RandomState(0)
    hits = sum(flip_labels(y, 0.25, random_state=rng)[1] for _ in range(4000))
    assert hits.sum() == 8000
    assert chisquare(hits).pvalue > 0.001


@pytest.mark.parametrize(
    "y",
    [
        np.array(NUMBERS, dtype=np.int8),
        np.array(NUMBERS, dtype=np.float32),
        np.array(NUMBERS) == 0,
        np.array(WORDS),
        np.array(WORDS, dtype=object),
    ],
    ids=lambda y: str(y.dtype),
)
def test_an_array_keeps_its_dtype(y):
    before = y.copy()
    y_noisy, flipped = flip_labels(y, 0.5, random_state=0)
    assert type(y_noisy) is np.ndarray
    assert y_noisy.dtype == y.dtype
    assert set(y_noisy.tolist()) <= set(y.tolist())
    np.testing.assert_array_equal(y_noisy != y, flipped)
    np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize(
    "y",
    [
        pd.Series(NUMBERS, dtype="int8"),
        pd.Series(NUMBERS, dtype="Int64"),
        pd.Series(NUMBERS, dtype="category"),
        pd.Series(WORDS, dtype=object),
        pd.Series(WORDS, dtype="string"),
        pd.Series(WORDS, dtype=pd.CategoricalDtype(["spam", "ham", "eggs"], True)),
        pd.Series(NUMBERS) == 0,
    ],
    ids=lambda y: str(y.dtype),
)
def test_a_series_keeps_dtype_name_and_index(y):
    # An index that neither counts from 0 nor is unique, so that only positions work.
    y = y.set_axis([7, 7, 3, 2, 1, 0, 0, 5]).rename("label")
    before = y.copy()
    y_noisy, flipped = flip_labels(y, 0.5, random_state=0)
    assert flipped.sum() == 4
    np.testing.assert_array_equal(y_noisy.to_numpy() != y.to_numpy(), flipped)
    expected = pd.Series(y_noisy.tolist(), y.index, y.dtype, "label")
    assert_series_equal(y_noisy, expected)
    assert_series_equal(y, before)


def test_a_list_comes_back_as_an_array():
    y_noisy, flipped = flip_labels(WORDS, 0.5, random_state=0)
    assert isinstance(y_noisy, np.ndarray)
    np.testing.assert_array_equal(y_noisy != np.array(WORDS), flipped)


def test_same_seed_same_flips_other_seed_other_flips():
    y = np.arange(200) % 5
    first, again, other = (flip_labels(y, 0.3, random_state=s)[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_less_noise_is_part_of_more_noise():
    y = np.arange(200) % 5
    less, less_flipped = flip_labels(y, 0.1, random_state=3)
    more, more_flipped = flip_labels(y, 0.4, random_state=3)
    assert less_flipped.sum() == 20
    assert more_flipped[less_flipped].all()
    np.testing.assert_array_equal(less[less_flipped], more[less_flipped])


def test_classes_may_go_beyond_the_labels():
    y_noisy, flipped = flip_labels([4, 4, 4, 4], 1.0, classes=[9, 4, 2, 2])
    assert flipped.all()
    assert set(y_noisy) <= {2, 9}


def test_an_unused_category_is_drawn_only_on_request():
    y = pd.Series(["a", "b"] * 50, dtype=pd.CategoricalDtype(["a", "b", "c"]))
    assert "c" not in set(flip_labels(y, 1.0, random_state=0)[0])
    y_noisy, _ = flip_labels(y, 1.0, classes=["a", "b", "c"], random_state=0)
    assert "c" in set(y_noisy)
    assert y_noisy.dtype == y.dtype


@pytest.mark.parametrize("fraction", [-0.1, 1.5, np.nan, "a"])
def test_refuses_what_is_no_fraction(fraction):
    with pytest.raises(ValueError, match=r"`fraction` must be between 0 and 1, got "):
        flip_labels([0, 1], fraction)


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        ([[0, 1], [1, 0]], None, r"`y` must be one-dimensional, got shape \(2, 2\)"),
        (pd.DataFrame({"y": [0, 1]}), None, r"one-dimensional, got shape \(2, 1\)"),
        ([0.5, 1.25, 2.0], None, "`y` must be class labels, got continuous values"),
        ([0.0, np.nan, 1.0], None, "`y` must have no missing labels"),
        (pd.Series(["a", None, "b"]), None, "`y` must have no missing labels"),
        (pd.Series([1, None, 2], dtype="Int64"), None, "no missing labels"),
        ([], None, r"`y` must hold at least two classes, got \[\]"),
        (["a", "a"], None, r"`y` must hold at least two classes, got \['a'\]"),
        (np.array([1, "a"], dtype=object), None, "`y` must hold labels of one type"),
        ([1, 1], [1, 1], r"`classes` must hold at least two classes, got \[1\]"),
        (
            [0, 1, 2],
            [0, 1],
            r"`classes` must contain all labels of `y`, but lacks \{2\}",
        ),
        (["1", "2"], [1, 2], "`classes` must contain all labels of `y`"),
        (np.array([0, 1], "int8"), [0, 1, 300], r"dtype of `y` \(int8\)"),
        (np.array(["a", "b"]), ["a", "b", "other"], r"dtype of `y` \(<U1\)"),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b", "c"], r"\(category\)"),
        (pd.Series([0, 1], dtype="int8"), [0, 1, 300], r"dtype of `y` \(int8\)"),
        (pd.Series([0, 1], dtype="Int8"), [0, 1, 300], r"dtype of `y` \(Int8\)"),
    ],
)
def test_refuses_bad_labels_and_classes(y, classes, message):
    with pytest.raises(ValueError, match=message):
        flip_labels(y, 0.5, classes=classes)
