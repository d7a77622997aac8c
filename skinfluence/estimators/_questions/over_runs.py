"""The influence over several runs of a training."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..._numbers import check_integer
from ...training import differentiating
from .._runs import ScoresOverRuns, answers_over_runs
from .._trained_on import check_estimator
from .._typing import At, QueryLike, RandomState, Smoothing
from .estimate import check_smoothing, estimate, reliable, smoothed
from .question import ask


def influence_over_runs(
    estimator: Any,
    X_val: object,
    y_val: ArrayLike | None = None,
    *,
    n_runs: int = 5,
    sample_weight_val: ArrayLike | None = None,
    query: QueryLike = "loss",
    at: At = "final",
    last_epochs: int | None = None,
    smoothing: Smoothing = None,
    random_state: RandomState = None,
    n_jobs: int | None = None,
) -> ScoresOverRuns:
    """Estimate the influence in several runs of a training.

    The influence is that of one run, with its initial weights and batches, and a sample
    that harmed this run may be harmless in the next one. Here the training is repeated
    from other seeds, and each run is retraced: a sample whose influence has a small
    standard error matters in any run, not in this one only.

    The estimator's own run is the first. The others are clones of it, with its
    parameters as they are now, fitted on the data and weights that it was fitted on.
    Each costs a training and a retrace, and is dropped once it has been retraced.

    Parameters
    ----------
    estimator : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator whose run was recorded, in one call of ``fit``.
    X_val : array-like, CSR matrix, torch Dataset, or as in ``fit``
        Validation samples.
    y_val : array-like of shape (n_val,) or (n_val, n_outputs)
        Their targets; None where a Dataset holds them.
    n_runs : int, default=5
        Number of runs, the estimator's own included. With 1 nothing is trained.
    sample_weight_val : array-like of shape (n_val,), optional
        Non-negative weights of the validation samples in the mean.
    query : a named query or callable, default="loss"
        As in :meth:`~skinfluence.SGDInfluenceClassifier.influence`.
    at : "final", "epochs", "path", sequence or mapping, default="final"
        As there.
    last_epochs : int, optional
        Retrace only the last epochs, as there.
    smoothing : None, float or "auto", default=None
        As there.
    random_state : int, RandomState instance or None, default=None
        Draws the `random_state` of each further run, by ``randint(2**31 - 1)``. Pass an
        int for reproducible results; the runs of a smaller `n_runs` are then among
        those of a larger one.
    n_jobs : int or None, default=None
        Number of processes over which the further runs are spread, through joblib. On a
        CPU the result is the same to the last bit.

    Returns
    -------
    ScoresOverRuns
        The scores of each run, in the order of the runs, with their mean, its standard
        error, and the share of the runs that agree in sign. **Negative: harmful**. NaN
        where no retraced step of a run used the sample, as where `train_split` has put
        it into the validation part: such runs do not count for it.

    Raises
    ------
    ValueError
        If `n_runs` is not a positive integer, the estimator was fitted in several
        calls, or nothing in its training is random. The other errors are those of
        ``influence``; what can be checked is checked before any training.

    Warns
    -----
    UserWarning
        If all runs start from the same weights, because `module` is an instance or
        every parameter comes from `pretrained`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier, influence_over_runs
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> runs = influence_over_runs(clf, X_val, y_val, n_runs=3, random_state=0)
    >>> runs.scores.shape, runs.mean.shape
    ((3, 112), (112,))
    >>> worst = runs.mean.argmin()
    >>> float(runs.sign_agreement[worst])
    1.0
    """
    check_integer("n_runs", n_runs, 1)
    check_smoothing(smoothing)
    check_estimator(estimator)

    @differentiating
    def scores_of(run: Any) -> np.ndarray:
        question = ask(run, X_val, y_val, sample_weight_val, query, at, last_epochs)
        found = smoothed(smoothing, partial(estimate, run, question))
        return np.where(question.used().numpy(), reliable(*found), np.nan)

    return ScoresOverRuns.of(
        answers_over_runs(estimator, scores_of, n_runs, random_state, n_jobs)
    )
