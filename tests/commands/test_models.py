"""The models: what they are trained with, and what units a regression has."""

from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from skinfluence.commands._models import (
    ScaledMLP,
    ScaledMSELoss,
    default_epochs,
    learning_rate,
    make_model,
)
from skinfluence.estimators import MLPModule


def problem(X, y, task):
    return SimpleNamespace(X=X, target=SimpleNamespace(y=np.asarray(y), task=task))


def test_small_tables_get_more_epochs_up_to_a_bound():
    assert default_epochs(100_000) == default_epochs(1600) == 20
    assert default_epochs(640) == 50  # of 10 steps each
    assert default_epochs(20) == 100


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_learning_rate_falls_with_the_norm_of_the_rows(form):
    few, many = form(np.ones((4, 20))), form(np.ones((4, 80)))
    assert learning_rate(problem(few, [0, 1], "classification")) == 0.1
    assert learning_rate(problem(many, [0, 1], "classification")) == 0.025
    assert learning_rate(problem(many, [0, 1], "regression")) == 0.0125


def test_a_regression_in_any_unit_is_the_same_training():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(64, 3)).astype(np.float32)
    y = X @ [1.0, -2.0, 0.5] + rng.normal(size=64)
    options = Namespace(module="mlp", epochs=3, seed=0)
    first, other = (
        make_model(problem(X, values, "regression"), options, []).fit(X, values)
        for values in (y, 1000 * y + 5000)
    )
    # In single precision, in which 5000 leaves three digits after the point.
    np.testing.assert_allclose(
        other.predict(X), 1000 * first.predict(X) + 5000, rtol=1e-3, atol=0.5
    )
    scores = [
        model.influence(X, values)
        for model, values in ((first, y), (other, 1000 * y + 5000))
    ]
    np.testing.assert_allclose(*scores, rtol=1e-2, atol=1e-2 * np.abs(scores[0]).max())


def test_scaled_parts_are_the_plain_ones_in_other_units():
    torch.manual_seed(0)
    plain = MLPModule(3, hidden_layer_sizes=(4,))
    scaled = ScaledMLP(3, center=10.0, scale=2.0, hidden_layer_sizes=(4,))
    scaled.load_state_dict(plain.state_dict())
    X, y = torch.randn(5, 3), torch.randn(5)
    torch.testing.assert_close(scaled(X), 10 + 2 * plain(X))
    expected = nn.MSELoss(reduction="none")(plain(X), y)
    loss = ScaledMSELoss(low=0.0, high=20.0, scale=2.0, reduction="none")
    found = loss(scaled(X), 10 + 2 * y)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_targets_out_of_the_range_go_no_further_than_half_of_it():
    loss = ScaledMSELoss(low=-2.0, high=6.0, scale=1.0, reduction="none")
    y = torch.tensor([-1e9, -6.0, -2.0, 1.0, 6.0, 10.0, 1e9], requires_grad=True)
    limited = torch.tensor([-6.0, -4.0, -2.0, 1.0, 6.0, 8.0, 10.0])
    found = loss(torch.full((7,), 100.0), y)
    torch.testing.assert_close(found, (100 - limited) ** 2)
    found.sum().backward()
    # A higher target would bring each nearer to the prediction.
    assert (y.grad < 0).all()


def linear(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    return X, 20 + X @ [3.0, -2.0, 0.5] + rng.normal(size=n)


def fitted(X, y, **parameters):
    options = Namespace(module="mlp", epochs=30, seed=0)
    model = make_model(problem(X, y, "regression"), options, [])
    return model.set_params(**parameters).fit(X, y)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_gross_errors_are_found_and_the_model_still_learns(seed):
    (X, y), (X_val, y_val) = linear(300, seed), linear(200, 100 + seed)
    rows = np.arange(7, 300, 50)  # one in fifty
    wrong = y.copy()
    wrong[rows] *= 1000
    model = fitted(X, wrong)
    # R² of 0.92 is what the noise lets a model explain. By the mean and standard
    # deviation of all targets it would be −18,000.
    assert model.score(X_val, y_val) > 0.8
    first = model.influence(X_val, y_val, at="path").argsort()[: len(rows)]
    # By chance 0.02. Some happen to be where the others make predictions too low.
    assert np.isin(first, rows).mean() >= 0.5


def test_without_gross_errors_nothing_is_limited():
    rng = np.random.default_rng(0)
    skewed = np.exp(rng.normal(size=200))
    model = fitted(linear(200, 0)[0], skewed)
    assert model.criterion__low == skewed.min()
    assert model.criterion__high == skewed.max()
    assert model.module__center == pytest.approx(skewed.mean())


def test_where_most_targets_are_equal_none_is_extreme():
    X, y = linear(60, 0)
    y[:50] = 0.0
    assert fitted(X, y).criterion__high == y.max()
