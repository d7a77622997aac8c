"""The influence of the cells of the training samples."""

from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import sparse
from torch import Tensor

from ...exceptions import UnsupportedModuleError
from ...influence import InputStep
from ...training import differentiating
from .._net import InfluenceNet
from .._replica import fetcher_of
from .._typing import At, QueryLike, Smoothing
from .estimate import check_smoothing, estimate, reliable, smoothed
from .question import ask

_INSTEAD = "Ask for `influence`, one number for each sample."


@differentiating
def feature_influence(
    self: InfluenceNet,
    X_val: object,
    y_val: ArrayLike | None = None,
    *,
    sample_weight_val: ArrayLike | None = None,
    query: QueryLike = "loss",
    at: At = "final",
    last_epochs: int | None = None,
    stage: str | int | None = None,
    smoothing: Smoothing = None,
) -> Any:
    r"""Differentiate the validation loss in the cells of the training samples.

    Which value of a training sample does the harm, and in which direction: the
    derivative :math:`∂Q/∂x_i` of the query through the whole recorded run, from one
    retrace, as :meth:`influence` [1]_,

    .. math:: \frac{∂Q}{∂x_i} = \sum_{t: i \in S_t}
       \frac{∂}{∂x_i} \langle ∂Q/∂g_t, ∇L_t(θ_t) \rangle,

    with the gradient :math:`g_t` that the optimizer saw at step t, and the batch loss
    :math:`L_t`.

    Parameters
    ----------
    X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
        Validation samples.
    y_val : array-like of shape (n_val,) or (n_val, n_outputs)
        Their targets; None where a Dataset holds them.
    sample_weight_val : array-like of shape (n_val,), optional
        Non-negative weights of the validation samples in the mean.
    query : a named query or callable, default="loss"
        As in :meth:`influence`.
    at : "final", "epochs", "path", sequence or mapping, default="final"
        As in :meth:`influence`.
    last_epochs : int, optional
        Retrace only the last epochs and take the earlier ones as given. By default all
        that was recorded.
    stage : None, "pretraining" or int, default=None
        The samples of which stage, as in :meth:`influence`.
    smoothing : None, float or "auto", default=None
        How wide kinks are smoothed on the way back, as in :meth:`influence`.

    Returns
    -------
    ndarray of the shape of X, or CSR matrix, float64
        Derivatives, in the query's unit per unit of the cell. **Negative: a higher
        value would lower the loss.** Exactly 0 for a sample that no retraced step
        used. For a sparse X, a CSR matrix of the cells that X stores. For a Dataset,
        the derivatives in what it returns.

    Raises
    ------
    UnsupportedModuleError
        If the module does not depend on X in a way that can be differentiated, or the
        samples are of several shapes.
    ValueError
        If the samples are not floating-point numbers in one array, as with tokens, or
        are drawn anew in each epoch. The other errors are those of :meth:`influence`.

    Warns
    -----
    InfluenceReliabilityWarning
        As in :meth:`influence`.

    See Also
    --------
    skinfluence.inspection.column_influence :
        The same for the columns that go into a Pipeline.

    Notes
    -----
    The derivative times a change of the cell is the change of the query to first order.
    A derivative alone does not tell which cell is wrong: multiply it by what repairing
    the cell would change, such as the column's median minus the cell. Where X was
    scaled before, the scaling is held as it is.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
       with SGD", NeurIPS 2019, Algorithm 2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> X[3, 2] *= 100  # a wrong unit
    >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X, y)
    >>> slopes = clf.feature_influence(X_val, y_val)
    >>> slopes.shape
    (112, 4)
    >>> repaired = slopes * (np.median(X, axis=0) - X)
    >>> [int(k) for k in np.unravel_index(repaired.argmin(), X.shape)]
    [3, 2]
    """
    check_smoothing(smoothing)
    question = ask(self, X_val, y_val, sample_weight_val, query, at, last_epochs, stage)
    owner = question.owner(self)
    shape = _check_inputs(owner)
    stored = _stored(owner)
    cells = None if stored is None else _cells(stored)
    kind = partial(InputStep, shape=shape, cells=cells)
    found = smoothed(smoothing, partial(estimate, self, question, step_kind=kind))
    slopes = reliable(*found)
    if stored is None:
        return slopes.reshape(-1, *shape)
    sizes = np.diff(stored.indptr)
    stored.data = slopes[np.arange(slopes.shape[1]) < sizes[:, None]]
    return stored


def _check_inputs(net: InfluenceNet) -> tuple[int, ...]:
    """Return the shape of a training sample; refuse what has no derivative."""
    assert net.trajectory_ is not None
    if any(data.draws for data in net.training_data_):
        raise ValueError(
            "`X` must be the same in every epoch to differentiate in its cells, but "
            "the Dataset may draw random numbers while its items are read. "
            f"{_INSTEAD}"
        )
    (x, _), _, _ = fetcher_of(net)(net.trajectory_.records[0].micro_batches()[0])
    if not isinstance(x, Tensor):
        raise ValueError(
            "`X` must be one array of numbers to differentiate in its cells, got "
            f"{type(x).__name__}. {_INSTEAD}"
        )
    if not x.is_floating_point():
        raise ValueError(
            "`X` must be floating-point numbers to differentiate in its cells, got "
            f"{x.dtype}, such as tokens or categories, in which there is no "
            f"derivative. {_INSTEAD}"
        )
    if x.is_sparse or x.dim() == 0:
        raise UnsupportedModuleError(
            f"`X` must be loaded as dense batches, got a {x.layout} tensor. {_INSTEAD}"
        )
    return tuple(x.shape[1:])


def _stored(net: InfluenceNet) -> Any:
    """Return a copy of all training samples if they are a sparse matrix, else None."""
    every = {data.offset: data.X for data in net.training_data_}
    if not all(sparse.issparse(X) for X in every.values()):
        return None
    joined = sparse.csr_matrix(sparse.vstack(list(every.values())), dtype=np.float64)
    joined.sum_duplicates()
    return joined


def _cells(stored: Any) -> Tensor:
    """Return the stored columns of each row, filled up with 0 to the longest row."""
    sizes = np.diff(stored.indptr)
    cells = np.zeros((stored.shape[0], max(1, sizes.max())), dtype=np.int64)
    cells[np.arange(cells.shape[1]) < sizes[:, None]] = stored.indices
    return torch.from_numpy(cells)
