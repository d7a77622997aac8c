"""Rankings of training images, and what becomes of the error without the first.

Everything is kept in a folder as it is computed, a file for each split and method, and
not computed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import images
import numpy as np
import pandas as pd
import torch
from files import RESULTS, kept
from joblib import Parallel, delayed
from sklearn.ensemble import IsolationForest
from sklearn.metrics import log_loss
from tqdm.auto import tqdm

from skinfluence.exceptions import IndefiniteHessianError
from skinfluence.scorers import Autoencoder, KohLiang, Outlier, Random, SGDInfluence


def koh_liang(*fitted: Any) -> Any:
    """Score by Koh and Liang, damped no more than conjugate gradients need.

    The smallest eigenvalue, by which the damping could be chosen at once, takes many
    times longer to find than the solution.
    """
    for damping in 2.0 ** np.arange(10):
        try:
            return KohLiang("cg", damping, tol=0.01, max_iter=100)(*fitted)
        except IndefiniteHessianError:
            continue
    raise IndefiniteHessianError("No damping up to 512 made the Hessian definite.")


# The scorer of each method, given a seed and a device.
METHODS: dict[str, Callable[[int, str], Any]] = {
    "SGD-influence": lambda *_: SGDInfluence(at="final"),
    "SGD-influence, last epoch": lambda *_: SGDInfluence(at="final", last_epochs=1),
    "SGD-influence, path": lambda *_: SGDInfluence(at="path"),
    "Koh & Liang": lambda *_: koh_liang,
    "autoencoder": lambda seed, device: Autoencoder(random_state=seed, device=device),
    "isolation forest": lambda seed, _: Outlier(IsolationForest(random_state=seed)),
    "random": lambda seed, _: Random(random_state=seed),
}
OURS = [name for name in METHODS if name.startswith("SGD-influence")]
NONE = "no removal"

COUNTS = (1, 3, 6, 10, 30, 60, 100, 300, 600, 1000, 3000, 6000, 10000)

# Images to train on, to validate on and to test on; splits; numbers removed.
QUICK = {
    "mnist": ((1000, 10000, 10000), 5, (10, 30, 100, 300)),
    "cifar10": ((500, 1000, 2000), 3, (10, 30, 100)),
}
FULL = {
    "mnist": ((50000, 10000, 10000), 30, COUNTS),
    "cifar10": ((40000, 10000, 10000), 30, COUNTS),
}

# From the beginning, and from the beginning of the last epoch.
RETRAIN = {"all": None, "last": 1}


@dataclass(frozen=True)
class Experiment:
    """A problem, and how often and where it is solved."""

    problem: images.Problem
    n_splits: int
    counts: Sequence[int]
    methods: Sequence[str]
    retrain: Sequence[str]
    folder: Path
    device: str = "cpu"
    jobs: int = 1
    threads: int = 1

    @property
    def settings(self) -> dict[str, Any]:
        """What the results depend on."""
        return {
            **asdict(self.problem),
            "splits": self.n_splits,
            "counts": list(self.counts),
            "methods": list(self.methods),
            "retrain": list(self.retrain),
            "device": self.device,
        }

    def curves(self) -> pd.DataFrame:
        """Return the errors of all splits, methods and numbers removed."""
        return pd.concat(self._over_splits(_curves), ignore_index=True)

    def scores(self, seed: int) -> pd.DataFrame:
        """Return the scores of one split, a column for each method."""
        return OneSplit(self, seed).scores()

    def _over_splits(self, task: Callable[..., pd.DataFrame]) -> list[pd.DataFrame]:
        parallel = Parallel(n_jobs=self.jobs, return_as="generator")
        found = parallel(delayed(task)(self, seed) for seed in range(self.n_splits))
        return list(tqdm(found, total=self.n_splits, unit="split"))


def _curves(experiment: Experiment, seed: int) -> pd.DataFrame:
    torch.set_num_threads(experiment.threads)
    return OneSplit(experiment, seed).curves()


@dataclass(frozen=True)
class OneSplit:
    """One split of an experiment: what is computed is kept."""

    experiment: Experiment
    seed: int

    @cached_property
    def data(self) -> images.Split:
        """The images."""
        return images.split(self.experiment.problem, self.seed)

    @cached_property
    def fitted(self) -> Any:
        """The network trained on all of them, with its run recorded."""
        experiment = self.experiment
        clf = images.classifier(
            experiment.problem, self.data.y, self.seed, experiment.device
        )
        return clf.fit(self.data.X, self.data.y)

    def scores(self) -> pd.DataFrame:
        """Return the images' rows in the original data, labels, and all scores."""
        columns = [self._kept("images", self._images)]
        for method in self.experiment.methods:
            columns.append(self._kept(f"scores {method}", self._scores, method))
        return pd.concat(columns, axis=1)

    def curves(self) -> pd.DataFrame:
        """Return a row for each method, number removed and way of retraining."""
        experiment = self.experiment
        todo = product(experiment.methods, experiment.counts, experiment.retrain)
        # Of splits side by side, only one can have its progress shown.
        bar = tqdm(
            [(NONE, 0, "all"), *todo],
            f"split {self.seed}",
            leave=False,
            disable=experiment.jobs != 1,
            unit="run",
        )
        tables = [
            self._kept(f"{method} {m} {how}", self._errors_without, method, m, how)
            for method, m, how in bar
        ]
        return pd.concat(tables, ignore_index=True).assign(seed=self.seed)

    def _kept(self, what: str, compute: Callable[..., Any], *given: Any) -> Any:
        name = f"split{self.seed:02d} {what}".replace(" & ", " ").replace(",", "")
        path = self.experiment.folder / f"{name.replace(' ', '-')}.csv"
        return kept(path, lambda: compute(*given))

    def _images(self) -> pd.DataFrame:
        data = self.data
        predicted = self.fitted.predict(data.X)
        return pd.DataFrame(
            {
                "row": data.rows,
                "label": data.y,
                "predicted": predicted,
                "flipped": data.flipped,
            }
        )

    def _scores(self, method: str) -> pd.DataFrame:
        data = self.data
        scorer = METHODS[method](self.seed, self.experiment.device)
        scores = scorer(self.fitted, data.X, data.y, data.X_val, data.y_val)
        return pd.DataFrame({method: scores})

    def _errors_without(self, method: str, count: int, retrain: str) -> pd.DataFrame:
        """Return the errors without the first images of a ranking."""
        row = {"method": method, "retrain": retrain, "n_removed": count}
        if method == NONE:
            return pd.DataFrame([row | self._errors(self.fitted)])
        scores = self._kept(f"scores {method}", self._scores, method)[method]
        removed = np.argsort(scores.to_numpy(), kind="stable")[:count]
        row["precision"] = self.data.flipped[removed].mean()
        model = self.fitted.refit_without(removed, last_epochs=RETRAIN[retrain])
        return pd.DataFrame([row | self._errors(model)])

    def _errors(self, model: Any) -> dict[str, float]:
        """Return shares of misclassified images, and the validation loss in nats."""
        data = self.data
        probabilities = model.predict_proba(data.X_val)
        predicted = model.classes_[probabilities.argmax(axis=1)]
        return {
            "test_error": float(np.mean(model.predict(data.X_test) != data.y_test)),
            "val_error": float(np.mean(predicted != data.y_val)),
            "val_loss": log_loss(data.y_val, probabilities, labels=model.classes_),
        }


def parser(description: str) -> argparse.ArgumentParser:
    """Return the options that the figures have in common."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=images.DATA, default="mnist")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few images (the default)")
    size.add_argument("--full", action="store_true", help="the paper's sizes")
    parser.add_argument("--flip", type=float, default=0.0, help="share of wrong labels")
    for name in ("train", "val", "test", "splits"):
        parser.add_argument(f"--{name}", type=int, help="how many, instead")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--counts", type=int, nargs="+", help="numbers to remove")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--retrain", nargs="+", choices=RETRAIN, default=list(RETRAIN))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="splits side by side")
    parser.add_argument("--threads", type=int, default=1, help="of each job")
    parser.add_argument("--cache", type=Path, help="folder of what is computed already")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder")
    return parser


def experiment_of(options: argparse.Namespace) -> Experiment:
    """Return the experiment that is asked for."""
    sizes, splits, counts = (FULL if options.full else QUICK)[options.data]
    given = (options.train, options.val, options.test)
    n_train, n_val, n_test = (
        size if own is None else own for own, size in zip(given, sizes, strict=True)
    )
    problem = images.Problem(
        options.data, n_train, n_val, n_test, options.flip, options.epochs
    )
    counts = sorted(options.counts or [m for m in counts if m < n_train])
    if not 0 < counts[0] <= counts[-1] < n_train:
        raise SystemExit(
            f"--counts must be between 1 and {n_train - 1:,}, which leaves an image to "
            f"train on, got {counts}."
        )
    folder = options.cache or RESULTS.parent / "cache"
    torch.set_num_threads(options.threads)
    return Experiment(
        problem,
        n_splits=splits if options.splits is None else options.splits,
        counts=counts,
        methods=options.methods,
        retrain=options.retrain,
        folder=folder / problem.name,
        device=options.device,
        jobs=options.jobs,
        threads=options.threads,
    )
