"""Metrics of groups and of numbers: finite differences through the whole training."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss, r2_score
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor, queries
from tests.cases import OPTIMIZERS, rough
from tests.oracles import Spy, finite_differences, relative_error

pytestmark = rough

# The accuracy that the library promises; the oracle's own error is about 1e-8.
TOLERANCE = 1e-6
GROUPS = np.array(["a", "b", "c", "b", "a", "c", "a", "b", "c", "a", "b", "c"])
SHARES = {"final": [0, 0, 1], "path": [1, 1 / 2, 1 / 3]}


def data(seed=0, n=26, n_outputs=1):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    targets = X[:, :n_outputs] + rng.normal(size=(n, n_outputs))
    return X[:14], targets[:14], X[14:], targets[14:]


def network(n_outputs):
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, n_outputs))


def squared(outputs, targets):
    return (outputs - targets).square().flatten(1).mean(1)


def soft_positives(logs):
    centred = logs - logs.mean(1, keepdims=True)
    scaled = centred / (0.1 * np.sqrt((centred**2).mean()))
    return 1 / (1 + np.exp(scaled[:, 0] - scaled[:, 1]))


def spread(rates, rows):
    means = [rates[rows & (g == GROUPS)].mean() for g in "abc"]
    return max(means) - min(means)


def parity(outputs, y):
    return spread(soft_positives(log_softmax(outputs)), np.ones(len(y), dtype=bool))


def odds(outputs, y):
    rates = soft_positives(log_softmax(outputs))
    return max(spread(rates, y == 0), spread(rates, y == 1))


def log_softmax(outputs):
    return outputs - np.log(np.exp(outputs).sum(1, keepdims=True))


def checked(net, y, y_val, formula, *, at, query, **options):
    """Return the relative error of the influence, from a plain loop's derivative."""
    X, _, X_val, _ = data()
    spy = Spy()
    net.set_params(callbacks=[spy]).fit(X, y)

    def value(modules, _):
        with torch.no_grad():
            outputs = [m(torch.from_numpy(X_val)).numpy() for m in modules]
        pairs = zip(SHARES[at], outputs, strict=True)
        return np.asarray(
            sum(s * formula(o, y_val) for s, o in pairs) / sum(SHARES[at])
        )

    seeds = [0] * len(net.trajectory_.records)
    expected = finite_differences(spy.run, X, value, seeds=seeds, **options)
    found = net.influence(X_val, y_val, query=query, at=at)
    assert np.abs(expected).max() > 1e-4
    return relative_error(found, expected)


def options(optimizer):
    return {
        "lr": 0.1,
        "max_epochs": 3,
        "batch_size": 5,
        "dtype": "float64",
        "random_state": 0,
        **OPTIMIZERS[optimizer],
    }


@pytest.mark.parametrize("at", ["final", "path"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("name", ["demographic_parity", "equalized_odds"])
def test_of_groups(name, optimizer, at):
    _, targets, _, val_targets = data()
    y, y_val = ((t[:, 0] > 0).astype(int) for t in (targets, val_targets))
    # Each group has samples of both classes.
    y_val[:6] = [0, 0, 0, 1, 1, 1]
    clf = SGDInfluenceClassifier(partial(network, 2), **options(optimizer))
    query = getattr(queries, name)(GROUPS)
    formula = {"demographic_parity": parity, "equalized_odds": odds}[name]
    assert checked(clf, y, y_val, formula, at=at, query=query) <= TOLERANCE


def test_of_confused_labels():
    _, targets, _, val_targets = data()
    y, y_val = ((t[:, 0] > 0).astype(int) for t in (targets, val_targets))
    clf = SGDInfluenceClassifier(partial(network, 2), **options("momentum"))
    transition = np.array([[0.6, 0.4], [0.1, 0.9]])

    def formula(outputs, y_val):
        errors = 1 - np.exp(log_softmax(outputs))
        return np.linalg.solve(transition, errors.T)[
            y_val, np.arange(len(y_val))
        ].mean()

    query = queries.corrected_error(transition)
    assert checked(clf, y, y_val, formula, at="path", query=query) <= TOLERANCE


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("name", ["r2", "quantile_loss"])
def test_of_numbers(name, optimizer, n_outputs):
    _, y, _, y_val = data(n_outputs=n_outputs)
    reg = SGDInfluenceRegressor(partial(network, n_outputs), **options(optimizer))
    query = {"r2": "r2", "quantile_loss": queries.quantile_loss(0.8)}[name]

    def formula(outputs, y_val):
        if name == "r2":
            return 1 - r2_score(y_val, outputs)
        return mean_pinball_loss(y_val, outputs, alpha=0.8)

    error = checked(reg, y, y_val, formula, at="path", query=query, loss=squared)
    assert error <= TOLERANCE
