"""The schedule that metagradients improve, on a few digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks.schedule import improved
from tests.cases import rough


@rough
def test_each_step_lowers_the_validation_loss():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    data = X[:150], y[:150], X[150:300], y[150:300]
    rates, losses = improved(np.full(3, 0.05), 3, data, batch_size=50)
    # Far below the best rate every first-order step helps.
    assert losses == sorted(losses, reverse=True)
    assert rates.shape == (3,)
    assert rates.min() > 0.05
    assert losses[-1] < losses[0] - 0.01


def test_starts_from_the_rates_that_it_is_given():
    X, y = load_digits(return_X_y=True)
    data = X[:60] / 16, y[:60], X[60:120] / 16, y[60:120]
    rates, losses = improved(np.array([0.1, 0.2]), 1, data, batch_size=50)
    assert rates == pytest.approx([0.1, 0.2])
    assert len(losses) == 1
