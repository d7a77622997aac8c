"""The retrace against finite differences of retraining, and unrolled autograd."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators import RecordedRun
from skinfluence.estimators._questions.question import ask, query_of
from skinfluence.influence import retrace
from tests.cases import MODULES, N_CLASSES, OPTIMIZERS, SIDE, Case, rough
from tests.oracles import (
    Spy,
    finite_differences,
    relative_error,
    validation_loss,
)

# The derivative is exact in rough runs too, however little it foretells.
pytestmark = rough

# The oracle's own error is about 1e-8 or less (double precision); the bound is the
# accuracy that the library promises.
TOLERANCE = 1e-6


def compare(case, *, clip=None, callbacks=(), at=None, **fit):
    """Return the relative error of `influence` in a case."""
    X, _, sample_weight = case.data()
    X_val, y_val = case.validation()
    spy = Spy()
    clf = case.fitted(callbacks=[spy, *callbacks], **fit)
    weights = at or {clf.trajectory_.n_epochs: 1.0}

    def query(ends, base):
        losses = [
            weight * validation_loss(ends[e - 1], X_val, y_val, base[e - 1]).mean()
            for e, weight in weights.items()
        ]
        return np.sum(losses) / sum(weights.values())

    expected = finite_differences(
        spy.run,
        X,
        query,
        seeds=[r.seed or 0 for r in clf.trajectory_.records],
        sample_weight=sample_weight,
        clip=clip,
    )
    found = clf.influence(X_val, y_val, at=weights)
    assert np.abs(expected).max() > 1e-6
    return relative_error(found, expected)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_equals_finite_differences(optimizer, module):
    assert compare(Case(module, optimizer)) <= TOLERANCE


def nearly_dead():
    """Return a network one of whose units has gradients of about 1e-25."""
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE * SIDE, 5), nn.Sigmoid(), nn.Linear(5, N_CLASSES)
    )
    with torch.no_grad():
        module[1].weight[0] *= 0.1
        module[1].bias[0] = -57.0
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    ["adam", "amsgrad", "adamw", "rmsprop", "adagrad", "adadelta", "nadam", "radam"]
    + ["rmsprop_centered", "adamax"],
)
def test_a_unit_whose_squared_gradients_underflow(optimizer):
    X, y, _ = Case().data()
    options = {**OPTIMIZERS[optimizer], "optimizer__eps": 1e-8}

    def influence(dtype):
        clf = SGDInfluenceClassifier(
            nearly_dead, dtype=dtype, batch_size=5, max_epochs=4, random_state=0
        ).set_params(**options)
        return clf.fit(X, y).influence(*Case().validation())

    # Single precision, through 12 steps; in double precision nothing underflows.
    error = relative_error(influence("float32"), influence("float64"))
    assert error <= 1e-5


class ClipValue(Callback):
    def on_grad_computed(self, net, named_parameters, **kwargs):
        clip_grad_value_([p for _, p in named_parameters], 0.05)


class ClipNorm(Callback):
    """Clips as users write it, unknown to the library."""

    def __init__(self, bound, norm_type):
        self.bound, self.norm_type = bound, norm_type

    def on_grad_computed(self, net, named_parameters, **kwargs):
        clip_grad_norm_([p for _, p in named_parameters], self.bound, self.norm_type)


def schedule():
    return LRScheduler("StepLR", step_size=2, gamma=0.5, step_every="batch")


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_schedule_clipping_and_weights(optimizer):
    case = Case("mlp", optimizer, weighted=True)
    error = compare(
        case,
        clip=lambda parameters: clip_grad_norm_(parameters, 0.2),
        callbacks=[GradientNormClipping(0.2), schedule()],
    )
    assert error <= TOLERANCE


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_clipping_by_norm(norm_type):
    error = compare(
        Case("mlp", "momentum"),
        clip=lambda parameters: clip_grad_norm_(parameters, 0.3, norm_type=norm_type),
        callbacks=[GradientNormClipping(0.3, norm_type)],
    )
    assert error <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "bound", "norm_type"),
    [
        ("mlp", 0.2, 2.0),
        ("cnn", 0.2, 2.0),
        ("mlp", 1 / 3, 2.0),
        ("mlp", 0.2, 3.0),
        ("mlp", 0.05, float("inf")),
    ],
)
def test_clipping_by_a_users_callback(module, bound, norm_type):
    error = compare(
        Case(module, "momentum"),
        clip=lambda parameters: clip_grad_norm_(parameters, bound, norm_type),
        callbacks=[ClipNorm(bound, norm_type)],
    )
    assert error <= TOLERANCE


def test_clipping_by_value():
    error = compare(
        Case("mlp", "momentum"),
        clip=lambda parameters: clip_grad_value_(parameters, 0.05),
        callbacks=[ClipValue()],
    )
    assert error <= TOLERANCE


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_parameter_groups(optimizer):
    options = {
        "optimizer__param_groups": [
            ("*.bias", {"lr": 0.3, "weight_decay": 0.0}),
            ("3.*", {"lr": 0.01}),
        ]
    }
    assert compare(Case("mlp", optimizer, options)) <= TOLERANCE


class Freeze(Callback):
    """Freezes a parameter for a time, and leaves its optimizer state behind."""

    def __init__(self, begin, end):
        self.begin, self.end = begin, end

    def on_epoch_begin(self, net, **kwargs):
        frozen = self.begin <= len(net.history) < self.end
        next(net.module_[1].parameters()).requires_grad_(not frozen)


def test_frozen_parameters_equal_a_smaller_run():
    # Frozen from the first step to the last: no part of the run.
    case = Case("mlp", "momentum")
    X_val, y_val = case.validation()
    clf = case.fitted(callbacks=[Freeze(1, 9)])
    weight = next(clf.module_[1].parameters())
    assert not weight.requires_grad
    size = sum(p.numel() for p in clf.module_.parameters())
    assert len(clf.trajectory_.final.parameters) == size - weight.numel()
    assert np.abs(clf.influence(X_val, y_val)).max() > 1e-6


@pytest.mark.parametrize(("begin", "end"), [(1, 2), (2, 3), (1, 3), (3, 4)])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_parameters_frozen_for_a_time(optimizer, begin, end):
    assert compare_frozen(Case("mlp", optimizer), begin, end) <= TOLERANCE


def compare_frozen(case, begin, end):
    """Like `compare`; the plain loop freezes at the same steps."""
    spy = Spy()
    clf = case.fitted(callbacks=[Freeze(begin, end), spy])
    epochs = [record.epoch for record in clf.trajectory_.records]
    X_val, y_val = case.validation()
    steps = iter(())

    def clip(parameters):
        nonlocal steps
        epoch = next(steps, None)
        if epoch is None:
            steps = iter(epochs)
            epoch = next(steps)
        if begin <= epoch < end:
            parameters[0].grad = None

    # The spy copied the module as it stood: with its first layer frozen or not.
    for parameter in spy.run.module.parameters():
        parameter.requires_grad_()
    expected = finite_differences(
        spy.run,
        case.data()[0],
        lambda ends, base: validation_loss(ends[-1], X_val, y_val, base[-1]).mean(),
        seeds=[r.seed or 0 for r in clf.trajectory_.records],
        clip=clip,
    )
    return relative_error(clf.influence(X_val, y_val), expected)


@pytest.mark.parametrize("module", ["mlp", "batch_norm"])
@pytest.mark.parametrize("at", [{1: 1.0, 2: 0.5, 3: 0.25}, {1: 1.0}, {2: 3.0, 3: 1.0}])
def test_query_along_the_path(at, module):
    assert compare(Case(module, "momentum"), at=at) <= TOLERANCE


def test_equals_autograd_through_the_unrolled_run():
    # Momentum SGD written out by hand and differentiated as one graph.
    case = Case("mlp", "momentum", {"optimizer__weight_decay": 0.02}, weighted=True)
    X, _, sample_weight = case.data()
    X_val, y_val = case.validation()
    spy = Spy()
    clf = case.fitted(callbacks=[spy])
    run = spy.run
    w = torch.ones(len(X), dtype=torch.float64, requires_grad=True)
    c = torch.from_numpy(sample_weight / sample_weight.mean())
    names = [name for name, _ in run.module.named_parameters()]
    theta = [p.detach().requires_grad_() for p in run.module.parameters()]
    buffers = None
    for inputs, targets in run.batches:
        rows = [
            int(np.flatnonzero((x == X).reshape(len(X), -1).all(1))[0])
            for x in inputs.numpy()
        ]
        outputs = torch.func.functional_call(
            run.module, dict(zip(names, theta, strict=True)), (inputs,)
        )
        losses = torch.nn.functional.cross_entropy(outputs, targets, reduction="none")
        loss = (w[rows] * c[rows] * losses).sum() / len(rows)
        g = torch.autograd.grad(loss, theta, create_graph=True)
        g = [a + 0.02 * p for a, p in zip(g, theta, strict=True)]
        buffers = (
            g
            if buffers is None
            else [0.8 * b + 0.9 * a for b, a in zip(buffers, g, strict=True)]
        )
        theta = [p - 0.1 * b for p, b in zip(theta, buffers, strict=True)]
    outputs = torch.func.functional_call(
        run.module, dict(zip(names, theta, strict=True)), (torch.from_numpy(X_val),)
    )
    q = torch.nn.functional.cross_entropy(outputs, torch.from_numpy(y_val))
    expected = -torch.autograd.grad(q, w)[0].numpy()
    # Both are exact but for rounding.
    assert relative_error(clf.influence(X_val, y_val), expected) <= 1e-12


@pytest.mark.parametrize("at", [{2: 1.0}, {1: 0.5, 2: 0.5}])
def test_growth_is_the_largest_adjoint_over_what_the_query_put_in(at):
    # A squared error of one parameter: each step multiplies the adjoint by
    # 1 - 1.5 · 2 = -2. That of the very first state serves no sample, and is left out.
    X = np.ones((6, 1))
    reg = SGDInfluenceRegressor(
        nn.Linear(1, 1, bias=False),
        lr=1.5,
        max_epochs=2,
        batch_size=2,
        dtype="float64",
        random_state=0,
    ).fit(X, np.arange(6.0))
    asked = ask(reg, X, np.zeros(6), None, "loss", at, None)
    step, worker = RecordedRun.of(reg).repeatable()
    found = retrace(asked.trajectory, step, query_of(worker, asked), asked.at)
    slopes = {}
    for epoch in at:
        state = asked.trajectory.state(3 * epoch)
        slopes[epoch] = 2 * float(state.parameters[0])  # of the mean of θ²
    if len(at) == 1:
        assert found.growth == pytest.approx(2.0**5, rel=1e-12)
        return
    late, early = 0.5 * slopes[2], 0.5 * slopes[1]
    at_start = abs((late * (-2.0) ** 3 + early) * (-2.0) ** 2)
    expected = at_start / (abs(late) + abs(early))
    assert found.growth == pytest.approx(expected, rel=1e-12)
