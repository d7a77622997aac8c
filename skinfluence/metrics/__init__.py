"""Quality of rankings: rank agreement, datamodeling score, removal curve."""

from .._names import set_public_module
from ._agreement import jaccard_extremes, kendall_tau
from ._datamodel import linear_datamodeling_score
from ._removal import removal_curve

__all__ = [
    "jaccard_extremes",
    "kendall_tau",
    "linear_datamodeling_score",
    "removal_curve",
]

set_public_module(globals())
