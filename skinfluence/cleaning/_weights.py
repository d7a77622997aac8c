"""Weights of the samples, lowered by projected steps along the metagradient."""

import numpy as np

N_STEPS = 5
"""How many steps are taken, each with a run of its own under the weights so far."""

LOWEST = 0.01
"""No weight is lowered further: without any, there is no telling what more would do."""


def weight_slopes(
    scores: np.ndarray, given: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    r"""Return the derivative of the validation loss in each weight, up to a factor.

    A sample's influence is :math:`-∂Q/∂\log c_i`. Training divides the weights by their
    mean, so that with :math:`c_i = n u_i / \sum_j u_j`

    .. math:: ∂Q/∂\log u_i = -\text{influence}_i
       + \frac{c_i}{n} \sum_j \text{influence}_j.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        The influence, of the run under these weights; NaN for samples that were not
        ranked, whose derivative is taken to be 0.
    given : ndarray of shape (n_samples,)
        Weights that the samples have beside those that are lowered.
    weights : ndarray of shape (n_samples,)
        The latter, positive.
    """
    ranked = ~np.isnan(scores)
    every = np.where(ranked, given * weights, 0.0)
    share = every / every.sum()
    slopes = share * scores[ranked].sum() - np.where(ranked, scores, 0.0)
    return np.where(ranked, slopes / weights, 0.0)


def lowered(weights: np.ndarray, most: float) -> np.ndarray:
    r"""Return the nearest weights in [0.01, 1] that are lowered by so much at most.

    The projection on :math:`\{w : 0.01 \le w_i \le 1, \sum_i (1 - w_i) \le m\}`: the
    weights plus a number τ >= 0, clipped; the sum is a falling function of τ.
    """

    def clipped(tau: float) -> np.ndarray:
        return np.clip(weights + tau, LOWEST, 1.0)

    if (1 - clipped(0.0)).sum() <= most:
        return clipped(0.0)
    low, high = 0.0, float(1.0 - weights.min())
    # Bisection, down to the last bit.
    while low < (middle := 0.5 * (low + high)) < high:
        if (1 - clipped(middle)).sum() > most:
            low = middle
        else:
            high = middle
    return clipped(high)
