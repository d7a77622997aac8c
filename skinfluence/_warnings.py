"""Warnings that point at the line of the caller's code."""

import sys
import warnings
from pathlib import Path

# A method may be wrapped by torch to switch gradients on.
_OURS = (str(Path(__file__).parent), "torch/utils/_contextlib.py", "contextlib.py")


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn of something at the innermost line that is not the library's.

    Parameters
    ----------
    message : str
        The warning.
    category : type
        Its class.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_ours(file: str) -> bool:
    root, *wrappers = _OURS
    return file.startswith(root) or file.endswith(tuple(wrappers))
