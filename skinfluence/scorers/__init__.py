"""Scorers rank the training samples from the most harmful to the most useful.

A scorer is any callable ``scorer(estimator, X, y, X_val, y_val)`` that returns one
number for each training sample: **the lower, the sooner the sample is removed**.
"""

from .._names import set_public_module
from ._autoencoder import Autoencoder
from ._beta_shapley import BetaShapley
from ._checks import check_scores as check_scores
from ._confident_learning import ConfidentLearning
from ._cook import CookDistance
from ._data_banzhaf import DataBanzhaf
from ._data_oob import DataOOB
from ._data_shapley import DataShapley
from ._descent import Descent as Descent
from ._descent import Step as Step
from ._descent import judging as judging
from ._descent import lowered as lowered
from ._descent import weight_slopes as weight_slopes
from ._dvemb import DVEmb
from ._early_epochs import EL2N, GraNd
from ._edited_neighbours import EditedNeighbours
from ._ekfac import EKFAC
from ._exact import ExactCounterfactual
from ._fisher_kernel import FisherKernel
from ._forgetting import Forgetting
from ._influence import SGDInfluence
from ._knn_shapley import KNNShapley
from ._koh_liang import KohLiang
from ._learned_weights import LearnedWeights
from ._loss import Loss
from ._margin import AreaUnderMargin, Margin, ProbabilityMargin
from ._mean_loss import MeanLoss
from ._mean_rank import MeanRank
from ._outlier import Outlier
from ._protocol import Scorer
from ._random import Random
from ._refits import unrecorded as unrecorded
from ._relatif import RelatIF
from ._resolve import get_scorer, named_scorers
from ._source import SOURCE
from ._tracin import SelfInfluence, TracIn

__all__ = [
    "EKFAC",
    "EL2N",
    "SOURCE",
    "AreaUnderMargin",
    "Autoencoder",
    "BetaShapley",
    "ConfidentLearning",
    "CookDistance",
    "DVEmb",
    "DataBanzhaf",
    "DataOOB",
    "DataShapley",
    "EditedNeighbours",
    "ExactCounterfactual",
    "FisherKernel",
    "Forgetting",
    "GraNd",
    "KNNShapley",
    "KohLiang",
    "LearnedWeights",
    "Loss",
    "Margin",
    "MeanLoss",
    "MeanRank",
    "Outlier",
    "ProbabilityMargin",
    "Random",
    "RelatIF",
    "SGDInfluence",
    "Scorer",
    "SelfInfluence",
    "TracIn",
    "get_scorer",
    "named_scorers",
]

set_public_module(globals())
