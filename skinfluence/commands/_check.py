"""The command `check`: faults of the data, against what is allowed."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import numpy as np

from .._digits import share
from ..exceptions import TableError
from ..issues import KINDS, NAMED_KINDS
from ._baseline import new_since, read_baseline
from ._choices import REGRESSION, UNUSED
from ._findings import Found, found_in, write_json
from ._issues import giveaways, held_out_tables, issues_of, out_of_fold, unlike
from ._models import default_epochs, make_model
from ._outcome import Command, Outcome, check_apart, check_new
from ._problem import Problem, make_folds, read_problem
from ._progress import epoch_bar
from ._sources import tables_of, target_of
from ._tables import quoted
from ._words import introduce

TOO_MANY = 3
"""The exit code where a bound is passed."""

Bounds = dict[str, float]
"""The most of each kind: an int is a count, a float a share."""

_MODEL, _HELD_OUT = "label_errors", ("leakage", "near_leakage")
_LABELS = ("label_errors", "conflicting_labels", "rare_class")


def check(options: Namespace) -> Command:
    """Look for faults, and compare them with the bounds."""
    if options.path is not None:
        check_new(options.path, options.force)
        # A baseline may be brought up to date.
        check_apart("--json", options.path, tables_of(options))
    bounds = _checked_bounds(options.fail_on)
    for kind in options.only:
        _check_kind("--only", kind)
    baseline = (
        None
        if options.baseline is None
        else read_baseline(options.baseline, target_of(options))
    )
    problem = read_problem(options)
    kinds = _kinds(problem, options.only, bounds)
    yield from introduce(problem)
    yield from unlike(problem)
    found = found_in(problem, issues_of(problem, [k for k in kinds if k != _MODEL]))
    if _MODEL in kinds:
        told, hidden = _judged_without(problem)
        yield from told
        probabilities = _probabilities(problem.without(hidden), options)
        wrong = issues_of(problem, [_MODEL], probabilities=probabilities)
        found += found_in(problem, wrong)
    counted = found if baseline is None else new_since(baseline, found)
    passed = _passed(problem, counted, bounds)
    return Outcome(
        lambda: write_json(options.path, problem, found, passed),
        [
            *_table(problem, kinds, found, counted, bounds, baseline is not None),
            *_said(found),
            *_verdict(bounds, passed),
        ],
        TOO_MANY if passed else 0,
    )


def _judged_without(problem: Problem) -> tuple[list[str], list[str]]:
    """Return which columns would excuse wrong labels, and a line on them."""
    names = giveaways(problem)
    if not names:
        return [], []
    usable = {column.name for column in problem.columns if column.kind != UNUSED}
    if usable <= set(names):
        raise TableError(
            f"Every column gives {problem.target.name!r} away, so that no label can be "
            "judged: --drop those that should not be there, or leave label_errors out "
            "(--only)."
        )
    return [f"The labels are judged without {quoted(names)}."], names


def _probabilities(problem: Problem, options: Namespace) -> np.ndarray:
    folds = make_folds(problem.target, options.seed)
    epochs = options.epochs or default_epochs(len(problem.table))
    with epoch_bar(len(folds) * epochs, options.quiet) as progress:
        progress.stage("Judging the labels")
        model = make_model(problem, options, progress.callbacks)
        return out_of_fold(problem, model, folds)


def _checked_bounds(given: Sequence[tuple[str, float]]) -> Bounds:
    bounds: Bounds = {}
    for kind, most in given:
        _check_kind("--fail-on", kind)
        if kind in bounds:
            raise TableError(
                f"--fail-on must have one bound for each kind, got {kind!r} twice."
            )
        if kind in NAMED_KINDS and isinstance(most, float):
            thing = "classes" if kind == "rare_class" else "columns"
            raise TableError(
                f"--fail-on {kind} must have a whole number of {thing}, got {most}."
            )
        bounds[kind] = most
    return bounds


def _check_kind(option: str, kind: str) -> None:
    if kind in KINDS:
        return
    near = get_close_matches(kind, KINDS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise TableError(
        f"{option} must name kinds of faults ({', '.join(KINDS)}), got {kind!r}.{hint}"
    )


def _kinds(problem: Problem, only: Sequence[str], bounds: Bounds) -> list[str]:
    """Return what to look for; refuse what these tables cannot have."""
    possible = set(problem.inputs.faults)
    if problem.target.task == REGRESSION:
        possible -= {*_LABELS}
    if not held_out_tables(problem):
        possible -= {*_HELD_OUT}
    for kind in [*only, *bounds]:
        if kind in possible:
            continue
        needs = "--valid or --test" if kind in _HELD_OUT else "labels as the target"
        if kind not in problem.inputs.faults:
            needs = "a table, not pictures"
        raise TableError(f"{kind!r} needs {needs}.")
    for kind in bounds:
        if only and kind not in only:
            raise TableError(f"--fail-on has {kind!r}, which --only leaves out.")
    return [kind for kind in KINDS if kind in possible and (not only or kind in only)]


def _total(problem: Problem, kind: str) -> int:
    """Return of how many rows those of a kind are a share."""
    if kind in _HELD_OUT:
        return sum(len(table) for table in held_out_tables(problem))
    return len(problem.table)


def _count(found: Sequence[Found], kind: str) -> int:
    return sum(len(each.keys) for each in found if each.kind == kind)


def _passed(problem: Problem, found: Sequence[Found], bounds: Bounds) -> list[str]:
    """Return the kinds of which there is more than allowed."""
    return [
        kind
        for kind, most in bounds.items()
        if _count(found, kind)
        > (most if isinstance(most, int) else most * _total(problem, kind))
    ]


def _table(
    problem: Problem,
    kinds: Sequence[str],
    found: Sequence[Found],
    counted: Sequence[Found],
    bounds: Bounds,
    since: bool,
) -> Iterator[str]:
    passed = _passed(problem, counted, bounds)
    head = ["fault", "count", "share", *(["new"] if since else []), "bound", ""]
    lines = [head]
    for kind in kinds:
        n = _count(found, kind)
        part = "" if kind in NAMED_KINDS else share(n / _total(problem, kind))
        new = [f"{_count(counted, kind):,}"] if since else []
        bound = f"> {bounds[kind]:g}" if kind in bounds else ""
        verdict = "FAILED" if kind in passed else "ok" if kind in bounds else ""
        lines.append([kind, f"{n:,}", part, *new, bound, verdict])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [
            cell.rjust(width)
            for cell, width in zip(others[:-1], widths[1:], strict=False)
        ]
        yield "  ".join([first.ljust(widths[0]), *cells, others[-1]]).rstrip()


def _said(found: Sequence[Found]) -> Iterator[str]:
    for each in sorted(found, key=lambda each: KINDS.index(each.kind)):
        where = f" ({each.where})" if each.where else ""
        yield f"- {each.said.rstrip('.')}{where}. {each.advice}"


def _verdict(bounds: Bounds, passed: Sequence[str]) -> Iterator[str]:
    if passed:
        yield f"Failed: {', '.join(passed)}."
    elif bounds:
        yield "Passed."
