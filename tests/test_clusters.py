"""Work on a cluster of Dask: several processes that share nothing but a folder."""

import contextlib
import os
import signal
import uuid
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skinfluence import influence_over_runs, progress
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.cleaning._data import CleaningData
from skinfluence.estimators._questions import counterfactual
from skinfluence.estimators._questions.question import Question
from skinfluence.estimators._training_data import TrainingData
from tests.cleaning.counting import CountingInfluence, count
from tests.cleaning.problems import flipped_blobs, quick

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            local_directory=tmp_path_factory.mktemp("dask"),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert len(set(client.run(os.getpid).values())) == 2
        yield client


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


@pytest.fixture(scope="module")
def clf(blobs):
    X, y, *_ = blobs
    return quick(dtype="float64").fit(X, y)


@pytest.fixture
def calls(tmp_path):
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


def folds(blobs, clf):
    X, y, *_ = blobs
    return InfluenceCleaner(quick(), cv=4, n_remove=5, random_state=0).fit(X, y)


def runs(blobs, clf):
    X, y, *_ = blobs
    return InfluenceCleaner(quick(), n_runs=5, n_remove=5, random_state=0).fit(X, y)


def chosen(blobs, clf):
    X, y, *_ = blobs
    options = {"validation_fraction": 0.2, "random_state": 0}
    return InfluenceCleaner(quick(), n_remove="auto", **options).fit(X, y)


def cleaned(work):
    return lambda *given: work(*given).influence_


def further_runs(blobs, clf):
    *_, X_val, y_val = blobs
    return influence_over_runs(clf, X_val, y_val, n_runs=5, random_state=0).scores


def chunks(blobs, clf):
    *_, X_val, y_val = blobs
    return clf.counterfactual_influence(X_val, y_val, range(40))


WORK = {
    "folds": (cleaned(folds), CleaningData, "Further runs"),
    "runs": (cleaned(runs), CleaningData, "Further runs"),
    "numbers": (cleaned(chosen), CleaningData, "Folds"),
    "further runs": (further_runs, TrainingData, "Further runs"),
    "chunks": (chunks, Question, "Exact changes"),
}


def arrived(folder, make, arguments, state):
    """Make what was pickled, and leave a file for each time."""
    (folder / f"{os.getpid()}-{uuid.uuid4().hex}").touch()
    data = make(*arguments)
    if hasattr(data, "__setstate__"):
        data.__setstate__(state)
    else:
        vars(data).update(state)
    return data


@pytest.mark.parametrize("name", WORK)
def test_data_is_sent_once(client, blobs, clf, monkeypatch, capsys, calls, name):
    work, kind, words = WORK[name]
    monkeypatch.setattr(counterfactual, "_RUNS_A_PART", 5)
    expected = work(blobs, clf)

    def reduced(data, protocol, reduce=kind.__reduce_ex__):
        return arrived, (calls, *reduce(data, protocol)[:3])

    monkeypatch.setattr(kind, "__reduce_ex__", reduced)
    with progress(), joblib.parallel_config("dask"):
        found = work(blobs, clf)
    # Chunks of other sizes sum in another order, in double precision.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    arrivals = [path.name.partition("-")[0] for path in calls.iterdir()]
    assert 1 <= len(arrivals) <= 2
    assert len(set(arrivals)) == len(arrivals)
    bars = [bar for bar in capsys.readouterr().err.split("\r") if bar.startswith(words)]
    assert "100%" in bars[-1]


def test_a_grid_search_ranks_each_fold_once(client, blobs, calls, tmp_path):
    X, y, *_ = blobs

    def search(memory):
        options = {"validation_fraction": 0.2, "memory": memory, "random_state": 0}
        cleaner = InfluenceCleaner(quick(), scorer=CountingInfluence(calls), **options)
        return GridSearchCV(cleaner, {"n_remove": [0, 5, 10, 0.2]}, cv=3).fit(X, y)

    with joblib.parallel_config("dask"):
        found = search(tmp_path / "memory")
    assert count(calls) == 3 + 1
    expected = search(None)
    np.testing.assert_allclose(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )


class Killing(CountingInfluence):
    """A scorer that kills its process once, not in the first call of all."""

    def __call__(self, *data):
        found = super().__call__(*data)
        if count(Path(self.folder)) > 1:
            with contextlib.suppress(FileExistsError):
                Path(f"{self.folder}-killed").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return found


def test_a_killed_worker_costs_its_fold_only(client, blobs, calls, tmp_path):
    X, y, *_ = blobs
    options = {"cv": 7, "n_remove": 5, "random_state": 0}
    calls_here = tmp_path / "here"
    calls_here.mkdir()
    plain = CountingInfluence(calls_here)
    expected = InfluenceCleaner(quick(), scorer=plain, **options).fit(X, y)
    pids = set(client.run(os.getpid).values())
    cleaner = InfluenceCleaner(quick(), scorer=Killing(calls), **options)
    with joblib.parallel_config("dask"):
        found = cleaner.set_params(memory=tmp_path / "memory").fit(X, y)
    assert count(calls) == 7 + 1
    np.testing.assert_array_equal(found.influence_, expected.influence_)
    assert len(pids & set(client.run(os.getpid).values())) == 1
