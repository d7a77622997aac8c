"""What must stay as it is between the steps of a run, because no state holds it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...exceptions import UnsupportedModuleError
from .._net import InfluenceNet, net_modules

_REMEDY = "Do it before fit, or train without influence (record=None)."


class FixedParts:
    """Which tensors a net's modules have, and the values of those that no step changes.

    Parameters
    ----------
    net : InfluenceNet
        The net, before a step.
    trained : sequence of Tensor
        The parameters whose values the states hold.
    """

    def __init__(self, net: InfluenceNet, trained: Sequence[Tensor]) -> None:
        self._tensors = _named(net)
        known = set(trained)
        self._sums = _sums(
            {
                name: tensor
                for name, tensor in self._tensors.items()
                if isinstance(tensor, nn.Parameter) and tensor not in known
            }
        )

    def check(self, now: "FixedParts", step: int) -> None:
        """Refuse to go on if something but training changed the net.

        Parameters
        ----------
        now : FixedParts
            The same of the net before a later step.
        step : int
            Its number.

        Raises
        ------
        UnsupportedModuleError
            If there are other parameters or buffers than before, or parameters that
            are not trained have other values.
        """
        before, after = self._tensors, now._tensors
        for name in {**before, **after}:
            if before.get(name) is not after.get(name):
                raise UnsupportedModuleError(
                    "The module must keep its parameters and buffers while it trains, "
                    f"but something replaced, added or removed `{name}` before step "
                    f"{step}, such as pruning in a callback. {_REMEDY}"
                )
        for name, value in now._sums.items():
            if value != self._sums.get(name, value):
                raise UnsupportedModuleError(
                    f"The parameter `{name}` is not trained, so it must stay as it is, "
                    f"but something changed it before step {step}, such as a callback "
                    f"that averages weights. {_REMEDY}"
                )


def _named(net: InfluenceNet) -> dict[str, Tensor]:
    return {
        name: tensor
        for module in net_modules(net)
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }


def _sums(tensors: dict[str, Tensor]) -> dict[str, str]:
    """Return what tells values from others, at the cost of reading them once."""
    if not tensors:
        return {}
    sums = [
        tensor.detach().abs().sum(dtype=torch.float64) for tensor in tensors.values()
    ]
    # As text, in which NaN equals itself.
    return dict(zip(tensors, map(repr, torch.stack(sums).tolist()), strict=True))
