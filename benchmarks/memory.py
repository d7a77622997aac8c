"""Memory and disk that recorded runs take, and what thinning them costs."""

import math
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.speed import digits, digits_mlp, images, mnist_cnn
from benchmarks.timing import interleaved, ratio
from skinfluence import SGDInfluenceClassifier
from skinfluence.trajectory import Schedule, fewest_states, smallest_interval

LENGTHS = (400, 4096, 15_640, 65_536)


def plans(n_steps: int) -> Iterator[tuple[str, int, float, str]]:
    """Yield plans: name, interval between kept states, most states held, bound."""
    root = math.isqrt(4 * n_steps - 1) + 1
    log = fewest_states(n_steps)
    yield "store all", 1, math.inf, "-"
    yield "√T", smallest_interval(n_steps, root), root, "2.2 √T states"
    yield (
        "log T",
        smallest_interval(n_steps, log),
        log,
        "2 log2 T states, log2(T) / 2 passes",
    )


def planned() -> Iterator[dict[str, Any]]:
    """Yield the states that each plan holds at once, and the steps it recomputes."""
    state = sum(p.nbytes for p in digits_mlp().parameters())
    for n_steps in LENGTHS:
        for name, interval, room, bound in plans(n_steps):
            kept = [*range(0, n_steps, interval), n_steps]
            schedule = Schedule(kept, n_steps, 0, room)
            yield {
                "steps T": str(n_steps),
                "plan": name,
                "states held": str(schedule.peak_states),
                "MB": schedule.peak_states * state / 1e6,
                "/ √T": schedule.peak_states / math.sqrt(n_steps),
                "/ log2 T": schedule.peak_states / math.log2(n_steps),
                "passes recomputed": schedule.recomputed_steps / n_steps,
                "at most": bound,
            }


def measured(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the cost of thinning a run; the influence must be the same bit for bit."""
    X, y = digits()
    X, y, X_val, y_val = X[:1000], y[:1000], X[1000:1400], y[1000:1400]
    options = {"max_epochs": 20, "batch_size": 50, "lr": 0.1, "random_state": 0}
    fitted = {}
    for name, interval, room, _ in plans(400):
        limit = {}
        if room < math.inf:
            state = fitted["store all"].trajectory_.state(0).nbytes
            limit = {"max_trajectory_bytes": int(room) * state}
        fitted[name] = SGDInfluenceClassifier(
            digits_mlp, checkpoint_every=interval, **limit, **options
        ).fit(X, y)
    with tempfile.TemporaryDirectory() as folder:
        fitted["on disk"] = SGDInfluenceClassifier(
            digits_mlp, trajectory_dir=folder, **options
        ).fit(X, y)
        scores = {name: clf.influence(X_val, y_val) for name, clf in fitted.items()}
        seconds = interleaved(
            {
                name: lambda clf=clf: clf.influence(X_val, y_val)
                for name, clf in fitted.items()
            },
            repeats,
        )
    for name in list(fitted)[1:]:
        same = np.array_equal(scores[name], scores["store all"])
        yield {
            "problem": "retrace, digits MLP, T = 400",
            **ratio(seconds, name, "store all"),
            "at most": "-",
            "same bits": str(same),
        }


def on_disk(repeats: int) -> Iterator[dict[str, Any]]:
    """Yield the time of a run on disk over one in memory."""
    problems = {
        "digits MLP 64-32-10, 20 epochs": (
            digits_mlp,
            digits,
            1000,
            {"max_epochs": 20, "batch_size": 50},
        ),
        "CNN 20-20-fc10, 5 epochs": (
            mnist_cnn,
            images,
            1280,
            {"max_epochs": 5, "batch_size": 64, "lr": 0.05},
        ),
    }
    for name, (make, load, n_train, options) in problems.items():
        X, y = load()
        with tempfile.TemporaryDirectory() as folder:
            clf = SGDInfluenceClassifier(make, random_state=0, **options)
            disk = SGDInfluenceClassifier(
                make, random_state=0, trajectory_dir=folder, **options
            )
            seconds = interleaved(
                {
                    "on disk": lambda clf=disk, X=X, y=y, n=n_train: clf.fit(
                        X[:n], y[:n]
                    ),
                    "in memory": lambda clf=clf, X=X, y=y, n=n_train: clf.fit(
                        X[:n], y[:n]
                    ),
                },
                repeats,
            )
        yield {
            "problem": f"fit, {name}",
            **ratio(seconds, "on disk", "in memory"),
            "at most": "1.25",
            "same bits": "-",
        }


def plan_table(repeats: int) -> list[dict[str, Any]]:
    """Return the plans' states and recomputed steps; no time is measured."""
    return list(planned())


def run(repeats: int) -> list[dict[str, Any]]:
    """Return the ratios of thinned runs and of runs on disk."""
    return [*measured(repeats), *on_disk(repeats)]
