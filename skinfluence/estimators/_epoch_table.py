"""skorch's table of the epochs, formatted only where it is printed."""

from typing import Any

from skorch.callbacks import PrintLog
from skorch.net import NeuralNet


class EpochTable(PrintLog):
    """Prints a line for each epoch.

    skorch's own formats the line before it checks whether to print it, which takes as
    long as several small training steps.
    """

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Print the line of the epoch, unless the net is silent."""
        if net.verbose or self.sink is not print:
            super().on_epoch_end(net, **kwargs)
