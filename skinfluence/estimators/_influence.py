"""The influence of the training samples, asked of a fitted estimator."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from skorch.net import NeuralNet
from skorch.utils import to_tensor
from torch import Tensor
from torch.utils.data import Dataset, Subset
from tqdm.auto import tqdm

from .._typing import StepLike
from ..exceptions import (
    DivergedTrainingError,
    IrreproducibleStepError,
    NotRecordedError,
    TrainingDataChangedError,
)
from ..influence import Query, SampleQueries, retrace
from ..training import (
    Batch,
    LiveState,
    Objective,
    TrainingStep,
    moment_names,
)
from ..trajectory import Trajectory
from ._data import fingerprint
from ._epochs import first_step, state_weights
from ._run import net_buffers, net_modules
from ._validation import check_data, check_weights

# How much the retrace of many queries at once may take for them.
_QUERY_BYTES = 2**29


class InfluenceMixin(NeuralNet):
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
        query : "loss" or callable, default="loss"
            What is measured on each validation sample: the criterion, or
            ``query(y_pred, y_true)``, which takes the module's outputs and the
            targets (for a classifier the class indices) as tensors and returns a
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

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_val), float64
            Estimated change of the query if the sample had been absent, in the
            query's unit. **Negative: removing the sample lowers the loss; it is
            harmful.** Exactly 0 for a sample that no retraced step used. Rows are
            those of the X given to ``fit``.

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

        Notes
        -----
        The model is queried in evaluation mode. BatchNorm's running statistics are
        held at the values that they had at the queried epoch's end: the way in which
        a sample changed them is not part of the estimate.

        References
        ----------
        .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
           with SGD", NeurIPS 2019, equation (4) and Algorithm 2.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import train_test_split
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(X, y, random_state=0)
        >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
        >>> scores = clf.influence(X_val, y_val)
        >>> scores.shape
        (112,)
        >>> most_harmful = scores.argsort()[:10]
        """
        trajectory = self._retraceable()
        weights = state_weights(trajectory, at)
        first = first_step(trajectory, last_epochs)
        if max(weights) <= first:
            raise ValueError(
                "`at` must name an epoch among those retraced, got only epochs before "
                f"them (`last_epochs`={last_epochs}, `record`={self.record!r})."
            )
        if aggregate not in ("mean", None):
            raise ValueError(f"`aggregate` must be 'mean' or None, got {aggregate!r}.")
        if query != "loss" and not callable(query):
            raise ValueError(f"`query` must be 'loss' or a callable, got {query!r}.")
        dataset, weights_val = self._validation_data(X_val, y_val, sample_weight_val)
        if aggregate is None and weights_val is not None:
            raise ValueError(
                "`sample_weight_val` must be None with aggregate=None: there is no "
                "mean to be weighted."
            )
        self._check_unbroken(trajectory, first, max(weights))
        self._check_data_unchanged()
        step, worker = self._training_step(trajectory)
        _check_repeats(trajectory, step, max(weights))
        ask = partial(worker._query, step.objective, query, dataset)
        run = partial(
            retrace, trajectory, step, at=weights, first=first, progress=self._progress
        )
        if aggregate == "mean":
            return run(ask(Query, None, weights_val)).cpu().numpy()
        chunks = _chunks(len(dataset), step, trajectory)
        columns = [run(ask(SampleQueries, rows, None)).cpu().numpy() for rows in chunks]
        return np.concatenate(columns, axis=1)

    def _retraceable(self) -> Trajectory:
        """Return the trajectory, or say why there is none."""
        self.check_is_fitted()
        trajectory: Trajectory | None = getattr(self, "trajectory_", None)
        if trajectory is None:
            raise NotRecordedError(
                f"`record` must be 'all' or a number of epochs in fit, got "
                f"{self.record!r}: nothing was recorded. Fit again with record='all'."
            )
        if trajectory.n_steps == 0:
            raise NotRecordedError("The run must have at least one step, got 0.")
        if trajectory.diverged_at is not None:
            raise DivergedTrainingError(
                "The training run must stay finite, but the loss or a parameter was "
                f"NaN or infinite from step {trajectory.diverged_at} on. Lower `lr`, "
                "scale X and y, or clip the gradients."
            )
        return trajectory

    def _check_data_unchanged(self) -> None:
        for data in self.training_data_:
            if fingerprint(data.X, data.y) != data.digest:
                raise TrainingDataChangedError(
                    "The training data must be as it was in fit, but its fingerprint "
                    "differs: X or y was changed in place. Fit again, or give fit a "
                    "copy."
                )

    @staticmethod
    def _check_unbroken(trajectory: Trajectory, first: int, stop: int) -> None:
        for state, reason in trajectory.flaws.items():
            if first < state <= stop:
                epoch = trajectory.records[state - 1].epoch
                later = trajectory.n_epochs - epoch
                hint = f" Epochs after it can be asked for: last_epochs={later}."
                raise IrreproducibleStepError(
                    f"The run cannot be retraced through epoch {epoch}: {reason}."
                    + (hint if later else "")
                )

    def _validation_data(
        self, X_val: Any, y_val: Any, sample_weight_val: Any
    ) -> tuple[Any, np.ndarray | None]:
        if y_val is None and not isinstance(X_val, Dataset):
            raise ValueError("`y_val` must be given with X_val, got None.")
        X, y = check_data(self, X_val, y_val, reset=False)
        y = self._encode_targets(y, reset=False, name="y_val")
        weights = check_weights(X, sample_weight_val, "sample_weight_val")
        return self.get_dataset(X, y), weights

    def _training_step(self, trajectory: Trajectory) -> tuple[TrainingStep, Any]:
        """Return the run's training step, on a copy of the net that it may change."""
        names = self._modules + self._criteria + self._optimizers
        # One deep copy for all, so that the optimizer's parameters are the modules'.
        parts = copy.deepcopy({f"{name}_": getattr(self, f"{name}_") for name in names})
        worker = object.__new__(type(self))
        worker._keywords = self._keywords
        worker.__dict__.update(self.__dict__, **parts)
        objective = Objective(
            net_modules(worker), worker._outputs, worker._step_losses, worker._fetch()
        )
        live = LiveState(
            worker.optimizer_,
            trajectory.addresses,
            net_buffers(worker),
            moment_names(worker.optimizer_),
            trajectory.untrained,
        )
        return TrainingStep(objective, live), worker

    def _outputs(self, inputs: tuple[Any, dict[str, Any]]) -> Any:
        x, fit_params = inputs
        return self.infer(x, **fit_params)

    def _step_losses(self, outputs: Any, targets: tuple[Any, Any]) -> Tensor:
        y, x = targets
        return self.get_losses(outputs, y, X=x, training=True)

    def _fetch(self) -> Callable[[StepLike], Batch]:
        """Return what fetches the batch of a recorded step."""
        fetchers = [self.fetcher(data.dataset) for data in self.training_data_]

        def fetch(step: StepLike) -> Batch:
            data = self.training_data_[step.data]
            rows = step.rows - data.offset if data.offset else step.rows
            x, y = fetchers[step.data](rows)
            weights = None if data.weights is None else data.weights[rows]
            return (x, data.fit_params), (y, x), weights

        return fetch

    def _query(
        self,
        objective: Objective,
        query: Any,
        dataset: Any,
        kind: type[Query],
        rows: Sequence[int] | None,
        weights: np.ndarray | None,
    ) -> Query:
        """Return the query of the validation data, or of some rows of it."""

        def measure(outputs: Any, targets: Any) -> Tensor:
            if query == "loss":
                return self.get_losses(outputs, targets)
            values = query(outputs, to_tensor(targets, device=self.device))
            if getattr(values, "shape", None) != (len(targets),):
                got = (
                    tuple(values.shape) if isinstance(values, Tensor) else type(values)
                )
                raise ValueError(
                    "`query` must return one number for each sample, a tensor of "
                    f"shape ({len(targets)},), got {got}."
                )
            return values

        some = dataset if rows is None else Subset(dataset, rows)
        count = len(some)
        every = (
            np.full(count, 1 / count) if weights is None else weights / weights.sum()
        )
        batches: list[tuple[Any, Any, Tensor]] = []
        start = 0
        for inputs, targets in self.get_iterator(some, training=False):
            part = torch.as_tensor(every[start : start + len(targets)])
            part = part.to(self.device, self.dtype_)
            batches.append(((inputs, {}), targets, part))
            start += len(targets)
        return kind(objective, measure, batches)

    def _progress(self, steps: Any) -> Any:
        return tqdm(steps, desc="Retrace", unit="step", disable=not self.verbose)


def _check_repeats(trajectory: Trajectory, step: TrainingStep, stop: int) -> None:
    """Repeat one recorded step: what it leads to must be what was recorded."""
    record = trajectory.records[stop - 1]
    again = step.forward(trajectory.state(stop - 1), record).parameters
    recorded = trajectory.state(stop).parameters
    scale = (recorded - trajectory.state(stop - 1).parameters).abs().max()
    # Far above rounding, also where sums are taken in another order (CUDA); far below
    # what another loss, batch or update would change.
    if not (again - recorded).abs().max() <= 1e-3 * scale + 1e-6 * recorded.abs().max():
        raise IrreproducibleStepError(
            f"Repeating step {record.step} from its record does not lead to the "
            "recorded model. The net's loss, its data or its train_step depends on "
            "something that is not recorded."
        )


def _chunks(n_val: int, step: TrainingStep, trajectory: Trajectory) -> Iterator[range]:
    """Split the validation samples so that a retrace of each part fits in memory."""
    record = trajectory.records[-1]
    vectors = 4 + len(step.live.moments)
    each = (
        step.activation_bytes(record)
        + vectors * trajectory.state(trajectory.n_steps).parameters.nbytes
    )
    size = max(1, min(n_val, _QUERY_BYTES // each))
    return (range(start, min(start + size, n_val)) for start in range(0, n_val, size))
