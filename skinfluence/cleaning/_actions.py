"""Actions on the chosen samples: remove, relabel, unlabel, or lower their weights."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier

from ..estimators import outputs
from ._data import CleaningData
from ._ranking import Ranking, Run
from ._removal import Cleaned, Removal, check_influence
from ._reweighting import Reweight, Reweighting
from ._unlabelling import Unlabelling


class Relabelling(Removal):
    """Gives the samples the labels under which the loss would be lowest."""

    by_label = True
    by_probability = False  # the label to give counts

    def check_data(self, cleaner: Any, data: CleaningData) -> None:
        """Refuse a single class."""
        if data.y.ndim == 1 and len(np.unique(data.y)) < 2:
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
        if codes.any():  # rows of several labels are of no class
            left[chosen] = ranking.labels[chosen]
        return left

    def next_round(
        self, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> tuple[CleaningData, list[Run]]:
        """Return the data with the labels so far, and the runs.

        They validate on the given ones, among which nothing has chosen.
        """
        y = relabelled(data.y, ranking, chosen)
        return replace(data, y=y, y_held_out=data.y), list(ranking.runs)

    def act(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> Cleaned:
        """Return the cleaned data."""
        after = relabelled(data.y, ranking, chosen)
        # Samples that were not ranked keep their label as the proposal.
        ranked = np.flatnonzero(~np.isnan(ranking.scores))
        proposals = relabelled(data.y, ranking, ranked)
        differ = (after != data.y).reshape(len(data), -1).any(axis=1)
        moved = chosen[differ[chosen]]
        return Cleaned(
            replace(data, y=after),
            np.ones(len(data), dtype=bool),
            {**outputs("proposal", proposals), "relabelled": differ},
            {"relabelled_": _changes(data.y, after, ranking, moved)},
        )


def relabelled(y: np.ndarray, ranking: Ranking, rows: np.ndarray) -> np.ndarray:
    """Return targets in which some rows have the labels that they are ranked by.

    Of several labels the one is toggled whose change would gain most, if it gains.
    """
    assert ranking.labels is not None
    after = y.copy()
    if y.ndim == 1:
        after[rows] = np.unique(y)[ranking.labels[rows]]
        return after
    rows = rows[ranking.scores[rows] < 0]
    labels = ranking.labels[rows]
    after[rows, labels] = 1 - y[rows, labels]
    return after


def _changes(
    y: np.ndarray, after: np.ndarray, ranking: Ranking, rows: np.ndarray
) -> pd.DataFrame:
    """Return the changed labels as a table; of several, which one it was."""
    places: tuple[np.ndarray, ...] = (rows,)
    columns: dict[str, np.ndarray] = {"index": rows}
    if y.ndim > 1:
        assert ranking.labels is not None
        places = rows, ranking.labels[rows]
        columns["label"] = ranking.labels[rows]
    gains = -ranking.scores[rows]
    return pd.DataFrame(
        {**columns, "from": y[places], "to": after[places], "gain": gains}
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
