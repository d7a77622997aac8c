"""One call of ``fit`` while it trains: its batches, its seeds, its record."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from skorch.callbacks import Callback
from skorch.net import NeuralNet
from torch import Tensor, nn

from ..._interrupts import deferred_interrupts
from ..._progress import no_advance
from ..._warnings import warn_caller
from ...exceptions import DivergenceWarning
from ...training import (
    Clipping,
    CompiledGradient,
    LiveState,
    MicroBatch,
    State,
    derive_seed,
    derive_seeds,
    moment_names,
    same_values,
)
from ...trajectory import StepRecord, Trajectory, parameters_digest
from .._net import InfluenceNet, net_buffers, net_modules
from .._training_data import TrainingData
from .first_step import check_first_step
from .fixed_parts import FixedParts
from .going_back import go_back, replay_of
from .observations import (
    active,
    add_trained,
    continues,
    hyperparameters,
    same,
    warn_of_buffers,
)
from .optimizer_hooks import StepTwice, step_hooks
from .outside_changes import (
    StepWatch,
    act_between_batches,
    changed_by_hooks,
    changed_state,
    listeners,
)


class TrainingRun:
    """One call of ``fit`` or ``partial_fit`` while it trains.

    The hooks of the net call it in this order; skorch's loop decides how often::

        for each epoch:   begin_epoch, expect (the sizes of its batches)
            for each batch:   begin_batch
                              before_callbacks, after_callbacks (with the gradients of
                              a step)
                              end_batch
        end               (or close, if an error ends the training)

    A resumed run answers `repeat` in place of the batches that it has recorded.

    Parameters
    ----------
    data : TrainingData
        The training data.
    number : int
        Number of this call among those that trained the model.
    seed : int
        Seed of the run.
    n_steps, n_epochs : int
        Number of steps and epochs of earlier calls.
    trajectory : Trajectory or None
        Where the steps are recorded; None to record nothing.
    accumulate : int
        Number of batches in a step.
    """

    def __init__(
        self,
        data: TrainingData,
        number: int,
        seed: int,
        n_steps: int,
        n_epochs: int,
        trajectory: Trajectory | None,
        accumulate: int = 1,
    ) -> None:
        self.data = data
        self.number = number
        self.item_seed: int | None = None  # of what a Dataset draws in the epoch
        self.seed = seed
        self.n_steps = n_steps
        self.n_epochs = n_epochs
        self.trajectory = trajectory
        self.accumulate = accumulate
        self.batches: deque[Tensor] = deque()
        self.n_left = 0  # batches of the epoch that are still to be taken
        self.seeds: Iterator[int] = iter(())  # of the steps with these batches
        self.seed_of_step = 0
        self.share = 1.0  # of each batch in the step's loss
        self.scale = 1.0  # of the mean over these batches
        self.n_in_step = 1
        self.n_taken = 0  # batches of the step before the one in hand
        self.completes = True  # whether the batch in hand is the last of its step
        self._taken: list[tuple[Tensor, float, bool]] = []  # batches of the step
        self.largest = 0  # batch of the epoch
        self.gradient: CompiledGradient | None = None
        self.compiled_size: int | None = None  # of the step in hand
        self.rows = torch.empty(0, dtype=torch.int64)
        # Seeds count all that was ever done; records only what the trajectory holds.
        self.epoch = 0
        self._modules: list[nn.Module] | None = None
        self._listeners: dict[str, list[Any]] = {}  # of these callbacks
        self._callbacks: list[tuple[str, Callback]] = []
        self._live: LiveState | None = None
        self.epoch_done: Callable[..., Any] = no_advance  # moves the progress bar
        self._new_epoch = True
        self._before: State | None = None
        self._fixed: FixedParts | None = None
        # The parameters that the last step led to.
        final = None if trajectory is None else trajectory.final
        self._after = None if final is None else final.parameters
        self._start = self._after  # those that the step in hand starts from
        self._marks: list[tuple[int, int]] = []  # of the optimizer's state after it
        self._watch = StepWatch()
        self.loads = True  # by code of the user's, such as a Dataset's
        self._watched = True  # whether anything may change the net between two steps
        self._twice: StepTwice | None = None  # where something runs around the step
        self._clipping: Clipping | None = None
        self.stopped = False  # by an interrupt
        self.n_threads: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Compiled code stays where it was compiled.
        looked_up: dict[str, Any] = {
            "_modules": None,
            "_listeners": {},
            "_callbacks": [],
        }
        return {**self.__dict__, "gradient": None, **looked_up}

    def begin_epoch(self) -> int:
        """Count a new epoch and return the seed of its batches."""
        self.n_epochs += 1
        self.epoch = 1 + (0 if self.trajectory is None else self.trajectory.n_epochs)
        self._new_epoch = True
        if self.gradient is not None:
            self.gradient.renew()
        self.batches.clear()
        self._modules, self._listeners = None, {}
        if self.data.draws:
            self.item_seed = derive_seed(self.seed, "items", self.n_epochs)
        return derive_seed(self.seed, "sampling", self.n_epochs)

    def expect(self, sizes: Sequence[int]) -> None:
        """Prepare for the batches of an epoch."""
        self.n_left = len(sizes)
        self.largest = max(sizes, default=0)
        n_steps = -(-len(sizes) // self.accumulate)
        self.seeds = iter(derive_seeds(self.seed, "step", self.n_epochs, n_steps))

    def modules(self, net: NeuralNet) -> list[nn.Module]:
        """Return every module of the net, looked up once an epoch."""
        if self._modules is None:
            parts = net_modules(net)
            self._modules = [m for part in parts for m in part.modules()]
        return self._modules

    def listeners(self, net: NeuralNet, event: str) -> list[Any]:
        """Return what does something at an event of each batch, found once an epoch."""
        if self._callbacks != net.callbacks_:
            self._callbacks, self._listeners = [*net.callbacks_], {}
        found = self._listeners.get(event)
        if found is None:
            found = self._listeners[event] = listeners(net, event)
        return found

    def weights(self) -> Tensor | None:
        """Return the c_i of the current batch."""
        return None if self.data.weights is None else self.data.weights[self.rows]

    def repeat(self, net: NeuralNet) -> dict[str, Any] | None:
        """Return the outcome of a step that need not be taken."""
        return None

    def begin_batch(self, net: InfluenceNet, loaded: Any) -> int:
        """Begin with the next batch, as it was loaded, and return its seed."""
        self.take_batch()
        if not self.n_taken and self.trajectory is not None:
            begins = self._live is None and self.number == 0
            new_epoch = self._new_epoch
            self._before = self._state_before(net, self.trajectory)
            if new_epoch:
                self._check_fixed(net, self.trajectory)
            if begins:
                self._check_first_step(net, loaded)
            assert self._live is not None
            hooks = step_hooks(net.optimizer_)
            self._twice = StepTwice(self._live) if hooks else None
        elif self._recorded:
            self._watch.check_accumulation(net, *self._recorded)
        return self.batch_seed

    @property
    def batch_seed(self) -> int:
        """The seed of the batch in hand."""
        return self.seed_of_step + self.n_taken

    @property
    def _recorded(self) -> tuple[Trajectory, LiveState, Tensor] | None:
        """The trajectory, the net's state and the step's first parameters, if any."""
        trajectory, live, start = self.trajectory, self._live, self._start
        if trajectory is None or live is None or start is None:
            return None
        return trajectory, live, start

    def take_batch(self) -> None:
        """Take the next batch, of the step in hand or a new one."""
        if not self.n_taken:
            self.seed_of_step = next(self.seeds)
            self.n_in_step = min(self.accumulate, self.n_left)
            self.share = 1.0 / self.n_in_step
        self.completes = self.n_taken + 1 == self.n_in_step
        self.rows = self.batches.popleft()
        self.n_left -= 1

    def _check_fixed(self, net: InfluenceNet, trajectory: Trajectory) -> None:
        """Refuse a net that was changed since the last epoch where no state shows it.

        Callbacks that change modules mostly do so between epochs.
        """
        assert self._live is not None
        now, step = FixedParts(net, self._live.parameters), trajectory.n_steps
        if self._fixed is not None:
            self._fixed.check(now, step)
        self._fixed = now

    def _check_first_step(self, net: InfluenceNet, loaded: Any) -> None:
        assert self._live is not None
        rows = self.rows + self.data.offset
        batch = MicroBatch(
            self.number, rows, self.seed_of_step, item_seed=self.item_seed
        )
        check_first_step(net, loaded, batch, self._live.parameters)

    def _state_before(self, net: NeuralNet, trajectory: Trajectory) -> State | None:
        """Return the state, or None if it is not kept."""
        add_trained(trajectory, net.optimizer_)
        live, number = self._live, trajectory.n_steps
        # A setting that changed between two calls concerns the steps of one only.
        new_call = live is None
        grown = live is not None and len(live.addresses) < len(trajectory.addresses)
        if live is not None and type(live.optimizer) is not type(net.optimizer_):
            changed_state(net, trajectory, within_call=True)
        if live is None or grown or live.optimizer is not net.optimizer_:
            names = moment_names(net.optimizer_)
            self._live = live = LiveState(
                net.optimizer_, trajectory.addresses, net_buffers(net), names
            )
        # The optimizer's state is looked at where most callbacks would change it, and
        # where one is seen to.
        if self._new_epoch:
            self._watched = self._may_be_changed(net)
        whole = new_call or grown or self._new_epoch
        self._new_epoch = False
        after = self._after
        if whole or after is None or (self._watched and not self._held(live, after)):
            state = live.read()
            self._start = state.parameters
            if after is not None:
                self._compare(net, trajectory, live, state, new_call, grown)
                warn_of_buffers(net, trajectory.final, state.buffers)
        else:
            self._start = after
            if not trajectory.keeps(number):
                return None
            state = live.read() if trajectory.final is None else trajectory.final
        return state if new_call or trajectory.keeps(number) else None

    def _may_be_changed(self, net: InfluenceNet) -> bool:
        """Whether any code of the user's runs between two steps of an epoch."""
        return self.loads or act_between_batches(net)

    def _held(self, live: LiveState, after: Tensor) -> bool:
        """Whether nothing but the optimizer changed the state since the last step."""
        return not self._touched(live) and live.holds(after)

    def _touched(self, live: LiveState) -> bool:
        """Whether the optimizer's state was written to since the last step."""
        return live.marks()[: len(self._marks)] != self._marks

    def _compare(
        self,
        net: NeuralNet,
        trajectory: Trajectory,
        live: LiveState,
        state: State,
        new_call: bool,
        grown: bool,
    ) -> None:
        """Compare a state with the outcome of the last step."""
        final, after = trajectory.final, self._after
        assert after is not None
        held = same_values(after, state.parameters[: len(after)])
        if not held or (
            self._touched(live) if final is None else not continues(final, state)
        ):
            changed_state(net, trajectory, within_call=not new_call)
        elif grown or final is None or not same(final.buffers, state.buffers):
            # The steps before do not lead to parameters that are first trained now,
            # or to buffers that a callback renewed.
            trajectory.anchors.add(trajectory.n_steps)

    def before_callbacks(self, net: NeuralNet) -> None:
        """Look at a step's gradients before callbacks may change them."""
        if self._live is not None and self.listeners(net, "on_grad_computed"):
            self._watch.begin(self._live)

    def after_callbacks(self, net: NeuralNet) -> None:
        """Look at what callbacks changed, before the optimizer's step."""
        self._clipping = None
        if self._recorded and self.listeners(net, "on_grad_computed"):
            self._clipping = self._watch.clipping(net, *self._recorded)
        self._see_gradients()

    def _see_gradients(self) -> None:
        """Look at what the optimizer is given, if something runs around its step."""
        if self._twice is not None and self._live is not None:
            self._twice.see_gradients(self._live)

    def end_batch(self, net: NeuralNet, loss: float, drew: bool) -> None:
        """Note the batch just taken, and record the step if it was its last."""
        with deferred_interrupts():
            self._taken.append((self.rows, loss, drew))
            if self.completes:
                self._end_step(net)
                self._taken.clear()
            elif self._live is not None:
                self._watch.begin(self._live)
            self.n_taken = len(self._taken)

    def _end_step(self, net: NeuralNet) -> None:
        self.n_steps += 1
        live, trajectory, before = self._live, self.trajectory, self._before
        if live is None or trajectory is None:
            return
        if self._twice is not None and not self._twice.leads_to(live):
            changed_by_hooks(trajectory, step_hooks(net.optimizer_))
        self._twice = None
        step = trajectory.n_steps
        last = trajectory.records[-1] if trajectory.records else None
        self._after, after = self._state_after(live, trajectory)
        self._marks = live.marks()
        batches, losses, drew = zip(*self._taken, strict=True)
        single = len(batches) == 1
        rows = batches[0] if single else torch.cat(batches)
        loss = losses[0] if single else sum(losses) / len(losses)
        loss *= self.scale
        record = StepRecord(
            step,
            self.epoch,
            self.number,
            rows + self.data.offset if self.data.offset else rows,
            self.seed_of_step if any(drew) else None,
            hyperparameters(net.optimizer_, last),
            active(live, last),
            self._clipping,
            None if trajectory.interval == 1 else parameters_digest(self._after),
            loss,
            self.compiled_size if single else None,
            torch.get_num_threads(),
            () if single else tuple(map(len, batches)),
            () if single else losses,
            self.item_seed,
            self.scale,
        )
        trajectory.append(record, before, after)
        samples = self.data.offset + len(self.data)
        trajectory.n_samples = max(trajectory.n_samples, samples)
        if trajectory.diverged_at is None and not math.isfinite(loss):
            trajectory.diverged_at = step

    def _state_after(
        self, live: LiveState, trajectory: Trajectory
    ) -> tuple[Tensor, State | None]:
        """Return the parameters, and the whole state if it is kept."""
        # At an epoch's end callbacks may look at the trajectory, or save it.
        if self.n_left == 0 or trajectory.keeps(trajectory.n_steps + 1):
            state = live.read()
            return state.parameters, state
        with torch.no_grad():
            return live.layout.flatten(live.parameters), None

    def end(self, net: InfluenceNet) -> None:
        """Close the run: look for a return to an earlier state, and for divergence."""
        trajectory = self.trajectory
        live, after = self._live, self._after
        if trajectory is None or live is None or after is None:
            return
        if not live.holds(after):
            go_back(net, trajectory, live.read().parameters)
        self._check_fixed(net, trajectory)
        self.close(net)
        assert trajectory.final is not None
        # Callbacks may have renewed BatchNorm's statistics: predictions use them.
        buffers = live.read().buffers
        warn_of_buffers(net, trajectory.final, buffers)
        if not same(buffers, trajectory.final.buffers):
            trajectory.anchors.add(trajectory.n_steps)
        trajectory.final = replace(trajectory.final, buffers=buffers)
        if (
            trajectory.diverged_at is None
            and not trajectory.final.parameters.isfinite().all()
        ):
            trajectory.diverged_at = trajectory.n_steps - 1
        if trajectory.diverged_at is not None:
            warn_caller(
                "The training run diverged: the loss or a parameter is not finite "
                f"from step {trajectory.diverged_at} on. Lower `lr` or scale X and y.",
                DivergenceWarning,
            )

    def close(self, net: NeuralNet) -> None:
        """Complete the final state, which need not be whole within an epoch."""
        trajectory, live, after = self.trajectory, self._live, self._after
        if trajectory is None or live is None or after is None:
            return
        if trajectory.final is None:
            holds = live.holds(after)
            trajectory.final = (
                live.read()
                if holds
                else replay_of(net, trajectory).state(trajectory.n_steps)
            )

    def break_off(self, net: NeuralNet) -> None:
        """Close the run on its last whole step, and take the net back to it."""
        self.close(net)
        live, after = self._live, self._after
        if self.trajectory is None or live is None or after is None:
            return
        assert self.trajectory.final is not None
        if not live.holds(after):
            live.write(self.trajectory.final)
