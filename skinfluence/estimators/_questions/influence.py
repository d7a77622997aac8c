"""The influence of the training samples, asked of a fitted estimator."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ...influence import Query, SampleQueries, retrace
from .counterfactual import exact_changes
from .earlier_runs import stages_of
from .epochs import is_integer
from .estimate import estimate, progress_of, reliable
from .question import ask, query_of
from .samples import run_weights


class InfluenceMixin:
    """Adds :meth:`influence` to a recording estimator."""

    def influence(
        self,
        X_val: Any,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
        query: str | Callable[[Any, Any], Tensor] = "loss",
        at: str | Sequence[int] | Mapping[int, float] = "final",
        last_epochs: int | None = None,
        aggregate: str | None = "mean",
        verify: int = 0,
        stage: str | int | None = None,
    ) -> np.ndarray:
        r"""Estimate how the validation loss would change without each sample.

        The *linear influence* of Definition 2 in [1]_: training is retraced
        backwards (Algorithm 2) through the optimizer's own steps,

        .. math:: \text{influence}_j = - ∂Q/∂w_j,

        where :math:`w_j` is the weight of sample j's loss in every batch that it was
        in, and Q the query, by default the mean validation loss.

        Parameters
        ----------
        X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
            Validation samples.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs)
            Their targets; None where a Dataset holds them.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        query : "loss", "error" or callable, default="loss"
            What is measured on each validation sample. ``"loss"``: the criterion;
            ``"error"``: the probability that a classifier does not give to the
            sample's label, from 0 to 1, for validation data with wrong labels among
            its own; or ``query(y_pred, y_true)``, which takes the module's outputs and
            the targets (for a classifier the class indices) as tensors and returns a
            tensor of shape (batch,), differentiably.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            Which models are asked. ``"final"``: the trained model, as in the paper;
            ``"epochs"``: the mean over the models at all epoch ends; ``"path"``:
            epoch e weighted by 1/e; a sequence of epoch numbers (from 1), or a
            mapping of epoch number to weight (scaled to sum 1).
        last_epochs : int, optional
            Retrace only the last epochs and take what came before as given; 1 is the
            paper's approximation. By default all that was recorded.
        aggregate : "mean" or None, default="mean"
            None for the influence on each validation sample by itself.
        verify : int, default=0
            How many samples at each end, of the most harmful and of the most helpful
            by the estimate, get their exact value instead, as
            :meth:`counterfactual_influence` computes it. Costs up to
            ``2 * verify`` repetitions of the training, many of them at once where that
            is faster, and spread over processes inside
            ``joblib.parallel_config(n_jobs=...)``.
        stage : None, "pretraining" or int, default=None
            Whose training samples: this estimator's own (None), those of the estimator
            that it started from (`pretrained`; "pretraining" or 1), or of the one so
            many stages back. The way there leads through the whole run of every later
            stage.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_val), float64
            Estimated change of the query if the sample had been absent, in the
            query's unit; the exact change for those that were verified. **Negative:
            removing the sample lowers the loss; it is harmful.** Exactly 0 for a
            sample that no retraced step used. Rows are those of the X given to
            ``fit``, with `stage` to that stage's.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        NotRecordedError
            If the run, or the part of it that is asked for, was not recorded.
        TrainingDataChangedError
            If the training data is not what it was in ``fit``.
        IrreproducibleStepError
            If something other than the optimizer changed the model on the way.
        DivergedTrainingError
            If training diverged.
        ValueError
            If a parameter or the validation data is not as described.

        Warns
        -----
        InfluenceReliabilityWarning
            If the run enlarges small changes so much that its derivative may foretell
            little. :meth:`check_influence` tells how good the estimate is.

        Notes
        -----
        The model is queried in evaluation mode. BatchNorm's running statistics are
        held at the values that they had at the queried epoch's end: the way in which
        a sample changed them is not part of the estimate.

        With `stage`, the retrace goes on through the training that came before: the
        adjoint of this run's first parameters, where they were taken over, is the
        adjoint of the last parameters of that run. That is the derivative through both
        trainings of what [2]_ asks for. With frozen parameters the steps in between
        do not change them, but depend on them.

        References
        ----------
        .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
           with SGD", NeurIPS 2019, equation (4) and Algorithm 2.
        .. [2] H. Chen, S. Si, Y. Li, C. Chelba, S. Kumar, D. Boning, C.-J. Hsieh,
           "Multi-Stage Influence Function", NeurIPS 2020.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
        >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
        >>> scores = clf.influence(X_val, y_val)
        >>> scores.shape
        (112,)
        >>> most_harmful = scores.argsort()[:10]
        """
        if aggregate not in ("mean", None):
            raise ValueError(f"`aggregate` must be 'mean' or None, got {aggregate!r}.")
        if aggregate is None and sample_weight_val is not None:
            raise ValueError(
                "`sample_weight_val` must be None with aggregate=None: there is no "
                "mean to be weighted."
            )
        verify = _check_verify(verify)
        asked = ask(
            self, X_val, y_val, sample_weight_val, query, at, last_epochs, stage
        )
        kind = Query if aggregate == "mean" else SampleQueries
        scores = reliable(*estimate(self, asked, kind))
        if verify:
            rows = _extremes(scores, verify)
            weights = run_weights(rows, asked.used())
            scores[rows] = exact_changes(self, asked, weights, kind=kind)
        return scores

    def influence_by_epoch(
        self,
        X_val: Any,
        y_val: Any = None,
        *,
        sample_weight_val: Any = None,
        query: str | Callable[[Any, Any], Tensor] = "loss",
        at: str | Sequence[int] | Mapping[int, float] = "final",
        last_epochs: int | None = None,
    ) -> np.ndarray:
        """Estimate in which epochs the influence of each sample arose.

        The retrace sums over the steps that used a sample; here those of each epoch
        are summed by themselves.

        Parameters
        ----------
        X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
            Validation samples.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs)
            Their targets; None where a Dataset holds them.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        query : "loss", "error" or callable, default="loss"
            As in :meth:`influence`.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            Which models are asked, as in :meth:`influence`.
        last_epochs : int, optional
            Retrace only the last epochs, as in :meth:`influence`.

        Returns
        -------
        ndarray of shape (n_samples, n_epochs), float64
            What each epoch contributed to the influence, in the query's unit: the
            estimated change had the sample been absent in that epoch alone. The rows
            sum to what :meth:`influence` returns. Epochs that were not retraced, and
            those after the last model that is asked, contribute exactly 0.

        Raises
        ------
        NotFittedError, NotRecordedError, TrainingDataChangedError
            As in :meth:`influence`.
        IrreproducibleStepError, DivergedTrainingError, ValueError
            As in :meth:`influence`.

        Warns
        -----
        InfluenceReliabilityWarning
            As in :meth:`influence`.

        See Also
        --------
        skinfluence.inspection.TrajectoryDisplay : Draws it.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X = scale(X)
        >>> clf = SGDInfluenceClassifier(max_epochs=5, random_state=0)
        >>> clf.fit(X[::2], y[::2]).influence_by_epoch(X[1::2], y[1::2]).shape
        (75, 5)
        """
        asked = ask(self, X_val, y_val, sample_weight_val, query, at, last_epochs)
        (run,), replica = stages_of(self, asked)
        found = retrace(
            run.trajectory,
            run.step,
            query_of(replica, asked),
            run.at,
            first=run.first,
            by_epoch=True,
            progress=progress_of(self),
        )
        return reliable(found.scores.cpu().numpy(), found.growth)


def _check_verify(verify: Any) -> int:
    if not is_integer(verify) or verify < 0:
        raise ValueError(f"`verify` must be an integer of at least 0, got {verify!r}.")
    return int(verify)


def _extremes(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the samples with the k lowest and the k highest scores."""
    order = np.argsort(scores if scores.ndim == 1 else scores.mean(axis=1))
    return np.union1d(order[:k], order[-k:])
