"""A private copy of a net, on which its recorded steps are repeated."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from skorch.utils import to_tensor
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..influence import Query, WholeQuery
from ..training import (
    Address,
    Batch,
    JoiningStep,
    LiveState,
    MicroBatch,
    Objective,
    TrainingStep,
    all_seeded,
    in_precision,
    moment_names,
    passes_narrower,
    seeded,
    twice_differentiable,
    widen,
    working_dtype,
)
from ..trajectory import Trajectory
from ._copies import deep_copy
from ._criteria import losses_by_label
from ._losses import outputs_of
from ._measures import measure_of, metric_of, queried_data
from ._net import InfluenceNet, net_modules
from ._taken import taken
from ._typing import MapDataset, QueryLike
from ._validation import validation_data


class Replica:
    """A private copy of a net, which can be changed without changing the net.

    Attributes
    ----------
    net : InfluenceNet
        The copy.
    objective : Objective
        The training objective, on the copy's modules.

    Parameters
    ----------
    net : InfluenceNet
        The net.
    """

    def __init__(self, net: InfluenceNet) -> None:
        names = net._modules + net._criteria + net._optimizers
        # One deep copy for all, so that the optimizer's parameters are the modules'.
        parts = deep_copy({f"{name}_": getattr(net, f"{name}_") for name in names})
        self._original = net
        self.net: Any = object.__new__(type(net))
        self.net.__dict__.update(net.__dict__, **parts)
        self.objective = objective_of(self.net)

    def _widened(self, dtype: torch.dtype) -> "Replica":
        """Return a copy that computes in a wider dtype, on data rounded as here."""
        wide = Replica(self._original)
        for module in net_modules(wide.net):
            widen([*module.parameters(), *module.buffers()], dtype)
        wide.net.dtype_ = torch.promote_types(self.net.dtype_ or dtype, dtype)
        objective = in_precision(wide.objective, dtype)
        rounded = partial(_rounded, dtype=dtype)

        def forward(inputs: Any) -> Any:
            return objective.forward(rounded(inputs, self.net.dtype_))

        def fetch(batch: MicroBatch) -> Batch:
            inputs, targets, weights = objective.fetch(batch)
            return inputs, rounded(targets, output_dtype), weights

        output_dtype = self._output_dtype()
        wide.objective = replace(objective, forward=forward, fetch=fetch)
        return wide

    @torch.no_grad()
    def _output_dtype(self) -> torch.dtype | None:
        """Return the dtype of the outputs, which targets are cast to."""
        self.objective.train(False)
        inputs, _, _ = self.objective.fetch(MicroBatch(0, torch.arange(1)))
        outputs = self.objective.forward(inputs)
        return outputs.dtype if isinstance(outputs, Tensor) else None

    def differentiable(
        self, trajectory: Trajectory, step: TrainingStep, extra: Sequence[Address] = ()
    ) -> tuple[TrainingStep, "Replica"]:
        """Return the run's step to differentiate, and its copy of the net.

        They are this copy's own, or, if a gradient passes anything narrower, those of a
        copy in the widest dtype of the trained parameters, at least single precision:
        half precision would round the adjoint.
        """
        dtype = working_dtype(self.objective.modules, step.live.parameters)
        if dtype is None or not self._passes_narrower(trajectory, dtype):
            return step, self
        wide = self._widened(dtype)
        return TrainingStep(wide.objective, wide._live(trajectory, extra)), wide

    def _passes_narrower(self, trajectory: Trajectory, dtype: torch.dtype) -> bool:
        """Whether a step's gradient passes anything narrower than a dtype."""
        batch, *_ = trajectory.records[-1].micro_batches()
        self.objective.train(True)
        with seeded(batch.seed, torch.device(self.net.device)):
            losses, _ = self.objective.batch_losses(batch)
        return passes_narrower(losses, dtype)

    def step(
        self, trajectory: Trajectory, extra: Sequence[Address] = ()
    ) -> TrainingStep:
        """Return the training step of a run, unchecked.

        The parameters at the `extra` addresses, which were not trained, follow the
        trained ones in its state.
        """
        live = self._live(trajectory, extra)
        # States with and without what stayed are not compiled for at once.
        if extra or not self.net.compile:
            return TrainingStep(self.objective, live)
        largest = max(max(r.sizes or [len(r.rows)]) for r in trajectory.records)
        compiled = self._original._compiled_functions()
        n_steps = trajectory.n_steps
        return JoiningStep(self.objective, live, largest, compiled, n_steps)

    def _live(self, trajectory: Trajectory, extra: Sequence[Address]) -> LiveState:
        optimizer = self.net.optimizer_
        groups = optimizer.param_groups
        stayed = [groups[g]["params"][k].detach().clone() for g, k in extra]
        modules = self.objective.modules
        return LiveState(
            optimizer,
            [*trajectory.addresses, *extra],
            [buffer for module in modules for buffer in module.buffers()],
            moment_names(optimizer),
            [*trajectory.untrained, *stayed],
        )

    def fetcher(self) -> Callable[[MicroBatch], Batch]:
        """Return a function that fetches micro-batches."""
        return fetcher_of(self.net)

    def mean(
        self,
        query: QueryLike,
        dataset: MapDataset,
        weights: np.ndarray | None,
        kind: Callable[..., Query] = Query,
    ) -> Query:
        """Return the mean of a measure over a dataset, weighted."""
        return _mean(self.net, self.objective, query, dataset, weights, kind)


def _rounded(data: Any, to: torch.dtype | None, dtype: torch.dtype) -> Any:
    """Return data whose floating-point numbers are rounded, in a wider dtype."""

    def rounded(values: Tensor | np.ndarray) -> Tensor:
        values = torch.as_tensor(values)
        if to is None or not values.is_floating_point():
            return values
        return values.to(to).to(dtype)

    return tree_map_only((Tensor, np.ndarray), rounded, data)


def mean_loss(
    net: InfluenceNet,
    objective: Objective,
    X_val: object,
    y_val: ArrayLike | None,
    sample_weight_val: ArrayLike | None,
) -> Query:
    """Return the mean loss of a net's copy over validation data, which is checked."""
    dataset, weights = validation_data(
        net, X_val, y_val, sample_weight_val, balanced=False
    )
    return _mean(net, objective, "loss", dataset, weights, Query)


def query_value(
    net: InfluenceNet,
    X_val: object,
    y_val: ArrayLike | None,
    sample_weight_val: ArrayLike | None,
    query: QueryLike,
) -> float:
    """Return a query of a fitted net's final model."""
    dataset, weights = queried_data(net, X_val, y_val, sample_weight_val, query)
    replica = Replica(net)
    replica.objective.train(False)
    with torch.no_grad():
        return float(replica.mean(query, dataset, weights).here())


def _mean(
    net: InfluenceNet,
    objective: Objective,
    query: QueryLike,
    dataset: MapDataset,
    weights: np.ndarray | None,
    kind: Callable[..., Query],
) -> Query:
    shares = np.ones(len(dataset)) if weights is None else weights
    shares = shares / shares.sum()
    batches: list[tuple[Any, Any, Tensor]] = []
    start = 0
    # The query casts them to the dtype of its values.
    dtype = torch.promote_types(net.dtype_ or torch.float32, torch.float32)
    with all_seeded(0):  # a Dataset may draw
        for inputs, targets in net.get_iterator(dataset, training=False):
            part = torch.as_tensor(shares[start : start + len(targets)])
            part = part.to(net.device, dtype)
            batches.append(((inputs, {}), targets, part))
            start += len(targets)
    if start != len(dataset):
        raise ValueError(
            "`iterator_valid` must load every row of the data once, in order, got "
            f"{start} of {len(dataset)} rows from {net.iterator_valid}."
        )
    kernels = twice_differentiable(objective.modules)
    metric = metric_of(net, query)
    if metric is None:
        return kind(objective, kernels(measure_of(net, query)), batches)
    each = [to_tensor(targets, device=net.device) for _, targets, _ in batches]
    targets = torch.cat(each)
    metric.check(targets)
    measure = kernels(taken(net, metric.takes))
    return WholeQuery(objective, measure, batches, targets, metric.value, metric.smooth)


def objective_of(net: InfluenceNet) -> Objective:
    """Return what a net is trained to minimize, on its own modules."""
    fetch, modules = fetcher_of(net), net_modules(net)
    kernels = twice_differentiable(modules)
    return Objective(
        modules,
        kernels(net._outputs),
        kernels(net._step_losses),
        fetch,
        by_label_of(net),
        None if has_own_losses(net) else kernels(net._loss_parts),
        # What else `forward` is given is the same whatever rows are fetched.
        all(net._fetches_rows(d) and not d.fit_params for d in net.training_data_),
    )


def has_own_losses(net: InfluenceNet) -> bool:
    """Whether a net's losses are those of a `get_losses` of the user's own."""
    return type(net).get_losses is not InfluenceNet.get_losses


def by_label_of(net: InfluenceNet) -> Callable[[Any], Tensor | None] | None:
    """Return what gives a net's losses under every label; None for its own losses."""
    if has_own_losses(net):
        return None
    return lambda returned: losses_by_label(net.criterion_, outputs_of(returned))


def fetcher_of(net: InfluenceNet) -> Callable[[MicroBatch], Batch]:
    """Return a function that fetches micro-batches of a net's data."""
    fetchers = [net._fetcher(data) for data in net.training_data_]

    def fetch(batch: MicroBatch) -> Batch:
        data = net.training_data_[batch.data]
        rows = batch.rows - data.offset if data.offset else batch.rows
        x, y = fetchers[batch.data](rows, batch.item_seed)
        weights = None if data.weights is None else data.weights[rows]
        return (x, data.fit_params), y, weights

    return fetch
