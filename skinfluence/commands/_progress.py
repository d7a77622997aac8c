"""A bar that shows how far the work has come."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skorch.callbacks import Callback
from tqdm import tqdm


class Progress:
    """A bar over all epochs to come, which every copy of an estimator moves."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    def __deepcopy__(self, memo: Any) -> "Progress":
        return self

    @property
    def callbacks(self) -> list[Callback]:
        """What an estimator needs to move the bar."""
        return [EpochBar(self)]

    def stage(self, words: str) -> None:
        """Say what is being done."""
        self.bar.set_description(words)


class EpochBar(Callback):
    """Moves a bar at the end of each epoch."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Move it by one."""
        self.progress.bar.update()


@contextmanager
def epoch_bar(n_epochs: int, quiet: bool) -> Iterator[Progress]:
    """Yield a bar on the standard error, which is hidden where no person sees it."""
    # None hides it where the standard error is no terminal.
    hidden = True if quiet else None
    with tqdm(desc="Training", total=n_epochs, unit=" epochs", disable=hidden) as bar:
        yield Progress(bar)
