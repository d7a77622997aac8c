"""A training step: its state, its objective, its update, its adjoint."""

from .._names import set_public_module
from ._clipping import Clipping, observe_clipping
from ._compiler import CompiledFunctions
from ._derivatives import clear_gradients, descend, differentiating
from ._devices import check_device, own_memory
from ._first_derivative import check_first_derivative
from ._flat import PARAMETERS, Address, FlatLayout, LiveState, State, same_values
from ._functional import Functional
from ._gradient import CompiledGradient
from ._graph import passes_narrower
from ._handover import Handover
from ._input_derivative import check_input_derivative
from ._joined import JoiningStep
from ._kernels import twice_differentiable
from ._kinks import SmoothedKinks
from ._later_steps import check_later_steps
from ._objective import Batch, Objective, batch_coefficients
from ._precision import in_precision, widen, working_dtype
from ._randomness import (
    all_generators,
    all_seeded,
    derive_seed,
    derive_seeds,
    other_generators,
    seed_anew,
    seed_others,
    seeded,
)
from ._ranks import Ranks
from ._record import Hyperparameters, MicroBatch, StepRecord, parameters_digest
from ._retaken import Adjoint, Around, Deviation, Linearized, Retaken, RetakenTogether
from ._rounding import close, rounding_tolerance, same_loss
from ._second_derivative import check_second_derivative, few
from ._step import LeafLosses, TrainingStep
from ._stops import may_stop
from ._tangents import TangentStep
from ._update import (
    SUPPORTED_OPTIMIZERS,
    UpdateRule,
    moment_names,
    pull_back,
    state_nbytes,
)

__all__ = [
    "PARAMETERS",
    "SUPPORTED_OPTIMIZERS",
    "Address",
    "Adjoint",
    "Around",
    "Batch",
    "Clipping",
    "CompiledFunctions",
    "CompiledGradient",
    "Deviation",
    "FlatLayout",
    "Functional",
    "Handover",
    "Hyperparameters",
    "JoiningStep",
    "LeafLosses",
    "Linearized",
    "LiveState",
    "MicroBatch",
    "Objective",
    "Ranks",
    "Retaken",
    "RetakenTogether",
    "SmoothedKinks",
    "State",
    "StepRecord",
    "TangentStep",
    "TrainingStep",
    "UpdateRule",
    "all_generators",
    "all_seeded",
    "batch_coefficients",
    "check_device",
    "check_first_derivative",
    "check_input_derivative",
    "check_later_steps",
    "check_second_derivative",
    "clear_gradients",
    "close",
    "derive_seed",
    "derive_seeds",
    "descend",
    "differentiating",
    "few",
    "in_precision",
    "may_stop",
    "moment_names",
    "observe_clipping",
    "other_generators",
    "own_memory",
    "parameters_digest",
    "passes_narrower",
    "pull_back",
    "rounding_tolerance",
    "same_loss",
    "same_values",
    "seed_anew",
    "seed_others",
    "seeded",
    "state_nbytes",
    "twice_differentiable",
    "widen",
    "working_dtype",
]

set_public_module(globals())
