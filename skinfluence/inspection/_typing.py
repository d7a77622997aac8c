"""Types that the displays and the report share."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from torch import Tensor

from ..estimators import SGDInfluenceClassifier, SGDInfluenceRegressor

if TYPE_CHECKING:
    from matplotlib import axes

Estimator: TypeAlias = SGDInfluenceClassifier | SGDInfluenceRegressor
At: TypeAlias = str | Sequence[int] | Mapping[int, float]
Query: TypeAlias = str | Callable[[Any, Any], Tensor]
Names: TypeAlias = Sequence[str] | np.ndarray | None
RandomState: TypeAlias = int | np.random.RandomState | None
# In quotes: matplotlib need not be installed.
Axes: TypeAlias = "axes.Axes"
ManyAxes: TypeAlias = "Sequence[Axes] | np.ndarray | None"
