"""The files and folders that a loaded estimator would use when it is fitted."""

import gc
import os
from collections.abc import Iterator, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from ...exceptions import UntrustedTypeError

# Parameters of cleaners, scorers, and scikit-learn's estimators, whose cache holds
# pickles. Nothing is read from a `trajectory_dir` that the caller of `fit` did not ask
# for.
_NAMES = frozenset({"memory", "decisions"})

# They are named in the file and not part of it, or hold no parameters.
_ENDS = (
    *(type, ModuleType, FunctionType, BuiltinFunctionType, np.ufunc),
    *(str, bytes, int, float, complex, Tensor, np.generic),
)


def check_paths(estimator: object, trusted: Sequence[str]) -> None:
    """Refuse an estimator that would use a file or folder that nobody trusts."""
    unknown = sorted({*_paths_in(estimator)} - {*trusted})
    if unknown:
        raise UntrustedTypeError(
            "`trusted` must name the files and folders that the estimator uses when "
            f"it is fitted (its parameters memory and decisions); it lacks {unknown}. "
            "They decide which samples are removed, and a cache of scikit-learn's "
            f"holds pickles: if nobody else can write them, add {unknown} to "
            "`trusted`."
        )


def _paths_in(root: object) -> Iterator[str]:
    """Yield the paths among the parameters of all objects that one is made of."""
    # A forged file may hide an estimator in any object.
    seen: dict[int, object] = {}
    left = [root]
    while left:
        value = left.pop()
        if id(value) in seen or isinstance(value, _ENDS):
            continue
        seen[id(value)] = value
        named = value if isinstance(value, dict) else _attributes(value)
        for name, content in named.items():
            # Of an inner estimator, in the grid of a search: "clean__memory".
            if isinstance(name, str) and name.rpartition("__")[2] in _NAMES:
                yield from _texts(content)
        left += _held(value)


def _attributes(value: object) -> dict[Any, Any]:
    attributes = getattr(value, "__dict__", {})
    return attributes if isinstance(attributes, dict) else {}


def _held(value: object) -> list[Any]:
    if not isinstance(value, np.ndarray):
        return gc.get_referents(value)
    return list(value.flat) if value.dtype.hasobject else []


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, (str, os.PathLike)):
        yield str(os.fspath(value))
    elif isinstance(value, (list, tuple, np.ndarray)):
        for each in value:
            yield from _texts(each)
