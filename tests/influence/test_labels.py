"""Other labels and targets, against finite differences of retraining."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skorch.callbacks import GradientNormClipping
from torch.nn.utils import clip_grad_norm_

from skinfluence import SGDInfluenceRegressor
from tests.cases import MODULES, N_CLASSES, OPTIMIZERS, Case, rough
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


def derivatives(run, X, targets, directions, value, *, step=2e-6, **options):
    """Differentiate a value in the targets along directions, by central differences."""

    def moved(change):
        own = torch.from_numpy(targets + change)
        batches = [(x, own[rows_of(x, X)]) for x, _ in run.batches]
        return value(
            retrain(replace(run, batches=batches), X, np.ones(len(X)), **options)
        )

    differences = [moved(step * d) - moved(-step * d) for d in directions]
    return np.array(differences) / (2 * step)


def to_label(targets, sample, label):
    """Return the direction from a sample's own label to another."""
    direction = np.zeros_like(targets)
    direction[sample, label] = 1
    direction[sample] -= targets[sample]
    return direction


def compare(case, *, clip=None, callbacks=(), at="final", **fit):
    """Return found and expected label influence in a case."""
    X, y, sample_weight = case.data()
    X_val, y_val = case.validation()
    spy = Spy()
    clf = case.fitted(callbacks=[spy, *callbacks], **fit)
    n_epochs = clf.trajectory_.n_epochs
    weights = {
        "final": {n_epochs: 1.0},
        "epochs": dict.fromkeys(range(1, n_epochs + 1), 1),
    }[at]
    # The cross-entropy is linear in the probabilities of a target.
    soft = np.eye(N_CLASSES)[y]
    options = {
        "seeds": [record.seed or 0 for record in clf.trajectory_.records],
        "sample_weight": sample_weight,
        "clip": clip,
    }
    base = retrain(
        replace(
            spy.run,
            batches=[
                (x, torch.from_numpy(soft[rows_of(x, X)])) for x, _ in spy.run.batches
            ],
        ),
        X,
        np.ones(len(X)),
        **options,
    )

    def value(ends):
        losses = [
            weight * validation_loss(ends[e - 1], X_val, y_val, base[e - 1]).mean()
            for e, weight in weights.items()
        ]
        return np.sum(losses) / sum(weights.values())

    others = [(i, c) for i in range(len(X)) for c in range(N_CLASSES) if c != y[i]]
    pairs = [pair for pair in others if pair[0] % 2 == 0]
    directions = [to_label(soft, *pair) for pair in pairs]
    expected = derivatives(spy.run, X, soft, directions, value, **options)
    found = clf.label_influence(X_val, y_val, at=at)
    assert found.shape == (len(X), N_CLASSES)
    assert (found[np.arange(len(X)), y] == 0).all()
    assert np.abs(expected).max() > 1e-6
    return np.array([found[pair] for pair in pairs]), expected


@pytest.mark.parametrize(
    "case",
    [
        *(Case(module, "momentum") for module in MODULES),
        *(Case("mlp", optimizer, weighted=True) for optimizer in OPTIMIZERS),
    ],
    ids=lambda case: f"{case.module}-{case.optimizer}",
)
def test_equals_finite_differences(case):
    assert relative_error(*compare(case, max_epochs=2)) <= TOLERANCE


def test_with_clipping_along_the_path():
    found, expected = compare(
        Case("mlp", "momentum"),
        clip=lambda parameters: clip_grad_norm_(parameters, 0.2),
        callbacks=[GradientNormClipping(0.2)],
        at="epochs",
    )
    assert relative_error(found, expected) <= TOLERANCE


def test_labels_in_parts_are_the_labels_at_once(monkeypatch):
    clf = Case().fitted()
    validation = Case().validation()
    whole = clf.label_influence(*validation)
    monkeypatch.setattr(
        "skinfluence.estimators._questions.label_influence._LABEL_BYTES", 1
    )
    parts = clf.label_influence(*validation)
    # Other sizes of the same sums: rounding in double precision.
    assert relative_error(parts, whole) < 1e-12


@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_target_influence_equals_finite_differences(optimizer, outputs):
    rng = np.random.default_rng(0)
    shape = (12,) if outputs is None else (12, outputs)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=shape)
    X_val, y_val = rng.normal(size=(5, 3)), rng.normal(size=(5, *shape[1:]))
    weights = rng.uniform(0.2, 2.0, 12)
    spy = Spy()
    options = {**OPTIMIZERS[optimizer], "max_epochs": 2, "batch_size": 5}
    reg = SGDInfluenceRegressor(random_state=0, callbacks=[spy], **options)
    reg.fit(X, y, sample_weight=weights)

    def loss(predicted, targets):
        squares = (predicted - targets.reshape(predicted.shape)) ** 2
        return squares.reshape(len(squares), -1).mean(1)

    def value(ends):
        ends[-1].eval()
        with torch.no_grad():
            predicted = ends[-1](torch.from_numpy(X_val))
        return float(loss(predicted, torch.from_numpy(y_val)).mean())

    expected = derivatives(
        spy.run,
        X,
        y,
        np.eye(y.size).reshape(-1, *y.shape),
        value,
        seeds=[record.seed or 0 for record in reg.trajectory_.records],
        sample_weight=weights,
        loss=loss,
    )
    found = reg.target_influence(X_val, y_val)
    assert found.shape == y.shape
    assert relative_error(found.ravel(), expected) <= TOLERANCE


def test_each_kind_of_estimator_points_to_the_others_method():
    with pytest.raises(AttributeError, match="Use `target_influence`"):
        SGDInfluenceRegressor().label_influence([[0.0]], [0])
    with pytest.raises(AttributeError, match="Use `label_influence`"):
        Case().classifier().target_influence([[0.0]], [0])
    assert not hasattr(SGDInfluenceRegressor(), "label_influence")


@pytest.mark.filterwarnings("ignore:`module` returns")
def test_refuses_one_class():
    X, y, _ = Case("linear").data()
    clf = Case("linear").classifier().fit(X, np.zeros_like(y))
    with pytest.raises(ValueError, match=r"at least two classes .* got \[0\]"):
        clf.label_influence(X, np.zeros_like(y))


def test_refuses_several_targets_a_sample():
    X, y, _ = Case("linear").data()
    data = torch.utils.data.TensorDataset(
        torch.from_numpy(X), torch.eye(N_CLASSES, dtype=torch.float64)[y]
    )
    clf = Case("linear").classifier(classes=range(N_CLASSES)).fit(data)
    with pytest.raises(ValueError, match=r"one label for each sample .*shape \(5, 3\)"):
        clf.label_influence(data)


def test_recomputed_states_give_the_same_bits():
    kept, recomputed = (Case("mlp", "adam").fitted(checkpoint_every=k) for k in (1, 4))
    validation = Case().validation()
    assert np.array_equal(
        kept.label_influence(*validation), recomputed.label_influence(*validation)
    )
