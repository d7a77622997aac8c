"""What a comparison with exact retraining says of an estimate."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from .._baseline import Skill
from .intervals import kendall, mean, median, spearman

_NAN = float("nan")

# Kendall's correlation of normal data whose Pearson correlation is 0.92, and 0.6.
_ORDERED, _ROUGH = 0.75, 0.4

SMOOTHER = (
    "The run does not respond smoothly to its data. What makes it smoother: a smooth "
    "activation such as GELU, a smaller learning rate, fewer epochs, larger batches."
)


@dataclass(frozen=True, slots=True, eq=False)
class InfluenceCheck:
    """How far the influence can be trusted, by exact retraining.

    Parameters
    ----------
    samples : ndarray of shape (n_checked,), int64
        The samples that were verified, as rows of the training data.
    estimated : ndarray of shape (n_checked,), float64
        Their influence, in the query's unit.
    exact : ndarray of shape (n_checked,), float64
        The true change of the query without each, in the same unit.
    correlation : float
        Kendall's rank correlation of the two; NaN where one of them is constant.
    confidence_interval : tuple of (float, float)
        Interval for the correlation over all samples that the training used.
    slope : float
        Slope of the least-squares line of `exact` over `estimated`; 1 is ideal, and
        below 1 the estimate is too large.
    verdict : str
        The conclusion, in words.
    level : float, default=0.95
        The level of the intervals.
    relative_error : float, default=NaN
        Median of the errors, relative to the sizes of the exact changes.
    relative_error_interval : tuple of (float, float)
        Interval for the median over all samples that the training used.
    subsets : ndarray of shape (n_subsets, n_removed), int64
        The random subsets that were removed, as rows of the training data.
    subset_estimated : ndarray of shape (n_subsets,), float64
        Sums of their samples' influence.
    subset_exact : ndarray of shape (n_subsets,), float64
        The true change of the query without each.
    lds : float, default=NaN
        Linear datamodeling score: Spearman's correlation of the two.
    lds_interval : tuple of (float, float)
        Interval for the score over all subsets of that size.
    metasmoothness : float, default=NaN
        How smoothly the run responds to the removal of a subset, from -1 to 1: mean
        of the empirical metasmoothness over some of the subsets (Notes of
        :meth:`~skinfluence.SGDInfluenceClassifier.check_influence`).
    metasmoothness_interval : tuple of (float, float)
        Interval for its mean over all subsets of that size.
    skill : Skill or None, default=None
        The model's score on the validation data (`score`), that of always predicting
        the most frequent label or the mean (`baseline`), and whether the predictions
        go with the targets by more than chance (`has_learnt`); None where the targets
        are inside of Datasets.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X[::2], y[::2])
    >>> check = clf.check_influence(X[1::2], y[1::2], n_samples=10, random_state=0)
    >>> check.correlation > 0.8, check.lds > 0.9, check.metasmoothness > 0.9
    (True, True, True)
    >>> check.to_frame().shape
    (10, 2)
    """

    samples: np.ndarray
    estimated: np.ndarray
    exact: np.ndarray
    correlation: float
    confidence_interval: tuple[float, float]
    slope: float
    verdict: str
    level: float = 0.95
    relative_error: float = _NAN
    relative_error_interval: tuple[float, float] = (_NAN, _NAN)
    subsets: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    subset_estimated: np.ndarray = field(default_factory=lambda: np.zeros(0))
    subset_exact: np.ndarray = field(default_factory=lambda: np.zeros(0))
    lds: float = _NAN
    lds_interval: tuple[float, float] = (_NAN, _NAN)
    metasmoothness: float = _NAN
    metasmoothness_interval: tuple[float, float] = (_NAN, _NAN)
    skill: Skill | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return the samples that were verified as a table.

        Returns
        -------
        DataFrame of n_checked rows
            The columns ``estimated`` and ``exact``; its index holds the rows of the
            training data.
        """
        columns = {"estimated": self.estimated, "exact": self.exact}
        return pd.DataFrame(columns, index=self.samples)

    # The statement, in place of hundreds of numbers.
    def __repr__(self) -> str:
        lines = [
            f"{len(self.samples)} samples: rank correlation "
            f"{_between(self.correlation, self.confidence_interval)}, median error "
            f"{_between(self.relative_error, self.relative_error_interval, '%')}."
        ]
        if len(self.subsets):
            lines += [
                f"{len(self.subsets)} groups of {self.subsets.shape[1]}: linear "
                f"datamodeling score {_between(self.lds, self.lds_interval)}.",
                "Metasmoothness of the run "
                f"{_between(self.metasmoothness, self.metasmoothness_interval)}.",
            ]
        lines[-1] += f" In brackets: {100 * self.level:g} % intervals."
        model = [] if self.skill is None else [str(self.skill)]
        return "\n".join([*model, *lines, self.verdict])


def check_of_samples(
    samples: np.ndarray,
    estimated: np.ndarray,
    exact: np.ndarray,
    level: float,
    n_used: int,
) -> InfluenceCheck:
    """Compare the removals of single samples, drawn from the `n_used`."""
    found, interval = kendall(estimated, exact, level, n_used)
    error, error_interval = median(_relative(estimated, exact), level, n_used)
    slope = _NAN
    if np.ptp(estimated) > 0:
        slope = float(np.polyfit(estimated, exact, 1)[0])
    said = verdict(*interval, slope)
    return InfluenceCheck(
        samples,
        estimated,
        exact,
        found,
        interval,
        slope,
        said,
        level,
        error,
        error_interval,
    )


def with_groups(
    check: InfluenceCheck,
    subsets: np.ndarray,
    estimated: np.ndarray,
    exact: np.ndarray,
    smoothness: np.ndarray,
) -> InfluenceCheck:
    """Compare the removals of groups too, and say how smooth the response is."""
    lds, lds_interval = spearman(estimated, exact, check.level)
    smooth, interval = mean(smoothness, check.level)
    return replace(
        check,
        verdict=verdict(*check.confidence_interval, check.slope, smooth),
        subsets=subsets,
        subset_estimated=estimated,
        subset_exact=exact,
        lds=lds,
        lds_interval=lds_interval,
        metasmoothness=smooth,
        metasmoothness_interval=interval,
    )


def verdict(low: float, high: float, slope: float, metasmoothness: float = _NAN) -> str:
    """Put correlation, slope and smoothness in words."""
    said = _of_correlation(low, high, slope)
    return said if is_smooth(metasmoothness) else f"{said} {SMOOTHER}"


def is_smooth(metasmoothness: float) -> bool:
    """Whether the second half of a change of the data mostly goes on with the first."""
    return not metasmoothness < 0.5


def _of_correlation(low: float, high: float, slope: float) -> str:
    if not low <= high:
        return "Nothing can be said: all estimates, or all true changes, are the same."
    if low >= _ORDERED:
        if 2 / 3 <= slope <= 3 / 2:
            return "The estimate can be trusted on this run, in order and in size."
        return (
            "The order of the estimate can be trusted on this run; its size is to be "
            f"multiplied by {slope:.2g}."
        )
    if low >= _ROUGH:
        return (
            "The estimate is rough on this run: good for a ranking, not for the single "
            "number. Verify the samples that matter (`verify`)."
        )
    if high < _ROUGH:
        return (
            "The estimate cannot be trusted on this run. Try at='path', `last_epochs`, "
            "fewer epochs or a smaller learning rate, or compute the truth "
            "(`counterfactual_influence`)."
        )
    return "Undecided: verify more samples (`n_samples`)."


def _relative(estimated: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return the errors relative to the true changes; 0 for those without either."""
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.abs(estimated - exact) / np.abs(exact)
    return np.where(estimated == exact, 0.0, errors)


def _between(value: float, interval: tuple[float, float], unit: str = "") -> str:
    if unit:
        low, high = (f"{100 * end:.0f}" for end in interval)
        return f"{100 * value:.0f} {unit} ({low} to {high} {unit})"
    low, high = (f"{end:.2f}" for end in interval)
    return f"{value:.2f} ({low} to {high})"
