"""Actions on the chosen samples: remove, relabel, unlabel, or lower their weights."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from ..scorers import SGDInfluence
from ._checks import check_accepts
from ._data import CleaningData
from ._ranking import Ranking, Run
from ._removal import Cleaned, Removal, check_full_refit
from ._unlabelling import Unlabelling

LOWEST = 0.01
"""The smallest weight: at 0 a sample has no influence and could never recover."""


class Relabelling(Removal):
    """Gives the samples the labels under which the loss would be lowest."""

    by_label = True

    def check_data(self, cleaner: Any, data: CleaningData) -> None:
        """Refuse a single class."""
        if len(np.unique(data.y)) < 2:
            raise ValueError(
                "`y` must have at least two classes with action='relabel', got "
                f"{np.unique(data.y).tolist()}."
            )

    def check(self, cleaner: Any) -> None:
        """Refuse parameters that are incompatible with the action."""
        _check_influence(cleaner)
        estimator = cleaner._estimator()
        if not (is_classifier(estimator) and hasattr(estimator, "label_influence")):
            raise TypeError(
                "`estimator` must have a method `label_influence` for "
                f"action='relabel', got {type(estimator).__name__}. Use an "
                "SGDInfluenceClassifier."
            )

    def codes_left(
        self, codes: np.ndarray, ranking: Ranking, chosen: np.ndarray
    ) -> np.ndarray:
        """Return the classes after relabelling."""
        assert ranking.labels is not None
        left = codes.copy()
        left[chosen] = ranking.labels[chosen]
        return left

    def next_round(
        self, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> tuple[CleaningData, list[Run]]:
        """Return the data with the labels so far, and the runs.

        They validate on the given ones, among which nothing has chosen.
        """
        classes, codes = np.unique(data.y, return_inverse=True)
        y = classes[self.codes_left(codes, ranking, chosen)]
        return replace(data, y=y, y_held_out=data.y), list(ranking.runs)

    def act(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> Cleaned:
        """Return the cleaned data."""
        classes, codes = np.unique(data.y, return_inverse=True)
        after = self.codes_left(codes, ranking, chosen)
        # Samples that were not ranked keep their label as the proposal.
        ranked = np.flatnonzero(~np.isnan(ranking.scores))
        proposals = classes[self.codes_left(codes, ranking, ranked)]
        moved = chosen[after[chosen] != codes[chosen]]
        relabelled = pd.DataFrame(
            {
                "index": moved,
                "from": data.y[moved],
                "to": classes[after[moved]],
                "gain": -ranking.scores[moved],
            }
        )
        return Cleaned(
            replace(data, y=classes[after]),
            np.ones(len(data), dtype=bool),
            {"proposal": proposals, "relabelled": after != codes},
            {"relabelled_": relabelled},
        )


class Reweighting(Removal):
    """Lowers weights, in total by the number of chosen samples."""

    resamples = False
    limited = False  # all samples stay
    n_rounds = 5

    def check(self, cleaner: Any) -> None:
        """Refuse parameters that are incompatible with the action."""
        _check_influence(cleaner)
        check_accepts(cleaner._final(), "final_estimator", ["sample_weight"])

    def codes_left(
        self, codes: np.ndarray, ranking: Ranking, chosen: np.ndarray
    ) -> np.ndarray:
        """Return the classes of the samples, which all stay."""
        return codes

    def ends(self, count: int, n_rounds: int) -> list[int]:
        """Return nothing: the rounds are steps of the weights, of all samples."""
        return []

    def act(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> Cleaned:
        """Lower the weights by projected steps along the metagradient."""
        weights = np.ones(len(data))
        base = np.asarray(data.params.get("sample_weight", weights), dtype=np.float64)
        scores, scale = ranking.scores, 0.0
        for step in range(cleaner._n_rounds() if len(chosen) else 0):
            # The first scores are those of the ranking, under weights of 1.
            if step:
                weighted = data.weighted(weights)
                scores = cleaner._scores_of(weighted, ranking.runs).mean
            slopes = weight_slopes(scores, base, weights)
            # The largest spread so far, so that the steps shrink as the slopes level.
            scale = max(scale, float(slopes.std()))
            weights = lowered(weights - slopes / (scale or 1.0), len(chosen))
        support = np.ones(len(data), dtype=bool)
        return Cleaned(
            data.weighted(weights),
            support,
            {"sample_weight": weights},
            {"sample_weight_": weights},
        )


ACTIONS: dict[str, Removal] = {
    "remove": Removal(),
    "relabel": Relabelling(),
    "unlabel": Unlabelling(),
    "reweight": Reweighting(),
}


def _check_influence(cleaner: Any) -> None:
    scorer = cleaner._scorer()
    if not isinstance(scorer, SGDInfluence):
        raise ValueError(
            f"`scorer` must be 'influence' with action={cleaner.action!r}, got "
            f"{cleaner.scorer!r}: no other scorer estimates the effect of a label or "
            "a weight."
        )
    check_full_refit(cleaner)


def weight_slopes(
    scores: np.ndarray, base: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    r"""Return the gradient of the validation loss in the weights, up to a factor.

    A sample's influence is :math:`-∂Q/∂\log c_i`. Training divides the weights by their
    mean, so that with :math:`c_i = n u_i / \sum_j u_j`

    .. math:: ∂Q/∂\log u_i = -\text{influence}_i
       + \frac{c_i}{n} \sum_j \text{influence}_j.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        The influence, of the run under these weights; NaN for samples that were not
        ranked, whose derivative is taken to be 0.
    base : ndarray of shape (n_samples,)
        Sample weights that were passed to ``fit``; 1 without any.
    weights : ndarray of shape (n_samples,)
        Weights that multiply them and are lowered; positive.
    """
    ranked = ~np.isnan(scores)
    total = np.where(ranked, base * weights, 0.0)
    share = total / total.sum()
    slopes = share * scores[ranked].sum() - np.where(ranked, scores, 0.0)
    return np.where(ranked, slopes / weights, 0.0)


def lowered(weights: np.ndarray, most: float) -> np.ndarray:
    r"""Project weights onto [0.01, 1], with a total reduction of at most `most`.

    The projection onto :math:`\{w : 0.01 \le w_i \le 1, \sum_i (1 - w_i) \le m\}` adds
    a number τ >= 0 to the weights and clips them; the reduction falls as τ grows.
    """

    def clipped(tau: float) -> np.ndarray:
        return np.clip(weights + tau, LOWEST, 1.0)

    if (1 - clipped(0.0)).sum() <= most:
        return clipped(0.0)
    low, high = 0.0, float(1.0 - weights.min())
    # Bisection to the last bit: the result must not depend on a tolerance.
    while low < (middle := 0.5 * (low + high)) < high:
        if (1 - clipped(middle)).sum() > most:
            low = middle
        else:
            high = middle
    return clipped(high)
