"""A pool of candidates that were not trained on: checked, and their losses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from skorch.utils import is_dataset
from torch import Tensor

from ...influence import label_losses
from ...training import MicroBatch, Objective
from .._measures import has_probabilities
from .._net import InfluenceNet
from .._training_data import TrainingData, check_repeatable
from .._typing import MapDataset
from .._validation import check_data, check_inputs, explained


@dataclass(frozen=True, slots=True)
class Pool:
    """Candidates for training.

    Attributes
    ----------
    dataset : torch.utils.data.Dataset
        The candidates.
    fetch : callable
        ``fetch(rows, item_seed) -> (inputs, targets)``, as training loads them.
    weights : sequence of Tensor of shape (n,) or (n, n_classes)
        For each of the data sets that were trained on, the candidates' c_z beside its
        samples; without labels, that of every label times its probability.
    fit_params : sequence of dict
        Further arguments of the forward pass, for each of these data sets.
    """

    dataset: MapDataset
    fetch: Callable[[Tensor, int | None], tuple[Any, Any]]
    weights: Sequence[Tensor]
    fit_params: Sequence[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.dataset)

    def losses(self, objective: Objective, batch: MicroBatch) -> Tensor:
        """Return the c_z ℓ_z of some candidates, beside samples of a data set."""
        x, targets = self.fetch(batch.rows, batch.item_seed)
        inputs = x, self.fit_params[batch.data]
        weights = self.weights[batch.data][batch.rows]
        if weights.dim() == 1:
            losses = objective.criterion(objective.forward(inputs), targets, inputs)
            return weights.to(losses) * losses
        labels = torch.arange(weights.shape[1])[:, None].expand(-1, len(weights))
        losses = label_losses(objective, inputs, labels)
        return (weights.T.to(losses) * losses).sum(0)


def pool_of(net: InfluenceNet, X_pool: object, y_pool: ArrayLike | None) -> Pool:
    """Return candidates for the training of a fitted net, checked."""
    unlabelled = y_pool is None and not is_dataset(X_pool)
    if unlabelled:
        _check_guesses_labels(net)
    with explained("`X_pool` and `y_pool` must be as X and y in fit"):
        if unlabelled:
            X, labels = check_inputs(net, X_pool), None
        else:
            X, labels = check_data(net, X_pool, y_pool, reset=False)
    y = net._encode_targets(labels, reset=False, name="y_pool")
    if unlabelled:
        chances = torch.from_numpy(net.predict_proba(X_pool)).double()
        each = [chances * w for w in _label_weights(net, np.asarray(net.classes_))]
    elif labels is None and getattr(net, "class_weight", None) is not None:
        raise ValueError(
            "`y_pool` must be given to weight the classes, got None: with a Dataset "
            "pass its labels too."
        )
    else:
        each = _label_weights(net, labels)
    data = net._training_data(X, y)
    check_repeatable(data.dataset)
    return Pool(
        data.dataset,
        net._fetcher(data),
        [w.expand(len(data), *w.shape[1:]) for w in each],
        [trained.fit_params for trained in net.training_data_],
    )


def _check_guesses_labels(net: InfluenceNet) -> None:
    """Refuse candidates without labels where no probabilities can stand for them."""
    if not is_classifier(net):
        raise ValueError(
            f"`y_pool` must be given for {type(net).__name__}, which does not predict "
            "how probable each target is, got None."
        )
    if not has_probabilities(net):
        raise ValueError(
            "`y_pool` can be None only where the outputs are probabilities of classes: "
            f"those of {type(net).__name__} with its criterion and "
            "predict_nonlinearity are not known to be. Give labels."
        )
    if any(np.ndim(data.y) > 1 for data in net.training_data_):
        raise ValueError(
            "`y_pool` must be given to a classifier that was trained on several "
            "targets for each sample, got None."
        )


def _label_weights(net: InfluenceNet, labels: np.ndarray | None) -> list[Tensor]:
    """Return the c_z of samples with these labels beside each data set's samples.

    A candidate has their mean sample weight, times the weight of its own class.
    """
    by_class = getattr(net, "class_weight", None)
    equal = torch.ones(1, dtype=torch.float64)
    return [
        equal
        if by_class is None or labels is None or data.weights is None
        else _beside(net, data, data.weights, by_class, labels)
        for data in net.training_data_
    ]


def _beside(
    net: InfluenceNet,
    data: TrainingData,
    weights: Tensor,
    by_class: Mapping[Any, float] | str,
    labels: np.ndarray,
) -> Tensor:
    indexed = net.encodes_labels_ and not is_dataset(data.X)
    own = np.asarray(net.classes_[data.y] if indexed else data.y)
    factors = np.asarray(net._class_weights(own), dtype=np.float64)
    counted = factors > 0
    scale = (weights.numpy()[counted] / factors[counted]).mean()
    known = dict(zip(own.tolist(), factors, strict=True))
    if isinstance(by_class, Mapping):
        known = {**dict.fromkeys(labels.tolist(), 1.0), **by_class}
    missing = sorted({*labels.tolist()} - known.keys())
    if missing:
        raise ValueError(
            f"`class_weight` ({by_class!r}) must give a weight to every label of the "
            f"candidates, but no sample that was trained on has {missing}. Leave these "
            "candidates out, or fit with a mapping of labels to weights."
        )
    found = np.array([known[label] for label in labels.tolist()], dtype=np.float64)
    return torch.from_numpy(scale * found)
