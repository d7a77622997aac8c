"""A recorded training run: its steps, and the states they began from."""

import math
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch

from .._summary import Summarized
from ..training import State, StepRecord, parameters_digest
from ._disk.shards import SavedStates
from ._disk.whole_run import load, save
from ._facts import RunFacts, cut_facts
from ._schedule import Schedule, leaves_room
from ._store import MemoryStore, StateStore
from ._words import run_in_words


@dataclass
class Trajectory(Summarized, RunFacts):
    """The steps of a training run and the states they began from.

    Every `interval`-th state is kept; the others follow from it by repeating the
    steps.

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
        The state after the last step; None before the first, and while training goes
        on after a step whose state is not kept.
    flaws : dict of int to str
        Number of a state -> why the path into that state cannot be retraced.
    diverged_at : int or None
        The first step whose loss or parameters are not finite.
    n_samples : int
        Number of samples that the steps' rows count in.
    interval : int
        Distance between the kept states. It grows when they become too many.
    max_bytes : int or None
        What kept and recomputed states may take together; None for any size.
    anchors : set of int
        Numbers of states that must be kept, as the steps before do not lead to them.
    oldest : int
        The first step whose state may be asked for.

    Attributes
    ----------
    examined : dict of (int, bool) to Tensor of shape (p,), bool
        Number of a step whose derivatives were found to be right, and whether on all
        samples of its batch -> the parameters that they were looked at in. A question
        need not look again.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> trajectory = SGDInfluenceClassifier(random_state=0).fit(X, y).trajectory_
    >>> trajectory.n_epochs, trajectory.n_steps
    (20, 60)
    """

    records: list[StepRecord] = field(default_factory=list)
    final: State | None = None
    examined: dict[tuple[int, bool], torch.Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _store: StateStore = field(default_factory=MemoryStore, init=False, repr=False)

    def __repr__(self) -> str:
        facts = self._facts()
        return f"<Trajectory of {facts['Recorded']}; {facts['Size']}>"

    def _facts(self) -> dict[str, str]:
        return run_in_words(self)

    def keeps(self, number: int) -> bool:
        """Return whether a state is on the grid, or could not be recomputed.

        Parameters
        ----------
        number : int
            Number of the state.

        Returns
        -------
        bool
            Whether it must be kept.
        """
        fixed = number in self.anchors or number in self.flaws
        return fixed or number % self.interval == 0 or not self._store

    def append(
        self, record: StepRecord, before: State | None, after: State | None
    ) -> None:
        """Add a step.

        Parameters
        ----------
        record : StepRecord
            The step.
        before, after : State or None
            The states before it, None if that is not kept, and after it.
        """
        new_epoch = record.epoch != self.n_epochs
        self._store.note(record, self)
        self.records.append(record)
        self.final = after
        if before is not None:
            self._store[record.step] = before
        if new_epoch:
            self._forget()
        if before is not None:
            self._thin()

    def _forget(self) -> None:
        """Drop the states of the epochs that are no longer kept."""
        if self.keep_epochs is None:
            return
        oldest = self.n_epochs + 1 - self.keep_epochs
        for record in self.records[self.first_recorded_step :]:
            if record.epoch >= oldest:
                break
            self.oldest = record.step + 1
        # The oldest state may follow from one before it.
        kept = list(self._store)
        for number in kept[: max(bisect_right(kept, self.oldest) - 1, 0)]:
            del self._store[number]

    def _thin(self) -> None:
        """Keep fewer states if they leave no room for a walk between two of them."""
        while len(self._store) > 1 and not leaves_room(
            len(self._store) + 1, self.interval, self.max_states
        ):
            first, *others = self._store
            free = [k for k in others if k not in self.anchors and k not in self.flaws]
            spare = [k for k in free if k % self.interval]
            if free and not spare:
                self.interval *= 2
                spare = [k for k in free if k % self.interval]
            if not free:
                # None of the states left could be recomputed.
                self.oldest, spare = others[0], [first]
            for number in spare:
                self._let_go(number)

    def _let_go(self, number: int) -> None:
        """Drop a state, but keep its digest."""
        state = self._store.pop(number)
        if number > 0 and self.records[number - 1].digest is None:
            digest = parameters_digest(state.parameters)
            record = replace(self.records[number - 1], digest=digest)
            self._store.renew(record)
            self.records[number - 1] = record

    def widen(self, interval: int) -> None:
        """Keep states further apart from now on.

        Parameters
        ----------
        interval : int
            The least distance.
        """
        if not self._store:
            self.interval = max(self.interval, interval)
            return
        while self.interval < interval:
            self.interval *= 2
        self._thin()

    def truncate(self, n_steps: int, final: State | None = None) -> None:
        """End the run earlier.

        Parameters
        ----------
        n_steps : int
            How many of its first steps stay.
        final : State or None
            The state after them; required if it is not kept.
        """
        if n_steps == self.n_steps:
            return
        self.final = self._store[n_steps] if final is None else final
        for number in [k for k in self._store if k >= n_steps]:
            del self._store[number]
        self._store.cut(n_steps)
        del self.records[n_steps:]
        self.examined = {k: v for k, v in self.examined.items() if k[0] < n_steps}
        cut_facts(self, n_steps)

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
        """The first step whose state is available; ``n_steps`` if there is none."""
        return max(self.oldest, next(iter(self._store), len(self.records)))

    @property
    def folder(self) -> Path | None:
        """Where the run is on disk; None in memory."""
        return self._store.folder

    @property
    def kept(self) -> list[int]:
        """Numbers of the states that are kept, in order."""
        return [*self._store, *([] if self.final is None else [len(self.records)])]

    @property
    def max_states(self) -> float:
        """How many states may be held at once, kept and recomputed ones together."""
        if self.max_bytes is None or not self._store:
            return math.inf
        return self._store.room(self.max_bytes)

    @property
    def nbytes(self) -> int:
        """Size of the kept states in bytes."""
        final = 0 if self.final is None else self._store.size_of(self.final)
        return self._store.nbytes + final

    def state(self, step: int) -> State:
        """Return what a step began from, if that is kept.

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

    def last_kept(self, number: int) -> int:
        """Return which kept state a state follows from.

        Parameters
        ----------
        number : int
            Number of the state.

        Returns
        -------
        int
            Number of the last kept state that is not after it.
        """
        place = bisect_right(kept := self.kept, number)
        if not self.first_recorded_step <= number <= self.n_steps or place == 0:
            raise KeyError(number)
        return kept[place - 1]

    def schedule(self, stop: int, first: int = 0) -> Schedule:
        """Plan the walk backwards from one state to another.

        Parameters
        ----------
        stop, first : int
            Numbers of the state to begin at, and of the earlier one to end at.

        Returns
        -------
        Schedule
            The actions, in order.
        """
        return Schedule(self.kept, stop, first, self.max_states, frozenset(self.flaws))

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

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the trajectory to a folder: safetensors and JSON, no pickle.

        Parameters
        ----------
        path : str or Path
            A new or empty folder; it appears under its name once it is complete.
        overwrite : bool, default=False
            Whether to replace a trajectory that was saved there. Nothing else is ever
            replaced.

        Raises
        ------
        TrajectoryFileError
            If the folder is in use or cannot be written; its old content is kept.
        """
        save(self, self.records, self._store, self.final, path, overwrite=overwrite)
        reread(self, path)

    @classmethod
    def load(
        cls, path: str | Path, *, device: torch.device | str = "cpu"
    ) -> "Trajectory":
        """Return the trajectory that was saved to a folder.

        States are read lazily, some at once. The folder is never changed: what is
        added to the trajectory stays in memory.

        Parameters
        ----------
        path : str or Path
            The folder.
        device : torch.device or str, default="cpu"
            Where the states are put.

        Returns
        -------
        Trajectory
            The run, bit for bit.

        Raises
        ------
        TrajectoryFileError
            If a file is missing, damaged or foreign; of states, when they are read.
        """
        return cls._of(*load(path, device))

    @classmethod
    def _of(
        cls, facts: RunFacts, records: list[StepRecord], store: StateStore
    ) -> "Trajectory":
        """Return the run of these parts."""
        # A run that was killed has no final state.
        run = cls(**vars(facts), records=records, final=store.pop(len(records), None))
        run._store = store
        return run


class Held(NamedTuple):
    """What a run holds before further steps are recorded."""

    n_steps: int  # those that can be retraced
    n_fixed: int  # states that are kept beside the grid
    nbytes: int
    folder: Path | None


def held_by(run: Trajectory) -> Held:
    """Return what a run holds."""
    kept = run.kept
    first = max(run.oldest, *kept[:1]) if kept else run.n_steps
    n_fixed = sum(number % run.interval != 0 for number in kept)
    return Held(run.n_steps - first, n_fixed, run.nbytes, run._store.folder)


def reread(run: Trajectory, path: str | Path) -> None:
    """Let a loaded run read its states anew from where it was just saved.

    Its folder may have been replaced, and its states are in other files now.
    """
    folder, store = Path(path).resolve(), run._store
    if type(store) is SavedStates and store.folder == folder:
        run._store = Trajectory.load(folder, device=store._device)._store
