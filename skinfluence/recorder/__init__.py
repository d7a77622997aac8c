"""Recording of a training loop of one's own, and the model that it trained."""

from .._names import set_public_module
from ._models import RecordedClassifier, RecordedRegressor
from ._recorder import Batch, Recorder

__all__ = ["Batch", "RecordedClassifier", "RecordedRegressor", "Recorder"]

set_public_module(globals())
