"""What kind of column each is, and what becomes of it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from skinfluence.commands._choices import CATEGORY, NUMBER
from skinfluence.commands._columns import (
    convert,
    convert_to_show,
    describe_columns,
    preprocessor,
    squash,
)
from skinfluence.commands._tables import Table
from skinfluence.exceptions import TableError

N = 60


def table_of(decimal=".", **columns):
    frame = pd.DataFrame(columns)
    if decimal != "typed":
        frame = frame.astype(object)
    rows = np.arange(len(frame))
    file = SimpleNamespace(
        path=Path("t.csv"),
        decimal="." if decimal == "typed" else decimal,
        one_row="line",
        columns=list(frame.columns),
    )
    return Table(file, frame, rows, rows + 2, len(frame), len(frame))


def described(cells, decimal="."):
    other = ["1", "2"] * (len(cells) // 2)  # so that there is always one of use
    table = table_of(decimal, it=cells, other=other)
    return describe_columns(table, ["it", "other"])[0], table


def many(make):
    return [make(k) for k in range(N)]


def mixed(*words, every=10):
    """Return different numbers, with a word in one cell of so many."""
    return many(
        lambda k: words[k // every % len(words)] if k % every == 0 else f"{k * 1.5}"
    )


@pytest.mark.parametrize(
    ("cells", "kind", "why"),
    [
        (many(lambda k: str(k * k)), "number", "0 to 3481"),
        (many(lambda k: f"{k * 0.7:.3e}"), "number", "0.000e+00 to 4.130e+01"),
        (many(lambda k: ["", "NA", "?", "1"][k % 4]), "number", "1 to 1, 45 missing"),
        (many(lambda k: "abc" if k == 7 else str(k % 5)), "number", "line 9 (such as"),
        (many(lambda k: f"{k % 5:03d}"), "category", "with leading zeros"),
        (
            many(lambda k: "01234" if k == 7 else str(20_000 + k % 9)),
            "category",
            "10 different, with leading zeros",
        ),
        (many(lambda k: ["true", "false"][k % 2]), "category", "2 different"),
        (many(lambda k: ["a", "b", ""][k % 3]), "category", "2 different"),
        (many(lambda k: ["2", "4", "more"][k % 3]), "category", "3 different"),
        (many(lambda k: f"2020-01-{k % 28 + 1:02d}"), "date", "YYYY-MM-DD"),
        (many(lambda k: f"2020-01-{k % 28 + 1:02d}T10:00:00Z"), "date", "YYYY-MM-DD"),
        (many(lambda k: f"{k % 28 + 1}/1/2020"), "date", "DD/MM/YYYY"),
        (many(lambda k: f"{k % 12 + 1}/1/2020"), "unused", "DD/MM/YYYY or MM/DD/YYYY"),
        (mixed("None"), "number", "1.5 to 88.5; taken as missing: 'None' in 6 rows"),
        (mixed(".", "unknown"), "number", "'.' in 3 rows and 'unknown' in 3 rows"),
        (mixed("n.a."), "number", "'n.a.' in 6 rows"),
        (mixed("--", every=3), "number", "'--' in 20 rows"),
        (mixed("refused", every=3), "number", "'refused' in 20 rows"),
        (many(lambda k: f"${k * 1000.5:,.2f}"), "number", "$0.00 to $59,029.50"),
        (many(lambda k: f"{k} {['kg', 'g'][k % 2]}"), "unused", "not a number in 30"),
        (many(lambda k: f"this is review number {k}"), "text", "5 words each"),
        (many(lambda k: f"customer{k}"), "unused", "different in nearly every row"),
        (many(lambda k: f"town{k % 40}"), "unused", "has 40 different values in 60"),
        (
            many(lambda k: "abc" + str(k) if k % 5 == 0 else str(k * 1.5)),
            "unused",
            "is not a number in 12 rows, such as 'abc0' in line 2",
        ),
        (many(lambda k: str(7 * k % 61)), "unused", "numbers the rows, in another"),
        (many(lambda k: str(3 * k + k % 2)), "unused", "numbers the rows, with gaps"),
        (many(lambda k: str(5550000 + k * k % 7919)), "unused", "of 7 digits"),
        (many(str), "unused", "only numbers the rows"),
        (many(lambda k: "x"), "unused", "one value only"),
        (many(lambda k: ["", "NaN"][k % 2]), "unused", "is empty"),
    ],
)
def test_kinds(cells, kind, why):
    column, _ = described(cells)
    assert column.kind == kind
    assert why in column.why


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("customer_id", many(lambda k: str(k * k)), "unused"),
        ("CustomerID", many(lambda k: str(k * k)), "unused"),
        ("passengerid", many(lambda k: str(k * k)), "unused"),
        ("zip", many(lambda k: str(10_000 + k % 25)), "category"),
        ("user_id", many(lambda k: str(k % 25 * 7)), "category"),
        ("stratum", many(lambda k: str(k % 25)), "category"),
        ("region_code", many(lambda k: str(k % 9 + 1)), "category"),
        ("opt_in_code", many(lambda k: str(k % 2)), "number"),
        ("paid", many(lambda k: str(k * k)), "number"),
        ("year", many(lambda k: str(1960 + k)), "number"),
        ("nr", many(lambda k: str(k // 2 * 7)), "unused"),
        ("humid", many(lambda k: str(k * k)), "number"),
    ],
)
def test_names_tell_codes_from_quantities(name, cells, kind):
    table = table_of(**{name: cells}, other=["1", "2"] * (N // 2))
    assert describe_columns(table, [name, "other"])[0].kind == kind


@pytest.mark.parametrize(
    ("cells", "asked", "kind", "first"),
    [
        (many(lambda k: str(k % 9)), "category", "category", "0"),
        (many(str), "number", "number", 0),
        (many(lambda k: ["a", "5"][k % 2]), "number", "number", None),
        (many(lambda k: f"a {k}"), "unused", "unused", None),
        (many(lambda k: f"{k % 9 + 2}/1/1970"), "day-first", "date", 1),
        (many(lambda k: f"{k % 9 + 2}/1/1970"), "month-first", "date", 31),
        (many(lambda k: f"this is it {k % 3}"), "text", "text", "this is it 0"),
    ],
)
def test_kind_that_was_asked_for_overrules(cells, asked, kind, first):
    table = table_of(it=cells, other=["1", "2"] * (N // 2))
    column, _ = describe_columns(table, ["it", "other"], {"it": asked})
    assert column.kind == kind
    assert column.why.startswith("as requested")
    frame = convert(table, [column])
    if first is not None:
        assert frame["it"][0] == first


@pytest.mark.parametrize("asked", ["number", "date", "text"])
def test_kind_that_no_cell_has_is_refused(asked):
    table = table_of(it=many(lambda k: "ab"[k % 2]), other=["1", "2"] * (N // 2))
    with pytest.raises(TableError, match=f"--column it={asked} is not possible"):
        describe_columns(table, ["it", "other"], {"it": asked})


def test_unit_of_the_training_table_holds_in_others():
    column, _ = described(many(lambda k: f"{k * k} kg"))
    other = table_of(it=["1 kg", "2 lb", "3"])
    assert convert(other, [column])["it"].tolist() == pytest.approx(
        [1, np.nan, 3], nan_ok=True
    )


def test_any_names_and_words_go_together():
    words = many(lambda k: "the price was " + ["good", "bad", "fine"][k % 3] + f" x{k}")
    table = table_of(
        price=many(lambda k: str(k / 7)), numbers=words, a__b=words,
        a=many(lambda k: ["b_c", "d"][k % 2]), a_b=many(lambda k: "cd"[k % 2]),
    )  # fmt: skip
    columns = describe_columns(table, list(table.frame.columns))
    assert [column.kind for column in columns] == [
        "number", "text", "text", "category", "category",
    ]  # fmt: skip
    X = preprocessor(columns).fit_transform(convert(table, columns))
    assert X.shape[0] == N


def test_decimal_commas():
    column, table = described(many(lambda k: f"{k % 7},5"), decimal=",")
    assert column.kind == "number"
    values = convert(table, [column])["it"]
    assert values.tolist() == [k % 7 + 0.5 for k in range(N)]


def test_leading_zeros_elsewhere_are_numbers_where_the_column_is_one():
    column, _ = described(many(lambda k: str(k % 9)))
    other = table_of(it=["05", "1"])
    assert convert(other, [column])["it"].tolist() == [5, 1]


def test_row_numbers_of_a_sample_are_known_as_such():
    rows = np.arange(0, 3 * N, 3)
    table = table_of(it=[str(100 + row) for row in rows], other=["1", "2"] * (N // 2))
    drawn = replace(table, rows=rows)
    for each, why in [(drawn, "only numbers the rows"), (table, "with gaps")]:
        column = describe_columns(each, ["it", "other"])[0]
        assert column.kind == "unused"
        assert why in column.why


def test_infinite_numbers_are_missing():
    column, table = described(many(lambda k: "inf" if k == 3 else str(k % 9)))
    assert "line 5" in column.why
    assert np.isnan(convert(table, [column])["it"][3])


def test_typed_columns():
    when = pd.date_range("2020-01-01", periods=N, freq="h")
    table = table_of(
        "typed", n=np.arange(N) % 7.0, b=np.arange(N) % 2 == 0, t=when,
        i=pd.array([None, 1, 2] * (N // 3), dtype="Int64"),
        c=pd.Categorical(["x", "y", None] * (N // 3)),
        d=pd.to_timedelta(np.arange(N) % 9, unit="h"),
    )  # fmt: skip
    columns = describe_columns(table, list("nbticd"))
    assert [column.kind for column in columns] == [
        "number", "category", "date", "number", "category", "number",
    ]  # fmt: skip
    frame = convert(table, columns)
    assert frame["t"][24] - frame["t"][0] == 1  # day
    assert np.isnan(frame["i"][0])
    assert frame["c"][2] == "(missing)"
    assert frame["d"][6] == 0.25  # days


def test_input_is_finite_and_of_bounded_size():
    rng = np.random.default_rng(0)
    cells = [f"{value:.4f}" for value in rng.normal(size=N)]
    cells[4], cells[9] = "1e12", ""
    table = table_of(it=cells, mostly=["0"] * (N - 3) + ["1", "2", "99999"])
    columns = describe_columns(table, ["it", "mostly"])
    X = preprocessor(columns).fit_transform(convert(table, columns))
    assert np.isfinite(X).all()
    assert np.abs(X).max() <= 3
    # An outlier leaves the others apart.
    assert np.ptp(np.delete(X[:, 0], 4)) > 1
    assert X.shape == (N, 3)  # with a column that says where a value is missing


@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_rare_categories_and_new_ones_share_a_column():
    cells = ["a"] * 40 + ["b"] * 16 + ["c", "d", "e", "f"]
    table = table_of(it=cells)
    columns = describe_columns(table, ["it"])
    transformer = preprocessor(columns).fit(convert(table, columns))
    names = transformer.get_feature_names_out().tolist()
    assert names == ["it_a", "it_b", "it_infrequent_sklearn"]
    new = convert(table_of(it=["d", "never seen"]), columns)
    assert transformer.transform(new).tolist() == [[0, 0, 1], [0, 0, 1]]


def test_reader_is_shown_numbers_and_cells():
    table = table_of(
        n=["1", "2", ""], f=["1.5", "2", "3"], code=["007", "1", "2"],
        odd=["1", "x", "2"], y=["a", "b", "a"],
    )  # fmt: skip
    shown = convert_to_show(table, "y", [])
    assert shown["n"].tolist() == [1, 2, pd.NA]
    assert shown["f"].tolist() == [1.5, 2.0, 3.0]
    assert shown["code"].tolist() == ["007", "1", "2"]
    assert shown["odd"].tolist() == ["1", "x", "2"]
    assert "y" not in shown


def test_numbers_that_are_written_otherwise_are_numbers_with_their_cells():
    cells = ["1,234.50", "5 kg", "-2 kg", "none", "7"] * 8
    codes = ["007", "1", "2", "3", ""] * 8
    table = table_of(
        weight=cells, code=codes, word=cells, y=["a", "b", "a", "b", "c"] * 8
    )
    asked = {"code": NUMBER, "word": CATEGORY}
    columns = describe_columns(table, ["weight", "code", "word"], asked)
    shown = convert_to_show(table, "y", columns)
    assert shown["weight"].astype(str).tolist() == cells
    numbers = convert(table, columns)["weight"].to_numpy()
    for cell, number in zip(shown["weight"], numbers, strict=True):
        assert cell == "none" if np.isnan(number) else float(cell) == number
    assert [*map(float, shown["code"][:4])] == [7, 1, 2, 3]
    assert shown["code"][4] is None
    assert shown["word"].tolist() == cells


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["0.1", "0.30000000000000004", "0.2"], "0.1 to 0.3000000…"),
        (["-0.13776722569000302", "1.5", "2"], "-0.1377672… to 2"),
        (["2,5", "0,30000000000000004", "1,5"], "0,3000000… to 2,5"),
        (["1,234.50", "5 kg", "0.10000000000000001 kg"], "0.1000000… kg to 1,234.50"),
        (["1234567890123", "3", "15917.25"], "3 to 1234567890123"),
    ],
)
def test_range_has_no_digits_that_no_person_wrote(cells, said):
    table = table_of(it=cells * 8)
    (column,) = describe_columns(table, ["it"], {"it": NUMBER})
    assert column.why.startswith("as requested")
    (column,) = describe_columns(table, ["it"])
    assert column.why == said


def test_squash_is_the_identity_at_0_and_never_exceeds_3():
    assert squash(np.array([1e-4]))[0] == pytest.approx(1e-4, rel=1e-8)
    assert np.abs(squash(np.array([-1e9, 1e9]))).max() <= 3


def test_table_without_use_is_refused():
    table = table_of(a=["x"] * N, b=[""] * N)
    with pytest.raises(TableError, match=r"'a' has one value only; 'b' is empty\."):
        describe_columns(table, ["a", "b"])
