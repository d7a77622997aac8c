"""What parameters are: texts and digests by which those of two runs are compared."""

import re
import types
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback

from ..._keys import ContentHasher
from ...exceptions import SkinfluenceError

_SIMPLE = (type(None), bool, int, float, complex, str, torch.dtype, torch.device)


class IncomparableError(SkinfluenceError):
    """A value cannot be compared with that of another run."""


def text_of(value: object) -> str:
    """Return a value as text, the same in every process."""
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def digest_of_value(value: object) -> str | None:
    """Return a digest of what a value holds; None if its text says all.

    Classes and functions at the top level of a module count by their names: their code
    may be mended before a run is resumed. Others, such as lambdas, count by their code.
    """
    if _is_told(value):
        return None
    try:
        return str(_ValueHasher().hash(value))
    except Exception as error:  # raised by the user's class, on purpose or not
        raise IncomparableError(f"{error!r:.200}") from error


def _is_told(value: object) -> bool:
    if isinstance(value, np.generic):
        return value.dtype.kind in "biufcSU"
    if type(value) in (list, tuple):
        return all(map(_is_told, value))  # type: ignore[call-overload]
    if type(value) is dict:
        return all(_is_told(k) and _is_told(v) for k, v in value.items())
    return type(value) in _SIMPLE or (_is_definition(value) and not _is_local(value))


def _is_definition(value: object) -> bool:
    kinds = (type, types.FunctionType, types.BuiltinFunctionType)
    return isinstance(value, kinds)


def _is_local(value: Any) -> bool:
    """Return whether a function or class is not found by its name."""
    return "<" in value.__qualname__


class _ValueHasher(ContentHasher):
    """Hashes named classes and functions by their names, and what a callback was given.

    An estimator counts with what it has learnt.
    """

    def content(self, obj: Any) -> object:
        if isinstance(obj, Callback):
            # What ends in _ it has found out in a run.
            own = {k: v for k, v in vars(obj).items() if not k.endswith("_")}
            return type(obj), own
        named = _is_definition(obj) and not _is_local(obj)
        if named or isinstance(obj, BaseEstimator):
            return obj
        return super().content(obj)
