"""mislabeled: detectors of wrong labels, on scikit-learn's network trained alike.

Its ensembles follow the training of scikit-learn's estimators, so that initial weights
and batches are scikit-learn's own. It is installed from its repository:
``pip install git+https://github.com/Orange-OpenSource/mislabeled``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from mislabeled.detect.detectors import AreaUnderMargin, ForgetScores, TracIn
from sklearn.neural_network import MLPClassifier

from .problem import Method, Problem


def network(problem: Problem) -> MLPClassifier:
    """Return scikit-learn's network with the sizes and the training of the problem."""
    clf = problem.clf
    return MLPClassifier(
        clf.get_params()["module__hidden_layer_sizes"],
        solver="sgd",
        learning_rate_init=clf.lr,
        momentum=problem.momentum,
        nesterovs_momentum=False,
        alpha=0.0,
        batch_size=clf.batch_size,
        max_iter=clf.max_epochs,
        random_state=clf.random_state,
    )


def _method(name: str, detector: Callable[[Any], Any]) -> Method:
    def score(problem: Problem, net: MLPClassifier) -> np.ndarray:
        """Train and probe in one, and return the trust in each label."""
        return detector(net).trust_score(problem.X, problem.y)

    return Method(f"mislabeled {name}", network, score)


def methods(problem: Problem) -> list[Method]:
    """Return the detectors that probe a network throughout its training."""
    return [
        _method("AUM", AreaUnderMargin),
        _method("TracIn", TracIn),
        _method("forgetting", ForgetScores),
    ]
