"""What the benchmark of weights measures, and the table that it writes."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import weights
from skinfluence.cleaning import Reweight
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(autouse=True)
def case(monkeypatch):
    X, y, _, X_val, y_val = flipped_blobs()
    parts = [(X, y), (X_val[:20], y_val[:20]), (X_val[20:], y_val[20:])]
    monkeypatch.setattr(weights, "problem", lambda *key: (quick(), parts))
    return parts


def test_weights_that_nothing_lowers_gain_nothing(monkeypatch):
    # A single step that is judged worse: too long by far.
    action = Reweight("sign", 1e-12, early_stopping=0.5)
    options = {"action": action, "n_rounds": 1}
    monkeypatch.setitem(weights.METHODS, "still", options)
    key = "set", "flips", 0
    still, nothing = (weights.measured(*key, method) for method in ("still", "nothing"))
    assert still["accuracy"] == nothing["accuracy"]
    # A step of at most 1e-12.
    assert still["lowered"] == pytest.approx(0, abs=1e-12)


def test_removal_fits_what_is_kept():
    row = weights.measured("set", "flips", 0, "remove")
    assert np.isnan(row["lowered"])
    assert row["seconds"] > 0


def test_the_table_holds_gains_over_nothing():
    rows = pd.DataFrame(
        {
            "set": "digits",
            "noise": "flips",
            "seed": [0, 0, 1, 1],
            "method": ["nothing", "remove"] * 2,
            "accuracy": [0.5, 0.51, 0.6, 0.63],
        }
    )
    table = weights.documented(rows)
    assert table.to_dict("list") == {
        "method": ["remove"],
        "digits: flips": ["+2.0 ± 1.0"],
    }
