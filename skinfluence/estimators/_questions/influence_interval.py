"""Intervals for what a sample's removal changes in a run that is yet to come."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from ..._numbers import check_integer
from ..._warnings import warn_caller
from ...exceptions import InfluenceReliabilityWarning
from ...training import differentiating
from .._runs import ScoresOverRuns, answers_over_runs, check_different
from .._trained_on import check_estimator
from .._typing import At, QueryLike, RandomState, Smoothing
from .counterfactual import changes_by_sample
from .estimate import check_smoothing, estimate, reliable, smoothed
from .influence_check import SMOOTHER, is_smooth
from .intervals import check_level
from .metasmoothness import metasmoothness
from .question import Question, ask
from .samples import run_weights

# The spread over the runs that are left when each is left out in turn needs two.
_FEWEST_RUNS = 3

# Subsets that each run is tried on for its metasmoothness, and their share of samples.
_DIRECTIONS, _REMOVED = 2, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class InfluenceInterval:
    """The influence over several runs, with intervals for a run that is yet to come.

    Parameters
    ----------
    influence : ndarray of shape (n_samples,), float64
        Mean over the runs of the estimated change of the query without each sample.
    interval : ndarray of shape (n_samples, 2), float64
        Lower and upper end for the true change in a fresh run. NaN for all samples if
        the runs are chaotic, and for those that fewer than two runs used. Infinite if
        too many samples change something whose estimate is exactly 0 in all runs.
    level : float
        The level of the intervals.
    n_verified : int
        How many true changes they were calibrated on.
    metasmoothness : float
        Mean empirical metasmoothness of the runs, from -1 to 1.
    runs : ScoresOverRuns
        The estimates of each run.

    See Also
    --------
    skinfluence.influence_interval : Returns it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier, influence_interval
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X[::2], y[::2])
    >>> found = influence_interval(
    ...     clf, X[1::2], y[1::2], n_runs=3, n_samples=10, random_state=0
    ... )
    >>> harmful_in_most_runs = found.interval[:, 1] < 0
    >>> harmful_in_most_runs.shape
    (75,)
    >>> list(found.to_frame().columns)
    ['score', 'standard_error', 'sign_agreement', 'n_used', 'lower', 'upper']
    """

    influence: np.ndarray
    interval: np.ndarray
    level: float
    n_verified: int
    metasmoothness: float
    runs: ScoresOverRuns

    def to_frame(self) -> pd.DataFrame:
        """Return the influence and the intervals as a table.

        Returns
        -------
        DataFrame of n_samples rows
            The columns of :meth:`ScoresOverRuns.to_frame
            <skinfluence.estimators.ScoresOverRuns.to_frame>`, and ``lower`` and
            ``upper``, the ends of the intervals.
        """
        lower, upper = self.interval.T
        return self.runs.to_frame().assign(lower=lower, upper=upper)


def influence_interval(
    estimator: Any,
    X_val: object,
    y_val: ArrayLike | None = None,
    *,
    level: float = 0.9,
    n_runs: int = 5,
    n_samples: int = 20,
    sample_weight_val: ArrayLike | None = None,
    query: QueryLike = "loss",
    at: At = "final",
    last_epochs: int | None = None,
    smoothing: Smoothing = None,
    random_state: RandomState = None,
    n_jobs: int | None = None,
) -> InfluenceInterval:
    r"""Give each sample an interval for its true influence in a fresh run.

    The influence of one run says little of the next: other initial weights and batches
    lead to another change. Here several runs are trained from other seeds, and in each
    some samples, drawn at random, are really left out. How far these true changes are
    from the estimates of the *other* runs tells how wide the intervals must be.

    Parameters
    ----------
    estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator whose run was recorded, in one call of ``fit``.
    X_val : array-like, CSR matrix, torch Dataset, or as in ``fit``
        Validation samples.
    y_val : array-like of shape (n_val,) or (n_val, n_outputs)
        Their targets; None where a Dataset holds them.
    level : float, default=0.9
        The share of true changes that the intervals are to hold, between 0 and 1.
    n_runs : int, default=5
        Number of runs, at least 3, the estimator's own included.
    n_samples : int, default=20
        How many samples are verified in each run; all if there are fewer. `n_runs`
        times `n_samples` must be at least level / (1 - level).
    sample_weight_val : array-like of shape (n_val,), optional
        Non-negative weights of the validation samples in the mean.
    query : a named query or callable, default="loss"
        As in :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
    at : "final", "epochs", "path", sequence or mapping, default="final"
        As there.
    last_epochs : int, optional
        Retrace only the last epochs, as there.
    smoothing : None, float or "auto", default=None
        As there.
    random_state : int, RandomState instance or None, default=None
        Draws the `random_state` of each further run; the samples are drawn from the
        seed of each run.
    n_jobs : int or None, default=None
        Number of processes over which the further runs are spread, through joblib.

    Returns
    -------
    InfluenceInterval
        Mean of the estimates, and the intervals.

    Raises
    ------
    ValueError
        If a parameter is not as described. The other errors are those of
        :func:`~skinfluence.influence_over_runs`.

    Warns
    -----
    InfluenceReliabilityWarning
        If the runs are chaotic. All intervals are NaN then.

    Notes
    -----
    Split conformal prediction [1]_ across runs. With the mean :math:`m_j` of the other
    runs' estimates of sample j and their standard deviation :math:`s_j`, the residual
    of a verified sample is

    .. math:: |\text{change}_j - m_j| / (|m_j| + s_j + \tfrac12 \, \text{median}(s)),

    and the interval is :math:`m_j` over all runs, plus and minus the quantile
    :math:`\lceil (n + 1) \, \text{level} \rceil / n` of the n residuals times the same
    scale. It holds the true change of a sample and a fresh run, both drawn at random,
    with about the probability `level`, however wrong the estimates are; not with that
    probability for each single sample. Residuals of one run go together: more runs are
    worth more than more samples in each.

    Runs are taken for chaotic if their metasmoothness
    (:meth:`~skinfluence.SGDInfluenceClassifier.check_influence`), here over the removal
    of two random tenths of the samples in each, is below 0.5 on average. An interval
    around the estimate says nothing of single samples then.

    Each run costs a training, a retrace and `n_samples` + 4 repetitions, many of these
    at once where that is faster.

    References
    ----------
    .. [1] V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random World",
       2005.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier, influence_interval
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X[::2], y[::2])
    >>> found = influence_interval(
    ...     clf, X[1::2], y[1::2], n_runs=3, n_samples=10, random_state=0
    ... )
    >>> found.interval.shape, found.n_verified
    ((75, 2), 30)
    """
    check_level(level)
    check_integer("n_runs", n_runs, _FEWEST_RUNS)
    check_integer("n_samples", n_samples, 1)
    check_smoothing(smoothing)
    check_estimator(estimator)
    least = math.ceil(round(level / (1 - level), 9))

    @differentiating
    def answers_of(run: Any) -> np.ndarray:
        question = ask(run, X_val, y_val, sample_weight_val, query, at, last_epochs)
        used = question.used().numpy()
        _check_enough(n_runs * min(n_samples, int(used.sum())), least, level)
        found = smoothed(smoothing, partial(estimate, run, question))
        scores = np.where(used, reliable(*found), np.nan)
        return np.stack([scores, *_verified(run, question, n_samples)])

    answers = answers_over_runs(estimator, answers_of, n_runs, random_state, n_jobs)
    scores, exact, smoothness = answers.swapaxes(0, 1)
    # What is verified differs in any case: each run draws its samples.
    check_different(scores)
    return calibrated(ScoresOverRuns.of(scores), exact, level, float(smoothness.mean()))


def _check_enough(n_verified: int, least: int, level: float) -> None:
    if n_verified < least:
        raise ValueError(
            f"`n_runs` times `n_samples` must be at least {least} for level={level:g}, "
            f"got {n_verified} (no more samples are verified than a run used)."
        )


def _verified(run: Any, question: Question, n_samples: int) -> tuple[Any, Any]:
    """Return the true changes of some samples, NaN for the others; metasmoothness."""
    used = np.flatnonzero(question.used().numpy())
    rng = np.random.default_rng(question.trajectory.seed)
    rows = rng.permutation(used)[:n_samples]
    n_removed = max(1, round(_REMOVED * len(used)))
    subsets = [rng.permutation(used)[:n_removed] for _ in range(_DIRECTIONS)]
    weights = run_weights([*rows[:, None], *subsets], question.used())
    halves = (1 + weights[len(rows) :]) / 2
    changes = changes_by_sample(run, question, torch.cat([weights, halves]))
    singles, whole, half = np.split(changes, [len(rows), len(weights)])
    exact = np.full(len(question.used()), np.nan)
    exact[rows] = np.average(singles, axis=1, weights=question.weights)
    smoothness = metasmoothness(half, whole).mean()
    return exact, np.full(len(exact), smoothness)


def calibrated(
    runs: ScoresOverRuns, exact: np.ndarray, level: float, smoothness: float
) -> InfluenceInterval:
    """Return the intervals; `exact` holds NaN where nothing was verified."""
    residuals = []
    for run, changes in enumerate(exact):
        others = ScoresOverRuns.of(np.delete(runs.scores, run, axis=0))
        residuals.append(_residuals(np.abs(changes - others.mean), _scale(others)))
    errors = np.sort(np.concatenate(residuals))
    place = math.ceil(round((len(errors) + 1) * level, 9))
    half = np.full(len(runs.mean), np.nan)
    if not is_smooth(smoothness):
        warn_caller(
            f"No interval is given (NaN): the runs are chaotic, with a metasmoothness "
            f"of {smoothness:.2f} on average (at least 0.5 is needed). {SMOOTHER}",
            InfluenceReliabilityWarning,
        )
    elif place <= len(errors):
        quantile = errors[place - 1]
        half[:] = np.inf if np.isinf(quantile) else quantile * _scale(runs)
    interval = np.stack([runs.mean - half, runs.mean + half], axis=1)
    return InfluenceInterval(
        runs.mean, interval, float(level), len(errors), smoothness, runs
    )


def _residuals(errors: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the errors where something was verified, in units of the scale."""
    known = ~np.isnan(errors)
    errors, scale = errors[known], scale[known]
    # Where every estimate is exactly 0, any other change is infinitely far from it.
    beyond = np.where(errors > 0, np.inf, 0.0)
    return np.divide(errors, scale, out=beyond, where=scale > 0)


def _scale(runs: ScoresOverRuns) -> np.ndarray:
    """Return what errors are measured in: large where estimates are, or vary."""
    spread = runs.standard_error * np.sqrt(runs.n_used)
    return np.asarray(np.abs(runs.mean) + spread + np.nanmedian(spread) / 2)
