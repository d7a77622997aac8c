"""The measures that a name stands for."""

from collections.abc import Callable

from ._classes import auc, average_precision, brier, calibration, f1, log_loss
from ._groups import demographic_parity, equalized_odds, worst_group
from ._measures import Metric, SampleMeasure
from ._numbers import quantile_loss, r2

_ALONE = auc, average_precision, brier, calibration, f1, log_loss, quantile_loss, r2

NAMED: dict[str, Callable[[], Metric | SampleMeasure]] = {
    function.__name__: function for function in _ALONE
}
"""What a name stands for."""

GROUPED = tuple(f.__name__ for f in (worst_group, demographic_parity, equalized_odds))
"""Those that must be told the groups."""
