"""The way back through a training step, compiled once for each shape of batch."""

import logging
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from .._typing import StepLike
from ..exceptions import CompilationWarning
from ._flat import PARAMETERS, LiveState, State
from ._functional import Functional
from ._objective import Objective
from ._step import Adjoint, TrainingStep, derivatives_along, weighted_gradients

logger = logging.getLogger(__name__)

# Layers that compute a sample's output from the whole batch.
_MIXING = (nn.modules.batchnorm._BatchNorm,)

# Stands for a tensor among a batch's data; beside tensors only what is compared by
# its value may be there, since the compiled functions hold it as it is.
_TENSOR = "<tensor>"
_PLAIN = (str, bool, type(None))

Function = Callable[..., Any]


@dataclass
class CompiledFunctions:
    """What was compiled, to be kept for further copies of the same step.

    Attributes
    ----------
    numbers : dict of Hashable to int
        What was compiled for, numbered: shapes of the batch, clipping, and the like.
    functions : dict of (str, int) to callable
        What was compiled, by its name and that number.
    trusted : dict of (int, int) to bool
        Whether it gives what the step gives without it, by that number and the
        number of samples.
    pads : bool or None
        Whether short batches may be filled up; None if that was not asked yet.
    """

    numbers: dict[Hashable, int] = field(default_factory=dict)
    functions: dict[tuple[str, int], Function] = field(default_factory=dict)
    trusted: dict[tuple[int, int], bool] = field(default_factory=dict)
    pads: bool | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    """A step as the compiled functions see it: tensors, and what they are made for."""

    key: int
    size: int
    tensors: tuple[Tensor, ...]
    spec: Any
    others: tuple[Any, ...]


class CompiledStep(TrainingStep):
    """A training step whose way back is compiled.

    The gradient's derivatives are traced, derivative by derivative, to one graph of
    plain operations, which TorchInductor makes a program of. The first use of each is
    compared with the step as it is without; where compiling fails, or gives something
    else, the step stays as it is. So it does for what is not compiled at all:
    steps that draw random numbers (compiled code draws others), stacks of queries, and
    batches of another size, if they cannot be filled up with samples of weight 0.

    Parameters
    ----------
    objective, live : object
        As in :class:`TrainingStep`.
    batch_size : int
        Number of samples in the batches to compile for, the largest of the run.
    compiled : CompiledFunctions
        What is compiled already; added to.
    """

    def __init__(
        self,
        objective: Objective,
        live: LiveState,
        batch_size: int,
        compiled: CompiledFunctions,
    ) -> None:
        super().__init__(objective, live)
        self.batch_size = batch_size
        self.compiled = compiled
        self._functional = Functional(objective.modules, live.parameters)
        self._coefficients: dict[int, Tensor] = {}

    def backward(
        self, state: State, step: StepLike, adjoint: Adjoint
    ) -> tuple[Tensor, Adjoint]:
        """Pull the adjoint back through the step, see :class:`TrainingStep`."""
        if not self._compilable(state, step, adjoint):
            return super().backward(state, step, adjoint)
        call = self._call(state, step)
        trusted = self.compiled.trusted.get((call.key, call.size))
        if trusted:
            return self._compiled(call, state, step, adjoint)
        expected = super().backward(state, step, adjoint)
        if trusted is not None:
            return expected
        return self._first(call, state, step, adjoint, expected)

    def _compilable(self, state: State, step: StepLike, adjoint: Adjoint) -> bool:
        return (
            step.seed is None
            and adjoint[PARAMETERS].dim() == 1
            and len(state.scalars) == len(self.live.parameters)
            and (len(step.rows) == self.batch_size or self._pads(state, step))
        )

    def _first(
        self,
        call: _Call,
        state: State,
        step: StepLike,
        adjoint: Adjoint,
        expected: tuple[Tensor, Adjoint],
    ) -> tuple[Tensor, Adjoint]:
        """Compile, and use what was compiled if it gives what is expected."""
        # Whatever the compiler fails with, the step can be had without it.
        try:
            with warnings.catch_warnings():
                # The compiler's own warnings are about its own parts.
                warnings.simplefilter("ignore")
                found = self._compiled(call, state, step, adjoint)
            trusted = _agree(found, expected)
            reason = "its result differs from the step's own"
        except Exception as error:
            trusted, reason = False, f"{type(error).__name__}: {error}"
        self.compiled.trusted[call.key, call.size] = trusted
        if trusted:
            return found
        warnings.warn(
            "The retrace step could not be compiled and is computed without "
            f"compiling, more slowly ({reason.splitlines()[0]}). Use compile=False to "
            "do without this warning.",
            CompilationWarning,
            stacklevel=2,
        )
        logger.debug("Compiling failed: %s", reason)
        return expected

    def _compiled(
        self, call: _Call, state: State, step: StepLike, adjoint: Adjoint
    ) -> tuple[Tensor, Adjoint]:
        foreign = [x for x in call.others if not isinstance(x, _PLAIN)]
        if foreign:
            raise TypeError(f"a batch has a {type(foreign[0]).__name__} among its data")
        active, clipping = step.active, step.clipping

        def gradients(flat: Tensor, arguments: Sequence[Tensor]) -> Any:
            # A leaf of its own, whatever is passed in.
            flat = flat.detach().requires_grad_()
            parameters = self.live.layout.split(flat)
            losses, coefficients = self._losses(call, parameters, arguments)
            own = [parameters[k] for k in active]
            coefficients.requires_grad_()
            found = weighted_gradients(losses, coefficients, own, clipping)
            return flat, found, coefficients

        def gradient(flat: Tensor, *arguments: Tensor) -> Tensor:
            return self._flat_gradient(step, gradients(flat, arguments)[1])

        def pull(flat: Tensor, *arguments: Tensor) -> Any:
            *arguments, direction = arguments  # type: ignore[assignment]
            flat, found, weights = gradients(flat, arguments)
            directions = self.live.layout.split(direction)
            along = [directions[k] for k in active]
            slopes, through = derivatives_along(found, [weights, flat], along)
            return slopes * weights.detach(), through

        def run(function: Function, *more: Tensor) -> Any:
            return self._function(call, function)(
                state.parameters, *call.tensors, *more
            )

        def run_pull(direction: Tensor) -> tuple[Tensor, Tensor]:
            slopes, through = run(pull, direction)
            return slopes[: call.size], through

        return self._pull(state, step, adjoint, lambda: run(gradient), run_pull)

    def _function(self, call: _Call, function: Function) -> Function:
        """Return a function compiled for the call."""
        key = function.__name__, call.key

        def compiled(*arguments: Tensor) -> Any:
            if key not in self.compiled.functions:
                self.objective.train(True)
                graph = make_fx(function)(*arguments)
                self.compiled.functions[key] = compile_graph(graph, [*arguments])
            with torch.no_grad():
                return self.compiled.functions[key](*arguments)

        return compiled

    def _losses(
        self, call: _Call, parameters: list[Tensor], arguments: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return losses and coefficients as a function of tensors alone."""
        mine = iter(arguments)
        leaves = [next(mine) if other is _TENSOR else other for other in call.others]
        inputs, targets = pytree.tree_unflatten(leaves, call.spec)

        def losses() -> Tensor:
            outputs = self.objective.forward(inputs)
            return self.objective.criterion(outputs, targets, inputs)

        # Buffers may be written to: what is passed in stays as it is.
        own = [next(mine).clone() for _ in self.live.buffers]
        fixed = {name: next(mine) for name in self._functional.fixed}
        coefficients = next(mine)
        found = self._functional(parameters, own, losses, **fixed)
        return found, coefficients.to(found).detach()

    def _call(self, state: State, step: StepLike) -> _Call:
        size = len(step.rows)
        inputs, targets, weights = self.objective.fetch(self._filled(step))
        leaves, spec = pytree.tree_flatten((inputs, targets))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        others = tuple(_TENSOR if isinstance(x, Tensor) else x for x in leaves)
        kinds = tuple(x if isinstance(x, _PLAIN) else type(x) for x in others)
        coefficients = self._equal_coefficients(size)
        if weights is not None:
            coefficients = coefficients * weights.to(coefficients)
        shapes = tuple((x.shape, x.stride(), x.dtype) for x in tensors)
        made_for = shapes, spec, kinds, step.active, step.clipping
        # A number in its place: it would be hashed several times in every step.
        key = self.compiled.numbers.setdefault(made_for, len(self.compiled.numbers))
        fixed = self._functional.fixed.values()
        every = (*tensors, *state.buffers, *fixed, coefficients)
        return _Call(key, size, every, spec, others)

    def _equal_coefficients(self, size: int) -> Tensor:
        """Return 1/|S_t| for the samples of a batch, 0 for what fills it up."""
        if size not in self._coefficients:
            like = self.live.parameters[0]
            self._coefficients[size] = like.new_full((self.batch_size,), 1.0 / size)
            self._coefficients[size][size:] = 0.0
        return self._coefficients[size]

    def _filled(self, step: StepLike) -> StepLike:
        """Return the step with its batch filled up to full size with its samples."""
        size = len(step.rows)
        if size == self.batch_size:
            return step
        rows = step.rows.repeat(-(-self.batch_size // size))[: self.batch_size]
        filled: Any = step
        return replace(filled, rows=rows)

    def _pads(self, state: State, step: StepLike) -> bool:
        """Whether other samples in the batch leave a sample's loss as it is."""
        if self.compiled.pads is None:
            modules = (m for part in self.objective.modules for m in part.modules())
            self.compiled.pads = not any(
                isinstance(m, _MIXING) for m in modules
            ) and self._ignores_others(state, step)
        return self.compiled.pads

    @torch.no_grad()
    def _ignores_others(self, state: State, step: StepLike) -> bool:
        self.live.show(state)
        self.objective.train(True)
        alone, _ = self.objective.batch_losses(step)
        filled, _ = self.objective.batch_losses(self._filled(step))
        return _close(filled[: len(alone)], alone, 0.5)


def compile_graph(graph: Any, examples: list[Any]) -> Function:
    """Compile a traced graph for tensors like these.

    ``torch.compile`` would trace it again and guard it against other tensors in each
    call, which takes as long as a small network's whole step; what the graph was made
    for is in the key that it is kept under.
    """
    import torch._inductor  # some seconds, which only those pay who compile

    return torch._inductor.compile(graph, examples)


def _agree(found: tuple[Tensor, Adjoint], expected: tuple[Tensor, Adjoint]) -> bool:
    pairs = [(found[0], expected[0])]
    pairs += [(found[1][name], vector) for name, vector in expected[1].items()]
    # Rounding may take a sample to the other side of a kink, such as a ReLU's.
    return all(_close(*pair, 0.25) for pair in pairs)


def _close(found: Tensor, expected: Tensor, power: float) -> bool:
    """Whether vectors agree to within a power of the precision they have."""
    tolerance = torch.finfo(expected.dtype).eps ** power
    return bool((found - expected).norm() <= tolerance * expected.norm())
