"""The influence of other labels and targets of the training samples."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import is_classifier, is_regressor
from torch import Tensor

from ...influence import LabelStep, TargetStep
from ...training import SmoothedKinks, differentiating
from .._criteria import losses_by_label
from .._labels import is_multilabel, labels_of
from .._net import InfluenceNet
from .._replica import by_label_of, fetcher_of
from .._typing import At, QueryLike, Smoothing
from .estimate import Estimate, check_smoothing, estimate, reliable, smoothed
from .question import Question, ask

# Memory for the outputs of a batch, repeated for every label.
_LABEL_BYTES = 2**25


class _Elsewhere:
    """A method that only the other kind of estimator has."""

    def __init__(self, message: str) -> None:
        self.message = message

    def __get__(self, estimator: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__} {self.message}")


class LabelInfluenceMixin(InfluenceNet):
    """Adds :meth:`label_influence` to a recording classifier."""

    target_influence = _Elsewhere(
        "has no `target_influence`: its targets are labels, in which there is no "
        "derivative. Use `label_influence`."
    )

    @differentiating
    def label_influence(
        self,
        X_val: object,
        y_val: ArrayLike | None = None,
        *,
        sample_weight_val: ArrayLike | None = None,
        query: QueryLike = "loss",
        at: At = "final",
        last_epochs: int | None = None,
        stage: str | int | None = None,
        smoothing: Smoothing = None,
    ) -> np.ndarray:
        r"""Estimate how the validation loss would change under other labels.

        The counterpart of :meth:`influence`, which leaves samples out; from one
        retrace too:

        .. math:: \text{influence}_{ic} = ∂Q/∂w_{ic},

        where in every batch with sample i :math:`ℓ_i(y_i)` is replaced by
        :math:`(1 - w_{ic}) ℓ_i(y_i) + w_{ic} ℓ_i(c)`. That is the effect of label c
        along the run, minus that of the sample's own label [1]_. Where y is an
        indicator matrix, c stands for the sample's labels with label c toggled: given
        if it was not, and taken away if it was.

        Parameters
        ----------
        X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
            Validation samples.
        y_val : array-like of shape (n_val,) or (n_val, n_labels)
            Their labels; None where a Dataset holds them.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        query : a named query or callable, default="loss"
            As in :meth:`influence`.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            As in :meth:`influence`.
        last_epochs : int, optional
            Retrace only the last epochs and take the earlier ones as given. By
            default all that was recorded.
        stage : None, "pretraining" or int, default=None
            The labels of which stage, as in :meth:`influence`; that of a classifier.
        smoothing : None, float or "auto", default=None
            How wide kinks are smoothed on the way back, as in :meth:`influence`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels), float64
            Estimated change of the query if the sample had carried the label, in the
            query's unit, with a column for each of ``classes_``, with `stage` that
            stage's. **Negative: with that label the loss would be lower.** Exactly 0 in
            the column of the sample's own label, and for a sample that no retraced step
            used. Of an indicator matrix: the change if this one label had been toggled;
            **negative: it is wrong there**, by the validation data.

        Raises
        ------
        ValueError
            If the training targets are not one label for each sample, nor rows of an
            indicator matrix, or there are fewer than two classes. The other errors are
            those of :meth:`influence`.

        Warns
        -----
        InfluenceReliabilityWarning
            As in :meth:`influence`; :meth:`counterfactual_influence` with ``labels``
            computes the exact changes.

        See Also
        --------
        InfluenceCleaner : Corrects labels by this with ``action="relabel"``.

        References
        ----------
        .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
           with SGD", NeurIPS 2019, equation (4) and Algorithm 2.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
        >>> true = y[3]
        >>> y[3] = (true + 1) % 3
        >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
        >>> changes = clf.label_influence(X_val, y_val)
        >>> changes.shape
        (112, 3)
        >>> bool(clf.classes_[changes[3].argmin()] == true)
        True
        """
        check_smoothing(smoothing)
        question = ask(
            self, X_val, y_val, sample_weight_val, query, at, last_epochs, stage
        )
        owner = question.owner(self)
        _check_labels(owner)
        labels = labels_of(owner)
        parts = [partial(labels.changed, changes=part) for part in _label_parts(owner)]
        return reliable(*smoothed(smoothing, partial(_all, self, question, parts)))


class TargetInfluenceMixin(InfluenceNet):
    """Adds :meth:`target_influence` to a recording regressor."""

    label_influence = _Elsewhere(
        "has no `label_influence`: its targets are numbers. Use `target_influence`, "
        "the derivative in them."
    )

    @differentiating
    def target_influence(
        self,
        X_val: object,
        y_val: ArrayLike | None = None,
        *,
        sample_weight_val: ArrayLike | None = None,
        query: QueryLike = "loss",
        at: At = "final",
        last_epochs: int | None = None,
        stage: str | int | None = None,
        smoothing: Smoothing = None,
    ) -> np.ndarray:
        r"""Differentiate the validation loss in the training targets.

        The derivative :math:`∂Q/∂y_i` of the query through the whole recorded run, from
        one retrace, as :meth:`influence` [1]_.

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
            Retrace only the last epochs and take the earlier ones as given. By
            default all that was recorded.
        stage : None, "pretraining" or int, default=None
            The targets of which stage, as in :meth:`influence`; that of a regressor.
        smoothing : None, float or "auto", default=None
            How wide kinks are smoothed on the way back, as in :meth:`influence`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs), float64
            Derivatives, in the query's unit per unit of the target. **Negative: a
            higher target would lower the loss.** Exactly 0 for a sample that no
            retraced step used.

        Warns
        -----
        InfluenceReliabilityWarning
            As in :meth:`influence`, and its errors are the same.

        References
        ----------
        .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
           with SGD", NeurIPS 2019, Algorithm 2.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(scale(X), scale(y), random_state=0)
        >>> y[3] += 10
        >>> reg = SGDInfluenceRegressor("linear", random_state=0).fit(X, y)
        >>> slopes = reg.target_influence(X_val, y_val)
        >>> slopes.shape
        (331,)
        >>> bool(slopes[3] > 0)  # it should be lower
        True
        """
        check_smoothing(smoothing)
        question = ask(
            self, X_val, y_val, sample_weight_val, query, at, last_epochs, stage
        )
        _check_targets(question.owner(self))
        targets = partial(estimate, self, question, step_kind=TargetStep)
        return reliable(*smoothed(smoothing, targets))


def _all(
    net: InfluenceNet,
    question: Question,
    parts: Sequence[Callable[[Tensor], Tensor]],
    kinks: SmoothedKinks | None,
) -> Estimate:
    """Return the influence of all labels."""
    estimates = [
        estimate(net, question, kinks, step_kind=partial(LabelStep, changed=changed))
        for changed in parts
    ]
    scores = np.concatenate([each.scores for each in estimates], axis=1)
    return Estimate(scores, max(each.growth for each in estimates))


def _label_parts(net: InfluenceNet) -> Iterator[list[int]]:
    """Split the labels so that a batch with every label of a part fits in memory."""
    assert net.trajectory_ is not None
    largest = max(len(record.rows) for record in net.trajectory_.records)
    n_labels = len(net.classes_)
    outputs = torch.zeros(1, n_labels, device=net.device)
    at_once = losses_by_label(net.criterion_, outputs) is not None
    # A loss for each label, or the outputs again for each.
    each = 1 if at_once and by_label_of(net) is not None else n_labels
    size = max(1, _LABEL_BYTES // (largest * each * torch.float64.itemsize))
    labels = range(n_labels)
    return ([*labels[start : start + size]] for start in labels[::size])


def _check_labels(net: InfluenceNet) -> None:
    """Refuse targets that are no labels of a sample as a whole."""
    _check_kind(net, is_classifier(net), "classifier")
    if is_multilabel(net):
        return
    assert net.trajectory_ is not None
    record = net.trajectory_.records[0]
    _, targets, _ = fetcher_of(net)(record.micro_batches()[0])
    if getattr(targets, "ndim", 0) != 1:
        raise ValueError(
            "The classifier must be trained on one label for each sample to ask "
            f"for others, got targets of shape {tuple(np.shape(targets))}."
        )
    if len(net.classes_) < 2:
        raise ValueError(
            "There must be at least two classes to ask for other labels, got "
            f"{net.classes_.tolist()}."
        )


def _check_targets(net: InfluenceNet) -> None:
    """Refuse targets that are labels."""
    _check_kind(net, is_regressor(net), "regressor")


def _check_kind(net: InfluenceNet, holds: bool, kind: str) -> None:
    if not holds:
        raise ValueError(
            f"`stage` must be that of a {kind}, got that of a {type(net).__name__}. "
            "Use counterfactual_influence with `labels`."
        )
