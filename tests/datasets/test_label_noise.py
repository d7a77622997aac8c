"""Label noise that depends on class, group or sample: its rates against their laws."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_series_equal
from scipy import sparse
from scipy.stats import binomtest, chisquare
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from skinfluence.datasets import (
    flip_labels_by_class,
    flip_labels_by_group,
    flip_labels_by_instance,
)

WORDS = ["ham", "spam", "eggs", "ham", "spam", "ham", "eggs", "ham"] * 5
NUMBERS = [0, 1, 2, 0, 1, 0, 2, 0] * 5
HALF = np.arange(40) < 20
T = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.1, 0.2, 0.7]])
# Each as a function of labels and share alone.
KINDS = {
    "class": lambda y, share, **o: flip_labels_by_class(y, "pair", rate=share, **o),
    "group": lambda y, share, **o: flip_labels_by_group(y, HALF, share, **o),
    "instance": lambda y, share, **o: flip_labels_by_instance(
        np.arange(40.0)[:, None] % 7, y, share, **o
    ),
    "difficulty": lambda y, share, **o: flip_labels_by_instance(
        None, y, share, difficulty=np.arange(1, 41), **o
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "y",
    [
        np.array(NUMBERS, dtype=np.int8),
        np.array(NUMBERS, dtype=np.float32),
        np.array(NUMBERS) == 0,
        np.array(WORDS),
        np.array(WORDS, dtype=object),
        WORDS,
    ],
    ids=lambda y: str(getattr(y, "dtype", "list")),
)
def test_an_array_keeps_its_dtype(kind, y):
    before = np.array(y)
    y_noisy, flipped = KINDS[kind](y, 0.5, random_state=0)
    assert type(y_noisy) is np.ndarray
    assert y_noisy.dtype == before.dtype
    assert flipped.dtype == bool
    assert flipped.any()
    assert set(y_noisy.tolist()) <= set(before.tolist())
    np.testing.assert_array_equal(y_noisy != before, flipped)
    np.testing.assert_array_equal(y, before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "y",
    [
        pd.Series(NUMBERS, dtype="Int64"),
        pd.Series(NUMBERS, dtype="category"),
        pd.Series(WORDS, dtype="string"),
        pd.Series(NUMBERS) == 0,
    ],
    ids=lambda y: str(y.dtype),
)
def test_a_series_keeps_dtype_name_and_index(kind, y):
    # An index that is not unique, so that only positions work.
    y = y.set_axis([7, 7, 3, 2, 1, 0, 0, 5] * 5).rename("label")
    before = y.copy()
    y_noisy, flipped = KINDS[kind](y, 0.5, random_state=0)
    np.testing.assert_array_equal(y_noisy.to_numpy() != y.to_numpy(), flipped)
    assert_series_equal(y_noisy, pd.Series(y_noisy.tolist(), y.index, y.dtype, "label"))
    assert_series_equal(y, before)


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_flips_and_less_noise_is_part_of_more(kind):
    y = np.array(NUMBERS)
    first, again, other = (KINDS[kind](y, 0.5, random_state=s)[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    less, less_flipped = KINDS[kind](y, 0.2, random_state=0)
    more, more_flipped = KINDS[kind](y, 0.6, random_state=0)
    assert 0 < less_flipped.sum() < more_flipped.sum()
    assert more_flipped[less_flipped].all()
    np.testing.assert_array_equal(less[less_flipped], more[less_flipped])
    assert not KINDS[kind](y, 0, random_state=0)[1].any()


def plausible(hits, count, share):
    """Whether so many hits fall within all but 1 in 1,000 draws."""
    return binomtest(int(hits), int(count), share).pvalue > 0.001


def test_labels_follow_the_transition_matrix():
    y = np.repeat([5, 2, 9], 4000)
    y_noisy, flipped = flip_labels_by_class(y, T, random_state=0)
    # Rows and columns are those of the sorted classes.
    for row, label in enumerate([2, 5, 9]):
        own = y == label
        for column, other in enumerate([2, 5, 9]):
            hits = (y_noisy[own] == other).sum()
            assert plausible(hits, own.sum(), T[row, column])
    np.testing.assert_array_equal(y_noisy != y, flipped)


def test_the_matrix_is_in_the_order_of_the_classes_that_are_given():
    y = np.repeat(["b", "a", "c"], 2000)
    y_noisy, _ = flip_labels_by_class(y, T, classes=["c", "a", "b"], random_state=0)
    # The second class keeps its labels, and the first never becomes the third.
    assert (y_noisy[y == "a"] == "a").all()
    assert set(y_noisy[y == "c"]) == {"a", "c"}
    assert plausible((y_noisy[y == "b"] == "c").sum(), 2000, 0.1)


def test_a_pair_is_a_class_and_the_next():
    y = np.repeat([1, 2, 4], 3000)
    y_noisy, flipped = flip_labels_by_class(y, "pair", rate=0.3, random_state=0)
    for own, following in ((1, 2), (2, 4), (4, 1)):
        assert set(y_noisy[y == own]) == {own, following}
        assert plausible(flipped[y == own].sum(), 3000, 0.3)
    all_flipped, _ = flip_labels_by_class([1, 2, 4], "pair", rate=1)
    assert all_flipped.tolist() == [2, 4, 1]


def test_a_class_of_probability_zero_is_never_drawn():
    # The rows sum to 1 up to rounding: the last column must not catch what is missing.
    tenth = np.full((11, 11), 0.1)
    tenth[:, -1] = 0
    y = np.arange(11).repeat(2000)
    y_noisy, _ = flip_labels_by_class(y, tenth, random_state=0)
    assert (y_noisy != 10).all()
    assert chisquare(np.bincount(y_noisy)).pvalue > 0.001


@pytest.mark.parametrize(
    ("transition", "options", "message"),
    [
        ("symmetric", {"rate": 0.1}, "`transition` must be 'pair' .*'symmetric'"),
        ("pair", {}, "`rate` must be between 0 and 1, got None"),
        ("pair", {"rate": 1.5}, "`rate` must be between 0 and 1, got 1.5"),
        (T, {"rate": 0.1}, "`rate` must be None with a matrix.*got 0.1"),
        (
            T[:2],
            {},
            r"a column for each of the 3 classes \[0, 1, 2\], got shape \(2, 3",
        ),
        (T[:2, :2], {}, r"for each of the 3 classes .*got shape \(2, 2\)"),
        (T.T, {}, "`transition` must have rows of .* that sum to 1"),
        ([[2, -1, 0], [0, 1, 0], [0, 0, 1]], {}, "`transition` must have rows of prob"),
        (T * np.nan, {}, "`transition` must have rows of probabilities"),
        ([["a"]], {}, "`transition` must be 'pair' or a matrix of numbers"),
        (T, {"classes": [0, 1, 2, 2]}, "`classes` must hold each class once"),
    ],
)
def test_refuses_what_is_no_transition(transition, options, message):
    with pytest.raises(ValueError, match=message):
        flip_labels_by_class(NUMBERS, transition, **options)


def test_a_group_alone_is_flipped_by_its_share():
    rng = np.random.RandomState(0)
    y, groups = rng.randint(3, size=600), rng.choice(["x", "y", "z"], size=600)
    y_noisy, flipped = flip_labels_by_group(y, groups, 0.4, group="y", random_state=0)
    assert set(groups[flipped]) == {"y"}
    assert flipped.sum() == round(0.4 * (groups == "y").sum())
    for own in range(3):
        others = np.delete(np.bincount(y_noisy[flipped & (y == own)], minlength=3), own)
        assert chisquare(others).pvalue > 0.001


def test_a_group_that_is_not_named_is_drawn():
    y, groups = np.arange(60) % 2, np.arange(60) // 20
    met = [groups[flip_labels_by_group(y, groups, 0.1, random_state=s)[1]][0]
           for s in range(300)]  # fmt: skip
    assert chisquare(np.bincount(met)).pvalue > 0.001
    drawn = flip_labels_by_group(y, groups, 0.5, random_state=3)
    named = flip_labels_by_group(
        y, groups, 0.5, group=groups[drawn[1]][0], random_state=3
    )
    np.testing.assert_array_equal(named, drawn)


def test_clusters_are_groups():
    X, y = make_classification(200, random_state=0)
    kinds = KMeans(4, random_state=0).fit_predict(X)
    _, flipped = flip_labels_by_group(y, kinds, 1.0, random_state=0)
    assert (flipped == (kinds == kinds[flipped][0])).all()


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        (HALF[:3], {}, r"`groups` must hold one group for each of the 40 .*\(3,\)"),
        (np.ones((40, 1)), {}, r"`groups` must .*got shape \(40, 1\)"),
        ([*HALF[:-1], None], {}, "`groups` must have no missing groups"),
        (HALF, {"group": "x"}, r"`group` must be one of \[True, False\], got 'x'"),
    ],
)
def test_refuses_what_are_no_groups(groups, options, message):
    with pytest.raises(ValueError, match=message):
        flip_labels_by_group(NUMBERS, groups, 0.5, **options)


def blobs(n=2000):
    """Return two classes along a line, with the boundary at 0."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    return (rng.normal(size=(n, 1)) + 4 * y[:, None] - 2), y


@pytest.mark.parametrize("estimator", [None, GaussianNB()])
def test_samples_near_the_boundary_are_flipped_more_often(estimator):
    X, y = blobs()
    y_noisy, flipped = flip_labels_by_instance(
        X, y, 0.2, estimator=estimator, random_state=0
    )
    assert flipped.sum() == 400
    np.testing.assert_array_equal(y_noisy != y, flipped)
    thirds = np.argsort(abs(X[:, 0])).reshape(2, -1)
    near, far = flipped[thirds[0]].mean(), flipped[thirds[1]].mean()
    assert near > 2 * far


def test_odds_are_those_of_the_margin():
    # The true probabilities of the classes are known for these Gaussians.
    X, y = blobs(20000)
    _, flipped = flip_labels_by_instance(X, y, 0.01, random_state=0)
    p = 1 / (1 + np.exp(-4 * X[:, 0]))
    odds = 1 - (2 * p - 1) ** 2
    # A small share of draws without replacement is nearly proportional to the odds.
    bins = np.digitize(abs(X[:, 0]), [0.25, 0.5, 1])
    expected = np.bincount(bins, odds) / odds.sum() * flipped.sum()
    assert chisquare(np.bincount(bins[flipped], minlength=4), expected).pvalue > 0.001


def test_difficulty_gives_the_odds():
    odds = np.array([0.0, 1.0, 1.0, 2.0, 4.0])
    rng = np.random.RandomState(0)
    hits = sum(
        flip_labels_by_instance(
            None, [0, 1, 2, 0, 1], 0.2, difficulty=odds, random_state=rng
        )[1]
        for _ in range(4000)
    )
    assert hits[0] == 0
    assert chisquare(hits[1:], 4000 * odds[1:] / 8).pvalue > 0.001


def test_the_most_probable_other_class_takes_the_place():
    X = np.zeros((60, 1))
    y = np.array(["a"] * 30 + ["b"] * 20 + ["c"] * 10)
    y_noisy, _ = flip_labels_by_instance(
        X, y, 1.0, estimator=DummyClassifier(strategy="prior"), random_state=0
    )
    assert y_noisy.tolist() == ["b"] * 30 + ["a"] * 30


def test_no_sample_is_judged_by_a_model_that_saw_it():
    seen = []

    class Watched(LogisticRegression):
        def fit(self, X, y):
            seen.append(set(X[:, 0]))
            return super().fit(X, y)

        def predict_proba(self, X):
            assert not set(X[:, 0]) & seen[-1]
            return super().predict_proba(X)

    X, y = blobs(100)
    flip_labels_by_instance(X, y, 0.1, estimator=Watched())
    assert len(seen) == 5


@pytest.mark.parametrize("container", [sparse.csr_matrix, pd.DataFrame])
def test_features_may_be_sparse_or_a_table(container):
    X, y = blobs(200)
    _, flipped = flip_labels_by_instance(container(X), y, 0.2, random_state=0)
    assert flipped.sum() == 40


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        (None, {}, ValueError, "`X` must be given without `difficulty`"),
        (HALF[:, None], {"difficulty": HALF}, ValueError, "`X` must be None with `dif"),
        (
            None,
            {"difficulty": HALF, "estimator": GaussianNB()},
            ValueError,
            "`estimator` must be None with `difficulty`",
        ),
        (None, {"difficulty": ["a"] * 40}, ValueError, "`difficulty` must hold numb"),
        (None, {"difficulty": [1]}, ValueError, r"one number for each of the 40 .*\(1"),
        (None, {"difficulty": -HALF.astype(int)}, ValueError, "not negative"),
        (None, {"difficulty": np.full(40, np.nan)}, ValueError, "finite numbers"),
        (
            None,
            {"difficulty": np.arange(40) < 3},
            ValueError,
            r"`difficulty` must be positive .*flipped \(20\), got 3",
        ),
        (
            HALF[:, None],
            {"estimator": RidgeClassifier()},
            TypeError,
            r"`estimator` must be a classifier with `predict_proba`, got Ridge",
        ),
        (HALF[:, None], {"estimator": 3}, TypeError, "`estimator` must be .*got 3"),
    ],
)
def test_refuses_what_gives_no_odds(X, options, error, message):
    with pytest.raises(error, match=message):
        flip_labels_by_instance(X, NUMBERS, 0.5, **options)


def test_refuses_classes_that_are_too_small_for_the_folds():
    with pytest.raises(ValueError, match=r"at least 5 samples of each .*got 1 of 'b'"):
        flip_labels_by_instance(np.zeros((9, 1)), ["a"] * 8 + ["b"], 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_refuses_what_are_no_labels(kind):
    for y, message in (
        ([0.5] * 40, "`y` must be class labels"),
        ([0] * 40, "`y` must hold at least two classes"),
        ([NUMBERS], "`y` must be one-dimensional"),
    ):
        with pytest.raises(ValueError, match=message):
            KINDS[kind](y, 0.1)
    with pytest.raises(ValueError, match=r"must be between 0 and 1, got 1\.1"):
        KINDS[kind](NUMBERS, 1.1)


def test_the_names_of_a_table_say_which_class_its_rows_are_of():
    order = ["spam", "ham", "eggs"]
    matrix = pd.DataFrame(T, index=order, columns=order)
    by_name, _ = flip_labels_by_class(WORDS, matrix, random_state=0)
    # In the order of the classes, eggs, ham and spam.
    sorted_T = T[[2, 1, 0]][:, [2, 1, 0]]
    expected, flipped = flip_labels_by_class(WORDS, sorted_T, random_state=0)
    assert flipped.any()
    np.testing.assert_array_equal(by_name, expected)
    yes = pd.DataFrame([[0, 1], [0, 1]], index=[True, False], columns=[True, False])
    assert not flip_labels_by_class(HALF, yes)[0].any()
    for unnamed in (pd.DataFrame(T), matrix.reset_index(drop=True)):
        with pytest.raises(ValueError, match="a DataFrame, must have a row and a col"):
            flip_labels_by_class(WORDS, unnamed)


def test_by_instance_takes_what_its_classifier_takes():
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="`X` must hold finite numbers for the def"):
        flip_labels_by_instance(X, y, 0.1)
    trees = DecisionTreeClassifier(max_depth=2, random_state=0)
    _, flipped = flip_labels_by_instance(X, y, 0.1, estimator=trees, random_state=0)
    assert flipped.sum() == 4
