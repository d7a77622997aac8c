"""The examples that the gallery does not run: every script, for a few epochs.

They are given small stand-in data.
"""

import functools
import gzip
import json
import os
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from skinfluence.estimators import SGDInfluenceClassifier
from tests.commands import processes

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


# Of which a few posts do.
FURTHER = ["rec.autos", "sci.electronics", "sci.space", "talk.politics.mideast"]


def write_newsgroups(folder: Path) -> None:
    """Write posts of some groups, two of them with words of their own."""
    rng = np.random.default_rng(0)
    groups = ["comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"]
    # So many that each stands in few posts: frequent ones are left out as stop words.
    words = [[f"{group}{k}" for k in range(30)] for group in ("bios", "quadra", "disk")]
    lines = []
    for split, count in (("train", 340), ("test", 80)):
        every = [groups[k % 2] for k in range(count)]
        every += [name for name in FURTHER for _ in range(count // 10)]
        for k, group in enumerate(every):
            own = rng.choice([*words[k % 2], *words[2]], 12)
            post = {
                "split": split,
                "group": group,
                "id": str(k),
                "sklearn_index": k,
                "text": f"From: someone\nSubject: {k}\n\n{' '.join(own)}\n",
            }
            lines.append(json.dumps(post))
    with gzip.open(folder / "newsgroups.jsonl.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")


def write_mnist(folder: Path) -> None:
    """Write images in which a stroke's slope tells ones from sevens."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 460), ("test", 40)):
        labels = rng.choice([1, 7], count).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            rows = np.arange(6, 22)
            image[rows, 14 + (rows - 14) * (label == 7) // 2] = rng.integers(150, 256)
        arrays |= {f"x_{split}": images.astype(np.uint8), f"y_{split}": labels}
    np.savez(folder / "mnist.npz", **arrays)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_adult(folder)
    write_newsgroups(folder)
    write_mnist(folder)
    return folder


def run(script: Path, *arguments: str, data: Path, told: Path) -> str:
    """Run a script; return what it prints, into a file."""
    child = processes.start(
        [script, *arguments],
        work=as_script,
        before=lambda: os.environ.update(SKINFLUENCE_DATA=str(data)),
        out=told,
        err=told,
    )
    code = processes.end(child)
    text = told.read_text(encoding="utf-8")
    assert code == 0, text
    return text


N_EPOCHS = 4


def as_script(arguments: list[str]) -> int:
    """Run a script as Python does that is called with it, but train for few epochs."""
    fit = SGDInfluenceClassifier.fit

    @functools.wraps(fit)
    def briefly(net, *data, **options):
        net.max_epochs = min(net.max_epochs, N_EPOCHS)
        return fit(net, *data, **options)

    SGDInfluenceClassifier.fit = briefly
    sys.argv = arguments
    sys.path.insert(0, str(Path(arguments[0]).parent))
    torch.set_num_threads(1)
    warnings.resetwarnings()
    runpy.run_path(arguments[0], run_name="__main__")
    return 0


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_runs_and_ends_with_its_figures(script, data, tmp_path):
    if script.stem.startswith("clean_lora"):
        pytest.importorskip("peft")  # a requirement of these examples alone
    assert "accuracy" in run(script, data=data, told=tmp_path / "told")


@pytest.mark.slow
def test_table_1_goes_on_where_it_was_broken_off(data, tmp_path):
    script = EXAMPLES / "paper" / "table1.py"
    path = tmp_path / "table1.csv"
    options = ("--quick", "--data", "Adult", "--output", str(path))
    told = tmp_path / "told"
    run(script, *options, data=data, told=told)
    whole = pd.read_csv(path)
    assert len(whole) == 2 * 2
    assert whole.notna()[["kendall_0", "jaccard_60", "truth_seconds"]].all(axis=None)
    # For a convex loss and small steps first order is nearly all.
    assert whole.loc[whole["model"] == "LogReg", "kendall_0"].min() > 0.9
    whole.iloc[:-1].to_csv(path, index=False)
    run(script, *options, data=data, told=told)
    again = pd.read_csv(path)
    agreement = [column for column in whole if "seconds" not in column]
    pd.testing.assert_frame_equal(again[agreement], whole[agreement], rtol=1e-6)
    # Only the row that was missing was computed again.
    pd.testing.assert_frame_equal(again.iloc[:-1], whole.iloc[:-1])
    summary = pd.read_csv(tmp_path / "table1_summary.csv")
    assert summary["n"].tolist() == [2] * 2


@pytest.mark.slow
def test_table_1_for_longer_is_exact_where_it_is_verified(data, tmp_path):
    path = tmp_path / "epochs.csv"
    options = ("--quick", "--data", "Adult", "--epochs", "2", "--output", str(path))
    script = EXAMPLES / "paper" / "epochs.py"
    assert "SiLU" in run(script, *options, data=data, told=tmp_path / "told")
    (row,) = pd.read_csv(path).to_dict("records")
    # A short run of a smooth network: first order is nearly all.
    assert row["kendall_silu"] > 0.9
    assert row["jaccard_verify"] >= row["jaccard_relu"]
    assert (tmp_path / "epochs_kendall.csv").exists()


TINY = ("--train", "60", "--val", "60", "--test", "40", "--splits", "2")
TINY += ("--epochs", "2", "--counts", "5", "20", "--flip", "0.1")


def modified(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.csv")}


@pytest.mark.slow
def test_figures_2_and_3_compute_nothing_twice(data, tmp_path):
    """The first training images are drawn, ranked and removed; then all is there."""
    methods = ["random", "SGD-influence, last epoch"]
    where = ("--cache", str(tmp_path / "cache"), "--output", str(tmp_path))
    options = (*TINY, *where, "--methods", *methods)
    given = {"data": data, "told": tmp_path / "told"}
    run(EXAMPLES / "paper" / "figure2.py", *options, **given)
    curves = pd.read_csv(tmp_path / "figure2_mnist_flipped.csv")
    # Both ways of retraining for each number and method, and the run with all images.
    assert len(curves) == 2 * (2 * 2 * 2 + 1)
    assert curves["test_error"].between(0, 1).all()
    summary = pd.read_csv(tmp_path / "figure2_mnist_flipped_summary.csv")
    none = curves.loc[curves["method"] == "no removal", "test_error"].mean()
    np.testing.assert_allclose(summary["error"] + summary["gain"], none, rtol=1e-4)

    before = modified(tmp_path / "cache")
    lost = next((tmp_path / "cache").rglob("*00-random-20-last.csv"))
    content = lost.read_text()
    lost.unlink()
    run(EXAMPLES / "paper" / "figure2.py", *options, **given)
    assert lost.read_text() == content
    after = modified(tmp_path / "cache")
    assert {name for name in after if after[name] != before[name]} == {lost.name}
    again = pd.read_csv(tmp_path / "figure2_mnist_flipped.csv")
    pd.testing.assert_frame_equal(again, curves)

    run(EXAMPLES / "paper" / "figure3.py", *options, **given)
    found = pd.read_csv(tmp_path / "figure3_mnist_flipped.csv")
    assert len(found) == 8
    assert found["score"].is_monotonic_increasing
    # Of the rankings only those of which images they are about were missing.
    assert set(modified(tmp_path / "cache")) - set(after) == {"split00-images.csv"}
    assert {path.suffix for path in tmp_path.glob("figure?_*")} == {
        ".csv",
        ".json",
        ".png",
    }
