"""Harmful slices, against all masks one by one and against planted ones."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest

from skinfluence import SGDInfluenceClassifier
from skinfluence.inspection import slice_influence
from skinfluence.inspection._slice_columns import everything, predicates_of
from skinfluence.inspection._slice_search import deviation, pair_sums, search

N, N_VAL = 1000, 200


def data(n, rng):
    X = rng.normal(size=(n, 3)).astype(np.float32)
    return X, (X @ [2, -1, 0] > 0).astype(int)


def trained(wrong):
    """Return an estimator that was trained with wrong labels, and validation data."""
    rng = np.random.default_rng(1)
    X, y = data(N, rng)
    y[wrong] = 1 - y[wrong]
    clf = SGDInfluenceClassifier("linear", max_epochs=5, lr=0.3, random_state=0)
    return clf.fit(X, y), *data(N_VAL, rng)


@pytest.fixture(scope="module")
def clf_and_data():
    return trained([])


def table(seed=0, n=N):
    """Return columns of every kind, which have nothing to do with the labels."""
    rng = np.random.default_rng(seed)
    days = pd.to_timedelta(rng.integers(0, 700, n), "D")
    age = rng.integers(18, 90, n).astype(float)
    age[rng.random(n) < 0.1] = np.nan
    annotator = rng.choice(["ann", "bob", "cem", None], n)
    return pd.DataFrame(
        {
            "annotator": annotator,
            "age": age,
            "dose": rng.exponential(size=n),
            "visit": pd.Timestamp("2020-03-05") + days,
            "rating": rng.integers(1, 6, n),
            "smokes": pd.array(rng.choice([True, False, None], n), "boolean"),
            "ward": pd.Categorical(rng.choice(["x", "y", "z"], n)),
        }
    )


def holds(words, frame):
    """Return the rows for which a predicate in words holds."""
    mask = np.ones(len(frame), dtype=bool)
    for part in words.split(" and "):
        mask &= _part_holds(part, frame)
    return mask


def _part_holds(part, frame):
    number = r"(−?[\d.e+−]+)"
    if match := re.fullmatch(f"{number} ≤ (.+) < {number}", part):
        low, name, high = match.groups()
        return _compared(frame[name], low, np.greater_equal) & _compared(
            frame[name], high, np.less
        )
    if match := re.fullmatch("(.+) ([<≥]) (.+)", part):
        name, sign, value = match.groups()
        compare = {"<": np.less, "≥": np.greater_equal}[sign]
        return _compared(frame[name], value, compare)
    if match := re.fullmatch("(.+) is (missing|given)", part):
        missing = frame[match[1]].isna().to_numpy()
        return missing if match[2] == "missing" else ~missing
    if match := re.fullmatch("(.+) in (.+)", part):
        written = frame[match[1]].astype(str)
        return written.str.startswith(match[2]).to_numpy()
    name, value = part.split(" = ")
    values = frame[name]
    if pd.api.types.is_numeric_dtype(values.dtype) and values.dtype != "boolean":
        return _compared(values, value, np.equal)
    return (values.astype(object).map(str) == value).to_numpy()


def _compared(values, number, compare):
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    return compare(numbers, float(number.replace("−", "-")))


def all_predicates(frame, least):
    found = [everything(len(frame))]
    for name in frame:
        edges = [30.0, 50.0, 70.0] if name == "age" else None
        found.append(predicates_of(frame[name], edges, 5, 50, least))
    return found


def test_words_are_true_of_the_rows_and_of_no_others():
    frame = table()
    for predicates in all_predicates(frame, 1)[1:]:
        assert len(set(predicates.words)) == len(predicates.words)
        for k, words in enumerate(predicates.words):
            np.testing.assert_array_equal(
                predicates.rows(k), holds(words, frame), err_msg=words
            )


def test_every_mask_is_summed():
    frame, rng = table(n=120), np.random.default_rng(0)
    influence = rng.standard_t(3, size=120)
    predicates = all_predicates(frame, 5)
    found = search(predicates, influence, influence[:, None], 5, 60)
    masks = [[holds(w, frame) for w in p.words] for p in predicates[1:]]
    every = [m for of_column in masks for m in of_column]
    for one, other in itertools.combinations(masks, 2):
        every += [a & b for a, b in itertools.product(one, other)]
    supported = [mask for mask in every if 5 <= mask.sum() <= 60]
    assert found.n_tried == len(supported) > 1000
    # Below the mean of random rows, and below 0.
    harmful = [
        (mask.sum(), influence[mask].sum())
        for mask in supported
        if influence[mask].sum() < min(0, mask.sum() * influence.mean())
    ]
    slices = found.slices
    expected = np.array(sorted(harmful))
    order = np.lexsort([slices.total, slices.n_rows])
    np.testing.assert_array_equal(slices.n_rows[order], expected[:, 0])
    # Sums of up to 60 numbers in another order.
    np.testing.assert_allclose(
        np.sort(slices.total), np.sort(expected[:, 1]), rtol=1e-9, atol=1e-12
    )
    assert found.by_chance[0] == pytest.approx(slices.deviation.min(), rel=1e-9)


def test_deviation_is_that_of_all_choices_of_rows():
    values = np.array([0.3, -1.0, 2.0, 0.1, -0.4, 5.0, 0.0])
    sums = [sum(rows) for rows in itertools.combinations(values, 3)]
    of = np.array([7, values.sum(), (values**2).sum()])
    found = deviation(np.array([3]), np.array([-1.4]), of)
    expected = (-1.4 - np.mean(sums)) / np.std(sums)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_conjunctions_are_compared_with_both_predicates():
    frame, rng = table(n=200), np.random.default_rng(0)
    influence = rng.normal(size=200)
    predicates = all_predicates(frame, 5)
    slices = search(predicates, influence, influence[:, None], 10, 100).slices
    (pairs,) = np.nonzero(slices.first > 0)
    for k in rng.choice(pairs, 50, replace=False):
        parts = [
            predicates[slices.first[k]].rows(slices.of_first[k]),
            predicates[slices.second[k]].rows(slices.of_second[k]),
        ]
        n, total = slices.n_rows[k], influence[parts[0] & parts[1]].sum()
        within = []
        for part in parts:
            N, values = part.sum(), influence[part]
            spread = values.std() * np.sqrt(n * (N - n) / (N - 1))
            within.append((total - n * values.mean()) / spread if n < N else 0.0)
        assert slices.within[k] == pytest.approx(max(within), rel=1e-6)


def flagged(kind, rng):
    """Return a table, and which of its rows get wrong labels: some 2 to 5 %."""
    frame = table(3)
    frame["annotator"] = rng.choice([f"p{k}" for k in range(40)], N)
    frame["site"] = rng.choice(list("ABCDEFGH"), N)
    day = frame["visit"]
    wrong = {
        "annotator": frame["annotator"] == "p7",
        "month": (day.dt.year == 2021) & (day.dt.month == 4),
        "interval": frame["dose"] < frame["dose"].quantile(0.05),
        "missing": frame["age"].isna(),
        "conjunction": (frame["site"] == "C") & (frame["rating"] == 2),
        "with an interval": (frame["site"] == "C") & (frame["age"] >= 70),
        "with a truth value": (frame["site"] == "C") & (frame["smokes"] == True),  # noqa: E712
    }[kind]
    return frame, wrong.fillna(False).to_numpy(dtype=bool)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("annotator", "annotator = p7"),
        ("month", "visit in 2021-04"),
        ("interval", None),
        ("missing", "age is missing"),
        ("conjunction", "rating = 2 and site = C"),
        ("with an interval", "age ≥ 70 and site = C"),
        ("with a truth value", "smokes = True and site = C"),
    ],
)
def test_a_planted_slice_is_the_first(kind, words):
    frame, wrong = flagged(kind, np.random.default_rng(0))
    clf, *val = trained(wrong)
    found = slice_influence(
        clf,
        frame,
        *val,
        intervals={"age": [30, 50, 70]},
        n_intervals=20,
        n_exact=1,
        random_state=0,
    )
    first = found.iloc[0]
    assert words is None or first["slice"] == words
    assert first["p_value"] == 1 / 201
    truth = clf.counterfactual_influence(*val, [np.flatnonzero(wrong)], at="path")
    assert truth[0] < 0
    if words is not None:
        np.testing.assert_array_equal(first["samples"], np.flatnonzero(wrong))
    # Where the quantiles are not quite the edges, nearly all of it.
    assert first["exact"] <= 0.9 * truth[0]


def test_the_table_is_that_of_its_rows():
    frame = table()
    clf, *val = trained((frame["annotator"] == "bob") | (frame["rating"] == 5))
    found = slice_influence(
        clf, frame, *val, n_exact=1, at="final", query="error", random_state=0
    )
    influence = clf.influence(*val, at="final", query="error")
    assert found["slice"].tolist() == ["annotator = bob", "rating = 5"]
    assert found["deviation"].is_monotonic_increasing
    assert found["p_value"].is_monotonic_increasing
    for _, row in found.iterrows():
        of_rows = influence[row["samples"]]
        np.testing.assert_array_equal(
            row["samples"], np.flatnonzero(holds(row["slice"], frame))
        )
        assert row["n_rows"] == len(of_rows)
        assert row["estimate"] == pytest.approx(of_rows.sum(), rel=1e-9)
        share = of_rows[of_rows < 0].sum() / influence[influence < 0].sum()
        assert row["share"] == pytest.approx(share)
    exact = clf.counterfactual_influence(
        *val, found["samples"].tolist()[:1], at="final", query="error"
    )
    # Runs may be taken together in another number: single precision.
    np.testing.assert_allclose(found["exact"][:1], exact, rtol=1e-3, atol=1e-7)
    assert found["exact"][1:].isna().all()
    np.testing.assert_array_equal(
        found["interaction"], found["exact"] - found["estimate"]
    )


def test_influence_may_be_given(clf_and_data):
    clf, *val = clf_and_data
    given = {"n_exact": 0, "random_state": 0}
    found = slice_influence(clf, table(), *val, **given)
    again = slice_influence(
        clf, table(), *val, influence=clf.influence(*val, at="path"), **given
    )
    pd.testing.assert_frame_equal(found, again)


def test_chance_is_called_chance():
    """Without relation to the columns, the best slice is as good as shuffled ones."""
    p_values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        influence = rng.standard_t(3, size=100)
        shuffled = np.column_stack([rng.permutation(influence) for _ in range(39)])
        columns = all_predicates(table(seed, n=100), 5)
        slices, _, by_chance = search(columns, influence, shuffled, 5, 50)
        as_low = np.count_nonzero(by_chance <= slices.deviation.min())
        p_values.append((1 + as_low) / 40)
    # The p-values are uniform: more than 7 of 40 are 0.05 or less once in 700 times,
    # and not from 8 to 32 are 0.5 or less once in 10,000.
    assert np.count_nonzero(np.array(p_values) <= 0.05) <= 7
    assert 8 <= np.count_nonzero(np.array(p_values) <= 0.5) <= 32


def test_what_tells_nothing_new_is_left_out(clf_and_data):
    clf, *val = clf_and_data
    rng = np.random.default_rng(0)
    bad = np.arange(N) < 20
    frame = pd.DataFrame(
        {
            "site": np.where(bad, "A", "B"),
            "code": np.where(bad, 1, 2),
            "half": rng.choice(["l", "r"], N),
            "wider": np.where(np.arange(N) < 35, "yes", "no"),
        }
    )
    influence = rng.normal(size=N) - 30.0 * bad
    found = slice_influence(
        clf, frame, *val, influence=influence, n_exact=0, random_state=0
    )
    assert found["slice"][0] == "site = A"
    told = " ".join(found["slice"][1:])
    assert "site" not in told
    assert "code" not in told
    assert "wider = yes" not in told


def test_many_categories_are_limited_with_a_word(clf_and_data):
    clf, *val = clf_and_data
    frame = pd.DataFrame({"zip": np.arange(N) % 40, "id": np.arange(N)}).astype(str)
    options = {"influence": np.arange(N) - 500.0, "n_exact": 0, "max_categories": 30}
    with pytest.warns(
        UserWarning, match="'zip' only the 30 most frequent of 40 values"
    ):
        found = slice_influence(clf, frame, *val, min_rows=5, **options)
    # The values of the other have too few rows each.
    assert found.attrs["n_tried"] == 30


def test_values_are_told_apart_in_words():
    values = pd.Series([1, "1", "", " a", "x" * 100, "line\nend", None] * 2, name="v")
    words = predicates_of(values, None, 8, 50, 1).words
    assert len(set(words)) == len(words) == 7
    assert words[-1] == "v is missing"
    assert all(word.isprintable() for word in words)


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(pd.date_range("2020-01-01", periods=60, freq="D", tz="Asia/Tokyo")),
        pd.Series(pd.period_range("2020-01", periods=60, freq="M")),
        pd.Series(pd.date_range("2020-01-01", periods=60, freq="h")),
    ],
    ids=["with a time zone", "periods", "one day"],
)
def test_dates_of_all_kinds(values):
    predicates = predicates_of(values.rename("day"), None, 8, 100, 1)
    frame = values.rename("day").to_frame()
    for k, words in enumerate(predicates.words):
        np.testing.assert_array_equal(predicates.rows(k), holds(words, frame))
    if values.nunique() == 60 and isinstance(values.dtype, pd.PeriodDtype):
        assert len(predicates.words) == 65  # five years


def test_a_frequent_value_is_an_interval_of_its_own():
    gain = np.r_[np.zeros(80), np.arange(1.0, 21.0)]
    words = predicates_of(pd.Series(gain, name="gain"), None, 4, 50, 1).words
    assert "gain = 0" in words
    assert "gain ≥ 1" in words


@pytest.mark.parametrize(
    "values",
    [[np.nan] * 40, [1.0] * 40, [None] * 40, [pd.NaT] * 40],
    ids=["no number", "one number", "no object", "no date"],
)
def test_columns_that_say_nothing(values, clf_and_data):
    clf, *val = clf_and_data
    frame = pd.DataFrame({"v": values * (N // 40)})
    found = slice_influence(clf, frame, *val, random_state=0)
    assert found.empty
    assert found.attrs["n_tried"] == 0


def test_a_fraction_means_five_rows_at_least(clf_and_data):
    clf, *val = clf_and_data
    few = pd.DataFrame({"code": ["a"] * 4 + ["b"] * 5 + ["c"] * (N - 9)})
    options = {"influence": np.arange(N) - 500.0, "n_exact": 0}
    found = slice_influence(clf, few, *val, min_rows=0.001, **options)
    assert found["slice"].tolist() == ["code = b"]
    found = slice_influence(clf, few, *val, min_rows=1, **options)
    assert found["slice"].tolist() == ["code = b", "code = a"]


def test_a_part_of_a_harmful_slice_is_left_out(clf_and_data):
    """Where all rows of one are harmful, some of them more."""
    clf, *val = clf_and_data
    rng = np.random.default_rng(0)
    bad, worse = np.arange(N) < 60, np.arange(N) % 2 == 0
    frame = pd.DataFrame(
        {"site": np.where(bad, "A", "B"), "sex": np.where(worse, "f", "m")}
    )
    influence = rng.normal(size=N) - bad * np.where(worse, 20.0, 8.0)
    options = {"n_exact": 0, "random_state": 0}
    found = slice_influence(clf, frame, *val, influence=influence, **options)
    assert found["slice"][0] == "site = A"
    # Where the others do no harm, it is the part.
    influence = rng.normal(size=N) - bad * np.where(worse, 20.0, 0.0)
    found = slice_influence(clf, frame, *val, influence=influence, **options)
    assert found["slice"][0] == "site = A and sex = f"


def test_sums_of_pairs_are_those_of_masks():
    frame, values = table(n=80), np.random.default_rng(0).normal(size=(80, 2))
    _, *columns = all_predicates(frame, 1)
    for one, other in itertools.combinations(columns, 2):
        sums = pair_sums(one, other, values)
        for i, j in itertools.product(range(len(one.words)), range(len(other.words))):
            mask = one.rows(i) & other.rows(j)
            np.testing.assert_allclose(sums[i, j], values[mask].sum(axis=0), atol=1e-12)


BAD = pd.DataFrame({"site": ["A", "B"] * (N // 2), "age": range(N)})


@pytest.mark.parametrize(
    ("frame", "options", "said"),
    [
        (BAD.to_numpy(), {}, "`X_frame` must be a DataFrame, got ndarray"),
        (BAD[:7], {}, "`X_frame` must have a row for each of the 1000 .* got 7 rows"),
        (BAD[[]], {}, "`X_frame` must have at least one column, got none"),
        (BAD[[]][:0], {}, "`X_frame` must have a row for each of the 1000"),
        (
            BAD.set_axis(["a", "a"], axis=1),
            {},
            "`X_frame` must have a different name .* got 'a' twice",
        ),
        (BAD.set_axis([1, "1"], axis=1), {}, "a different name .* got '1' twice"),
        (
            BAD.assign(site=[[1]] * N),
            {},
            "`X_frame` must hold numbers, .* column 'site'",
        ),
        (BAD, {"columns": ["sit"]}, "`columns` must .* got 'sit'. .* mean 'site'"),
        (BAD, {"intervals": {"agee": [1]}}, "`intervals` must .* mean 'age'"),
        (BAD, {"intervals": {"site": [1]}}, "`intervals` must be of numeric columns"),
        (BAD, {"min_rows": 50, "max_rows": 20}, "must not be above `max_rows`"),
        (
            BAD,
            {"min_rows": 0.5, "max_rows": 0.1},
            "got 0.5 and 0.1: 500 and 100 of 1000",
        ),
        (BAD, {"min_rows": 1001}, r"`min_rows` must be a count .*\(1000\).* got 1001"),
        (BAD, {"influence": [np.nan] * N}, "`influence` must be finite"),
        (BAD, {"influence": [1.0]}, r"`influence` must have shape \(1000,\)"),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
def test_bad_input(frame, options, said, clf_and_data):
    clf, *val = clf_and_data
    with pytest.raises((ValueError, TypeError), match=said):
        slice_influence(clf, frame, *val, **options)
