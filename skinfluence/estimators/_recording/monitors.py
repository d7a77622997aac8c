"""Callbacks that monitor a score, checked before training."""

from collections.abc import Iterator

from skorch.callbacks import LRScheduler
from torch.optim.lr_scheduler import ReduceLROnPlateau

from .._net import InfluenceNet
from .hooks import RecordingMixin


def check_monitors(net: InfluenceNet) -> None:
    """Refuse callbacks that monitor a validation score where there is none."""
    overridden = type(net).get_split_datasets is not RecordingMixin.get_split_datasets
    if net.train_split is not None or overridden:
        return
    scores = {
        getattr(callback, "name_", None) or callback.name
        for _, callback in net.callbacks_
        if getattr(callback, "on_train", True) is False
    }
    for kind, monitor in _monitors(net):
        # Checkpoint looks at whether a score is the best so far.
        if monitor.removesuffix("_best") in scores:
            raise ValueError(
                f"`train_split` must split off validation data for {kind}, which "
                f"monitors {monitor!r}, got None. Set it to skorch's ValidSplit(5), or "
                "monitor='train_loss'."
            )


def _monitors(net: InfluenceNet) -> Iterator[tuple[str, str]]:
    """Yield the callbacks' kinds and the scores that they monitor."""
    for _, callback in net.callbacks_:
        monitor = getattr(callback, "monitor", None)
        # Other schedules have a monitor too, but do not look at it.
        idle = isinstance(callback, LRScheduler) and (
            callback.policy_ is not ReduceLROnPlateau
        )
        if isinstance(monitor, str) and not idle:
            yield type(callback).__name__, monitor
