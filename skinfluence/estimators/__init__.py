"""The estimators: skorch nets that record their training and answer `influence`."""

from ._classifier import SGDInfluenceClassifier
from ._data import ArrayDataset
from ._modules import LinearModule, MLPModule
from ._recorded import epoch_models
from ._regressor import SGDInfluenceRegressor
from ._reliability import InfluenceCheck
from ._representation import represent

__all__ = [
    "ArrayDataset",
    "InfluenceCheck",
    "LinearModule",
    "MLPModule",
    "SGDInfluenceClassifier",
    "SGDInfluenceRegressor",
    "epoch_models",
    "represent",
]
