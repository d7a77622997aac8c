"""Types that the displays and the report share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..estimators import At as At
from ..estimators import QueryLike as QueryLike
from ..estimators import RandomState as RandomState
from ..estimators import SGDInfluenceClassifier, SGDInfluenceRegressor

if TYPE_CHECKING:
    from matplotlib import axes

Estimator: TypeAlias = SGDInfluenceClassifier | SGDInfluenceRegressor
Names: TypeAlias = Sequence[str] | np.ndarray | None
# In quotes: matplotlib need not be installed.
Axes: TypeAlias = "axes.Axes"
ManyAxes: TypeAlias = "Sequence[Axes] | np.ndarray | None"
