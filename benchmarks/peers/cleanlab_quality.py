"""cleanlab: the quality of a label, by a cross-validated network's confidence."""

import numpy as np
from cleanlab.rank import get_label_quality_scores
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict

from .problem import Method, Problem


def fit(problem: Problem) -> np.ndarray:
    """Return probabilities out of sample, by five networks."""
    clf = clone(problem.clf).set_params(record=None)
    return cross_val_predict(clf, problem.X, problem.y, method="predict_proba")


def score(problem: Problem, probabilities: np.ndarray) -> np.ndarray:
    """Return the quality of each label."""
    return get_label_quality_scores(problem.y, probabilities)


def methods(problem: Problem) -> list[Method]:
    """Return confidence in the given label."""
    return [Method("cleanlab", fit, score)]
