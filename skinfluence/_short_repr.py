"""Representations of one line, however large the object is."""

import reprlib
from inspect import signature
from typing import Any


class _Short(reprlib.Repr):
    """Arrays, tables and tensors by their shape, long texts and sequences cut."""

    def __init__(self) -> None:
        super().__init__()
        self.maxother = self.maxstring = 60
        self.maxlist = self.maxtuple = self.maxdict = 3

    def repr1(self, x: Any, level: int) -> str:
        shape = getattr(x, "shape", None)
        if shape is not None and len(shape):
            return f"{type(x).__name__} of shape {tuple(shape)}"
        return super().repr1(x, level)


_SHORT = _Short()


def short(value: object) -> str:
    """Return a value's representation, cut where it is long.

    Parameters
    ----------
    value : object
        A label, a parameter, an array.
    """
    return _SHORT.repr(value)


def short_repr(instance: object) -> str:
    """Return the class with those of its parameters that are not the defaults.

    To be a class's ``__repr__``.

    Parameters
    ----------
    instance : object
        It keeps each parameter of ``__init__`` under its name.
    """
    parameters = signature(type(instance)).parameters.values()
    shown = [
        f"{p.name}={short(value)}"
        for p in parameters
        if (value := getattr(instance, p.name, p.default)) is not p.default
    ]
    return f"{type(instance).__name__}({', '.join(shown)})"
