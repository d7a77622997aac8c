"""What is done with the chosen samples: removed, relabelled, or given less weight."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from ..scorers import SGDInfluence
from ._checks import check_accepts
from ._data import CleaningData
from ._runs import Ranking, score_runs
from ._weights import N_STEPS, lowered, weight_slopes


class Cleaned(NamedTuple):
    """What an action leaves.

    Attributes
    ----------
    data : CleaningData
        The cleaned data.
    support : ndarray of shape (n_samples,), bool
        Which samples are still there.
    columns : mapping of str to ndarray of shape (n_samples,)
        What was done to each sample.
    found : mapping of str to object
        Further attributes for the cleaner.
    """

    data: CleaningData
    support: np.ndarray
    columns: Mapping[str, np.ndarray]
    found: Mapping[str, Any]


class Removal:
    """Takes the samples out."""

    by_label = False
    resamples = True

    def check(self, cleaner: Any) -> None:
        """Refuse parameters that do not go with the action."""

    def codes_left(
        self, codes: np.ndarray, ranking: Ranking, chosen: np.ndarray
    ) -> np.ndarray:
        """Return the classes of the samples that are left."""
        return np.delete(codes, chosen)

    def act(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> Cleaned:
        """Do it."""
        support = np.ones(len(data), dtype=bool)
        support[chosen] = False
        kept = data.take(np.flatnonzero(support))
        return Cleaned(kept, support, {"removed": ~support}, {})


class Relabelling(Removal):
    """Gives the samples the labels under which the loss would be lowest."""

    by_label = True

    def check(self, cleaner: Any) -> None:
        """Refuse parameters that do not go with the action."""
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
        """Return the classes of the samples after it."""
        assert ranking.labels is not None
        left = codes.copy()
        left[chosen] = ranking.labels[chosen]
        return left

    def act(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> Cleaned:
        """Do it."""
        classes, codes = np.unique(data.y, return_inverse=True)
        after = self.codes_left(codes, ranking, chosen)
        # What was not ranked has no proposal but its own label.
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
    """Lowers weights, by as much in all as there are samples chosen."""

    resamples = False

    def check(self, cleaner: Any) -> None:
        """Refuse parameters that do not go with the action."""
        _check_influence(cleaner)
        check_accepts(cleaner._final(), "final_estimator", ["sample_weight"])

    def codes_left(
        self, codes: np.ndarray, ranking: Ranking, chosen: np.ndarray
    ) -> np.ndarray:
        """Return the classes of the samples, which all stay."""
        return codes

    def act(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> Cleaned:
        """Do it: by projected steps along the metagradient."""
        weights = np.ones(len(data))
        given = np.asarray(data.params.get("sample_weight", weights), dtype=np.float64)
        scores, scale = ranking.scores, 0.0
        for step in range(N_STEPS if len(chosen) else 0):
            if step:
                weighted = data.weighted(weights)
                scores = score_runs(
                    ranking.runs, weighted, cleaner.memory, cleaner.n_jobs
                )[0]
            slopes = weight_slopes(scores, given, weights)
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
    "reweight": Reweighting(),
}


def _check_influence(cleaner: Any) -> None:
    scorer = cleaner._scorer()
    if not isinstance(scorer, SGDInfluence):
        raise ValueError(
            f"`scorer` must be 'influence' with action={cleaner.action!r}, got "
            f"{cleaner.scorer!r}: no other scorer says what another label or a lower "
            "weight would do."
        )
    if cleaner.refit != "full":
        raise ValueError(
            f"`refit` must be 'full' with action={cleaner.action!r}, got "
            f"{cleaner.refit!r}, which repeats a run without some of its samples."
        )
