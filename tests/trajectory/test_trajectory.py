"""The books of a run, with states made by hand."""

import pickle
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from skinfluence.training import State
from skinfluence.trajectory import Replay, StepRecord, Trajectory
from skinfluence.trajectory._store import MemoryStore


def state(number):
    """Return a state that can be told from others by its number: 12 doubles."""
    return State(
        torch.full((5,), float(number), dtype=torch.float64),
        {"momentum_buffer": torch.full((5,), -float(number), dtype=torch.float64)},
        (None,),
        (torch.full((2,), 10.0 + number, dtype=torch.float64),),
    )


STATE_BYTES = (5 + 5 + 2) * 8


def record(step, epoch):
    return StepRecord(
        step=step,
        epoch=epoch,
        data=0,
        rows=torch.tensor([step, step + 1]),
        seed=None,
        hyperparameters=({"lr": 0.1},),
        active=(0,),
    )


def trajectory(epochs, keep_epochs=None):
    """Return a run whose steps were in the given epochs; state t has the number t."""
    run = Trajectory(seed=3, keep_epochs=keep_epochs)
    for step, epoch in enumerate(epochs):
        run.append(record(step, epoch), run.final or state(step), state(step + 1))
    return run


def backwards(run, stop, first=0):
    """Walk a run whose states are all kept: no step is taken again."""
    return Replay(run, SimpleNamespace(tolerance=0.0)).backwards(stop, first)


def number_of(found):
    return int(found.parameters[0])


def kept(run):
    """Return the numbers of the states that can be had."""
    return [
        number_of(run.state(step))
        for step in range(run.first_recorded_step, run.n_steps + 1)
    ]


def test_an_empty_run():
    run = Trajectory(seed=0)
    assert (run.n_steps, run.n_epochs, run.nbytes, run.first_recorded_step) == (0,) * 4
    assert run.epoch_ends() == {}
    assert run.final is None
    with pytest.raises(KeyError):
        run.state(0)


def test_states_by_number():
    run = trajectory([1, 1, 2])
    assert kept(run) == [0, 1, 2, 3]
    assert run.state(3) is run.final
    assert (run.n_steps, run.n_epochs, run.first_recorded_step) == (3, 2, 0)
    for missing in (-1, 4):
        with pytest.raises(KeyError):
            run.state(missing)


def test_epochs():
    run = trajectory([1, 1, 1, 2, 2, 3])
    assert run.epoch_ends() == {1: 3, 2: 5, 3: 6}
    assert [run.first_step_of_last(k) for k in (1, 2, 3)] == [5, 3, 0]


def test_an_epoch_without_a_step_is_not_there():
    # Such as one that was interrupted before its first step.
    run = trajectory([1, 1, 3])
    assert run.epoch_ends() == {1: 2, 3: 3}
    assert run.first_step_of_last(1) == 2
    assert run.first_step_of_last(2) == 0


@pytest.mark.parametrize(
    ("keep", "first"), [(1, 6), (2, 5), (3, 2), (4, 0), (9, 0), (None, 0)]
)
def test_only_the_last_epochs_states_are_kept(keep, first):
    run = trajectory([1, 1, 2, 2, 2, 3, 4, 4], keep_epochs=keep)
    assert run.first_recorded_step == first
    assert kept(run) == list(range(first, 9))
    assert run.n_steps == 8  # the steps themselves are all on record
    if first:
        with pytest.raises(KeyError):
            run.state(first - 1)


def test_forgetting_goes_on_when_training_does():
    run = trajectory([1, 2], keep_epochs=2)
    assert kept(run) == [0, 1, 2]
    run.append(record(2, 3), run.final, state(3))
    assert kept(run) == [1, 2, 3]


def test_backwards_yields_each_step_with_the_states_around_it():
    run = trajectory([1, 1, 2, 2])
    walked = [
        (step.step, number_of(before), number_of(after))
        for step, before, after in backwards(run, 4)
    ]
    assert walked == [(3, 3, 4), (2, 2, 3), (1, 1, 2), (0, 0, 1)]


@pytest.mark.parametrize(("stop", "first"), [(4, 2), (3, 0), (3, 1), (2, 2)])
def test_backwards_between_two_states(stop, first):
    run = trajectory([1, 1, 2, 2])
    walked = [step.step for step, _, _ in backwards(run, stop, first)]
    assert walked == list(range(stop - 1, first - 1, -1))


def test_backwards_shares_states_between_steps():
    # A state is one object: what a step ends in is what the next one began from.
    steps = list(backwards(trajectory([1, 1, 2]), 3))
    for (_, before, _), (_, _, after) in pairwise(steps):
        assert after is before


def test_truncate_ends_the_run_earlier():
    run = trajectory([1, 1, 2, 2, 3])
    run.truncate(3)
    assert (run.n_steps, run.n_epochs) == (3, 2)
    assert kept(run) == [0, 1, 2, 3]
    assert number_of(run.final) == 3
    assert run.epoch_ends() == {1: 2, 2: 3}
    assert run.nbytes == 4 * STATE_BYTES


def test_truncate_to_its_own_end_changes_nothing():
    run = trajectory([1, 2])
    final = run.final
    run.truncate(2)
    assert run.final is final
    assert kept(run) == [0, 1, 2]


def test_truncate_to_nothing():
    run = trajectory([1, 2])
    run.truncate(0)
    assert (run.n_steps, run.n_epochs) == (0, 0)
    assert number_of(run.final) == 0


def test_truncate_keeps_the_flaws_of_what_is_left():
    # The flaw of a state concerns the path into it: that of the new end is still there.
    run = trajectory([1, 1, 2, 2])
    run.flaws = {1: "first", 2: "second", 3: "third", 4: "last"}
    run.truncate(2)
    assert run.flaws == {1: "first", 2: "second"}


@pytest.mark.parametrize(
    ("diverged_at", "left"), [(0, 0), (1, 1), (2, None), (3, None)]
)
def test_truncate_forgets_a_divergence_after_the_new_end(diverged_at, left):
    run = trajectory([1, 1, 2, 2])
    run.diverged_at = diverged_at
    run.truncate(2)
    assert run.diverged_at == left


def test_training_goes_on_after_a_truncation():
    run = trajectory([1, 1, 2, 2])
    run.truncate(2)
    run.append(record(2, 2), run.final, state(7))
    assert kept(run) == [0, 1, 2, 7]


@pytest.mark.parametrize("keep", [None, 1])
def test_bytes_are_those_of_the_tensors(keep):
    run = trajectory([1, 1, 2, 2], keep_epochs=keep)
    # All states but the last are in the store.
    assert run.nbytes == len(kept(run)) * STATE_BYTES


def test_trajectory_survives_pickling():
    run = trajectory([1, 1, 2], keep_epochs=1)
    again = pickle.loads(pickle.dumps(run))
    assert kept(again) == kept(run)
    assert again.epoch_ends() == run.epoch_ends()
    assert again.first_recorded_step == run.first_recorded_step
    for mine, theirs in zip(again.records, run.records, strict=True):
        assert (mine.step, mine.epoch, mine.seed) == (theirs.step, theirs.epoch, None)
        assert torch.equal(mine.rows, theirs.rows)


def test_records_cannot_be_changed():
    step = record(0, 1)
    with pytest.raises(AttributeError):
        step.epoch = 2


def test_memory_store():
    store = MemoryStore()
    assert (len(store), store.nbytes) == (0, 0)
    store[4], store[5] = state(4), state(5)
    assert list(store) == [4, 5]
    assert store.nbytes == 2 * STATE_BYTES
    del store[4]
    assert (list(store), number_of(store[5])) == ([5], 5)
    with pytest.raises(KeyError):
        store[4]
