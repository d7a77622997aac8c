"""The error of the estimate: measured on some samples, bounded for linear models."""

from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..._numbers import Count, check_integer, is_integer, is_real, random_generator
from ..._parallel import check_n_jobs
from ...influence import ErrorBound
from ...training import differentiating
from ...trajectory import Replay
from .._baseline import skill
from .._net import InfluenceNet
from .._typing import At, QueryLike, RandomState, Smoothing
from .counterfactual import changes_by_sample
from .estimate import check_smoothing, estimate, smoothed
from .influence_check import InfluenceCheck, check_of_samples, with_groups
from .intervals import check_level
from .linear_bound import curvature_of, inputs_with_ones, output_slopes, plain_sgd
from .metasmoothness import metasmoothness
from .question import ask, query_of
from .samples import run_weights

# An interval for a rank correlation needs more than three pairs.
_FEWEST = 4

# In so many subsets' directions the run's smoothness is measured, at most.
_DIRECTIONS = 10


class ReliabilityMixin(InfluenceNet):
    """Adds :meth:`check_influence` and :meth:`influence_error_bound`."""

    @differentiating
    def check_influence(
        self,
        X_val: object,
        y_val: ArrayLike | None = None,
        n_samples: int = 50,
        *,
        sample_weight_val: ArrayLike | None = None,
        query: QueryLike = "loss",
        at: At = "final",
        last_epochs: int | None = None,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        stage: str | int | None = None,
        smoothing: Smoothing = None,
        n_subsets: int | None = None,
        keep: float = 0.9,
        level: float = 0.95,
    ) -> InfluenceCheck:
        r"""Compare the influence of some samples and groups with the exact changes.

        Samples and subsets are drawn at random from those that the training used, and
        the recorded run is repeated without each (:meth:`counterfactual_influence`)
        and with half the weight on ten subsets. Costs `n_samples` + `n_subsets` + 10
        trainings, many of them at once where that is faster.

        Parameters
        ----------
        X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
            Validation samples.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs)
            Their targets; None where a Dataset holds them.
        n_samples : int, default=50
            How many samples to verify, at least 4; all if there are fewer.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        query : a named query or callable, default="loss"
            As in :meth:`influence`.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            As in :meth:`influence`.
        last_epochs : int, optional
            As in :meth:`influence`.
        random_state : int, RandomState instance or None, default=None
            Draws the samples.
        n_jobs : int, optional
            Number of processes over which the runs are spread, through joblib.
        stage : None, "pretraining" or int, default=None
            The samples of which stage to verify, as in :meth:`influence`.
        smoothing : None, float or "auto", default=None
            How wide kinks are smoothed on the way back, as in :meth:`influence`.
        n_subsets : int, optional
            How many random subsets to remove as a whole, at least 4; as many as
            `n_samples` by default, and 0 for none.
        keep : float, default=0.9
            Fraction of the used samples that each subset leaves in.
        level : float, default=0.95
            Level of the intervals, between 0 and 1.

        Returns
        -------
        InfluenceCheck
            How well the influence predicts the removal of single samples and of
            groups, how smoothly the run responds to its data, each with its interval,
            and a verdict in words; ``print`` it.

        Raises
        ------
        ValueError
            If a parameter is not as described, or the training used fewer than four
            samples. The other errors are those of :meth:`influence`.

        Notes
        -----
        The intervals are for the figures over all samples that the training used, and
        over all subsets of the same size. Influences are heavy-tailed, and intervals
        for normal data cover far too seldom. That for the median of the errors is
        between order statistics, whatever their distribution. Those for the rank
        correlations use the variance of a U-statistic and the jackknife; the first
        covers more than it says where the correlation is close to 1.

        *Metasmoothness* tells whether twice the change of the data changes the model
        about twice as much (Definition 2 of [1]_). Here the data is changed by the
        weights of the samples in a subset, from 1 over 1/2 to 0, and the response is
        the query on each single validation sample k. With their changes :math:`a_k`
        over the first half and :math:`b_k` over the second,

        .. math:: \frac{\sum_k |a_k| \, \mathrm{sign}(a_k) \, \mathrm{sign}(b_k)}
           {\sum_k |a_k|},

        averaged over the subsets. It is 1 if everything moves on in the direction that
        it started in, and about 0 or below in a chaotic run.

        References
        ----------
        .. [1] L. Engstrom, A. Ilyas, B. Chen, A. Feldmann, W. Moses, A. Madry,
           "Optimizing ML Training with Metagradient Descent", 2025.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
        >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X, y)
        >>> print(clf.check_influence(X_val, y_val, 20, random_state=0))
        Validation accuracy 0.711; always predicting '2' gives 0.237.
        20 samples: rank correlation 1.00 (0.77 to 1.00), median error 2 % (1 to 2 %).
        20 groups of 11: linear datamodeling score 1.00 (0.98 to 1.00).
        Metasmoothness of the run 1.00 (1.00 to 1.00). In brackets: 95 % intervals.
        The estimate can be trusted on this run, in order and in size.
        """
        _check_counts(n_samples, n_subsets, keep, level)
        check_smoothing(smoothing)
        check_n_jobs(n_jobs)
        rng = random_generator(random_state)
        question = ask(
            self, X_val, y_val, sample_weight_val, query, at, last_epochs, stage
        )
        used = np.flatnonzero(question.used().numpy())
        if len(used) < _FEWEST:
            raise ValueError(
                f"The steps in question must have used at least {_FEWEST} samples to "
                f"compare, got {len(used)}."
            )
        samples = np.sort(rng.permutation(used)[:n_samples])
        n_subsets = n_samples if n_subsets is None else n_subsets
        subsets = _subsets(rng, used, n_subsets, keep)
        weights = run_weights([*samples[:, None], *subsets], question.used())
        halves = (1 + weights[len(samples) :][:_DIRECTIONS]) / 2
        found = smoothed(smoothing, partial(estimate, self, question))
        changes = changes_by_sample(
            self, question, torch.cat([weights, halves]), n_jobs=n_jobs
        )
        exact = np.average(changes, axis=1, weights=question.weights)
        parts = len(samples), len(weights)
        singles, groups, _ = np.split(exact, parts)
        scores = found.scores
        check = replace(
            check_of_samples(samples, scores[samples], singles, level, len(used)),
            skill=skill(self, X_val, y_val, sample_weight_val),
        )
        if not n_subsets:
            return check
        _, whole, half = np.split(changes, parts)
        smoothness = metasmoothness(half, whole[: len(half)])
        return with_groups(
            check, subsets, scores[subsets].sum(axis=1), groups, smoothness
        )

    @differentiating
    def influence_error_bound(
        self,
        X_val: object,
        y_val: ArrayLike | None = None,
        *,
        sample_weight_val: ArrayLike | None = None,
        at: At = "final",
        last_epochs: int | None = None,
    ) -> np.ndarray:
        r"""Bound the error of each sample's influence.

        For ``module="linear"`` with a convex loss and plain SGD, by the argument of
        Theorem 5 in [1]_: both the exact and the estimated change of the parameters
        obey recursions whose matrices have bounded norms. The theorem bounds the
        change of the parameters; here the difference of the two recursions is bounded
        too, by the loss's third derivative, and propagated to the query:

        .. math::

           |\text{influence}_j - (Q(θ_{-j}) - Q(θ))| \le
           \|∇Q\| \, e_j + \tfrac12 \, \sup\|∇^2 Q\| \, d_j^2 .

        Parameters
        ----------
        X_val : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
            Validation samples.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs)
            Their targets; None where a Dataset holds them.
        sample_weight_val : array-like of shape (n_val,), optional
            Non-negative weights of the validation samples in the mean.
        at : "final", "epochs", "path", sequence or mapping, default="final"
            As in :meth:`influence`.
        last_epochs : int, optional
            As in :meth:`influence`.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            The bound, in the loss's unit, never negative; 0 for a sample that no
            retraced step used. It holds for exact arithmetic and for the worst case:
            the error is often much smaller.

        Raises
        ------
        UnsupportedCriterionError
            If the criterion is not ``CrossEntropyLoss``, ``BCEWithLogitsLoss`` or
            ``MSELoss``.
        UnsupportedOptimizerError
            If the optimizer is not SGD without momentum and with the same options for
            all parameters, or gradients were clipped.
        ValueError
            If `module` is not "linear", or a parameter is not as described.
            The other errors are those of :meth:`influence`.

        References
        ----------
        .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
           with SGD", NeurIPS 2019, Theorem 5.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.model_selection import train_test_split
        >>> from sklearn.preprocessing import scale
        >>> from skinfluence import SGDInfluenceClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
        >>> clf = SGDInfluenceClassifier("linear", random_state=0).fit(X, y)
        >>> error = clf.influence(X_val, y_val) - clf.counterfactual_influence(
        ...     X_val, y_val
        ... )
        >>> bool((abs(error) <= clf.influence_error_bound(X_val, y_val)).all())
        True
        """
        curvature = curvature_of(self)
        question = ask(self, X_val, y_val, sample_weight_val, "loss", at, last_epochs)
        records = question.trajectory.records[question.first : max(question.at)]
        options = [plain_sgd(self, record) for record in records]
        step, replica = question.run.repeatable()
        query = query_of(replica, question)
        # ∇²Q is at most the second derivative in the outputs times this.
        rows = [
            inputs_with_ones(x) * v.sqrt()[:, None].to(x.device)
            for (x, _), _, v in query.batches
        ]
        spread = float(torch.linalg.matrix_norm(torch.cat(rows).double(), 2)) ** 2
        bound = ErrorBound(question.trajectory.n_samples, curvature)
        total = torch.zeros_like(bound.error)
        replay = Replay(question.trajectory, step)
        replay.repeat(max(question.at), question.first)
        step.live.write(replay.state(question.first))
        for record, (lr, weight_decay) in zip(records, options, strict=True):
            bound.advance(record.rows, *output_slopes(step, record), lr, weight_decay)
            step.advance(record)
            if weight := question.at.get(record.step + 1):
                state = step.live.read()
                steepness = float(query.gradient(step, state).norm())
                total += weight * bound.of_query(steepness, curvature.second * spread)
                step.live.write(state)
        return total.numpy()


def _check_counts(
    n_samples: object, n_subsets: object, keep: object, level: object
) -> None:
    check_integer("n_samples", n_samples, _FEWEST)
    none = n_subsets is None or (is_integer(n_subsets) and n_subsets == 0)
    if not (none or Count(_FEWEST).is_satisfied_by(n_subsets)):
        raise ValueError(
            f"`n_subsets` must be None, 0 or an integer of at least {_FEWEST}, got "
            f"{n_subsets!r}."
        )
    if not is_real(keep) or not 0 < float(keep) < 1:
        raise ValueError(
            "`keep` must be the fraction of the samples that each subset leaves in, "
            f"between 0 and 1, got {keep!r}."
        )
    check_level(level)


def _subsets(
    rng: np.random.RandomState, used: np.ndarray, n_subsets: int, keep: float
) -> np.ndarray:
    """Draw the subsets to remove, a row each."""
    n_removed = np.clip(round((1 - keep) * len(used)), 1, len(used) - 1)
    rows = [rng.permutation(used)[:n_removed] for _ in range(n_subsets)]
    return np.array(rows, dtype=np.int64).reshape(n_subsets, n_removed)
