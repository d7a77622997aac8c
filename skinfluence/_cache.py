"""A cache that several processes share, in which nothing is computed twice."""

import inspect
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from pickle import PicklingError
from typing import Any

import pandas as pd
import torch
from filelock import FileLock
from joblib.hashing import NumpyHasher
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_memory

from ._version import __version__


class _ContentHasher(NumpyHasher):
    """Hashes by content what pickles differently each time it is made anew."""

    def save(self, obj: object) -> None:
        if isinstance(obj, BaseEstimator) and not isinstance(obj, type):
            obj = (type(obj), obj.get_params(deep=False), _start(obj))
        elif isinstance(obj, torch.Tensor):
            flat = obj.detach().cpu().reshape(-1).contiguous().view(torch.uint8)
            obj = (str(obj.dtype), obj.shape, obj.requires_grad, flat.numpy())
        elif isinstance(obj, pd.Series):
            obj = (pd.Series, str(obj.name), obj.to_frame(name="values"))
        elif isinstance(obj, pd.DataFrame):
            rows = pd.util.hash_pandas_object(obj).to_numpy()
            names, dtypes = obj.columns.tolist(), obj.dtypes.astype(str).tolist()
            obj = (pd.DataFrame, names, dtypes, rows)
        super().save(obj)


def _start(estimator: BaseEstimator) -> list[tuple[str, torch.Tensor]] | None:
    """Return the pretrained weights, which are not among the parameters."""
    module = getattr(getattr(estimator, "pretrained", None), "module_", None)
    if not isinstance(module, torch.nn.Module):
        return None
    return list(module.state_dict().items())


def digest(*objects: object) -> str:
    """Return a hash of the contents and the version, the same in every process."""
    return str(_ContentHasher(coerce_mmap=True).hash((__version__, *objects)))


def check_cacheable(**parameters: object) -> None:
    """Refuse parameters of which :func:`digest` can make no key."""
    for name, value in parameters.items():
        try:
            digest(value)
        except (PicklingError, AttributeError, TypeError) as error:
            # Functions are hashed by name, and lambdas and local ones have none.
            raise ValueError(
                f"`{name}` must have a stable key with `memory`, got {value!r}. Define "
                "its functions and classes at the top level of a module, or pass "
                "memory=None."
            ) from error


def cached_call(
    memory: Any, function: Callable[..., Any], key: str, *args: object
) -> Any:
    """Call ``function(key, *args)``, or load its result if the key is in the cache.

    Parameters
    ----------
    memory : str, path-like, object with the interface of joblib.Memory, or None
        Where to keep results; None to keep none.
    function : callable
        A function of a module, whose first parameter is ``key``.
    key : str
        The :func:`digest` of all that the result depends on.
    *args : object
        Further arguments, which the cache ignores.
    """
    if memory is None:
        return function(key, *args)
    memory = check_memory(os.fspath(memory) if isinstance(memory, Path) else memory)
    ignored = list(inspect.signature(function).parameters)[1:]
    with _locked(memory, key):
        return memory.cache(function, ignore=ignored)(key, *args)


def _locked(memory: Any, key: str) -> AbstractContextManager[object]:
    """Let one process compute the result of a key; the others wait and load it."""
    store = getattr(memory, "store_backend", None)
    if store is None:
        return nullcontext()
    folder = Path(store.location)
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{key}.lock")
