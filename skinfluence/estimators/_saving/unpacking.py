"""Objects restored from JSON, tensors, and leaves that skops has loaded."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.net import NeuralNet
from torch import Tensor, nn

from .frames import recomposed

_CPU = torch.device("cpu")


class Unpacker:
    """Restores what a :class:`~.packing.Packer` has decomposed.

    Parameters
    ----------
    objects, kinds : list
        As in the packer.
    tensors : list of Tensor
        The tensors, on the CPU.
    leaves : list
        The values that skops has loaded, all trusted.
    device : torch.device
        Where to put tensors that were not on the CPU.
    nets : list of InfluenceNet
        The estimators in folders of their own.
    """

    def __init__(
        self,
        objects: list[Any],
        kinds: list[Any],
        tensors: list[Tensor],
        leaves: list[Any],
        device: torch.device,
        nets: list[Any],
    ) -> None:
        self._objects = objects
        self._kinds = kinds
        self._tensors = tensors
        self._leaves = leaves
        self._device = device
        self._made: dict[tuple[str, int], Any] = {}
        self._makers: dict[str, Callable[..., Any]] = {
            "tuple": lambda *items: tuple(map(self.unpack, items)),
            "dtype": _dtype,
            "device": self._placed,
            "bytes": bytes.fromhex,
            "path": Path,
            "scalar": lambda kind, text: np.frombuffer(bytes.fromhex(text), kind)[0],
            "partial": self._partial,
            "method": self._method,
            "leaf": self._leaves.__getitem__,
            "net": nets.__getitem__,
            "frame": lambda kind, parts: recomposed(kind, *self.unpack(parts)),
            "tensor": partial(self._once, "tensor", self._tensor),
            "object": partial(self._once, "object", self._object),
        }

    def unpack(self, value: object) -> Any:
        """Return the value that :meth:`~.packing.Packer.pack` has decomposed."""
        if isinstance(value, list):
            return [self.unpack(item) for item in value]
        if isinstance(value, dict):
            return {self.unpack(k): self.unpack(v) for k, v in value.items()}
        if isinstance(value, tuple):
            return self._makers[value[0]](*value[1:])
        return value

    def _once(self, kind: str, make: Callable[[int], Any], number: int) -> Any:
        if (kind, number) not in self._made:
            self._made[kind, number] = make(number)
        return self._made[kind, number]

    def _placed(self, device: str) -> torch.device:
        # Of another device than torch has here only the name is known.
        return _CPU if device.partition(":")[0] == "cpu" else self._device

    def _tensor(self, number: int) -> Tensor:
        is_parameter, needs_grad, device, strides = self._kinds[number]
        tensor = self._tensors[number]
        if strides is not None:
            reach = sum((n - 1) * s for n, s in zip(tensor.shape, strides, strict=True))
            if tensor.numel() and reach + 1 != tensor.numel():
                raise ValueError(f"the strides {strides!r:.80} leave gaps")
            strided = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype)
            tensor = strided.copy_(tensor)
        tensor = tensor.to(self._placed(device))
        if is_parameter:
            return nn.Parameter(tensor, needs_grad)
        return tensor.requires_grad_(needs_grad)

    def _partial(
        self, func: object, args: list[Any], keywords: dict[Any, Any]
    ) -> partial[Any]:
        return partial(self.unpack(func), *self.unpack(args), **self.unpack(keywords))

    def _method(self, owner: object, name: str) -> MethodType:
        made = self.unpack(owner)
        method = getattr(made, name) if isinstance(made, Callback) else None
        if not isinstance(method, MethodType) or method.__self__ is not made:
            raise TypeError(f"{name!r} is no method of a callback")
        return method

    def _object(self, number: int) -> Any:
        leaf, called, args, state, items, pairs = self._objects[number]
        cls, args = self.unpack(leaf), self.unpack(args)
        # A net would unpickle its state.
        if not isinstance(cls, type) or issubclass(cls, NeuralNet):
            raise TypeError(f"{cls!r} is no class that can be made")
        # Torch's own are filled with what was saved; a call could ask for any size.
        torchs = issubclass(cls, nn.Module) and cls.__module__.startswith("torch.")
        if called and torchs:
            raise TypeError(f"{cls!r} is never made by a call")
        made = cls(*args) if called else cls.__new__(cls, *args)
        self._made["object", number] = made
        _set_state(made, self.unpack(state))
        for item in items:
            made.append(self.unpack(item))
        for pair in pairs:
            key, content = self.unpack(pair)
            made[key] = content
        return made


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"torch.{name} is no dtype")
    return dtype


def _set_state(made: Any, state: Any) -> None:
    """Give an object its state, as pickle does."""
    if state is None:
        return
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) else (state, {})
    vars(made).update(attributes or {})
    for name, content in slots.items():
        setattr(made, name, content)
