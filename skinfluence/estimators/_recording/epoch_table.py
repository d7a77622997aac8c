"""skorch's table of the epochs, made only where somebody sees it."""

from typing import Any

from skorch.callbacks import PrintLog
from skorch.net import NeuralNet


class EpochTable(PrintLog):
    """Prints a line for each epoch.

    skorch's own makes the line first, and then looks whether it is to be printed: that
    takes as long as several small training steps.
    """

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Print the line of the epoch, if it is to be printed."""
        if net.verbose or self.sink is not print:
            super().on_epoch_end(net, **kwargs)
