"""Cells as dates: the format is found, or two that fit are told."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from skinfluence.commands._dates import dates, in_words


def read(cells, **options):
    return dates(pd.Series(cells, dtype=object), **options)


def days(*date):
    """Return a moment in days since 1970, by the datetime module."""
    return (datetime(*date) - datetime(1970, 1, 1)).total_seconds() / 86400


@pytest.mark.parametrize(
    ("cells", "first", "written"),
    [
        (["2020-03-04", "2020-03-05"], (2020, 3, 4), "YYYY-MM-DD"),
        (["2020-03-04 12:00", "2020-03-05 13:00"], (2020, 3, 4, 12), "YYYY-MM-DD"),
        (["2020-03", "2021-04"], (2020, 3, 1), "YYYY-MM-DD"),
        (["2020/03/04", "2021/04/30"], (2020, 3, 4), "YYYY/MM/DD"),
        (["1974Q2", "1975Q4"], (1974, 4, 1), "YYYYQ1"),
        (["1974-Q2", "1975-Q4"], (1974, 4, 1), "YYYYQ1"),
        (["20200304", "20210430"], (2020, 3, 4), "YYYYMMDD"),
        (["12-Jan-2020", "3-Feb-2021"], (2020, 1, 12), "DD-Mon-YYYY"),
        (["Jan 5, 2020", "Feb 7, 2021"], (2020, 1, 5), "Mon DD, YYYY"),
        (["Mar 2020", "May 2021"], (2020, 3, 1), "Mon YYYY"),
        (["03.04.2021", "21.01.2021"], (2021, 4, 3), "DD.MM.YYYY"),
        (["03.04.2021", "05.06.2021"], (2021, 4, 3), "DD.MM.YYYY"),
        (["03.04.21", "25.06.21"], (2021, 4, 3), "DD.MM.YY"),
        (["01/02/2020", "25/12/2020"], (2020, 2, 1), "DD/MM/YYYY"),
        (["01/02/2020", "12/25/2020"], (2020, 1, 2), "MM/DD/YYYY"),
        (["1/2/20 10:30 PM", "12/31/20 1:00 AM"], (2020, 1, 2, 22, 30),
         "MM/DD/YY hh:mm AM"),
    ],
)  # fmt: skip
def test_formats(cells, first, written):
    found = read(cells)
    assert found.values[0] == pytest.approx(days(*first), abs=1e-9)
    assert not np.isnan(found.values).any()
    assert in_words(found.written).replace("Month", "Mon") == written
    assert found.other == ""


def test_times_of_day():
    found = read(["13:45", "01:45"])
    assert found.values[0] - found.values[1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("first", "date"), [("day", (2020, 2, 1)), ("month", (2020, 1, 2))]
)
def test_two_formats_that_fit_are_told_and_either_may_be_asked_for(first, date):
    cells = ["01/02/2020", "03/04/2020"]
    found = read(cells)
    assert {found.written, found.other} == {"%d/%m/%Y", "%m/%d/%Y"}
    assert read(cells, first=first).values[0] == days(*date)


def test_format_of_one_table_holds_in_another():
    assert read(["01/02/2020"], written="%m/%d/%Y").values[0] == days(2020, 1, 2)


@pytest.mark.parametrize("cells", [["12", "7"], ["may", "june"], ["a1", "b2"], [""]])
def test_what_is_no_date(cells):
    assert np.isnan(read(cells).values).all()
