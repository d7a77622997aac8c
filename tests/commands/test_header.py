"""Files without names of columns: a row must not be lost as their header."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris, load_wine

from skinfluence.commands._arguments import make_parser
from skinfluence.commands._header import check_header
from skinfluence.commands._problem import read_problem
from skinfluence.commands._tables import read_table
from skinfluence.exceptions import TableError

ROW = "must name the columns, but .* look like a row: add a line with their names"
WORDS = pd.DataFrame(
    {"cap": ["x", "y"] * 30, "smell": [*"abc"] * 20, "kind": [*"pe"] * 30}
)


def iris():
    data = load_iris(as_frame=True)
    return data.data.assign(species=data.target_names[data.target])


def check(folder, frame, target, **options):
    path = folder / "t.csv"
    frame.to_csv(path, index=False, **options)
    check_header(read_table(path), target)


@pytest.mark.parametrize(
    ("frame", "target"),
    [
        (iris().iloc[:, 1:], "setosa"),
        (iris().iloc[:, 3:], "setosa"),
        (load_wine(as_frame=True).frame.iloc[:, 8:], "0"),
        (load_diabetes(as_frame=True).frame, "151.0"),
        (WORDS.drop(columns="smell"), "p"),
    ],
    ids=["labels", "two columns", "codes", "numbers", "words"],
)
def test_first_line_that_is_a_row_is_refused(tmp_path, frame, target):
    with pytest.raises(TableError, match=ROW):
        check(tmp_path, frame, target, header=False)
    # With its names it is read.
    check(tmp_path, frame, str(frame.columns[-1]))


@pytest.mark.parametrize(
    ("names", "target"),
    [
        (["0", "1", "2", "spam"], "spam"),
        (["1", "2", "3", "spam"], "spam"),
        (["1990", "1995", "2000", "spam"], "label"),
        (["2000.5", "1990.5", "1980.5", "spam"], "label"),
        (["a", "3.5", "1.5", "spam"], "spam"),
    ],
)
def test_numbers_may_be_names(tmp_path, names, target):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(40, 3)).round(2))
    frame["label"] = rng.choice(["spam", "ham"], 40)
    frame.columns = names[:3] + [target]
    check(tmp_path, frame, target)


def test_a_label_may_be_the_name_of_its_column(tmp_path):
    check(tmp_path, WORDS.rename(columns={"kind": "p"}), "p")


def test_names_that_appear_twice_may_be_a_row(tmp_path):
    path = tmp_path / "t.csv"
    iris().assign(again="setosa").to_csv(path, index=False, header=False)
    with pytest.raises(TableError, match="if that line is a row, add a line with the"):
        read_table(path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ROW),
        ({"sep": ";"}, ROW),
        # The commas of the numbers are taken for those between cells.
        (
            {"sep": ";", "decimal": ","},
            "Or, if its first line is a row, add a line with the",
        ),
    ],
)
def test_commands_refuse_it(tmp_path, options, said):
    path = tmp_path / "t.csv"
    iris().to_csv(path, index=False, header=False, **options)
    given = make_parser().parse_args(["check", str(path), "--target", "setosa"])
    with pytest.raises(TableError, match=said):
        read_problem(given)
