"""A training by a loop of the user's own, while it is recorded."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..._interrupts import deferred_interrupts
from ...exceptions import IrreproducibleStepError, UnsupportedModuleError
from ...training import (
    MicroBatch,
    Ranks,
    close,
    parameters_digest,
    seeded,
)
from .._net import InfluenceNet, net_buffers
from .._replica import Replica
from .observations import same
from .training_run import TrainingRun

# Another loss has another gradient from the first of them on.
_HALF_OF_THE_DIGITS = 0.5

# Relative, of a factor of the loss: as much as single precision rounds.
_ROUNDING = 1e-6


class LoopRun(TrainingRun):
    """A training run whose loop tells when a step begins, and when it is taken.

    Between them it may take any number of batches. A step of several processes is on
    the batches of all of them, and each records it whole. The calls are::

        for each epoch:   begin_epoch, expect (as the batches are drawn)
            for each batch:    begin_loss (its seed), note_loss,
                               begin_backward, end_backward
            for each step:     begin_update, end_update
        end
    """

    _loss = math.nan
    _drew = False
    _pending = False  # whether a loss was computed, and not differentiated
    _factors: tuple[float, ...] = ()  # of the mean losses of the step's batches
    _first: tuple[float, float] | None = None  # factor, and sum of them, of step 0
    _items_seed: int | None = None  # of the step's first batch
    ranks = Ranks()  # that take a step together
    wrapper: nn.Module | None = None  # what averages their gradients

    def repeated_loss(self, net: InfluenceNet, rows: Tensor) -> float | None:
        """Return the loss of a batch that need not be computed."""
        return None

    def begin_loss(self, net: InfluenceNet, rows: Tensor, loaded: Any) -> int:
        """Begin with a batch, as it was loaded, and return its seed."""
        self._forget_if_cleared()
        self.rows = rows
        return self.begin_batch(net, loaded)

    def _forget_if_cleared(self) -> None:
        """Begin the step anew if its gradients were cleared, as after an interrupt."""
        if self._live is None or not self.n_taken or self._watch.unchanged(self._live):
            return
        left = [p.grad for p in self._live.parameters if p.grad is not None]
        if not any(bool(gradient.any()) for gradient in left):
            # The batch in hand keeps its seed.
            self.seed_of_step += self.n_taken * self.ranks.number
            self._taken.clear()
            self._factors, self.n_taken = (), 0

    def begin(self, net: InfluenceNet) -> None:
        """Begin with the net as it is."""

    @property
    def batch_seed(self) -> int:
        """The seed of the batch in hand: each rank has one of its own."""
        place = self.n_taken * self.ranks.number + self.ranks.rank
        return self.seed_of_step + place

    def take_batch(self) -> None:
        """Begin a step if none is in hand; which batch is its last is not known yet."""
        self.completes = False
        if self.n_taken:
            return
        seed = next(self.seeds, None)
        if seed is None:
            raise IrreproducibleStepError(
                "A step must use a batch of the epoch that no step has used, but there "
                "were more steps than batches. Iterate over `recorder.batches` once "
                "more for further steps."
            )
        self.seed_of_step = seed

    def _may_be_changed(self, net: InfluenceNet) -> bool:
        """Whether any code of the user's runs between two steps: the loop does."""
        return True

    def note_loss(self, loss: float, drew: bool) -> None:
        """Note the loss of the batch in hand."""
        self._loss, self._drew, self._pending = loss, drew, True

    def begin_backward(self, net: InfluenceNet, factor: float) -> None:
        """Look at the gradients before those of the batch in hand are added."""
        if not self._pending:
            raise IrreproducibleStepError(
                "The loss of a batch must be differentiated once, before the next is "
                "computed: call `recorder.loss` for each `backward`."
            )
        self._forget_if_cleared()
        if not self.n_taken and self._live is not None:
            # An optimizer moves frozen parameters too, if they have a gradient.
            groups = self._live.optimizer.param_groups
            every = (p for group in groups for p in group["params"])
            left = [p.grad for p in every if p.grad is not None]
            if any(bool(gradient.any()) for gradient in left):
                raise IrreproducibleStepError(
                    f"Step {self._number} must begin without gradients, but those of "
                    "an earlier step, or of another loss, are still there. Call "
                    "`optimizer.zero_grad()` before `loss.backward()`."
                )
        if self.n_taken and self.item_seed != self._items_seed:
            raise IrreproducibleStepError(
                f"The batches of step {self._number} must be of one epoch, since the "
                "Dataset, or the collation, may draw random numbers anew in each. Take "
                "a step at the end of the epoch."
            )
        self._items_seed = self.item_seed
        self._factors = (*self._factors, factor)

    def end_backward(self, net: InfluenceNet) -> None:
        """Note the batch, whose gradients are there now."""
        self._pending = False
        if not self.n_taken and not self._number:
            self._check_gradient(net)
        self._taken.append((self.rows, self._loss, self._drew))
        self.n_taken = len(self._taken)
        self.n_left -= 1
        if self._live is not None:
            self._watch.begin(self._live)

    def _check_gradient(self, net: InfluenceNet) -> None:
        """Refuse a first gradient that is not that of the recorded loss alone."""
        if self._live is None:
            return
        assert self.trajectory is not None
        step = Replica(net).step(self.trajectory)
        rows, factor = self.rows + self.data.offset, self._factors[0]
        batch = MicroBatch(self.number, rows, self.batch_seed, factor, self.item_seed)
        step.objective.train(True)
        with torch.enable_grad(), seeded(batch.seed, step.device):
            losses, coefficients = step.objective.batch_losses(batch)
            found = torch.autograd.grad(
                losses, step.live.parameters, coefficients, materialize_grads=True
            )
        seen = [
            torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            for parameter in self._live.parameters
        ]
        # Ranks have the mean of their gradients; or not yet, where they accumulate.
        total = self.ranks.total(found)
        mean = [gradient / self.ranks.number for gradient in total]
        if not any(close(seen, each, _HALF_OF_THE_DIGITS) for each in (mean, found)):
            raise IrreproducibleStepError(
                "The gradient of the first step must be that of `recorder.loss`, but "
                "it is another one: something was added to the loss, such as a penalty "
                "on the weights, or a hook changed the gradient. Put it into the "
                "criterion or the module, where each sample has its share; for a "
                "penalty on the weights use the optimizer's `weight_decay`."
            )

    def begin_update(self, net: InfluenceNet) -> None:
        """Look at what was done to the gradients, before the optimizer's step."""
        if not self._taken:
            raise IrreproducibleStepError(
                f"Step {self._number} must be on the loss of a batch, but `recorder."
                "loss(batch)` was not differentiated since the last step."
            )
        self._check_factors()
        self._clipping = None
        if self._recorded:
            self._clipping = self._watch.clipping(net, *self._recorded)
        self._see_gradients()

    def end_update(self, net: InfluenceNet) -> None:
        """Record the step that the optimizer has just taken."""
        with deferred_interrupts():
            self.scale = sum(self._factors)
            self._taken = self.ranks.gather_parts(self._taken)
            first = not self._number
            self._end_step(net)
            self._taken.clear()
            self._factors, self.n_taken = (), 0
        if first:
            self.check_ranks()
            self._check_statistics(net)

    def check_ranks(self) -> None:
        """Refuse ranks that have other parameters."""
        if self._live is None or self.ranks.number == 1:
            return
        digest = parameters_digest(self._live.read().parameters)
        if not self.ranks.agree(digest):
            raise IrreproducibleStepError(
                f"All {self.ranks.number} processes must have the same parameters "
                "after a step, but they differ: the gradients were not averaged. Pass "
                "the DistributedDataParallel to the Recorder, and let its last "
                "`backward` of a step be outside of `no_sync`."
            )

    def _check_statistics(self, net: InfluenceNet) -> None:
        """Refuse ranks that have statistics of their own, in the first step."""
        if self._before is None or self.ranks.number == 1:
            return
        if not same(self._before.buffers, net_buffers(net)):
            raise UnsupportedModuleError(
                "A module that is trained by several processes must not change its "
                "buffers, such as BatchNorm's running statistics: each process has its "
                "own, and one of them is kept. Use a norm without statistics "
                "(LayerNorm, GroupNorm), or train in one process."
            )

    def _check_factors(self) -> None:
        least, most = min(self._factors), max(self._factors)
        if not _alike(least, most):
            raise IrreproducibleStepError(
                f"The losses of the batches of step {self._number} must have the same "
                f"factor, such as 1/k for each of k batches, got {least:g} to "
                f"{most:g}. Divide all of them by the same number."
            )
        now = most, sum(self._factors)
        self._first = self._first or now
        if not any(map(_alike, now, self._first)):
            raise IrreproducibleStepError(
                "The factor of the loss must be the same in every step, for one that "
                f"depends on the loss has a derivative too, but it is {now[0]:g} in "
                f"step {self._number} and was {self._first[0]:g} at first. Put what "
                "changes with the batch into the criterion, and schedule the learning "
                "rate."
            )

    @property
    def _number(self) -> int:
        return 0 if self.trajectory is None else self.trajectory.n_steps

    def discard(self) -> None:
        """Forget a loss that was never differentiated."""
        self._pending = False


def _alike(one: float, other: float) -> bool:
    # A loss that is not finite is told as a divergence.
    return not abs(one - other) > _ROUNDING * max(abs(one), abs(other))


def after_backward(call: Any) -> None:
    """Call a function once the backward pass that is under way is done."""
    torch.autograd.Variable._execution_engine.queue_callback(call)
