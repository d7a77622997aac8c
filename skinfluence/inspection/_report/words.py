"""Which words of a sample the trained model takes as evidence for its label."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...estimators import FinalModel, final_model
from .._typing import Estimator

# A batch limits the memory of the gradient; a page has room for a few marked words.
_AT_ONCE, _N_WORDS = 64, 12


def telling_words(
    estimator: Estimator, rows: np.ndarray, names: Sequence[str]
) -> dict[int, dict[str, float]]:
    r"""Return for some training samples the features that matter most to their loss.

    To first order, a feature adds to the loss :math:`x_k ∂ℓ/∂x_k` at the final model.

    Parameters
    ----------
    estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator.
    rows : ndarray of shape (n,), int
        Training samples.
    names : sequence of str
        Names of the features: words.

    Returns
    -------
    dict of int to dict of str to float
        Row -> word -> strength, from -1 to 1: positive if it supports the given label.
        Empty if the inputs are not rows of such features.
    """
    model = final_model(estimator)
    words: dict[int, dict[str, float]] = {}
    for part in torch.from_numpy(rows).split(_AT_ONCE) if len(rows) else ():
        values = _effects(model, part)
        if values is None or values.shape[1] != len(names):
            return {}
        for row, effects in zip(part.tolist(), values, strict=True):
            words[row] = _strongest(effects, names)
    return words


def _effects(model: FinalModel, rows: Tensor) -> np.ndarray | None:
    (x, params), targets, _ = model.fetch(rows)
    if not isinstance(x, Tensor) or x.ndim != 2 or not x.is_floating_point():
        return None
    x = x.detach().clone().requires_grad_()
    objective, inputs = model.objective, (x, params)
    losses = objective.criterion(objective.forward(inputs), targets, inputs)
    (slopes,) = torch.autograd.grad(losses.sum(), x)
    # Negated: a word that lowers the loss supports the label.
    effects: np.ndarray = (-x * slopes).detach().double().cpu().numpy()
    return effects


def _strongest(values: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Return the features with the largest effects, relative to the largest."""
    most = np.argsort(-np.abs(values), kind="stable")[:_N_WORDS]
    scale = np.abs(values[most]).max(initial=0.0)
    if not 0 < scale < np.inf:
        return {}
    return {str(names[k]): float(values[k] / scale) for k in most if values[k]}


def mark_words(
    shown: Sequence[dict[str, Any]],
    rows: np.ndarray,
    words: Mapping[int, Mapping[str, float]],
) -> None:
    """Mark the words that matter, where a text is shown."""
    for each, row in zip(shown, rows.tolist(), strict=True):
        if "text" in each:
            ((text, _),) = each["text"]
            each["text"] = marked(text, words.get(row, {}))


def marked(text: str, words: Mapping[str, float]) -> list[list[Any]]:
    """Split a text into parts, each with the strength of its word, or 0."""
    if not words:
        return [[text, 0]]
    strengths = {word.lower(): strength for word, strength in words.items()}
    # Longest first: a feature of two words must not be matched as its first word.
    names = "|".join(map(re.escape, sorted(strengths, key=len, reverse=True)))
    parts: list[list[Any]] = []
    done = 0
    for match in re.finditer(rf"(?<!\w)(?:{names})(?!\w)", text, re.IGNORECASE):
        strength = round(strengths.get(match[0].lower(), 0.0), 3)
        parts += [[text[done : match.start()], 0], [match[0], strength]]
        done = match.end()
    parts.append([text[done:], 0])
    return [part for part in parts if part[0]]
