"""From what users pass as a scorer to a scorer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_outlier_detector

from ._autoencoder import Autoencoder
from ._confident_learning import ConfidentLearning
from ._cook import CookDistance
from ._data_oob import DataOOB
from ._data_shapley import DataShapley
from ._exact import ExactCounterfactual
from ._fisher_kernel import FisherKernel
from ._forgetting import Forgetting
from ._influence import SGDInfluence
from ._knn_shapley import KNNShapley
from ._koh_liang import KohLiang
from ._learned_weights import LearnedWeights
from ._loss import Loss
from ._margin import AreaUnderMargin, Margin
from ._mean_loss import MeanLoss
from ._outlier import Outlier
from ._random import Random
from ._tracin import SelfInfluence, TracIn

_NAMED: dict[str, type[BaseEstimator]] = {
    "area_under_margin": AreaUnderMargin,
    "autoencoder": Autoencoder,
    "confident_learning": ConfidentLearning,
    "cook_distance": CookDistance,
    "data_oob": DataOOB,
    "data_shapley": DataShapley,
    "exact": ExactCounterfactual,
    "fisher_kernel": FisherKernel,
    "forgetting": Forgetting,
    "influence": SGDInfluence,
    "knn_shapley": KNNShapley,
    "koh_liang": KohLiang,
    "learned_weights": LearnedWeights,
    "loss": Loss,
    "margin": Margin,
    "mean_loss": MeanLoss,
    "random": Random,
    "self_influence": SelfInfluence,
    "tracin": TracIn,
}


def get_scorer(scorer: Any, **options: Any) -> Callable[..., np.ndarray]:
    """Return the scorer that a name, an outlier detector or a callable stands for.

    Parameters
    ----------
    scorer : str, outlier detector or callable
        A name, such as ``"influence"``, ``"loss"`` or ``"random"`` (each scorer's page
        tells its own); a scikit-learn outlier detector; or a scorer already.
    **options : dict
        Parameters for a scorer that is named; those that it does not have are left out.

    Returns
    -------
    callable
        A :class:`Scorer`.

    Raises
    ------
    ValueError
        If no scorer has that name.
    TypeError
        If `scorer` is of another kind.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> from skinfluence.scorers import get_scorer
    >>> get_scorer("influence", at="path")
    SGDInfluence(at='path')
    >>> get_scorer(IsolationForest())
    Outlier(detector=IsolationForest())
    """
    if isinstance(scorer, str):
        if scorer not in _NAMED:
            raise ValueError(
                f"`scorer` must be one of {sorted(_NAMED)}, an outlier detector or a "
                f"callable, got {scorer!r}."
            )
        kind = _NAMED[scorer]
        known = kind().get_params()
        named: Any = kind(**{k: v for k, v in options.items() if k in known})
        return named
    if isinstance(scorer, type):
        raise TypeError(
            f"`scorer` must be an instance, got the class {scorer.__name__}: call it."
        )
    if _is_detector(scorer):
        return Outlier(scorer)
    if not callable(scorer):
        raise TypeError(
            f"`scorer` must be one of {sorted(_NAMED)}, an outlier detector or a "
            f"callable, got {scorer!r}."
        )
    return scorer


def named_scorers(scorers: Any) -> dict[str, Any]:
    """Return scorers under their names, as they were given.

    Parameters
    ----------
    scorers : sequence of scorers, or mapping of str to scorer
        What :func:`get_scorer` takes; a mapping gives them names of one's own.

    Returns
    -------
    dict of str to scorer
        Name -> scorer: its own name, that of its class, or of a function.

    Raises
    ------
    ValueError
        If there is none, or two have the same name.

    Examples
    --------
    >>> from skinfluence.scorers import Random, named_scorers
    >>> named_scorers(["loss", Random(random_state=0)])
    {'loss': 'loss', 'Random': Random(random_state=0)}
    """
    if isinstance(scorers, Mapping) and scorers:
        return dict(scorers)
    if isinstance(scorers, str) or not isinstance(scorers, Sequence) or not scorers:
        raise ValueError(
            "`scorers` must be a sequence of rankings, or a mapping of name to "
            f"ranking, got {scorers!r}."
        )
    names = [_name(scorer) for scorer in scorers]
    if len(set(names)) < len(names):
        raise ValueError(
            f"`scorers` must have names of their own, got {names}. Give a mapping of "
            "name to ranking."
        )
    return dict(zip(names, scorers, strict=True))


def _name(scorer: Any) -> str:
    if isinstance(scorer, str):
        return scorer
    return getattr(scorer, "__name__", type(scorer).__name__)


def _is_detector(scorer: Any) -> bool:
    if not hasattr(scorer, "fit"):
        return False
    return is_outlier_detector(scorer) or hasattr(scorer, "score_samples")
