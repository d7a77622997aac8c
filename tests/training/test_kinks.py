"""Functions with kinks, whose second derivatives are averaged over a Gaussian."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from skinfluence.training import SmoothedKinks

WIDTH = 0.3
N = 8


def inputs():
    # None on a kink; one of them zero, of either sign.
    x = torch.linspace(-4.0, 4.0, N - 2, dtype=torch.float64).sin() * 4
    return torch.cat([x, torch.tensor([0.0, -0.0])])


TARGETS = torch.linspace(-1.0, 1.0, N, dtype=torch.float64)
OTHERS = TARGETS.flip(0).exp()
SIGNS = torch.tensor([1.0, -1.0] * (N // 2), dtype=torch.float64)


def overwriting(function):
    """Return a function of a tensor's copy, which is read after the call."""

    def read_after(x):
        x = 1.0 * x
        function(x)
        return x

    return read_after


ACTIVATIONS = {
    "F.relu": F.relu,
    "torch.relu": torch.relu,
    "Tensor.relu": torch.Tensor.relu,
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": overwriting(nn.ReLU(inplace=True)),
    "F.relu_": overwriting(F.relu_),
    "torch.relu_": overwriting(torch.relu_),
    "Tensor.relu_": overwriting(torch.Tensor.relu_),
    "nn.LeakyReLU": nn.LeakyReLU(0.2),
    "nn.LeakyReLU in place": overwriting(nn.LeakyReLU(0.2, inplace=True)),
    "F.leaky_relu": F.leaky_relu,
    "F.leaky_relu_": overwriting(lambda x: F.leaky_relu_(x, 0.3)),
    "nn.ReLU6": nn.ReLU6(),
    "nn.ReLU6 in place": overwriting(nn.ReLU6(inplace=True)),
    "nn.Hardtanh": nn.Hardtanh(-0.3, 2.0),
    "nn.Hardtanh in place": overwriting(nn.Hardtanh(inplace=True)),
    "F.hardtanh_": overwriting(lambda x: F.hardtanh_(x, -0.2, 1.4)),
    "nn.Hardswish": nn.Hardswish(),
    "nn.Hardswish in place": overwriting(nn.Hardswish(inplace=True)),
    "torch.clamp": lambda x: torch.clamp(x, -0.5, max=0.7),
    "torch.clamp by names": lambda x: torch.clamp(input=x, min=0.1),
    "Tensor.clamp": lambda x: x.clamp(max=0.2),
    "Tensor.clip": lambda x: x.clip(0.1, 1.7),
    "torch.clamp_min": lambda x: torch.clamp_min(x, 0.3),
    "Tensor.clamp_max": lambda x: x.clamp_max(-0.3),
    "Tensor.clamp_": overwriting(lambda x: x.clamp_(min=0.1)),
    "Tensor.clamp_min_": overwriting(lambda x: x.clamp_min_(0.1)),
    "abs": abs,
    "torch.abs": torch.abs,
    "Tensor.abs_": overwriting(torch.Tensor.abs_),
}


def losses(reduction):
    """Return functions of inputs, targets, others and signs."""
    return {
        "F.l1_loss": lambda x, t, o, s: F.l1_loss(x, t, reduction=reduction),
        "nn.L1Loss": lambda x, t, o, s: nn.L1Loss(reduction=reduction)(x, t),
        "nn.SmoothL1Loss": lambda x, t, o, s: nn.SmoothL1Loss(
            reduction=reduction, beta=0.4
        )(x, t),
        "nn.SmoothL1Loss of L1": lambda x, t, o, s: nn.SmoothL1Loss(
            reduction=reduction, beta=0.0
        )(x, t),
        "nn.HuberLoss": lambda x, t, o, s: nn.HuberLoss(reduction, 0.6)(x, t),
        "nn.HingeEmbeddingLoss": lambda x, t, o, s: nn.HingeEmbeddingLoss(
            0.7, reduction=reduction
        )(x, s),
        "nn.MarginRankingLoss": lambda x, t, o, s: nn.MarginRankingLoss(
            0.2, reduction=reduction
        )(x, o, s),
    }


LOSSES = losses("none")


def into(name, x):
    """Return what goes into the kinks, up to a constant."""
    if name in ACTIVATIONS or "Embedding" in name:
        return x
    return SIGNS * (x - OTHERS) if "Ranking" in name else x - TARGETS


def function_of(name, table=LOSSES):
    """Return a function of rows of inputs."""
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    return lambda x: table[name](x, TARGETS, OTHERS, SIGNS)


def derivatives(function, kinks=None):
    """Return a function's values, its gradient, and that gradient's derivative."""
    x = inputs().requires_grad_()
    along = torch.linspace(0.5, 1.5, N, dtype=torch.float64)
    with kinks or torch.enable_grad():
        y = function(x)
        (g,) = torch.autograd.grad(
            y, x, along if y.dim() else torch.ones_like(y), create_graph=True
        )
        directions = torch.eye(N, dtype=torch.float64)
        if not g.requires_grad:
            return y.detach(), g, torch.zeros(N, N)
        (h,) = torch.autograd.grad(
            g, x, directions, is_grads_batched=True, materialize_grads=True
        )
    return y.detach(), g.detach(), h


def averaged(name):
    """Return the derivative of E[f'(x + h z)] for each input, by quadrature.

    It is the integral of f'(u) (u - x) / h² under the normal density of u around x.
    """
    x = inputs()
    h = WIDTH * into(name, x).std(correction=0)
    z = torch.linspace(-8.0, 8.0, 40_001, dtype=torch.float64)
    u = (x + h * z[:, None]).requires_grad_()
    if name in ACTIVATIONS:
        y = ACTIVATIONS[name](u)
    else:
        rows = (v.expand_as(u) for v in (TARGETS, OTHERS, SIGNS))
        y = LOSSES[name](u, *rows)
    (slopes,) = torch.autograd.grad(y.sum(), u)
    density = torch.exp(-z.square() / 2)[:, None] / np.sqrt(2 * np.pi)
    return torch.trapezoid(slopes * z[:, None] * density, z, dim=0) / h


def bits(tensor):
    return tensor.contiguous().view(torch.int64)


@pytest.mark.parametrize("name", [*ACTIVATIONS, *LOSSES])
def test_only_the_second_derivative_is_another(name):
    kinks = SmoothedKinks(WIDTH)
    function = function_of(name)
    values, slopes, _ = derivatives(function)
    same_values, same_slopes, curvature = derivatives(function, kinks)
    assert kinks.seen
    assert torch.equal(bits(values), bits(same_values))
    # What is read and written by others beside the kinks may turn a zero's sign.
    assert torch.equal(slopes, same_slopes)
    if "place" not in name and "Ranking" not in name and not name.endswith("_"):
        assert torch.equal(bits(slopes), bits(same_slopes))
    along = torch.linspace(0.5, 1.5, N, dtype=torch.float64)
    expected = torch.diag(along * averaged(name))
    # A jump of at most 2, somewhere between two points of the quadrature, 4e-4 apart,
    # times |z| density <= 0.25 and a weight <= 1.5, over a width of 0.3 or more.
    assert (curvature - expected).abs().max() <= 2 * 0.25 * 4e-4 * 1.5 / 0.3
    assert expected.abs().max() > 0.02


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_all_is_the_sum_of_its_parts(name, reduction):
    share = 1 / N if reduction == "mean" else 1.0
    whole = function_of(name, losses(reduction))
    plain = derivatives(whole)
    found = derivatives(whole, SmoothedKinks(WIDTH))
    alone = function_of(name)
    expected = derivatives(lambda x: share * alone(x).sum(), SmoothedKinks(WIDTH))
    assert torch.equal(plain[0], found[0])
    assert torch.equal(plain[1], found[1])
    # The same products in another order.
    assert torch.allclose(found[2], expected[2], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "function",
    [
        torch.tanh,
        F.silu,
        F.mse_loss,
        lambda x: x.clamp(TARGETS.min(), TARGETS.max()),  # bounds that are tensors
        lambda x: x.clamp(2.0, 1.0),  # a constant
        lambda x: F.relu(x.detach()) + x,  # nothing to differentiate
        lambda x: torch.complex(x, x + 1).abs(),  # smooth but in one point
    ],
)
def test_others_are_left_as_they_are(function):
    kinks = SmoothedKinks(WIDTH)
    calls = (lambda x: F.mse_loss(x, TARGETS)) if function is F.mse_loss else function
    plain, found = derivatives(calls), derivatives(calls, kinks)
    assert not kinks.seen
    for one, other in zip(plain, found, strict=True):
        assert torch.equal(one, other)


def test_what_is_all_the_same_is_near_no_kink():
    x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    with SmoothedKinks(0.1):
        (g,) = torch.autograd.grad(F.relu(x).sum(), x, create_graph=True)
        (h,) = torch.autograd.grad(g.sum(), x)
    assert torch.equal(h, torch.zeros_like(h))


def test_a_large_gradient_elsewhere_changes_nothing():
    # An infinite gradient must not become NaN in what is added to it.
    x = torch.tensor([1.0, -1.0, 2.0], requires_grad=True)
    along = torch.tensor([torch.inf, 1.0, -torch.inf])
    with SmoothedKinks(0.1):
        (g,) = torch.autograd.grad(F.relu(x), x, along, create_graph=True)
    assert torch.equal(g, torch.tensor([torch.inf, 0.0, -torch.inf]))
