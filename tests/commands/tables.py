"""Small tables in files, and decisions as the report's page saves them."""

import csv
import json
import re

import numpy as np
import pandas as pd

FLIPPED = [3, 17, 40, 58]
QUICK = ["--epochs", "4"]


def customers(n=80, seed=0):
    """Return a table of several kinds of columns, in which some labels are wrong."""
    rng = np.random.default_rng(seed)
    stays = rng.random(n) < 0.5
    frame = pd.DataFrame(
        {
            "code": [f"{k:03d}" for k in rng.integers(0, 9, n)],
            "age": np.where(stays, 60, 30) + rng.integers(-8, 8, n),
            "plan": np.where(stays, "gold", "free"),
            "since": pd.date_range("2020-01-01", periods=n).strftime("%Y-%m-%d"),
            "paid": [f"{value:.2f}" for value in rng.random(n)],
            "stays": np.where(stays, "yes", "no"),
        }
    ).astype(str)
    frame.loc[5, "age"] = "NA"
    for row in FLIPPED if seed == 0 else []:
        frame.loc[row, "stays"] = "no" if stays[row] else "yes"
    return frame


def write(folder, name="train.csv", frame=None, **options):
    """Write a table and return its path."""
    path = folder / name
    (customers() if frame is None else frame).to_csv(path, index=False, **options)
    return path


def page_data(report):
    """Return what a report's page holds."""
    text = report.read_text(encoding="utf-8")
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL
    )
    return json.loads(found[1])


def write_decisions(path, fingerprint, decisions):
    """Write decisions, each a sample, a word and a label."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sample", "decision", "label", "fingerprint"])
        writer.writerows([*decision, fingerprint] for decision in decisions)
    return path
