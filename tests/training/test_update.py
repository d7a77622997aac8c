"""The update rules against torch.optim itself, and against finite differences."""

import numpy as np
import pytest
import torch
from torch import optim

from skinfluence.exceptions import UnsupportedOptimizerError
from skinfluence.training import PARAMETERS, UpdateRule, moment_names, pull_back
from tests.cases import OPTIMIZERS

SIZE = 6


def make(name):
    """Return an optimizer of the table on one vector, and that vector."""
    options = dict(OPTIMIZERS[name])
    cls = options.pop("optimizer", optim.SGD)
    options = {k.removeprefix("optimizer__"): v for k, v in options.items()}
    torch.manual_seed(0)
    vector = torch.randn(SIZE, dtype=torch.float64, requires_grad=True)
    return cls([vector], **{"lr": 0.1, **options}), vector


def gradient_of(step):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(SIZE, dtype=torch.float64, generator=generator)


def state_of(optimizer, vector):
    """Return moments and scalars as the library keeps them."""
    names = moment_names(optimizer)
    state = optimizer.state.get(vector) or {}
    moments = {k: v.clone() for k, v in state.items() if k in names and v is not None}
    scalars = tuple((k, float(v)) for k, v in state.items() if k not in names)
    return moments, (scalars if state else None)


def real_step(name, taken, point, lr=None):
    """Take a step of the real optimizer from a point, after some steps."""
    optimizer, vector = make(name)
    for step in range(taken):
        vector.grad = gradient_of(step)
        optimizer.step()
    with torch.no_grad():
        vector.copy_(point[PARAMETERS])
        for key, value in point.items():
            if key not in (PARAMETERS, "gradient"):
                optimizer.state[vector][key].copy_(value)
    vector.grad = point["gradient"].clone()
    if lr is not None:
        optimizer.param_groups[0]["lr"] = lr
    optimizer.step()
    moments, _ = state_of(optimizer, vector)
    return {PARAMETERS: vector.detach().clone(), **moments}


# At 0, where a warm-up may begin, a step may still change the optimizer's state.
@pytest.mark.parametrize("lr", [None, 0.0])
@pytest.mark.parametrize("taken", [0, 1, 7])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_jacobian_is_that_of_the_real_step(name, taken, lr):
    optimizer, vector = make(name)
    for step in range(taken):
        vector.grad = gradient_of(step)
        optimizer.step()
    moments, scalars = state_of(optimizer, vector)
    hyperparameters = {
        k: v for k, v in optimizer.param_groups[0].items() if k != "params"
    }
    hyperparameters |= {} if lr is None else {"lr": lr}
    point = {
        PARAMETERS: vector.detach().clone(),
        "gradient": gradient_of(99),
        **moments,
    }
    rule = UpdateRule(type(optimizer), hyperparameters)
    jacobian, _ = rule.linearize(
        point[PARAMETERS],
        point["gradient"],
        moments if scalars is not None else {},
        scalars,
    )
    outputs = real_step(name, taken, point)
    h = 1e-7
    for key in point:
        ahead, behind = (
            real_step(name, taken, {**point, key: point[key] + shift}, lr)
            for shift in (h, -h)
        )
        for output in outputs:
            expected = (ahead[output] - behind[output]) / (2 * h)
            found = torch.as_tensor(jacobian.get((output, key), 0.0)).expand(SIZE)
            # Central differences in double precision: about 1e-8 from rounding, less
            # from the third derivatives (second moments are small).
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_linear_rules_do_not_look_at_the_point():
    optimizer, _ = make("momentum")
    hyperparameters = {
        k: v for k, v in optimizer.param_groups[0].items() if k != "params"
    }
    rule = UpdateRule(optim.SGD, hyperparameters)
    vector = torch.full((3,), float("nan"), dtype=torch.float64)
    jacobian, _ = rule.linearize(vector, vector, {"momentum_buffer": vector}, ())
    # lr 0.1, momentum 0.8, dampening 0.1
    assert jacobian[PARAMETERS, "gradient"] == pytest.approx(-0.1 * 0.9, rel=1e-12)
    assert jacobian[PARAMETERS, "momentum_buffer"] == pytest.approx(-0.08, rel=1e-12)
    assert jacobian["momentum_buffer", "gradient"] == pytest.approx(0.9, rel=1e-12)


def test_first_momentum_step_has_no_dampening():
    optimizer, _ = make("momentum")
    hyperparameters = {
        k: v for k, v in optimizer.param_groups[0].items() if k != "params"
    }
    rule = UpdateRule(optim.SGD, hyperparameters)
    one = torch.ones(1, dtype=torch.float64)
    assert rule.linearize(one, one, {}, None)[0][
        PARAMETERS, "gradient"
    ] == pytest.approx(-0.1, rel=1e-12)
    # and the next step has its dampening again
    assert rule.linearize(one, one, {"momentum_buffer": one}, ())[0][
        PARAMETERS, "gradient"
    ] == pytest.approx(-0.09, rel=1e-12)


@pytest.mark.parametrize(
    "name", ["adam", "amsgrad", "adamw", "rmsprop", "adagrad", "nadam"]
)
@pytest.mark.parametrize("size", [0.0, 1e-200])
def test_where_the_second_moment_is_0_its_root_does_not_move(name, size):
    # Gradient and second moment 0, or the gradient's square: the root's slope is
    # infinite there, and the step is a multiple of the gradient.
    optimizer, _ = make(name)
    hyperparameters = {
        k: v for k, v in optimizer.param_groups[0].items() if k != "params"
    }
    hyperparameters["weight_decay"] = 0.0
    zero = torch.zeros(SIZE, dtype=torch.float64)
    gradient = zero + size
    moments = dict.fromkeys(moment_names(optimizer), zero)
    rule = UpdateRule(type(optimizer), hyperparameters)
    jacobian, _ = rule.linearize(
        zero + 1, gradient, moments, (("step", 3.0), ("mu_product", 0.5))
    )
    for key in ("exp_avg_sq", "square_avg", "sum", "max_exp_avg_sq"):
        if (PARAMETERS, key) in jacobian:
            assert not jacobian[PARAMETERS, key].any()
    # Between gradients whose squares are 0 the step is linear.
    ahead, behind = (
        rule.linearize(zero, zero + at, moments, (("step", 3.0), ("mu_product", 0.5)))[
            1
        ]
        for at in (1e-180, -1e-180)
    )
    expected = (ahead - behind) / 2e-180
    torch.testing.assert_close(jacobian[PARAMETERS, "gradient"], expected)


def test_pull_back_is_the_transposed_jacobian():
    generator = torch.Generator().manual_seed(0)
    keys_in, keys_out = ("parameters", "gradient", "m"), ("parameters", "m")
    diagonals = {
        (o, i): torch.randn(4, generator=generator, dtype=torch.float64)
        for o in keys_out
        for i in keys_in
    }
    adjoint = {
        k: torch.randn(3, 4, generator=generator, dtype=torch.float64) for k in keys_out
    }
    pulled = pull_back(diagonals, adjoint)
    dense = torch.cat(
        [torch.cat([torch.diag(diagonals[o, i]) for i in keys_in], 1) for o in keys_out]
    )
    expected = torch.cat([adjoint[k] for k in keys_out], 1) @ dense
    torch.testing.assert_close(torch.cat([pulled[k] for k in keys_in], 1), expected)


class Custom(optim.SGD):
    """An SGD with a step of its own."""

    def step(self, closure=None):
        return super().step(closure)


@pytest.mark.parametrize(
    ("make_optimizer", "reason"),
    [
        (lambda p: optim.LBFGS(p), "LBFGS: it evaluates the loss several times"),
        (lambda p: optim.Rprop(p), "Rprop: it uses only the sign"),
        (lambda p: optim.SparseAdam(p), "SparseAdam: its gradients are sparse"),
        (lambda p: optim.Adafactor(p), "Adafactor: it mixes the elements"),
        (lambda p: Custom(p, lr=0.1), "Custom: its step is not one of"),
    ],
)
def test_other_optimizers_are_refused_by_name(make_optimizer, reason):
    optimizer = make_optimizer([torch.ones(2, 2, requires_grad=True)])
    with pytest.raises(UnsupportedOptimizerError, match=reason) as error:
        moment_names(optimizer)
    assert "record=None" in str(error.value)


def test_muon_is_refused_by_name():
    muon = getattr(optim, "Muon", None)
    if muon is None:
        pytest.skip("this version of PyTorch has no Muon")
    with pytest.raises(UnsupportedOptimizerError, match="Muon: it mixes"):
        moment_names(muon([torch.ones(2, 2, requires_grad=True)]))


@pytest.mark.parametrize("lr", [0.0, 0.1])
@pytest.mark.parametrize("cls", [optim.Adam, optim.AdamW, optim.RMSprop])
def test_a_graph_reaches_the_options(cls, lr):
    """At a rate of 0 too, where a warm-up begins and Adam's step is written apart."""
    rng = torch.Generator().manual_seed(0)
    start, gradient, adjoint = (
        torch.randn(SIZE, dtype=torch.float64, generator=rng) for _ in range(3)
    )

    def led_to(rate, decay):
        vector = start.clone().requires_grad_()
        vector.grad = gradient.clone()
        cls([vector], lr=rate, weight_decay=decay).step()
        return float(vector.detach() @ adjoint)

    options = {"lr": lr, "weight_decay": 0.3}
    group = cls([start], **options).param_groups[0]
    rule = UpdateRule(cls, {k: v for k, v in group.items() if k != "params"})
    traced = rule.trace(start, gradient, {}, None)
    found = traced.pull({PARAMETERS: adjoint})
    # Fourth order, ahead only: optimizers refuse a rate below 0.
    h, weights = 1e-4, (-25, 48, -36, 16, -3)
    for name, along in (("learning_rate", (h, 0)), ("weight_decay", (0, h))):
        values = [led_to(lr + k * along[0], 0.3 + k * along[1]) for k in range(5)]
        expected = np.dot(weights, values) / (12 * h)
        # From rounding 1e-11; the fifth derivatives are of the order of 1.
        assert float(found[name]) == pytest.approx(expected, rel=1e-8, abs=1e-9)
