"""Actions on the chosen samples: remove, relabel, unlabel, or lower their weights."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from ._data import CleaningData
from ._ranking import Ranking, Run
from ._removal import Cleaned, Removal, check_influence
from ._reweighting import Reweight, Reweighting
from ._unlabelling import Unlabelling


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
        check_influence(cleaner)
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


ACTIONS: dict[str, Removal] = {
    "remove": Removal(),
    "relabel": Relabelling(),
    "unlabel": Unlabelling(),
    "reweight": Reweighting(Reweight()),
}


def action_of(action: Any) -> Removal:
    """Return the action of that name, or the object."""
    return Reweighting(action) if isinstance(action, Reweight) else ACTIONS[action]
