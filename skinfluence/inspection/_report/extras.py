"""Libraries that only a report needs."""

from importlib import import_module
from typing import Any


def needed(module: str, name: str) -> Any:
    """Return a module of the extra `report`, or say how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"A report needs {name}, which is not installed: "
            "pip install 'skinfluence[report]'."
        ) from error
