import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from benchmarks import fidelity
from benchmarks.peers.problem import Problem
from skinfluence import SGDInfluenceClassifier


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.int64)
    clf = SGDInfluenceClassifier(
        "linear",
        max_epochs=3,
        batch_size=20,
        optimizer__momentum=0.5,
        random_state=0,
    ).fit(X, y)
    return Problem("logistic", clf, X, y, X[:4], y[:4], np.zeros(60, bool))


@pytest.fixture
def truth(problem, monkeypatch):
    monkeypatch.setattr(fidelity, "N_HALVES", 12)
    monkeypatch.setattr(fidelity, "N_REMOVALS", 2)
    return fidelity.Truth(problem)


def test_plain_training_with_momentum_gives_the_shared_run(problem):
    here = torch.nn.utils.parameters_to_vector(problem.train().module.parameters())
    trajectory = problem.clf.trajectory_
    final = trajectory.state(trajectory.n_steps).parameters
    # Single precision: the order of sums may differ between the two loops.
    torch.testing.assert_close(here.detach(), final, rtol=1e-5, atol=1e-6)


def test_losses_are_those_of_a_fresh_training_on_the_samples_kept(problem, truth):
    kept = truth.halves[0]
    clf = SGDInfluenceClassifier(
        "linear",
        max_epochs=3,
        batch_size=20,
        optimizer__momentum=0.5,
        random_state=1000,
    ).fit(problem.X[kept], problem.y[kept])
    p = clf.predict_proba(problem.X_val)[np.arange(4), problem.y_val]
    # Single precision.
    np.testing.assert_allclose(truth.losses(kept, 1000), -np.log(p), rtol=1e-4)


def test_lds_is_the_mean_of_rank_correlations_over_the_queries(truth):
    scores = np.random.default_rng(1).normal(size=(4, 60))
    losses = [truth.losses(half, 1000 + i) for i, half in enumerate(truth.halves)]
    expected = [
        spearmanr(-(truth.halves @ scores[query]), np.array(losses)[:, query]).statistic
        for query in range(4)
    ]
    mean, error = truth.lds(scores)
    assert mean == pytest.approx(np.mean(expected), abs=1e-12)
    # Twelve halves say little: the spread of a correlation of 12 pairs is about .3.
    assert 0.01 < error < 0.5


def test_lds_is_high_for_what_the_losses_follow(truth):
    # Scores that are fitted to the losses themselves, one weight for each sample.
    losses = np.array([truth.ranks[:, query] for query in range(4)]).T
    halves = truth.halves - truth.halves.mean(0)
    fitted = -np.linalg.lstsq(halves.astype(float), losses, rcond=None)[0].T
    assert truth.lds(fitted)[0] > 0.9
    assert truth.lds(-fitted)[0] < -0.9


def test_removal_of_the_most_helpful_raises_the_loss_more_than_chance(problem, truth):
    scores = problem.clf.influence(
        problem.X_val, problem.y_val, aggregate=None
    ).T.astype(float)
    rise, _ = truth.removal(scores)
    fall, _ = truth.removal(-scores)
    assert rise > fall


def test_constant_columns_have_no_correlation():
    a = np.ones((5, 1))
    assert fidelity._correlations(a, np.arange(5.0)[:, None]) == [0.0]
