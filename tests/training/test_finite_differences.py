"""When finite differences prove a derivative wrong."""

import math

import pytest
import torch

from skinfluence.training._finite_differences import proven_error

STEPS = 1e-6, 1e-5, 1e-7, 1e-4


def error_of(function, derivative):
    def at(step):
        return function(torch.tensor(step, dtype=torch.float64))

    slope = torch.tensor(derivative, dtype=torch.float64)
    return proven_error(slope, at, STEPS, 1e-4, 64 * 2.0**-52)


def bent(x):
    """Bend within a millionth, and be flat beyond it, as a saturated network does."""
    return 0.45 + 0.05 * torch.exp(-((3e6 * x - 1) ** 2))


BENT = 0.05 * 2 * 3e6 / math.e


@pytest.mark.parametrize(
    ("function", "derivative", "error"),
    [
        pytest.param(torch.sin, 1.0, 0, id="right"),
        pytest.param(torch.sin, 0.5, 0.5, id="wrong"),
        pytest.param(torch.sin, 0.0, 1, id="none where there is one"),
        # All differences but that of the smallest step are nearly 0.
        pytest.param(bent, BENT, 0, id="right, of a function that bends"),
        # What rounds to 1e-6 of a step of 1e-7 contradicts nothing.
        pytest.param(lambda x: 1e4 + x, 2.0, 0.5, id="wrong, of a large value"),
    ],
)
def test_only_differences_that_agree_prove_an_error(function, derivative, error):
    assert error_of(function, derivative) == pytest.approx(error, rel=1e-2)
