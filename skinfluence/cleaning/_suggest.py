"""What to change in the training data next: samples to remove, relabel or add."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import is_classifier

from .._numbers import check_integer
from ..estimators import (
    At,
    QueryLike,
    RandomState,
    ScoresOverRuns,
    answers_over_runs,
    check_estimator,
)

_ACTIONS = "remove", "relabel", "add"


def suggest(
    estimator: Any,
    X_val: object,
    y_val: ArrayLike | None,
    budget: int,
    *,
    X_pool: object = None,
    y_pool: ArrayLike | None = None,
    actions: Sequence[str] = ("remove", "relabel", "add"),
    sample_weight_val: ArrayLike | None = None,
    query: QueryLike = "loss",
    at: At = "epochs",
    last_epochs: int | None = None,
    smoothing: float | str | None = None,
    n_runs: int = 1,
    random_state: RandomState = None,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Suggest which samples to remove, to relabel or to add.

    All changes are estimated in the same unit: removals by
    :meth:`~skinfluence.SGDInfluenceClassifier.influence`, other labels by
    :meth:`~skinfluence.SGDInfluenceClassifier.label_influence`, and additions by
    :meth:`~skinfluence.SGDInfluenceClassifier.addition_influence`. Suggested are those
    after which the validation loss is estimated to be lower, the largest fall first.
    They are for review: each is estimated by itself, and their effects do not add up.

    Parameters
    ----------
    estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator whose run was recorded.
    X_val : array-like, CSR matrix, torch Dataset, or as in ``fit``
        Validation samples.
    y_val : array-like of shape (n_val,) or (n_val, n_outputs), or None
        Their targets; None where a Dataset holds them.
    budget : int
        How many changes to suggest, at most.
    X_pool, y_pool : object, optional
        Candidates to add, as in
        :meth:`~skinfluence.SGDInfluenceClassifier.addition_influence`.
    actions : sequence of {"remove", "relabel", "add"}
        Which changes to consider; "relabel" for classifiers only, and "add" only with
        a pool.
    sample_weight_val : array-like of shape (n_val,), optional
        Non-negative weights of the validation samples in the mean.
    query : a named query or callable, default="loss"
        As in :meth:`~skinfluence.SGDInfluenceClassifier.influence`; lower must be
        better.
    at : "final", "epochs", "path", sequence or mapping, default="epochs"
        As there.
    last_epochs : int, optional
        As there.
    smoothing : None, float or "auto", default=None
        As there.
    n_runs : int, default=1
        Number of runs of the training whose mean is taken, from other seeds, the
        estimator's own included, as in :func:`~skinfluence.influence_over_runs`.
    random_state : int, RandomState instance or None, default=None
        Draws the seeds of the further runs, as there.
    n_jobs : int or None, default=None
        Number of processes over which these are spread, through joblib.

    Returns
    -------
    DataFrame
        At most `budget` rows, and at most one for each sample, with the columns
        ``action``; ``index``, the row of the sample among those that were trained on,
        or for "add" in `X_pool`; ``label``, the new one for "relabel" (of several the
        one to toggle), else None;
        ``gain``, the estimated fall of the query (positive); and of its mean over the
        runs ``standard_error``, and ``sign_agreement``, the share of the runs that
        agree in its sign; both NaN for a single run.

    Raises
    ------
    TypeError
        If the estimator is not one of this library's.
    ValueError
        If a parameter is not as described. The other errors are those of the methods.

    Notes
    -----
    The largest of many estimates is an overestimate, above all that of a new label,
    which is the best of all labels: see what is gained on data that took no part in the
    choice. The best candidates of a pool often resemble each other: change a few
    samples, fit again, and ask again.

    All estimates hold the divisors of the recorded run fixed, so that an addition
    lengthens its steps and a removal shortens them: far from convergence that favours
    additions, by more than a new fit does.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.cleaning import suggest
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> y[4] = (y[4] + 1) % 3
    >>> clf = SGDInfluenceClassifier(max_epochs=60, random_state=0).fit(X, y)
    >>> changes = suggest(clf, X_val, y_val, budget=3)
    >>> changes.shape
    (3, 6)
    >>> changes["action"][0], int(changes["index"][0])
    ('relabel', 4)
    """
    budget = check_integer("budget", budget, 1)
    n_runs = check_integer("n_runs", n_runs, 1)
    check_estimator(estimator)
    if X_pool is None and y_pool is not None:
        raise ValueError("`X_pool` must be given with `y_pool`, got None.")
    considered = _considered(estimator, actions, X_pool)
    options = {
        "sample_weight_val": sample_weight_val,
        "query": query,
        "at": at,
        "last_epochs": last_epochs,
        "smoothing": smoothing,
    }

    def changes_in(run: Any) -> np.ndarray:
        asked = {
            "remove": lambda: run.influence(X_val, y_val, **options),
            "relabel": lambda: run.label_influence(X_val, y_val, **options).ravel(),
            "add": lambda: run.addition_influence(
                X_pool, y_pool, X_val, y_val, **options
            ),
        }
        return np.concatenate([asked[action]() for action in considered])

    answers = answers_over_runs(estimator, changes_in, n_runs, random_state, n_jobs)
    # Exactly 0 is what changes nothing: a label that a sample has, or a sample that a
    # run did not use. That run does not count for it.
    answers[answers == 0] = np.nan
    changes = ScoresOverRuns.of(answers)
    frame = _every_change(estimator, considered, changes.mean.size)
    frame["gain"] = -changes.mean
    frame["standard_error"] = changes.standard_error
    # A single run has nobody to agree with.
    frame["sign_agreement"] = np.where(
        changes.n_used > 1, changes.sign_agreement, np.nan
    )
    return _best(frame, budget)


def _considered(estimator: Any, actions: Sequence[str], X_pool: object) -> list[str]:
    """Return the actions that are possible, the pool's last."""
    several = isinstance(actions, (list, tuple))
    if not several or not all(each in _ACTIONS for each in actions):
        raise ValueError(
            f"`actions` must be a sequence of some of {_ACTIONS}, got {actions!r}."
        )
    possible = {
        "remove": True,
        "relabel": is_classifier(estimator),
        "add": X_pool is not None,
    }
    found = [each for each in _ACTIONS if each in actions and possible[each]]
    if not found:
        raise ValueError(
            "`actions` must have one that is possible: 'relabel' is for classifiers, "
            f"and 'add' needs `X_pool`; got {actions!r}."
        )
    return found


def _every_change(
    estimator: Any, considered: Sequence[str], n_changes: int
) -> pd.DataFrame:
    """Return the samples and labels of all changes, in the order of the answers."""
    rows = np.arange(estimator.trajectory_.n_samples)
    frames: list[pd.DataFrame] = []
    for action in considered:
        index, labels = rows, np.full(len(rows), None, dtype=object)
        if action == "relabel":
            classes = estimator.classes_
            index = rows.repeat(len(classes))
            labels = np.tile(classes, len(rows)).astype(object)
        elif action == "add":
            index = np.arange(n_changes - sum(map(len, frames)))
            labels = np.full(len(index), None, dtype=object)
        frames.append(pd.DataFrame({"action": action, "index": index, "label": labels}))
    return pd.concat(frames, ignore_index=True)


def _best(changes: pd.DataFrame, budget: int) -> pd.DataFrame:
    """Return the changes that gain most, one for each sample."""
    gains = changes[changes["gain"] > 0].sort_values(
        "gain", ascending=False, kind="stable"
    )
    twice = gains.assign(added=gains["action"] == "add").duplicated(["added", "index"])
    return gains[~twice].head(budget).reset_index(drop=True)
