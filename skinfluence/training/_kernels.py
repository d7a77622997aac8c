"""Kernels that can be differentiated twice, in place of faster ones that cannot."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ContextDecorator
from typing import Any, TypeVar

from torch import nn
from torch.backends import cuda, cudnn, mha

T = TypeVar("T")

_Switch = tuple[Callable[[], bool], Callable[[bool], Any], bool]
"""What a setting is, what sets it, and what it must be."""

_ATTENTION: list[_Switch] = [
    (cuda.flash_sdp_enabled, cuda.enable_flash_sdp, False),
    (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, False),
    (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, False),
    (cuda.math_sdp_enabled, cuda.enable_math_sdp, True),
    # What nn.TransformerEncoder computes with in evaluation mode.
    (mha.get_fastpath_enabled, mha.set_fastpath_enabled, False),
]


_CUDNN: _Switch = (
    lambda: bool(cudnn.enabled),
    lambda enabled: setattr(cudnn, "enabled", enabled),
    False,
)


class Kernels(ContextDecorator):
    """Has torch choose kernels inside the block, and as before after it.

    The settings are the process's: they last while any thread is in such a block.

    Parameters
    ----------
    switches : sequence of tuples
        The settings, which no other instance has.
    others : sequence of Kernels
        Whose settings are to be made too.
    """

    def __init__(
        self, switches: Sequence[_Switch], others: Sequence["Kernels"] = ()
    ) -> None:
        self._switches = switches
        self._others = others
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[bool] = []

    def __enter__(self) -> None:
        for other in self._others:
            other.__enter__()
        with self._lock:
            if self._inside == 0:
                self._before = [get() for get, _, _ in self._switches]
                for _, set_to, demanded in self._switches:
                    set_to(demanded)
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for (_, set_to, _), before in zip(
                    self._switches, self._before, strict=True
                ):
                    set_to(before)
        for other in self._others:
            other.__exit__()

    def around(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, inside the block: each need not choose the kernels anew."""
        with self:
            yield from items


_FOR_ATTENTION = Kernels(_ATTENTION)
_FOR_RECURRENT = Kernels([_CUDNN], [_FOR_ATTENTION])


def twice_differentiable(modules: Iterable[nn.Module]) -> Kernels:
    """Return a context for kernels that torch can differentiate twice.

    Fused attention cannot be, nor can cuDNN's recurrent networks. Both have other
    kernels, which round otherwise: a run and its repetition must use the same.

    Parameters
    ----------
    modules : iterable of torch.nn.Module
        The modules that are run.

    Returns
    -------
    Kernels
        A context manager, or decorator, that may be used any number of times.
    """
    parts = (part for module in modules for part in module.modules())
    recurrent = any(isinstance(part, nn.RNNBase) for part in parts)
    return _FOR_RECURRENT if recurrent else _FOR_ATTENTION
