"""What a training run did: its steps, and the states they began from."""

from dataclasses import dataclass, field

import torch

from .._typing import Hyperparameters
from ..training import Address, Clipping, State
from ._store import MemoryStore


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One training step as it was taken.

    Parameters
    ----------
    step : int
        Number of the step in the run, from 0.
    epoch : int
        Number of its epoch, from 1.
    data : int
        Which of the data sets given to ``fit`` and ``partial_fit`` it drew on.
    rows : Tensor of shape (batch,), int64
        The samples of the batch, as rows of the run's samples; a sample drawn twice
        stands twice.
    seed : int or None
        Seed of the random numbers that the step drew; None if it drew none.
    hyperparameters : tuple of mapping
        What the optimizer really used, a mapping for each parameter group.
    active : tuple of int
        Which of the recorded parameters had a gradient, by position.
    clipping : Clipping or None
        The gradient clipping in force.
    """

    step: int
    epoch: int
    data: int
    rows: torch.Tensor
    seed: int | None
    hyperparameters: tuple[Hyperparameters, ...]
    active: tuple[int, ...]
    clipping: Clipping | None = None


@dataclass
class Trajectory:
    """The steps of a training run and the states they began from.

    Parameters
    ----------
    seed : int
        Seed of the run: of its initialization, its batches and its steps.
    keep_epochs : int or None
        How many of the last epochs keep their states; None for all.
    addresses : list of (group, index)
        The recorded parameters, as places in the optimizer's parameter groups, in
        the order in which they were first trained.
    untrained : list of Tensor
        Their values before they were first trained.
    records : list of StepRecord
        Every step of the run.
    final : State or None
        The state after the last step.
    flaws : dict of int to str
        Number of a state -> why the path into that state cannot be retraced.
    diverged_at : int or None
        The first step whose loss or parameters are not finite.
    n_samples : int
        Number of samples that the steps' rows count in.
    """

    seed: int
    keep_epochs: int | None = None
    addresses: list[Address] = field(default_factory=list)
    untrained: list[torch.Tensor] = field(default_factory=list)
    records: list[StepRecord] = field(default_factory=list)
    final: State | None = None
    flaws: dict[int, str] = field(default_factory=dict)
    diverged_at: int | None = None
    n_samples: int = 0
    _store: MemoryStore = field(default_factory=MemoryStore, init=False, repr=False)

    def append(self, record: StepRecord, before: State, after: State) -> None:
        """Add a step.

        Parameters
        ----------
        record : StepRecord
            The step.
        before, after : State
            What it began from, and what it led to.
        """
        if self.records and record.epoch != self.records[-1].epoch:
            self._forget()
        self.records.append(record)
        self._store[record.step] = before
        self.final = after

    def _forget(self) -> None:
        """Drop the states of the epochs that are no longer kept."""
        if self.keep_epochs is not None:
            # The epoch about to begin is one of those to keep.
            oldest = self.n_epochs + 2 - self.keep_epochs
            for record in self.records[self.first_recorded_step :]:
                if record.epoch >= oldest:
                    break
                del self._store[record.step]

    def truncate(self, n_steps: int) -> None:
        """End the run earlier.

        Parameters
        ----------
        n_steps : int
            How many of its first steps stay.
        """
        if n_steps == self.n_steps:
            return
        self.final = self._store[n_steps]
        for record in self.records[n_steps:]:
            del self._store[record.step]
        del self.records[n_steps:]
        # A state's flaw lies on the path into it: the new end keeps its own.
        self.flaws = {k: why for k, why in self.flaws.items() if k <= n_steps}
        if self.diverged_at is not None and self.diverged_at >= n_steps:
            self.diverged_at = None

    @property
    def n_steps(self) -> int:
        """Number of steps of the run."""
        return len(self.records)

    @property
    def n_epochs(self) -> int:
        """Number of epochs of the run."""
        return self.records[-1].epoch if self.records else 0

    @property
    def first_recorded_step(self) -> int:
        """The first step whose state is kept; ``n_steps`` if there is none."""
        # Steps are added in order and dropped from either end.
        return next(iter(self._store), self.n_steps)

    @property
    def nbytes(self) -> int:
        """Size of the kept states in bytes."""
        kept = self._store.nbytes
        return kept if self.final is None else kept + self.final.nbytes

    def state(self, step: int) -> State:
        """Return what a step began from.

        Parameters
        ----------
        step : int
            Number of the step; the number of steps for the final state.

        Returns
        -------
        State
            Parameters, optimizer state and buffers.
        """
        if step == self.n_steps and self.final is not None:
            return self.final
        return self._store[step]

    def epoch_ends(self) -> dict[int, int]:
        """Return where the epochs end.

        Returns
        -------
        dict of int to int
            Epoch -> number of the state at its end, in order.
        """
        return {record.epoch: record.step + 1 for record in self.records}

    def first_step_of_last(self, epochs: int) -> int:
        """Return where the last epochs begin.

        Parameters
        ----------
        epochs : int
            How many epochs.

        Returns
        -------
        int
            Number of the first step of these epochs.
        """
        ends = list(self.epoch_ends().values())
        return ends[-epochs - 1] if epochs < len(ends) else 0
