"""Runs on disk that are killed at random moments go on to the same bits."""

import os
import random
import signal
import time

import numpy as np
import pytest
import torch

from skinfluence import SGDInfluenceClassifier
from skinfluence.trajectory._disk import store as disk
from tests.estimators.test_interrupts import data, weights

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked"),
]

OPTIONS = {
    "module__hidden_layer_sizes": (4,),
    "max_epochs": 12,
    "batch_size": 8,
    "random_state": 0,
}
ADAM = {"optimizer": torch.optim.Adam, "lr": 0.01}

KINDS = {
    "all epochs": {},
    "the last epoch": {"record": 1},
    "the last two": {"record": 2, **ADAM},
    "the last epoch, thinned": {"record": 1, "checkpoint_every": 3, **ADAM},
    "little memory": {"record": 3, "max_trajectory_bytes": 4000},
}


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(disk, "_SHARD_STATES", 5)


def recorded(options, folder):
    clf = SGDInfluenceClassifier(**OPTIONS, **options, trajectory_dir=folder)
    return clf.fit(*data(), resume=True)


def killed(options, folder, after, number):
    """Train in a process that gets a signal after so many seconds."""
    process = os.fork()
    if not process:
        try:
            recorded(options, folder)
        finally:
            os._exit(0)
    time.sleep(after)
    os.kill(process, number)
    os.waitpid(process, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_killed_goes_on(tmp_path, kind):
    options = KINDS[kind]
    recorded(options, tmp_path / "warm")
    start = time.perf_counter()
    unbroken = recorded(options, tmp_path / "unbroken")
    duration = time.perf_counter() - start
    scores = unbroken.influence(*data())
    moments = random.Random(kind)
    for number in range(4):
        folder = tmp_path / str(number)
        # SIGTERM too ends a process at once, unless the program handles it.
        kind = moments.choice([signal.SIGKILL, signal.SIGTERM])
        killed(options, folder, moments.uniform(0, duration), kind)
        clf = recorded(options, folder)
        assert all(map(torch.equal, weights(clf), weights(unbroken)))
        np.testing.assert_array_equal(clf.influence(*data()), scores)
        first = clf.trajectory_.first_recorded_step
        assert first == unbroken.trajectory_.first_recorded_step
