"""Digests of contents, the same in every process: the keys of what is cached."""

import dis
import functools
import sys
import types
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from joblib.hashing import NumpyHasher
from sklearn.base import BaseEstimator

from ._version import __version__

_INSTALLED = {"site-packages", "dist-packages"}
_DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType)


def digest(*objects: object) -> str:
    """Return a hash of the contents and the version.

    A function or class counts with its code and all that it refers to, unless it
    belongs to an installed package, of which its name is enough.
    """
    return str(ContentHasher().hash((__version__, *objects)))


def check_cacheable(**parameters: object) -> None:
    """Refuse parameters of which :func:`digest` can make no key."""
    for name, value in parameters.items():
        try:
            digest(value)
        except Exception as error:  # objects may raise anything when they are pickled
            raise ValueError(
                f"`{name}` must have a stable key with `memory`, got {value!r}, of "
                f"which there is none ({error}). Let its functions and classes refer "
                "to nothing of the kind, or pass memory=None."
            ) from error


class ContentHasher(NumpyHasher):
    """Hashes by content what pickles by name, or differently each time."""

    def __init__(self) -> None:
        # A file that is mapped into memory counts like an array in it.
        super().__init__(coerce_mmap=True)
        # What refers to itself is met again, and held so that its id stays its own.
        self._met: dict[int, tuple[int, object]] = {}

    def save(self, obj: object) -> None:
        super().save(self.content(obj))

    def content(self, obj: Any) -> object:
        """Return what stands for an object."""
        if isinstance(obj, BaseEstimator) and not isinstance(obj, type):
            return type(obj), obj.get_params(deep=False), _start(obj)
        if isinstance(obj, torch.Tensor):
            flat = obj.detach().cpu().reshape(-1).contiguous().view(torch.uint8)
            return str(obj.dtype), obj.shape, obj.requires_grad, flat.numpy()
        if isinstance(obj, pd.Series):
            return pd.Series, str(obj.name), obj.to_frame(name="values")
        if isinstance(obj, pd.DataFrame):
            rows = pd.util.hash_pandas_object(obj).to_numpy()
            names, dtypes = obj.columns.tolist(), obj.dtypes.astype(str).tolist()
            return pd.DataFrame, names, dtypes, rows
        if isinstance(obj, frozenset):  # in order, as joblib does with a set
            return frozenset, set(obj)
        if isinstance(obj, types.ModuleType):
            return "module", obj.__name__
        # Of some no name leads to them, such as the type of None.
        if isinstance(obj, type) and obj.__module__ == "builtins":
            return "type", obj.__qualname__
        if isinstance(obj, (types.FunctionType, type)) and not _is_installed(obj):
            return self._once(obj)
        if isinstance(obj, functools._lru_cache_wrapper):
            return "lru_cache", obj.__wrapped__
        return obj

    def _once(self, obj: Any) -> object:
        if id(obj) in self._met:
            return "again", self._met[id(obj)][0]
        self._met[id(obj)] = len(self._met), obj
        return self._of(obj)

    def _of(self, obj: Any) -> object:
        return _of_class(obj) if isinstance(obj, type) else _of_function(obj)


def _start(estimator: BaseEstimator) -> list[tuple[str, torch.Tensor]] | None:
    """Return the pretrained weights, which are not among the parameters."""
    module = getattr(getattr(estimator, "pretrained", None), "module_", None)
    if not isinstance(module, torch.nn.Module):
        return None
    return list(module.state_dict().items())


def _is_installed(obj: Any) -> bool:
    """Return whether an installed package offers a function or class by its name."""
    root = (obj.__module__ or "").partition(".")[0]
    if not _is_package(root):
        return False
    found: Any = sys.modules.get(obj.__module__)
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is obj


def _is_package(root: str) -> bool:
    if root == "skinfluence" or root in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    return file is not None and not _INSTALLED.isdisjoint(Path(file).parts)


def _of_function(function: types.FunctionType) -> object:
    return (
        "function",
        function.__module__,
        function.__qualname__,
        _text(function.__code__),
        function.__defaults__,
        function.__kwdefaults__,
        vars(function),
        [_inside(cell) for cell in function.__closure__ or ()],
        _referred(function),
    )


def _inside(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return "nothing yet"


def _text(code: types.CodeType) -> str:
    """Return all of a function's code that counts: not its lines, nor its file."""
    constants = [
        _text(value)
        if isinstance(value, types.CodeType)
        else sorted(map(repr, value))  # their order differs from process to process
        if isinstance(value, frozenset)
        else repr(value)
        for value in code.co_consts
    ]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    flow = code.co_code, code.co_exceptiontable, code.co_flags
    return repr((constants, names, counts, flow))


def _referred(function: types.FunctionType) -> dict[str, object]:
    """Return what a function refers to by global names."""
    codes = list(_codes(function.__code__))
    names = {name for code in codes for name in code.co_names}
    referred: dict[str, object] = {}
    for instruction in (each for code in codes for each in dis.get_instructions(code)):
        name = instruction.argval
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            if name in function.__globals__:
                value = function.__globals__[name]
                referred[name] = _with_attributes(value, names, set())
        elif instruction.opname == "IMPORT_NAME":
            value = sys.modules.get(name)
            referred[f"import {name}"] = _with_attributes(value, names, set())
    return referred


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _codes(value)


def _with_attributes(value: object, names: Collection[str], met: set[str]) -> object:
    """Return a value, or of a module that is not installed what is named of it."""
    if not isinstance(value, types.ModuleType):
        return value
    if _is_package(value.__name__.partition(".")[0]) or value.__name__ in met:
        return value
    met.add(value.__name__)
    named = names & vars(value).keys()
    return value.__name__, {
        name: _with_attributes(vars(value)[name], names, met) for name in named
    }


def _of_class(cls: type) -> object:
    members = {
        name: _member(value)
        for name, value in vars(cls).items()
        if _counts(name, value) and not isinstance(value, _DESCRIPTORS)
    }
    return "class", cls.__module__, cls.__qualname__, type(cls), cls.__bases__, members


def _counts(name: str, value: object) -> bool:
    """Return whether an attribute was written, and not derived by Python."""
    if isinstance(value, (types.FunctionType, staticmethod, classmethod, property)):
        return True
    return name != "_abc_impl" and not (name.startswith("__") and name.endswith("__"))


def _member(value: Any) -> object:
    """Return the functions of a descriptor, which cannot be pickled."""
    if isinstance(value, property):
        return "property", value.fget, value.fset, value.fdel
    if isinstance(value, (staticmethod, classmethod)):
        return type(value).__name__, value.__func__
    if isinstance(value, functools.cached_property):
        return "cached_property", value.func
    return value
