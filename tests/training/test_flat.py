"""Flat vectors and back."""

import pytest
import torch

from skinfluence.training import FlatLayout, LiveState, moment_names

SHAPES = [torch.Size(s) for s in ((2, 3), (), (4,), (1, 2, 2))]


def test_flatten_and_split_are_inverse():
    layout = FlatLayout(SHAPES)
    tensors = [torch.randn(shape) for shape in SHAPES]
    vector = layout.flatten(tensors)
    assert vector.shape == (layout.size,) == (15,)
    assert vector.tolist() == [x for t in tensors for x in t.reshape(-1).tolist()]
    for view, tensor in zip(layout.split(vector), tensors, strict=True):
        assert torch.equal(view, tensor)


def test_stacks_keep_their_leading_dimension():
    layout = FlatLayout(SHAPES)
    stack = torch.randn(5, layout.size)
    pieces = layout.split(stack)
    assert [piece.shape for piece in pieces] == [(5, *shape) for shape in SHAPES]
    assert torch.equal(layout.flatten(pieces), stack)


@pytest.mark.parametrize("positions", [[0], [1, 2], [0, 2], [3, 1], [0, 1, 2, 3]])
def test_places_pick_the_tensors_entries(positions):
    layout = FlatLayout(SHAPES)
    tensors = [torch.randn(shape) for shape in SHAPES]
    expected = [x for k in positions for x in tensors[k].reshape(-1).tolist()]
    assert layout.flatten(tensors)[layout.places(positions)].tolist() == expected


def live(optimizer_class, steps):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = optimizer_class(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(6, 3)).square().sum().backward()
        optimizer.step()
    state = LiveState(
        optimizer,
        [(0, k) for k in range(4)],
        list(model.buffers()),
        moment_names(optimizer),
    )
    return model, optimizer, state


@pytest.mark.parametrize("optimizer_class", [torch.optim.SGD, torch.optim.NAdam])
def test_write_puts_back_what_read_took(optimizer_class):
    model, optimizer, state = live(optimizer_class, 2)
    taken = state.read()

    def step():
        optimizer.zero_grad()
        model(
            torch.ones(6, 3) * torch.arange(18.0).reshape(6, 3)
        ).square().sum().backward()
        optimizer.step()
        return [p.detach().clone() for p in model.parameters()] + [
            b.clone() for b in model.buffers()
        ]

    first = step()
    assert not state.holds(taken.parameters)
    state.write(taken)
    assert state.holds(taken.parameters)
    assert all(map(torch.equal, first, step()))
    # The step changed the live tensors, not the state that had been written.
    state.write(taken)
    assert all(map(torch.equal, first, step()))


def test_showing_a_state_and_stepping_after_a_write_leaves_it_alone():
    _, optimizer, state = live(torch.optim.SGD, 1)
    taken = state.read()
    before = taken.parameters.clone()
    state.show(taken)
    state.write(taken)
    for parameter in state.parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert torch.equal(taken.parameters, before)


def test_a_parameter_without_optimizer_state_stays_without():
    _, optimizer, state = live(torch.optim.Adam, 0)
    taken = state.read()
    assert taken.scalars == (None,) * 4
    assert taken.moments == {}
    state.write(taken)
    assert not optimizer.state


def test_memory_formats_are_kept():
    # One channel: the strides alone tell the format.
    tensors = [
        torch.arange(2.0 * n * 9).reshape(2, n, 3, 3).to(memory_format=form)
        for n in (1, 4)
        for form in (torch.channels_last, torch.contiguous_format)
    ]
    layout = FlatLayout.of(tensors)
    again = layout.split(layout.flatten(tensors))
    for one, other in zip(again, tensors, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    stacks = [torch.stack([t, 2 * t]) for t in tensors]
    for one, other in zip(layout.split(layout.flatten(stacks)), stacks, strict=True):
        assert torch.equal(one, other)
