"""Shapley values by their definition: over all subsets."""

from itertools import combinations
from math import comb

import numpy as np


def brute_force(n_samples, value):
    """Return each sample's Shapley value; ``value`` takes a tuple of rows."""
    shares = np.zeros(n_samples)
    for sample in range(n_samples):
        others = [row for row in range(n_samples) if row != sample]
        for size in range(n_samples):
            weight = 1 / (n_samples * comb(n_samples - 1, size))
            for some in combinations(others, size):
                gain = value((*some, sample)) - value(some)
                shares[sample] += weight * gain
    return shares
