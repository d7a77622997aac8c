"""Three processes that fit, resume and are killed in one folder at the same time."""

import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.cases import Case

from . import Family, Outcome
from .forks import DIED, Fork
from .kills import N_EPOCHS, OTHER_BITS, Run, bits, finished, undisturbed

N_WRITERS = 3
SAME_BITS, KILLED = "same bits", "killed"


def _fit(case: Case, seed: int, folder: Path, resume: bool) -> Any:
    options = {"max_epochs": N_EPOCHS, "random_state": seed, "trajectory_dir": folder}
    return case.classifier(**options).fit(*case.data()[:2], resume=resume)


CASES = {
    "SGD": Case("linear"),
    "Adam, record=1": Case("mlp", "adam", {"record": 1}),
    "RMSprop, dropout": Case("dropout", "rmsprop"),
}
RUNS: list[tuple[str, Run]] = [
    (kind, partial(_fit, case, seed)) for kind, case in CASES.items() for seed in (0, 1)
]
ACTIONS = "fitted", "resumed", KILLED


def _write(
    folder: Path, known: list[tuple[str, float]], seed: list[int], until: float
) -> list[list[str]]:
    """Fit, resume and kill until the time is over; return what came of it."""
    rng, outcomes = np.random.default_rng(seed), []
    while time.monotonic() < until:
        number = int(rng.integers(len(RUNS)))
        (kind, run), (expected, seconds) = RUNS[number], known[number]
        action = ACTIONS[rng.integers(len(ACTIONS))]
        fork = Fork(finished, run, folder, action != "fitted")
        if action == KILLED:
            time.sleep(rng.uniform(0, seconds))
            fork.strike(signal.SIGKILL)
        outcome, detail = fork.answer()
        if outcome == "bits":
            outcome, detail = (SAME_BITS if detail == expected else OTHER_BITS), ""
        elif outcome == DIED and action == KILLED:
            outcome = KILLED
        outcomes.append([kind, action, outcome, detail])
    return outcomes


def run(n: int, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    """Yield what came of the writers' work, in n seconds."""
    bits(Case().fitted())
    known = [undisturbed(run, folder / str(k)) for k, (_, run) in enumerate(RUNS)]
    seeds = rng.integers(2**32, size=(N_WRITERS, 1)).tolist()
    until = time.monotonic() + n
    forks = [Fork(_write, folder / "runs", known, seed, until) for seed in seeds]
    for fork in forks:
        # As its own trials may hang for a minute.
        answer = fork.answer(timeout=n + 120.0)
        if not isinstance(answer[0], list):
            answer = [["a writer", "all", *answer]]
        yield from (Outcome(*each) for each in answer)


FAMILY = Family(run, 600, (SAME_BITS, KILLED))
