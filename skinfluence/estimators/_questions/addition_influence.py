"""The influence of samples that were not trained on."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from ..._numbers import check_integer
from ...exceptions import UnsupportedModuleError
from ...influence import Additions, Stage, retrace, spans
from ...training import (
    SmoothedKinks,
    TrainingStep,
    differentiating,
    seeded,
)
from .._net import InfluenceNet
from .._typing import At, QueryLike, Smoothing
from .estimate import (
    Estimate,
    check_smoothing,
    differentiable_stages,
    progress_of,
    reliable,
    smoothed,
)
from .later_faults import check_derivatives
from .pool import Pool, pool_of
from .question import Question, ask, query_of

# Memory for what the candidates' forward pass keeps, and how many times as much their
# derivative along a direction takes.
_POOL_BYTES, _DERIVATIVES = 2**28, 4

# How many samples, each with others and without, show whether samples mix.
_MIXED = 4


@differentiating
def addition_influence(
    self: InfluenceNet,
    X_pool: object,
    y_pool: ArrayLike | None,
    X_val: object,
    y_val: ArrayLike | None = None,
    *,
    sample_weight_val: ArrayLike | None = None,
    query: QueryLike = "loss",
    at: At = "final",
    last_epochs: int | None = None,
    smoothing: Smoothing = None,
    steps_per_epoch: int | str = 1,
) -> np.ndarray:
    r"""Estimate how the validation loss would change if samples were added.

    The counterpart of :meth:`influence` for samples that were *not* trained on:
    which of a pool of candidates to add. From one retrace [1]_ of the recorded run,
    for all candidates:

    .. math:: \text{influence}_z = \left. \frac{∂Q}{∂ε_z} \right|_{ε = 0}
       = \sum_t \frac{c_z}{N_e} \langle ∂Q/∂g_t, ∇ℓ_z(θ_t) \rangle,

    where candidate z is in one batch of each epoch, as a training sample is, with
    the weight :math:`ε_z` on its loss there: in each batch :math:`S_t` with
    probability :math:`|S_t| / N_e`, which adds :math:`ε_z c_z ℓ_z / N_e` to each
    step's loss on average. :math:`N_e` is the number of samples in the epoch's
    batches, and :math:`g_t` the gradient of step t's batch loss.

    Parameters
    ----------
    X_pool : array-like, CSR matrix, torch Dataset, or as in :meth:`fit`
        The candidates.
    y_pool : array-like of shape (n_pool,) or (n_pool, n_outputs), or None
        Their targets; None where a Dataset holds them. None with arrays, for a
        classifier, if the labels are not known: each label then counts with the
        probability that the trained model gives to it.
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
        Retrace only the last epochs: the candidates are added to these alone.
    smoothing : None, float or "auto", default=None
        How wide kinks are smoothed on the way back, as in :meth:`influence`.
    steps_per_epoch : int or "all", default=1
        At how many steps of each epoch the candidates' gradients are taken. Each
        stands for those of the steps around it, whose :math:`∂Q/∂g_t` are summed
        exactly; with "all" the derivative is exact. Each takes about as long as a
        training step on the whole pool and a second backward pass. With 1, for a
        pool as large as the training data, it all took 1.2 to 1.7 times as long as
        :meth:`influence`; with "all", a step takes as long as one on its batch and
        the whole pool.

    Returns
    -------
    ndarray of shape (n_pool,), float64
        Estimated change of the query if the candidate were **added**, in the
        query's unit. **Negative: adding it lowers the loss; it helps.** (In
        :meth:`influence`, the change without a sample, helpful is positive.) A
        sample that is added k times, or with the weight k, counts k times as much.

    Raises
    ------
    UnsupportedModuleError
        If the module computes samples' losses from the whole batch, as with
        BatchNorm: one more sample would change those of the others.
    ValueError
        If the candidates are not as the training data, or a parameter is not as
        described. The other errors are those of :meth:`influence`.

    Warns
    -----
    InfluenceReliabilityWarning
        As in :meth:`influence`.

    See Also
    --------
    SGDInfluenceClassifier.influence : What leaving out training samples would do.

    Notes
    -----
    Each candidate is scored by itself. The most helpful ones often resemble each
    other, and the effects of many do not add up: add a few, fit again, ask again.

    For a run with one batch in each epoch, the addition influence of a training
    sample is minus its influence; otherwise it is about that, since a training
    sample is in one batch only, and a candidate on average in each.

    The coefficient :math:`c_z` is 1, the mean over the training samples; with class
    weights it is that of a sample with the candidate's label and the mean sample
    weight. It and the divisors stay as they are in the recorded run, whatever is
    added: a candidate also lengthens the steps, and far from convergence nearly all
    candidates lower the loss. A new fit divides by one sample more; if it has one
    batch in each epoch, the derivative is larger by the mean :meth:`influence` of
    the training samples. Their order is the same.

    What a module draws in training (dropout masks) is drawn anew for the candidates
    at each of the steps, from the run's seeds: an unbiased estimate of the mean
    over all masks, which more `steps_per_epoch` make steadier. A parameter that a
    step did not update has no part in it.

    References
    ----------
    .. [1] S. Hara, A. Nitanda, T. Maehara, "Data Cleansing for Models Trained
       with SGD", NeurIPS 2019, Algorithm 2.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence import SGDInfluenceClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> X, X_val, y, y_val = train_test_split(scale(X), y, random_state=0)
    >>> X, X_pool, y, y_pool = train_test_split(X, y, random_state=0)
    >>> clf = SGDInfluenceClassifier(random_state=0).fit(X, y)
    >>> changes = clf.addition_influence(X_pool, y_pool, X_val, y_val)
    >>> changes.shape
    (28,)
    >>> most_helpful = changes.argsort()[:5]
    >>> wrong = clf.addition_influence(X_pool, (y_pool + 1) % 3, X_val, y_val)
    >>> bool(wrong.mean() > 0 > changes.mean())
    True
    """
    check_smoothing(smoothing)
    per_epoch = _check_steps(steps_per_epoch)
    question = ask(self, X_val, y_val, sample_weight_val, query, at, last_epochs)
    pool = pool_of(self, X_pool, y_pool)
    added = partial(_added, self, question, pool, per_epoch)
    return reliable(*smoothed(smoothing, added))


def _check_steps(steps_per_epoch: object) -> int:
    """Return the largest number of steps of an epoch."""
    if isinstance(steps_per_epoch, str) and steps_per_epoch == "all":
        return int(np.iinfo(np.int64).max)
    try:
        return check_integer("steps_per_epoch", steps_per_epoch, 1)
    except ValueError as error:
        raise ValueError(f"{error} 'all' is every step.") from None


def _added(
    net: InfluenceNet,
    question: Question,
    pool: Pool,
    per_epoch: int,
    kinks: SmoothedKinks | None,
) -> Estimate:
    (run,), replica = differentiable_stages(net, question, kinks)
    _check_unmixed(run)
    stop = max(run.at)
    additions = Additions(
        run.trajectory,
        run.back,
        partial(pool.losses, run.back.objective),
        [*spans(run.trajectory, run.first, stop, per_epoch)],
        _parts(pool, run),
    )
    query = query_of(replica, question)
    retraced = retrace(
        run.trajectory,
        run.step,
        query,
        run.at,
        first=run.first,
        back=run.back,
        progress=progress_of(net),
        watch=additions.watch,
    )
    check_derivatives([run], query)
    _check_finite(additions.scores)
    return Estimate(additions.scores.numpy(), retraced.growth)


def _parts(pool: Pool, run: Stage) -> Sequence[Tensor]:
    """Split the pool so that a part goes through the modules together."""
    record = max(run.trajectory.records, key=lambda record: len(record.rows))
    kept = run.back.activation_bytes(record) / len(record.rows)
    n_labels = 1 if pool.weights[0].dim() == 1 else pool.weights[0].shape[1]
    outputs = n_labels**2 * run.back.live.dtype.itemsize
    # As many as the retrace takes together at any rate.
    size = int(_POOL_BYTES / (_DERIVATIVES * (kept + outputs)))
    return torch.arange(len(pool)).split(max(size, len(record.rows)))


@torch.no_grad()
def _check_unmixed(run: Stage) -> None:
    """Refuse a module in which a sample's loss depends on others in its batch."""
    step, stop = run.step, max(run.at)
    state = run.trajectory.state(run.trajectory.last_kept(stop))
    last = run.trajectory.records[stop - 1]
    batch = last.micro_batches()[0]
    # Of several steps: one may be on a single sample.
    some = run.trajectory.records[max(0, stop - _MIXED) : stop]
    rows = torch.cat([r.rows for r in some if r.data == last.data]).unique()

    def losses(rows: Tensor) -> Tensor:
        step.live.show(state)
        step.objective.train(True)
        with seeded(batch.seed, step.device):
            return step.objective.batch_losses(replace(batch, rows=rows))[0]

    rows = rows[: 2 * _MIXED]
    together = losses(rows)
    for k in range(min(_MIXED, len(rows))):
        alone = losses(rows[k].expand(len(rows)))[k]
        rounding = step.tolerance * (1 + together[k].abs())
        if (alone - together[k]).abs() > rounding:
            raise UnsupportedModuleError(_mixes(step))


def _mixes(step: TrainingStep) -> str:
    parts = (part for module in step.objective.modules for part in module.modules())
    norms = {type(part).__name__ for part in parts if isinstance(part, _NormBase)}
    names = ", ".join(sorted(norms)) or type(step.objective.modules[0]).__name__
    return (
        "The module must compute the loss of each sample from this sample alone to "
        f"tell what added samples would do, but {names} computes it from the whole "
        "batch: one more sample would change the losses of all others. Use GroupNorm "
        "or LayerNorm in place of BatchNorm, or refit with the candidates."
    )


def _check_finite(scores: Tensor) -> None:
    wrong = (~scores.isfinite()).nonzero()
    if len(wrong):
        raise ValueError(
            "`X_pool` and `y_pool` must give the model finite losses and gradients, "
            f"but those of {len(wrong)} candidates are not finite, the first in row "
            f"{int(wrong[0])}. Leave them out."
        )
