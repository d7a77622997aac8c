"""What parameters are: texts and digests by which those of two runs are compared."""

import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from joblib.hashing import NumpyHasher
from skorch.callbacks import Callback

from ...exceptions import SkinfluenceError

_SIMPLE = (type(None), bool, int, float, complex, str, torch.dtype, torch.device)
_FUNCTION_PARTS = ("__defaults__", "__kwdefaults__")
_CODE_PARTS = ("co_code", "co_consts", "co_names", "co_varnames", "co_flags")


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
        return str(_ValueHasher(coerce_mmap=True).hash(value))
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


class _ValueHasher(NumpyHasher):
    """Hashes by content what repr does not tell, or pickles by name alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Functions and classes, which may hold themselves.
        self._entered: set[int] = set()

    def save(self, obj: Any) -> None:
        if isinstance(obj, torch.Tensor):
            flat = obj.detach().cpu().reshape(-1).contiguous().view(torch.uint8)
            obj = (str(obj.dtype), obj.shape, obj.requires_grad, flat.numpy())
        elif type(obj) is frozenset:
            # joblib orders sets only, and code holds constants of this kind.
            obj = ("frozenset", set(obj))
        elif isinstance(obj, Callback):
            # What ends in _ it has found out in a run.
            own = {k: v for k, v in vars(obj).items() if not k.endswith("_")}
            obj = (type(obj), own)
        elif _is_definition(obj) and _is_local(obj):
            obj = self._definition(obj)
        elif isinstance(obj, types.CodeType):
            obj = _parts(obj, _CODE_PARTS)
        super().save(obj)

    def _definition(self, obj: Any) -> tuple[Any, ...]:
        """Return the parts of a function or class that has no name of its own."""
        if id(obj) in self._entered:
            return (obj.__qualname__,)
        self._entered.add(id(obj))
        if isinstance(obj, type):
            return obj.__qualname__, obj.__bases__, _body(obj)
        cells = [cell.cell_contents for cell in obj.__closure__ or ()]
        return _parts(obj, _FUNCTION_PARTS), obj.__code__, cells


def _parts(value: object, names: tuple[str, ...]) -> list[Any]:
    return [getattr(value, name) for name in names]


def _body(cls: type) -> Mapping[str, Any]:
    """Return what a class defines itself."""
    left_out = ("__dict__", "__weakref__", "__doc__", "__module__", "_abc_impl")
    return {
        name: _unbound(part) for name, part in vars(cls).items() if name not in left_out
    }


def _unbound(part: Any) -> Any:
    """Return the function in a method of a class."""
    if isinstance(part, (staticmethod, classmethod)):
        function: Callable[..., Any] = part.__func__
        return type(part), function
    if isinstance(part, property):
        return part.fget, part.fset, part.fdel
    return part
