"""From what users pass as a scorer to a scorer."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_outlier_detector

from ._autoencoder import Autoencoder
from ._confident_learning import ConfidentLearning
from ._data_oob import DataOOB
from ._data_shapley import DataShapley
from ._forgetting import Forgetting
from ._influence import SGDInfluence
from ._knn_shapley import KNNShapley
from ._loss import Loss
from ._margin import AreaUnderMargin, Margin
from ._mean_loss import MeanLoss
from ._outlier import Outlier
from ._random import Random

_NAMED: dict[str, type[BaseEstimator]] = {
    "area_under_margin": AreaUnderMargin,
    "forgetting": Forgetting,
    "autoencoder": Autoencoder,
    "knn_shapley": KNNShapley,
    "confident_learning": ConfidentLearning,
    "data_oob": DataOOB,
    "data_shapley": DataShapley,
    "influence": SGDInfluence,
    "loss": Loss,
    "margin": Margin,
    "mean_loss": MeanLoss,
    "random": Random,
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


def _is_detector(scorer: Any) -> bool:
    if not hasattr(scorer, "fit"):
        return False
    return is_outlier_detector(scorer) or hasattr(scorer, "score_samples")
