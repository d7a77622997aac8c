"""Whether the gradient of an objective has the derivative that autograd gives it."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase
from torch.utils import _pytree as pytree

from ..exceptions import UnsupportedModuleError
from ._borrowed import AttributesKept, borrowed
from ._culprit import culprit
from ._embeddings import check_options
from ._finite_differences import agrees, norm, proven_error
from ._flat import LiveState, State
from ._kernels import twice_differentiable
from ._objective import Batch, Objective
from ._randomness import seeded
from ._record import MicroBatch, StepRecord
from ._step import TrainingStep

# What a few samples show, many do; fewer kinks lie near them.
_MOST_ROWS = 32
# How far the point is moved from where training starts, relative to the parameters:
# biases begin at 0, where empty inputs sit on the very kink of a ReLU.
_SHIFT = 1e-3
# A kink spoils the finite differences that cross it; within the shortest step a network
# of any width has none, so that it comes soon. The longest, which come last, serve
# losses so large that rounding spoils others.
_STEPS: dict[torch.dtype, tuple[float, ...]] = {
    torch.float64: (1e-7, 1e-9, 1e-8, 1e-6, 1e-5),
    torch.float32: (3e-3, 1e-3, 1e-2, 3e-4),
}
# Right derivatives agree to 1e-7 and 1e-3; wrong ones are 2e-3 and more apart.
_TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-2}
# Rounding errors of a gradient, in units in the last place of its norm.
_ROUNDING = 16

_NO_ROWS = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with a derivative."""

    found: float | str
    """Its relative error, or what torch says."""
    double: bool
    """Whether it was found in double precision."""

    def message(self, where: str) -> str:
        if isinstance(self.found, str):
            return f"torch cannot differentiate {where} twice ({self.found})."
        if math.isinf(self.found):
            return (
                f"in {where} it is infinite or NaN at these inputs, as is that of a "
                "square root, a norm or a standard deviation at 0. Keep them away from "
                "there, such as by torch.sqrt(x + 1e-6)."
            )
        return (
            f"autograd gets it wrong in {where} (relative error {self.found:.2g}). "
            "Causes are a `detach` or another stop-gradient, an autograd Function "
            "whose backward cannot be differentiated, buffers that training computes "
            "from the parameters, and hooks that change a gradient."
        )


def check_second_derivative(
    objective: Objective,
    parameters: Sequence[Tensor],
    batch: MicroBatch,
    remedy: str,
    reached: Mapping[Tensor, Tensor] | None = None,
) -> None:
    """Refuse modules and losses whose gradient autograd does not differentiate rightly.

    The gradient's derivative along random directions, as the backward pass of a
    training step takes it, is compared with finite differences of the gradient, on
    some samples and in double precision. Refused is only what disagrees with finite
    differences that agree with each other: kinks, such as ReLU's, never are. What
    cannot be evaluated at all is left to training, which says why.

    Modules, parameters, gradients and torch's generators are left as they were, to the
    bit; what a forward pass changes inside other objects is not put back.

    Parameters
    ----------
    objective : Objective
        The per-sample losses.
    parameters : sequence of Tensor
        The parameters to be trained.
    batch : MicroBatch
        The samples, and the seed of what a step draws; `few` are enough.
    remedy : str
        What to do instead: the last sentence of the error's message.
    reached : mapping of Tensor to Tensor, optional
        Which elements of parameters other batches move, whatever this one does.

    Raises
    ------
    UnsupportedModuleError
        If torch cannot compute the derivative, or not rightly.
    """
    check_options(objective, remedy)
    # Checkpointed parts run again in the backward pass: with the same kernels.
    with warnings.catch_warnings(), twice_differentiable(objective.modules):
        warnings.simplefilter("ignore")  # training gives the same warnings again
        data, seed = objective.fetch(batch), batch.seed or 0
        case = replace(objective, fetch=lambda *_: _copied(data))
        finds_fault = partial(_fault, reached=reached or {})
        fault = finds_fault(case, parameters, seed)
        if fault is None:
            if carried := _carried(case, parameters, seed):
                raise UnsupportedModuleError(f"{carried} {remedy}")
            return
        where = culprit(case, parameters, seed, finds_fault, fault.double)
    raise UnsupportedModuleError(
        "Influence needs the second derivative of the training loss: "
        f"{fault.message(where)} {remedy}"
    )


def few(batch: MicroBatch) -> MicroBatch:
    """Return the first samples of a batch, as many as show most faults."""
    return replace(batch, rows=batch.rows[:_MOST_ROWS])


def _copied(batch: Batch) -> Batch:
    """Return a batch that a forward pass may write to."""
    copied: Batch = pytree.tree_map_only(Tensor, torch.clone, batch)
    return copied


def _carried(objective: Objective, parameters: Sequence[Tensor], seed: int) -> str:
    """Return what is wrong with a buffer that training writes and then uses, or ''."""
    if not objective.buffers:
        return ""
    with borrowed(objective, parameters, False) as own:
        try:
            return _begun(own, parameters, seed, {}).carried()
        except Exception:  # what cannot be evaluated is left to training
            return ""


def _fault(
    objective: Objective,
    parameters: Sequence[Tensor],
    seed: int,
    reached: Mapping[Tensor, Tensor],
) -> _Fault | None:
    """Return what is wrong with the derivative of an objective's gradient."""
    if not parameters:
        return None
    try:
        return _found(objective, parameters, seed, reached, double=True)
    except Exception:  # code may know no precision but its own
        return _found(objective, parameters, seed, reached, double=False)


def _found(
    objective: Objective,
    parameters: Sequence[Tensor],
    seed: int,
    reached: Mapping[Tensor, Tensor],
    double: bool,
) -> _Fault | None:
    with borrowed(objective, parameters, double) as own:
        test = _begun(own, parameters, seed, reached)
        try:
            error = test.error()
        except Exception as raised:
            if double:
                raise
            out_of_memory = isinstance(raised, torch.OutOfMemoryError)
            if out_of_memory or not test.has_losses():
                return None
            return _Fault(str(raised).strip().partition("\n")[0].rstrip("."), double)
    return _Fault(error, double) if error else None


def _begun(
    objective: Objective,
    parameters: Sequence[Tensor],
    seed: int,
    reached: Mapping[Tensor, Tensor],
) -> "_DerivativeTest":
    """Return the test at the present parameters, on the objective's one batch."""
    test = _DerivativeTest(objective, parameters, reached)
    test.begin(objective.fetch(MicroBatch(0, _NO_ROWS)), seed)
    return test


class _DerivativeTest:
    """Compares a derivative with finite differences, on borrowed modules."""

    def __init__(
        self,
        objective: Objective,
        parameters: Sequence[Tensor],
        reached: Mapping[Tensor, Tensor],
    ) -> None:
        addresses = [(0, k) for k in range(len(parameters))]
        live = LiveState(torch.optim.SGD(parameters), addresses, objective.buffers, ())
        held: list[Batch] = []  # without a circle, which would keep states in memory
        fixed = replace(objective, fetch=lambda *_: _copied(held[0]))
        self._held, self._step = held, TrainingStep(fixed, live)
        self._dtype = max((p.dtype for p in parameters), key=_eps)
        masks = [
            reached.get(p, torch.zeros_like(p, dtype=torch.bool)) for p in parameters
        ]
        self._reached = live.layout.flatten(masks)
        objective.train(True)
        self._kept = AttributesKept(objective.modules)  # and the mode with them

    def begin(self, batch: Batch, seed: int) -> None:
        """Test on a batch, near the values that the parameters have now."""
        self._held[:] = [batch]
        self._start = self._step.live.read()
        every = tuple(range(len(self._step.live.parameters)))
        self._record = StepRecord(0, 1, 0, _NO_ROWS, seed, (), every)
        self._draws = torch.Generator().manual_seed(seed)

    def passes(self) -> bool:
        """Whether it is seen to be right at once: by one difference, in one direction.

        The difference is one-sided, as the gradient in the middle is known.
        """
        point, direction, gradient, derivative = self._differentiated()
        step, *_ = _STEPS[self._dtype]
        after = self._gradient(point + step * direction)
        found = (after - gradient) / step
        right = agrees(found, derivative, norm(after) / step, *self._precision)
        return right and not (self._start.buffers and self.carried())

    def error(self) -> float:
        """Return the relative error if it shows in two directions, else 0."""
        return self._error() and self._error()

    def carried(self) -> str:
        """Say through which buffer a step's parameters reach what comes later."""
        at, start = self._start.parameters, self._start.buffers
        loss, written = self._after(at, start)
        _, others = self._after(self._draw()[0], start)
        for k, (name, of_norm) in enumerate(self._named_buffers()):
            if torch.equal(start[k], written[k]) or torch.equal(written[k], others[k]):
                continue
            changed = [*start[:k], written[k], *start[k + 1 :]]
            if self._after(at, changed)[0] != loss:
                return (
                    f"The buffer `{name}` must not be both computed from the "
                    "parameters and used in training: influence does not follow what "
                    "it carries from one step to the next."
                )
            if not of_norm and self._evaluated(start) != self._evaluated(changed):
                return (
                    f"The buffer `{name}` must not be both computed from the "
                    "parameters in training, such as an average of weights, and used "
                    "in evaluation: influence would hold it fixed."
                )
        return ""

    def _named_buffers(self) -> list[tuple[str, bool]]:
        """Return each buffer's name, and whether it is a norm's, as documented."""
        found: dict[Tensor, tuple[str, bool]] = {}
        for module in self._step.objective.modules:
            for path, part in module.named_modules():
                for name, buffer in part.named_buffers(recurse=False):
                    full = f"{path}.{name}" if path else name
                    found.setdefault(buffer, (full, isinstance(part, _NormBase)))
        return [found[buffer] for buffer in self._step.live.buffers]

    def _after(
        self, parameters: Tensor, buffers: Sequence[Tensor]
    ) -> tuple[float, list[Tensor]]:
        """Return loss and buffers of a forward pass."""
        state = replace(self._at(parameters), buffers=tuple(buffers))
        with self._kept:
            loss = float(self._step.loss_at(state, self._record))
            return loss, [b.clone() for b in self._step.live.buffers]

    def _evaluated(self, buffers: Sequence[Tensor]) -> float:
        """Return the loss in evaluation mode."""
        self._step.live.show(replace(self._start, buffers=tuple(buffers)))
        with self._kept:
            self._step.objective.train(False)
            return float(self._losses()[0].sum())

    def has_losses(self) -> bool:
        """Whether there are losses, which depend on anything."""
        try:
            return self._losses()[0].requires_grad
        except Exception:
            return False

    def _error(self) -> float:
        """Return the relative error along a random direction, 0 if none is proven."""
        point, direction, _, derivative = self._differentiated()

        def shifted(step: float) -> Tensor:
            return self._gradient(point + step * direction)

        steps = _STEPS.get(self._dtype, ())
        return proven_error(derivative, shifted, steps, *self._precision)

    @property
    def _precision(self) -> tuple[float, float]:
        return _TOLERANCES[self._dtype], _ROUNDING * _eps(self._dtype)

    def _differentiated(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return a point, a direction, and there the gradient and its derivative."""
        point, direction = self._draw()
        with self._kept:
            gradient_of, pull = self._step._linearize(self._at(point), self._record)
            # What never moves, such as an embedding's padding, may move others: its own
            # derivative is of no use, and torch does not give it.
            gradient = gradient_of()
            direction[(gradient == 0) & ~self._reached] = 0.0
            return point, direction, gradient, pull(direction).through

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Return a point near the start, and a direction as long as the parameters."""
        start, layout = self._start.parameters, self._step.live.layout
        shift, along = torch.randn(2, layout.size, generator=self._draws).to(start)
        point = start + _SHIFT * shift * torch.where(start == 0, 1.0, start)
        scales = [p.square().mean().sqrt().expand_as(p) for p in layout.split(point)]
        return point, along * layout.flatten(scales)

    def _gradient(self, point: Tensor) -> Tensor:
        """Return the gradient as training takes it, without a graph of it."""
        self._step.live.show(self._at(point))
        with self._kept:
            return self._step.gradient(*self._losses())

    def _losses(self) -> tuple[Tensor, Tensor]:
        """Return losses and coefficients as the modules are."""
        with seeded(self._record.seed, self._step.device):
            return self._step.objective.batch_losses(MicroBatch(0, _NO_ROWS))

    def _at(self, point: Tensor) -> State:
        # A forward pass may write to the parameters it is given.
        return replace(self._start, parameters=point.clone())


def _eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps
