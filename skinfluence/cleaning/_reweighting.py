"""Lowering the weights of samples by metagradient descent."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier

from ..estimators import ScoresOverRuns, query_value
from ..scorers import Descent, Step, check_scores, judging, lowered, weight_slopes
from ..trajectory import on_threads
from ._checks import check_accepts
from ._data import CleaningData, Validation
from ._ranking import (
    Ranking,
    Run,
    fit_run,
    over_runs,
    scores_of,
    validation_of,
    with_seed,
    without_exploded,
)
from ._removal import Cleaned, Removal, check_influence
from ._splits import class_codes, group_part


class Reweight(BaseEstimator):
    r"""Lowers the weights of samples by metagradient descent, an `action`.

    Each step trains under the weights so far and retraces the run for the metagradient
    :math:`g = ∂Q/∂w`, the derivative of the mean validation loss in the weights, and
    moves the weights against it [1]_,

    .. math:: w ← Π(w - η\, u(g)), \qquad
       Π \text{ projects on }
       \left\{0.01 \le w_i \le 1,\ \sum_i (1 - w_i) \le m\right\},

    where u is the update rule and m the cleaner's `n_remove`. The cleaner's `n_rounds`
    is the number of steps, at most; each costs a training and a retrace for each run
    and fold of the ranking. ``action="reweight"`` is this with the default values.

    Parameters
    ----------
    update : {"sgd", "sign", "adam"}, default="sgd"
        The update rule: ``"sgd"`` divides the metagradient by the largest standard
        deviation that it had so far, ``"sign"`` takes its signs, as in [1]_, and
        ``"adam"`` is Adam with the defaults of :class:`torch.optim.Adam`. None depends
        on the unit of the loss.
    step_size : float, default=1.0
        The step size η. With ``"sign"``, and at first with ``"adam"``, each weight
        moves by it: use about 0.1.
    early_stopping : float, default=None
        Share of the validation samples of each run, between 0 and 1, that is held out
        from the metagradient and judges each step, by the query at the final model. The
        weights of the best step are kept, and the descent ends three steps after it.
        Weights of 1 can win. It costs a further training. None: all samples count in
        the metagradient, and the last weights are taken.
    reseed : bool, default=False
        Whether each step trains with other initial weights and batches, so that the
        weights do not fit those of one run.

    References
    ----------
    .. [1] L. Engstrom, A. Ilyas, B. Chen, A. Feldmann, W. Moses, A. Madry, "Optimizing
       ML Training with Metagradient Descent", 2025.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> from skinfluence.cleaning import InfluenceCleaner, Reweight
    >>> X, y = load_iris(return_X_y=True)
    >>> action = Reweight("adam", step_size=0.1, early_stopping=0.5, reseed=True)
    >>> cleaner = InfluenceCleaner(action=action, n_rounds=2, random_state=0)
    >>> weights = cleaner.fit(scale(X), y).sample_weight_
    >>> bool(weights.min() >= 0.01), bool(weights.max() <= 1)
    (True, True)
    """

    def __init__(
        self,
        update: str = "sgd",
        step_size: float = 1.0,
        early_stopping: float | None = None,
        reseed: bool = False,
    ) -> None:
        self.update = update
        self.step_size = step_size
        self.early_stopping = early_stopping
        self.reseed = reseed


class Reweighting(Removal):
    """Lowers the weights of the samples.

    Parameters
    ----------
    how : Reweight
        The descent's parameters.
    """

    resamples = False
    limited = False  # all samples stay
    by_probability = False  # the size of the scores counts
    n_rounds = 5

    def __init__(self, how: Reweight) -> None:
        self.how = how

    def _descent(self, n_steps: int) -> Descent:
        how = self.how
        return Descent(
            n_steps, how.update, how.step_size, how.early_stopping, how.reseed
        )

    def check(self, cleaner: Any) -> None:
        """Refuse parameters that are incompatible with the action."""
        check_influence(cleaner)
        check_accepts(cleaner._final(), "final_estimator", ["sample_weight"])
        self._descent(cleaner._n_rounds()).check("n_rounds")

    def check_runs(self, runs: Sequence[Run], data: CleaningData) -> None:
        """Refuse validation data of which none would be left."""
        for run in runs:
            _judges(run, data, self.how.early_stopping, 0)

    def codes_left(
        self, codes: np.ndarray, ranking: Ranking, chosen: np.ndarray
    ) -> np.ndarray:
        """Return the classes of the samples, which all stay."""
        return codes

    def ends(self, count: int, n_rounds: int) -> list[int]:
        """Return nothing: the rounds are steps of the weights, of all samples."""
        return []

    def act(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, chosen: np.ndarray
    ) -> Cleaned:
        """Return the data with lower weights."""
        weights = np.ones(len(data))
        if len(chosen):
            weights = self._learned(cleaner, data, ranking, len(chosen))
        return Cleaned(
            data.weighted(weights),
            np.ones(len(data), dtype=bool),
            {"sample_weight": weights},
            {"sample_weight_": weights},
        )

    def _learned(
        self, cleaner: Any, data: CleaningData, ranking: Ranking, most: int
    ) -> np.ndarray:
        start = np.ones(len(data))
        base = np.asarray(data.params.get("sample_weight", start), dtype=np.float64)
        rng, runs = np.random.RandomState(ranking.seed), ranking.runs

        def measure(number: int, weights: np.ndarray, slopes: bool) -> Step:
            if number == 0 and self.how.early_stopping is None:
                # The scores of the ranking, under weights of 1.
                return weight_slopes(ranking.scores, base, weights), np.nan
            under = weights, self.how.early_stopping, ranking.seed, slopes
            parts = over_runs(
                weigh_run,
                [_reseeded(run, rng) for run in runs] if self.how.reseed else runs,
                data,
                cleaner.memory,
                cleaner.n_jobs,
                cleaner.verbose,
                also=under,
            )
            scores = np.full((len(runs), len(data)), np.nan)
            for own, run, part in zip(scores, runs, parts, strict=True):
                own[run.train] = part[:-1]
            loss = float(np.mean([part[-1] for part in parts]))
            if not slopes:
                return scores[0], loss
            mean = ScoresOverRuns.of(without_exploded(scores)).mean
            return weight_slopes(mean, base, weights), loss

        descent = self._descent(cleaner._n_rounds())
        return descent.run(start, measure, lambda found: lowered(found, most))


def weigh_run(
    key: str,
    run: Run,
    data: CleaningData,
    fitted: None,
    n_threads: int,
    weights: np.ndarray,
    share: float | None,
    seed: int,
    slopes: bool,
) -> np.ndarray:
    """Return the scores of a run under weights, and last the loss that judges it.

    The validation samples keep their own weights: by lower ones for those with a high
    loss, every step would be judged better.
    """
    with on_threads(n_threads):
        estimator = fit_run(run, data.weighted(weights))
        validation, judges = validation_of(run, data), _judges(run, data, share, seed)
        scores, loss = np.full(len(run.train), np.nan), np.nan
        if judges.any():
            part = _weighted(validation, judges)
            question = part.X, part.y, part.sample_weight, run.scorer.query
            loss = query_value(estimator, *question)
            validation = _weighted(validation, ~judges)
        if slopes:
            train = data.take(run.train)
            scores = check_scores(
                scores_of(run, estimator, train, validation), len(train)
            )
    return np.append(scores, loss)


def _weighted(validation: Validation, some: np.ndarray) -> Validation:
    """Return validation data in whose mean only some samples count."""
    weights = validation.sample_weight
    given = np.ones(len(some)) if weights is None else np.asarray(weights)
    return replace(validation, sample_weight=given * some)


def _judges(run: Run, data: CleaningData, share: float | None, seed: int) -> np.ndarray:
    """Return which of a run's validation samples judge the steps."""
    y = validation_of(run, data).y
    codes = class_codes(np.asarray(y), is_classifier(run.estimator))
    judges = judging(share, len(codes), codes, seed)
    if share is None or run.validation is None or data.groups is None:
        return judges
    # What is learned of a group must not be judged on it.
    return group_part(codes, data.groups[run.validation], share, seed)


def _reseeded(run: Run, rng: np.random.RandomState) -> Run:
    seed = rng.randint(np.iinfo(np.int32).max)
    return run._replace(estimator=with_seed(run.estimator, seed, always=True))
