"""The progress bar."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skorch.callbacks import Callback
from tqdm import tqdm

from .._progress import stderr_is_open


class Progress:
    """A bar over all epochs, shared by all copies of an estimator."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    # Cleaners clone their estimators, callbacks included: all clones move this bar.
    def __deepcopy__(self, memo: Any) -> "Progress":
        return self

    @property
    def callbacks(self) -> list[Callback]:
        """The callbacks by which an estimator moves the bar."""
        return [EpochBar(self)]

    def stage(self, words: str) -> None:
        """Name the current stage of the work."""
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
    """Yield a bar on the standard error, hidden unless that is a terminal."""
    # To tqdm, None means: unless it is a terminal.
    hidden = None if stderr_is_open() and not quiet else True
    with tqdm(desc="Training", total=n_epochs, unit=" epochs", disable=hidden) as bar:
        yield Progress(bar)
