"""A bar that shows how far the training has come."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skorch.callbacks import Callback
from tqdm import tqdm


class EpochBar(Callback):
    """Advances a bar by one at the end of each epoch, of every copy of a net."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Advance."""
        self.bar.update()

    def __deepcopy__(self, memo: Any) -> "EpochBar":
        # All copies of an estimator move the same bar.
        return self


@contextmanager
def epoch_bar(total: int, quiet: bool) -> Iterator[list[Callback]]:
    """Yield callbacks that move a bar on the standard error, if a person sees it."""
    # None hides the bar where the standard error is no terminal.
    hidden = True if quiet else None
    with tqdm(desc="Training", total=total, unit=" epochs", disable=hidden) as bar:
        yield [EpochBar(bar)]
