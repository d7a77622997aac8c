"""The examples that the gallery does not run: every script, on small stand-in data."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(p for p in EXAMPLES.glob("*.py") if not p.name.startswith("plot_"))


def write_adult(folder: Path) -> None:
    """Write a table with Adult's columns in which the label can be learned."""
    rng = np.random.default_rng(0)
    n = 3200
    rich = rng.random(n) < 0.3
    frame = pd.DataFrame(
        {
            "split": np.where(np.arange(n) < 2700, "train", "test"),
            "age": np.where(rich, 50, 35) + rng.integers(-10, 10, n),
            "workclass": rng.choice(["Private", "State-gov", "?"], n),
            "fnlwgt": rng.integers(10_000, 90_000, n),
            "education": np.where(rich, "Masters", "HS-grad"),
            "education-num": np.where(rich, 14, 9),
            "marital-status": rng.choice(["Divorced", "Never-married"], n),
            "occupation": rng.choice(["Sales", "Tech-support", "?"], n),
            "relationship": rng.choice(["Husband", "Wife"], n),
            "race": rng.choice(["White", "Black"], n),
            "sex": rng.choice(["Male", "Female"], n),
            "capital-gain": 0,
            "capital-loss": 0,
            "hours-per-week": rng.integers(20, 60, n),
            "native-country": rng.choice(["United-States", "?"], n),
            "income": np.where(rich, ">50K", "<=50K"),
        }
    )
    frame.to_csv(folder / "adult.csv.gz", index=False)


def write_newsgroups(folder: Path) -> None:
    """Write posts of two groups, each with words of its own."""
    rng = np.random.default_rng(0)
    groups = ["comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"]
    words = [["motherboard", "jumper", "bios"], ["powerbook", "quadra", "apple"]]
    lines = []
    for split, count in (("train", 240), ("test", 60)):
        for k in range(count):
            group = k % 2
            own = rng.choice([*words[group], "disk", "screen", "price"], 12)
            post = {
                "split": split,
                "group": groups[group],
                "id": str(k),
                "sklearn_index": k,
                "text": f"From: someone\nSubject: {k}\n\n{' '.join(own)}\n",
            }
            lines.append(json.dumps(post))
    with gzip.open(folder / "newsgroups.jsonl.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_adult(folder)
    write_newsgroups(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_runs_and_ends_with_its_figures(script, data):
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "SKINFLUENCE_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
