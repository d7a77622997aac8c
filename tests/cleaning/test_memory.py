"""What is remembered: how often is ranked, in which processes, under which keys."""

import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from scipy import sparse
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import GridSearchCV
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence._keys import digest
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.exceptions import CacheWarning
from skinfluence.scorers import Outlier, SGDInfluence
from tests import fresh
from tests.cleaning.counting import CountingInfluence, count
from tests.cleaning.problems import flipped_blobs, quick

GRID = {"n_remove": [0, 5, 10, 0.2]}


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


@pytest.fixture
def calls(tmp_path):
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def search(X, y, calls, memory, n_jobs=None, cv=3, **options):
    options = {"validation_fraction": 0.2, "memory": memory, **options}
    cleaner = InfluenceCleaner(quick(), scorer=CountingInfluence(calls), **options)
    return GridSearchCV(cleaner, GRID, cv=cv, n_jobs=n_jobs).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, None])
def test_a_grid_search_ranks_each_fold_once(blobs, calls, tmp_path, seed):
    X, y, *_ = blobs
    found = search(X, y, calls, tmp_path / "memory", random_state=seed)
    assert count(calls) == 3 + 1
    if seed is not None:
        expected = search(X, y, calls, None, random_state=seed)
        assert count(calls) == 3 + 1 + 3 * 4 + 1
        for name in ("mean_test_score", "std_test_score"):
            assert np.array_equal(found.cv_results_[name], expected.cv_results_[name])
        np.testing.assert_array_equal(
            found.best_estimator_.influence_, expected.best_estimator_.influence_
        )


@pytest.mark.parametrize(
    "backend", [pytest.param("loky", marks=pytest.mark.slow), "threading"]
)
def test_several_workers_rank_each_fold_once(blobs, calls, tmp_path, backend):
    # More workers than folds: one asks for a ranking that is just being made.
    X, y, *_ = blobs
    fold = np.arange(40, len(y)), np.arange(40)
    memory = str(tmp_path / "memory")
    with joblib.parallel_backend(backend):
        search(X, y, calls, memory, n_jobs=2, cv=[fold], random_state=0)
    assert count(calls) == 1 + 1


def test_every_run_is_remembered_by_itself(blobs, calls, tmp_path):
    X, y, _, X_val, y_val = blobs
    cleaner = InfluenceCleaner(
        quick(),
        scorer=CountingInfluence(calls),
        memory=joblib.Memory(tmp_path, verbose=0),
        random_state=0,
    )
    cleaner.fit(X, y, X_val, y_val)
    cleaner.set_params(n_runs=3).fit(X, y, X_val, y_val)
    assert count(calls) == 3
    cleaner.set_params(refit="counterfactual", n_remove=7).fit(X, y, X_val, y_val)
    assert count(calls) == 3


@pytest.mark.slow
def test_what_a_ranking_depends_on_makes_a_new_one(blobs, calls, tmp_path):
    X, y, _, X_val, y_val = blobs
    weights = np.linspace(1, 2, len(y))
    scorer = CountingInfluence(calls)
    cleaner = InfluenceCleaner(quick(), scorer=scorer, memory=tmp_path)
    other = X.copy()
    other[3, 1] += 1
    swapped = np.where(np.arange(len(y)) == 2, (y + 1) % 3, y)
    for number, (options, data, params) in enumerate(
        [
            ({}, (X, y, X_val, y_val), {}),
            ({}, (other, y, X_val, y_val), {}),
            ({}, (X, swapped, X_val, y_val), {}),
            ({}, (X, y, X_val + 1, y_val), {}),
            ({}, (X, y, X_val, y_val[::-1]), {}),
            ({}, (X, y), {}),
            ({"random_state": 1}, (X, y), {}),
            ({"validation_fraction": 0.3}, (X, y), {}),
            ({"cv": 2}, (X, y), {}),
            ({}, (X, y, X_val, y_val), {"sample_weight": weights}),
            ({"estimator": quick(lr=0.2)}, (X, y, X_val, y_val), {}),
            ({"estimator": quick(random_state=1)}, (X, y, X_val, y_val), {}),
            ({"scorer": CountingInfluence(calls, "path")}, (X, y, X_val, y_val), {}),
        ],
        start=1,
    ):
        before = count(calls)
        fresh = InfluenceCleaner(**{**cleaner.get_params(deep=False), **options})
        fresh.fit(*data, **params)
        assert count(calls) > before, number
        again = count(calls)
        InfluenceCleaner(**{**fresh.get_params(deep=False), "n_remove": 1}).fit(
            *data, **params
        )
        assert count(calls) == again, number


def test_without_memory_nothing_is_remembered(blobs, calls):
    X, y, _, X_val, y_val = blobs
    cleaner = InfluenceCleaner(quick(), scorer=CountingInfluence(calls))
    cleaner.fit(X, y, X_val, y_val).fit(X, y, X_val, y_val)
    assert count(calls) == 2


LOCK = threading.Lock()


def locking(*data):
    with LOCK:
        return data[-1]


@pytest.mark.parametrize("name", ["query", "scorer"])
def test_what_makes_no_key_is_refused_before_any_work(blobs, tmp_path, name):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick(), memory=tmp_path / "memory", n_remove=1)
    cleaner.set_params(**{name: locking})
    with pytest.raises(ValueError, match=f"`{name}` must have a stable key with `mem"):
        cleaner.fit(X, y)
    assert not (tmp_path / "memory").exists()


def test_an_edited_scorer_ranks_anew(blobs, tmp_path):
    X, y, *_ = blobs
    scorers = [
        lambda clf, X, *others: clf.predict_proba(X)[:, 0],
        lambda clf, X, *others: clf.predict_proba(X)[:, 1],
    ]

    def ranked(scorer, memory):
        cleaner = InfluenceCleaner(quick(), scorer=scorer, cv=2, n_remove=1)
        return cleaner.set_params(memory=memory, random_state=0).fit(X, y).influence_

    found = [ranked(scorer, tmp_path) for scorer in scorers]
    for scores, scorer in zip(found, scorers, strict=True):
        np.testing.assert_array_equal(scores, ranked(scorer, None))
        np.testing.assert_array_equal(scores, ranked(scorer, tmp_path))
    assert not np.array_equal(*found)


@pytest.mark.slow
def test_what_is_kept_is_no_pickle(blobs, calls, tmp_path):
    X, y, *_ = blobs
    memory = tmp_path / "memory"
    found = search(X, y, calls, memory, random_state=0)
    files = [path for path in memory.rglob("*") if path.suffix != ".lock"]
    assert {path.suffix for path in files} == {".safetensors"}
    kept = [load_file(path)["scores"] for path in files]
    scores = found.best_estimator_.over_runs_.scores
    scores = scores[~np.isnan(scores)]
    assert any(np.array_equal(each, scores) for each in kept)
    n_calls = count(calls)
    for path in files:
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.warns(CacheWarning, match="computed again"):
        again = search(X, y, calls, memory, random_state=0)
    assert count(calls) == 2 * n_calls
    np.testing.assert_array_equal(
        again.best_estimator_.influence_, found.best_estimator_.influence_
    )


def test_a_memory_that_cannot_be_written_costs_nothing(blobs, calls, tmp_path):
    X, y, *_ = blobs
    (tmp_path / "file").touch()
    cleaner = InfluenceCleaner(quick(), cv=3, n_remove=3, random_state=0)
    expected = cleaner.fit(X, y).influence_
    for memory in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.warns(CacheWarning, match="cannot be written") as told:
            found = cleaner.set_params(memory=memory).fit(X, y).influence_
        assert len(told) == 1
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("memory", ["", 3])
def test_what_is_no_memory_is_refused(blobs, memory):
    X, y, *_ = blobs
    with pytest.raises(ValueError, match=r"'memory'|`memory` must be the path"):
        InfluenceCleaner(quick(), memory=memory).fit(X, y)


def make_things():
    """Return things to hash, made anew each time."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU())
    frame = pd.DataFrame(
        {"a": [1.0, 2.0], "b": pd.Categorical(["x", "y"]), "c": ["u", None]}
    )
    return [
        SGDInfluenceClassifier(
            module,
            optimizer__momentum=0.5,
            criterion__weight=torch.tensor([1.0, 2.0]),
            random_state=np.random.RandomState(0),
        ),
        Outlier(IsolationForest(random_state=0)),
        SGDInfluence({1: 1.0, 2: 0.5}),
        frame,
        frame["b"],
        sparse.csr_array(np.eye(3)),
        torch.zeros((), dtype=torch.bfloat16),
        {"weights": np.arange(3.0), "names": ["a", "b"]},
    ]


@pytest.mark.slow
def test_digests_are_the_same_in_every_process():
    code = (
        "from tests.cleaning.test_memory import make_things, digest;"
        "print([digest(thing) for thing in make_things()])"
    )
    here = [digest(thing) for thing in make_things()]
    assert fresh.run(code).strip() == str(here)
    assert len(set(here)) == len(here)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (quick(lr=0.1), quick(lr=0.2)),
        (quick(), SGDInfluenceClassifier(nn.Linear(4, 3), random_state=0)),
        (torch.zeros(2), torch.zeros(3)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), torch.ones(2)),
        (np.zeros(4), np.zeros((2, 2))),
        (pd.Series([1, 2]), pd.Series([1, 3])),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]})),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1.0]})),
        (SGDInfluence("path"), SGDInfluence("final")),
    ],
)
def test_digests_differ_where_the_contents_do(one, other):
    assert digest(one) != digest(other)


def test_digests_look_into_modules():
    torch.manual_seed(0)
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    assert digest(SGDInfluenceClassifier(one)) != digest(SGDInfluenceClassifier(other))
    other.load_state_dict(one.state_dict())
    assert digest(SGDInfluenceClassifier(one)) == digest(SGDInfluenceClassifier(other))
