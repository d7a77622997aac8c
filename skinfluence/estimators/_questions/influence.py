"""The influence of the training samples."""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from ..._numbers import check_integer
from ...influence import Query, SampleQueries, retrace
from ...training import SmoothedKinks, differentiating
from .._net import InfluenceNet
from .._typing import At, QueryLike, Smoothing
from . import addition_influence as _additions
from . import explain as _explain
from . import feature_influence as _features
from . import influence_by_target as _by_target
from . import recipe_influence as _recipes
from .counterfactual import exact_changes
from .estimate import (
    Estimate,
    check_smoothing,
    differentiable_stages,
    estimate,
    progress_of,
    reliable,
    smoothed,
)
from .later_faults import check_derivatives
from .question import Question, ask, kind_by_sample, query_of
from .samples import run_weights


class InfluenceMixin(InfluenceNet):
    """Adds :meth:`influence`, of what was trained on and of what was not."""

    addition_influence = _additions.addition_influence
    feature_influence = _features.feature_influence
    influence_by_target = _by_target.influence_by_target
    recipe_influence = _recipes.recipe_influence
    explain = _explain.explain

    @differentiating
    def influence(
        self,
        X_val: object,
        y_val: ArrayLike | None = None,
        *,
        sample_weight_val: ArrayLike | None = None,
        query: QueryLike = "loss",
        at: At = "final",
        last_epochs: int | None = None,
        aggregate: str | None = "mean",
        verify: int = 0,
        stage: str | int | None = None,
        smoothing: Smoothing = None,
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
        query : a named query or callable, default="loss"
            What is measured on each validation sample. ``"loss"``: the criterion;
            ``"error"``: 1 minus the probability that a classifier gives to the sample's
            label (with several labels the share expected to be wrong), for validation
            data that has wrong labels of its own;
            ``"balanced_loss"`` and ``"balanced_error"``: the same, with each class
            counting the same in the mean, whatever `class_weight` is; or
            ``query(y_pred, y_true)``, which takes the module's outputs and the targets
            (for a classifier the class indices) as tensors and returns a tensor of
            shape (batch,), differentiable in the outputs. Other measures, such as
            ``"auc"`` and the loss of the worst group, are in
            :mod:`skinfluence.queries`. Where one is a step function, a smooth
            surrogate is differentiated, and exact changes are those of the metric.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            The models on which the query is measured. ``"final"``: the trained model,
            as in the paper; ``"epochs"``: the mean over the models at all epoch ends;
            ``"path"``: epoch e weighted by 1/e; a sequence of epoch numbers (from 1),
            or a mapping of epoch number to weight (scaled to sum 1).
        last_epochs : int, optional
            Retrace only the last epochs and take what came before as given; 1 is the
            paper's approximation. By default all that was recorded.
        aggregate : "mean" or None, default="mean"
            None for the influence on each single validation sample.
        verify : int, default=0
            How many of the most harmful and of the most helpful samples by the
            estimate get their exact value instead, as
            :meth:`counterfactual_influence` computes it. Costs up to ``2 * verify``
            repetitions of the training, many of them at once where that is faster, and
            spread over processes inside ``joblib.parallel_config(n_jobs=...)``.
        stage : None, "pretraining" or int, default=None
            The training samples of which stage: of this estimator (None), of the
            estimator that it started from (`pretrained`; "pretraining" or 1), or of the
            one that many stages back. The whole run of every later stage is retraced.
        smoothing : None, float or "auto", default=None
            Width of the Gaussian over which kinks of activations and losses are
            smoothed on the way back, relative to the standard deviation, in each
            batch, of what goes into them; None or 0 for the exact derivative. A fixed
            width helps some runs and harms others. ``"auto"`` returns the exact
            derivative if its adjoint does not grow (by more than 5 %). If it does, the
            run is retraced with 0.4, 0.2, 0.1 and 0.05 too, which costs five times as
            much, for the result whose adjoint grows least; the exact one if every other
            grows by half more. See Notes.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_val), float64
            Estimated change of the query if the sample had been left out, in the
            query's unit; the exact change for those that were verified. **Negative:
            removing the sample lowers the loss; it is harmful.** Exactly 0 for a
            sample that no retraced step used. Rows are those of the X given to
            ``fit``, with `stage` to the ``fit`` of that stage.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        NotRecordedError
            If the run, or the part of it in question, was not recorded.
        TrainingDataChangedError
            If the training data is not what it was in ``fit``.
        IrreproducibleStepError
            If something other than the optimizer changed the model on the way.
        DivergedTrainingError
            If training diverged.
        UnsupportedModuleError
            If `smoothing` is set, and the module has kinks in activations that it
            computes again on the way back (``torch.utils.checkpoint``).
        ValueError
            If a parameter or the validation data is not as described.

        Warns
        -----
        InfluenceReliabilityWarning
            If the run amplifies small changes so much that its derivative may predict
            little. :meth:`check_influence` measures how good the estimate is.
        UserWarning
            If `smoothing` is a width, and there was no kink that it smooths.

        Notes
        -----
        The derivative of a ReLU network does not see that a change of the parameters
        moves units across their kinks: autograd's second derivative of ReLU is 0. With
        `smoothing` it is the density of a Gaussian around the kink, so that each step's
        gradient is differentiated as if the slopes in it were averaged over that
        Gaussian. What is returned is then not the derivative of this run, but of its
        neighbourhood; the run itself stays as it is, to the bit. Smoothed are relu,
        leaky_relu, relu6, hardtanh, hardswish, abs, and clamp with numbers as bounds,
        of torch's functions, methods and modules, and torch's L1, smooth L1, Huber,
        hinge embedding and margin ranking losses without weights. Other kinks, such as
        those of max-pooling, and what is inside TorchScript, ``torch.func.vmap`` or
        ``nn.RNN``, keep their exact derivative. The way back is not compiled then.

        The model is queried in evaluation mode. BatchNorm's running statistics are
        held at their values at the end of the queried epoch: how a sample changed them
        is not part of the estimate.

        With `stage`, the retrace continues through the earlier training: the adjoint of
        this run's first parameters, where they were taken over, is the adjoint of the
        last parameters of that run. This differentiates the multi-stage influence of
        [2]_ through both trainings. Steps do not change frozen parameters, but depend
        on them.

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
        mean = isinstance(aggregate, str) and aggregate == "mean"
        if aggregate is not None and not mean:
            raise ValueError(f"`aggregate` must be 'mean' or None, got {aggregate!r}.")
        if aggregate is None and sample_weight_val is not None:
            raise ValueError(
                "`sample_weight_val` must be None with aggregate=None: there is no "
                "mean to be weighted."
            )
        verify = check_integer("verify", verify)
        check_smoothing(smoothing)
        question = ask(
            self, X_val, y_val, sample_weight_val, query, at, last_epochs, stage
        )
        kind = Query if mean else SampleQueries
        if not mean and kind_by_sample(self, question) is not kind:
            raise ValueError(
                "`aggregate` must be 'mean' for a query of the whole validation set, "
                f"which single samples do not have, got None with query={query!r}."
            )
        found = smoothed(smoothing, partial(estimate, self, question, kind=kind))
        scores = reliable(*found)
        if verify:
            rows = _extremes(scores, verify)
            weights = run_weights(rows, question.used())
            scores[rows] = exact_changes(self, question, weights, kind=kind)
        return scores

    @differentiating
    def influence_by_epoch(
        self,
        X_val: object,
        y_val: ArrayLike | None = None,
        *,
        sample_weight_val: ArrayLike | None = None,
        query: QueryLike = "loss",
        at: At = "final",
        last_epochs: int | None = None,
        smoothing: Smoothing = None,
    ) -> np.ndarray:
        """Estimate in which epochs the influence of each sample arose.

        The retrace sums over the steps that used a sample; here it sums the steps of
        each epoch separately.

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
            The models on which the query is measured, as in :meth:`influence`.
        last_epochs : int, optional
            Retrace only the last epochs, as in :meth:`influence`.
        smoothing : None, float or "auto", default=None
            How wide kinks are smoothed on the way back, as in :meth:`influence`.

        Returns
        -------
        ndarray of shape (n_samples, n_epochs), float64
            Contribution of each epoch to the influence, in the query's unit: the
            estimated change had the sample been left out in that epoch alone. The rows
            sum to what :meth:`influence` returns. Epochs that were not retraced, and
            those after the last queried model, contribute exactly 0.

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
        check_smoothing(smoothing)
        question = ask(self, X_val, y_val, sample_weight_val, query, at, last_epochs)
        return reliable(*smoothed(smoothing, partial(_by_epoch, self, question)))


def _by_epoch(
    net: InfluenceNet, question: Question, kinks: SmoothedKinks | None
) -> Estimate:
    (run,), replica = differentiable_stages(net, question, kinks)
    query = query_of(replica, question)
    retraced = retrace(
        run.trajectory,
        run.step,
        query,
        run.at,
        first=run.first,
        back=run.back,
        by_epoch=True,
        progress=progress_of(net),
    )
    check_derivatives([run], query)
    return Estimate(retraced.scores.cpu().numpy(), retraced.growth)


def _extremes(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the samples with the k lowest and the k highest scores."""
    order = np.argsort(scores if scores.ndim == 1 else scores.mean(axis=1))
    return np.union1d(order[:k], order[-k:])
