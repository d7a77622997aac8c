"""skinfluence itself, with several options."""

from typing import Any

import numpy as np
from sklearn.base import clone

from .problem import Method, Missing, Problem


def _method(at: str, last_epochs: int | None = None, compiled: bool = False) -> Method:
    def fit(problem: Problem) -> Any:
        clf = clone(problem.clf).set_params(record=last_epochs or "all")
        if not compiled:
            return clf.fit(problem.X, problem.y)
        try:
            return clf.set_params(compile=True).fit(problem.X, problem.y)
        except ValueError as error:
            raise Missing(str(error)) from error

    def score(problem: Problem, clf: Any) -> np.ndarray:
        return clf.influence(
            problem.X_val, problem.y_val, at=at, last_epochs=last_epochs
        )

    def each(problem: Problem, clf: Any) -> np.ndarray:
        return clf.influence(
            problem.X_val,
            problem.y_val,
            at=at,
            last_epochs=last_epochs,
            aggregate=None,
        ).T

    last = f", last_epochs={last_epochs}" if last_epochs else ""
    compile_ = ", compile=True" if compiled else ""
    return Method(f"skinfluence, at={at!r}{last}{compile_}", fit, score, each)


def methods(problem: Problem) -> list[Method]:
    """Return the ways to ask; on a long run also those of its last epochs alone."""
    chosen = [_method(at) for at in ("final", "epochs", "path")]
    if problem.setting == "hard":
        chosen += [_method("final", last) for last in (1, 2, 5, 10, 20, 50)]
    return [*chosen, _method("final", compiled=True)]
