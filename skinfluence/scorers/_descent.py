"""Metagradient descent on the weights of the training samples.

Each step trains under the weights so far, takes the derivative of the validation loss
in the weights (the metagradient), and moves the weights against it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._numbers import check_integer, is_real
from .._progress import tracked

LOWEST = 0.01
"""The smallest weight: at 0 a sample has no influence and could never recover."""

PATIENCE = 3
"""After so many steps without a better one, a descent that is judged stops."""

# Adam's, the defaults of torch.
_BETAS, _EPS = (0.9, 0.999), 1e-8

Step = tuple[np.ndarray, float]
"""The slopes, and the loss that judges the run; NaN where none was asked for."""

Measure = Callable[[int, np.ndarray, bool], Step]
"""``measure(number, variable, differentiate)``: train a step's run."""


@dataclass(frozen=True)
class Descent:
    """How to descend.

    Attributes
    ----------
    n_steps : int
        Number of steps, at most.
    update : {"sgd", "sign", "adam"}
        Name of the update rule.
    step_size : float
        What its moves are multiplied by.
    early_stopping : float or None
        Share of the validation data that judges the steps; None to take the last.
    reseed : bool
        Whether each step trains with other seeds.
    """

    n_steps: int
    update: str
    step_size: float
    early_stopping: float | None
    reseed: bool

    def check(self, count: str) -> None:
        """Refuse what is no descent; `count` is the name of the number of steps."""
        check_integer(count, self.n_steps, 1)
        update: object = self.update
        if not (isinstance(update, str) and update in UPDATES):
            raise ValueError(
                f"`update` must be one of {list(UPDATES)}, got {update!r}."
            )
        if not (is_real(self.step_size) and 0 < self.step_size < np.inf):
            raise ValueError(
                f"`step_size` must be a finite number above 0, got {self.step_size!r}."
            )
        share = self.early_stopping
        if share is not None and not (is_real(share) and 0 < share < 1):
            raise ValueError(
                "`early_stopping` must be a share of the validation data, above 0 and "
                f"below 1, or None, got {share!r}."
            )
        if not isinstance(self.reseed, (bool, np.bool_)):
            raise ValueError(f"`reseed` must be True or False, got {self.reseed!r}.")

    def run(
        self,
        start: np.ndarray,
        measure: Measure,
        project: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Return the variable of the step that is judged best, or of the last one."""
        variable, state, judged = start, None, self.early_stopping is not None
        best, least, since = start, np.inf, 0
        for number in tracked(range(self.n_steps + judged), "Descent", "step"):
            last = number == self.n_steps
            slopes, loss = measure(number, variable, not last)
            since += 1
            if loss < least:
                best, least, since = variable, loss, 0
            if judged and (last or since == PATIENCE):
                break
            move, state = UPDATES[self.update](slopes, state)
            variable = project(variable - self.step_size * move)
        return best if judged else variable


def judging(
    share: float | None, n_val: int, classes: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Return which validation samples judge a descent: a share of each class.

    Parameters
    ----------
    share : float or None
        Their share, `early_stopping`; None for none of them.
    n_val : int
        Number of validation samples.
    classes : ndarray of shape (n_val,), optional
        Number of each sample's class.
    seed : int
        Decides which.
    """
    mask = np.zeros(n_val, dtype=bool)
    if share is None:
        return mask
    count = round(share * n_val)
    if not 0 < count < n_val:
        raise ValueError(
            "`early_stopping` must leave validation samples to judge the steps and "
            f"to differentiate, got {share} of {n_val}. Give more, or "
            "early_stopping=None."
        )
    rng = np.random.RandomState(seed)
    keys = np.zeros(n_val) if classes is None else classes
    order = np.lexsort((rng.uniform(size=n_val), keys))
    # Every k-th, after sorting by class.
    places = (np.arange(count) + rng.uniform()) * n_val / count
    mask[order[places.astype(np.intp)]] = True
    return mask


def _sgd(slopes: np.ndarray, scale: float | None) -> tuple[np.ndarray, float]:
    # The largest spread so far, so that the steps shrink as the slopes level, and stay
    # bounded in runs that amplify small changes.
    scale = max(scale or 0.0, float(slopes.std()))
    return slopes / (scale or 1.0), scale


def _sign(slopes: np.ndarray, state: None) -> tuple[np.ndarray, None]:
    return np.sign(slopes), None


def _adam(
    slopes: np.ndarray, state: tuple[np.ndarray, np.ndarray, int] | None
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, int]]:
    mean, square, number = state or (np.zeros_like(slopes), np.zeros_like(slopes), 0)
    (beta, gamma), number = _BETAS, number + 1
    mean = beta * mean + (1 - beta) * slopes
    square = gamma * square + (1 - gamma) * slopes**2
    root = np.sqrt(square / (1 - gamma**number))
    # Relative to their size, which is one over the number of samples.
    floor = _EPS * (root.max() or 1.0)
    return mean / (1 - beta**number) / (root + floor), (mean, square, number)


UPDATES: dict[str, Callable[..., tuple[np.ndarray, Any]]] = {
    "sgd": _sgd,
    "sign": _sign,
    "adam": _adam,
}
"""``update(slopes, state) -> move, state``; the state is None at first."""


def weight_slopes(
    scores: np.ndarray, base: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    r"""Return the gradient of the validation loss in the weights.

    A sample's influence is :math:`-∂Q/∂\log c_i`. Training divides the weights by their
    mean, so that with :math:`c_i = n u_i / \sum_j u_j`

    .. math:: ∂Q/∂\log u_i = -\text{influence}_i
       + \frac{c_i}{n} \sum_j \text{influence}_j.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        The influence, of the run under these weights; NaN for samples that were not
        ranked, whose derivative is taken to be 0.
    base : ndarray of shape (n_samples,)
        Sample weights that were passed to ``fit``; 1 without any.
    weights : ndarray of shape (n_samples,)
        Weights that multiply them; positive.
    """
    ranked = ~np.isnan(scores)
    total = np.where(ranked, base * weights, 0.0)
    share = total / total.sum()
    slopes = share * scores[ranked].sum() - np.where(ranked, scores, 0.0)
    return np.where(ranked, slopes / weights, 0.0)


def lowered(weights: np.ndarray, most: float) -> np.ndarray:
    r"""Project weights onto [0.01, 1], with a total reduction of at most `most`.

    The projection onto :math:`\{w : 0.01 \le w_i \le 1, \sum_i (1 - w_i) \le m\}` adds
    a number τ >= 0 to the weights and clips them; the reduction falls as τ grows.
    """

    def clipped(tau: float) -> np.ndarray:
        return np.clip(weights + tau, LOWEST, 1.0)

    if (1 - clipped(0.0)).sum() <= most:
        return clipped(0.0)
    low, high = 0.0, float(1.0 - weights.min())
    # Bisection to the last bit: the result must not depend on a tolerance.
    while low < (middle := 0.5 * (low + high)) < high:
        if (1 - clipped(middle)).sum() > most:
            low = middle
        else:
            high = middle
    return clipped(high)


def centered(logarithms: np.ndarray) -> np.ndarray:
    """Scale weights, given by their logarithms, to a mean of 1."""
    return logarithms - np.log(np.exp(logarithms).mean())
