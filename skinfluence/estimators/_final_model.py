"""The trained model and its training data, for scorers that need no trajectory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted
from skorch.net import NeuralNet
from torch import Tensor

from ..exceptions import DivergedTrainingError, NotRecordedError
from ..influence import Query
from ..training import Batch, MicroBatch, Objective
from ._net import InfluenceNet
from ._replica import Replica, mean_loss
from ._training_data import check_unchanged

# How many samples' losses are computed at once.
_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class FinalModel:
    r"""The trained model of one of the estimators, on a copy, in evaluation mode.

    The training objective is

    .. math:: L(θ) = \frac1n \sum_{i=1}^n c_i ℓ_i(θ)
       + \frac12 \sum_k α_k \|θ_k\|^2 .

    Parameters
    ----------
    objective : Objective
        Computes the losses, on the copy of the modules.
    parameters : list of Tensor
        The trained parameters of the copy.
    weight_decay : list of float
        The optimizer's L2 penalty :math:`α_k` on each of them; 0 for a decay that is
        decoupled from the loss, as AdamW's.
    training_time : float or None
        For SGD the sum of the learning rates of all steps, with momentum accounted
        for; without a record as many times the last one. None for optimizers that
        scale the gradient.
    n_samples : int
        Number of rows of the training data.
    trained : Tensor of shape (n,), int64
        The rows that training used.
    fetch : callable
        ``fetch(rows) -> (inputs, targets, weights)`` of rows of one batch.
    batches : list of Tensor
        The rows that training used, in parts that are computed at once.
    net : object
        The copy.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.estimators import final_model
    >>> X, y = load_iris(return_X_y=True)
    >>> model = final_model(SGDInfluenceClassifier(random_state=0).fit(scale(X), y))
    >>> inputs, targets, weights = model.fetch(model.trained[:3])
    >>> losses = model.objective.criterion(
    ...     model.objective.forward(inputs), targets, inputs
    ... )
    >>> losses.shape
    torch.Size([3])
    """

    objective: Objective
    parameters: list[Tensor]
    weight_decay: list[float]
    training_time: float | None
    n_samples: int
    trained: Tensor
    fetch: Callable[[Tensor], Batch]
    batches: list[Tensor]
    net: NeuralNet

    def query(
        self,
        X_val: object,
        y_val: ArrayLike | None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Query:
        """Return the mean loss over validation data.

        Parameters
        ----------
        X_val, y_val, sample_weight_val : object
            The data, as for the estimator's ``influence``.

        Returns
        -------
        Query
            On the copy of the net.
        """
        return mean_loss(self.net, self.objective, X_val, y_val, sample_weight_val)


def final_model(net: InfluenceNet) -> FinalModel:
    """Return the trained model of an estimator, with the data that it was trained on.

    Parameters
    ----------
    net : SGDInfluenceClassifier or SGDInfluenceRegressor
        A fitted estimator; it need not have recorded its training.

    Returns
    -------
    FinalModel
        On a copy: changing it leaves the estimator as it is.

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    NotRecordedError
        If rows were split off and it was not recorded which.
    TrainingDataChangedError
        If the training data is not what it was in ``fit``.
    DivergedTrainingError
        If a parameter is not finite.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.estimators import final_model
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(scale(X), y)
    >>> sum(parameter.numel() for parameter in final_model(clf).parameters)
    803
    """
    check_is_fitted(net, "training_data_")
    trained = list(_trained_rows(net))
    if not trained:
        raise NotRecordedError("The run must have at least one step, got 0.")
    if net.trajectory_ is not None:
        check_unchanged(net.training_data_)
    replica = Replica(net)
    objective = replica.objective
    objective.train(False)
    parameters = _trained_parameters(objective)
    ends = [data.offset + len(data) for data in net.training_data_]
    return FinalModel(
        objective,
        parameters,
        _weight_decay(replica.net, parameters),
        _training_time(net),
        max(ends) if net.trajectory_ is not None else len(net.training_data_[-1]),
        torch.cat(trained),
        _fetcher(objective, [data.offset for data in net.training_data_]),
        [part for rows in trained for part in rows.split(_AT_ONCE)],
        replica.net,
    )


def _trained_parameters(objective: Objective) -> list[Tensor]:
    shared = (p for module in objective.modules for p in module.parameters())
    # Modules may share some: each only once.
    parameters: list[Tensor] = [p for p in dict.fromkeys(shared) if p.requires_grad]
    if not all(parameter.isfinite().all() for parameter in parameters):
        raise DivergedTrainingError(
            "The trained parameters must be finite, but the training run diverged. "
            "Lower `lr`, scale X and y, or clip the gradients."
        )
    return parameters


def _fetcher(objective: Objective, offsets: Sequence[int]) -> Callable[[Tensor], Batch]:
    """Return a function that fetches rows of data sets that begin at the offsets."""
    numbers = {offset: number for number, offset in enumerate(offsets)}

    def fetch(rows: Tensor) -> Batch:
        offset = max(offset for offset in numbers if offset <= int(rows[0]))
        return objective.fetch(MicroBatch(numbers[offset], rows))

    return fetch


def _trained_rows(net: InfluenceNet) -> Iterator[Tensor]:
    """Yield the rows of each data set that training used."""
    trajectory = net.trajectory_
    if trajectory is None:
        if net.train_split is not None:
            raise NotRecordedError(
                "`record` must not be None where `train_split` takes rows out of the "
                "training: which these were was not recorded. Fit with record='all'."
            )
        yield torch.arange(len(net.training_data_[-1]))
        return
    used = torch.zeros(trajectory.n_samples, dtype=torch.bool)
    for record in trajectory.records:
        used[record.rows] = True
    for data in {data.offset: data for data in net.training_data_}.values():
        rows = data.offset + used[data.offset : data.offset + len(data)].nonzero()[:, 0]
        if len(rows):
            yield rows


def _training_time(net: InfluenceNet) -> float | None:
    """Return the sum of SGD's effective learning rates over the steps."""
    if type(net.optimizer_) is not torch.optim.SGD:
        return None
    if net.trajectory_ is None:
        return float(net.n_steps_ * _mean_rate(net.optimizer_.param_groups))
    records = net.trajectory_.records
    return float(sum(_mean_rate(record.hyperparameters) for record in records))


def _mean_rate(groups: Sequence[Mapping[str, Any]]) -> float:
    return sum(map(effective_rate, groups)) / len(groups)


def effective_rate(group: Mapping[str, Any]) -> float:
    """Return SGD's learning rate in a parameter group, with momentum accounted for."""
    momentum = float(group["momentum"])
    scale = (1 - float(group["dampening"])) / (1 - momentum) if momentum else 1.0
    return float(group["lr"]) * scale


def _weight_decay(net: InfluenceNet, parameters: list[Tensor]) -> list[float]:
    """Return the L2 penalty on each of the parameters."""
    penalties: dict[int, float] = {}
    for name in net._optimizers:
        optimizer = getattr(net, f"{name}_")
        for group in optimizer.param_groups:
            decoupled = isinstance(optimizer, torch.optim.AdamW) or group.get(
                "decoupled_weight_decay", False
            )
            penalty = 0.0 if decoupled else float(group.get("weight_decay", 0.0))
            penalties.update((id(parameter), penalty) for parameter in group["params"])
    return [penalties.get(id(parameter), 0.0) for parameter in parameters]
