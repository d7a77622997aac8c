"""Semivalues by their definition: over all subsets."""

from itertools import combinations
from math import comb

import numpy as np


def by_shapley(n_samples, size):
    """Return the weight of one set of a size, so that each size has the same share."""
    return 1 / (n_samples * comb(n_samples - 1, size))


def brute_force(n_samples, value, weight_of=by_shapley):
    """Return each sample's semivalue; ``value`` takes a tuple of rows."""
    shares = np.zeros(n_samples)
    for sample in range(n_samples):
        others = [row for row in range(n_samples) if row != sample]
        for size in range(n_samples):
            weight = weight_of(n_samples, size)
            for some in combinations(others, size):
                gain = value((*some, sample)) - value(some)
                shares[sample] += weight * gain
    return shares
