"""Cells as numbers: what is read, and how another number is written in its style."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from skinfluence.commands._numbers import decimal_mark, numbers, written_like


def read(cells, decimal=".", unit=None):
    return numbers(pd.Series(cells, dtype=object), decimal, unit)


@pytest.mark.parametrize(
    ("cells", "values", "unit"),
    [
        (["1", "-2.5", "+3", "1e3", ".5", "5."], [1, -2.5, 3, 1000, 0.5, 5], ""),
        (["1,234.50", "2"], [1234.5, 2], ""),
        (["1.234,56", "12,5", "1.234"], [1234.56, 12.5, 1234], ""),
        (["1.234.567", "1.234"], [1234567, 1234], ""),
        (["1,234", "12,345"], [1234, 12345], ""),
        (["0,123", "1,5"], [0.123, 1.5], ""),
        (["1 234 567", "1\u00a0234", "1\u202f234,5"], [1234567, 1234, 1234.5], ""),
        (["1'234.5", "7"], [1234.5, 7], ""),
        (["1,23,456.50"], [123456.5], ""),
        (["$1,234.50", "-$3", "$-4", "−$5"], [1234.5, -3, -4, -5], "$"),
        (["€ 5", "€ 7,5"], [5, 7.5], "€"),
        (["5 €", "7,5 €"], [5, 7.5], "€"),
        (["EUR 5", "EUR 7"], [5, 7], "EUR"),
        (["12.3%", "4 %"], [12.3, 4], "%"),
        (["5 kg", "7.5kg", "3"], [5, 7.5, 3], "kg"),
        (["5 kg", "7 g", "8 kg"], [5, np.nan, 8], "kg"),
        (["20 km/h", "5 km/h"], [20, 5], "km/h"),
        (["1.2.3", "A12", "2-3", "4:5", "(3)", "1,5"], [np.nan] * 5 + [1.5], ""),
        (["inf", "1"], [np.nan, 1], ""),
        (["2 days 06:00:00", "1 day, 12:00:00", "0 days", "3 days 00:00:00.5"],
         [2.25, 1.5, 0, 3 + 0.5 / 86400], "days"),
        (["-1 days +18:00:00", "1 day"], [-0.25, 1], "days"),
        ([str(timedelta(hours=-6)), str(timedelta(days=40, hours=18))], [-0.25, 40.75],
         "days"),
        (["-1 days 18:00:00", "5 days"], [np.nan, 5], "days"),
    ],
)  # fmt: skip
def test_numbers(cells, values, unit):
    found = read(cells)
    assert found.unit == unit
    assert found.values.tolist() == pytest.approx(values, nan_ok=True)


def test_decimal_comma_of_the_file():
    assert read(["1,5", "1,234"], ",").values.tolist() == [1.5, 1.234]
    assert read(["1.234", "1.234,5"], ",").values.tolist() == [1234, 1234.5]


def test_known_unit_is_the_only_one():
    assert read(["5 kg", "7 lb"], unit="lb").values.tolist() == pytest.approx(
        [np.nan, 7], nan_ok=True
    )


@pytest.mark.parametrize(
    ("cells", "default", "mark"),
    [
        (["0.998", "1.234"], ",", "."),
        (["3,51", "1.234"], ".", ","),
        (["1.234", "5"], ",", ","),
        (["a", ""], ".", "."),
    ],
)
def test_decimal_mark_of_a_table(cells, default, mark):
    frame = pd.DataFrame({"a": cells, "b": "x"}, dtype=object)
    assert decimal_mark(frame, default) == mark


@pytest.mark.parametrize(
    ("cell", "value", "written"),
    [
        ("3", 4.0, "4"),
        ("3.0", 4.0, "4.0"),
        ("3", 4.5, "4.5"),
        ("12,345", 23456.0, "23,456"),
        ("$1,234.50", 2345.5, "$2,345.5"),
        ("$1,234", 999.5, "$999.5"),
        ("-$12", 7.0, "$7"),
        ("€ 5", -7.0, "-€ 7"),
        ("5 kg", 6.0, "6 kg"),
        ("12.3%", 4.0, "4.0%"),
        ("1.234,56", 2345.5, "2.345,5"),
        ("1 234", 5678.0, "5 678"),
        ("many", 3.0, "3.0"),
    ],
)
def test_another_number_is_written_in_the_style_of_the_cell(cell, value, written):
    assert written_like(cell, value) == written
    if cell != "many":  # and is read again as that number
        assert read([cell, written]).values[1] == value
