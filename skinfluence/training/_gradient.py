"""The gradient of a batch loss, compiled once for each shape of batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ._compiler import CompiledFunctions, Flattened, mixes
from ._derivatives import descend
from ._functional import Functional
from ._objective import Batch, batch_coefficients
from ._randomness import drawn_inside
from ._rounding import close


@dataclass(frozen=True, slots=True)
class Descent:
    """The results of a batch besides the gradients, which the parameters have.

    Attributes
    ----------
    loss : Tensor of shape ()
        The batch loss.
    outputs : object
        The modules' outputs.
    compiled_size : int or None
        Number of samples that compiled code took the batch for, filled up with samples
        of weight 0; None if it was not compiled code.
    """

    loss: Tensor
    outputs: Any
    compiled_size: int | None = None


@dataclass(frozen=True, slots=True)
class _Form:
    """The results of a compiled step that are not tensors."""

    moved: tuple[int, ...]
    """The parameters that have a gradient."""
    outputs: Flattened


_Given = tuple[Tensor, Any, dict[int, Tensor], Sequence[Tensor]]
"""Loss, outputs, gradients by the parameters' positions, and buffers."""


@dataclass(frozen=True, slots=True)
class _Call:
    key: int
    size: int
    data: Flattened
    coefficients: Tensor
    wanted: tuple[int, ...]

    @property
    def use(self) -> tuple[str, int, int]:
        return "descend", self.key, self.size

    @property
    def compiled_size(self) -> int:
        return len(self.coefficients)


class CompiledGradient:
    """Sets the parameters' gradients of a batch loss, by compiled code.

    Its first use, for each shape and size of batch, is compared with autograd, which
    stays in use where compiling fails or the results differ, or once the modules are
    seen to hold something else than when they were compiled. Never compiled are batches
    that draw random numbers (compiled code draws others), those that cannot be filled
    up to their size, and gradients that are added to others.

    Training, and what repeats its steps bit for bit, must both use it.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        Every module whose parameters or buffers the losses depend on.
    forward, criterion : callable
        As in :class:`Objective`.
    compiled : CompiledFunctions
        The functions compiled so far; more are added.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        forward: Callable[[Any], Any],
        criterion: Callable[[Any, Any, Any], Tensor],
        compiled: CompiledFunctions,
    ) -> None:
        every = (p for module in modules for p in module.parameters())
        self.parameters: list[Tensor] = list(dict.fromkeys(every))
        self.forward = forward
        self.criterion = criterion
        self.compiled = compiled
        self.fills = not mixes(modules)
        self.device = self.parameters[0].device
        self._modules = modules
        self._functional = Functional(modules, self.parameters)
        self._is_current: bool | None = None
        self._equal: dict[tuple[int, int], Tensor] = {}

    def __call__(
        self,
        batch: Batch,
        size: int,
        compiled_size: int,
        wanted: Sequence[int] | None = None,
        weights: Tensor | None = None,
    ) -> Descent:
        """Descend: give the parameters their gradients, and the buffers their values.

        Parameters
        ----------
        batch : tuple
            Inputs, targets and the samples' weights c_i (None for 1).
        size : int
            Number of its samples.
        compiled_size : int
            Number of samples to compile for, `size` or more.
        wanted : sequence of int or None
            The parameters to differentiate in; None for those that require gradients.
        weights : Tensor of shape (size,) or None
            The w_i of the batch's samples; None for 1.

        Returns
        -------
        Descent
            The batch loss and the modules' outputs.
        """
        if self._is_current is None:
            self._is_current = self.compiled.are_of(self._modules)
            # What is no part of a module, such as a net's own losses, shows in results.
            self.compiled.compare_again("descend")
        fits = self._is_current and (size == compiled_size or self.fills)
        if not fits or any(p.grad is not None for p in self.parameters):
            return self._eager(batch, weights)
        if wanted is None:
            wanted = [k for k, p in enumerate(self.parameters) if p.requires_grad]
        call = self._call(batch, size, compiled_size, tuple(wanted), weights)
        trusted = self.compiled.trusted.get(call.use)
        if trusted is None:
            return self._first(call, batch, weights)
        if not trusted:
            return self._eager(batch, weights)
        return self._descent(call, self._compiled(call))

    def renew(self) -> None:
        """Look again whether the modules are as they were compiled."""
        if self._is_current:
            self._is_current = None

    def _eager(self, batch: Batch, weights: Tensor | None) -> Descent:
        inputs, targets, own = batch
        outputs = self.forward(inputs)
        losses = self.criterion(outputs, targets, inputs)
        coefficients = batch_coefficients(own, losses)
        if weights is not None:
            coefficients = weights * coefficients
        descend(losses, coefficients)
        return Descent(losses.detach() @ coefficients, outputs)

    def _first(self, call: _Call, batch: Batch, weights: Tensor | None) -> Descent:
        """Compile, and use what was compiled if it gives what autograd gives."""
        buffers = self._functional.buffers
        before = [buffer.clone() for buffer in buffers]
        with drawn_inside(self.device) as draws:
            eager = self._eager(batch, weights)
        if draws.any:
            self.compiled.trusted[call.use] = False
            return eager
        after = [buffer.clone() for buffer in buffers]
        gradients = [self.parameters[k].grad for k in call.wanted]
        self._put_back(before)
        given = self.compiled.first_use(
            call.use,
            lambda: self._compiled(call),
            lambda given: [
                [given[0]],
                [*map(given[2].get, call.wanted)],
                *([buffer] for buffer in given[3]),
            ],
            [[eager.loss], gradients, *([buffer] for buffer in after)],
            # That samples mix shows in batches that are filled up: these are not
            # compiled.
            "training" if call.size == call.compiled_size else None,
        )
        self._put_back(after)
        if given is None:
            return eager
        # Samples that mix a little differ by less than other code may.
        filled = call.size < call.compiled_size
        if filled and not close([given[0]], [eager.loss], 2 / 3):
            self.compiled.trusted[call.use] = False
            return eager
        return self._descent(call, given)

    def _put_back(self, buffers: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for buffer, value in zip(self._functional.buffers, buffers, strict=True):
                buffer.copy_(value)

    def _descent(self, call: _Call, given: _Given) -> Descent:
        """Give the parameters their gradients, and the buffers their values."""
        loss, outputs, gradients, buffers = given
        for k, parameter in enumerate(self.parameters):
            parameter.grad = gradients.get(k)
        if buffers:
            torch._foreach_copy_(list(self._functional.buffers), list(buffers))
        return Descent(loss, outputs, call.compiled_size)

    def _compiled(self, call: _Call) -> _Given:
        buffers = self._functional.buffers
        loss, *rest = self.compiled.call(
            self._descending(call),
            call.key,
            *self.parameters,
            *call.data.tensors,
            *buffers,
            call.coefficients,
            live=[*self.parameters, *buffers],
        )
        form: _Form = self.compiled.forms[call.key]
        n_moved, n_buffers = len(form.moved), len(buffers)
        gradients = dict(zip(form.moved, rest, strict=False))
        outputs = rest[n_moved + n_buffers :]
        if call.size < call.compiled_size:
            outputs = [_cut(x, call.size, call.compiled_size) for x in outputs]
        after = rest[n_moved : n_moved + n_buffers]
        return loss, form.outputs.unflatten(outputs), gradients, after

    def _descending(self, call: _Call) -> Callable[..., list[Tensor]]:
        """Return the step as a function of tensors alone."""
        n_parameters, n_data = len(self.parameters), len(call.data.tensors)

        def descend(*arguments: Tensor) -> list[Tensor]:
            # Leaves of their own, whatever is passed in; buffers may be written to.
            values = [value.detach() for value in arguments[:n_parameters]]
            wanted = [values[k].requires_grad_() for k in call.wanted]
            data = arguments[n_parameters : n_parameters + n_data]
            buffers = [b.clone() for b in arguments[n_parameters + n_data : -1]]
            losses, outputs = self._functional(
                values, buffers, self._losses, *call.data.unflatten(data)
            )
            coefficients = arguments[-1].to(losses)
            gradients: Sequence[Tensor | None] = torch.autograd.grad(
                losses, wanted, coefficients, allow_unused=True
            )
            pairs = zip(call.wanted, gradients, strict=True)
            moved = {k: g for k, g in pairs if g is not None}
            form = Flattened.of(outputs, self.device)
            self.compiled.forms[call.key] = _Form(tuple(moved), form)
            given = [tensor.detach() for tensor in form.tensors]
            return [losses.detach() @ coefficients, *moved.values(), *buffers, *given]

        return descend

    def _losses(self, inputs: Any, targets: Any) -> tuple[Tensor, Any]:
        outputs = self.forward(inputs)
        return self.criterion(outputs, targets, inputs), outputs

    def _call(
        self,
        batch: Batch,
        size: int,
        compiled_size: int,
        wanted: tuple[int, ...],
        weights: Tensor | None,
    ) -> _Call:
        inputs, targets, own = batch
        data = Flattened.of((inputs, targets), self.device)
        if size < compiled_size:
            data = data.filled(size, compiled_size)
        coefficients = self.coefficients(size, compiled_size)
        for factors in (own, weights):
            if factors is not None:
                coefficients = coefficients.clone()
                coefficients[:size] *= factors.to(coefficients)
        key = self.compiled.number(("descend", data.form, wanted))
        return _Call(key, size, data, coefficients, wanted)

    def coefficients(self, size: int, compiled_size: int) -> Tensor:
        """Return 1/|S_t| for the samples of a batch, 0 for what fills it up."""
        known = self._equal.get((size, compiled_size))
        if known is None:
            known = self.parameters[0].new_full((compiled_size,), 1.0 / size)
            known[size:] = 0.0
            self._equal[size, compiled_size] = known = known.detach()
        return known


def _cut(values: Tensor, size: int, filled: int) -> Tensor:
    return values[:size] if values.dim() and len(values) == filled else values
