"""The error of the estimate: measured on some samples, bounded for linear models."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.stats import pearsonr
from sklearn.utils import check_random_state

from ...influence import ErrorBound
from ...training import differentiating
from ...trajectory import Replay
from .._net import InfluenceNet
from .._typing import At, QueryLike, RandomState, Smoothing
from .counterfactual import exact_changes
from .estimate import check_smoothing, estimate, smoothed
from .linear_bound import curvature_of, inputs_with_ones, output_slopes, plain_sgd
from .question import ask, query_of
from .recorded_run import is_integer
from .samples import run_weights

# Fisher's interval needs more than three pairs.
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class InfluenceCheck:
    """Estimated and exact influence of some samples.

    Parameters
    ----------
    samples : ndarray of shape (n_checked,), int64
        The samples that were verified, as rows of the training data.
    estimated : ndarray of shape (n_checked,), float64
        Their influence, in the query's unit.
    exact : ndarray of shape (n_checked,), float64
        The true change of the query without each, in the same unit.
    correlation : float
        Pearson's correlation of the two; NaN where one of them is constant.
    confidence_interval : tuple of (float, float)
        Its 95 % confidence interval, by Fisher's transformation.
    slope : float
        Slope of the least-squares line of `exact` over `estimated`; 1 is ideal, and
        below 1 the estimate is too large.
    verdict : str
        The conclusion, in words.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X[::2], y[::2])
    >>> check = clf.check_influence(X[1::2], y[1::2], n_samples=10, random_state=0)
    >>> check.correlation > 0.9
    True
    """

    samples: np.ndarray
    estimated: np.ndarray
    exact: np.ndarray
    correlation: float
    confidence_interval: tuple[float, float]
    slope: float
    verdict: str

    def __str__(self) -> str:
        low, high = self.confidence_interval
        return (
            f"{len(self.samples)} samples verified: correlation "
            f"{self.correlation:.2f} (95 % interval {low:.2f} to {high:.2f}), "
            f"slope {self.slope:.2f}.\n{self.verdict}"
        )


class ReliabilityMixin(InfluenceNet):
    """Adds :meth:`check_influence` and :meth:`influence_error_bound`."""

    @differentiating
    def check_influence(
        self,
        X_val: object,
        y_val: ArrayLike | None = None,
        n_samples: int = 50,
        *,
        sample_weight_val: ArrayLike | None = None,
        query: QueryLike = "loss",
        at: At = "final",
        last_epochs: int | None = None,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        stage: str | int | None = None,
        smoothing: Smoothing = None,
    ) -> InfluenceCheck:
        """Compare the influence of some samples with its exact value.

        Samples are drawn at random from those that the training used, and the
        recorded run is repeated without each (:meth:`counterfactual_influence`). Costs
        `n_samples` trainings, many of them at once where that is faster.

        Parameters
        ----------
        X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
            Validation samples.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs)
            Their targets; None where a Dataset holds them.
        n_samples : int, default=50
            How many samples to verify, at least 4; all if there are fewer.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        query : "loss", "error" or callable, default="loss"
            As in :meth:`influence`.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            As in :meth:`influence`.
        last_epochs : int, optional
            As in :meth:`influence`.
        random_state : int, RandomState instance or None, default=None
            Draws the samples.
        n_jobs : int, optional
            Number of processes over which the runs are spread, through joblib.
        stage : None, "pretraining" or int, default=None
            The samples of which stage to verify, as in :meth:`influence`.
        smoothing : None, float or "auto", default=None
            How wide kinks are smoothed on the way back, as in :meth:`influence`.

        Returns
        -------
        InfluenceCheck
            Correlation with its confidence interval, slope, and a verdict in words;
            ``print`` it.

        Raises
        ------
        ValueError
            If a parameter is not as described, or the training used fewer than four
            samples. The other errors are those of :meth:`influence`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
        >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X, y)
        >>> print(clf.check_influence(X_val, y_val, 20, random_state=0))
        20 samples verified: correlation 1.00 (95 % interval 1.00 to 1.00), slope 1.01.
        The estimate can be trusted on this run, in order and in size.
        """
        if not is_integer(n_samples) or n_samples < _FEWEST:
            raise ValueError(
                f"`n_samples` must be an integer of at least {_FEWEST}, got "
                f"{n_samples!r}."
            )
        check_smoothing(smoothing)
        rng = check_random_state(random_state)
        question = ask(
            self, X_val, y_val, sample_weight_val, query, at, last_epochs, stage
        )
        used = np.flatnonzero(question.used().numpy())
        if len(used) < _FEWEST:
            raise ValueError(
                f"The steps in question must have used at least {_FEWEST} samples to "
                f"compare, got {len(used)}."
            )
        samples = np.sort(rng.permutation(used)[:n_samples])
        found = smoothed(smoothing, partial(estimate, self, question))
        estimated = found.scores[samples]
        weights = run_weights(samples, question.used())
        exact = exact_changes(self, question, weights, n_jobs=n_jobs)
        return _check(samples, estimated, exact)

    @differentiating
    def influence_error_bound(
        self,
        X_val: object,
        y_val: ArrayLike | None = None,
        *,
        sample_weight_val: ArrayLike | None = None,
        at: At = "final",
        last_epochs: int | None = None,
    ) -> np.ndarray:
        r"""Bound the error of each sample's influence.

        For ``module="linear"`` with a convex loss and plain SGD, by the argument of
        Theorem 5 in [1]_: both the exact and the estimated change of the parameters
        obey recursions whose matrices have bounded norms. The theorem bounds the
        change of the parameters; here the difference of the two recursions is bounded
        too, by the loss's third derivative, and propagated to the query:

        .. math::

           |\text{influence}_j - (Q(θ_{-j}) - Q(θ))| \le
           \|∇Q\| \, e_j + \tfrac12 \, \sup\|∇^2 Q\| \, d_j^2 .

        Parameters
        ----------
        X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
            Validation samples.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs)
            Their targets; None where a Dataset holds them.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            As in :meth:`influence`.
        last_epochs : int, optional
            As in :meth:`influence`.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The bound, in the loss's unit, never negative; 0 for a sample that no
            retraced step used. It holds for exact arithmetic and for the worst case:
            the error is often much smaller.

        Raises
        ------
        UnsupportedCriterionError
            If the criterion is not ``CrossEntropyLoss``, ``BCEWithLogitsLoss`` or
            ``MSELoss``.
        UnsupportedOptimizerError
            If the optimizer is not SGD without momentum and with the same options for
            all parameters, or gradients were clipped.
        ValueError
            If `module` is not "linear", or a parameter is not as described.
            The other errors are those of :meth:`influence`.

        References
        ----------
        .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
           with SGD", NeurIPS 2019, Theorem 5.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
        >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X, y)
        >>> error = clf.influence(X_val, y_val) - clf.counterfactual_influence(
        ...     X_val, y_val
        ... )
        >>> bool((abs(error) <= clf.influence_error_bound(X_val, y_val)).all())
        True
        """
        curvature = curvature_of(self)
        question = ask(self, X_val, y_val, sample_weight_val, "loss", at, last_epochs)
        records = question.trajectory.records[question.first : max(question.at)]
        options = [plain_sgd(self, record) for record in records]
        step, replica = question.run.repeatable()
        query = query_of(replica, question)
        # ∇²Q is at most the second derivative in the outputs times this.
        rows = [
            inputs_with_ones(x) * v.sqrt()[:, None] for (x, _), _, v in query.batches
        ]
        spread = float(torch.linalg.matrix_norm(torch.cat(rows).double(), 2)) ** 2
        bound = ErrorBound(question.trajectory.n_samples, curvature)
        total = torch.zeros_like(bound.error)
        replay = Replay(question.trajectory, step)
        replay.repeat(max(question.at), question.first)
        step.live.write(replay.state(question.first))
        for record, (lr, weight_decay) in zip(records, options, strict=True):
            bound.advance(record.rows, *output_slopes(step, record), lr, weight_decay)
            step.advance(record)
            if weight := question.at.get(record.step + 1):
                state = step.live.read()
                steepness = float(query.gradient(step, state).norm())
                total += weight * bound.of_query(steepness, curvature.second * spread)
                step.live.write(state)
        return total.numpy()


def _check(
    samples: np.ndarray, estimated: np.ndarray, exact: np.ndarray
) -> InfluenceCheck:
    correlation, interval, slope = np.nan, (np.nan, np.nan), np.nan
    if np.ptp(estimated) > 0:
        slope = float(np.polyfit(estimated, exact, 1)[0])
    if np.ptp(estimated) > 0 and np.ptp(exact) > 0:
        pearson = pearsonr(estimated, exact)
        correlation = float(pearson.statistic)
        low, high = pearson.confidence_interval(0.95)
        interval = float(low), float(high)
    verdict = _verdict(*interval, slope)
    return InfluenceCheck(
        samples, estimated, exact, correlation, interval, slope, verdict
    )


def _verdict(low: float, high: float, slope: float) -> str:
    """Put correlation and slope in words."""
    if not low <= high:
        return "Nothing can be said: all estimates, or all true changes, are the same."
    if low >= 0.9:
        if 2 / 3 <= slope <= 3 / 2:
            return "The estimate can be trusted on this run, in order and in size."
        return (
            "The order of the estimate can be trusted on this run; its size is to be "
            f"multiplied by {slope:.2g}."
        )
    if low >= 0.5:
        return (
            "The estimate is rough on this run: good for a ranking, not for the single "
            "number. Verify the samples that matter (`verify`)."
        )
    if high < 0.5:
        return (
            "The estimate cannot be trusted on this run. Try at='path', `last_epochs`, "
            "fewer epochs or a smaller learning rate, or compute the truth "
            "(`counterfactual_influence`)."
        )
    return "Undecided: verify more samples (`n_samples`)."
