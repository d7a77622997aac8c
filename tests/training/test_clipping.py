"""Clipping, as it is seen to happen."""

import pytest
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from skinfluence.training import Clipping, observe_clipping

SHAPES = [(4, 3), (3,), (2, 2)]


def gradients(dtype, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return [
        scale * torch.randn(shape, generator=generator, dtype=dtype) for shape in SHAPES
    ]


def clipped(before, clip):
    parameters = [torch.zeros_like(g, requires_grad=True) for g in before]
    for parameter, gradient in zip(parameters, before, strict=True):
        parameter.grad = gradient.clone()
    clip(parameters)
    return [parameter.grad for parameter in parameters]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bound", [0.1, 0.25, 1.0, 3.7e-3, 1 / 3, 5 / 7])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
def test_norm_clipping_is_found_out(dtype, bound, norm_type):
    before = gradients(dtype)
    after = clipped(before, lambda p: clip_grad_norm_(p, bound, norm_type=norm_type))
    found = observe_clipping(before, after)
    assert found is not None
    # Which norm it was cannot be told from one step, unless it is said; that the bound
    # is a short number tells it nearly always.
    assert found == Clipping("norm", bound, norm_type)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bound", [0.1, 0.123456, 1 / 3])
def test_value_clipping_is_found_out(dtype, bound):
    before = gradients(dtype)
    after = clipped(before, lambda p: clip_grad_value_(p, bound))
    found = observe_clipping(before, after)
    assert found is not None
    assert found.kind == "value"
    again = clipped(before, found.clip_)
    assert all(map(torch.equal, again, after))


@pytest.mark.parametrize(
    "change",
    [
        lambda g: 0.731 * g,
        lambda g: g + 0.01,
        lambda g: g * torch.linspace(0.5, 1.0, g.numel()).reshape(g.shape),
    ],
)
def test_what_is_no_clipping_is_not_taken_for_one(change):
    # One step of a plain rescaling may look like clipping at a short bound by chance;
    # this one does not.
    before = gradients(torch.float32)
    assert observe_clipping(before, [change(g) for g in before]) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_only_clipping_by_value_can_be_told(dtype):
    before = gradients(dtype)
    by_value = clipped(before, lambda p: clip_grad_value_(p, 0.25))
    assert observe_clipping(before, by_value) == Clipping("value", 0.25)
    assert observe_clipping(before, [0.9 * g for g in before]) is None
    known = Clipping("norm", 0.3)
    assert observe_clipping(before, clipped(before, known.clip_), known) is known


def test_known_clipping_is_recognized_where_it_did_nothing():
    before = gradients(torch.float32, scale=1e-3)
    known = Clipping("norm", 1.0)
    assert observe_clipping(before, [g.clone() for g in before], known) is known


@pytest.mark.parametrize("clipping", [Clipping("norm", 0.3), Clipping("value", 0.2)])
def test_clip_equals_the_in_place_one(clipping):
    before = gradients(torch.float64)
    expected = clipped(before, clipping.clip_)
    for mine, theirs in zip(clipping.clip(before), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize(
    "clipping",
    [Clipping("norm", 0.3), Clipping("norm", 0.3, 1.0), Clipping("value", 0.2)],
)
def test_clip_is_differentiable(clipping):
    inputs = [g.requires_grad_() for g in gradients(torch.float64)]
    assert torch.autograd.gradcheck(lambda *g: tuple(clipping.clip(g)), inputs)
