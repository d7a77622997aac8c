"""Runs in half precision, or in several: the derivative at the recorded states.

A step in half precision ends with rounding, which has no derivative: the influence is
that of the recorded steps without it. So the oracle takes the steps in double
precision, from each recorded state and from one that differs by a little; what the
little has become is what the next step differs by.
"""

import copy

import numpy as np
import pytest
import torch
from skorch.callbacks import Freezer, Unfreezer
from torch import Tensor, nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.exceptions import (
    InfluenceReliabilityWarning,
    UnsupportedModuleError,
)
from tests.cases import N_CLASSES, SIDE, Case, pairwise, rough
from tests.oracles import Spy, relative_error

pytestmark = rough

HALF, SINGLE, DOUBLE = torch.bfloat16, torch.float32, torch.float64
EPOCHS, BATCH = 3, 5


class Mixed(nn.Module):
    """A base and a head of two dtypes."""

    def __init__(self, base=HALF, head=SINGLE, frozen=False, n_outputs=N_CLASSES):
        super().__init__()
        self.base = nn.Linear(SIDE * SIDE, 5, dtype=base).requires_grad_(not frozen)
        self.head = nn.Linear(5, n_outputs, dtype=head)

    def forward(self, X):
        hidden = torch.tanh(self.base(X.flatten(1).to(self.base.weight.dtype)))
        return self.head(hidden.to(self.head.weight.dtype))


OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.5}),
    "adam": (torch.optim.Adam, {"lr": 0.02, "eps": 1e-2}),
}
RUNS = {
    "frozen bfloat16 base": (HALF, SINGLE, True),
    "frozen bfloat16 base, float64 head": (HALF, DOUBLE, True),
    "frozen float32 base, float64 head": (SINGLE, DOUBLE, True),
    "bfloat16 base": (HALF, SINGLE, False),
    "bfloat16": (HALF, HALF, False),
    "float16": (torch.float16, torch.float16, False),
    "float64 base": (DOUBLE, SINGLE, False),
    "float64 head": (SINGLE, DOUBLE, False),
}


class Flat(Mixed):
    """One output, without an axis of its own."""

    def forward(self, X):
        return super().forward(X).squeeze(1)


def fitted(base, head, frozen, optimizer="sgd", **more):
    X, y, _ = Case().data()
    optimizer, options = OPTIMIZERS[optimizer]
    options = {f"optimizer__{name}": value for name, value in options.items()}
    options["lr"] = options.pop("optimizer__lr")
    own = {
        "module__base": base,
        "module__head": head,
        "module__frozen": frozen,
        "max_epochs": EPOCHS,
        "batch_size": BATCH,
        "shuffle": False,
        "random_state": 0,
    }
    return SGDInfluenceClassifier(
        Mixed, optimizer=optimizer, **own, **options, **more
    ).fit(X, y)


class Along:
    """Steps in double precision from recorded states, with a little added to them."""

    def __init__(self, clf, optimizer):
        module = copy.deepcopy(clf.module_)
        # What a frozen base computes is part of the run, rounded as it is.
        module.head.double()
        if module.base.weight.requires_grad:
            module.base.double()
        self.module = module
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        cls, options = OPTIMIZERS[optimizer]
        self.optimizer = cls(self.parameters, **options)
        self.states = [
            clf.trajectory_.state(t) for t in range(clf.trajectory_.n_steps + 1)
        ]
        self.dtype = clf.dtype_
        X, y, _ = Case().data()
        self.X = torch.from_numpy(X).to(clf.dtype_).double()
        self.y = torch.from_numpy(y)

    def vector(self, tensors):
        return torch.cat([t.detach().reshape(-1) for t in tensors])

    def step(self, t, rows, weights, little):
        """Return the state after a step, as one vector."""
        state = self.states[t]
        sizes = [p.numel() for p in self.parameters]
        values = [state.parameters, *state.moments.values()]
        vectors = torch.stack([v.double() for v in values])
        vectors = vectors + little if len(little) == len(vectors) else vectors
        shaped = [
            [*map(Tensor.view_as, v.split(sizes), self.parameters)] for v in vectors
        ]
        self.optimizer.state.clear()
        for k, parameter in enumerate(self.parameters):
            parameter.data = shaped[0][k].clone()
            own = {
                n: s[k].clone() for n, s in zip(state.moments, shaped[1:], strict=False)
            }
            if state.scalars[k] is not None:
                own |= {n: torch.tensor(v) for n, v in state.scalars[k]}
                self.optimizer.state[parameter] = own
        losses = nn.functional.cross_entropy(
            self.module(self.X[rows]), self.y[rows], reduction="none"
        )
        self.optimizer.zero_grad()
        (losses * weights[rows]).mean().backward()
        self.optimizer.step()
        names = self.states[t + 1].moments
        moments = [
            [self.optimizer.state[p][name] for p in self.parameters] for name in names
        ]
        return torch.stack([self.vector(v) for v in (self.parameters, *moments)])

    def change(self, sample, shift):
        """Return what the last parameters differ by."""
        n = len(self.X)
        ones = torch.ones(n, dtype=torch.float64)
        weights = ones.clone()
        weights[sample] += shift
        little = torch.zeros(0)
        batches = torch.arange(n).split(BATCH)
        for t in range(len(self.states) - 1):
            rows = batches[t % len(batches)]
            base = self.step(t, rows, ones, torch.zeros(0))
            little = self.step(t, rows, weights, little) - base
        return little[0]

    def influence(self, X_val, y_val, step=1e-4):
        X_val = torch.from_numpy(X_val).to(self.dtype).double()
        sizes = [p.numel() for p in self.parameters]
        last = self.states[-1].parameters.double()

        def value(change):
            parts = (last + change).split(sizes)
            for parameter, part in zip(self.parameters, parts, strict=True):
                parameter.data = part.view_as(parameter)
            with torch.no_grad():
                outputs = self.module(X_val)
            return float(nn.functional.cross_entropy(outputs, torch.from_numpy(y_val)))

        return np.array(
            [
                (value(self.change(k, -step)) - value(self.change(k, step))) / 2 / step
                for k in range(len(self.X))
            ]
        )


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("run", RUNS)
def test_influence_is_the_derivative_at_the_recorded_states(run, optimizer):
    if (run, optimizer) == ("float16", "adam"):
        pytest.skip("its second moments underflow")
    dtypes = RUNS[run]
    clf = fitted(*dtypes, optimizer, checkpoint_every=1)
    found = clf.influence(*Case().validation())
    expected = Along(clf, optimizer).influence(*Case().validation())
    # Differences of second order with steps of 1e-4: 1e-8. The way back is computed in
    # the widest trained dtype, at least single precision, whose rounding it adds up.
    tolerance = 1e-6 if DOUBLE in dtypes else 1e-5
    assert relative_error(found, expected) <= tolerance
    again = fitted(*dtypes, optimizer, checkpoint_every=3)
    np.testing.assert_array_equal(again.influence(*Case().validation()), found)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_frozen_base_costs_nothing(optimizer):
    clf = fitted(HALF, SINGLE, True, optimizer)
    moments = 1 if optimizer == "sgd" else 2
    head = 5 * N_CLASSES + N_CLASSES
    assert clf.trajectory_.final.nbytes == (1 + moments) * head * 4


def test_the_run_is_the_one_without_recording():
    recorded, plain = (fitted(HALF, HALF, False, record=r) for r in ("all", None))
    for mine, theirs in zip(
        recorded.module_.parameters(), plain.module_.parameters(), strict=True
    ):
        assert mine.dtype == HALF
        assert torch.equal(mine, theirs)


def test_targets_are_rounded_as_in_training():
    X, _, _ = Case().data()
    y = np.random.default_rng(0).normal(size=len(X))
    reg = SGDInfluenceRegressor(
        Flat,
        module__base=HALF,
        module__head=HALF,
        module__n_outputs=1,
        lr=0.05,
        max_epochs=1,
        batch_size=len(X),
        random_state=0,
    ).fit(X, y)
    start = reg.trajectory_.state(0).parameters.double()
    module = Flat(DOUBLE, DOUBLE, n_outputs=1)
    nn.utils.vector_to_parameters(start, module.parameters())
    x, t = (torch.from_numpy(a).to(HALF).double() for a in (X, y))
    # One step of SGD: every sample moves the parameters by its own gradient.
    parameters = [*module.parameters()]
    losses = (module(x) - t).square()
    own = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
    moves = 0.05 * torch.stack([nn.utils.parameters_to_vector(g) for g in own]) / len(X)
    last = reg.trajectory_.final.parameters.double()
    nn.utils.vector_to_parameters(last, module.parameters())
    loss = (module(x) - torch.from_numpy(y)).square().mean()
    slope = nn.utils.parameters_to_vector(torch.autograd.grad(loss, parameters))
    # Single precision, for gradients of about as many terms as there are features.
    assert relative_error(reg.influence(X, y), (moves @ slope).numpy()) <= 1e-5
    assert np.isfinite(reg.target_influence(X, y)).all()


def test_dropout_draws_the_same_in_every_precision():
    X, y, _ = Case().data()
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(36, 16), nn.Dropout(0.5), nn.Linear(16, 3)
    )
    clf = SGDInfluenceClassifier(module.to(HALF), lr=0.05, batch_size=5, max_epochs=3)
    clf.fit(X, y)
    # Another mask would be another loss, which is refused.
    assert clf.influence(*Case().validation()).any()


def test_class_weights_have_the_precision_of_the_outputs():
    clf = fitted(HALF, SINGLE, False, criterion__weight=torch.tensor([0.3, 1.0, 2.1]))
    assert clf.criterion_.weight.tolist() == torch.tensor([0.3, 1.0, 2.1]).tolist()


def test_an_earlier_stage_of_another_precision():
    X, y, _ = Case().data()
    first = fitted(HALF, HALF, False)
    second = SGDInfluenceClassifier(
        Mixed,
        module__base=HALF,
        module__head=HALF,
        pretrained=first,
        lr=0.05,
        batch_size=5,
        max_epochs=2,
        random_state=0,
    ).fit(X, y)
    asked = Case().validation()
    # The second run began where the first one ended, with no step of its own to undo
    # its influence: what the later steps do to it is of second order in the rate.
    earlier = second.influence(*asked, stage="pretraining")
    assert np.corrcoef(earlier, first.influence(*asked))[0, 1] > 0.9


@pytest.mark.parametrize("default", [torch.float64, torch.float16, torch.bfloat16])
def test_the_default_dtype_changes_nothing(default):
    X, y, _ = Case().data()

    def scores():
        clf = SGDInfluenceClassifier(
            optimizer=torch.optim.NAdam, lr=0.01, max_epochs=3, random_state=0
        ).fit(X.reshape(len(X), -1), y)
        return clf.influence(X.reshape(len(X), -1), y)

    expected = scores()
    torch.set_default_dtype(default)
    try:
        found = scores()
    finally:
        torch.set_default_dtype(SINGLE)
    # NAdam keeps a product of its momenta in the default dtype.
    assert relative_error(found, expected) <= 1e-6


@pairwise(
    frozen=["base.*", "head.*"],
    base=[SINGLE, DOUBLE],
    optimizer=OPTIMIZERS,
    every=[1, 4],
)
def test_parameters_that_are_frozen_and_trained_later(frozen, base, optimizer, every):
    # Three steps make an epoch; the others are trained alone in the first.
    cls, options = OPTIMIZERS[optimizer]
    head = SINGLE if base is DOUBLE else DOUBLE
    spy = Spy()
    callbacks = [spy, Freezer(frozen), Unfreezer(frozen, at=2)]
    clf = fitted(
        base, head, False, optimizer, callbacks=callbacks, checkpoint_every=every
    )
    X, y, _ = Case().data()
    X_val, y_val = Case().validation()
    later = frozen.removesuffix(".*")

    def loss(weights):
        module = copy.deepcopy(spy.run.module).double()
        optimizer = cls(module.parameters(), **options)
        rows = torch.arange(len(X))
        x = torch.from_numpy(X).to(clf.dtype_).double()
        for epoch in range(EPOCHS):
            getattr(module, later).requires_grad_(epoch > 0)
            for batch in rows.split(BATCH):
                losses = nn.functional.cross_entropy(
                    module(x[batch]), torch.from_numpy(y)[batch], reduction="none"
                )
                optimizer.zero_grad()
                (losses * weights[batch]).mean().backward()
                optimizer.step()
        asked = torch.from_numpy(X_val).to(clf.dtype_).double()
        with torch.no_grad():
            outputs = module(asked)
        return float(nn.functional.cross_entropy(outputs, torch.from_numpy(y_val)))

    expected = []
    for sample in range(len(X)):
        shift = torch.zeros(len(X), dtype=torch.float64)
        shift[sample] = 1e-4
        expected.append((loss(1 - shift) - loss(1 + shift)) / 2e-4)
    # The run's single-precision steps are not the oracle's: some eps of it a step.
    assert relative_error(clf.influence(X_val, y_val), np.array(expected)) <= 1e-5


class Casts(nn.Module):
    """Computes in half precision inside, by torch.autocast or by itself."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.base = nn.Linear(SIDE * SIDE, 5)
        self.head = nn.Linear(5, N_CLASSES)

    def forward(self, X):
        with torch.autocast("cpu", HALF, enabled=self.how == "autocast"):
            hidden = torch.tanh(self.base(X.flatten(1)))
            if self.how == "cast":
                hidden = hidden.to(HALF).to(self.head.weight.dtype)
            outputs = self.head(hidden)
        return outputs if self.how is None else outputs.float()


@pytest.mark.parametrize("how", ["autocast", "cast"])
def test_casts_to_half_precision_inside_are_warned_of(how):
    X, y, _ = Case().data()

    def scores(how, dtype):
        clf = SGDInfluenceClassifier(
            Casts, module__how=how, dtype=dtype, lr=0.1, batch_size=5, random_state=0
        ).fit(X, y)
        return clf.influence(*Case().validation())

    with pytest.warns(InfluenceReliabilityWarning, match="casts to bfloat16 or float1"):
        found = scores(how, "float32")
    # bfloat16 has three digits.
    assert 1e-5 < relative_error(found, scores(None, "float64")) < 0.05


def own_module(X, y, **options):
    return SGDInfluenceClassifier(
        nn.Linear,
        module__in_features=X.shape[1],
        module__out_features=len(np.unique(y)),
        max_epochs=2,
        random_state=0,
        **options,
    ).fit(X, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("default", [torch.float64, torch.float16])
def test_a_module_of_ones_own_under_another_default_dtype(default, dtype):
    X, y, _ = Case().data()
    X = X.reshape(len(X), -1)
    expected = own_module(X, y, dtype=dtype).predict_proba(X)
    torch.set_default_dtype(default)
    try:
        with pytest.raises(
            ValueError, match=f"`dtype` must be .*{default}, got 'auto'"
        ):
            own_module(X, y)
        found = own_module(X, y, dtype=dtype).predict_proba(X)
    finally:
        torch.set_default_dtype(SINGLE)
    np.testing.assert_array_equal(found, expected)


class Complex(nn.Module):
    """Multiplies by complex numbers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(36, 3, dtype=torch.complex64))

    def forward(self, X):
        return (X.flatten(1).to(torch.complex64) @ self.weight).abs()


def test_complex_parameters_are_refused_by_name():
    X, y, _ = Case().data()
    with pytest.raises(
        UnsupportedModuleError, match=r"real, got torch.complex64 for `w"
    ):
        SGDInfluenceClassifier(Complex, optimizer=torch.optim.Adam).fit(X, y)
    SGDInfluenceClassifier(Complex, record=None).fit(X, y)
