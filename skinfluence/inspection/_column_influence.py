"""The influence of cells, led back through preprocessing to the columns of a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils.validation import check_is_fitted

from .._numbers import check_integer

Column: TypeAlias = np.ndarray | pd.DataFrame
"""Slopes of a column's cells (n,), or the effect of each category (n, n_categories)."""

_Pull = Callable[[Any, pd.DataFrame, list[Column]], list[Column]]


@dataclass(frozen=True)
class ColumnInfluence:
    """The influence of the cells of a table, in its own columns.

    Parameters
    ----------
    slopes : DataFrame of shape (n_samples, n_columns)
        Derivative of the query in each number, per unit of its column. **Negative: a
        higher value would lower the loss.** NaN for categories, and for cells that were
        missing.
    switches : dict of str to DataFrame of shape (n_samples, n_categories)
        For each column of categories, the change of the query to first order if the
        cell had another category. **Negative: with that category the loss would be
        lower.** 0 for its own.
    repairs : DataFrame of shape (n_samples, n_columns)
        The change of the query to first order if the cell were the median of its
        column; of categories, that of the best switch. **The most negative cells do
        the most harm.** NaN for cells that were missing.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skinfluence.inspection import column_influence
    >>> X = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 3.0]])
    >>> scaler = StandardScaler().fit(X)
    >>> cells = column_influence(scaler, X, np.ones((3, 2)))
    >>> cells.repairs.round(2)
          0     1
    0  1.22  1.22
    1  0.00 -1.22
    2 -1.22  0.00
    """

    slopes: pd.DataFrame
    switches: dict[Any, pd.DataFrame]
    repairs: pd.DataFrame

    def worst(self, n: int = 10) -> pd.DataFrame:
        """Return the cells whose repair would lower the query most.

        Parameters
        ----------
        n : int, default=10
            How many, at most.

        Returns
        -------
        DataFrame
            The columns "row", "column" and "repair", the worst cell first.
        """
        n = check_integer("n", n, 1)
        values = self.repairs.to_numpy()
        order = np.argsort(values, axis=None, kind="stable")[:n]
        order = order[~np.isnan(values.ravel()[order])]
        rows, columns = np.unravel_index(order, values.shape)
        return pd.DataFrame(
            {
                "row": self.repairs.index[rows],
                "column": self.repairs.columns[columns],
                "repair": values[rows, columns],
            }
        )


def column_influence(
    preprocessing: Any, X: ArrayLike | pd.DataFrame, slopes: ArrayLike
) -> ColumnInfluence:
    """Lead the influence of cells back to the columns before preprocessing.

    ``feature_influence`` differentiates in the cells that the network was trained on.
    Here the chain rule leads back through the steps before it to the table that a user
    knows, with the steps held as they were fitted. Known are the steps that are linear
    or choose among categories, for which that is exact: ColumnTransformer,
    StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler, PCA, TruncatedSVD,
    SimpleImputer, OneHotEncoder, FunctionTransformer without a function, and
    Pipelines of these. Any other is refused by its name.

    Parameters
    ----------
    preprocessing : Pipeline or transformer
        The fitted steps. The last step of a Pipeline is left out if it is the
        estimator.
    X : array-like or DataFrame of shape (n_samples, n_columns)
        The training samples, as they went into the first step.
    slopes : array-like of shape (n_samples, n_features)
        What ``feature_influence`` returned for the estimator.

    Returns
    -------
    ColumnInfluence
        The same influence, in the columns of X.

    Raises
    ------
    ValueError
        If a step is not known, or the shapes do not fit.

    See Also
    --------
    skinfluence.SGDInfluenceClassifier.feature_influence : Returns the slopes.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.inspection import column_influence
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> X["season"] = ["wet", "dry", "dry"] * 50
    >>> steps = make_column_transformer(
    ...     (StandardScaler(), list(X.columns[:4])),
    ...     (OneHotEncoder(sparse_output=False), ["season"]),
    ... )
    >>> pipe = make_pipeline(steps, SGDInfluenceClassifier("linear", random_state=0))
    >>> pipe = pipe.fit(X[::2], y[::2])
    >>> slopes = pipe[-1].feature_influence(steps.transform(X[1::2]), y[1::2])
    >>> cells = column_influence(pipe, X[::2], slopes)
    >>> cells.slopes.shape
    (75, 5)
    >>> cells.switches["season"].shape
    (75, 2)
    """
    steps = _without_estimator(preprocessing)
    check_is_fitted(steps)
    if sparse.issparse(X) or sparse.issparse(slopes):
        raise ValueError(
            "`X` and `slopes` must be dense, got a sparse matrix: the effect of cells "
            "that it does not store is not known. Fit with dense features, such as by "
            "OneHotEncoder(sparse_output=False)."
        )
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X))
    found = np.asarray(slopes, dtype=np.float64)
    if found.ndim != 2 or len(found) != len(frame):
        raise ValueError(
            "`slopes` must have a row for each of the samples in X, of shape "
            f"({len(frame)}, n_features), got {found.shape}."
        )
    columns = _pulled(steps, frame, list(found.T))
    names = frame.columns
    numbers = {k: c for k, c in enumerate(columns) if isinstance(c, np.ndarray)}
    missing = frame.isna().to_numpy()
    every = np.full(frame.shape, np.nan)
    repairs = np.full(frame.shape, np.nan)
    for k, column in enumerate(columns):
        if isinstance(column, pd.DataFrame):
            repairs[:, k] = column.min(axis=1)
        else:
            every[:, k] = column
    for k, column in numbers.items():
        if not column.any():  # no part of what was trained on
            repairs[:, k] = 0.0
            continue
        cells = frame.iloc[:, k].to_numpy(dtype=np.float64)
        repairs[:, k] = column * (np.nanmedian(cells) - cells)
    every[missing] = repairs[missing] = np.nan
    return ColumnInfluence(
        pd.DataFrame(every, frame.index, names),
        {names[k]: c for k, c in enumerate(columns) if isinstance(c, pd.DataFrame)},
        pd.DataFrame(repairs, frame.index, names),
    )


def _without_estimator(preprocessing: Any) -> Any:
    """Return the steps before the estimator that a Pipeline may end with."""
    if isinstance(preprocessing, Pipeline) and not hasattr(
        preprocessing[-1], "transform"
    ):
        if len(preprocessing) == 1:
            raise ValueError(
                "`preprocessing` must have steps before the estimator, got a Pipeline "
                "of it alone: feature_influence is about its own columns."
            )
        return preprocessing[:-1]
    return preprocessing


def _pulled(step: Any, X: pd.DataFrame, after: list[Column]) -> list[Column]:
    """Lead the influence of a step's outputs back to its inputs."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return after
    pull = _PULLS.get(type(step))
    if pull is None:
        raise ValueError(
            "`preprocessing` must be made of steps whose derivative is known "
            f"({', '.join(sorted(kind.__name__ for kind in _PULLS))}), got a "
            f"{type(step).__name__}. Ask for `influence`, one number for each sample."
        )
    return pull(step, X, after)


def _numbers(step: Any, after: Sequence[Column], width: int) -> np.ndarray:
    """Return the slopes of a step's outputs as one array."""
    if len(after) != width:
        raise ValueError(
            f"`slopes` must have a column for each output of {type(step).__name__} "
            f"({width}), got {len(after)}. Give the Pipeline that the estimator was "
            "trained with."
        )
    return np.column_stack(after) if after else np.empty((0, 0))


def _refuse(step: Any, option: str, value: object, instead: str) -> None:
    raise ValueError(
        f"`{option}` of {type(step).__name__} must be {instead} to lead influence "
        f"back through it, got {value!r}."
    )


def _through_pipeline(
    pipeline: Pipeline, X: pd.DataFrame, after: list[Column]
) -> list[Column]:
    inputs = [X]
    steps = [step for _, step in pipeline.steps]
    for step in steps[:-1]:
        known = step is not None and not isinstance(step, str)
        outputs = step.transform(inputs[-1]) if known else inputs[-1]
        inputs.append(_frame(outputs))
    for step, before in zip(reversed(steps), reversed(inputs), strict=True):
        after = _pulled(step, before, after)
    return after


def _frame(outputs: Any) -> pd.DataFrame:
    if sparse.issparse(outputs):
        outputs = outputs.toarray()
    return outputs if isinstance(outputs, pd.DataFrame) else pd.DataFrame(outputs)


def _through_columns(
    step: ColumnTransformer, X: pd.DataFrame, after: list[Column]
) -> list[Column]:
    before: list[Column] = [np.zeros(len(X)) for _ in range(X.shape[1])]
    for name, transformer, chosen in step.transformers_:
        places = _places(X, chosen)
        if isinstance(transformer, str) and transformer == "drop":
            continue
        own = after[step.output_indices_[name]]
        pulled = _pulled(transformer, X.iloc[:, places], own) if places else []
        for place, column in zip(places, pulled, strict=True):
            before[place] = _sum(before[place], column)
    return before


def _sum(one: Column, other: Column) -> Column:
    if isinstance(one, np.ndarray) and not one.any():
        return other
    if isinstance(one, np.ndarray) is not isinstance(other, np.ndarray):
        raise ValueError(
            "`preprocessing` must use each column as a number or as categories, got "
            "one that is both."
        )
    return one + other


def _places(X: pd.DataFrame, chosen: Any) -> list[int]:
    """Return the places of the columns that a ColumnTransformer chose."""
    numbers = pd.Series(range(X.shape[1]), index=X.columns)
    if isinstance(chosen, (str, int)):
        chosen = [chosen]
    of_names = chosen.start if isinstance(chosen, slice) else next(iter(chosen), None)
    by_name = isinstance(of_names, str)
    # Masks, slices and numbers are those of numpy; slices of names include their end.
    own = numbers.loc[chosen] if by_name else numbers.to_numpy()[chosen]
    return [int(k) for k in own] if isinstance(chosen, slice) or len(chosen) else []


def _scaled(factors: Callable[[Any], np.ndarray | None]) -> _Pull:
    """Return the way back through a step that multiplies each column by a factor."""

    def pull(step: Any, X: pd.DataFrame, after: list[Column]) -> list[Column]:
        if getattr(step, "clip", False):
            _refuse(step, "clip", True, "False")
        own = factors(step)
        slopes = _numbers(step, after, X.shape[1])
        return list((slopes if own is None else slopes * own).T)

    return pull


def _inverse(scale: np.ndarray | None) -> np.ndarray | None:
    return None if scale is None else 1.0 / scale


def _through_components(
    step: Any, X: pd.DataFrame, after: list[Column]
) -> list[Column]:
    components = step.components_
    if getattr(step, "whiten", False):
        components = components / np.sqrt(step.explained_variance_)[:, None]
    return list((_numbers(step, after, len(components)) @ components).T)


def _through_imputer(
    step: SimpleImputer, X: pd.DataFrame, after: list[Column]
) -> list[Column]:
    if step.add_indicator:
        _refuse(step, "add_indicator", True, "False")
    # Columns without any value are left out, unless they are to be filled.
    empty = np.array([s is np.nan or s != s for s in step.statistics_])
    kept = np.ones(X.shape[1], bool) if step.keep_empty_features else ~empty
    if len(after) != kept.sum():
        _numbers(step, after, int(kept.sum()))
    own = iter(after)
    # A cell that was missing has no value of its own, whatever filled it.
    return [next(own) if keep else np.zeros(len(X)) for keep in kept]


def _through_categories(
    step: OneHotEncoder, X: pd.DataFrame, after: list[Column]
) -> list[Column]:
    if getattr(step, "_infrequent_enabled", False):
        _refuse(step, "min_frequency", step.min_frequency, "None")
    dropped = step.drop_idx_
    if dropped is None:
        dropped = [None] * len(step.categories_)
    widths = [
        len(known) - (out is not None)
        for known, out in zip(step.categories_, dropped, strict=True)
    ]
    slopes = _numbers(step, after, sum(widths))
    parts = np.split(slopes, np.cumsum(widths)[:-1], axis=1)
    columns: list[Column] = []
    for k, (known, out) in enumerate(zip(step.categories_, dropped, strict=True)):
        effects = parts[k] if out is None else np.insert(parts[k], out, 0.0, axis=1)
        cells = X.iloc[:, k].to_numpy()
        own = np.array([[_same(cell, each) for each in known] for cell in cells])
        # What the encoder does not know has zeros everywhere.
        now = (effects * own).sum(axis=1)
        columns.append(pd.DataFrame(effects - now[:, None], X.index, list(known)))
    return columns


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or (pd.isna(one) and pd.isna(other))


def _through_function(
    step: FunctionTransformer, X: pd.DataFrame, after: list[Column]
) -> list[Column]:
    if step.func is not None:
        _refuse(step, "func", step.func, "None")
    return after


_PULLS: dict[type, _Pull] = {
    Pipeline: _through_pipeline,
    ColumnTransformer: _through_columns,
    StandardScaler: _scaled(lambda step: _inverse(step.scale_)),
    RobustScaler: _scaled(lambda step: _inverse(step.scale_)),
    MaxAbsScaler: _scaled(lambda step: _inverse(step.scale_)),
    MinMaxScaler: _scaled(lambda step: step.scale_),
    PCA: _through_components,
    TruncatedSVD: _through_components,
    SimpleImputer: _through_imputer,
    OneHotEncoder: _through_categories,
    FunctionTransformer: _through_function,
}
