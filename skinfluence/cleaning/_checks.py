"""Checks of a cleaner's parameters against each other, before any work is done."""

import os
from collections.abc import Collection, Mapping
from inspect import Parameter, signature
from numbers import Real
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer_names
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils._param_validation import HasMethods, StrOptions

from .._cache import cache_of
from .._keys import check_cacheable
from .._numbers import RANDOM_STATE, Count, Number
from .._parallel import check_n_jobs
from .._values import check_takes
from ..estimators import NAMED_QUERIES
from ..queries import TOLD, Metric, SampleMeasure

SCORING: list[Any] = [StrOptions(set(get_scorer_names())), callable, None]
"""Constraints on how cleaned models are scored."""

CONSTRAINTS: dict[str, list[Any]] = {
    "estimator": [HasMethods(["fit"]), None],
    "final_estimator": [HasMethods(["fit"]), None],
    "validation_fraction": [Number(Real, 0, 1, closed="neither"), None],
    "max_class_fraction": [
        Number(Real, 0, 1, closed="both"),
        StrOptions({"auto"}),
        None,
    ],
    "n_rounds": [Count(1), None],
    "n_runs": [Count(1)],
    "query": [
        StrOptions({"auto", *NAMED_QUERIES, *TOLD}),
        callable,
        Metric,
        SampleMeasure,
    ],
    "at": [StrOptions({"final", "epochs", "path"}), list, tuple, np.ndarray, Mapping],
    "last_epochs": [Count(1), None],
    "smoothing": [Number(Real, 0, None, closed="left"), StrOptions({"auto"}), None],
    "refit": [StrOptions({"full", "counterfactual"})],
    "output": [StrOptions({"prediction", "representation"})],
    "memory": [str, os.PathLike, HasMethods(["cache"]), None],
    "verbose": [Count(0), "boolean"],
    "random_state": RANDOM_STATE,
}
"""Constraints on the parameters that all cleaners have."""


def check_choices(cleaner: Any) -> None:
    """Refuse incompatible parameters."""
    check_n_jobs(cleaner.n_jobs)
    cache_of(cleaner.memory)
    estimator, final = cleaner._estimator(), cleaner._final()
    if getattr(cleaner, "decisions", None) is not None:
        _check_decided(cleaner, estimator)
    else:
        scorer = cleaner._scorer()
        _check_query(cleaner, scorer)
        _check_smoothing(cleaner, scorer)
        check_estimator = getattr(scorer, "check_estimator", None)
        if check_estimator is not None:
            check_estimator(estimator)
        query = getattr(scorer, "query", None)
        if callable(query):
            check_takes("query", query, "outputs", "targets")
        if cleaner.memory is not None:
            check_cacheable(estimator=estimator, scorer=cleaner.scorer, query=query)
        cleaner._action().check(cleaner)
        if cleaner.refit == "counterfactual":
            _check_counterfactual(cleaner, estimator)
    if cleaner._transforms() and not hasattr(final, "forward_iter"):
        raise TypeError(
            "`final_estimator` must be a network with output='representation', got "
            f"{type(final).__name__}. Use an SGDInfluenceClassifier or "
            "SGDInfluenceRegressor, or output='prediction'."
        )


def _check_decided(cleaner: Any, estimator: Any) -> None:
    # Decisions would silently take precedence over it.
    if cleaner.action != "remove":
        raise ValueError(
            f"`action` must be 'remove' with decisions, got {cleaner.action!r}: the "
            "decisions themselves say what to do."
        )
    if cleaner.refit == "counterfactual":
        _check_counterfactual(cleaner, estimator)


def _check_query(cleaner: Any, scorer: Any) -> None:
    got, own = cleaner.query, getattr(scorer, "query", None)
    if isinstance(got, str) and got == "auto":
        return
    named = isinstance(cleaner.scorer, str) and own is not None
    if not (named or own is got or (isinstance(got, str) and own == got)):
        raise ValueError(
            f"`query` must be 'auto' with scorer={cleaner.scorer!r:.200}, got "
            f"{got!r:.200}. Use scorer='influence', or give a scorer its own, as in "
            f"SGDInfluence(query={got!r:.200})."
        )


def _check_smoothing(cleaner: Any, scorer: Any) -> None:
    # Without it the numbers would be others than those that were asked for.
    got = cleaner.smoothing
    if got is not None and getattr(scorer, "smoothing", None) != got:
        raise ValueError(
            f"`smoothing` must be None with scorer={cleaner.scorer!r}, got {got!r}. "
            "Use scorer='influence', or give a scorer its own, as in "
            f"SGDInfluence(smoothing={got!r})."
        )


def _check_counterfactual(cleaner: Any, estimator: Any) -> None:
    if cleaner.final_estimator is not None:
        raise ValueError(
            "`final_estimator` must be None with refit='counterfactual', which repeats "
            "the run of `estimator`."
        )
    if cleaner._ranking_cv() is not None:
        raise ValueError(
            "`cv` must be None with refit='counterfactual': there is one run per "
            "fold, and none on all samples. Use validation data."
        )
    if not hasattr(estimator, "refit_without"):
        raise TypeError(
            "`estimator` must have a method `refit_without` for "
            f"refit='counterfactual', got {type(estimator).__name__}. Use an "
            "SGDInfluenceClassifier or SGDInfluenceRegressor, or refit='full'."
        )


def check_accepts(estimator: Any, role: str, names: Collection[str]) -> None:
    """Refuse fit parameters that an estimator does not accept."""
    accepted = signature(estimator.fit).parameters if names else {}
    if isinstance(estimator, SelfTrainingClassifier):
        accepted = {}  # it takes any, and refuses them without metadata routing
    if any(p.kind is Parameter.VAR_KEYWORD for p in accepted.values()):
        return
    unknown = sorted(set(names) - set(accepted))
    if unknown:
        raise TypeError(
            f"`{role}` must accept the fit parameters, but {type(estimator).__name__} "
            f"takes no {', '.join(unknown)}. With metadata routing enabled, each "
            "estimator gets only what it requests."
        )
