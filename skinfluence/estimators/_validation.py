"""Validation of parameters and data, before any work."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import is_regressor
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_array, validate_data
from skorch.dataset import get_len
from skorch.net import NeuralNet
from skorch.utils import is_dataset
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from ..exceptions import UnsupportedModuleError
from ._modules import BUILT_IN
from ._net import DTYPES, InfluenceNet
from ._tables import check_no_dates, check_weights, on_cpu, plain_targets, table_dtype
from ._typing import MapDataset

_POSITIVE = Interval(Integral, 1, None, closed="left")

_CONSTRAINTS: dict[str, list[Any]] = {
    "module": [StrOptions(set(BUILT_IN)), type, nn.Module, callable],
    "criterion": [nn.Module, callable],
    "optimizer": [callable],
    "lr": [Interval(Real, 0, None, closed="left"), torch.Tensor],
    "max_epochs": [Interval(Integral, 0, None, closed="left")],
    "batch_size": [_POSITIVE, Options(Integral, {-1})],
    "accumulate_steps": [_POSITIVE],
    "shuffle": ["boolean"],
    "class_weight": [dict, StrOptions({"balanced"}), None],
    "dtype": [StrOptions({"auto", *DTYPES})],
    "random_state": ["random_state"],
    "record": [StrOptions({"all", "replay"}), _POSITIVE, None],
    "checkpoint_every": [StrOptions({"auto"}), _POSITIVE],
    "max_trajectory_bytes": [StrOptions({"auto"}), _POSITIVE],
    "trajectory_dir": [str, PathLike, None],
    "compile": ["boolean"],
    "train_split": [callable, None],
    "warm_start": ["boolean"],
    "freeze_pretrained": ["boolean"],
    "verbose": ["verbose"],
    "classes": ["array-like", None],
    "predict_nonlinearity": [StrOptions({"auto"}), callable, None],
    "iterator_train": [callable],
    "iterator_valid": [callable],
    "dataset": [callable],
}


def check_parameters(net: NeuralNet) -> None:
    """Check the values of the estimator's own parameters."""
    parameters = {k: v for k, v in vars(net).items() if k in _CONSTRAINTS}
    validate_parameter_constraints(_CONSTRAINTS, parameters, type(net).__name__)
    net._check_hooks()
    callbacks = net.callbacks
    if (
        callbacks is not None
        and callbacks != "disable"
        and not isinstance(callbacks, list)
    ):
        raise TypeError(
            "`callbacks` must be a list of skorch callbacks, 'disable' or None, got "
            f"{callbacks!r}."
        )
    options = net.get_params_for("compile")
    if options:
        raise ValueError(
            f"`compile__{next(iter(options))}` must not be given: it is for "
            "torch.compile, by which steps are not compiled. Use `compile` alone."
        )
    if net.record is not None and hasattr(net, "accelerator"):
        raise ValueError(
            "Accelerate changes how a step is computed, and it cannot be recorded. "
            "Use record=None to train without influence."
        )


def check_resume(net: NeuralNet, resume: bool, start: bool) -> None:
    """Refuse `resume` where there can be no run to resume."""
    if not isinstance(resume, (bool, np.bool_)):
        raise TypeError(f"`resume` must be True or False, got {resume!r}.")
    if not resume:
        return
    if net.trajectory_dir is None or net.record is None:
        raise ValueError(
            "`resume` needs a run that is recorded on disk, got trajectory_dir="
            f"{net.trajectory_dir!r} and record={net.record!r}. Set `trajectory_dir` "
            "to the folder of the run, and `record` as it was."
        )
    if not start:
        raise ValueError(
            "`resume` must be False where training continues from a fitted model "
            "(warm_start=True), got True."
        )


@contextmanager
def explained(demand: str) -> Iterator[None]:
    """Begin errors of checks that use other names with what is demanded here."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{demand}: {error}") from error


def is_multiple(X: object) -> bool:
    """Whether X is several inputs: a dict, or a list or tuple of arrays."""
    if isinstance(X, Mapping):
        # scipy's dictionary-of-keys matrices are mappings too.
        return not sparse.issparse(X)
    return (
        isinstance(X, (list, tuple))
        and len(X) > 0
        and all(isinstance(x, (np.ndarray, torch.Tensor)) and x.ndim > 1 for x in X)
    )


def is_opaque(X: object) -> bool:
    """Whether X is not made an array: a torch Dataset or several inputs."""
    return is_dataset(X) or is_multiple(X)


def check_inputs(net: NeuralNet, X: object) -> Any:
    """Return X for a fitted net, as an array; what is opaque is returned as it is."""
    if is_opaque(X):
        return _opaque(net, X)
    X = on_cpu(X)
    check_no_dates(X)
    array: np.ndarray = validate_data(net, X, reset=False, **_array_options(net, X))
    _check_shape(net, array)
    return array


def check_data(
    net: NeuralNet, X: Any, y: ArrayLike | None, *, reset: bool
) -> tuple[Any, Any]:
    """Return X and y, validated together; with `reset` their shape is learned."""
    y = plain_targets(y)
    if is_opaque(X):
        X = _opaque(net, X)
        if reset:
            for name in ("n_features_in_", "feature_names_in_", "input_shape_"):
                vars(net).pop(name, None)
        if y is None:
            return X, None
        targets: np.ndarray = check_array(
            y, ensure_2d=False, dtype=None, input_name="y"
        )
        if len(targets) != n_rows(X):
            raise ValueError(
                "X and y must have the same length, got "
                f"{n_rows(X)} and {len(targets)}."
            )
        return X, targets
    X = on_cpu(X)
    check_no_dates(X)
    X, y = validate_data(
        net,
        X,
        y,
        reset=reset,
        multi_output=is_regressor(net),
        y_numeric=is_regressor(net),
        **_array_options(net, X),
    )
    if reset:
        net.input_shape_ = X.shape[1:]
    _check_shape(net, X)
    return X, y


def _array_options(net: NeuralNet, X: object) -> dict[str, Any]:
    built_in = isinstance(net.module, str)
    own = table_dtype(X)
    # A user's module may take integers, such as an embedding's tokens; the net casts
    # floating-point batches to its module's dtype.
    dtype: Any = own or "numeric"
    if built_in and net.dtype != "auto":
        dtype = net.dtype
    elif built_in:
        dtype = own if own == np.float64 else [np.float32, np.float64]
    return {
        "accept_sparse": "csr",
        "dtype": dtype,
        "allow_nd": not built_in,
        "ensure_2d": built_in,
    }


def _opaque(net: NeuralNet, X: object) -> Any:
    """Return a Dataset, or several inputs as arrays; refuse what cannot be used."""
    if isinstance(net.module, str):
        raise ValueError(
            "X must be a 2-D array or CSR matrix for the built-in module "
            f"{net.module!r}, got {type(X).__name__}. Give your own nn.Module as "
            "`module` for a torch Dataset or for several inputs."
        )
    if isinstance(X, IterableDataset):
        raise ValueError(
            "X must be a Dataset with rows, got an IterableDataset, whose samples "
            "cannot be told apart by number. Use a map-style Dataset."
        )
    if isinstance(X, Mapping):
        X = {name: _as_array(values, name) for name, values in X.items()}
    if n_rows(X) == 0:
        raise ValueError("X must have at least one sample, got 0.")
    return X


def _as_array(values: Any, name: str) -> Any:
    """Return lists as an array, such as a tokenizer's; everything else as it is."""
    if not isinstance(values, list):
        return values
    with explained(f"X[{name!r}] must have rows of one length (padded)"):
        return np.asarray(values)


def _check_shape(net: NeuralNet, X: np.ndarray) -> None:
    expected = getattr(net, "input_shape_", X.shape[1:])
    if X.shape[1:] != expected:
        raise ValueError(
            f"X must have samples of shape {tuple(expected)} as in fit, got "
            f"{tuple(X.shape[1:])}."
        )


def n_rows(X: Any) -> int:
    """Return the number of samples."""
    return len(X) if is_dataset(X) else int(get_len(X))


def validation_data(
    net: InfluenceNet,
    X_val: object,
    y_val: ArrayLike | None,
    sample_weight_val: ArrayLike | None,
) -> tuple[MapDataset, np.ndarray | None]:
    """Return the validation data as a dataset, with its weights, checked."""
    if y_val is None and not isinstance(X_val, Dataset):
        raise ValueError("`y_val` must be given with X_val, got None.")
    with explained("`X_val` and `y_val` must be as X and y in fit"):
        X, y = check_data(net, X_val, y_val, reset=False)
    y = net._encode_targets(y, reset=False, name="y_val")
    weights = check_weights(sample_weight_val, n_rows(X), "sample_weight_val", "X_val")
    return net.get_dataset(X, y), weights


def check_real(net: InfluenceNet) -> None:
    """Refuse complex parameters: the steps of several optimizers have no derivative."""
    for name, parameter in net.module_.named_parameters():
        if parameter.is_complex() and parameter.requires_grad:
            raise UnsupportedModuleError(
                f"The trained parameters must be real, got {parameter.dtype} for "
                f"`{name}`. Make it of a last axis of two (torch.view_as_real), which "
                "the module turns into complex numbers (torch.view_as_complex), or use "
                "record=None to train without influence."
            )
