"""Functions of modules as functions of the modules' parameters and buffers."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call


class _Caller(nn.Module):
    """Lets ``functional_call`` reach every parameter that a function depends on."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


class Functional:
    """Calls functions of the modules at given parameters and buffers.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        What the functions depend on.
    parameters : sequence of Tensor
        Those of the modules' parameters that are given at each call; the others keep
        their values.
    """

    def __init__(
        self, modules: Sequence[nn.Module], parameters: Sequence[Tensor]
    ) -> None:
        self._caller = _Caller(modules)
        named = dict(self._caller.named_parameters())
        names: dict[Tensor, str] = {value: name for name, value in named.items()}
        self._names = [names[parameter] for parameter in parameters]
        buffers = dict(self._caller.named_buffers())
        self._buffer_names, self.buffers = list(buffers), list(buffers.values())
        self.fixed = {k: p.detach() for k, p in named.items() if k not in self._names}

    def __call__(
        self,
        parameters: Sequence[Tensor],
        buffers: Sequence[Tensor],
        function: Callable[..., Any],
        *arguments: Any,
        **fixed: Tensor,
    ) -> Any:
        """Return ``function(*arguments)``; `fixed` may replace the other parameters."""
        named = dict(zip(self._names, parameters, strict=True))
        named |= zip(self._buffer_names, buffers, strict=True)
        return functional_call(self._caller, {**named, **fixed}, (function, *arguments))
