"""The classes and functions that a saved estimator may name without permission."""

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import import_module
from os import PathLike
from types import ModuleType
from typing import Any, TypeAlias

import scipy.sparse
import sklearn.metrics
import sklearn.model_selection
import skorch.callbacks
import skorch.dataset
import skorch.helper
import skorch.history
import skorch.setter
import skorch.utils
import torch
from sklearn.utils import all_estimators
from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.utils import data

from ..._names import with_current_modules
from ...exceptions import UntrustedTypeError
from .._array_dataset import ArrayDataset
from .._criteria import SmoothHinge
from .._epoch_table import EpochTable
from .._items import ItemsDataset
from .._modules import LinearModule, MLPModule
from .._training_data import TrainingData

# None of them reads or writes files when it is made, called or trained with.
_CALLBACKS = (
    "BatchScoring",
    "EarlyStopping",
    "EpochScoring",
    "EpochTimer",
    "Freezer",
    "GradientNormClipping",
    "Initializer",
    "InputShapeSetter",
    "LRScheduler",
    "ParamMapper",
    "PassthroughScoring",
    "PrintLog",
    "ProgressBar",
    "Unfreezer",
    "WarmRestartLR",
)
_DATA = (
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "RandomSampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
)
_ACTIVATIONS = (
    *(torch.relu, torch.sigmoid, torch.softmax, torch.tanh),
    *(functional.elu, functional.gelu, functional.relu, functional.silu),
    *(functional.log_softmax, functional.softmax),
)
# Plain values that skops can read, but does not trust by default.
_PLAIN = (
    "builtins.dict",
    "builtins.frozenset",
    "builtins.print",
    "builtins.range",
    "builtins.slice",
    "collections.OrderedDict",
    "collections.defaultdict",
    "collections.deque",
    "numpy.dtype",
    "torch.Size",
    "torch._C.Generator",
)

_SCORERS = (
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
)

# What a fitted cleaner is made of.
_ROOMS = ("cleaning", "scorers")
_DATA_OF_CLEANERS = (
    "skinfluence.cleaning.CleaningData",
    "skinfluence.cleaning.Validation",
    "skinfluence.estimators.ScoresOverRuns",
    "skinfluence.queries.CorrectedError",
    "skinfluence.queries.SampleMeasure",
)

# What a recorded model is made of.
_RECORDED = (
    "LabelledInputs",
    "RecordedClassifier",
    "RecordedRegressor",
    "next_token_losses",
    "token_losses",
)

# What its sparse matrices may unpack to: so many bytes, and so many times the file.
_SPARSE_ROOM, _SPARSE_RATIO = 64 << 20, 100

Trusted: TypeAlias = str | PathLike[str] | Callable[..., Any]
"""A class or function, its full name, or a path."""


def name_of(value: Any) -> str:
    """Return the name by which skops knows a class or function."""
    module = getattr(value, "__module__", None) or "torch"
    return f"{module}.{value.__name__}"


@cache
def _always_trusted() -> frozenset[str]:
    # By name, for they import this module.
    kinds = ("SGDInfluenceClassifier", "SGDInfluenceRegressor")
    estimators = {f"skinfluence.estimators.{kind}" for kind in kinds}
    estimators |= {f"skinfluence.recorder.{kind}" for kind in _RECORDED}
    own = {name_of(v) for room in _ROOMS for v in _offered(room)} | {*_DATA_OF_CLEANERS}
    wholes = (
        (ArrayDataset, ItemsDataset, TrainingData, EpochTable),
        (LinearModule, MLPModule, SmoothHinge),
        _ACTIVATIONS,
        _subclasses(nn, nn.Module),
        _subclasses(nn.modules.linear, nn.Module),
        _subclasses(torch.optim, torch.optim.Optimizer),
        _subclasses(lr_scheduler, lr_scheduler.LRScheduler),
        (getattr(data, name) for name in _DATA),
        (getattr(skorch.callbacks, name) for name in _CALLBACKS),
        (skorch.dataset.Dataset, skorch.dataset.ValidSplit, skorch.history.History),
        (getattr(skorch.helper, "_make_split", None),),  # of predefined_split
        (skorch.setter.optimizer_setter, skorch.utils.to_numpy, skorch.utils.noop),
        (skorch.utils.freeze_parameter, skorch.utils.unfreeze_parameter),
        (v for k, v in vars(skorch.utils).items() if k.startswith("_indexing_")),
        (getattr(sklearn.metrics, name) for name in sklearn.metrics.__all__),
        _splitters(),
        (estimator for _, estimator in all_estimators()),
        _subclasses(scipy.sparse, (scipy.sparse.sparray, scipy.sparse.spmatrix)),
    )
    named = {name_of(v) for whole in wholes for v in whole if hasattr(v, "__name__")}
    return frozenset({*estimators, *own, *named, *_PLAIN, *_SCORERS})


def _offered(room: str) -> list[type]:
    """Return the classes of a room, which is imported only now: it knows this one."""
    module = import_module(f"skinfluence.{room}")
    values = [getattr(module, name) for name in module.__all__]
    return [value for value in values if isinstance(value, type)]


def _subclasses(module: ModuleType, base: type | tuple[type, ...]) -> list[type]:
    values = vars(module).values()
    return [v for v in values if isinstance(v, type) and issubclass(v, base)]


def _splitters() -> list[type]:
    classes = _subclasses(sklearn.model_selection, object)
    return [v for v in classes if hasattr(v, "get_n_splits")]


def dump(values: Sequence[Any]) -> bytes:
    """Return values in the format of skops."""
    # skops imports all of scikit-learn.
    from skops.io import dumps

    return bytes(dumps(list(values)))


def load(written: bytes, trusted: Iterable[str]) -> list[Any]:
    """Return the values of :func:`dump`, if all that they name is trusted."""
    from skops.io import get_untrusted_types, loads

    _check_sizes(written)
    written = _with_current_names(written)
    named = get_untrusted_types(data=written)
    unknown = sorted({*named} - _always_trusted() - {*trusted})
    if unknown:
        raise UntrustedTypeError(
            "`trusted` must name all classes and functions that the estimator is made "
            f"of; it lacks {unknown}. Loading and using the estimator runs their code: "
            f"if you know them all, pass trusted={unknown}."
        )
    return list(loads(written, trusted=named))


def _check_sizes(written: bytes) -> None:
    """Refuse an archive that unpacks to far more than it takes.

    Nothing in it is compressed but sparse matrices, each an archive of its own.
    """
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        members = archive.infolist()
        plain = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not plain or sum(member.file_size for member in members) > len(written):
            raise ValueError("it unpacks to more than what it takes")
        matrices = [archive.read(m) for m in members if m.filename.endswith(".npz")]
    unpacked = 0
    for matrix in matrices:
        with zipfile.ZipFile(io.BytesIO(matrix)) as inner:
            unpacked += sum(member.file_size for member in inner.infolist())
    if unpacked > _SPARSE_ROOM + _SPARSE_RATIO * len(written):
        raise ValueError(f"its sparse matrices unpack to {unpacked} bytes")


def _with_current_names(written: bytes) -> bytes:
    """Return a skops file with the current names of the library's classes."""
    with zipfile.ZipFile(io.BytesIO(written)) as old:
        schema = json.loads(old.read("schema.json"))
        current = with_current_modules(schema)
        if current == schema:
            return written
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as new:
            for name in old.namelist():
                text = json.dumps(current) if name == "schema.json" else old.read(name)
                new.writestr(name, text)
    return buffer.getvalue()


def names_of(trusted: Iterable[Trusted] | None) -> list[str]:
    """Return the full names of classes and functions, and the paths, in a list."""
    values = [] if trusted is None else trusted
    several = isinstance(values, (list, tuple, set, frozenset))
    if not several or not all(map(_may_be_trusted, values)):
        raise TypeError(
            "`trusted` must be a list of classes, functions or their full names, or "
            f"paths, got {trusted!r:.200}."
        )
    return [
        os.fspath(value) if isinstance(value, (str, PathLike)) else name_of(value)
        for value in values
    ]


def _may_be_trusted(value: object) -> bool:
    if isinstance(value, (str, PathLike)):
        return bool(os.fspath(value))
    return callable(value) and hasattr(value, "__name__")


def loads_by_name(value: object) -> bool:
    """Whether a class or function can be loaded by its name."""
    from skops.io import dumps, get_untrusted_types, loads

    try:
        written = dumps(value)
        names = get_untrusted_types(data=written)
        return loads(written, trusted=names) is value
    except Exception:  # however skops fails, it cannot be loaded by name
        return False
