"""Runs on disk that are killed at random moments, resumed, and compared to the bit."""

import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import EarlyStopping, GradientNormClipping, LRScheduler
from skorch.dataset import ValidSplit
from torch.utils.data import TensorDataset

from skinfluence.trajectory._disk import store
from tests.cases import Case

from . import Family, Outcome, shares
from .forks import DIED, Fork

# Small files, so that a short run writes many.
store._SHARD_STATES = 4

N_EPOCHS = 12
RESUMED, OTHER_BITS = "resumed to the same bits", "other bits"

Run = Callable[[Path, bool], Any]
"""``run(folder, resume) -> fitted classifier``."""


def _fit(case: Case, folder: Path, resume: bool) -> Any:
    X, y, weights = case.data()
    clf = case.classifier(trajectory_dir=folder, max_epochs=N_EPOCHS)
    return clf.fit(X, y, sample_weight=weights, resume=resume)


def _dataset(case: Case, folder: Path, resume: bool) -> Any:
    X, y, _ = case.data()
    rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    clf = case.classifier(trajectory_dir=folder, max_epochs=N_EPOCHS, classes=[0, 1, 2])
    return clf.fit(rows, resume=resume)


def _continued(case: Case, folder: Path, resume: bool) -> Any:
    X, y, _ = case.data()
    clf = case.classifier(trajectory_dir=folder, max_epochs=N_EPOCHS // 2)
    return clf.fit(X, y, resume=resume).partial_fit(X, y)


def _scheduled() -> dict[str, Any]:
    steps = LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=3, gamma=0.7)
    return {"callbacks": [steps, GradientNormClipping(0.5)]}


def _stopping() -> dict[str, Any]:
    stop = EarlyStopping(patience=2, load_best=True, monitor="valid_loss")
    return {"train_split": ValidSplit(3), "callbacks": [stop], "lr": 0.02}


RUNS: dict[str, Run] = {
    "SGD, weights": partial(_fit, Case("linear", "sgd", weighted=True)),
    'momentum, record="replay"': partial(
        _fit, Case("mlp", "momentum", {"record": "replay"})
    ),
    "Adam, record=1": partial(_fit, Case("mlp", "adam", {"record": 1})),
    "Adam, every fourth state": partial(
        _fit, Case("mlp", "adam", {"checkpoint_every": 4})
    ),
    "Nesterov, BatchNorm, record=3": partial(
        _fit, Case("batch_norm", "nesterov", {"record": 3})
    ),
    "RMSprop, dropout": partial(_fit, Case("dropout", "rmsprop")),
    "schedule, clipping": partial(_fit, Case("mlp", "sgd", _scheduled())),
    "early stopping": partial(_fit, Case("batch_norm", "adam", _stopping())),
    "accumulation, Dataset": partial(
        _dataset, Case("mlp", "momentum", {"accumulate_steps": 2})
    ),
    "partial_fit": partial(_continued, Case("mlp", "adam")),
}


def bits(clf: Any) -> str:
    """Return a digest of a run: parameters, optimizer, history, influence."""
    X_val, y_val = Case().validation()
    # A run that can only be repeated has exact changes instead.
    replay = clf.record == "replay"
    scores = (
        clf.counterfactual_influence(X_val, y_val, [3])
        if replay
        else clf.influence(X_val, y_val)
    )
    found = hashlib.sha256(np.asarray(scores).tobytes())
    for tensor in clf.module_.state_dict().values():
        found.update(tensor.numpy().tobytes())
    moments = clf.optimizer_.state_dict()["state"]
    # Their order tells only which were created first.
    for name, value in (x for own in moments.values() for x in sorted(own.items())):
        found.update(name.encode() + torch.as_tensor(value).numpy().tobytes())
    found.update(repr([row.get("train_loss") for row in clf.history_]).encode())
    return found.hexdigest()


def finished(run: Run, folder: Path, resume: bool) -> list[str]:
    """Return the digest of a run that goes to its end."""
    return ["bits", bits(run(folder, resume))]


def undisturbed(run: Run, folder: Path) -> tuple[str, float]:
    """Return the digest of an undisturbed run, and the seconds until it is fitted."""
    began = time.monotonic()
    Fork(fitted, run, folder / "timed", False).answer()
    seconds = time.monotonic() - began
    kind, found = Fork(finished, run, folder / "whole", False).answer()
    if kind != "bits":
        raise RuntimeError(f"The undisturbed run failed: {kind}, {found}.")
    return found, seconds


def fitted(run: Run, folder: Path, resume: bool) -> list[str]:
    """Take a run to its end."""
    run(folder, resume)
    return ["fitted"]


def killed(run: Run, folder: Path, moments: Iterable[float]) -> bool:
    """Kill a run at a moment, its resumption at the next; return whether none ended."""
    for number, moment in enumerate(moments):
        fork = Fork(fitted, run, folder, number > 0)
        time.sleep(moment)
        fork.strike(signal.SIGKILL)
        if fork.answer()[0] != DIED:
            return False
    return True


def unflushed_lost(folder: Path, rng: np.random.Generator) -> None:
    """Zero some of what a journal has more than when its run was last flushed.

    That is what a power loss may leave; all other files are flushed when written.
    """
    for manifest in folder.glob("run-*/manifest.json"):
        flushed = json.loads(manifest.read_bytes())["content"]["journal_bytes"]
        journal = manifest.with_name("journal.jsonl")
        data = bytearray(journal.read_bytes() if journal.exists() else b"")
        if len(data) > flushed:
            start, stop = np.sort(rng.integers(flushed, len(data) + 1, 2))
            data[start:stop] = bytes(stop - start)
            journal.write_bytes(data)


def resumed(run: Run, folder: Path, expected: str) -> tuple[str, str]:
    """Resume a run; return the outcome and its detail."""
    kind, found = Fork(finished, run, folder, True).answer()
    if kind != "bits":
        return kind, found
    return (RESUMED, "") if found == expected else (OTHER_BITS, "")


# How often a run is killed in a trial, and whether the machine goes down with it.
FAULTS = {"killed": (1, False), "killed twice": (2, False), "power loss": (1, True)}


def run(n: int, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    """Yield the outcomes of kills: of the run, or of the run and of its resumption."""
    # What is imported lazily is imported once.
    bits(Case().fitted())
    place = folder / "runs"
    for (kind, each), n_trials in zip(RUNS.items(), shares(n, len(RUNS)), strict=True):
        expected, seconds = undisturbed(each, folder / "undisturbed")
        for trial in range(n_trials):
            fault = list(FAULTS)[trial % len(FAULTS)]
            times, loses = FAULTS[fault]
            # Trials that a kill missed, as the run had ended, are made anew.
            while not killed(each, place, rng.uniform(0, seconds / times, times)):
                shutil.rmtree(place)
            if loses:
                unflushed_lost(place, rng)
            yield Outcome(kind, fault, *resumed(each, place, expected))
            shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(folder / "undisturbed")


FAMILY = Family(run, 1000, (RESUMED,))
