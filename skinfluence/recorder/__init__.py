"""Recording of a training loop of one's own, and the model that it trained."""

from .._names import set_public_module
from ._models import RecordedClassifier, RecordedRegressor
from ._recorder import Batch, Recorder
from ._trainer import LabelledInputs as LabelledInputs
from ._trainer import TrainerRecorder, next_token_losses, token_losses

__all__ = [
    "Batch",
    "RecordedClassifier",
    "RecordedRegressor",
    "Recorder",
    "TrainerRecorder",
    "next_token_losses",
    "token_losses",
]

set_public_module(globals(), "LabelledInputs")
