"""What is told of a problem, on the standard output and in the report."""

from collections.abc import Iterator

from ._columns import in_words
from ._problem import Problem
from ._target import CLASSIFICATION


def introduce(problem: Problem) -> Iterator[str]:
    """Yield what was read, and how it was understood."""
    for role, file in problem.files.items():
        yield f"{role.capitalize()} table {file}"
    target = problem.target
    yield f"Target {target.name!r}: {target.task} ({target.why})"
    for note in problem.notes:
        yield f"Note: {note}."


def how_validated(problem: Problem, n_folds: int, n_runs: int) -> str:
    """Return, in a sentence, what the influence is measured on."""
    if problem.valid is not None:
        return (
            f"every row is scored by {n_runs} models, trained on all rows, against the "
            "validation table"
        )
    labels = "labels" if problem.target.task == CLASSIFICATION else "numbers"
    return (
        f"the rows are divided into {n_folds} parts, and every row is scored by the "
        f"{n_folds - 1} models that trained on it, each against the part that it did "
        f"not see (of which some {labels} may be wrong as well)"
    )


def facts(problem: Problem) -> dict[str, str]:
    """Return what stands at the head of the report."""
    target = problem.target
    tables = {f"{role} table": file for role, file in problem.files.items()}
    return {
        **tables,
        "target": f"{target.name}: {target.task} ({target.why})",
        **in_words(problem.columns),
        **({"noticed": "; ".join(problem.notes)} if problem.notes else {}),
    }
