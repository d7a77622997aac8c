"""Taking the labels of the chosen samples away, for semi-supervised learning."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.semi_supervised._label_propagation import BaseLabelPropagation
from sklearn.utils.metadata_routing import process_routing

from ._data import CleaningData
from ._ranking import Ranking
from ._removal import Cleaned, Removal, check_full_refit

UNLABELLED = -1
"""The label of samples without one, in scikit-learn."""


class Unlabelling(Removal):
    """Takes away the labels, and keeps the samples for semi-supervised learning."""

    resamples = False

    def final(self, estimator: Any) -> Any:
        """Return self-training around the estimator, after a pipeline's other steps."""
        if not isinstance(estimator, Pipeline):
            return SelfTrainingClassifier(estimator)
        # Self-training takes numbers only, and the steps may take texts.
        pipeline = copy(estimator)
        *steps, (name, last) = estimator.steps
        pipeline.steps = [*steps, (name, self.final(last))]
        return pipeline

    def check(self, cleaner: Any) -> None:
        """Refuse parameters that are incompatible with the action."""
        if not is_classifier(cleaner._estimator()):
            raise TypeError(
                "`estimator` must be a classifier for action='unlabel', got "
                f"{type(cleaner._estimator()).__name__}. Use action='remove'."
            )
        final = _last_step(cleaner._final())
        if not isinstance(final, (SelfTrainingClassifier, BaseLabelPropagation)):
            raise TypeError(
                "`final_estimator` must learn from samples without a label (-1) with "
                f"action='unlabel', got {type(final).__name__}. Use a classifier of "
                "sklearn.semi_supervised, such as SelfTrainingClassifier, or None."
            )
        if not hasattr(final, "predict_proba"):
            raise TypeError(
                "`final_estimator` must train itself by the probabilities of classes "
                f"with action='unlabel', but {type(final.estimator).__name__} has no "
                "`predict_proba`. Use a SelfTrainingClassifier around another one."
            )
        check_full_refit(cleaner)

    def check_data(self, cleaner: Any, data: CleaningData) -> None:
        """Refuse labels beside which -1 cannot stand for none, and weights."""
        y = data.y
        if y.ndim > 1:
            raise ValueError(
                "`y` must hold one label for each sample with action='unlabel', got an "
                "indicator matrix of several."
            )
        if np.any(y == UNLABELLED):
            raise ValueError(
                "`y` must not have the label -1 with action='unlabel': in scikit-learn "
                "it stands for none. Encode it as another number."
            )
        if y.dtype.kind == "b" or np.any(y != _with_none(y)):
            raise ValueError(
                "`y` must be such that -1 can stand beside its labels for none with "
                f"action='unlabel', got dtype {y.dtype}. Convert it to int64."
            )
        final = _last_step(cleaner._final())
        trains_itself = isinstance(final, SelfTrainingClassifier)
        if not trains_itself and _with_none(y).dtype.kind == "O":
            raise ValueError(
                "`y` must hold numbers with action='unlabel' and the final estimator "
                f"{type(final).__name__}, got text. Encode it, or use a "
                "SelfTrainingClassifier."
            )
        if trains_itself and _fit_params(cleaner._final(), data.final_params):
            raise ValueError(
                "`final_estimator` must not request fit parameters with "
                "action='unlabel': self-training passes the weights of all samples to "
                "fits on those with a label. Give a SelfTrainingClassifier around an "
                "estimator with set_fit_request(sample_weight=False)."
            )

    def act(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> Cleaned:
        """Return the data without the labels of the samples."""
        y = _with_none(data.y)
        y[chosen] = UNLABELLED
        unlabelled = np.isin(np.arange(len(data)), chosen)
        return Cleaned(
            replace(data, y=y),
            np.ones(len(data), dtype=bool),
            {"unlabelled": unlabelled},
            {"unlabelled_indices_": chosen},
        )


def _with_none(y: np.ndarray) -> np.ndarray:
    """Return a copy of labels that can hold -1: text becomes objects."""
    if y.dtype.kind in "if":
        return y.copy()
    return y.astype(np.int64 if y.dtype.kind == "u" else object)


def _last_step(estimator: Any) -> Any:
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def _fit_params(final: Any, params: Mapping[str, Any]) -> Any:
    """Return what self-training, a pipeline's last step, passes to its estimator."""
    if not get_config()["enable_metadata_routing"]:
        return {}  # it takes nothing then
    routed = process_routing(final, "fit", **params)
    if isinstance(final, Pipeline):
        name, last = final.steps[-1]
        return _fit_params(last, routed[name].fit)
    return routed.estimator.fit
