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
    found = ScaledMSELoss(2.0, reduction="none")(scaled(X), 10 + 2 * y)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
