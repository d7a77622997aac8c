"""The estimators: skorch nets that record their training and answer `influence`."""

from ._classifier import SGDInfluenceClassifier
from ._data import ArrayDataset
from ._modules import LinearModule, MLPModule
from ._regressor import SGDInfluenceRegressor

__all__ = [
    "ArrayDataset",
    "LinearModule",
    "MLPModule",
    "SGDInfluenceClassifier",
    "SGDInfluenceRegressor",
]
