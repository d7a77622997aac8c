"""The formats give back what they were given, bit for bit."""

import json
import math
import struct

import numpy as np
import pytest
import torch

from skinfluence.training import Clipping, State
from skinfluence.trajectory import StepRecord
from skinfluence.trajectory._disk.format import (
    RecordDecoder,
    RecordEncoder,
    from_json,
    states_from_bytes,
    states_to_bytes,
    to_json,
)


def bits(value):
    """Return a value's type and content in a form that tells -0.0 and NaNs apart."""
    if isinstance(value, float):
        return "float", struct.pack(">d", value)
    if isinstance(value, (tuple, list)):
        return type(value).__name__, [bits(item) for item in value]
    if isinstance(value, dict):
        return "dict", [(bits(k), bits(v)) for k, v in value.items()]
    return type(value).__name__, value


NEGATIVE_NAN = struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**70),
        0.1,
        -0.0,
        5e-324,
        1e16,
        math.inf,
        -math.inf,
        math.nan,
        NEGATIVE_NAN,
        "é\n\u2028",
        (0.9, 0.999),
        [(), [1, (None, math.inf)]],
        {"float": 1.0, 3: (False,), "tuple": {}},
    ],
    ids=repr,
)
def test_values_come_back_to_the_bit(value):
    assert bits(from_json(to_json(value))) == bits(value)


@pytest.mark.parametrize(
    "value", [np.float64(0.1), np.int64(3), torch.tensor(0.5), np.bool_(True)], ids=repr
)
def test_scalars_of_numpy_and_torch_become_plain(value):
    assert bits(from_json(to_json(value))) == bits(value.item())


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, torch.zeros(2), 1j],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_refused(value):
    with pytest.raises(TypeError, match="must be a number"):
        to_json({"lr": value})


def record(step, **changes):
    values = {
        "epoch": 1,
        "data": 0,
        "rows": torch.tensor([2**40 + step, 0, 0]),
        "seed": 2**62 + step,
        "hyperparameters": ({"lr": 0.1, "betas": (0.9, 0.999), "foreach": None},),
        "active": (0, 2),
        "clipping": None,
    }
    return StepRecord(step, **{**values, **changes})


def through(records):
    encoder, decoder = RecordEncoder(), RecordDecoder()
    return [decoder.decode(json.loads(encoder.encode(r))) for r in records]


def assert_same(mine, theirs):
    assert len(mine) == len(theirs)
    for left, right in zip(mine, theirs, strict=True):
        assert torch.equal(left.rows, right.rows)
        assert left.rows.dtype == right.rows.dtype == torch.int64
        for name in ("step", "epoch", "data", "seed", "hyperparameters", "active"):
            assert bits(getattr(left, name)) == bits(getattr(right, name)), name
        assert left.clipping == right.clipping
        assert left.digest == right.digest
        assert left.micro_batches()[0].share == right.micro_batches()[0].share
        for name in ("sizes", "losses", "item_seed"):
            assert bits(getattr(left, name)) == bits(getattr(right, name)), name


def test_records_come_back():
    clipping = Clipping("norm", math.inf, 1.0)
    records = [
        record(0),
        record(1, seed=None),
        record(2, epoch=2, clipping=clipping),
        record(3, epoch=2, clipping=Clipping("value", 0.1)),
        record(4, data=1, hyperparameters=({"lr": math.nan}, {"lr": -0.0})),
        record(5, data=1, hyperparameters=({"lr": math.nan}, {"lr": 0.0})),
        record(6, data=1, active=(), rows=torch.empty(0, dtype=torch.int64)),
        record(7, digest=-(2**40)),
        record(8, digest=None),
        record(9, sizes=(2, 1), losses=(0.1, math.inf), item_seed=2**62),
        record(10),
    ]
    assert_same(through(records), records)


@pytest.mark.parametrize(("before", "after"), [(1, True), (1.0, 1), (0.0, -0.0)])
def test_equal_values_that_differ_are_told_apart(before, after):
    records = [
        record(step, hyperparameters=({"x": value},))
        for step, value in enumerate([before, after])
    ]
    assert_same(through(records), records)


def test_what_records_share_is_shared_again():
    first = record(0)
    same = {k: getattr(first, k) for k in ("rows", "hyperparameters", "active")}
    # Not the very objects, but equal: shared too.
    alike = record(2, rows=first.rows.clone())
    one, two, three = through([first, record(1, **same), alike])
    for name in same:
        assert getattr(one, name) is getattr(two, name) is getattr(three, name)


def test_rows_that_were_read_can_be_written_to():
    (read,) = through([record(0)])
    read.rows[0] = 7
    assert read.rows[0] == 7


def states_equal(mine, theirs):
    def tensors(state):
        return {
            "parameters": state.parameters,
            **{f"moments {k}": v for k, v in state.moments.items()},
            **{f"buffers {k}": v for k, v in enumerate(state.buffers)},
        }

    left, right = tensors(mine), tensors(theirs)
    assert list(left) == list(right)
    for name, tensor in left.items():
        assert tensor.dtype == right[name].dtype
        assert tensor.shape == right[name].shape
        # As bytes: NaNs equal themselves, and 0.0 is not -0.0.
        same = [
            t.contiguous().reshape(-1).view(torch.uint8) for t in (tensor, right[name])
        ]
        assert torch.equal(*same), name
    assert bits(mine.scalars) == bits(theirs.scalars)


STATES = {
    "plain": State(torch.tensor([1.0, -0.0, math.nan, math.inf]), {}, (None,), ()),
    "adam": State(
        torch.arange(5, dtype=torch.float64) / 3,
        {"exp_avg": torch.rand(5).double(), "exp_avg_sq": torch.rand(5).double()},
        ((("step", 3.0),), None, (("step", 3.0), ("mu", math.inf)), (("step", -0.0),)),
        (torch.tensor(7), torch.rand(3, 2).T, torch.tensor([True])),
    ),
    "half": State(torch.rand(3).bfloat16(), {}, (), (torch.empty(0, 4),)),
}


def test_states_come_back():
    states = dict(enumerate(STATES.values(), 5))
    again = states_from_bytes(states_to_bytes(states))
    assert list(again) == list(states)
    for number, state in states.items():
        states_equal(again[number], state)


def test_a_state_stored_twice_comes_back_twice():
    state = STATES["adam"]
    again = states_from_bytes(states_to_bytes({0: state, 1: state}))
    states_equal(again[0], again[1])


def test_states_lie_in_memory_of_torch_s_own():
    # Vectorized kernels round differently where memory is aligned differently.
    again = states_from_bytes(states_to_bytes({0: STATES["adam"], 1: STATES["half"]}))
    assert all(s.parameters.data_ptr() % 64 == 0 for s in again.values())


def test_nothing_is_pickled():
    data = states_to_bytes({0: STATES["adam"]})
    header = int.from_bytes(data[:8], "little")
    tensors = sum(
        t.nbytes
        for t in (
            STATES["adam"].parameters,
            *STATES["adam"].moments.values(),
            *STATES["adam"].buffers,
        )
    )
    assert len(data) == 8 + header + tensors
