"""What something other than the optimizer changes while a run is recorded."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from skorch.callbacks import Callback, EpochScoring, GradientNormClipping
from skorch.net import NeuralNet
from torch import Tensor, zeros_like

from ...exceptions import IrreproducibleStepError
from ...training import Clipping, LiveState, observe_clipping, same_values
from ...trajectory import Trajectory

_BETWEEN_BATCHES = ("on_batch_begin", "on_batch_end")
_BETWEEN_STEPS = (*_BETWEEN_BATCHES, "on_epoch_begin", "on_epoch_end")
_WITHIN_STEPS = ("on_grad_computed",)
# What a net of the user's may override, and run code of its own in.
_LOOP = ("fit_loop", "run_single_epoch", "get_iterator", "notify")
_LIBRARIES = ("skorch.", "skinfluence.")

_PARAMETERS = "the parameters or the optimizer's state were changed"
_GRADIENTS = "the gradients were changed"
_BY = "by something other than the optimizer, such as a callback"


def changed_state(net: NeuralNet, trajectory: Trajectory, *, within_call: bool) -> None:
    """Refuse, or note, that a state is not the one that the last step led to.

    Parameters
    ----------
    net : NeuralNet
        The net, one of whose callbacks may have changed it.
    trajectory : Trajectory
        The run, with all of its steps so far.
    within_call : bool
        Whether it happened within a call of ``fit``.

    Raises
    ------
    IrreproducibleStepError
        If it did, unless only the last epochs are kept: all may come after it.
    """
    number = trajectory.n_steps
    where = f"between steps {number - 1} and {number}"
    why = f"{_PARAMETERS} {where} {_BY}"
    if within_call:
        _refuse(trajectory, number, why + _named(net, _BETWEEN_STEPS), _FOR_PARAMETERS)
    else:
        trajectory.flaws[number] = why


def _refuse(trajectory: Trajectory, number: int, why: str, instead: str) -> None:
    if trajectory.keep_epochs is not None:
        trajectory.flaws[number] = why
        return
    raise IrreproducibleStepError(
        f"The run can be neither retraced nor repeated: {why}. {instead} With record=k "
        "the last k epochs can be retraced if it happens before them; record=None "
        "trains without influence."
    )


_FOR_PARAMETERS = (
    "Put the values back before the next step, or change them after the last one; "
    "noise can be drawn in `forward`."
)
_FOR_GRADIENTS = (
    "Clip them by norm or by value, or change the loss in `get_losses` instead."
)
_FOR_HOOKS = (
    "Remove it, or let it only look: constrain weights in the module "
    "(torch.nn.utils.parametrize), keep averages in tensors of its own, clip gradients "
    "and schedule the learning rate in callbacks."
)


def changed_by_hooks(
    trajectory: Trajectory, hooks: Sequence[Callable[..., Any]]
) -> None:
    """Refuse a step in which hooks around the optimizer's change anything."""
    step, names = trajectory.n_steps, ", ".join(map(_name_of, hooks))
    what = "the parameters, the optimizer's state or the buffers were changed"
    why = f"{what} in step {step} by what runs around the optimizer's step ({names})"
    _refuse(trajectory, step + 1, why, _FOR_HOOKS)


def _name_of(hook: Any) -> str:
    while isinstance(hook, partial):
        hook = hook.func
    return f"`{getattr(hook, '__qualname__', type(hook).__qualname__)}`"


def _named(net: NeuralNet, events: tuple[str, ...]) -> str:
    """Return which of the user's own hooks it may have been, to be appended."""
    found = ", ".join(_own_hooks(net, events))
    return f" ({found})" if found else ""


def _own_hooks(net: NeuralNet, events: tuple[str, ...]) -> Iterator[str]:
    for each in (net, *(callback for _, callback in net.callbacks_)):
        for event in events:
            module = getattr(getattr(each, event), "__module__", "")
            if not module.startswith(_LIBRARIES):
                yield f"`{type(each).__name__}.{event}`"


class StepWatch:
    """Looks at what callbacks do while a step is taken: clip its gradients, or nothing.

    The parameters are those that the step starts from, as a flat vector.
    """

    def __init__(self) -> None:
        self._raw: list[Tensor] = []
        self._known: Clipping | None = None

    def begin(self, live: LiveState) -> None:
        """Copy the gradients, before anything else may change them."""
        self._raw = [gradient.clone() for gradient in _gradients(live)]

    def check_accumulation(
        self, net: NeuralNet, trajectory: Trajectory, live: LiveState, start: Tensor
    ) -> None:
        """Refuse what was changed between two batches of a step."""
        if not self.unchanged(live):
            _refuse_within(net, trajectory, _GRADIENTS, _BETWEEN_BATCHES)
        if not live.holds(start):
            _refuse_within(net, trajectory, _PARAMETERS, _BETWEEN_BATCHES)

    def clipping(
        self, net: NeuralNet, trajectory: Trajectory, live: LiveState, start: Tensor
    ) -> Clipping | None:
        """Return the clipping in force, and refuse what else callbacks changed."""
        if not live.holds(start):
            _refuse_within(net, trajectory, _PARAMETERS, _WITHIN_STEPS)
        known = self._known or _declared_clipping(net)
        if known is None and self.unchanged(live):
            return None
        seen = _gradients(live)
        self._known = observe_clipping(self._raw, seen, known)
        # What is not finite is told as a divergence.
        finite = all(bool(gradient.isfinite().all()) for gradient in seen)
        if self._known is None and finite and not self.unchanged(live):
            what = f"{_GRADIENTS}, other than by clipping by norm or by value,"
            _refuse_within(net, trajectory, what, _WITHIN_STEPS)
        return self._known

    def unchanged(self, live: LiveState) -> bool:
        """Whether the gradients are those that were copied."""
        return all(map(same_values, self._raw, _gradients(live)))


def _refuse_within(
    net: NeuralNet, trajectory: Trajectory, what: str, events: tuple[str, ...]
) -> None:
    step = trajectory.n_steps
    why = f"{what} in step {step} {_BY}{_named(net, events)}"
    instead = _FOR_PARAMETERS if what is _PARAMETERS else _FOR_GRADIENTS
    _refuse(trajectory, step + 1, why, instead)


def _gradients(live: LiveState) -> list[Tensor]:
    return [zeros_like(p) if p.grad is None else p.grad for p in live.parameters]


def listeners(net: NeuralNet, event: str) -> list[Any]:
    """Return what does something at an event: the net, and those of its callbacks."""
    callbacks = (callback for _, callback in net.callbacks_)
    found = [each for each in callbacks if not _inherits(each, Callback, event)]
    # On the net skorch itself does something when a batch begins.
    idle = event != "on_batch_begin" and _inherits(net, NeuralNet, event)
    return found if idle else [net, *found]


def _inherits(each: Any, base: type, event: str) -> bool:
    """Whether an object's method for an event is that of its base class."""
    own = getattr(type(each), event, None) is not getattr(base, event)
    return not (own or event in getattr(each, "__dict__", ()))


def act_between_batches(net: NeuralNet) -> bool:
    """Whether anything but skorch's own loop runs from one step to the next."""
    loop = (getattr(type(net), method).__module__ for method in _LOOP)
    if not all(module.startswith(_LIBRARIES) for module in loop):
        return True
    for event in _BETWEEN_BATCHES:
        if not _inherits(net, NeuralNet, event):
            return True
        others = (each for each in listeners(net, event) if each is not net)
        # It keeps the outputs of the batch.
        if any(type(each) is not EpochScoring for each in others):
            return True
    return False


def _declared_clipping(net: NeuralNet) -> Clipping | None:
    for _, callback in net.callbacks_:
        bound = getattr(callback, "gradient_clip_value", None)
        if isinstance(callback, GradientNormClipping) and bound is not None:
            order = float(callback.gradient_clip_norm_type)
            return Clipping("norm", float(bound), order)
    return None
