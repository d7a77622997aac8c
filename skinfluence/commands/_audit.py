"""The command `audit`: a report on the rows that harm a model most."""

import shlex
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from skorch.dataset import ValidSplit

from .._outputs import is_stream
from ..cleaning import InfluenceCleaner
from ..estimators import ScoresOverRuns, Skill, skill
from ..exceptions import TableError
from ..inspection import AuditReport
from ._choice import AT
from ._columns import convert_to_slice
from ._inputs import BESIDE
from ._issues import issues_of
from ._kinds import kind_of
from ._models import default_epochs, make_model
from ._outcome import Command, Outcome, check_new
from ._problem import Folds, Problem, make_folds, read_problem
from ._progress import epoch_bar
from ._repairs import repairs_of
from ._words import facts, how_validated, introduce, query_of, warnings_on

N_RUNS = 4
"""Models that score each row; with five folds, four of them are trained on it."""

# The inputs are scaled already.
_TO_LEARN_MORE = "Try more --epochs, --module linear, or other columns."


def audit(options: Namespace) -> Command:
    """Make the report."""
    check_new(options.path, options.force)
    if not is_stream(options.path) and not _is_page(options.path):
        raise TableError(
            f"--report must name a file that ends in .html, got {options.path.name!r}."
        )
    # Before the work, which may take minutes.
    if find_spec("jinja2") is None:
        raise TableError(
            "The report needs the package jinja2: pip install 'skinfluence[report]'."
        )
    problem = read_problem(options)
    slices = _slices(problem, options) if options.slices else None
    issues = issues_of(problem)
    yield from introduce(problem)
    folds = make_folds(problem.target, options.seed)
    how = how_validated(problem, len(folds), N_RUNS)
    yield f"Ranking: {how}"
    # One more for the details.
    total = 1 + (len(folds) if problem.valid_table is None else N_RUNS)
    epochs = options.epochs or default_epochs(len(problem.table))
    with epoch_bar(total * epochs, options.quiet) as progress:
        model = make_model(problem, options, progress.callbacks)
        progress.stage(f"Ranking the {problem.called}")
        scores, model_skill = rank(problem, model, folds)
        progress.stage("Examining the suspects")
        report = make_report(
            problem, model, folds, scores, model_skill, options, issues, slices
        )
    count = len(report.to_dict()["suspects"])
    if count:
        found = [
            f"The {count} most suspicious {problem.called} are in {options.path}.",
            "Open it in a browser, decide, and save the decisions. Move the downloaded "
            "file to this folder, and run:",
            "  " + _next_command(options),
        ]
    else:
        found = [
            f"None of the {problem.called} is harmful: there is nothing to review in "
            f"{options.path}."
        ]
    said = [
        model_skill.in_words(_TO_LEARN_MORE),
        *said_of_slices(report),
        *said_of_issues(report),
    ]
    return Outcome(lambda: report.write_html(options.path), [*said, *found])


def _slices(problem: Problem, options: Namespace) -> pd.DataFrame:
    """Return the columns of the training table by which its rows are grouped.

    Those that are hidden from the model too, such as who entered a row.
    """
    beside = [each.name for each in problem.columns if each.why == BESIDE]
    hidden = dict.fromkeys([*options.drop, *beside])
    others = [kind_of(problem.table, name) for name in hidden]
    frame = convert_to_slice(problem.table, [*problem.columns, *others])
    if frame.shape[1]:
        return frame
    raise TableError(
        "--slices needs a column of numbers, dates or categories, got only texts in "
        f"{problem.table.name!r}. Name the kind of one (--column name=category)."
    )


def said_of_slices(report: AuditReport) -> list[str]:
    """Return a line on the group of rows that does harm, if groups were looked for."""
    slices = report.to_dict()["slices"]
    if slices is None:
        return []
    if not slices["lines"]:
        return ["No group of rows does more harm than chance explains."]
    worst, *others = slices["lines"]
    more = f" The report has {len(others)} more." if others else ""
    return [
        f"A group of rows does harm: {worst['slice']} ({worst['n_rows']:,} rows).{more}"
    ]


def said_of_issues(report: AuditReport) -> list[str]:
    """Return a line on other faults of the data, if there are any."""
    issues = report.to_dict()["issues"]
    kinds = ", ".join(dict.fromkeys(each["kind"] for each in issues))
    return [f"Other faults, told in the report: {kinds}."] if issues else []


def _is_page(path: Path) -> bool:
    return path.suffix.lower() in (".html", ".htm")


def n_shown(problem: Problem, options: Namespace) -> int:
    """Return how many rows the report shows at most: as asked, or half of them."""
    return min(options.n, len(problem.table) // 2)


def rank(problem: Problem, model: Any, folds: Folds) -> tuple[ScoresOverRuns, Skill]:
    """Return the influence of each row over the models trained on it.

    And the first model's score: on rows like the others, unlike the details' model,
    which is validated on none of the suspects.
    """
    cleaner = InfluenceCleaner(
        model,
        n_remove=0,
        at=AT,
        query=query_of(problem),
        cv=folds if problem.valid_table is None else None,
        n_runs=1 if problem.valid_table is None else N_RUNS,
        random_state=model.random_state,
    )
    # Not fit, whose final model would be of no use here.
    cleaner.fit_resample(problem.X, problem.target.y, problem.valid)
    _, held_out = folds[0]
    judges = problem.valid or (problem.X[held_out], problem.target.y[held_out])
    found = skill(cleaner.estimator_, *judges)
    assert found is not None  # both targets are given
    return cleaner.over_runs_, found


def make_report(
    problem: Problem,
    model: Any,
    folds: Folds,
    scores: ScoresOverRuns,
    model_skill: Skill,
    options: Namespace,
    issues: pd.DataFrame,
    slices: pd.DataFrame | None = None,
) -> AuditReport:
    """Return the report on the rows with the lowest scores, and on groups of rows.

    The details come from one more model, which is trained on all of these rows.
    """
    X, y, n = problem.X, problem.target.y, n_shown(problem, options)
    shown = problem.shown(problem.table)
    if problem.valid_table is not None:
        assert problem.valid is not None
        valid, shown_valid = problem.valid, problem.shown(problem.valid_table)
        details = f"one more model, trained on all {problem.called}"
    else:
        train, held_out = _keep_apart(folds, scores.mean, n)
        model = clone(model).set_params(train_split=ValidSplit([(train, held_out)]))
        valid, shown_valid = (X[held_out], y[held_out]), _safe_indexing(shown, held_out)
        details = (
            f"one more model, trained without {len(held_out):,} {problem.called} drawn "
            "from those that are not shown, on which it is validated (and on which it "
            "does better than on the suspects)"
        )
    X_test, y_test = problem.test or (None, None)
    model = model.fit(X, y)
    repairs, marked = repairs_of(problem, model, valid, at=AT, query=query_of(problem))
    return AuditReport.from_estimator(
        model,
        X,
        y,
        *valid,
        n=n,
        raw=shown,
        raw_val=shown_valid,
        feature_names=problem.inputs.words,
        X_test=X_test,
        y_test=y_test,
        at=AT,
        query=query_of(problem),
        about={
            **facts(problem),
            "Ranking": how_validated(problem, len(folds), N_RUNS),
            "Details": f"{details}: its influence may differ from the score, which is "
            "the mean over several models and determines the order",
            "Marked values": marked,
            "Command": shlex.join(["skinfluence", *options.arguments]),
        },
        scores=scores,
        columns=[(each.name, each.kind, each.why) for each in problem.columns],
        repairs=repairs,
        slices=slices,
        issues=issues,
        warnings=warnings_on(problem),
        skill=model_skill,
        apply_command=_next_command(options),
        title=f"Audit of {problem.table.name}",
        random_state=options.seed,
    )


def _keep_apart(
    folds: Folds, scores: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows to train on, and a fifth without suspects to validate on."""
    suspects = np.argsort(scores, kind="stable")[:n]
    # Fold by fold: the folds are stratified, and the first of them is nearly enough.
    others = np.concatenate([held_out for _, held_out in folds])
    held_out = np.sort(others[~np.isin(others, suspects)][: len(scores) // len(folds)])
    return np.setdiff1d(np.arange(len(scores)), held_out), held_out


def _next_command(options: Namespace) -> str:
    """Return the command that applies decisions, to the same rows."""
    output = f"clean{''.join(options.table.suffixes[-2:])}"
    words = ["clean", str(options.table)]
    for name in ("target", "image", "text", "features"):
        if getattr(options, name) is not None:
            words += [f"--{name}", getattr(options, name)]
    for name, plain in (("drop", []), ("task", "auto"), ("sample", None), ("seed", 0)):
        value = getattr(options, name)
        if value != plain:
            words += [f"--{name}", *map(str, value if name == "drop" else [value])]
    if options.column:
        words += ["--column", *("=".join(each) for each in options.column)]
    if options.encoding != "utf-8":
        words += ["--encoding", options.encoding]
    for name in ("valid", "test"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    words += ["--decisions", "decisions.csv", "--output", output]
    return shlex.join(["skinfluence", *words])
