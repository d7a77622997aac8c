"""The training samples as a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ..exceptions import TrainingDataChangedError
from ._net import InfluenceNet
from ._questions.influence_interval import InfluenceInterval
from ._runs import ScoresOverRuns
from ._trained_on import check_fitted_on
from ._validation import n_rows, plain_targets


class FrameMixin(InfluenceNet):
    """Adds :meth:`to_frame`."""

    def to_frame(
        self,
        X: Any,
        y: ArrayLike | None = None,
        scores: ArrayLike | ScoresOverRuns | InfluenceInterval | None = None,
    ) -> pd.DataFrame:
        """Return the training samples as a table, the lowest scores first.

        Parameters
        ----------
        X : array-like of n_samples rows, or as in :meth:`fit`
            The data that the estimator was fitted on; a table gives its index.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), optional
            Its targets; None where a Dataset holds them.
        scores : array-like of shape (n_samples,), or scores over runs, optional
            As :meth:`influence`, a scorer, :func:`~skinfluence.influence_over_runs` or
            :func:`~skinfluence.influence_interval` returns them. Samples without a
            score (NaN) come last. By default the order is that of the data.

        Returns
        -------
        DataFrame of n_samples rows
            The columns of :meth:`InfluenceCleaner.to_frame
            <skinfluence.InfluenceCleaner.to_frame>`, as far as they are known:
            ``score``, and what else is known of scores over runs; ``label``;
            ``prediction`` and ``probability``. Its index holds the row numbers, or the
            index of a DataFrame.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TrainingDataChangedError
            If X and y are not what it was fitted on.
        ValueError
            If `scores` is not one number for each sample, or the targets have more than
            two axes.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X, y)
        >>> scores = clf.influence(X[::3], y[::3], at="path")
        >>> list(clf.to_frame(X, y, scores))
        ['score', 'label', 'prediction', 'probability']
        """
        check_fitted_on(self, X, y)
        targets = None if y is None else plain_targets(y)
        n_samples = _n_samples(self, X, targets)
        columns = _score_columns(scores, n_samples)
        order = np.argsort(columns.get("score", np.zeros(n_samples)), kind="stable")
        return samples_frame(X, targets, columns, order, {}, self)


def _n_samples(net: InfluenceNet, X: Any, y: np.ndarray | None) -> int:
    """Return their number; refuse another one where values could not be compared."""
    fitted = sum({data.offset: len(data) for data in net.training_data_}.values())
    given = {"X": fitted if isinstance(X, list) else n_rows(X)}
    if y is not None:
        given["y"] = len(y)
    for name, number in given.items():
        if number != fitted:
            raise TrainingDataChangedError(
                f"`{name}` must be what the estimator was fitted on, {fitted} rows, "
                f"got {number}. Pass the data of fit."
            )
    return fitted


def _score_columns(scores: Any, n_samples: int) -> dict[str, np.ndarray]:
    """Return the columns that scores make."""
    if scores is None:
        return {}
    if isinstance(scores, (ScoresOverRuns, InfluenceInterval)):
        table = scores.to_frame()
        columns = {str(name): column.to_numpy() for name, column in table.items()}
    else:
        columns = {"score": _numbers(scores)}
    shape = columns["score"].shape
    if shape != (n_samples,):
        raise ValueError(
            f"`scores` must be one number for each of the {n_samples} samples that the "
            f"estimator was fitted on, got shape {shape}."
        )
    return columns


def _numbers(scores: Any) -> np.ndarray:
    try:
        return np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`scores` must be numbers, got {scores!r:.200}.") from error


def samples_frame(
    X: Any,
    y: np.ndarray | None,
    scores: Mapping[str, np.ndarray],
    ranking: np.ndarray,
    cleaned: Mapping[str, np.ndarray],
    model: Any,
) -> pd.DataFrame:
    """Return one row per sample, in the order of the ranking, and what was done to it.

    With a model, also its predictions and their probabilities.

    Parameters
    ----------
    X : array-like of n_samples rows
        The samples.
    y : ndarray of n_samples rows or None
        Their targets.
    scores, cleaned : mapping of str to ndarray of shape (n_samples,)
        Columns before and after those of the predictions.
    ranking : ndarray of shape (n_samples,), int
        The samples in order.
    model : estimator or None
        Predicts.
    """
    columns = {**scores, **({} if y is None else outputs("label", y))}
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
    """Return the probability of what is predicted; of several labels, of each."""
    # Some classifiers return the two probabilities of each label in a list.
    given = np.stack([p[:, -1] for p in found], 1) if isinstance(found, list) else found
    if given.ndim > predictions.ndim:
        given = given.max(axis=1)
    return outputs("probability", given)


def outputs(name: str, values: ArrayLike) -> dict[str, np.ndarray]:
    """Return targets as columns, one for each output.

    Parameters
    ----------
    name : str
        Of the only column, or what their names begin with.
    values : array-like of shape (n_samples,) or (n_samples, n_outputs)
        The targets.
    """
    values = np.asarray(values)
    if values.ndim == 1:
        return {name: values}
    if values.ndim > 2:
        raise ValueError(
            "The samples must have one target, or a row of targets, to be a table, got "
            f"a {name} of shape {values.shape[1:]} for each."
        )
    return {f"{name}_{output}": column for output, column in enumerate(values.T)}
