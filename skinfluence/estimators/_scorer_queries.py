"""scikit-learn's scorers as queries of the exact methods."""

from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.metrics._scorer import _BaseScorer
from torch import Tensor

from ..queries import Metric
from ._labels import is_multilabel
from ._net import InfluenceNet


def is_scorer(query: object) -> bool:
    """Return whether a query is a scorer of scikit-learn, or the name of one."""
    if isinstance(query, str):
        return query in get_scorer_names()
    return isinstance(query, _BaseScorer)


def scorer_metric(net: InfluenceNet, query: Any) -> Metric:
    """Return minus the score of predictions."""
    scorer = get_scorer(query)
    name = query if isinstance(query, str) else repr(query)
    return Metric(name, "predictions", partial(_lost, net, scorer), None)


def _lost(net: InfluenceNet, scorer: Any, predictions: Tensor, y: Tensor) -> Tensor:
    found = predictions.cpu().numpy()
    targets = y.cpu().numpy()
    kind: type[_Answers] = _Classes if is_classifier(net) else _Numbers
    classes: Any
    if is_multilabel(net):
        # Two classes of each label: one list of two would be taken for one label's.
        kind, classes = _Indicators, [np.arange(2)] * targets.shape[1]
        targets = targets.astype(int)
    elif is_classifier(net):
        classes = np.asarray(net.classes_)
        targets = targets.reshape(len(targets)).astype(int)
        if net.encodes_labels_:
            targets = classes[targets]
        else:
            classes = np.arange(found.shape[1])
    else:
        classes = None
        found = found.reshape(targets.shape)
    score = scorer(kind(found, classes), np.zeros((len(found), 1)), targets)
    return torch.tensor(-float(score), dtype=torch.float64)


class _Answers(BaseEstimator):
    """What a scorer asks, answered from what was predicted."""

    def __init__(self, found: np.ndarray, classes: Any) -> None:
        self.found = found
        self.classes_ = classes

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _Classes(ClassifierMixin, _Answers):
    def predict_proba(self, X: object) -> np.ndarray:
        return self.found

    def predict(self, X: object) -> Any:
        assert self.classes_ is not None
        return self.classes_[self.found.argmax(axis=1)]


class _Indicators(_Classes):
    def predict(self, X: object) -> Any:
        return (self.found > 0.5).astype(int)


class _Numbers(RegressorMixin, _Answers):
    def predict(self, X: object) -> np.ndarray:
        return self.found
