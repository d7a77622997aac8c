"""Ranking and refitting, by the parameters that all cleaners have."""

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils._metadata_requests import METHODS, RequestMethod
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from .._numbers import random_generator
from .._progress import tracked
from ..estimators import (
    QueryLike,
    ScoresOverRuns,
    SGDInfluenceClassifier,
    are_several_labels,
    has_columns,
    has_probabilities,
    warn_if_alike,
)
from ..scorers import get_scorer
from ._actions import ACTIONS, action_of
from ._checks import CONSTRAINTS
from ._data import CleaningData
from ._label_noise import (
    CORRECTED,
    UNESTIMATED,
    LabelNoise,
    check_estimable,
    estimate_label_noise,
    is_estimable,
)
from ._ranking import (
    Ranking,
    Run,
    are_emptied,
    fit_run,
    plan_runs,
    score_runs,
    with_seed,
)
from ._removal import Removal
from ._reweighting import Reweight
from ._selection import (
    Goal,
    beneficial_removals,
    check_n_remove,
    is_imbalanced,
    within_limits,
)
from ._splits import class_codes, ranking_splits

_OF_ONE_RUN = 0.2

RESAMPLING = "fit_resample"
"""A method of imbalanced-learn, which adds it to those that scikit-learn routes to."""


class CleaningRecipe(BaseEstimator):
    """The parameters that all cleaners have, and the work that they describe."""

    # The cleaner passes weights on: who is to have them is for the estimators to say.
    __metadata_request__fit: ClassVar = {"sample_weight": False}
    __metadata_request__fit_resample: ClassVar = {"sample_weight": False}
    # scikit-learn makes this method for classes that are made after imbalanced-learn is
    # imported only.
    set_fit_resample_request = RequestMethod(
        RESAMPLING, ["X_val", "groups", "sample_weight", "sample_weight_val", "y_val"]
    )

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CONSTRAINTS,
        "action": [StrOptions(set(ACTIONS)), Reweight],
    }

    estimator: Any
    action: Any
    scorer: Any
    final_estimator: Any
    validation_fraction: float | None
    max_class_fraction: Any
    n_rounds: int | None
    n_runs: int
    query: Any
    at: Any
    last_epochs: int | None
    smoothing: Any
    refit: str
    memory: Any
    n_jobs: int | None
    verbose: int
    random_state: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        ranked, final = map(get_tags, (self._estimator(), self._final()))
        tags.estimator_type = final.estimator_type
        tags.classifier_tags = final.classifier_tags
        tags.regressor_tags = final.regressor_tags
        tags.target_tags = final.target_tags
        tags.target_tags.required = True
        # X is passed to both estimators, but only the final one predicts.
        for name in ("sparse", "allow_nan"):
            both = getattr(final.input_tags, name) and getattr(ranked.input_tags, name)
            setattr(tags.input_tags, name, both)
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Return which metadata goes where.

        Returns
        -------
        MetadataRouter
            The cleaner itself takes the validation data; other arguments of ``fit`` and
            ``fit_resample`` go to the ``fit`` of `estimator` and of `final_estimator`,
            sample weights too, whether the cleaner requests them or not.
        """
        fit = MethodMapping().add(caller="fit", callee="fit")
        if RESAMPLING in METHODS:  # imbalanced-learn adds it
            fit.add(caller=RESAMPLING, callee="fit")
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(estimator=self._estimator(), method_mapping=fit)
        if self.final_estimator is not None:
            router.add(final_estimator=self.final_estimator, method_mapping=fit)
        return router

    def _estimator(self) -> Any:
        return SGDInfluenceClassifier() if self.estimator is None else self.estimator

    def _final(self) -> Any:
        if self.final_estimator is not None:
            return self.final_estimator
        # Tags are asked for before the parameters are checked.
        known = isinstance(self.action, Reweight) or self.action in ACTIONS
        action = self._action() if known else Removal()
        return action.final(self._estimator())

    def _scorer(self, query: QueryLike | None = None) -> Any:
        """Return the scorer, for a query or for what stands for it in checks."""
        options = {
            "query": self._query(None) if query is None else query,
            "at": self.at,
            "last_epochs": self.last_epochs,
            "smoothing": self.smoothing,
        }
        return get_scorer(self.scorer, **options)

    def _query(self, data: CleaningData | None) -> QueryLike:
        """Return the query of some data, not yet corrected for noise in its labels."""
        if isinstance(self.query, str) and self.query == CORRECTED:
            return UNESTIMATED
        if not (isinstance(self.query, str) and self.query == "auto"):
            return self.query
        # Held-out samples are as noisy as the others, and wrong labels among them
        # mislead the expected error less than the loss.
        held_out = data is None or data.validation is None
        noisy = held_out and has_probabilities(self._estimator())
        # Only one label, or each of several, can be right or wrong.
        noisy = noisy and not (data is not None and self._labels_sequences(data))
        query = "error" if noisy else "loss"
        # Class weights balance any query.
        small = data is not None and self._has_small_class(data)
        return f"balanced_{query}" if small and not self._weights_classes() else query

    def _labels_sequences(self, data: CleaningData) -> bool:
        several = are_several_labels(self._estimator(), data.y)
        return has_columns(data.y) and not several

    def _label_noise(self, data: CleaningData, seed: int) -> LabelNoise | None:
        """Return how the labels seem to be confused, if the ranking depends on it."""
        if not self._depends_on_noise(data):
            return None
        return estimate_label_noise(
            self._estimator(),
            data,
            seed,
            self.memory,
            self.n_jobs,
            self.verbose,
            needed=self.query == CORRECTED,
        )

    def _depends_on_noise(self, data: CleaningData) -> bool:
        """Return whether label noise is to be estimated; refuse what cannot be."""
        # Scorers that are objects have a query of their own, and functions have none.
        named = isinstance(self.scorer, str) and isinstance(self.query, str)
        if not named or not hasattr(self._scorer(), "query"):
            return False
        if self.query == CORRECTED:
            check_estimable(data)
            return True
        possible = self.query == "auto" and self._query(data) == "error"
        return possible and not self._weights_classes() and is_estimable(data)

    def _action(self) -> Removal:
        return action_of(self.action)

    def _n_rounds(self) -> int:
        return self._action().n_rounds if self.n_rounds is None else self.n_rounds

    def _ranking_cv(self) -> Any:
        """Return the cross-validation of the ranking, if any."""
        return None

    def _validation_fraction(self) -> float | None:
        if self.validation_fraction is None and self.refit == "counterfactual":
            return _OF_ONE_RUN  # which is repeated, and should be of most samples
        return self.validation_fraction

    def _codes(self, data: CleaningData) -> np.ndarray:
        return class_codes(data.y, data.classification)

    def _weights_classes(self) -> bool:
        """Return whether the estimator weights the classes, in a query too."""
        return getattr(self._estimator(), "class_weight", None) is not None

    def _has_small_class(self, data: CleaningData) -> bool:
        return data.classification and is_imbalanced(self._codes(data))

    def _orders(
        self, data: CleaningData, ranking: Ranking, beneficial: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples in the order of removal, and those that limits leave."""
        codes = self._codes(data)
        order = beneficial_removals(ranking, codes) if beneficial else ranking.order
        if not self._action().limited:
            return order, order
        return order, within_limits(order, codes, self.max_class_fraction)

    def _seeds(self) -> Any:
        """Return the seeds of the split, of the final fit, and of each run."""
        # A cached ranking is found again only with the same seeds.
        fixed = self.random_state is None and self.memory is not None
        rng = random_generator(0 if fixed else self.random_state)
        return rng.randint(np.iinfo(np.int32).max, size=2 + self.n_runs)

    def _rank(self, data: CleaningData, goal: Goal) -> Ranking:
        """Rank the samples, again after each round, until the goal is reached."""
        action = self._action()
        ends = action.ends(goal.largest, self._n_rounds())
        ranking = self._first_round(data, goal)
        for end in tracked(ends, "Further rounds", "round"):
            chosen = self._orders(data, ranking, goal.beneficial)[1][:end]
            if len(chosen) < end or end >= goal.number:
                break
            cleaned, runs = action.next_round(data, ranking, chosen)
            both = np.concatenate([data.y, cleaned.y])
            codes = np.split(class_codes(both, data.classification), 2)
            if are_emptied(ranking.runs, runs, *codes):
                break
            again = Ranking.of(self._scores_of(cleaned, runs), *ranking[1:4])
            ranking = again.after(ranking, chosen)
        return ranking

    def _first_round(self, data: CleaningData, goal: Goal) -> Ranking:
        """Rank the samples, after checking that so many can be chosen."""
        split_seed, final_seed, *run_seeds = self._seeds()
        splits = ranking_splits(
            data,
            self._validation_fraction(),
            self._ranking_cv(),
            split_seed,
            data.classification,
        )
        # If only harmful samples are chosen, the number is no more than a limit.
        if not goal.beneficial:
            n_ranked = len(np.unique(np.concatenate([train for train, _ in splits])))
            check_n_remove(goal.largest, len(data), n_ranked)
        noise = self._label_noise(data, split_seed)
        query = self._query(data) if noise is None else noise.query
        runs = plan_runs(
            self._estimator(),
            self._scorer(query),
            splits,
            run_seeds,
            by_label=self._action().by_label,
        )
        self._action().check_runs(runs, data)
        # Not cached: the cleaner keeps this estimator, and the cache holds scores only.
        estimator = fit_run(runs[0], data)
        scores = self._scores_of(data, runs, estimator)
        if self.n_runs > 1:
            warn_if_alike(estimator)
        ranking = Ranking.of(scores, estimator, runs, final_seed)
        if not goal.beneficial:
            # Runs that were left out may have been the only ones of some samples.
            n_ranked = int((~np.isnan(ranking.scores)).sum())
            check_n_remove(goal.largest, len(data), n_ranked)
        if noise is None:
            return ranking
        found = noise.label_probability if self._action().by_probability else None
        return ranking._replace(transition=noise.transition, label_probability=found)

    def _scores_of(
        self, data: CleaningData, runs: Sequence[Run], first: Any = None
    ) -> ScoresOverRuns:
        return score_runs(runs, data, self.memory, self.n_jobs, self.verbose, first)

    def _refit(self, data: CleaningData, ranking: Ranking, chosen: np.ndarray) -> Any:
        """Return the final estimator, fitted on the cleaned data."""
        if self.refit == "counterfactual":
            # As rows of the run, which did not train on the held-out samples.
            removed = np.flatnonzero(np.isin(ranking.train, chosen))
            return ranking.estimator.refit_without(removed)
        final = with_seed(self._final(), ranking.seed)
        with warnings.catch_warnings():
            # Self-training says so of no suspects, which is one of the numbers tried.
            warnings.filterwarnings("ignore", "y contains no unlabeled samples")
            return final.fit(data.X, data.y, **data.final_params)
