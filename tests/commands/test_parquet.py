"""Parquet files: read with their types, and written with the same schema."""

import sys

import numpy as np
import pandas as pd
import pytest

from skinfluence.commands import main
from skinfluence.commands._parquet import ParquetFile
from skinfluence.exceptions import TableError
from tests.commands.tables import QUICK, customers, page_data, write_decisions


def test_without_pyarrow_it_is_said(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    path.touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TableError, match=r"pip install pyarrow"):
        ParquetFile(path)


def typed():
    frame = customers()
    frame["age"] = pd.to_numeric(frame["age"], errors="coerce")
    frame["since"] = pd.to_datetime(frame["since"])
    frame["plan"] = frame["plan"].astype("category")
    frame["big"] = np.arange(80) % 2 == 0
    frame["stays"] = (frame["stays"] == "yes").astype("int8")
    return frame.set_index(pd.Index([f"r{k}" for k in range(80)], name="key"))


def test_round_trip(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path, report = tmp_path / "t.parquet", tmp_path / "r.html"
    typed().to_parquet(path)
    common = [str(path), "--target", "stays"]
    options = ["--report", str(report), "--n", "5", *QUICK]
    assert main(["audit", *common, *options]) == 0
    data = page_data(report)
    decisions = [(3, "remove", ""), (17, "relabel", "0")]
    file = write_decisions(tmp_path / "d.csv", data["fingerprint"], decisions)
    output = tmp_path / "c.parquet"
    files = ["--decisions", str(file), "--output", str(output)]
    assert main(["clean", *common, *files, *QUICK]) == 0
    assert parquet.read_schema(output).equals(
        parquet.read_schema(path), check_metadata=True
    )
    expected = typed().drop(index="r3")
    expected.loc["r17", "stays"] = 0
    pd.testing.assert_frame_equal(pd.read_parquet(output), expected)


def test_damaged_file_is_refused(tmp_path):
    pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1 or not")
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        ParquetFile(path)


def test_chosen_rows(tmp_path):
    pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    typed().to_parquet(path)
    frame, rows = ParquetFile(path).read({7, 2})
    assert rows.tolist() == [3, 8]
    assert frame["paid"].tolist() == customers()["paid"][[2, 7]].tolist()
