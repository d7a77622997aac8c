"""Draws without replacement."""

import numpy as np
from numpy.typing import NDArray


def drawn_by_odds(
    odds: NDArray[np.float64], count: int, rng: np.random.RandomState
) -> NDArray[np.intp]:
    """Draw places one after the other without replacement, each with its odds.

    The places that a smaller count draws are the first of those of a larger one.
    """
    # Exponential waiting times with these rates end in such an order. In logarithms,
    # since a quotient may overflow.
    waits = np.log(rng.standard_exponential(len(odds)))
    rates = np.log(np.maximum(odds, np.finfo(np.float64).tiny))
    return np.argsort(waits - rates, kind="stable")[:count]
