"""The exact counterpart of influence: training again, many runs at once."""

from collections.abc import Mapping
from itertools import pairwise
from os import PathLike
from typing import Any, Self, TypeAlias

import joblib
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..._cache import Cache, cache_of
from ..._keys import check_cacheable
from ..._parallel import check_n_jobs, parallel_calls
from ...counterfactual import Ensemble, OtherTargets, StagedEnsemble, Way
from ...influence import Query
from ...training import differentiating
from ...trajectory import Trajectory
from .._net import InfluenceNet
from .._training_data import fingerprint
from .._typing import At, QueryLike
from .other_labels import Labels, other_targets
from .question import (
    Question,
    ask,
    check_same_question,
    kind_by_sample,
    query_of,
)
from .refit import refitted
from .samples import Samples, run_weights
from .stages import stages_of

Memory: TypeAlias = str | PathLike[str] | joblib.Memory

# How many runs are computed, cached and sent to a process together.
_RUNS_A_PART = 256


class CounterfactualMixin(InfluenceNet):
    """Adds the exact counterparts of influence to a recording estimator."""

    @differentiating
    def counterfactual_influence(
        self,
        X_val: object,
        y_val: ArrayLike | None = None,
        samples: Samples = None,
        *,
        labels: Labels | None = None,
        sample_weight_val: ArrayLike | None = None,
        query: QueryLike = "loss",
        at: At = "final",
        last_epochs: int | None = None,
        memory: Memory | None = None,
        n_jobs: int | None = None,
        stage: str | int | None = None,
    ) -> np.ndarray:
        r"""Compute how the validation loss changes without samples, by training again.

        What :meth:`influence` estimates: the recorded run is repeated with the same
        initial state, batches, batch sizes, random numbers, learning rates and
        gradient clipping (the counterfactual of Definition 2 in [1]_), with the
        samples' losses weighted by 0. Runs are taken many at once where that is
        faster, and share all steps before the first that uses one of their samples.

        Parameters
        ----------
        X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
            Validation samples.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs)
            Their targets; None where a Dataset holds them.
        samples : None, array-like of int, sequence of array-likes, or matrix
            What to leave out, one run for each: every single sample (None), these
            single samples (row numbers, or a mask), groups of samples (a
            sequence of arrays of rows, or a boolean matrix of shape
            (n_groups, n_samples)), or any weights :math:`w_i` of the samples (a
            floating-point matrix of the same shape; 1 leaves a sample as it was).
        labels : None, "all" or array-like, default=None
            Labels (for a regressor targets) that the samples get in place of their
            own; then they are not left out. One for each run, or a sequence with
            an array for each group. ``"all"``, for a classifier: every label in turn
            (with several labels, each of them toggled), a column for each of
            ``classes_``, the exact counterpart of
            :meth:`~SGDInfluenceClassifier.label_influence`.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        query : a named query or callable, default="loss"
            As in :meth:`influence`; a metric of :mod:`skinfluence.queries` itself, and
            not its surrogate; or a scorer of scikit-learn or its name, whose score is
            taken negative.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            As in :meth:`influence`.
        last_epochs : int, optional
            Repeat only the last epochs, from the recorded state at their beginning
            (the paper's cheap retraining). By default all that was recorded.
        memory : str, path or joblib.Memory, optional
            Where to cache results, in parts of 256 runs: after an interruption only
            the missing parts are computed. A ``joblib.Memory`` pickles them.
        n_jobs : int, optional
            Number of processes over which the parts are spread, through joblib.
        stage : None, "pretraining" or int, default=None
            The samples of which stage to leave out, as in :meth:`influence`. The
            recorded run of an earlier stage is repeated without them, and every later
            run from its outcome.

        Returns
        -------
        ndarray of shape (n_runs,), or (n_runs, n_classes) with labels="all", float64
            Exact change of the query, in its unit. **Negative: without the samples
            (or with the labels) the loss is lower.** Exactly 0 where no repeated step
            used the samples, or all have the label already.

        Raises
        ------
        NotRecordedError
            If the run, or the part of it in question, was not recorded.
        ValueError
            If a parameter is not as described. The other errors are those of
            :meth:`influence`.

        Notes
        -----
        BatchNorm's running statistics are those of the repeated run. How many runs are
        taken at once is found out by trying: two calls may differ by rounding.

        References
        ----------
        .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
           with SGD", NeurIPS 2019, Definition 2.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
        >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
        >>> suspects = clf.influence(X_val, y_val).argsort()[:5]
        >>> clf.counterfactual_influence(X_val, y_val, suspects).shape
        (5,)
        """
        check_n_jobs(n_jobs)
        if memory is not None:
            check_cacheable(query=query)
        question = ask(
            self,
            X_val,
            y_val,
            sample_weight_val,
            query,
            at,
            last_epochs,
            stage,
            derivative=False,
        )
        if labels is None:
            weights = run_weights(samples, question.used())
            return exact_changes(self, question, weights, memory=memory, n_jobs=n_jobs)
        net = question.owner(self)
        others = other_targets(net, samples, labels, len(question.used()))
        weights = torch.ones(others.changed.shape, dtype=torch.float64)
        changes = exact_changes(
            self, question, weights, others, memory=memory, n_jobs=n_jobs
        )
        if isinstance(labels, str):
            return changes.reshape(-1, len(net.classes_))
        return changes

    @differentiating
    def refit_without(
        self,
        samples: ArrayLike,
        *,
        relabel: Mapping[int, Any] | None = None,
        last_epochs: int | None = None,
        stage: str | int | None = None,
    ) -> Self:
        r"""Repeat the recorded run without some of its samples, or with other labels.

        The counterfactual of Definition 2 in [1]_: the same initial state, batches,
        random numbers, learning rates and gradient clipping, and the same batch size
        :math:`|S_t|`, with the samples' losses weighted by 0. What :meth:`influence`
        estimates is what this computes.

        Parameters
        ----------
        samples : array-like of int or bool
            The samples to leave out: rows of the X given to ``fit``, or a mask.
        relabel : mapping of int to object, optional
            New labels (for a regressor targets) by row. The rows must not be among
            those left out. Class weights stay those of the recorded run.
        last_epochs : int, optional
            Repeat only the last epochs, from the recorded state at their beginning.
            By default all that was recorded.
        stage : None, "pretraining" or int, default=None
            The samples of which stage to leave out, as in :meth:`influence`. An
            earlier stage is repeated without them, and every later one from the
            outcome of the one before.

        Returns
        -------
        object
            A new fitted estimator with its own trajectory of the repeated part. Its
            ``history`` is empty: callbacks are not run. With `stage` its `pretrained`
            is a new one too.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        NotRecordedError
            If the run, or the part of it in question, was not recorded.
        TrainingDataChangedError
            If the training data is not what it was in ``fit``.
        IrreproducibleStepError
            If something other than the optimizer changed the model.
        DivergedTrainingError
            If training diverged.
        ValueError
            If `samples` or `relabel` are not rows of the training data, or name the
            same one, or a label is not as in ``fit``.
        TypeError
            If a Dataset holds the targets of samples to be relabelled.

        Warns
        -----
        DivergenceWarning
            If the run without the samples diverges.

        References
        ----------
        .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
           with SGD", NeurIPS 2019, Definition 2.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
        >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
        >>> most_harmful = clf.influence(X_val, y_val).argsort()[:5]
        >>> cleaned = clf.refit_without(most_harmful)
        >>> cleaned.predict(X_val).shape
        (38,)
        """
        return refitted(self, samples, relabel, last_epochs, stage)


def exact_changes(
    net: InfluenceNet,
    question: Question,
    weights: Tensor,
    others: OtherTargets | None = None,
    *,
    kind: type[Query] = Query,
    memory: Memory | None = None,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Return the query's change in each run, a row of weights and targets each."""
    given = None if others is None else others.arrays()
    check_same_question(net, question, weights.numpy(), given)
    ranks, cache = net._ranks, cache_of(memory)
    # Not without need: it is computed from all validation data.
    question_key = "" if memory is None else _key(cache, net, question)

    def call(part: Tensor) -> tuple[Any, ...]:
        runs = weights[part].numpy(), None if others is None else others[part].arrays()
        key = cache.key(question_key, kind, *runs)
        return _changes, key, net, question, kind, *runs

    size = _part_size(-(-len(weights) // ranks.number), n_jobs)
    parts = ranks.own(torch.arange(len(weights)).split(size))
    found = parallel_calls(
        cache.call,
        map(call, parts),
        n_jobs,
        words="Exact changes",
        unit="part",
        total=len(parts),
    )
    return np.concatenate(ranks.gather_parts(found))


def changes_by_sample(
    net: InfluenceNet, question: Question, weights: Tensor, n_jobs: int | None = None
) -> np.ndarray:
    """Return the change on each validation sample, (runs, n_val).

    Of a query of them all together there is one column.
    """
    kind = kind_by_sample(net, question)
    changes = exact_changes(net, question, weights, kind=kind, n_jobs=n_jobs)
    return changes.reshape(len(weights), -1)


def _part_size(runs: int, n_jobs: int | None) -> int:
    """Return how many runs go together, so that every process has some."""
    workers = int(joblib.effective_n_jobs(n_jobs))
    return max(1, min(_RUNS_A_PART, -(-runs // workers)))


def _changes(
    key: str,
    net: InfluenceNet,
    question: Question,
    kind: type[Query],
    weights: np.ndarray,
    others: tuple[np.ndarray, ...] | None,
) -> np.ndarray:
    """Compute a part of the runs; `key` stands for the arguments in the cache."""
    ensemble = ensemble_of(net, question, kind)
    changes = ensemble.changes(
        torch.from_numpy(weights).to(ensemble.step.device, ensemble.step.live.dtype),
        None if others is None else OtherTargets(*map(torch.from_numpy, others)),
    )
    return changes.double().cpu().numpy()


def ensemble_of(
    net: InfluenceNet, question: Question, kind: type[Query] = Query, way: Way = "auto"
) -> Ensemble:
    """Return the counterfactual runs of the stage in question."""
    stages, replica = stages_of(net, question, derivative=False)
    step = stages[0].step
    query = query_of(replica, question, kind)
    ensemble = Ensemble(
        question.trajectory,
        step,
        query.here,
        question.at,
        first=question.first,
        way=way,
    )
    for later, stage in pairwise(stages):
        assert later.handover is not None
        ensemble = StagedEnsemble(
            stage.trajectory, stage.step, ensemble, later.handover, first=stage.first
        )
    return ensemble


def _key(cache: Cache, net: InfluenceNet, question: Question) -> str:
    """Return the key of the run and the question."""
    return cache.key(
        _run_key(net, question.trajectory),
        [_run_key(run.net, run.trajectory) for run in question.earlier],
        fingerprint(question.dataset, None),
        question.weights,
        question.query,
        dict(question.at),
        question.first,
    )


def _run_key(net: InfluenceNet, trajectory: Trajectory) -> list[Any]:
    final = trajectory.state(trajectory.n_steps)
    return [
        final.parameters.cpu().numpy(),
        trajectory.seed,
        trajectory.n_steps,
        [data.digest for data in net.training_data_],
    ]
