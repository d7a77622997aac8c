"""Cells of the training samples, against finite differences of retraining."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from skorch.callbacks import GradientNormClipping
from torch import nn
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import Dataset, TensorDataset

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.exceptions import UnsupportedModuleError
from tests.cases import MODULES, N_CLASSES, OPTIMIZERS, SIDE, Case, rough
from tests.oracles import (
    Spy,
    relative_error,
    retrain,
    rows_of,
    validation_loss,
)

# The derivative is exact in rough runs too, however little it foretells.
pytestmark = rough

# The oracle's own error is about 1e-8 or less (double precision); the bound is the
# accuracy that the library promises.
TOLERANCE = 1e-6


def directions_of(X, n_cells=4, n_mixed=3):
    """Return single cells of X to move, and all of them at once."""
    rng = np.random.default_rng(3)
    single = np.zeros((n_cells, X.size))
    single[np.arange(n_cells), rng.choice(X.size, n_cells, replace=False)] = 1.0
    mixed = rng.normal(size=(n_mixed, X.size))
    return np.concatenate([single, mixed]).reshape(-1, *X.shape)


def derivatives(run, X, directions, value, *, step=2e-6, **options):
    """Differentiate a value in the inputs along directions, by central differences."""
    ones = np.ones(len(X))
    rows = [rows_of(x, X) for x, _ in run.batches]

    def moved(change):
        own = torch.from_numpy(X + change)
        pairs = zip(rows, run.batches, strict=True)
        batches = [(own[own_rows], y) for own_rows, (_, y) in pairs]
        # Samples are told by their inputs as they are then.
        return value(
            retrain(replace(run, batches=batches), X + change, ones, **options)
        )

    differences = [moved(step * d) - moved(-step * d) for d in directions]
    return np.array(differences) / (2 * step)


def compare(case, *, clip=None, callbacks=(), at="final", accumulate=1, **fit):
    """Return found and expected derivatives along some directions in a case."""
    X, _, sample_weight = case.data()
    X_val, y_val = case.validation()
    spy = Spy()
    clf = case.fitted(callbacks=[spy, *callbacks], accumulate_steps=accumulate, **fit)
    n_epochs = clf.trajectory_.n_epochs
    asked = {"final": [n_epochs], "epochs": range(1, n_epochs + 1)}[at]
    options = {
        "seeds": [
            0 if record.seed is None else record.seed + k
            for record in clf.trajectory_.records
            for k in range(len(record.sizes) or 1)
        ],
        "sample_weight": sample_weight,
        "clip": clip,
        "accumulate": accumulate,
    }
    base = retrain(spy.run, X, np.ones(len(X)), **options)

    def value(ends):
        losses = [
            validation_loss(ends[e - 1], X_val, y_val, base[e - 1]).mean()
            for e in asked
        ]
        return np.mean(losses)

    directions = directions_of(X)
    expected = derivatives(spy.run, X, directions, value, **options)
    found = clf.feature_influence(X_val, y_val, at=at)
    assert found.shape == X.shape
    assert np.abs(expected).max() > 1e-6
    return (directions * found).sum(axis=(1, 2, 3, 4)), expected


@pytest.mark.parametrize(
    "case",
    [
        *(Case(module, "momentum") for module in MODULES),
        *(Case("mlp", optimizer, weighted=True) for optimizer in OPTIMIZERS),
        Case("batch_norm", "adam"),
        Case("dropout", "adam"),
    ],
    ids=lambda case: f"{case.module}-{case.optimizer}",
)
def test_equals_finite_differences(case):
    assert relative_error(*compare(case)) <= TOLERANCE


@pytest.mark.slow
def test_of_a_compiled_run():
    assert relative_error(*compare(Case("mlp", "adam"), compile=True)) <= TOLERANCE


def test_with_clipping_along_the_path():
    found, expected = compare(
        Case("mlp", "momentum"),
        clip=lambda parameters: clip_grad_norm_(parameters, 0.2),
        callbacks=[GradientNormClipping(0.2)],
        at="epochs",
    )
    assert relative_error(found, expected) <= TOLERANCE


def test_with_accumulated_gradients():
    found = compare(Case("mlp", "adam", weighted=True), accumulate=2)
    assert relative_error(*found) <= TOLERANCE


def test_of_the_last_epochs_only():
    clf = Case().fitted(max_epochs=2)
    validation = Case().validation()
    parts = clf.feature_influence(*validation, last_epochs=1)
    whole = clf.feature_influence(*validation)
    earlier = clf.feature_influence(*validation, at={1: 1.0}, last_epochs=2)
    assert not np.array_equal(parts, whole)
    assert not np.array_equal(parts, earlier)


def flat(case):
    X, y, _ = case.data()
    return X.reshape(len(X), -1), y


def mlp_for_rows():
    return nn.Sequential(nn.Linear(SIDE * SIDE, 5), nn.Tanh(), nn.Linear(5, N_CLASSES))


def test_of_a_sparse_matrix_are_the_cells_that_it_stores():
    X, y = flat(Case())
    X = np.where(np.abs(X) > 0.7, X, 0.0)
    X[2] = 0.0  # a row with no cell
    stored = sparse.csr_array(X)
    stored.data[3] = 0.0  # stored all the same
    X[stored.nonzero()[0][0], stored.indices[3]] = 0.0
    X_val = Case().validation()[0].reshape(7, -1), Case().validation()[1]
    dense, thin = (
        Case().classifier().set_params(module=mlp_for_rows).fit(data, y)
        for data in (X, stored)
    )
    expected = dense.feature_influence(*X_val)
    found = thin.feature_influence(*X_val)
    assert sparse.issparse(found)
    assert found.nnz == stored.nnz
    rows = np.repeat(np.arange(len(X)), np.diff(stored.indptr))
    np.testing.assert_allclose(
        found.data, expected[rows, stored.indices], rtol=1e-9, atol=1e-15
    )


def test_of_several_fits_and_of_rows_left_out():
    X, y, _ = Case().data()
    validation = Case().validation()
    clf = Case().classifier(max_epochs=1, train_split=None)
    clf.partial_fit(X[:9], y[:9]).partial_fit(X[9:], y[9:])
    found = clf.feature_influence(*validation)
    assert found.shape == X.shape
    assert (np.abs(found).max(axis=(1, 2, 3)) > 0).all()
    late = clf.feature_influence(*validation, last_epochs=1)
    assert (late[:9] == 0).all()


def test_of_a_regressor():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    X_val, y_val = rng.normal(size=(5, 3)), rng.normal(size=5)
    options = {"max_epochs": 2, "batch_size": 5, "random_state": 0, "lr": 0.1}

    def fitted(X):
        return SGDInfluenceRegressor(mlp_of_three, dtype="float64", **options).fit(X, y)

    def value(X):
        return np.mean((fitted(X).predict(X_val) - y_val) ** 2)

    directions = directions_of(X)
    # The training itself is plain skorch, compared with plain loops elsewhere.
    expected = [(value(X + 2e-6 * d) - value(X - 2e-6 * d)) / 4e-6 for d in directions]
    found = fitted(X).feature_influence(X_val, y_val)
    assert relative_error((directions * found).sum((1, 2)), np.array(expected)) <= 1e-6


def mlp_of_three():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))


def test_through_pretraining():
    X, y = flat(Case())
    validation = Case().validation()[0].reshape(7, -1), Case().validation()[1]
    options = {"max_epochs": 1, "batch_size": 5, "dtype": "float64", "random_state": 0}

    def tuned(early):
        first = SGDInfluenceClassifier(mlp_for_rows, **options).fit(early, y[::-1])
        return SGDInfluenceClassifier(mlp_for_rows, pretrained=first, **options).fit(
            X, y
        )

    early = X + 0.3

    def value(early):
        outputs = torch.from_numpy(tuned(early).forward(validation[0]).numpy())
        return float(nn.functional.cross_entropy(outputs, torch.tensor(validation[1])))

    directions = directions_of(early, 5, 2)
    expected = [
        (value(early + 2e-6 * d) - value(early - 2e-6 * d)) / 4e-6 for d in directions
    ]
    found = tuned(early).feature_influence(*validation, stage="pretraining")
    assert relative_error((directions * found).sum((1, 2)), np.array(expected)) <= 1e-6


class Bends(nn.Module):
    """Treats its inputs before the first layer."""

    def __init__(self, treat):
        super().__init__()
        self.treat = treat
        self.inner = mlp_for_rows()

    def forward(self, X):
        return self.inner(self.treat(X))


@pytest.mark.parametrize(
    "treat",
    [torch.detach, torch.round, lambda X: X.detach() * X, lambda X: X.data + X.sign()],
    ids=["detach", "round", "half", "sign"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_refuses_modules_that_autograd_does_not_see_through(treat, dtype):
    X, y = flat(Case())
    clf = SGDInfluenceClassifier(
        Bends(treat), dtype=dtype, random_state=0, batch_size=5
    )
    clf.fit(X, y)
    with pytest.raises(UnsupportedModuleError, match=r"input.*Ask for `influence`"):
        clf.feature_influence(X, y)


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.last = nn.Linear(4, N_CLASSES)

    def forward(self, X):
        return self.last(self.words(X).mean(1))


def test_refuses_tokens():
    X, y = np.arange(28).reshape(14, 2) % 9, np.arange(14) % N_CLASSES
    clf = SGDInfluenceClassifier(Embeds, random_state=0).fit(
        TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), None
    )
    with pytest.raises(ValueError, match=r"floating-point .* got torch.int64"):
        clf.feature_influence(clf.training_data_[0].dataset)


class ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = mlp_for_rows()

    def forward(self, cells):
        return self.inner(cells)


def test_refuses_several_arrays():
    X, y = flat(Case())
    clf = SGDInfluenceClassifier(ByName, random_state=0).fit({"cells": X}, y)
    with pytest.raises(ValueError, match=r"one array of numbers .* got dict"):
        clf.feature_influence({"cells": X}, y)


class Noisy(Dataset):
    def __init__(self, X, y):
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return self.X[row] + 0.1 * torch.randn(SIDE * SIDE), self.y[row]


def test_refuses_samples_that_are_drawn_anew():
    data = Noisy(*flat(Case()))
    clf = SGDInfluenceClassifier(
        mlp_for_rows, dtype="float64", classes=range(N_CLASSES), random_state=0
    )
    clf.fit(data, None)
    with pytest.raises(ValueError, match="same in every epoch"):
        clf.feature_influence(data)


class Lengths(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(1, 2)

    def forward(self, X):
        return self.last(X.mean((1, 2))[:, None])


def test_refuses_samples_of_several_shapes():
    clf = SGDInfluenceClassifier(Lengths, classes=[0, 1], random_state=0)
    y = torch.arange(6) % 2
    short, long = (TensorDataset(torch.rand(6, 1, k), y) for k in (3, 4))
    clf.partial_fit(short, None).partial_fit(long, None)
    with pytest.raises(UnsupportedModuleError, match=r"\(1, 3\) and \(1, 4\)"):
        clf.feature_influence(short)


def test_recomputed_states_give_the_same_bits():
    kept, recomputed = (Case("mlp", "adam").fitted(checkpoint_every=k) for k in (1, 4))
    validation = Case().validation()
    assert np.array_equal(
        kept.feature_influence(*validation), recomputed.feature_influence(*validation)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_accepts_kinks(dtype):
    X, y = flat(Case())
    net = nn.Sequential(nn.Linear(SIDE * SIDE, 5), nn.ReLU(), nn.Linear(5, N_CLASSES))
    clf = SGDInfluenceClassifier(net.to(getattr(torch, dtype)), dtype=dtype).fit(X, y)
    exact = clf.feature_influence(X, y)
    assert not np.array_equal(exact, clf.feature_influence(X, y, smoothing=0.2))
