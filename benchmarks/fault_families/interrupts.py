"""Work that is interrupted at random moments, as by Ctrl-C."""

import contextlib
import io
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import cross_val_score

from skinfluence import InfluenceCleaner
from skinfluence.commands import main
from skinfluence.trajectory import Trajectory
from tests.cases import Case
from tests.commands.tables import QUICK, customers, page_data, write

from . import Family, Outcome, shares
from .forks import Answer, Fork

CASE, N_EPOCHS = Case("mlp", "adam"), 12

RAISED_AGAIN, SWALLOWED, KEPT, LATE = (
    "raised and nothing kept",
    "swallowed",
    "something kept",
    "late",
)


class Fit:
    """`fit` of an estimator."""

    on_disk = False

    def __init__(self, folder: Path) -> None:
        runs = folder / "runs" if self.on_disk else None
        self.clf = CASE.classifier(max_epochs=N_EPOCHS, trajectory_dir=runs)

    def __call__(self) -> Any:
        X, y, _ = CASE.data()
        self.clf.fit(X, y)

    def result(self) -> Any:
        """Return the result of the work, once it is done."""
        return self.clf.influence(*CASE.validation())

    def kept(self, folder: Path, expected: str) -> str:
        """Return what the interrupted work has left that it must not; or nothing.

        An interrupt may arrive when all is done, just before `fit` returns.
        """
        for path in folder.glob("runs/*/manifest.json"):
            finished = json.loads(path.read_bytes())["content"]["finished"]
            if finished and Trajectory.load(path.parent).n_steps < self.n_steps():
                return "a part of a run is called finished"
        if hasattr(self.clf, "trajectory_") and _bytes(self) != expected:
            return "a part of a fit is kept"
        return ""

    @staticmethod
    def n_steps() -> int:
        """Return the number of steps of the whole run."""
        return N_EPOCHS * -(-len(CASE.data()[0]) // CASE.classifier().batch_size)


class FitOnDisk(Fit):
    """`fit` with a `trajectory_dir`."""

    on_disk = True


class PartialFit(Fit):
    """`partial_fit` of a fitted estimator, which stops after a whole step."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        super().__call__()
        whole = CASE.classifier(max_epochs=2 * N_EPOCHS)
        self.whole = whole.fit(*CASE.data()[:2]).trajectory_

    def __call__(self) -> Any:
        X, y, _ = CASE.data()
        self.clf.partial_fit(X, y)

    def result(self) -> Any:
        return None

    def kept(self, folder: Path, expected: str) -> str:
        now = torch.cat([w.detach().flatten() for w in self.clf.module_.parameters()])
        step = self.clf.trajectory_.n_steps
        if not torch.equal(now, self.whole.state(step).parameters):
            return f"the model is not that after step {step}"
        self.clf.influence(*CASE.validation())
        return ""


class Clean(Fit):
    """`fit` of a cleaner with a cache: a second one finds nothing half-trained."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cleaner = InfluenceCleaner(
            self.clf, n_remove=2, cv=2, memory=str(folder / "cache"), random_state=0
        )

    def __call__(self) -> Any:
        self.cleaner.fit(*CASE.data()[:2])

    def result(self) -> Any:
        return self.cleaner.influence_

    def kept(self, folder: Path, expected: str) -> str:
        fitted = hasattr(self.cleaner, "influence_")
        return "a part of a fit is kept" if fitted and _bytes(self) != expected else ""


class CrossValidate(Fit):
    """scikit-learn's `cross_val_score`, which makes a NaN of other errors."""

    def __call__(self) -> Any:
        self.scores = cross_val_score(self.clf, *CASE.data()[:2], cv=3)

    def result(self) -> Any:
        return self.scores

    def kept(self, folder: Path, expected: str) -> str:
        return ""


class Command:
    """The command line: it returns 130, and writes no file."""

    options = ("clean", "--n-remove", "3", "--output")
    output = "clean.csv"

    def __init__(self, folder: Path) -> None:
        self.path = folder / self.output
        command, *options = self.options
        table = str(write(folder, frame=customers(60)))
        self.arguments = [command, table, "--target", "stays", *options, str(self.path)]

    def __call__(self) -> Any:
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = main([*self.arguments, *QUICK, "--force"])
        if code == 130:
            raise KeyboardInterrupt
        if code:
            raise RuntimeError(told.getvalue())

    def result(self) -> Any:
        return np.frombuffer(self.path.read_bytes(), np.uint8)

    def kept(self, folder: Path, expected: str) -> str:
        left = {path.name for path in folder.iterdir()} - {"train.csv"}
        return f"{min(left)} is written" if left else ""


class Audit(Command):
    """The report's command."""

    options = ("audit", "--n", "5", "--report")
    output = "report.html"

    def result(self) -> Any:
        # But for where the files are.
        return repr(page_data(self.path)["suspects"])


TASKS = {
    "fit": Fit,
    "fit on disk": FitOnDisk,
    "partial_fit": PartialFit,
    "cleaner with memory": Clean,
    "cross_val_score": CrossValidate,
    "skinfluence clean": Command,
    "skinfluence audit": Audit,
}


def timed(task: type[Any], where: Path) -> list[Any]:
    """Return the seconds that undisturbed work takes, and its result in hexadecimal."""
    with tempfile.TemporaryDirectory(dir=where) as folder:
        work = task(Path(folder))
        began = time.monotonic()
        work()
        return [time.monotonic() - began, _bytes(work)]


def _bytes(work: Any) -> str:
    return np.asarray(work.result()).tobytes().hex()


def interrupted(task: type[Any], where: Path, moment: float, expected: str) -> Answer:
    """Interrupt work at a moment; return what came of it."""
    with tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name)
        work, struck = task(folder), []

        def strike(*_: Any) -> None:
            struck.append(True)
            os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGALRM, strike)
        try:
            signal.setitimer(signal.ITIMER_REAL, moment)
            work()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            return _afterwards(work, folder, expected)
        # The command line has no doubt about a file that is there.
        whole = isinstance(work, Command) and _bytes(work) == expected
        return [SWALLOWED if struck and not whole else LATE, ""]


def _afterwards(work: Any, folder: Path, expected: str) -> Answer:
    if kept := work.kept(folder, expected):
        return [KEPT, kept]
    # The same objects can be used again, and give what undisturbed ones give.
    work()
    if _bytes(work) != expected:
        return [KEPT, "the same work has another result"]
    return [RAISED_AGAIN, ""]


def run(n: int, rng: np.random.Generator, folder: Path) -> Iterator[Outcome]:
    """Yield the outcomes of interrupts."""
    for (kind, task), n_trials in zip(
        TASKS.items(), shares(n, len(TASKS)), strict=True
    ):
        timed(task, folder)  # what is imported lazily is imported once
        seconds, expected = timed(task, folder)
        for _ in range(n_trials):
            outcome = LATE
            while outcome == LATE:
                fork = Fork(
                    interrupted, task, folder, rng.uniform(0, seconds), expected
                )
                outcome, detail = fork.answer()
            yield Outcome(kind, "SIGINT", outcome, detail)


FAMILY = Family(run, 1000, (RAISED_AGAIN,))
