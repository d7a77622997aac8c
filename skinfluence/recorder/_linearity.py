"""Whether what a loop makes of a loss is linear in it."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..exceptions import IrreproducibleStepError


class Linearity:
    r"""Follows the derivative of a loss through what a loop makes of it.

    The loss :math:`ℓ` becomes a dual number, :math:`ℓ + ε`. Where the loop
    differentiates :math:`f(ℓ)`, the backward pass arrives with
    :math:`f'(ℓ) + f''(ℓ) ε`. torch has one level of such numbers at a time; it is open
    from the loss to its backward pass.
    """

    def __init__(self) -> None:
        self._open = False

    def begin(self, loss: Tensor) -> Tensor:
        """Return the loss, to be followed."""
        self.end()
        level = forward_ad.enter_dual_level()
        self._open = True
        # Without the rules for TorchScript, which `forward_ad.make_dual` would import.
        return torch._make_dual(loss, torch.ones_like(loss), level=level)

    def check(self, factor: Tensor) -> None:
        """Refuse a factor, as it arrives, that depends on the loss."""
        slope = forward_ad.unpack_dual(factor).tangent if self._open else None
        self.end()
        if slope is not None and bool(slope):
            raise IrreproducibleStepError(
                "The loss that is differentiated must be that of `recorder.loss`, "
                "times a number, but it is another function of it, such as `loss ** "
                "2` or `loss.log()`, whose gradient has a factor that depends on all "
                "samples of the batch. Put the function into the criterion, where it "
                "is one of each sample's loss."
            )

    def end(self) -> None:
        """Follow the loss no further."""
        if self._open:
            forward_ad.exit_dual_level()
        self._open = False
