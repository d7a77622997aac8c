"""Scorers: rankings of the training samples, from the most harmful to the most useful.

A scorer is any callable ``scorer(estimator, X, y, X_val, y_val)`` that returns one
number for each training sample: **the lower, the sooner the sample is removed**.
"""

from ._cook import CookDistance
from ._exact import ExactCounterfactual
from ._fisher_kernel import FisherKernel
from ._influence import SGDInfluence
from ._koh_liang import KohLiang
from ._learned_weights import LearnedWeights
from ._loss import Loss
from ._outlier import Outlier
from ._protocol import Scorer
from ._random import Random
from ._resolve import get_scorer
from ._tracin import SelfInfluence, TracIn

__all__ = [
    "CookDistance",
    "ExactCounterfactual",
    "FisherKernel",
    "KohLiang",
    "LearnedWeights",
    "Loss",
    "Outlier",
    "Random",
    "SGDInfluence",
    "Scorer",
    "SelfInfluence",
    "TracIn",
    "get_scorer",
]
