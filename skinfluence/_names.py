"""The names under which classes and functions stand in files.

A file names a class by its module and name. The module is therefore a public one,
wherever the class is defined, so that code can move without making files unreadable.
"""

import re
from typing import Any

_RENAMED = {
    "skinfluence.estimators._classifier.SGDInfluenceClassifier": (
        "skinfluence.estimators.SGDInfluenceClassifier"
    ),
    "skinfluence.estimators._criteria.SmoothHinge": (
        "skinfluence.estimators.SmoothHinge"
    ),
    "skinfluence.estimators._data.ArrayDataset": "skinfluence.estimators.ArrayDataset",
    "skinfluence.estimators._data.TrainingData": "skinfluence.estimators.TrainingData",
    "skinfluence.estimators._epoch_table.EpochTable": (
        "skinfluence.estimators.EpochTable"
    ),
    "skinfluence.estimators._modules.LinearModule": (
        "skinfluence.estimators.LinearModule"
    ),
    "skinfluence.estimators._modules.MLPModule": "skinfluence.estimators.MLPModule",
    "skinfluence.estimators._regressor.SGDInfluenceRegressor": (
        "skinfluence.estimators.SGDInfluenceRegressor"
    ),
}
"""Every name that files have carried -> the name today."""

_NAME = re.compile(r"\bskinfluence(?:\.\w+)+")


def set_public_module(package: dict[str, Any], *others: str) -> None:
    """Name the package as the module of what it offers, as numpy's ``set_module``.

    Parameters
    ----------
    package : dict
        The ``globals()`` of the package's ``__init__.py``.
    *others : str
        What is not in its ``__all__``, and can be written to a file all the same.
    """
    name = package["__name__"]
    for public in (*package["__all__"], *others):
        value = package[public]
        if getattr(value, "__module__", "").startswith(f"{name}."):
            value.__module__ = name


def current_name(name: str) -> str:
    """Return today's full name of what had this one in a file."""
    return _RENAMED.get(name, name)


def with_current_names(text: str) -> str:
    """Return a text with old names of classes replaced by today's."""
    return _NAME.sub(lambda found: current_name(found[0]), text)


def with_current_modules(node: Any) -> Any:
    """Return nested lists and dicts of skops, in which a dict may name a class."""
    if isinstance(node, dict):
        node = {key: with_current_modules(value) for key, value in node.items()}
        if {"__module__", "__class__"} <= node.keys():
            full = current_name(f"{node['__module__']}.{node['__class__']}")
            node["__module__"], _, node["__class__"] = full.rpartition(".")
        return node
    if isinstance(node, list):
        return [with_current_modules(value) for value in node]
    return node
