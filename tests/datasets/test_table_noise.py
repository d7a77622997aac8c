"""Noise in features and targets: what changes, by how much, and how often."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal
from scipy.stats import kstest

from skinfluence.datasets import (
    add_feature_noise,
    add_outliers,
    add_unit_errors,
    ampute,
)

N = 400
RNG = np.random.default_rng(0)
ARRAY = np.column_stack([RNG.normal(size=N), RNG.gamma(2.0, size=N), np.ones(N)])
MIXED = pd.DataFrame(
    {
        "age": RNG.normal(40, 10, size=N),
        "height": RNG.normal(1.7, 0.1, size=N).astype(np.float32),
        "rooms": RNG.integers(1, 6, size=N),
        "count": pd.array(RNG.integers(1, 6, size=N), dtype="Int64"),
        "share": pd.array(RNG.random(N), dtype="Float64"),
        "town": pd.Categorical(RNG.choice(["a", "b"], size=N)),
        "note": pd.Series(RNG.choice(["x", "y"], size=N), dtype=object),
        "old": RNG.random(N) < 0.5,
    }
).set_axis(np.arange(N) // 2)  # an index that is not unique
FLOATS = ["age", "height", "share"]
KINDS = {
    "gaussian": (add_feature_noise, FLOATS),
    "unit": (add_unit_errors, ["age", "rooms", "count"]),
    "missing": (
        lambda X, f, **o: ampute(X, f, "age", **o),
        ["height", "count", "share", "town", "note"],
    ),
}


def differs(first, second):
    """Say for each cell whether the two differ, by the cells themselves."""

    def cells(a, b):
        return pd.isna(a) != pd.isna(b) or (not pd.isna(a) and a != b)

    pair = (np.asarray(table, dtype=object) for table in (first, second))
    return np.vectorize(cells, otypes=[bool])(*pair)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_keeps_all_but_what_the_mask_says(kind):
    function, columns = KINDS[kind]
    before = MIXED.copy()
    noisy, mask = function(MIXED, 0.25, columns=columns, random_state=0)
    assert_frame_equal(MIXED, before)
    assert noisy.index.equals(MIXED.index)
    assert noisy.dtypes.equals(MIXED.dtypes)
    found = differs(noisy, MIXED)
    assert mask.dtype == bool
    np.testing.assert_array_equal(found if mask.ndim == 2 else found.any(1), mask)
    assert set(MIXED.columns[found.any(0)]) == set(columns)
    assert (mask.sum(axis=0)[np.any(mask, axis=0)] == 100).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "function",
    [add_feature_noise, add_unit_errors, lambda X, f, **o: ampute(X, f, 1, **o)],
)
def test_an_array_keeps_its_dtype(function, dtype):
    X = ARRAY.astype(dtype)
    noisy, mask = function(X, 0.1, random_state=0)
    np.testing.assert_array_equal(X, ARRAY.astype(dtype))
    assert type(noisy) is np.ndarray
    assert noisy.dtype == dtype
    found = differs(noisy, X)
    np.testing.assert_array_equal(found if mask.ndim == 2 else found.any(1), mask)
    from_list, _ = function(ARRAY.tolist(), 0.1, random_state=0)
    np.testing.assert_allclose(from_list, noisy, rtol=1e-5)


ALL = {
    "gaussian": lambda f, s: add_feature_noise(ARRAY, f, random_state=s),
    "unit": lambda f, s: add_unit_errors(ARRAY, f, random_state=s),
    "missing": lambda f, s: ampute(ARRAY, f, 0, random_state=s),
    "outliers": lambda f, s: add_outliers(ARRAY[:, 0], f, random_state=s),
}


@pytest.mark.parametrize("kind", ALL)
def test_same_seed_same_noise_and_less_noise_is_part_of_more(kind):
    make = ALL[kind]
    (first, _), (again, _), (other, _) = make(0.3, 0), make(0.3, 0), make(0.3, 1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other, equal_nan=True)
    (less, few), (more, many) = make(0.1, 0), make(0.4, 0)
    assert few.sum() * 4 == many.sum()
    assert many[few].all()
    np.testing.assert_array_equal(less[few], more[few])
    assert not make(0, 0)[1].any()


@pytest.mark.parametrize("scale", [0.5, 3])
def test_noise_is_gaussian_in_units_of_the_standard_deviation(scale):
    noisy, rows = add_feature_noise(ARRAY, 0.9, scale=scale, random_state=0)
    for column in (0, 1):
        change = (noisy - ARRAY)[rows, column] / ARRAY[:, column].std()
        assert kstest(change / scale, "norm").pvalue > 0.001
    # The columns' noise is not the same, and that of a constant is none.
    assert abs(np.corrcoef((noisy - ARRAY)[rows, :2].T)[0, 1]) < 0.2
    np.testing.assert_array_equal(noisy[:, 2], 1)


def test_units_are_mixed_up_by_the_factor():
    noisy, rows = add_unit_errors(ARRAY, 0.2, columns=[1], random_state=0)
    assert rows.sum() == 80
    np.testing.assert_array_equal(noisy[rows, 1], 100 * ARRAY[rows, 1])
    np.testing.assert_array_equal(noisy[:, [0, 2]], ARRAY[:, [0, 2]])
    noisy, rows = add_unit_errors(ARRAY, 1, factor=0.001, random_state=0)
    assert rows.all()
    np.testing.assert_allclose(noisy, ARRAY / 1000)
    # Whole numbers stay so, and text and booleans are none.
    noisy, _ = add_unit_errors(MIXED, 1, factor=2, random_state=0)
    assert noisy["rooms"].tolist() == (2 * MIXED["rooms"]).tolist()
    assert_frame_equal(noisy[["town", "note", "old"]], MIXED[["town", "note", "old"]])


def test_rows_that_cannot_change_are_not_noisy():
    X = np.array([[0.0, 1], [2, 1], [0, 1], [np.nan, 1], [3, 1]])
    noisy, rows = add_unit_errors(X, 0.4, columns=[0], random_state=0)
    assert rows.tolist() == [False, True, False, False, True]
    np.testing.assert_array_equal(noisy[:, 0], [0, 200, 0, np.nan, 300])
    with pytest.raises(
        ValueError, match=r"`fraction` must be at most .*0\.4, got 0\.6"
    ):
        add_unit_errors(X, 0.6, columns=[0])
    with pytest.raises(ValueError, match=r"`fraction` must be at most .* 0, got 0\.5"):
        add_feature_noise(np.ones((4, 2)), 0.5)


def test_outliers_are_far_away_on_both_sides():
    y = ARRAY[:, 1]
    noisy, rows = add_outliers(y, 0.5, magnitude=7, random_state=0)
    assert rows.sum() == 200
    np.testing.assert_array_equal(noisy != y, rows)
    change = (noisy - y)[rows] / y.std()
    np.testing.assert_allclose(abs(change), 7)
    # Beyond these bounds is one fair draw in 10,000.
    assert 73 <= (change > 0).sum() <= 127


@pytest.mark.parametrize("dtype", ["float32", "float64", "Float64"])
def test_a_series_of_targets_keeps_dtype_name_and_index(dtype):
    y = pd.Series(ARRAY[:, 0], np.arange(N) // 2, dtype=dtype, name="price")
    before = y.copy()
    noisy, rows = add_outliers(y, 0.1, random_state=0)
    assert_series_equal(y, before)
    assert (noisy.dtype, noisy.name) == (y.dtype, "price")
    assert noisy.index.equals(y.index)
    np.testing.assert_array_equal((noisy != y).to_numpy(dtype=bool), rows)


def test_missing_depends_on_the_observed_column_alone():
    rng = np.random.default_rng(1)
    n = 20000
    X = rng.normal(size=(n, 2)) * [5, 1] + [100, 0]
    _, deleted = ampute(X, 0.02, 0, random_state=0)
    assert deleted.sum(axis=0).tolist() == [0, 400]
    # A small share of draws without replacement is nearly proportional to the odds.
    scores = (X[:, 0] - X[:, 0].mean()) / X[:, 0].std()
    odds = 1 / (1 + np.exp(-scores))
    order = np.argsort(scores)
    law = np.cumsum(odds[order]) / odds.sum()
    place = law[np.flatnonzero(deleted[order, 1])]
    assert kstest(place, "uniform").pvalue > 0.001
    assert kstest(scores[deleted[:, 1]], "norm").pvalue < 1e-6
    # Given the observed column, the deleted values are like all others.
    assert kstest(X[deleted[:, 1], 1], "norm").pvalue > 0.001


def test_columns_go_missing_apart_and_present_values_only():
    X = np.column_stack([np.arange(100.0), np.ones(100), np.ones(100)])
    X[:20, 1] = np.nan
    missing, deleted = ampute(X, 0.5, 0, random_state=0)
    assert deleted.sum(axis=0).tolist() == [0, 40, 50]
    assert not deleted[:20, 1].any()
    np.testing.assert_array_equal(np.isnan(missing), deleted | np.isnan(X))
    assert (deleted[:, 1] != deleted[:, 2]).any()
    _, deleted = ampute(X, 1.0, 0, columns=[2])
    assert deleted.sum(axis=0).tolist() == [0, 0, 100]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ampute(ARRAY[0], 0.1, 0), r"`X` must be .*two-dimensional .*\(3,\)"),
        (lambda: ampute([["a", "b"]], 0.1, 0), "`X` must be .*dtype <U1"),
        (lambda: ampute(ARRAY, 0.1, 3), r"`depends_on` must be .*\[0, 1, 2\].*got 3"),
        (lambda: ampute(MIXED, 0.1, "agee"), "`depends_on` must be .*got 'agee'"),
        (lambda: ampute(MIXED, 0.1, "town"), "`depends_on` must be .*'town' of dty"),
        (lambda: ampute(ARRAY, 0.1, 2), "`depends_on` must be .* numbers differ"),
        (
            lambda: ampute(ARRAY, 0.1, 0, columns=[0, 1]),
            r"`columns` must not hold the column of `depends_on`.*got \[0, 1\]",
        ),
        (lambda: ampute(ARRAY, 0.1, 0, columns=1), "`columns` must be a sequence"),
        (lambda: ampute(ARRAY, 0.1, 0, columns=[]), "`columns` must hold at least"),
        (lambda: ampute(ARRAY, 0.1, 0, columns=[1, 1]), "`columns` .*each once"),
        (lambda: ampute(MIXED, 0.1, "age"), "'rooms' of `X` must be able .*int64"),
        (lambda: ampute(MIXED, 0, "age", columns=["old"]), "'old' of `X` .*bool"),
        (lambda: ampute(ARRAY.astype(int), 0.1, 0), "1 of `X` must be able .*int64"),
        (lambda: ampute(ARRAY * [np.inf, 1, 1], 0.1, 0), "column 0 must hold finite"),
        (lambda: add_feature_noise(ARRAY, 2), "`fraction` must be between 0 and 1"),
        (lambda: add_feature_noise(ARRAY, 0.1, scale=0), "`scale` must .*got 0"),
        (lambda: add_feature_noise(MIXED, 0.1), "'rooms' must have a dtype that can"),
        (
            lambda: add_feature_noise(MIXED, 0.1, columns=["count"]),
            "'count' must have a dtype that can hold the noise, got Int64",
        ),
        (
            lambda: add_feature_noise(MIXED, 0.1, columns=["town"]),
            "'town' must hold numbers, got dtype category",
        ),
        (lambda: add_feature_noise(MIXED[["old"]], 0.1), "`X` must have a column of"),
        (
            lambda: add_feature_noise(pd.DataFrame({"z": [1j, 2]}), 0.5, columns=["z"]),
            "'z' must hold numbers, got dtype complex128",
        ),
        (
            lambda: add_feature_noise(np.array([[np.inf], [1]]), 0.1),
            "The column 0 must hold finite numbers",
        ),
        (lambda: add_unit_errors(ARRAY, 0.1, factor=1), "`factor` must not be 1"),
        (lambda: add_unit_errors(ARRAY, 0.1, factor=-2), "`factor` must .*got -2"),
        (
            lambda: add_unit_errors(np.array([[1], [100]], dtype=np.int8), 0.5),
            "column 0 must have a dtype that can hold the noise, got int8",
        ),
        (
            lambda: add_unit_errors(np.array([[1e38], [1]], dtype=np.float32), 0.5),
            "column 0 must have a dtype that can hold the noise, got float32",
        ),
        (lambda: add_unit_errors(MIXED, 1, factor=0.3), "'rooms' must have a dtype"),
        (lambda: add_outliers(ARRAY, 0.1), r"`y` must be one-dimensional.*\(400, 3\)"),
        (lambda: add_outliers([1, 2], 0.1), "`y` must hold floating numbers.*int64"),
        (lambda: add_outliers(["a"], 0.1), "`y` must hold floating numbers"),
        (lambda: add_outliers([1.0, np.nan], 0.1), "no missing ones"),
        (lambda: add_outliers([1.0, np.inf], 0.1), "'y' must hold finite"),
        (lambda: add_outliers([1.0, 1.0], 0.1), "`y` must hold numbers that diff"),
        (lambda: add_outliers([], 0.1), "`y` must hold numbers"),
        (lambda: add_outliers([1.0, 2], 0.1, magnitude=-1), "`magnitude` .*got -1"),
    ],
)
def test_refuses_what_it_cannot_change(call, message):
    with pytest.raises(ValueError, match=message):
        call()
