"""The ranked samples as a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def samples_frame(
    X: Any,
    y: np.ndarray,
    scores: Mapping[str, np.ndarray],
    ranking: np.ndarray,
    cleaned: Mapping[str, np.ndarray],
    model: Any,
) -> pd.DataFrame:
    """Return one row per sample, in the order of the ranking, and what was done to it.

    With a model, also its predictions and their probabilities.
    """
    columns = {**scores, **outputs("label", y)}
    if model is not None:
        predictions = np.asarray(model.predict(X))
        columns.update(outputs("prediction", predictions))
        if hasattr(model, "predict_proba"):
            columns.update(_probabilities(model.predict_proba(X), predictions))
    columns.update(cleaned)
    # Users of a DataFrame know its rows by their index.
    index = X.index if hasattr(X, "index") and hasattr(X, "iloc") else None
    return pd.DataFrame(columns, index=index).iloc[ranking]


def _probabilities(found: Any, predictions: np.ndarray) -> dict[str, np.ndarray]:
    if predictions.ndim == 1:
        return {"probability": found.max(axis=1)}
    # Some classifiers return the two probabilities of each label in a list.
    given = np.stack([p[:, -1] for p in found], 1) if isinstance(found, list) else found
    return outputs("probability", given)


def outputs(name: str, values: ArrayLike) -> dict[str, np.ndarray]:
    """Return targets as columns, one for each output."""
    values = np.asarray(values)
    if values.ndim == 1:
        return {name: values}
    return {f"{name}_{output}": column for output, column in enumerate(values.T)}
