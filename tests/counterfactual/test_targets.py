"""Runs in which samples carry other targets, against retraining in plain PyTorch."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from skinfluence import SGDInfluenceRegressor
from skinfluence.counterfactual import OtherTargets
from tests.cases import MODULES, N_CLASSES, Case
from tests.counterfactual.test_ensemble import changes
from tests.oracles import Spy, retrain, rows_of, validation_loss

# The same arithmetic in double precision in another order.
TOLERANCE = 1e-10


def retrained(spy, clf, X, targets, weights=None, **options):
    """Return the last module of the run with other targets."""
    batches = [
        (x, torch.from_numpy(targets[rows_of(x, X)])) for x, _ in spy.run.batches
    ]
    return retrain(
        replace(spy.run, batches=batches),
        X,
        np.ones(len(X)) if weights is None else weights,
        seeds=[record.seed or 0 for record in clf.trajectory_.records],
        **options,
    )[-1]


@pytest.mark.parametrize("way", ["stacked", "loop"])
@pytest.mark.parametrize("module", MODULES)
def test_equals_retraining_with_other_labels(module, way):
    case, spy = Case(module, "adam", weighted=True), Spy()
    clf = case.fitted(callbacks=[spy])
    X, y, sample_weight = case.data()
    X_val, y_val = case.validation()
    n = len(X)
    labels = np.stack([y, y, y, y])
    labels[0, 3] = (y[3] + 1) % N_CLASSES
    labels[1, [2, 5, 6]] = (y[[2, 5, 6]] + [1, 2, 1]) % N_CLASSES
    labels[2, 7] = (y[7] + 2) % N_CLASSES
    weights = np.ones((4, n))
    weights[2, 1] = 0
    others = OtherTargets(
        torch.from_numpy(labels != y), torch.from_numpy(labels.astype(np.int64))
    )
    # That a sample is named and keeps its label is no change.
    others.changed[3, 4] = True

    def value(own, weights):
        module = retrained(spy, clf, X, own, weights, sample_weight=sample_weight)
        return validation_loss(module, X_val, y_val).mean()

    expected = [value(*each) for each in zip(labels, weights, strict=True)]
    found = changes(clf, case, weights, way, others=others)
    assert np.abs(found - (expected - value(y, np.ones(n)))).max() <= TOLERANCE
    assert np.abs(found[:3]).min() > 1e3 * TOLERANCE
    assert found[3] == 0.0


@pytest.fixture(scope="module")
def run():
    case, spy = Case("mlp", "momentum"), Spy()
    clf = case.fitted(callbacks=[spy])
    X, y, _ = case.data()
    X_val, y_val = case.validation()

    def change(**labels):
        other = y.copy()
        for row, label in labels.items():
            other[int(row[1:])] = label
        losses = [
            validation_loss(retrained(spy, clf, X, own), X_val, y_val).mean()
            for own in (other, y)
        ]
        return losses[0] - losses[1]

    return clf, X_val, y_val, change


def test_every_label_of_some_samples(run):
    clf, X_val, y_val, change = run
    found = clf.counterfactual_influence(X_val, y_val, [3, 0], labels="all")
    expected = [[change(**{f"s{i}": c}) for c in range(N_CLASSES)] for i in (3, 0)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    _, y, _ = Case().data()
    assert found[0, y[3]] == found[1, y[0]] == 0.0


def test_one_label_for_each_run(run):
    clf, X_val, y_val, change = run
    found = clf.counterfactual_influence(
        X_val, y_val, [[3, 5], [8, 2]], labels=[1, [0, 2]], n_jobs=2
    )
    expected = [change(s3=1, s5=1), change(s8=0, s2=2)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_the_estimate_foretells_the_truth(run):
    clf, X_val, y_val, _ = run
    exact = clf.counterfactual_influence(X_val, y_val, labels="all")
    estimate = clf.label_influence(X_val, y_val)
    other = estimate != 0
    # As for absent samples, each is a fifth of its batches.
    assert np.corrcoef(exact[other], estimate[other])[0, 1] > 0.8


def test_is_cached_by_labels(run, tmp_path):
    clf, X_val, y_val, _ = run
    found = [
        clf.counterfactual_influence(X_val, y_val, [3], labels=[c], memory=tmp_path)
        for c in (0, 1, 2)
    ]
    assert len({float(each[0]) for each in found}) == 3


@pytest.mark.parametrize("outputs", [None, 2])
def test_other_targets_of_a_regressor(outputs):
    rng = np.random.default_rng(0)
    shape = (12,) if outputs is None else (12, outputs)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=shape)
    X_val, y_val = rng.normal(size=(5, 3)), rng.normal(size=(5, *shape[1:]))
    spy = Spy()
    reg = SGDInfluenceRegressor(
        random_state=0, max_epochs=2, batch_size=5, callbacks=[spy]
    ).fit(X, y)

    def loss(predicted, targets):
        squares = (predicted - targets.reshape(predicted.shape)) ** 2
        return squares.reshape(len(squares), -1).mean(1)

    def value(own):
        module = retrained(spy, reg, X, own, loss=loss)
        with torch.no_grad():
            outputs = module(torch.from_numpy(X_val))
        return float(loss(outputs, torch.from_numpy(y_val)).mean())

    other = y.copy()
    other[4] += 1.5
    found = reg.counterfactual_influence(X_val, y_val, [4], labels=[other[4]])
    assert found[0] == pytest.approx(value(other) - value(y), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("samples", "labels", "message"),
    [
        ([1, 2], [0], r"for each of the 2 runs that `samples` asks for, got 1"),
        ([1, 2], [0, 3], r"`labels` must have only labels .* got \[3\]"),
        ([1], 0, "`labels` must be a sequence of labels.*got 0"),
        ([1], "0", "`labels` must be a sequence of labels.*got '0'"),
        ([1, 2], [0, None], r"`labels` must have only labels .* got \[0, None\]"),
        # A column for each run is not read by its name, which is a label here.
        ([1, 2], pd.DataFrame([[2, 2]]), "each of the 2 runs .* got 1"),
        ([[1, 2], [3]], [[0, 1, 2], 0], r"`labels\[0\]` must be .* shape \(3,\)"),
        (np.ones((1, 14)), [0], r"must be boolean \(groups\), got dtype float64"),
        ([[1], []], [0, 0], r"at least one sample, got an empty one at position 1"),
    ],
)
def test_wrong_labels_are_refused_before_any_training(
    run, samples, labels, message, monkeypatch
):
    from skinfluence.counterfactual import Ensemble

    monkeypatch.delattr(Ensemble, "changes")
    clf, X_val, y_val, _ = run
    with pytest.raises(ValueError, match=message):
        clf.counterfactual_influence(X_val, y_val, samples, labels=labels)


@pytest.mark.parametrize("target", [np.nan, -np.inf, None, "much", 1j, {}])
def test_targets_that_are_no_finite_numbers_are_refused(target):
    X = np.random.default_rng(0).normal(size=(12, 3))
    reg = SGDInfluenceRegressor(random_state=0, max_epochs=2).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="`labels` must hold finite numbers, got"):
        reg.counterfactual_influence(X, X[:, 0], [1], labels=[target])
    with pytest.raises(ValueError, match="`relabel` must hold finite numbers, got"):
        reg.refit_without([], relabel={1: target})
