"""A column of texts that is all that the model is given."""

import json

import numpy as np
import pandas as pd
import pytest

from skinfluence.commands import main
from skinfluence.commands._features import text_features
from skinfluence.exceptions import TableError
from tests.commands.pictures import problem_of
from tests.commands.tables import page_data, write

N, WRONG = 60, [4, 31, 47]
LIKED, OTHERS = ["lovely", "fine", "warm"], ["poor", "boring", "cold"]


def reviews():
    """Return short texts among other columns, some of them under a wrong label."""
    rng = np.random.default_rng(0)
    good = np.arange(N) % 2 == 0
    said = [
        " ".join(rng.permutation([*rng.choice(words, 3), "film", f"number{k}"]))
        for k, words in enumerate([OTHERS, LIKED][each] for each in good.astype(int))
    ]
    good[WRONG] = ~good[WRONG]
    mood = np.where(good, "good", "bad")
    return pd.DataFrame({"stars": rng.integers(1, 6, N), "said": said, "mood": mood})


def test_words_that_matter_are_marked(tmp_path, capsys):
    frame, report = reviews(), tmp_path / "r.html"
    path = write(tmp_path, frame=frame)
    options = ["--target", "mood", "--text", "said", "--report", str(report)]
    assert main(["audit", str(path), *options, "--n", "6", "--epochs", "30"]) == 0
    suspects = page_data(report)["suspects"]
    assert {each["sample"] for each in suspects} >= set(WRONG)
    for each in suspects:
        text = "".join(part for part, _ in each["text"])
        assert text == frame["said"][each["sample"]]
        assert each["name"] == f"line {each['sample'] + 2}"
    # The words of a wrong label speak against it.
    (first, *_) = (each for each in suspects if each["sample"] in WRONG)
    marked = {part: strength for part, strength in first["text"] if strength}
    assert marked
    assert min(marked, key=marked.get) in (
        ["lovely", "fine", "warm", "poor", "boring", "cold"]
    )
    said = capsys.readouterr().out
    assert "stars  unused    beside the pictures or the text" in said


def test_other_columns_are_not_seen(tmp_path):
    frame = reviews()
    with_stars = problem_of(
        write(tmp_path, frame=frame), "--target", "mood", "--text", "said"
    )
    alone = problem_of(
        write(tmp_path, "b.csv", frame.drop(columns="stars")), "--target", "mood"
    )
    assert (with_stars.X != alone.X).nnz == 0


@pytest.mark.parametrize("option", [["--text", "said"], []], ids=["asked", "alone"])
def test_an_empty_text_is_a_text(tmp_path, capsys, option):
    frame, found = reviews()[["said", "mood"]], tmp_path / "f.json"
    frame.loc[[10, 20, 30, 40], "said"] = ["", "nan", "NA", " "]
    frame.loc[[10, 20, 30, 40], "mood"] = "good"
    path = write(tmp_path, frame=frame)
    problem = problem_of(path, "--target", "mood", *option)
    assert [problem.X[row].sum() > 0 for row in (10, 20, 30, 40)] == [0, 1, 1, 0]
    words = problem.inputs.words
    assert problem.X[20, words.index("nan")] > 0
    arguments = ["check", str(path), "--target", "mood", *option, "--json", str(found)]
    assert main([*arguments, "--only", "duplicates"]) == 0
    (issue,) = json.loads(found.read_text())["issues"]
    assert issue["places"] == [42]
    told = "as requested; empty in lines 12 and 42" in capsys.readouterr().out
    assert told == bool(option)


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("text", "x", "'train.csv' has no column 'text'. It has 'stars', 'said' and"),
        ("mood", "x", "The target 'mood' cannot be dropped, and has no kind"),
        ("stars", "1", "--column stars=text is not possible: it has no words"),
    ],
)
def test_columns_that_hold_no_texts(tmp_path, column, cell, said):
    frame = reviews().assign(stars=np.arange(N) % 5)
    frame.loc[7, "said"] = cell
    with pytest.raises(TableError, match=said):
        problem_of(write(tmp_path, frame=frame), "--target", "mood", "--text", column)


def test_text_in_another_encoding(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        reviews().to_csv(index=False).replace("film", "caf\xe9").encode("latin-1")
    )
    options = ["--target", "mood", "--text", "said"]
    with pytest.raises(TableError, match="is not text in utf-8"):
        problem_of(path, *options)
    assert problem_of(path, *options, "--encoding", "latin-1").X.shape[0] == N


def test_encoders_of_texts_that_are_not_there(monkeypatch):
    with pytest.raises(TableError, match="must be sentence-transformers:NAME for this"):
        text_features("torchvision:resnet18")
    monkeypatch.setattr("skinfluence.commands._features.find_spec", lambda name: None)
    with pytest.raises(TableError, match="needs the package sentence-transformers"):
        text_features("sentence-transformers:all-MiniLM-L6-v2")
