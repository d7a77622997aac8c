"""What counts as a path, a list or a truth value among parameters, everywhere."""

import os
from collections.abc import Callable, Iterable, Mapping, Set
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np


def check_boolean(name: str, value: object) -> bool:
    """Return a truth value; refuse what only counts as one in a condition."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}` must be True or False, got {value!r:.200}.")
    return bool(value)


def check_single(name: str, value: object) -> None:
    """Refuse several values in the place of one, a text, a function or None."""
    if not (value is None or isinstance(value, str) or callable(value)):
        raise TypeError(f"`{name}` must be a name or a callable, got {value!r:.200}.")


def check_list(name: str, values: Any, of: str) -> list[Any]:
    """Return a sequence as a list; refuse what has no order, and a single value.

    A text is a single value, and so is an array without axes.
    """
    single = isinstance(values, (str, bytes)) or getattr(values, "ndim", 1) == 0
    unordered = isinstance(values, (Mapping, Set))
    if single or unordered or not isinstance(values, Iterable):
        raise ValueError(f"`{name}` must be a sequence of {of}, got {values!r:.200}.")
    return list(values)


def check_takes(
    name: str, function: Callable[..., Any], *arguments: str, **options: Any
) -> None:
    """Refuse a function that cannot be called with so many arguments.

    Parameters
    ----------
    name : str
        The parameter.
    function : callable
        What was given.
    *arguments : str
        What it is called with, in this order.
    **options : dict
        What it is called with by name.
    """
    try:
        takes = signature(function)
    except (TypeError, ValueError):  # of a function of C, which does not tell
        return
    try:
        takes.bind(*arguments, **options)
    except TypeError as error:
        raise TypeError(
            f"`{name}` must take ({', '.join([*arguments, *options])}), got "
            f"{function!r:.200}, which takes {takes}: {error}."
        ) from error


def check_path(
    name: str, value: Any, kind: str = "folder", otherwise: str = ""
) -> Path:
    """Return a path; refuse what names nothing: an empty one is the working folder.

    Parameters
    ----------
    name : str
        The parameter.
    value : object
        What was given.
    kind : str
        What is to be there.
    otherwise : str
        What else the parameter may be, for the message.
    """
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if isinstance(text, str) and text and "\0" not in text:
        return Path(text)
    raise (ValueError if isinstance(text, str) else TypeError)(
        f"`{name}` must be the path of a {kind}, as a string or a pathlib.Path"
        f"{otherwise}, got {value!r:.200}."
    )
