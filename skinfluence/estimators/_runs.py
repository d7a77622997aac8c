"""Several runs of one training, from other seeds, and their scores taken together."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import stdtrit
from sklearn.base import clone
from skorch.callbacks import Checkpoint, TrainEndCheckpoint
from torch import nn
from torch.nn.parameter import is_lazy

from .._numbers import random_generator
from .._parallel import check_n_jobs, parallel_calls
from .._warnings import warn_caller
from ..trajectory import on_threads
from ._net import InfluenceNet
from ._trained_on import retraceable
from ._training_data import TrainingData
from ._typing import RandomState

# A sign is in doubt where its chance to be wrong is larger, by Student's t.
_DOUBT = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class ScoresOverRuns:
    """The scores of the training samples in several runs of the training.

    Parameters
    ----------
    scores : ndarray of shape (n_runs, n_samples), float64
        Each run's scores; NaN where the run did not use the sample.
    mean : ndarray of shape (n_samples,), float64
        Their mean over the runs that used the sample; NaN if none did.
    standard_error : ndarray of shape (n_samples,), float64
        Of the mean: the standard deviation over the runs, with n - 1, divided by √n. It
        is NaN where fewer than two runs used the sample.
    sign_agreement : ndarray of shape (n_samples,), float64
        Share of the runs whose score has the sign of the mean, from 0 to 1.
    n_used : ndarray of shape (n_samples,), int64
        Number of runs that used the sample.

    See Also
    --------
    skinfluence.influence_over_runs : Returns it.

    Examples
    --------
    >>> from skinfluence.estimators import ScoresOverRuns
    >>> runs = ScoresOverRuns.of([[-3.0, 2.0], [-1.0, -1.0], [-2.0, 5.0]])
    >>> runs.mean
    array([-2.,  2.])
    >>> runs.in_doubt
    array([False,  True])
    >>> runs.to_frame().round(2)
       score  standard_error  sign_agreement  n_used
    0   -2.0            0.58            1.00       3
    1    2.0            1.73            0.67       3
    """

    scores: np.ndarray
    mean: np.ndarray
    standard_error: np.ndarray
    sign_agreement: np.ndarray
    n_used: np.ndarray

    def __repr__(self) -> str:
        n_runs, n_samples = self.scores.shape[:2]
        return f"<ScoresOverRuns of {n_runs} runs over {n_samples} samples>"

    @classmethod
    def of(cls, scores: ArrayLike | Sequence[np.ndarray]) -> "ScoresOverRuns":
        """Summarize the scores of runs.

        Parameters
        ----------
        scores : array-like of shape (n_runs, n_samples)
            Scores of each run; NaN where it did not use a sample.

        Returns
        -------
        ScoresOverRuns
            With the mean and its spread, which do not depend on the order of the runs.
        """
        scores = np.asarray(scores, dtype=np.float64)
        used = ~np.isnan(scores)
        n_used = used.sum(axis=0)
        # Without a run, or with infinite scores, there is no number: NaN.
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = _sum(scores) / n_used
            variance = _sum((scores - mean) ** 2) / (n_used - 1)
            error = np.where(n_used > 1, np.sqrt(variance / n_used), np.nan)
            agree = (np.sign(scores) == np.sign(mean)).sum(axis=0) / n_used
        mean = np.where(n_used > 0, mean, np.nan)
        return cls(scores, mean, error, agree, n_used)

    @property
    def in_doubt(self) -> np.ndarray:
        """Whether the sign of the mean may be another one in further runs.

        It is where the mean is no further from 0 than Student's t for an error of 5 %
        times the standard error. A single run cannot raise the doubt.
        """
        times = stdtrit(np.maximum(self.n_used - 1, 1), 1 - _DOUBT)
        return np.asarray(np.abs(self.mean) <= times * self.standard_error)

    def to_frame(self) -> pd.DataFrame:
        """Return the summary as a table.

        Returns
        -------
        DataFrame of n_samples rows
            The columns ``score`` (the mean), ``standard_error``, ``sign_agreement`` and
            ``n_used``.
        """
        return pd.DataFrame(
            {
                "score": self.mean,
                "standard_error": self.standard_error,
                "sign_agreement": self.sign_agreement,
                "n_used": self.n_used,
            }
        )


def _sum(scores: np.ndarray) -> np.ndarray:
    """Return the sum over the runs, NaN left out, to the same bits in any order."""
    return np.asarray(np.nansum(np.sort(scores, axis=0), axis=0))


def answers_over_runs(
    net: InfluenceNet,
    ask: Callable[[Any], np.ndarray],
    n_runs: int,
    random_state: RandomState = None,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Return the answers of a fitted estimator and of further runs of its training.

    Parameters
    ----------
    net : SGDInfluenceClassifier or SGDInfluenceRegressor
        The estimator; its own run is the first.
    ask : callable
        ``ask(estimator)`` returns an array, of one shape for all runs. It is called for
        `net` before any training, and in other processes for the others.
    n_runs : int
        Number of runs, the first included.
    random_state : int, RandomState instance or None
        Draws the seeds of the further runs, one after the other.
    n_jobs : int or None
        Number of processes over which these are spread, through joblib.

    Returns
    -------
    ndarray of shape (n_runs, ...)
        The answers, in the order of the runs; the same bits for every `n_jobs` on a
        CPU.
    """
    check_n_jobs(n_jobs)
    seeds = run_seeds(n_runs - 1, random_state)
    if n_runs > 1:
        _check_repeatable(net)
    first = ask(net)
    others = parallel_calls(
        _ask_again,
        ((*_blank(net, seed), ask) for seed in seeds),
        n_jobs,
        words="Further runs",
        unit="run",
        total=len(seeds),
    )
    answers = np.stack([first, *others])
    if n_runs > 1:
        check_different(answers)
    return answers


def check_different(answers: np.ndarray) -> None:
    """Refuse several runs that all gave the same answer."""
    if all(np.array_equal(answers[0], each, equal_nan=True) for each in answers):
        raise ValueError(
            "The runs must differ, but all have the same bits: nothing in this "
            "training is random. Set shuffle=True, or give `module` as a class or "
            "function, which makes other initial weights in each run, instead of an "
            "instance."
        )


def run_seeds(n_seeds: int, random_state: RandomState) -> list[int]:
    """Return seeds of runs; more of them begin with the same ones."""
    rng = random_generator(random_state)
    drawn: list[int] = rng.randint(np.iinfo(np.int32).max, size=n_seeds).tolist()
    return drawn


def _check_repeatable(net: InfluenceNet) -> None:
    """Refuse an estimator that was fitted in parts; warn if all runs start alike."""
    retraceable(net)
    if len(net.training_data_) != 1:
        raise ValueError(
            "The estimator must have been fitted in one call of fit to train it again, "
            f"got {len(net.training_data_)} calls (partial_fit or warm_start). Fit a "
            "clone on all of the data."
        )
    warn_if_alike(net)


def warn_if_alike(estimator: object) -> None:
    """Warn if every run of a fitted estimator's training starts from the same weights.

    Parameters
    ----------
    estimator : object
        The estimator; one that is no net of this library starts as it likes.
    """
    if isinstance(estimator, InfluenceNet) and _starts_alike(estimator):
        warn_caller(
            "All runs start from the same weights, those of the given `module` or "
            "`pretrained`: they differ only in their batches and what else is drawn, "
            "and so do their scores. Give `module` as a class or function for other "
            "initial weights in each run.",
            UserWarning,
        )


def _starts_alike(net: InfluenceNet) -> bool:
    """Return whether every run of the training starts from the same weights."""
    if isinstance(net.module, nn.Module):
        return not any(map(is_lazy, net.module.parameters()))
    trained = {n for n, p in net.module_.named_parameters() if p.requires_grad}
    return trained <= set(getattr(net, "pretrained_parameters_", ()))


def _blank(net: InfluenceNet, seed: int) -> tuple[Any, TrainingData, int | None]:
    """Return an estimator to train again, its data, and the number of threads."""
    again: Any = clone(net).set_params(random_state=seed)
    # What fit has learned from the data stays; the record and the model must not
    # travel. skorch pickles the model's classes by name, which other processes do not
    # have if they are defined in a notebook.
    model = tuple(net.cuda_dependent_attributes_)
    learned = {k: v for k, v in net.__dict__.items() if not k.startswith(model)}
    again.__dict__ = {**learned, **again.__dict__}
    again._begin_record()
    return again, net.training_data_[0], retraceable(net).records[-1].n_threads


def _ask_again(
    again: Any,
    data: TrainingData,
    n_threads: int | None,
    ask: Callable[[Any], np.ndarray],
) -> np.ndarray:
    with (
        on_threads(n_threads),
        _folder(again) as folder,
        tempfile.TemporaryDirectory() as files,
    ):
        again.trajectory_dir = folder
        again.callbacks = _writing_to(files, again.callbacks)
        again._train_again(data)
        return ask(again)


def _writing_to(folder: str, callbacks: Any) -> Any:
    """Return callbacks that leave the files of the estimator's own run alone."""
    if not isinstance(callbacks, list):
        return callbacks
    return [
        (entry[0], _elsewhere(folder, entry[1]))
        if isinstance(entry, tuple)
        else _elsewhere(folder, entry)
        for entry in callbacks
    ]


def _elsewhere(folder: str, callback: Any) -> Any:
    kinds = Checkpoint, TrainEndCheckpoint
    if isinstance(callback, type) and issubclass(callback, kinds):
        return callback(dirname=folder)
    if isinstance(callback, kinds):
        callback.dirname = folder
    return callback


def _folder(net: InfluenceNet) -> AbstractContextManager[str | None]:
    """Return a folder for a run that is not kept, beside those that are."""
    if net.trajectory_dir is None:
        return nullcontext()
    return tempfile.TemporaryDirectory(dir=net.trajectory_dir)
