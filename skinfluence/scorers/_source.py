"""SOURCE: the run unrolled in a few segments, each as if its curvature stood still."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby, pairwise
from operator import attrgetter, itemgetter

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from .._numbers import check_integer
from .._progress import tracked
from .._warnings import warn_caller
from ..estimators import RecordedRun, effective_rate
from ..exceptions import SolverConvergenceWarning
from ..training import Batch, MicroBatch, State
from ..trajectory import Replay, StepRecord
from ._base import BaseScorer, ScoringData
from ._checks import check_recorded, check_sgd
from ._gradients import SampleGradients, weights_of
from ._solvers import Solution, solve_flow
from ._visits import mean_over_steps, visit_of

# How many samples' outputs are computed at once.
_AT_ONCE = 1024


class SOURCE(BaseScorer, name="source"):
    r"""Score the samples by unrolling the run in segments of constant curvature.

    Named ``"source"``. The epochs are divided into segments, in each of which the
    gradients and the curvature are taken to be constant: their means over a few of its
    epochs [1]_. The effect of a segment's steps on a change of the parameters, and of
    a sample on the parameters, are then functions of a matrix,

    .. math:: \text{score}_i =
       \sum_\ell ⟨v_\ell, τ_\ell\, φ(τ_\ell H_\ell)\, s_{\ell i} c_i g_{\ell i}⟩, \qquad
       v_{\ell-1} = e^{-τ_\ell H_\ell} v_\ell, \qquad
       φ(λ) = \frac{1 - e^{-λ}}{λ},

    where the last :math:`v_\ell` is the gradient of the mean validation loss at the
    final model, :math:`τ_\ell` the sum of the learning rates of the segment's steps,
    with momentum as :math:`η / (1 - μ)`, :math:`g_{\ell i}` the mean of
    :math:`∇ℓ_i`, :math:`s_{\ell i}` the sample's mean share of a step's batch (one nth
    of n samples), :math:`c_i` its sample and class weight, and :math:`H_\ell` the mean
    Gauss-Newton matrix of the steps with the optimizer's L2 penalty. One segment that
    trains forever is the influence function of :class:`KohLiang`, and many segments
    approach the retrace of :class:`SGDInfluence`. The score is in the unit of the
    validation loss, negative for harmful samples, and 0 for rows that were not trained
    on.

    The paper approximates :math:`H_\ell` by Kronecker factors (EK-FAC); here it is
    exact, and its functions are applied by the Lanczos method to products with
    vectors. Gradient clipping is not accounted for; dropout and BatchNorm are in
    evaluation mode.

    A call warns with a :class:`~skinfluence.exceptions.SolverConvergenceWarning` if the
    residual of a segment exceeds `tol`.

    Parameters
    ----------
    n_segments : int, default=3
        Number of segments, of as many epochs each; the paper's number.
    n_checkpoints : int, default=2
        From how many models, at ends of epochs, the means of a segment are taken, if it
        has so many epochs.
    last_epochs : int, optional
        Unroll only the last epochs; by default all recorded epochs.
    tol : float, default=1e-5
        Residual of the flow :math:`\dot x = b - τ_\ell H_\ell x` at its end, relative
        to b, at which the Lanczos method stops.
    max_iter : int, default=300
        Maximum number of its iterations in a segment, each a product with the
        Gauss-Newton matrix at each checkpoint.

    Attributes
    ----------
    n_iterations_ : int
        Number of iterations in the last call, over all segments.
    residual_ : float
        The largest residual of the last call.

    See Also
    --------
    SGDInfluence : The exact derivative of the run.

    References
    ----------
    .. [1] J. Bae, W. Lin, J. Lorraine, R. Grosse, "Training Data Attribution via
       Approximate Unrolling", NeurIPS 2024, section 3.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> from skinfluence.scorers import SOURCE
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> y[7] = (y[7] + 1) % 3
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> int(SOURCE()(clf, X, y, X_val, y_val).argmin())
    7
    """

    def __init__(
        self,
        n_segments: int = 3,
        n_checkpoints: int = 2,
        last_epochs: int | None = None,
        *,
        tol: float = 1e-5,
        max_iter: int = 300,
    ) -> None:
        self.n_segments = n_segments
        self.n_checkpoints = n_checkpoints
        self.last_epochs = last_epochs
        self.tol = tol
        self.max_iter = max_iter

    _estimator_checks = (check_recorded, check_sgd)
    _required_data = ("X_val",)

    def _check_parameters(self) -> None:
        check_integer("n_segments", self.n_segments, 1)
        check_integer("n_checkpoints", self.n_checkpoints, 1)

    def _score(self, estimator: BaseEstimator, data: ScoringData) -> np.ndarray:
        """Return the samples' part in the segments' flows."""
        run = RecordedRun.of(estimator, self.last_epochs)
        segments = self._segments(run)
        query = run.query(*data.validation)
        trajectory = run.trajectory
        adjoint = query.gradient(run.step, trajectory.state(trajectory.n_steps))
        scores = torch.zeros(trajectory.n_samples, dtype=torch.float64)
        self.n_iterations_, self.residual_ = 0, 0.0
        for segment in reversed(segments):
            flow = segment.flow(adjoint, self.tol, self.max_iter)
            self.n_iterations_ += flow.n_iterations
            self.residual_ = max(self.residual_, flow.residual)
            pulled = segment.roots * torch.from_numpy(flow.x).to(adjoint)
            scores[segment.rows] += segment.dots(pulled)
            adjoint = adjoint - segment.product(pulled)
        # Negated, so that NaN warns too.
        if not self.residual_ <= self.tol:
            warn_caller(
                f"The Lanczos method stopped at a relative residual of "
                f"{self.residual_:.3g} (`tol` is {self.tol:g}). Raise `max_iter` or "
                "`n_segments`, or allow a larger `tol`.",
                SolverConvergenceWarning,
            )
        return scores.numpy()

    def _segments(self, run: RecordedRun) -> list["_Segment"]:
        records = run.trajectory.records[run.first :]
        _check_one_data_set(run, records)
        epochs = [list(each) for _, each in groupby(records, attrgetter("epoch"))]
        if self.n_segments > len(epochs):
            raise ValueError(
                "`n_segments` must be at most the number of epochs to unroll "
                f"({len(epochs)}), got {self.n_segments}."
            )
        bounds = np.linspace(0, len(epochs), self.n_segments + 1).round().astype(int)
        parts = [epochs[a:b] for a, b in pairwise(bounds)]
        ends = [self._ends(part) for part in parts]
        states = _states_after(run, list(chain(*ends)))
        return [
            _Segment.of(run, list(chain(*part)), [states[step] for step in steps])
            for part, steps in zip(parts, ends, strict=True)
        ]

    def _ends(self, epochs: Sequence[Sequence[StepRecord]]) -> list[int]:
        """Return the last steps of the epochs whose models stand for a segment."""
        count = min(self.n_checkpoints, len(epochs))
        places = np.linspace(0, len(epochs), count + 1).round().astype(int)[1:] - 1
        return [epochs[place][-1].step for place in places]


@dataclass(frozen=True)
class _Segment:
    """Steps whose curvature and gradients are the means over a few models."""

    run: RecordedRun
    gradients: SampleGradients
    states: Sequence[State]
    batch: MicroBatch
    shares: Tensor
    penalty: Tensor
    # Of the sum of the learning rates of each parameter.
    roots: Tensor

    @classmethod
    def of(
        cls, run: RecordedRun, records: Sequence[StepRecord], states: Sequence[State]
    ) -> "_Segment":
        visit = visit_of(run, states[-1], records)
        rates = mean_over_steps(run, records, effective_rate)
        return cls(
            run,
            SampleGradients(run.step.objective, run.step.live.parameters),
            states,
            visit.batch,
            visit.shares / len(records),
            mean_over_steps(run, records, itemgetter("weight_decay")),
            (rates * len(records)).sqrt(),
        )

    @property
    def rows(self) -> Tensor:
        """The samples."""
        return self.batch.rows

    def flow(self, adjoint: Tensor, tol: float, max_iter: int) -> Solution:
        """Return φ(√τ H √τ) √τ v: with learning rates of groups it stays symmetric."""

        def product(v: np.ndarray) -> np.ndarray:
            direction = self.roots * torch.from_numpy(v).to(adjoint)
            return _array(self.roots * self.product(direction))

        return solve_flow(product, _array(self.roots * adjoint), tol, max_iter)

    def product(self, direction: Tensor) -> Tensor:
        """Return the mean Gauss-Newton matrix, with the penalty, times a direction."""
        total = self.penalty * direction
        for places, batch in self._parts():
            weights = self._weights(places, batch)
            total = total + self.gradients.curved(batch, weights, direction)
        return total

    def dots(self, direction: Tensor) -> Tensor:
        """Return each sample's ⟨direction, s_i c_i g_i⟩, (n_rows,), float64."""
        found = torch.zeros(len(self.rows), dtype=torch.float64)
        for places, batch in self._parts():
            dots = self._weights(places, batch) * self.gradients.dots(batch, direction)
            found[places] += dots.detach().double().cpu()
        return found

    def _weights(self, places: slice, batch: Batch) -> Tensor:
        shares = self.shares[places]
        return shares * weights_of(batch, shares) / len(self.states)

    def _parts(self) -> Iterator[tuple[slice, Batch]]:
        """Yield the samples in parts, at each of the models, which the modules hold."""
        for state in self.states:
            self.run.step.live.show(state)
            self.run.step.objective.train(False)
            for start in range(0, len(self.rows), _AT_ONCE):
                places = slice(start, start + _AT_ONCE)
                part = replace(self.batch, rows=self.rows[places])
                yield places, self.run.step.objective.fetch(part)


def _states_after(run: RecordedRun, steps: Collection[int]) -> dict[int, State]:
    """Return the states that some steps led to."""
    n_steps = run.trajectory.n_steps
    progress = partial(tracked, words="Recorded steps", unit="step")
    walk = Replay(run.trajectory, run.step).backwards(n_steps, run.first, progress)
    return {record.step: after for record, _, after in walk if record.step in steps}


def _check_one_data_set(run: RecordedRun, records: Sequence[StepRecord]) -> None:
    numbers = {record.data for record in records}
    if len({run.training_data[number].offset for number in numbers}) > 1:
        raise ValueError(
            "The estimator must be trained on one data set for the scorer 'source', "
            f"got {len(numbers)} calls on different data. Use the scorer 'dvemb', or "
            "`last_epochs`."
        )


def _array(vector: Tensor) -> np.ndarray:
    return vector.detach().double().cpu().numpy()
