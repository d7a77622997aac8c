"""What modules hold besides parameters and buffers, which compiled code holds too."""

import weakref
from collections.abc import Sequence

from torch import nn

from .._keys import ContentHasher


def holdings(modules: Sequence[nn.Module]) -> str:
    """Return a digest of all that modules compute with but parameters and buffers.

    That is their attributes, modes and code, and the globals that it refers to.
    """
    return str(_Holdings(modules).hash(list(modules)))


class _Holdings(ContentHasher):
    """Hashes modules without the values of their parameters and buffers."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        every = (t for m in modules for t in (*m.parameters(), *m.buffers()))
        self._live = {id(tensor): number for number, tensor in enumerate(every)}

    def content(self, obj: object) -> object:
        """Return what stands for an object."""
        if id(obj) in self._live:
            return "live", self._live[id(obj)]
        if isinstance(obj, nn.Module):
            return self._once(obj)
        if isinstance(obj, weakref.ref):  # as recurrent layers have of their weights
            return "weakref", obj()
        # Those that it makes for parametrized modules refer to one of them.
        if isinstance(obj, type) and obj.__module__.partition(".")[0] == "torch":
            return "type", obj.__module__, obj.__qualname__
        return super().content(obj)

    def _of(self, obj: object) -> object:
        if not isinstance(obj, nn.Module):
            return super()._of(obj)
        # Most of the many containers, such as those of hooks, are empty.
        held = {k: v for k, v in vars(obj).items() if not _is_empty(v)}
        return type(obj), held


def _is_empty(value: object) -> bool:
    return isinstance(value, (dict, set)) and not value
