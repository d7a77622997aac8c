"""Which states stay on a device, and in which order the others come back to it."""

import copy
import pickle

import numpy as np
import pytest
import torch

from skinfluence.estimators._replica import Replica
from skinfluence.training import State
from skinfluence.trajectory import Replay, Trajectory, held_on_device, spill
from skinfluence.trajectory._spill import Arrival, SpillingStore
from skinfluence.trajectory._store import MemoryStore
from tests.cases import Case


class Noted:
    """Copies on the CPU, and notes what is asked of it."""

    def __init__(self, device=None):
        self.calls = []

    def out(self, state):
        self.calls.append(("out", number(state)))
        return state.each(torch.clone)

    def back(self, state):
        self.calls.append(("back", number(state)))
        return Arrival(state.each(torch.clone), len(self.calls))

    def arrive(self, arrival):
        self.calls.append(("arrive", number(arrival.state)))
        return arrival.state

    def finish(self):
        self.calls.append(("finish", None))


def number(state):
    return int(state.parameters[0])


def numbered(k, size=4):
    return State(torch.full((size,), float(k)), {}, (None,), ())


def filled(n_states, n_on_device):
    store = SpillingStore(n_on_device * numbered(0).nbytes, Noted())
    store.update({k: numbered(k) for k in range(n_states)})
    return store


def test_stays_on_the_device_while_it_fits():
    store = filled(5, 3)
    assert store.transfer.calls == [("out", 3), ("out", 4)]
    assert store.nbytes == 5 * numbered(0).nbytes
    for k in range(3):
        assert number(store[k]) == k
    assert store.transfer.calls == [("out", 3), ("out", 4)]
    assert number(store[4]) == 4
    assert store.transfer.calls[2:] == [("back", 4), ("arrive", 4)]


def test_what_is_deleted_makes_room():
    store = filled(4, 2)
    del store[0]
    store[9] = numbered(9)
    store[1] = numbered(1)
    assert ("out", 9) not in store.transfer.calls
    assert [*store] == [2, 3, 9, 1]
    assert [number(store[k]) for k in store] == [2, 3, 9, 1]


def test_a_state_on_its_way_is_not_copied_twice():
    store = filled(6, 0)
    store.transfer.calls.clear()
    for k in (5, 4, 3):
        _ = store[k]
        store.prefetch(k - 1)
        _ = store[k]
    copies = [step for what, step in store.transfer.calls if what == "back"]
    assert copies == [5, 4, 3, 2]
    # The next state is on its way before one waits for the one at hand again.
    assert store.transfer.calls[:4] == [
        ("back", 5),
        ("arrive", 5),
        ("back", 4),
        ("arrive", 5),
    ]


def test_few_states_are_held_besides():
    store = filled(9, 0)
    for k in range(9):
        store.prefetch(k)
        assert len(store._near) <= 3
    store.prefetch(100)  # there is none
    assert len(store._near) == 3


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_wait_for_what_is_on_its_way(again):
    store = filled(4, 1)
    store.prefetch(3)
    other = again(store)
    assert store.transfer.calls[-1] == ("finish", None)
    assert [number(other[k]) for k in other] == [0, 1, 2, 3]


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 2}, {"record": 2}])
@pytest.mark.parametrize("n_on_device", [0, 3, 100])
def test_the_influence_is_the_same_to_the_bit(options, n_on_device):
    case = Case("batch_norm", "adam", weighted=True)
    clf = case.fitted(**options)
    expected = clf.influence(*case.validation(), at="path")
    run = clf.trajectory_
    spill(run, n_on_device * run.state(run.kept[-1]).nbytes, torch.device("cpu"), Noted)
    kept = run.kept
    found = clf.influence(*case.validation(), at="path")
    np.testing.assert_array_equal(found, expected)
    assert run.kept == kept
    calls = run._store.transfer.calls
    assert any(what == "back" for what, _ in calls) == (n_on_device < 100)


def test_the_walk_has_the_next_state_on_its_way_before_the_step():
    case = Case("mlp")
    clf = case.fitted()
    run = clf.trajectory_
    spill(run, 0, torch.device("cpu"), Noted)
    calls = run._store.transfer.calls
    calls.clear()
    seen = []
    for record, _, _ in Replay(run, Replica(clf).step(run)).backwards(run.n_steps):
        # Nobody can tell states by their numbers here: the calls are counted.
        seen.append((record.step, sum(what == "back" for what, _ in calls)))
    last = run.n_steps - 1
    assert seen == [(k, min(last - k + 2, last + 1)) for k in range(last, -1, -1)]


def test_a_run_is_let_spill_only_in_memory(tmp_path):
    run = Trajectory(seed=0)
    spill(run, 100, torch.device("cpu"), Noted)
    assert isinstance(run._store, SpillingStore)
    assert held_on_device(run) == 0
    spill(run, 200, torch.device("cpu"), Noted)  # the next call of fit
    assert run._store.max_bytes == 200
    saved = Case().fitted()
    saved.trajectory_.save(tmp_path / "run")
    loaded = Trajectory.load(tmp_path / "run")
    before = loaded._store
    spill(loaded, 100, torch.device("cpu"), Noted)
    assert loaded._store is before
    assert type(Trajectory(seed=0)._store) is MemoryStore
