"""SOURCE: against dense Gauss-Newton matrices and their exponentials."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad_vec
from scipy.linalg import expm
from sklearn.linear_model import LogisticRegression
from skorch.dataset import ValidSplit
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import NotRecordedError, SolverConvergenceWarning
from skinfluence.scorers import SOURCE, KohLiang, SGDInfluence, get_scorer
from skinfluence.scorers._solvers import solve_flow
from tests.oracles import Spy, cross_entropy
from tests.scorers.problems import binary, linear_regressor, mlp, regression
from tests.scorers.unrolled import gauss_newton, plain_steps, sample_gradients


def plain(run, X, y, c, query, bounds, checkpoints):
    """Unroll segments of whole epochs with dense matrices.

    Segment k is of the epochs from bounds[k] + 1 to bounds[k + 1], with its means over
    the models at the ends of the epochs checkpoints[k].
    """
    steps = list(plain_steps(run, X, cross_entropy, c))
    ends = {step.epoch: step.after for step in steps}
    scores = np.zeros(len(X))
    for (start, stop), epochs in reversed(
        list(zip(pairwise(bounds), checkpoints, strict=True))
    ):
        own = [step for step in steps if start < step.epoch <= stop]
        times = np.sum([step.rates for step in own], axis=0)
        weights = np.zeros(len(X))
        for step in own:
            np.add.at(weights, step.rows, c[step.rows] / len(step.rows) / len(own))
        models = [ends[epoch] for epoch in epochs]
        matrices = [gauss_newton(model, X, y, cross_entropy) for model in models]
        matrix = np.mean([np.tensordot(weights, m, 1) for m in matrices], axis=0)
        matrix += own[0].penalty * np.eye(len(matrix))
        gradients = np.mean(
            [sample_gradients(model, X, y, cross_entropy) for model in models], axis=0
        )
        # Whatever the learning rates of the groups are: no symmetric form of it.
        rate = matrix * times
        flow, _ = quad_vec(lambda s, rate=rate: expm(-s * rate), 0, 1, epsabs=1e-12)
        scores += weights * (gradients @ (times * (flow @ query)))
        query = expm(-rate) @ query
    return scores


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer__momentum": 0.8, "lr": 0.02},
        {"optimizer__param_groups": [("layers.0.*", {"lr": 0.5})]},
        {"checkpoint_every": 3},
        {"batch_size": 7},
    ],
    ids=["plain", "momentum", "groups", "recomputed", "uneven"],
)
def test_is_the_flow_of_dense_matrices(options):
    X, y, X_val, y_val = binary()
    c, v = np.linspace(0.5, 1.5, len(X)), np.linspace(1, 2, len(X_val))
    clf = mlp(callbacks=[Spy()], max_epochs=5, **options).fit(X, y, sample_weight=c)
    run = dict(clf.callbacks_)["Spy"].run
    query = v / v.sum() @ sample_gradients(clf.module_, X_val, y_val, cross_entropy)
    for scorer, bounds, checkpoints in (
        (SOURCE(2, tol=1e-10), (0, 2, 5), ((1, 2), (4, 5))),
        (SOURCE(1, 9, last_epochs=3, tol=1e-10), (2, 5), ((3, 4, 5),)),
    ):
        expected = plain(run, X, y, c, query, bounds, checkpoints)
        found = scorer(clf, X, y, X_val, y_val, sample_weight_val=v)
        # The Lanczos method's residual is 1e-10.
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)
        assert scorer.residual_ <= 1e-10


def test_a_converged_run_in_one_segment_is_the_influence_function():
    X, y, *validation = binary()
    clf = SGDInfluenceClassifier(
        "linear",
        dtype="float64",
        lr=0.5,
        max_epochs=400,
        batch_size=-1,
        optimizer__weight_decay=0.1,
        random_state=0,
    ).fit(X, y)
    found = SOURCE(1, 1, tol=1e-9)(clf, X, y, *validation)
    # The Gauss-Newton matrix of a linear model is its Hessian, and e^{-τλ} < 1e-8.
    expected = KohLiang(damping=0.0)(clf, X, y, *validation)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_many_segments_approach_the_derivative_of_the_run():
    X, y, *validation = regression()
    errors = []
    for halvings in (0, 1):
        reg = linear_regressor(
            lr=0.02 / 2**halvings, max_epochs=20 * 2**halvings, batch_size=-1
        ).fit(X, y)
        exact = SGDInfluence("final")(reg, X, y, *validation)
        found = SOURCE(20 * 2**halvings)(reg, X, y, *validation)
        errors.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    # The steps are those of Euler's method for the flow, of first order.
    assert errors[0] < 0.1
    assert errors[1] < 0.6 * errors[0]


def test_what_was_not_trained_on_has_none():
    X, y, *validation = binary()
    split = ValidSplit([(np.arange(5, 24), np.arange(5))])
    scores = SOURCE()(mlp(train_split=split).fit(X, y), X, y, *validation)
    assert (scores[:5] == 0).all()
    assert (scores[5:] != 0).all()


def test_a_flow_of_dense_matrices():
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(9, 9)), rng.normal(size=9)
    A = (A + A.T) / 2  # not definite
    expected, _ = quad_vec(lambda s: expm(-s * A) @ b, 0, 1, epsabs=1e-12)
    solution = solve_flow(lambda v: A @ v, b, 1e-10, 9)
    np.testing.assert_allclose(solution.x, expected, rtol=1e-10)
    # On a subspace that holds b, the method ends early.
    np.testing.assert_allclose(solve_flow(np.negative, b, 0.0, 9).x, b * (np.e - 1))
    assert solve_flow(np.negative, b, 1e-12, 9).n_iterations == 1
    assert not solve_flow(np.negative, 0 * b, 0.0, 9).x.any()


def test_warns_where_it_does_not_converge():
    X, y, *validation = binary()
    clf = mlp().fit(X, y)
    scorer = SOURCE(max_iter=1)
    with pytest.warns(SolverConvergenceWarning, match="relative residual of"):
        scorer(clf, X, y, *validation)
    assert scorer.residual_ > 1e-5
    assert scorer.n_iterations_ == 3


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2, dtype=torch.float64)

    def forward(self, X):
        return self.layer(X), X


def test_says_what_is_lacking():
    X, y, *validation = binary()
    assert get_scorer("source", last_epochs=2).last_epochs == 2
    with pytest.raises(TypeError, match="for the scorer 'source', got Logistic"):
        SOURCE().check_estimator(LogisticRegression())
    with pytest.raises(NotRecordedError, match="'source', got record=None"):
        SOURCE().check_estimator(mlp(record=None))
    with pytest.raises(
        ValueError, match=r"`optimizer` must be torch.optim.SGD .* Adam"
    ):
        SOURCE().check_estimator(mlp(optimizer=torch.optim.Adam))
    clf = mlp().fit(X, y)
    with pytest.raises(
        ValueError, match=r"`n_segments` must be at most .*\(4\), got 5"
    ):
        SOURCE(5)(clf, X, y, *validation)
    clf.partial_fit(X[::-1].copy(), y[::-1].copy())
    with pytest.raises(ValueError, match="must be trained on one data set for the sco"):
        SOURCE()(clf, X, y, *validation)
    two = SGDInfluenceClassifier(TwoOutputs, random_state=0, max_epochs=3).fit(X, y)
    with pytest.raises(
        TypeError, match="one tensor for a Gauss-Newton matrix, got tup"
    ):
        SOURCE()(two, X, y, *validation)
