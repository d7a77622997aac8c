"""How smoothly a run responds to its data: empirical metasmoothness."""

import numpy as np


def metasmoothness(half: np.ndarray, whole: np.ndarray) -> np.ndarray:
    r"""Return the empirical metasmoothness in each direction.

    Definition 2 of Engstrom et al., "Optimizing ML Training with Metagradient Descent",
    2025, with the queries of the single validation samples in the place of the
    parameters: :math:`\sum_k |a_k| \, s(a_k) \, s(b_k) / \sum_k |a_k|`, where s is the
    sign, and :math:`a_k` and :math:`b_k` are the changes of the k-th over the first and
    the second of two equal steps.

    Parameters
    ----------
    half, whole : ndarray of shape (n_directions, n_val)
        Change of each query after one step, and after both.
    """
    first, second = half, whole - half
    agreement = (first * np.sign(second)).sum(axis=1)
    size = np.abs(first).sum(axis=1)
    # Where nothing changes, the response is as smooth as can be.
    return np.divide(agreement, size, out=np.ones_like(size), where=size != 0)
