"""Types of what users give, shared by the estimators' modules."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from ..queries import Metric, SampleMeasure


@runtime_checkable
class MapDataset(Protocol):
    """A map-style dataset, as torch calls it: its samples have row numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...


At: TypeAlias = str | Sequence[int] | np.ndarray | Mapping[int, float]
QueryLike: TypeAlias = str | Callable[[Any, Any], Tensor] | Metric | SampleMeasure
Smoothing: TypeAlias = float | str | None
RandomState: TypeAlias = int | np.random.RandomState | None
Device: TypeAlias = str | torch.device
Folder: TypeAlias = str | PathLike[str]
# A class is a factory of its instances.
ModuleLike: TypeAlias = str | nn.Module | Callable[..., nn.Module]
CriterionLike: TypeAlias = nn.Module | Callable[..., Any] | str
OptimizerFactory: TypeAlias = Callable[..., torch.optim.Optimizer]
LoaderFactory: TypeAlias = Callable[..., Iterable[Any]]
DatasetFactory: TypeAlias = Callable[..., MapDataset]
Nonlinearity: TypeAlias = Callable[[Any], Any] | str | None
