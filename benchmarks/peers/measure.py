"""Runs the methods in turn, and measures their time and fidelity."""

import gc
import importlib
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from .problem import SETTINGS, Fidelity, Method, Missing, Problem, load

# The modules of this package that know one library each.
PEERS = (
    "ours",
    "bergson_magic",
    "pydvl_influence",
    "dattri_dvemb",
    "captum_tracin",
    "kronfluence_ekfac",
    "trak_scores",
    "cleanlab_quality",
    "mislabeled_detectors",
    "random_scores",
)

# Some methods take minutes, and more rounds add no information.
_MOST_ROUNDS = 3


def methods(problem: Problem, peers: Iterable[str]) -> Iterator[Method]:
    """Yield the methods that can run here; say why the others cannot."""
    for peer in peers:
        try:
            module = importlib.import_module(f"{__package__}.{peer}")
        except ImportError as error:
            print(f"{peer} skipped: {error}", file=sys.stderr)
        else:
            yield from module.methods(problem)


def timed(method: Method, problem: Problem) -> tuple[list[float], np.ndarray]:
    """Return the seconds of fitting and of scoring, and the scores."""
    gc.collect()
    start = time.perf_counter()
    fitted = method.fit(problem)
    middle = time.perf_counter()
    scores = method.score(problem, fitted)
    seconds = [middle - start, time.perf_counter() - middle]
    return seconds, np.asarray(scores, dtype=np.float64)


def compare(
    problem: Problem, fidelity: Fidelity, chosen: list[Method], rounds: int
) -> list[dict[str, Any]]:
    """Return a row for each method: the fastest of its rounds, and its fidelity.

    Each round runs all methods, so that drifts of the machine's speed affect all alike.
    """
    seconds: dict[str, list[list[float]]] = {}
    scores: dict[str, np.ndarray] = {}
    missing: set[str] = set()
    for _ in range(rounds):
        for method in chosen:
            if method.name in missing:
                continue
            try:
                spent, scores[method.name] = timed(method, problem)
            except Missing as error:
                missing.add(method.name)
                print(f"{method.name} skipped: {error}", file=sys.stderr)
            else:
                seconds.setdefault(method.name, []).append(spent)
                print(f"{problem.setting}, {method.name}: {spent}", file=sys.stderr)
    rows = []
    for name, found in scores.items():
        fit, scoring = min(seconds[name], key=sum)
        rows.append(
            {
                "setting": problem.setting,
                "method": name,
                "fit s": fit,
                "scoring s": scoring,
                "sum s": fit + scoring,
                **fidelity(found),
            }
        )
    return rows


def run(
    repeats: int,
    peers: Iterable[str] = PEERS,
    settings: Iterable[str] = tuple(SETTINGS),
) -> list[dict[str, Any]]:
    """Return the rows of all settings."""
    rows = []
    for setting in settings:
        problem = load(setting)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fidelity = Fidelity(problem, folder)
            chosen = list(methods(problem, peers))
            rounds = max(1, min(repeats, _MOST_ROUNDS))
            rows += compare(problem, fidelity, chosen, rounds)
    return rows
