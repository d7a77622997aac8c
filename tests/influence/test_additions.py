"""What adding samples would do, against finite differences of plain training."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score, log_loss
from skorch.callbacks import GradientNormClipping
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.datasets import flip_labels
from skinfluence.estimators import SmoothHinge
from skinfluence.exceptions import UnsupportedModuleError
from tests.cases import N_CLASSES, N_SAMPLES, OPTIMIZERS, SIDE, Case, rough
from tests.oracles import (
    Spy,
    cross_entropy,
    relative_error,
    retrain,
    validation_loss,
)

# The derivative is exact in rough runs too, however little it foretells.
pytestmark = rough

# The oracle's own error is 1e-9 or less (double precision, fourth order); the bound is
# the accuracy that the library promises.
TOLERANCE = 1e-6

N_POOL = 3
EVERY = {"steps_per_epoch": "all"}


def pool():
    """Return candidates unlike all training and validation samples."""
    rng = np.random.default_rng(2)
    y = np.arange(N_POOL) % N_CLASSES
    X = rng.normal(size=(N_POOL, 1, SIDE, SIDE)) + 0.5 * y[:, None, None, None]
    return X, y


def differences(value, *, step=1e-5):
    """Differentiate ``value(epsilon)`` in each candidate's weight, at 0."""
    slopes = []
    for candidate in range(N_POOL):
        total = 0.0
        for shift, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            epsilon = torch.zeros(N_POOL, dtype=torch.float64)
            epsilon[candidate] = shift * step
            total += factor * value(epsilon)
        slopes.append(total / (12 * step))
    return np.array(slopes)


def compare(
    case,
    *,
    at="final",
    clip=None,
    callbacks=(),
    coefficients=1.0,
    sample_weight=None,
    sample_weight_val=None,
    accumulate=1,
    **fit,
):
    """Return found and expected addition influence in a case."""
    X, _, weights = case.data()
    weights = weights if sample_weight is None else sample_weight
    X_val, y_val = case.validation()
    X_pool, y_pool = pool()
    spy = Spy()
    clf = case.fitted(callbacks=[spy, *callbacks], accumulate_steps=accumulate, **fit)
    n_epochs = clf.trajectory_.n_epochs
    asked = {"final": [n_epochs], "epochs": range(1, n_epochs + 1)}[at]
    seeds = [
        0 if record.seed is None else record.seed + k
        for record in clf.trajectory_.records
        for k in range(len(record.sizes) or 1)
    ]
    # The seeds that follow those of a step's own batches.
    own = [
        0 if record.seed is None else record.seed + (len(record.sizes) or 1)
        for record in clf.trajectory_.records
        for _ in range(len(record.sizes) or 1)
    ]
    inputs, targets = torch.from_numpy(X_pool), torch.from_numpy(y_pool)

    def value(epsilon):
        def added(module, step):
            torch.manual_seed(own[step])
            losses = cross_entropy(module(inputs), targets)
            return (epsilon * coefficients * losses).sum() / N_SAMPLES

        ends = retrain(
            spy.run,
            X,
            np.ones(len(X)),
            seeds=seeds,
            sample_weight=weights,
            clip=clip,
            accumulate=accumulate,
            added=added,
        )
        losses = [validation_loss(ends[e - 1], X_val, y_val) for e in asked]
        return np.average(np.mean(losses, axis=0), weights=sample_weight_val)

    found = clf.addition_influence(X_pool, y_pool, X_val, y_val, at=at, **EVERY)
    assert found.shape == (N_POOL,)
    expected = differences(value)
    assert np.abs(expected).max() > 1e-6
    return found, expected


@pytest.mark.parametrize(
    "case",
    [
        *(Case(module, "momentum") for module in ("linear", "mlp", "cnn", "dropout")),
        *(Case("mlp", optimizer, weighted=True) for optimizer in OPTIMIZERS),
    ],
    ids=lambda case: f"{case.module}-{case.optimizer}",
)
def test_equals_finite_differences(case):
    # The last of an epoch's three batches is smaller.
    assert relative_error(*compare(case, max_epochs=2)) <= TOLERANCE


class ByValue(GradientNormClipping):
    """Clips by value instead."""

    def on_grad_computed(self, net, named_parameters, **kwargs):
        clip_grad_value_([p for _, p in named_parameters], self.gradient_clip_value)


@pytest.mark.parametrize(
    ("callback", "clip", "bound"),
    [
        (GradientNormClipping, clip_grad_norm_, 0.2),
        (ByValue, clip_grad_value_, 0.05),
    ],
)
def test_with_clipping_along_the_path(callback, clip, bound):
    found, expected = compare(
        Case("mlp", "momentum"),
        clip=lambda parameters: clip(parameters, bound),
        callbacks=[callback(bound)],
        at="epochs",
    )
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("module", ["mlp", "dropout"])
def test_with_accumulation(module):
    found, expected = compare(Case(module, "adam"), accumulate=2)
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("class_weight", [{0: 3.0, 1: 0.5}, "balanced"])
@pytest.mark.parametrize("weighted", [False, True])
def test_with_class_weights(class_weight, weighted):
    case = Case("mlp", "momentum", weighted=weighted)
    _, y, weights = case.data()
    weights = np.ones(len(y)) if weights is None else weights
    by_class = val_class = np.array([3.0, 0.5, 1.0])
    if class_weight == "balanced":
        by_class, val_class = 1 / np.bincount(y), 1 / np.bincount(case.validation()[1])
    # A sample with the mean sample weight, among those whose product has mean 1.
    scale = weights.mean() / (weights * by_class[y]).mean()
    found, expected = compare(
        case,
        class_weight=class_weight,
        sample_weight=weights * by_class[y],
        coefficients=torch.from_numpy(scale * by_class[pool()[1]]),
        sample_weight_val=val_class[case.validation()[1]],
    )
    assert relative_error(found, expected) <= TOLERANCE


@pytest.mark.parametrize("outputs", [(), (2,)])
def test_of_a_regressor(outputs):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=(12, *outputs))
    X_val, y_val = rng.normal(size=(5, 3)), rng.normal(size=(5, *outputs))
    X_pool, y_pool = rng.normal(size=(N_POOL, 3)), rng.normal(size=(N_POOL, *outputs))
    spy = Spy()
    reg = SGDInfluenceRegressor(
        random_state=0, callbacks=[spy], max_epochs=2, batch_size=5
    ).fit(X, y)

    def loss(predicted, targets):
        squares = (predicted - targets.reshape(predicted.shape)) ** 2
        return squares.reshape(len(squares), -1).mean(1)

    def value(epsilon):
        def added(module, step):
            predicted = module(torch.from_numpy(X_pool))
            return epsilon @ loss(predicted, torch.from_numpy(y_pool)) / len(X)

        (*_, end) = retrain(
            spy.run, X, np.ones(len(X)), seeds=[0] * 6, loss=loss, added=added
        )
        with torch.no_grad():
            predicted = end.eval()(torch.from_numpy(X_val))
            return float(loss(predicted, torch.from_numpy(y_val)).mean())

    found = reg.addition_influence(X_pool, y_pool, X_val, y_val, **EVERY)
    assert relative_error(found, differences(value)) <= TOLERANCE


def test_one_step_an_epoch_takes_the_gradients_in_its_middle():
    """The other steps count with these gradients: linear losses have such."""
    case = Case("mlp", "adam")
    X, _, _ = case.data()
    X_pool, y_pool = map(torch.from_numpy, pool())
    spy = Spy()
    clf = case.fitted(callbacks=[spy])
    options = {"seeds": [0] * len(spy.run.batches)}
    met = []

    def note(module, step):
        met.append(deepcopy(module))
        return 0.0

    retrain(spy.run, X, np.ones(len(X)), added=note, **options)
    gradients = []
    for module in met:
        losses = cross_entropy(module(X_pool), y_pool)
        parameters = list(module.parameters())
        gradients.append(
            [
                torch.autograd.grad(each, parameters, retain_graph=True)
                for each in losses
            ]
        )

    def value(epsilon):
        def added(module, step):
            middle = gradients[3 * (step // 3) + 1]
            linear = [
                sum(
                    (g * p).sum() for g, p in zip(own, module.parameters(), strict=True)
                )
                for own in middle
            ]
            return epsilon @ torch.stack(linear) / N_SAMPLES

        (*_, end) = retrain(spy.run, X, np.ones(len(X)), added=added, **options)
        return validation_loss(end, *case.validation()).mean()

    found = clf.addition_influence(*pool(), *case.validation())
    assert relative_error(found, differences(value)) <= TOLERANCE
    exact = clf.addition_influence(*pool(), *case.validation(), **EVERY)
    # Three steps of a rough run are not one and the same.
    assert 1e-4 < relative_error(found, exact) < 0.3


def test_of_a_training_sample_is_minus_its_influence():
    """Where there is one batch an epoch; a sample weight counts as often."""
    case = Case("mlp", "adam", weighted=True)
    X, y, weights = case.data()
    clf = case.fitted(batch_size=-1)
    removed = clf.influence(*case.validation())
    added = clf.addition_influence(X, y, *case.validation())
    # Other sizes of the same sums: rounding in double precision.
    assert relative_error(added * weights / weights.mean(), -removed) < 1e-12


def test_a_new_fit_divides_by_what_is_added_too():
    """Its change is larger by the training samples' mean influence, as documented."""
    case = Case("mlp", "momentum")
    X, y, _ = case.data()
    X_val, y_val = case.validation()
    X_pool, y_pool = pool()
    clf = case.fitted(batch_size=-1)

    def loss(candidate, weight):
        weights = np.append(np.ones(len(X)), weight)
        fitted = case.classifier(batch_size=-1).fit(
            np.append(X, X_pool[[candidate]], axis=0),
            np.append(y, y_pool[candidate]),
            sample_weight=weights,
        )
        return log_loss(y_val, fitted.predict_proba(X_val), labels=range(N_CLASSES))

    def slope(candidate, step=1e-4):
        # One-sided, for a weight is not negative.
        none, one, two = (loss(candidate, k * step) for k in range(3))
        return (4 * one - 3 * none - two) / (2 * step)

    changes = clf.addition_influence(X_pool, y_pool, X_val, y_val)
    expected = changes + clf.influence(X_val, y_val).mean()
    # The oracle is of second order: its error is about step ** 2.
    found = np.array([slope(candidate) for candidate in range(N_POOL)])
    assert relative_error(found, expected) <= TOLERANCE
    assert relative_error(found, changes) > 0.01


class Half(nn.Module):
    """Computes in half precision; the way back is widened."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 8, dtype=torch.bfloat16)
        self.outputs = nn.Linear(8, N_CLASSES, dtype=torch.bfloat16)

    def forward(self, X):
        return self.outputs(torch.tanh(self.hidden(X.to(torch.bfloat16)))).float()


class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(4, N_CLASSES), nn.Linear(4, N_CLASSES)

    def forward(self, one, other):
        return self.one(one) + self.other(other).tanh()


def relu():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, N_CLASSES))


TOLD_APART = {
    "sparse": ({}, csr_array, {}),
    "table": ({}, lambda X: pd.DataFrame(X, columns=[*"abcd"]), {}),
    "single precision": ({"dtype": "float32"}, np.asarray, {}),
    "half precision": ({"module": Half}, np.asarray, {}),
    "several inputs": (
        {"module": Several},
        lambda X: {"one": np.float32(X), "other": np.float32(X) ** 2},
        {},
    ),
    "smoothed kinks": (
        {"module": relu, "dtype": "float64"},
        np.asarray,
        {"smoothing": 0.2},
    ),
    "query along the path": ({}, np.asarray, {"query": "error", "at": "path"}),
    "accumulated": ({"batch_size": 4, "accumulate_steps": 3}, np.asarray, {}),
}


@pytest.mark.parametrize(
    ("options", "form", "asked"), TOLD_APART.values(), ids=TOLD_APART
)
def test_in_every_form_of_data_and_run(options, form, asked):
    """One step an epoch: what is added is minus what is left out."""
    rng = np.random.default_rng(0)
    X, X_val = rng.normal(size=(2, 12, 4))
    y = np.arange(12) % N_CLASSES
    options = {"batch_size": -1, "max_epochs": 3, "random_state": 0, **options}
    clf = SGDInfluenceClassifier(**options).fit(form(X), y)
    removed = clf.influence(form(X_val), y, **asked)
    added = clf.addition_influence(form(X), y, form(X_val), y, **asked)
    # Other sums of the same numbers: rounding, in single precision at least.
    assert relative_error(added, -removed) < 1e-5
    assert np.abs(removed).max() > 1e-6


def test_over_several_data_sets_and_the_last_epochs():
    case = Case("mlp", "momentum")
    X, y, _ = case.data()
    clf = case.classifier(class_weight="balanced", batch_size=-1, max_epochs=2)
    clf.partial_fit(X[:9], y[:9], classes=range(N_CLASSES)).partial_fit(X[8:], y[8:])
    removed = clf.influence(*case.validation(), last_epochs=2)
    added = clf.addition_influence(X[8:], y[8:], *case.validation(), last_epochs=2)
    own = removed[9:]
    assert relative_error(added, -own) < 1e-12


def test_without_labels_is_the_mean_over_the_models_own():
    case = Case("dropout", "momentum")
    clf = case.fitted(class_weight={0: 3.0, 1: 0.5})
    X_pool, _ = pool()
    each = [
        clf.addition_influence(X_pool, np.full(N_POOL, label), *case.validation())
        for label in range(N_CLASSES)
    ]
    expected = (clf.predict_proba(X_pool) * np.transpose(each)).sum(1)
    found = clf.addition_influence(X_pool, None, *case.validation())
    assert relative_error(found, expected) < 1e-12


def test_parts_of_a_pool_are_the_pool_at_once(monkeypatch):
    case = Case("mlp", "adam")
    clf = case.fitted(batch_size=2)
    rng = np.random.default_rng(3)
    X_pool, y_pool = rng.normal(size=(9, 1, SIDE, SIDE)), np.arange(9) % N_CLASSES
    whole = clf.addition_influence(X_pool, y_pool, *case.validation())
    monkeypatch.setattr(
        "skinfluence.estimators._questions.addition_influence._POOL_BYTES", 1
    )
    parts = clf.addition_influence(X_pool, y_pool, *case.validation())
    # Other sizes of the same sums: rounding in double precision.
    assert relative_error(parts, whole) < 1e-12


def test_a_dataset_is_its_arrays():
    case = Case("mlp", "momentum")
    clf = case.fitted(checkpoint_every=4)
    X_pool, y_pool = pool()
    data = torch.utils.data.TensorDataset(
        torch.from_numpy(X_pool), torch.from_numpy(y_pool)
    )
    found = clf.addition_influence(data, None, *case.validation())
    assert np.array_equal(
        found, case.fitted().addition_influence(X_pool, y_pool, *case.validation())
    )


def test_names_of_labels():
    case = Case("mlp", "momentum")
    X, y, _ = case.data()
    X_val, y_val = case.validation()
    names = np.array(["c", "a", "b"])  # in another order than their indices
    clf = case.classifier(class_weight={"c": 2.0}, batch_size=-1).fit(X, names[y])
    found = clf.addition_influence(X, names[y], X_val, names[y_val])
    removed = clf.influence(X_val, names[y_val])
    assert relative_error(found, -removed) < 1e-12


def test_finds_wrong_labels_in_a_pool():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    X_pool, X_val, y_val = X[500:1000], X[1000:1400], y[1000:1400]
    y_pool, flipped = flip_labels(y[500:1000], 0.2, random_state=0)
    clf = SGDInfluenceClassifier(max_epochs=20, random_state=0).fit(X[:500], y[:500])
    scores = clf.addition_influence(X_pool, y_pool, X_val, y_val)
    assert scores[flipped].mean() > 0 > scores[~flipped].mean()
    # A fifth are flipped, which is the chance level.
    assert average_precision_score(flipped, scores) > 0.9


@pytest.mark.parametrize("module", ["batch_norm", "shared"])
def test_refuses_batch_norm(module):
    case = Case(module, "momentum")
    with pytest.raises(UnsupportedModuleError, match=r"but BatchNorm\dd computes it"):
        case.fitted().addition_influence(*pool(), *case.validation())


class Centered(nn.Module):
    """Mixes samples without any layer that is known to, and draws."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(SIDE * SIDE, N_CLASSES)

    def forward(self, X):
        outputs = self.linear(nn.functional.dropout(X.flatten(1), 0.5, self.training))
        return outputs - 0.1 * outputs.mean(0)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_refuses_other_modules_that_mix_samples(batch_size):
    X, y, _ = Case().data()
    clf = SGDInfluenceClassifier(
        Centered, dtype="float64", batch_size=batch_size, max_epochs=1, random_state=0
    ).fit(X, y)
    with pytest.raises(UnsupportedModuleError, match="but Centered computes it"):
        clf.addition_influence(*pool(), *Case().validation())


class Frozen(nn.Sequential):
    """BatchNorm that stays in evaluation mode: each sample is on its own."""

    def __init__(self):
        super().__init__(
            nn.Flatten(), nn.BatchNorm1d(SIDE * SIDE), nn.Linear(SIDE * SIDE, N_CLASSES)
        )

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


def test_takes_frozen_batch_norm():
    X, y, _ = Case().data()
    clf = SGDInfluenceClassifier(
        Frozen, dtype="float64", batch_size=-1, max_epochs=2, random_state=0
    ).fit(X, y)
    added = clf.addition_influence(X, y, *Case().validation())
    assert relative_error(added, -clf.influence(*Case().validation())) < 1e-12


def refused(message, X_pool, y_pool, clf=None):
    case = Case("mlp")
    clf = case.fitted() if clf is None else clf
    with pytest.raises(ValueError, match=message):
        clf.addition_influence(X_pool, y_pool, *case.validation())


AS_IN_FIT = "`X_pool` and `y_pool` must be as X and y in fit: "


def test_refuses_other_candidates():
    X_pool, y_pool = pool()
    refused(
        AS_IN_FIT + r"X must have samples of shape \(1, 6, 6\)", X_pool[..., 1:], y_pool
    )
    refused(AS_IN_FIT + ".*finite numbers", np.full_like(X_pool, np.nan), y_pool)
    refused(AS_IN_FIT + ".*inconsistent numbers of samples", X_pool, y_pool[1:])
    refused(AS_IN_FIT + r".*0 sample\(s\)", X_pool[:0], y_pool[:0])
    refused(AS_IN_FIT + r".*0 sample\(s\)", X_pool[:0], None)
    refused(
        r"`y_pool` must have only labels .*\(\[0, 1, 2\]\), got \[7\]",
        X_pool,
        np.where(y_pool == 2, 7, y_pool),
    )
    refused("`y_pool` must have only labels", X_pool, y_pool.astype(str))


def test_refuses_other_columns():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 2)), columns=["a", "b"])
    y = np.arange(9) % 3
    clf = SGDInfluenceClassifier(max_epochs=1, random_state=0).fit(X, y)
    for wrong in (X.rename(columns={"b": "c"}), X[["b", "a"]], X[["a"]]):
        with pytest.raises(ValueError, match=AS_IN_FIT):
            clf.addition_influence(wrong, y, X, y)
    texts = X.assign(b="text")
    with pytest.raises(ValueError, match=AS_IN_FIT + ".*X must be a 2-D array"):
        clf.addition_influence(texts, y, X, y)


def test_refuses_losses_that_are_not_finite():
    X_pool, y_pool = pool()
    X_pool[2] = 1e308
    refused(
        "those of 1 candidates are not finite, the first in row 2",
        X_pool,
        y_pool,
        Case("linear").fitted(),
    )


def test_refuses_to_guess_targets():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(9, 2)), rng.normal(size=9)
    reg = SGDInfluenceRegressor(max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="`y_pool` must be given for SGDInfluenceReg"):
        reg.addition_influence(X, None, X, y)
    clf = SGDInfluenceClassifier(
        max_epochs=1, criterion=SmoothHinge, random_state=0
    ).fit(X, y > 0)
    with pytest.raises(ValueError, match="`y_pool` can be None only where the outputs"):
        clf.addition_influence(X, None, X, y > 0)


def test_refuses_labels_without_a_weight():
    X, y, _ = Case().data()
    clf = Case().classifier(classes=range(N_CLASSES), class_weight="balanced")
    clf.fit(X[y < 2], y[y < 2])
    refused(r"`class_weight` \('balanced'\) must give a weight .* \[2\]", *pool(), clf)
    data = torch.utils.data.TensorDataset(*map(torch.from_numpy, pool()))
    refused("`y_pool` must be given to weight the classes", data, None, clf)


class Noisy(torch.utils.data.Dataset):
    """Draws its items anew in each epoch."""

    def __init__(self, X, y):
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        return self.X[row] + 0.3 * torch.randn(self.X[row].shape), self.y[row]


def test_a_dataset_draws_as_in_training():
    """The same rows are drawn the same: what is added is minus what is left out."""
    X, y, _ = Case().data()
    data = Noisy(X, y)
    clf = Case("mlp", "adam").classifier(batch_size=-1, classes=range(N_CLASSES))
    clf.fit(data)
    removed = clf.influence(*Case().validation())
    added = clf.addition_influence(data, None, *Case().validation())
    assert relative_error(added, -removed) < 1e-12
