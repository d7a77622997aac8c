"""What the samples of a report are ranked by."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ...estimators import InfluenceInterval, ScoresOverRuns
from .._style import check_numbers


@dataclass(frozen=True)
class Ranked:
    """Other scores than the influence on the audited estimator, the lowest first.

    Attributes
    ----------
    scores : ndarray of shape (n_samples,) or None
        The scores; None to rank by that influence.
    over_runs : ScoresOverRuns or None
        The scores in each of several runs, if that is what they come from.
    interval : InfluenceInterval or None
        What has an interval for each sample, if they have one.
    """

    scores: np.ndarray | None = None
    over_runs: ScoresOverRuns | None = None
    interval: InfluenceInterval | None = None

    @property
    def by_harm(self) -> bool:
        """Whether a negative score is harmful; the sign of others may mean nothing."""
        return self.scores is None or self.over_runs is not None


def checked_scores(
    scores: ArrayLike | ScoresOverRuns | InfluenceInterval | None, n_samples: int
) -> Ranked:
    """Return the scores to rank by, with what is known of their reliability."""
    if scores is None:
        return Ranked()
    interval = scores if isinstance(scores, InfluenceInterval) else None
    given = scores.runs if isinstance(scores, InfluenceInterval) else scores
    over_runs = given if isinstance(given, ScoresOverRuns) else None
    given = given.mean if isinstance(given, ScoresOverRuns) else given
    checked = check_numbers("scores", given, n_samples)
    if not np.isfinite(checked).any():
        raise ValueError("`scores` must be finite for at least one sample, got none.")
    return Ranked(checked, over_runs, interval)
