"""What the labels of a classifier are: one of each sample, or several."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from skorch.utils import to_numpy
from torch import Tensor, nn

from ..influence import as_labels, toggled
from ._criteria import ELEMENTWISE, kinds_of, takes_class_indices
from ._net import InfluenceNet


class Labels(Protocol):
    """What training, questions and predictions ask of a classifier's labels.

    There is a change for each of ``classes_``: to that label, or of it.
    """

    def decoded(self, targets: np.ndarray) -> np.ndarray:
        """Return what a user calls the labels that are trained on."""

    def predicted(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the labels of these probabilities, as they are trained on."""

    def errors(self, probabilities: Tensor, targets: Tensor) -> Tensor:
        """Return how probable a wrong label is of each sample, (batch,)."""

    def changed(self, targets: Tensor, changes: Sequence[int]) -> Tensor:
        """Return the labels of a batch after each of some changes, in a stack."""

    def after(self, rows: np.ndarray, change: int) -> np.ndarray:
        """Return what a user calls the labels of training samples after a change."""


class OneLabel:
    """A label for each sample, or for each place of a sample, as a class index.

    Parameters
    ----------
    net : InfluenceNet
        The classifier.
    """

    def __init__(self, net: InfluenceNet) -> None:
        self.net = net

    @property
    def classes(self) -> np.ndarray:
        """The labels, which need not be known where a Dataset holds them."""
        return np.asarray(self.net.classes_)

    def decoded(self, targets: np.ndarray) -> np.ndarray:
        """Return the classes; what stands for none stays."""
        codes = targets.astype(np.intp)
        found = np.asarray(self.classes[np.maximum(codes, 0)])
        return np.where(codes < 0, codes, found) if (codes < 0).any() else found

    def predicted(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the most probable classes."""
        return np.asarray(probabilities.argmax(axis=1))

    def errors(self, probabilities: Tensor, targets: Tensor) -> Tensor:
        """Return 1 minus the probability of the sample's label."""
        if targets.numel() != len(targets):
            raise ValueError(
                "`query` can be 'error' only where each sample has one label, got "
                f"targets of shape {tuple(targets.shape)}. Use 'loss', or a callable."
            )
        # skorch turns outputs of shape (n, 1) into (n, 2, 1).
        found = probabilities.flatten(1).gather(1, targets.long().reshape(-1, 1))
        return 1 - found.squeeze(1)

    def changed(self, targets: Tensor, changes: Sequence[int]) -> Tensor:
        """Return the same class for all."""
        return as_labels(targets, changes)

    def after(self, rows: np.ndarray, change: int) -> np.ndarray:
        """Return the class, for all of them."""
        if getattr(self.net, "target_shape_", None):
            raise ValueError(
                "`labels` must be given for each run where a sample has a sequence of "
                "labels, got 'all'."
            )
        return np.asarray(self.classes[change])


class SeveralLabels:
    """Any number of labels for each sample: a row of an indicator matrix.

    Parameters
    ----------
    net : InfluenceNet
        The classifier.
    """

    def __init__(self, net: InfluenceNet) -> None:
        self.net = net

    def decoded(self, targets: np.ndarray) -> np.ndarray:
        """Return the indicators as integers."""
        return targets.astype(np.int64)

    def predicted(self, probabilities: np.ndarray) -> np.ndarray:
        """Return which labels are more probable than not."""
        return (probabilities > 0.5).astype(np.int64)

    def errors(self, probabilities: Tensor, targets: Tensor) -> Tensor:
        """Return the share of wrong labels that is expected."""
        return torch.where(targets > 0, 1 - probabilities, probabilities).mean(1)

    def changed(self, targets: Tensor, changes: Sequence[int]) -> Tensor:
        """Return the rows with one indicator toggled."""
        return toggled(targets, changes)

    def after(self, rows: np.ndarray, change: int) -> np.ndarray:
        """Return their rows of the matrix with one indicator toggled."""
        targets = fitted_targets(self.net)
        assert targets is not None
        (found,) = toggled(torch.from_numpy(targets[rows]), [change])
        return self.decoded(found.numpy())


def is_multilabel(net: object) -> bool:
    """Return whether an estimator was fitted on an indicator matrix."""
    return bool(getattr(net, "multilabel_", False))


def labels_of(net: InfluenceNet) -> Labels:
    """Return what the labels of a fitted classifier are."""
    return SeveralLabels(net) if is_multilabel(net) else OneLabel(net)


def fitted_targets(net: InfluenceNet) -> np.ndarray | None:
    """Return what all samples were trained on; None where a Dataset held it."""
    # Data that was trained on in several calls is there once.
    parts = {data.offset: data.y for data in net.training_data_}
    if any(y is None for y in parts.values()):
        return None
    return np.concatenate([to_numpy(part) for part in parts.values()])


def has_columns(y: Any) -> bool:
    """Return whether targets are a table of several columns."""
    # NumPy does not see the shape of a sparse matrix.
    shape = y.shape if hasattr(y, "shape") else np.shape(y)
    return len(shape) == 2 and shape[1] > 1


def are_several_labels(net: InfluenceNet, y: np.ndarray) -> bool:
    """Return whether a classifier is to be fitted on rows of several labels."""
    several = has_columns(y) and not takes_class_indices(net.criterion)
    return several and not len(_no_indicators(y))


def check_sequences(net: InfluenceNet, y: np.ndarray) -> None:
    """Refuse rows of labels that are no sequences, as of tokens or pixels.

    These have outputs of shape (n, n_classes, length).
    """
    kind, *_ = kinds_of(net.criterion)
    if y.ndim > 1 and (isinstance(net.module, str) or issubclass(kind, ELEMENTWISE)):
        raise ValueError(
            "`y` must hold one label for each sample, a 1d array, or be an indicator "
            "matrix of 0 and 1 with a criterion for several labels ('auto', or "
            f"nn.BCEWithLogitsLoss), got an array of shape {y.shape} instead, with "
            f"criterion {net.criterion!r:.200}. Sequences of labels need a module of "
            "your own and nn.CrossEntropyLoss."
        )
    if y.ndim == 1 or y.dtype.kind not in "if":
        return
    # Another function than torch's class may ignore what cannot be seen here.
    below = y[(y < 0) & ~left_out(net, y)]
    if len(below):
        raise ValueError(
            "`y` must number the classes of a sequence from 0, or give them words, got "
            f"{below.tolist()[0]!r:.200}. What stands for no label is named by "
            "`criterion__ignore_index`, by default -100."
        )


def left_out(net: InfluenceNet, y: np.ndarray) -> np.ndarray:
    """Return which labels of sequences stand for none, such as -100, as a mask."""
    if y.ndim == 1 or y.dtype.kind not in "if":
        return np.zeros(y.shape, dtype=bool)
    options = net.get_params_for("criterion")
    given = getattr(net.criterion, "ignore_index", nn.CrossEntropyLoss().ignore_index)
    index = options.get("ignore_index", given)
    # From 0 on it is the index of a class.
    return np.asarray((y == index) & (index < 0))


def _no_indicators(y: np.ndarray) -> np.ndarray:
    """Return the values that are neither 0 nor 1."""
    if y.dtype.kind not in "biufO":
        return y.ravel()
    return np.asarray(y[(y != 0) & (y != 1)])


def indicators(y: np.ndarray, name: str) -> np.ndarray:
    """Return an indicator matrix as what a criterion takes."""
    wrong = _no_indicators(y)
    if len(wrong):
        raise ValueError(
            f"`{name}` must be an indicator matrix as in fit, 1 where a sample has the "
            f"label and 0 elsewhere, got {wrong.tolist()[0]!r:.200}."
        )
    return np.ascontiguousarray(y, dtype=np.float32)


def check_one_label(y: np.ndarray, name: str) -> None:
    """Refuse what weights classes where a sample has a sequence of labels."""
    if y.ndim > 1:
        raise ValueError(
            f"{name} needs one label for each sample, got targets of shape {y.shape}. "
            "Weight the classes by the criterion (criterion__weight)."
        )


def check_target_shape(net: InfluenceNet, y: np.ndarray, name: str) -> None:
    """Refuse targets of another form than in fit, where that is known."""
    expected, got = getattr(net, "target_shape_", None), y.shape[1:]
    if expected is None or got == tuple(expected):
        return
    several = " Its y was an indicator matrix, a column for each label."
    raise ValueError(
        f"`{name}` must have targets of shape {tuple(expected)} as in fit, got {got}."
        f"{several if is_multilabel(net) else ''}"
    )
