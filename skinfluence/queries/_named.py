"""The measures that a name stands for."""

from collections.abc import Callable

from ._classes import auc, average_precision, brier, calibration, f1, log_loss
from ._groups import demographic_parity, equalized_odds, worst_group
from ._measures import Metric, SampleMeasure
from ._numbers import quantile_loss, r2
from ._transition import corrected_error

_ALONE = auc, average_precision, brier, calibration, f1, log_loss, quantile_loss, r2

NAMED: dict[str, Callable[[], Metric | SampleMeasure]] = {
    function.__name__: function for function in _ALONE
}
"""What a name stands for."""

_GROUPS = "(groups), with the group of each validation sample"

TOLD: dict[str, str] = {
    **{
        function.__name__: _GROUPS
        for function in (worst_group, demographic_parity, equalized_odds)
    },
    corrected_error.__name__: "(transition), with how often each label is confused",
}
"""Those that must be told something, and what."""
