"""Objects decomposed into JSON, tensors, and leaves that skops writes."""

import copyreg
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Memory
from scipy import sparse
from skorch.callbacks import Callback, LRScheduler
from skorch.net import NeuralNet
from torch import Tensor, nn

from ...trajectory import tensors_to_bytes
from .._net import InfluenceNet
from .frames import FRAMES, decomposed
from .trusted import dump, loads_by_name

# The last: numpy functions that array classes may override.
_NAMED = (
    *(type, types.FunctionType, types.BuiltinFunctionType),
    *(np.ufunc, type(np.mean)),
)
_LEAVES = (np.ndarray, np.dtype, np.random.RandomState, np.random.Generator)

# skorch's nets pickle their modules into their state, and a Memory what it caches.
_ONLY_PICKLED = (NeuralNet, Memory, types.MethodType, types.ModuleType)

# Attributes that are made anew before each use, and cannot be saved.
_LEFT_OUT = ((LRScheduler, "lr_scheduler_"),)


class Packer:
    """Decomposes objects as pickle does, but runs no code to restore them.

    What :meth:`pack` returns consists of numbers, strings, None, lists and dicts, and
    of tuples whose first item names the kind of the value. It becomes JSON by
    :func:`~skinfluence.trajectory.to_json`.

    Attributes
    ----------
    objects : list
        For each object its class, constructor arguments and state.
    tensors : list of Tensor
        The tensors.
    kinds : list
        For each tensor whether it is a parameter, whether it requires a gradient, its
        device, and its strides if it is not contiguous.
    leaves : list
        Classes, functions, arrays and other values that skops writes.
    nets : list
        Estimators of this library, each to be saved in a folder of its own.
    """

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self.tensors: list[Tensor] = []
        self.kinds: list[Any] = []
        self.leaves: list[Any] = []
        self.nets: list[InfluenceNet] = []
        self._places: list[str] = []
        # By identity: a packed value is kept alive, so that its id stays unique.
        self._packed: dict[int, tuple[Any, Any]] = {}

    def pack(self, value: Any, place: str) -> Any:
        """Return a value, decomposed; `place` names it in errors."""
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is list:
            return self._items(value, place)
        if kind is tuple:
            return "tuple", *self._items(value, place)
        if kind is dict:
            return self._mapping(value, place)
        if kind is torch.dtype:
            return "dtype", str(value).removeprefix("torch.")
        if kind is torch.device:
            return "device", str(value)
        if kind is bytes:
            return "bytes", value.hex()
        if isinstance(value, Path):
            return "path", str(value)
        if isinstance(value, np.generic) and value.dtype.kind in "biufc":
            return "scalar", value.dtype.str, value.tobytes().hex()
        return self._once(value, place)

    def _items(self, values: Sequence[Any], place: str) -> list[Any]:
        return [self.pack(v, f"{place}[{k}]") for k, v in enumerate(values)]

    def _mapping(self, values: Mapping[Any, Any], place: str) -> dict[Any, Any]:
        return {
            self.pack(k, f"{place}'s key"): self.pack(
                v, f"{place}.{k}" if place else str(k)
            )
            for k, v in values.items()
        }

    def _once(self, value: object, place: str) -> Any:
        """Pack an object that may occur more than once, and stays one object."""
        if id(value) not in self._packed:
            pack = self._packing_of(value)
            if pack is Packer._object:
                # Its number first: it may hold itself.
                self._packed[id(value)] = ("object", len(self.objects)), value
                self.objects.append(None)
            self._packed[id(value)] = pack(self, value, place), value
        return self._packed[id(value)][0]

    @staticmethod
    def _packing_of(value: object) -> Callable[["Packer", Any, str], Any]:
        if isinstance(value, Tensor):
            return Packer._tensor
        if isinstance(value, _NAMED):
            return Packer._named
        if type(value) is partial:
            return Packer._partial
        if isinstance(value, types.MethodType) and isinstance(value.__self__, Callback):
            return Packer._method
        if isinstance(value, InfluenceNet):
            return Packer._net
        if isinstance(value, FRAMES):
            return Packer._frame
        plain = isinstance(value, (*_LEAVES, np.generic)) or sparse.issparse(value)
        if plain or (_is_sklearns(value) and not _holds_own(value, {})):
            return Packer._leaf
        return Packer._object

    def _net(self, value: InfluenceNet, place: str) -> Any:
        self.nets.append(value)
        return "net", len(self.nets) - 1

    def _frame(self, value: Any, place: str) -> Any:
        parts = decomposed(value)
        if parts is None:
            kind = getattr(value, "dtype", type(value).__name__)
            raise _refused(place, value, f"skops cannot write what is {kind}.")
        return "frame", parts[0], self._items(parts[1:], place)

    def _tensor(self, value: Tensor, place: str) -> Any:
        if type(value) not in (Tensor, nn.Parameter):
            raise _refused(place, value, "Only plain tensors and parameters can be.")
        try:
            tensors_to_bytes({"": value.flatten()[:0]})
        except Exception as error:  # safetensors has no error of its own for this
            why = f"safetensors cannot hold it ({error})"
            raise _refused(place, value, why) from error
        needs_grad = value.requires_grad and value.is_leaf
        strides = None if value.is_contiguous() else _dense_strides(value)
        self.tensors.append(value.detach())
        self.kinds.append(
            [isinstance(value, nn.Parameter), needs_grad, str(value.device), strides]
        )
        return "tensor", len(self.tensors) - 1

    def _named(self, value: object, place: str) -> Any:
        if not loads_by_name(value):
            raise _refused(
                place,
                value,
                "A class or function is loaded by its name: define it at the top level "
                "of a module.",
            )
        return self._leaf(value, place)

    def _leaf(self, value: object, place: str) -> Any:
        self.leaves.append(np.asarray(value) if isinstance(value, np.memmap) else value)
        self._places.append(place)
        return "leaf", len(self.leaves) - 1

    def written_leaves(self) -> bytes:
        """Return the leaves in the format of skops."""
        try:
            return dump(self.leaves)
        except Exception:
            # Find the one that fails.
            for value, place in zip(self.leaves, self._places, strict=True):
                try:
                    dump([value])
                except Exception as error:
                    raise _refused(
                        place, value, f"skops cannot write it ({error})"
                    ) from error
            raise

    def _partial(self, value: partial[Any], place: str) -> Any:
        return (
            "partial",
            self.pack(value.func, f"{place}.func"),
            self._items(value.args, f"{place}.args"),
            self._mapping(value.keywords, place),
        )

    def _method(self, value: types.MethodType, place: str) -> Any:
        # Some of skorch's callbacks hold bound methods of their own.
        return "method", self.pack(value.__self__, place), value.__name__

    def _object(self, value: object, place: str) -> Any:
        (_, number), _ = self._packed[id(value)]
        called, args, state, items, pairs = _reduced(value, place)
        self.objects[number] = [
            self.pack(type(value), place),
            called,
            self._items(args, place),
            self.pack(state, place),
            self._items(items, place),
            self._items(pairs, place),
        ]
        return "object", number


def _is_sklearns(value: object) -> bool:
    return type(value).__module__.startswith("sklearn.")


def _holds_own(value: Any, seen: dict[int, Any]) -> bool:
    """Return whether anything of this library is in one of scikit-learn's objects.

    skops would write it with what it holds, and knows nothing of nets.
    """
    if id(value) in seen:
        return False
    seen[id(value)] = value
    if isinstance(value, (list, tuple, set)):
        return any(_holds_own(each, seen) for each in value)
    if isinstance(value, dict):
        return any(_holds_own(each, seen) for each in value.values())
    if type(value).__module__.startswith("skinfluence."):
        return True
    return _is_sklearns(value) and _holds_own(getattr(value, "__dict__", {}), seen)


def _reduced(value: object, place: str) -> tuple[bool, Any, Any, list[Any], list[Any]]:
    """Return whether to make an object by a call, the arguments, and its content."""
    if isinstance(value, _ONLY_PICKLED):
        raise _refused(place, value, "It would have to be pickled.")
    try:
        reduced: Any = value.__reduce_ex__(2)
    except Exception as error:  # raised by the user's class, on purpose or not
        raise _refused(place, value, str(error)) from error
    made_by = None if isinstance(reduced, str) else reduced[0]
    called = made_by is type(value)
    if not called and made_by is not copyreg.__newobj__:  # type: ignore[attr-defined]
        raise _refused(place, value, "It would have to be pickled.")
    args = reduced[1] if called else reduced[1][1:]
    state, items, pairs = (*reduced[2:5], None, None, None)[:3]
    left_out = [n for cls, n in _LEFT_OUT if isinstance(value, cls)]
    if left_out:
        state = {name: part for name, part in state.items() if name not in left_out}
    return called, args, state, list(items or ()), list(pairs or ())


def _dense_strides(value: Tensor) -> list[int] | None:
    """Return the strides, if they leave no gaps; an expanded tensor is copied."""
    axes = sorted(zip(value.stride(), value.shape, strict=True))
    size = 1
    for stride, length in axes:
        if length != 1 and stride != size:
            return None
        size *= length
    return list(value.stride())


def _refused(place: str, value: object, why: str) -> TypeError:
    return TypeError(
        f"`{place}` must be something that can be saved without pickle, got "
        f"{value!r:.200} ({type(value).__qualname__}). {why}"
    )
