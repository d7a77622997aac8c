"""What a report is asked for, checked before the work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from ..._numbers import check_integer, random_generator
from ..._values import check_boolean, check_list
from ...estimators import Skill, check_smoothing
from .._slice_checks import check_frame
from .._typing import At, Names, QueryLike, RandomState
from .curve import curve_dict
from .extras import needed
from .issues import checked_issues
from .ranked import Ranked, checked_scores
from .rows import Columns, checked_columns


@dataclass(frozen=True, kw_only=True)
class Options:
    """The parameters of a report; see :meth:`AuditReport.from_estimator`."""

    n: int
    raw: object
    raw_val: object
    feature_names: Names
    image_shape: Sequence[int] | None
    at: At
    query: QueryLike
    smoothing: float | str | None
    curve: Any
    about: Mapping[str, Any] | None
    n_check: int
    n_harmed: int
    scores: Any
    harmful_only: bool
    columns: Columns
    repairs: pd.DataFrame | None
    slices: pd.DataFrame | None
    issues: pd.DataFrame | None
    warnings: Sequence[str]
    skill: Skill | None
    apply_command: str | None
    title: str
    random_state: RandomState

    @property
    def question(self) -> dict[str, Any]:
        """What is asked of the estimator."""
        return {"at": self.at, "query": self.query, "smoothing": self.smoothing}

    @property
    def ranked(self) -> Ranked:
        """What the samples are ranked by."""
        found: Ranked = self.scores
        return found

    def checked(self, n_samples: int) -> "Options":
        """Return the parameters in the form that is worked with, or raise an error."""
        n_check = check_integer("n_check", self.n_check)
        n_check = n_check and check_integer("n_check", n_check, 4)
        random_generator(self.random_state)
        check_smoothing(self.smoothing)
        _check_about(self.about)
        _check_skill(self.skill)
        _checked_texts("title", [self.title])
        if self.apply_command is not None:
            _checked_texts("apply_command", [self.apply_command])
        if self.slices is not None:
            check_frame(self.slices, n_samples, "slices")
        if self.issues is not None:
            checked_issues(self.issues, n_samples)
        names = self.feature_names
        # Before the work, not after it: the page is rendered at the end.
        needed("jinja2", "jinja2")
        return replace(
            self,
            n=check_integer("n", self.n, 1),
            n_check=n_check,
            n_harmed=check_integer("n_harmed", self.n_harmed),
            harmful_only=check_boolean("harmful_only", self.harmful_only),
            feature_names=None
            if names is None
            else check_list("feature_names", names, "names"),
            warnings=_checked_texts(
                "warnings", check_list("warnings", self.warnings, "texts")
            ),
            columns=checked_columns(self.columns),
            scores=checked_scores(self.scores, n_samples),
            curve=None if self.curve is None else curve_dict(self.curve),
        )


def _check_about(about: object) -> None:
    if about is not None and not isinstance(about, Mapping):
        raise TypeError(
            "`about` must be a mapping of names to facts, such as {'file': "
            f"'train.csv'}}, or None, got {about!r:.200}."
        )


def _check_skill(skill: object) -> None:
    if skill is not None and not isinstance(skill, Skill):
        raise TypeError(
            "`skill` must be the `skill` of a result of check_influence, or None, got "
            f"{skill!r:.200}."
        )


def _checked_texts(name: str, values: list[Any]) -> list[str]:
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"`{name}` must be text, got {values!r:.200}.")
    return values
