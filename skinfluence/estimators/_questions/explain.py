"""The training samples behind single predictions."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import is_classifier

from ..._numbers import check_integer
from .._labels import fitted_targets, labels_of
from .._net import InfluenceNet
from .._typing import At, QueryLike, Smoothing


def explain(
    self: Any,
    X: object,
    y: ArrayLike,
    *,
    n_harmful: int = 3,
    n_helpful: int = 3,
    query: QueryLike = "loss",
    at: At = "final",
    last_epochs: int | None = None,
    smoothing: Smoothing = None,
) -> pd.DataFrame:
    """Name the training samples that made single predictions what they are.

    The most extreme in :meth:`influence` on each sample by itself: without a harmful
    one the loss of the sample would be lower, without a helpful one higher. All samples
    are explained by one retrace, where its memory allows, such as all wrong predictions
    of a validation set.

    Parameters
    ----------
    X : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
        The samples to explain, not those of training.
    y : array-like of shape (n,) or (n, n_outputs)
        Their right labels or targets.
    n_harmful : int, default=3
        How many of the most harmful training samples to name for each.
    n_helpful : int, default=3
        How many of the most helpful ones.
    query : a named query or callable, default="loss"
        As in :meth:`influence`; it must be a measure of each sample.
    at : "final", "epochs", "path", sequence or mapping, default="final"
        As in :meth:`influence`.
    last_epochs : int, optional
        As in :meth:`influence`.
    smoothing : None, float or "auto", default=None
        As in :meth:`influence`.

    Returns
    -------
    DataFrame
        A row for each pair, with the columns ``sample``, the row in X; ``effect``,
        "harmful" or "helpful"; ``rank``, from 1 for the most extreme; ``row``, the
        training sample, as a row of the X given to :meth:`fit`; ``label``, its label or
        target there (a list where it has several, and None where a Dataset held it);
        and ``influence``, the estimated change of the query on that sample alone. There
        are fewer rows where fewer samples harm or help.

    Raises
    ------
    ValueError
        If a parameter is not as described. The other errors and the warnings are those
        of :meth:`influence`.

    See Also
    --------
    skinfluence.inspection.ExplanationDisplay : Draws it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X = scale(X)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X[::2], y[::2])
    >>> wrong = clf.predict(X[1::2]) != y[1::2]
    >>> found = clf.explain(X[1::2][wrong], y[1::2][wrong], n_harmful=2, n_helpful=1)
    >>> found.columns.tolist()
    ['sample', 'effect', 'rank', 'row', 'label', 'influence']
    """
    n_harmful = check_integer("n_harmful", n_harmful)
    n_helpful = check_integer("n_helpful", n_helpful)
    if not n_harmful + n_helpful:
        raise ValueError(
            "`n_harmful` and `n_helpful` must name at least one sample, got 0 and 0."
        )
    scores = self.influence(
        X,
        y,
        query=query,
        at=at,
        last_epochs=last_epochs,
        aggregate=None,
        smoothing=smoothing,
    )
    parts = []
    for sample, column in enumerate(scores.T):
        for effect, sign, n in (("harmful", 1, n_harmful), ("helpful", -1, n_helpful)):
            rows = np.argsort(sign * column, kind="stable")[:n]
            rows = rows[sign * column[rows] < 0]
            part = {"sample": sample, "effect": effect, "rank": range(1, len(rows) + 1)}
            parts.append(pd.DataFrame({**part, "row": rows, "influence": column[rows]}))
    table = pd.concat(parts, ignore_index=True)
    labels = _labels(self)
    given = [None if labels is None else _plain(labels[row]) for row in table["row"]]
    table.insert(4, "label", pd.Series(given, dtype=None if given else object))
    return table


def _plain(label: Any) -> Any:
    return label.tolist() if isinstance(label, np.ndarray) else label


def _labels(net: InfluenceNet) -> np.ndarray | None:
    """Return the labels or targets of fit; None where a Dataset held them."""
    y = fitted_targets(net)
    return labels_of(net).decoded(y) if is_classifier(net) and y is not None else y
