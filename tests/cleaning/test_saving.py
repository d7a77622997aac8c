"""Cleaners in folders: saved without pickle, and loaded as they were."""

import pickle
import re
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import (
    InfluenceCleaner,
    InfluenceCleanerCV,
    load_estimator,
    queries,
    save_estimator,
)
from skinfluence.cleaning import data_fingerprint
from skinfluence.exceptions import TrajectoryFileError, UntrustedTypeError
from skinfluence.scorers import ExactCounterfactual
from tests.cleaning.problems import flipped_blobs, quick

X, Y, *_ = flipped_blobs()
FRAME = pd.DataFrame(X, columns=[f"column {k}" for k in range(X.shape[1])])
LABELS = pd.Series(np.where(Y == 0, "a", "b"), name="label")
DECISIONS = pd.DataFrame(
    {
        "sample": [3],
        "decision": ["remove"],
        "label": [""],
        "fingerprint": [data_fingerprint(FRAME, LABELS)],
    }
)


def ask(outputs, targets):
    return outputs[:, 0]


def answers_of(cleaner):
    nets = cleaner.estimator_, cleaner.final_estimator_
    return [net.influence(X[:9], Y[:9]) for net in nets]


def through(estimator, folder):
    save_estimator(estimator, folder)
    return load_estimator(folder)


def check_same(loaded, saved):
    """Compare all that the fits have found."""
    assert type(loaded) is type(saved)
    assert vars(loaded).keys() == vars(saved).keys()
    for name, value in vars(saved).items():
        other = getattr(loaded, name)
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(other, value, strict=True)
        elif isinstance(value, pd.DataFrame):
            assert_frame_equal(other, value)
    assert repr(clone(loaded)) == repr(clone(saved))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"cv": 2, "n_runs": 2},
        {"action": "relabel"},
        {"action": "unlabel"},
        {"action": "reweight"},
        {"refit": "counterfactual"},
        {"scorer": "loss", "final_estimator": make_pipeline(StandardScaler(), quick())},
        {"decisions": DECISIONS},
    ],
    ids=lambda options: next(iter(options)) + str(len(str(options))),
)
def test_all_that_a_cleaner_holds(tmp_path, options):
    cleaner = InfluenceCleaner(quick(), n_remove=5, random_state=0, **options)
    loaded = through(cleaner.fit(FRAME, LABELS), tmp_path / "cleaner")
    check_same(loaded, cleaner)
    assert_frame_equal(loaded.to_frame(), cleaner.to_frame())
    np.testing.assert_array_equal(loaded.predict(FRAME), cleaner.predict(FRAME))
    again = clone(loaded).fit(FRAME, LABELS)
    np.testing.assert_array_equal(again.support_, cleaner.support_)


def test_search_over_numbers(tmp_path):
    search = InfluenceCleanerCV(quick(), n_removes=[0, 5], cv=2, random_state=0)
    loaded = through(search.fit(X, Y), tmp_path / "search")
    check_same(loaded, search)
    assert loaded.cv_results_.keys() == search.cv_results_.keys()


def test_influence_of_the_loaded_is_the_same(tmp_path):
    cleaner = InfluenceCleaner(quick(), n_remove=5, random_state=0).fit(X, Y)
    cleaner.save(tmp_path / "cleaner")
    loaded = load_estimator(tmp_path / "cleaner")
    expected = cleaner.estimator_.influence(X[:9], Y[:9])
    np.testing.assert_array_equal(loaded.estimator_.influence(X[:9], Y[:9]), expected)
    # A trajectory reads from the folder that it was saved to, which may be replaced.
    cleaner.save(tmp_path / "cleaner", overwrite=True)
    np.testing.assert_array_equal(cleaner.estimator_.influence(X[:9], Y[:9]), expected)


@pytest.mark.parametrize("fitted", [False, True])
def test_pipelines_and_searches(tmp_path, fitted):
    pipeline = make_pipeline(StandardScaler(), InfluenceCleaner(quick(), n_remove=3))
    search = GridSearchCV(pipeline, {"influencecleaner__n_remove": [0, 5]}, cv=2)
    for name, estimator in (("pipeline", pipeline), ("search", search)):
        estimator = estimator.fit(X, Y) if fitted else estimator
        loaded = through(estimator, tmp_path / name)
        assert repr(loaded) == repr(estimator)
        if fitted:
            expected = estimator.predict_proba(X)
            np.testing.assert_array_equal(loaded.predict_proba(X), expected)


COLUMNS = {
    "category": pd.Categorical(["u", "v", None] * 2, ["v", "u", "w"], ordered=True),
    "text": pd.array(["a", None, "c"] * 2, dtype="string"),
    "whole": pd.array([1, None, 3] * 2, dtype="Int64"),
    "truth": pd.array([True, None, False] * 2, dtype="boolean"),
    "date": pd.date_range("2020-01-01", periods=6).to_numpy(),
    "objects": np.array(["a", None, 1.5, True, 3, "b"], dtype=object),
}


@pytest.mark.parametrize("index", [None, list("uvwxyz")], ids=["range", "texts"])
def test_frames(tmp_path, index):
    frame = pd.DataFrame(COLUMNS, index=index)
    frame["again"] = np.arange(6.0)
    frame = frame.set_axis([*COLUMNS, "text"], axis=1)
    cleaner = InfluenceCleaner(decisions=frame)
    assert_frame_equal(through(cleaner, tmp_path / "cleaner").decisions, frame)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("memory", joblib.Memory(None), "would have to be pickled"),
        ("query", lambda outputs, targets: outputs[:, 0], "loaded by its name"),
        (
            "decisions",
            pd.DataFrame({"a": pd.date_range("2020", periods=2, tz="Asia/Tokyo")}),
            "cannot write what is datetime64",
        ),
        ("decisions", pd.DataFrame({"a": [pickle]}), "cannot write"),
    ],
    ids=["memory", "lambda", "dates", "module"],
)
def test_what_can_only_be_pickled_is_refused_before_anything_is_written(
    tmp_path, name, value, why
):
    pipeline = make_pipeline(InfluenceCleaner(quick(), **{name: value}))
    with pytest.raises(TypeError, match=rf"(?s)\.{name}.*{why}"):
        save_estimator(pipeline, tmp_path / "pipeline")
    assert list(tmp_path.iterdir()) == []


def test_own_functions_must_be_trusted(tmp_path):
    InfluenceCleaner(quick(), query=ask).save(tmp_path / "cleaner")
    with pytest.raises(UntrustedTypeError, match="ask"):
        load_estimator(tmp_path / "cleaner")
    assert load_estimator(tmp_path / "cleaner", [ask]).query is ask


def test_a_corrected_query_needs_no_trust(tmp_path):
    # A cleaner with the default query may come to hold one.
    query = queries.corrected_error([[0.6, 0.4], [0, 1]])
    loaded = through(InfluenceCleaner(quick(), query=query), tmp_path / "cleaner").query
    logs, labels = torch.tensor([[0.8, 0.2]] * 2).log(), torch.tensor([0, 1])
    # The errors are 0.2 and 0.8, the inverse is [[5/3, -2/3], [0, 1]].
    expected = [(5 * 0.2 - 2 * 0.8) / 3, 0.8]
    np.testing.assert_allclose(loaded.values(logs, labels).numpy(), expected, rtol=1e-5)


def with_paths():
    cached = make_pipeline(StandardScaler(), quick(), memory="cache")
    plain = Pipeline([("scale", StandardScaler())], memory="cache")
    grid = {"clean__memory": [None, "cache"]}
    pipeline = Pipeline([("clean", InfluenceCleaner(quick()))])
    return {
        "cleaner": InfluenceCleaner(quick(), memory="cache"),
        "decisions": InfluenceCleaner(quick(), decisions=Path("cache")),
        "search": InfluenceCleanerCV(quick(), memory="cache"),
        "scorer": InfluenceCleaner(quick(), scorer=ExactCounterfactual(memory="cache")),
        "pipeline": InfluenceCleaner(quick(), final_estimator=cached),
        "plain pipeline": InfluenceCleaner(quick(), final_estimator=plain),
        "grid": GridSearchCV(pipeline, grid),
    }


@pytest.mark.parametrize("name", with_paths())
def test_paths_must_be_trusted(tmp_path, name):
    saved = with_paths()[name]
    save_estimator(saved, tmp_path / "saved")
    with pytest.raises(UntrustedTypeError, match=r"it lacks \['cache'\]"):
        load_estimator(tmp_path / "saved")
    with pytest.raises(UntrustedTypeError, match=r"it lacks \['cache'\]"):
        load_estimator(tmp_path / "saved", trusted=["other"])
    for path in ("cache", Path("cache")):
        assert repr(load_estimator(tmp_path / "saved", [path])) == repr(saved)


def test_damaged_files_are_named(tmp_path):
    cleaner = InfluenceCleaner(quick(), n_remove=5, random_state=0).fit(X, Y)
    cleaner.save(tmp_path / "cleaner")
    files = sorted((tmp_path / "cleaner").rglob("*.*"))
    assert len(files) > 10  # those of the networks too
    for file in (each for each in files if each.is_file()):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(TrajectoryFileError, match=re.escape(file.name)):
            answers_of(load_estimator(tmp_path / "cleaner"))
        file.write_bytes(content)


def test_only_what_was_saved_is_replaced(tmp_path):
    cleaner = InfluenceCleaner(quick())
    cleaner.save(tmp_path / "cleaner")
    (tmp_path / "cleaner" / "estimators" / "notes").touch()
    with pytest.raises(TrajectoryFileError, match="and nothing else, to be"):
        cleaner.save(tmp_path / "cleaner", overwrite=True)


@pytest.mark.parametrize("value", [3, None, InfluenceCleaner], ids=repr)
def test_what_is_no_estimator(tmp_path, value):
    with pytest.raises(TypeError, match="`estimator` must be an instance"):
        save_estimator(value, tmp_path / "folder")
