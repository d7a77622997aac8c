"""Functions of modules as functions of the modules' parameters and buffers."""

from collections.abc import Callable, Iterator, Sequence
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
        parameter_names = _names(self._caller, nn.Module.named_parameters)
        buffer_names = _names(self._caller, nn.Module.named_buffers)
        # A value goes by the first of its names, and is put in all of its places.
        self._places = {
            names[0]: names
            for names in (*parameter_names.values(), *buffer_names.values())
        }
        self._names = [parameter_names[parameter][0] for parameter in parameters]
        self._buffer_names = [names[0] for names in buffer_names.values()]
        self.buffers = list(buffer_names)
        self.fixed = {
            names[0]: parameter.detach()
            for parameter, names in parameter_names.items()
            if names[0] not in self._names
        }

    def __call__(
        self,
        parameters: Sequence[Tensor],
        buffers: Sequence[Tensor],
        function: Callable[..., Any],
        *arguments: Any,
        **fixed: Tensor,
    ) -> Any:
        """Return ``function(*arguments)``; `fixed` may replace the other parameters."""
        values = dict(zip(self._names, parameters, strict=True))
        values |= zip(self._buffer_names, buffers, strict=True)
        named = {
            place: value
            for name, value in {**values, **fixed}.items()
            for place in self._places[name]
        }
        return functional_call(
            self._caller, named, (function, *arguments), tie_weights=False
        )


def _names(
    module: nn.Module, named: Callable[..., Iterator[tuple[str, Tensor]]]
) -> dict[Tensor, list[str]]:
    """Return the names of each tensor in a module: one for each place that holds it.

    A submodule that is registered twice counts once. torch's own tying of weights takes
    it for two, and leaves the second value that it put there behind.
    """
    names: dict[Tensor, list[str]] = {}
    for prefix, part in module.named_modules():
        for name, tensor in named(part, recurse=False, remove_duplicate=False):
            names.setdefault(tensor, []).append(f"{prefix}.{name}" if prefix else name)
    return names
