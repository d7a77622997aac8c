"""One torch.optim step on a flat vector, its state and its Jacobian."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import Tensor, optim
from torch.overrides import TorchFunctionMode

from ..exceptions import UnsupportedOptimizerError
from ._flat import PARAMETERS, Scalars
from ._options import WITH_FACTOR, Option, tensor_of
from ._record import Hyperparameters
from ._traced import Traced

GRADIENT = "gradient"

# Every supported optimizer with the names of its elementwise state.
_MOMENTS: dict[type[optim.Optimizer], tuple[str, ...]] = {
    optim.SGD: ("momentum_buffer",),
    optim.Adam: ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    optim.AdamW: ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
    optim.RMSprop: ("square_avg", "momentum_buffer", "grad_avg"),
    optim.Adagrad: ("sum",),
    optim.Adadelta: ("square_avg", "acc_delta"),
    optim.NAdam: ("exp_avg", "exp_avg_sq"),
    optim.RAdam: ("exp_avg", "exp_avg_sq"),
    optim.Adamax: ("exp_avg", "exp_inf"),
    optim.ASGD: ("ax",),
}

SUPPORTED_OPTIMIZERS = tuple(sorted(base.__name__ for base in _MOMENTS))
"""Names in `torch.optim` of those whose step can be retraced."""

_ROOTS = {Tensor.sqrt, Tensor.sqrt_}

# Optimizers whose step is linear in parameters, gradient and moments: their
# Jacobian is the same for every element and at every point.
_LINEAR = (optim.SGD,)

# Optimizers whose differentiable step divides by the learning rate.
_DIVIDING = (optim.Adam, optim.AdamW)

_REFUSED = {
    "LBFGS": "it evaluates the loss several times in a step",
    "Muon": "it mixes the elements of a matrix",
    "Adafactor": "it mixes the elements of a matrix",
    "SparseAdam": "its gradients are sparse",
    "Rprop": (
        "it uses only the sign of the gradient, so that no small change of a "
        "sample's weight ever changes its step: every influence would be 0"
    ),
}

# The scalar state before the first step, where it does not depend on the options.
_FIRST_SCALARS = (("step", 0.0), ("mu_product", 1.0), ("mu", 1.0))

# Options of how a step is computed, on which its state does not depend.
_WAYS = ("foreach", "fused", "capturable", "differentiable", "maximize")

LEARNING_RATE, WEIGHT_DECAY, MOMENTUM = "learning_rate", "weight_decay", "momentum"

# Optimizers whose learning rate at a step acts in later steps, through a number among
# their state, and those of which that is so for their first beta.
_RATE_ACTS_LATER, _BETA_ACTS_LATER = (optim.ASGD,), (optim.NAdam,)

Jacobian = Mapping[tuple[str, str], float | Tensor]
"""(output, input) -> derivative, one number or one for each element."""


def moment_names(optimizer: optim.Optimizer) -> tuple[str, ...]:
    """Return the names of the optimizer's elementwise state.

    Raises
    ------
    UnsupportedOptimizerError
        If the optimizer's step cannot be retraced.
    """
    cls = type(optimizer)
    for base, names in _MOMENTS.items():
        # A subclass may add options, but not another step.
        if issubclass(cls, base) and _unhooked(cls) is _unhooked(base):
            return names
    supported = ", ".join(SUPPORTED_OPTIMIZERS)
    reason = next(
        (why for base in cls.__mro__ if (why := _REFUSED.get(base.__name__))),
        "its step is not one of torch.optim's elementwise steps",
    )
    raise UnsupportedOptimizerError(
        f"`optimizer` must be one whose step can be retraced ({supported}), got "
        f"{cls.__name__}: {reason}. Use one of these, or record=None to train "
        "without influence."
    )


def _unhooked(cls: type[optim.Optimizer]) -> Any:
    """Return a class's step without what torch puts around it to call hooks.

    It does so for each class as the first of its instances is made.
    """
    step: Any = cls.step
    return step.__wrapped__ if hasattr(step, "hooked") else step


def state_nbytes(optimizer: torch.optim.Optimizer, buffers: Sequence[Tensor]) -> int:
    """Return the size of a state: parameters, optimizer state and buffers.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Holds the parameters; those that are trained count.
    buffers : sequence of Tensor
        The modules' buffers.

    Returns
    -------
    int
        In bytes.
    """
    size = sum(buffer.nbytes for buffer in buffers)
    groups = optimizer.param_groups
    trained = [[p for p in g["params"] if p.requires_grad] for g in groups]
    # All lie in vectors of the widest dtype.
    width = max((p.element_size() for p in chain.from_iterable(trained)), default=0)
    for group, own in zip(groups, trained, strict=True):
        count = sum(p.numel() for p in own)
        size += count * width * (1 + _count_moments(type(optimizer), group))
    return size


def _count_moments(cls: type[torch.optim.Optimizer], group: dict[str, object]) -> int:
    """Count the moments by a step of one number, as they depend on the options."""
    number = torch.zeros(1, requires_grad=True)
    number.grad = torch.ones(1)
    optimizer = cls([number], lr=0.1)  # type: ignore[call-arg]
    own = optimizer.param_groups[0]
    own.update({k: v for k, v in group.items() if k != "params"})
    own.update({"lr": 0.1, **{k: False for k in _WAYS if k in own}})
    optimizer.step()
    state = optimizer.state[number]
    return sum(state.get(name) is not None for name in moment_names(optimizer))


class UpdateRule:
    """The step of a ``torch.optim`` optimizer as a function of flat vectors.

    Every supported step is elementwise: element k of the new parameters and
    moments depends on element k of the old ones and of the gradient alone. So
    its Jacobian is one number for each element and (output, input) pair, and
    ``torch.optim``'s own code is what is differentiated.

    Parameters
    ----------
    optimizer_class : type
        A supported optimizer class.
    hyperparameters : mapping
        One parameter group without its parameters.
    """

    def __init__(
        self, optimizer_class: type[optim.Optimizer], hyperparameters: Hyperparameters
    ) -> None:
        self.linear = issubclass(optimizer_class, _LINEAR)
        placeholder = torch.zeros((), requires_grad=True)
        self._optimizer = optimizer_class([placeholder], lr=0.1)  # type: ignore[call-arg]
        # `step` is wrapped to allow for gradients only where the default says so.
        self._optimizer.defaults["differentiable"] = True
        self._group = self._optimizer.param_groups[0]
        self._group.update(hyperparameters)
        self._group.update(differentiable=True, foreach=False)
        for name in ("fused", "capturable"):
            if name in self._group:
                self._group[name] = False
        # In the first step of a warm-up the learning rate is often 0: it multiplies a
        # step that is taken with 1, which is the same, as the steps are linear in it.
        self._rate: float | Tensor | None = None
        if issubclass(optimizer_class, _DIVIDING) and not self._group["lr"]:
            self._rate, self._group["lr"] = 0.0, 1.0
        self._names = moment_names(self._optimizer)
        self._constant: dict[tuple[Any, ...], Jacobian] = {}
        self._in_options: dict[tuple[Any, ...], tuple[Sequence[Any], Tensor]] = {}

    def linearize(
        self,
        parameters: Tensor,
        gradient: Tensor,
        moments: Mapping[str, Tensor],
        scalars: Scalars | None,
    ) -> tuple[Jacobian, Tensor | None]:
        """Return the derivatives of the new state with respect to the old.

        Parameters
        ----------
        parameters, gradient : Tensor of shape (p,)
            Where the step was taken.
        moments : mapping of str to Tensor of shape (p,)
            The optimizer's elementwise state.
        scalars : tuple of (str, float) pairs, or None
            Its scalar state; None before the first step.

        Returns
        -------
        jacobian : mapping
            The derivatives.
        parameters : Tensor of shape (p,) or None
            The new parameters; None for a linear step, whose Jacobian gives them.
        """
        if not self.linear:
            return self._linearize(parameters, gradient, moments, scalars)
        # One element in double precision stands for all.
        key = (scalars is None, tuple(moments))
        if key not in self._constant:
            one = torch.ones(1, dtype=torch.float64, device=parameters.device)
            ones = dict.fromkeys(moments, one)
            jacobian, _ = self._linearize(one, one, ones, scalars)
            self._constant[key] = {k: float(v) for k, v in jacobian.items()}
        return self._constant[key], None

    def _linearize(
        self,
        parameters: Tensor,
        gradient: Tensor,
        moments: Mapping[str, Tensor],
        scalars: Scalars | None,
    ) -> tuple[Jacobian, Tensor]:
        point = {PARAMETERS: parameters, GRADIENT: gradient, **moments}
        traced = self._traced(point, scalars)
        jacobian = {
            (output, name): slope
            for output in traced.outputs
            for name, slope in traced.elementwise(output, list(point)).items()
        }
        return jacobian, traced.outputs[PARAMETERS].detach()

    def trace(
        self,
        parameters: Tensor,
        gradient: Tensor,
        moments: Mapping[str, Tensor],
        scalars: Scalars | None,
    ) -> Traced:
        """Return a graph of the step, from its options too.

        Parameters
        ----------
        parameters, gradient, moments, scalars : object
            As in :meth:`linearize`.

        Returns
        -------
        Traced
            Its inputs are the parameters, the gradient, the moments, and the `options`.
        """
        point = {PARAMETERS: parameters, GRADIENT: gradient, **moments}
        number = torch.zeros((), dtype=torch.float64, device=parameters.device)
        return self._traced(point, scalars, number)

    def _traced(
        self,
        point: Mapping[str, Tensor],
        scalars: Scalars | None,
        like: Tensor | None = None,
    ) -> Traced:
        """Trace the step, with options of the shape of `like` among the inputs."""
        inputs = {k: v.detach().clone().requires_grad_() for k, v in point.items()}
        options = {}
        if like is not None:
            options = {
                name: torch.full_like(like, value).requires_grad_()
                for name, value in self.options.items()
            }
        with self._given(options), _Differentiable():
            outputs = self._step(inputs, scalars)
        return Traced({**inputs, **options}, outputs)

    @property
    def options(self) -> dict[str, float]:
        """The options that a step can be differentiated in, and their values."""
        group, cls = self._group, type(self._optimizer)
        found = {}
        if not issubclass(cls, _RATE_ACTS_LATER):
            found[LEARNING_RATE] = float(group["lr"] if self._rate is None else 0.0)
        if "weight_decay" in group:
            found[WEIGHT_DECAY] = float(group["weight_decay"])
        if group.get("momentum"):
            found[MOMENTUM] = float(group["momentum"])
        elif "betas" in group and not issubclass(cls, _BETA_ACTS_LATER):
            found[MOMENTUM] = float(group["betas"][0])
        return found

    def linear_option_slopes(
        self,
        parameters: Tensor,
        gradient: Tensor,
        moments: Mapping[str, Tensor],
        scalars: Scalars | None,
        adjoint: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Differentiate ⟨adjoint, new state⟩ of a linear step in its `options`.

        Parameters
        ----------
        parameters, gradient, moments, scalars : object
            As in :meth:`linearize`.
        adjoint : mapping of str to Tensor of shape (p,)
            Those of the new state.

        Returns
        -------
        dict of str to Tensor of shape ()
            By the option's name.
        """
        point = {PARAMETERS: parameters, GRADIENT: gradient, **moments}
        key = (scalars is None, tuple(moments))
        if key not in self._in_options:
            self._in_options[key] = self._by_place(list(point), scalars)
        places, factors = self._in_options[key]
        nothing = parameters.new_zeros(())
        products = [
            adjoint[output] @ point[name] if output in adjoint else nothing
            for output, name in places
        ]
        total = factors.to(parameters.device) @ torch.stack(products).double()
        return dict(zip(self.options, total.unbind(), strict=True))

    def _by_place(
        self, names: Sequence[str], scalars: Scalars | None
    ) -> tuple[list[tuple[str, str]], Tensor]:
        """Return the entries of a linear step's Jacobian that options change, and how.

        The second is of shape (n_options, n_entries).
        """
        # Element k of the vectors has all inputs 0 but the k-th.
        units = torch.eye(len(names), dtype=torch.float64)
        point = dict(zip(names, units, strict=True))
        traced = self._traced(point, scalars, units.new_zeros(len(names)))
        zeros = units.new_zeros(len(names))
        found = {}
        for output in traced.outputs:
            own = traced.elementwise(output, list(self.options))
            by_option = torch.stack([own.get(name, zeros) for name in self.options])
            for name, factors in zip(names, by_option.T, strict=True):
                if factors.any():
                    found[output, name] = factors
        return list(found), torch.stack(list(found.values()), dim=1)

    @contextmanager
    def _given(self, options: Mapping[str, Tensor]) -> Iterator[None]:
        """Take steps that depend on tensors for the options."""
        given = {k: Option(self.options[k], leaf) for k, leaf in options.items()}
        group, rate = dict(self._group), self._rate
        if rate is not None:
            self._rate = options.get(LEARNING_RATE, rate)
        elif LEARNING_RATE in given:
            self._group["lr"] = given[LEARNING_RATE]
        if WEIGHT_DECAY in given:
            self._group["weight_decay"] = given[WEIGHT_DECAY]
        if MOMENTUM in given and group.get("momentum"):
            self._group["momentum"] = given[MOMENTUM]
        elif MOMENTUM in given:
            self._group["betas"] = given[MOMENTUM], group["betas"][1]
        try:
            yield
        finally:
            self._group.update(group)
            self._rate = rate

    def _step(
        self, inputs: Mapping[str, Tensor], scalars: Scalars | None
    ) -> dict[str, Tensor]:
        first = scalars is None
        if scalars is not None:
            # The optimizer changes its tensors in place, which leaves do not allow.
            moments = {k: v.clone() for k, v in inputs.items() if k in self._names}
        else:
            moments = {k: torch.zeros_like(inputs[PARAMETERS]) for k in self._names}
            scalars = (*_FIRST_SCALARS, ("eta", float(self._group["lr"])))
        parameter = inputs[PARAMETERS].clone()
        parameter.grad = inputs[GRADIENT].clone()
        self._group["params"] = [parameter]
        state = {**moments, **{k: _scalar(k, v) for k, v in scalars}}
        self._optimizer.state = defaultdict(dict, {parameter: state})
        with self._first_step() if first else nullcontext():
            self._optimizer.step()
        after = self._optimizer.state[parameter]
        if self._rate is not None:
            start = inputs[PARAMETERS]
            parameter = start + self._rate * (parameter - start)
        return {
            PARAMETERS: parameter,
            **{k: after[k] for k in self._names if k in after},
        }

    @contextmanager
    def _first_step(self) -> Iterator[None]:
        # SGD starts its buffer from a detached copy of the gradient; the zero buffer
        # without dampening gives the same step, and its derivative too.
        dampening = self._group.get("dampening")
        try:
            if dampening is not None:
                self._group["dampening"] = 0.0
            yield
        finally:
            if dampening is not None:
                self._group["dampening"] = dampening


def _scalar(name: str, value: float) -> Tensor:
    # The count of steps is an integer that `differentiable` steps keep in a tensor:
    # in double precision its powers are those of the ordinary step. The others are of
    # the default dtype, but no less than single precision.
    single = torch.promote_types(torch.get_default_dtype(), torch.float32)
    return torch.tensor(value, dtype=torch.float64 if name == "step" else single)


class _Differentiable(TorchFunctionMode):
    """Lets ``torch.optim``'s code be differentiated where autograd alone fails.

    The square root of a second moment has slope 0 at 0. Gradients that lead there are
    0, or so small that their squares are (nearly dead units): the root is then 0 for
    every gradient near them, and the step is the gradient divided by `eps`.

    Options may be :class:`Option` numbers, in which the result is differentiable.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _ROOTS:
            zero = args[0] == 0
            return args[0].masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)
        if any(isinstance(value, Option) for value in (*args, *kwargs.values())):
            return WITH_FACTOR.get(func, func)(
                *map(tensor_of, args), **{k: tensor_of(v) for k, v in kwargs.items()}
            )
        if func is Tensor.mul_ and isinstance(args[1], Tensor):
            # ASGD changes the factor in place afterwards.
            args = args[0], args[1].clone()
        return func(*args, **kwargs)


def pull_back(jacobian: Jacobian, adjoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Apply the transposed Jacobian: adjoints of the outputs to those of the inputs.

    The adjoints may be stacks ``(q, p)`` of flat vectors.
    """
    pulled: dict[str, Tensor] = {}
    for (output, name), derivative in jacobian.items():
        if output not in adjoint:
            continue
        term = adjoint[output] if _is_one(derivative) else adjoint[output] * derivative
        pulled[name] = pulled[name] + term if name in pulled else term
    return pulled


def push_forward(
    jacobian: Jacobian, tangent: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Apply the Jacobian: tangents of the inputs to those of the outputs, as above."""
    swapped = {(name, output): value for (output, name), value in jacobian.items()}
    return pull_back(swapped, tangent)


def _is_one(derivative: float | Tensor) -> bool:
    return not isinstance(derivative, Tensor) and derivative == 1.0
