"""Influence by epoch: its parts are what the retraces of single epochs give."""

import numpy as np
import pytest
import torch
from torch import nn

from skinfluence import SGDInfluenceRegressor
from skinfluence.estimators import RecordedRun
from skinfluence.estimators._questions.question import ask, query_of
from skinfluence.exceptions import InfluenceReliabilityWarning, NotRecordedError
from skinfluence.influence import SampleQueries, retrace
from tests.cases import N_SAMPLES, Case, rough

# The same sums in double precision, taken in another order.
ROUNDING = 1e-12

CASES = [
    Case("mlp", "sgd"),
    Case("mlp", "momentum", weighted=True),
    Case("mlp", "adam"),
]


def close(found, expected):
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * scale)


@rough
@pytest.mark.parametrize("at", ["final", "path", [2]])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.optimizer)
def test_sums_to_the_influence(case, at):
    clf = case.fitted()
    parts = clf.influence_by_epoch(*case.validation(), at=at)
    assert parts.shape == (N_SAMPLES, clf.trajectory_.n_epochs)
    assert parts.dtype == np.float64
    close(parts.sum(axis=1), clf.influence(*case.validation(), at=at))


@rough
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.optimizer)
def test_an_epochs_part_is_what_retracing_it_too_adds(case):
    clf = case.fitted()
    parts = clf.influence_by_epoch(*case.validation())
    n_epochs = parts.shape[1]
    before = np.zeros(N_SAMPLES)
    for last in range(1, n_epochs + 1):
        scores = clf.influence(*case.validation(), last_epochs=last)
        close(parts[:, n_epochs - last], scores - before)
        before = scores


@rough
def test_epochs_that_are_not_retraced_or_asked_contribute_nothing():
    case = Case("mlp", "momentum")
    clf = case.fitted()
    every = clf.influence_by_epoch(*case.validation())
    some = clf.influence_by_epoch(*case.validation(), last_epochs=2)
    assert (some[:, :1] == 0).all()
    np.testing.assert_array_equal(some[:, 1:], every[:, 1:])
    early = clf.influence_by_epoch(*case.validation(), at=[1])
    assert (early[:, 0] != 0).all()
    assert (early[:, 1:] == 0).all()


def test_equals_the_closed_form_of_one_parameter():
    # A squared error of one parameter θ: a step to θ - lr 2 mean(w (θ - y)), after
    # which each step multiplies a change by 1 - 2 lr.
    lr, size, y = 0.1, 2, np.arange(6.0)
    reg = SGDInfluenceRegressor(
        nn.Linear(1, 1, bias=False),
        lr=lr,
        max_epochs=3,
        batch_size=size,
        dtype="float64",
        random_state=0,
    ).fit(np.ones((6, 1)), y)
    run = reg.trajectory_
    theta = [float(run.state(step).parameters[0]) for step in range(run.n_steps + 1)]
    expected = np.zeros((6, 3))
    for record in run.records:
        rows = record.rows.numpy()
        slope = -lr * 2 / size * (theta[record.step] - y[rows])
        later = (1 - 2 * lr) ** (run.n_steps - 1 - record.step)
        # Three steps an epoch; the query is θ², of slope 2 θ.
        expected[rows, record.step // 3] -= 2 * theta[-1] * later * slope
    found = reg.influence_by_epoch(np.ones((4, 1)), np.zeros(4))
    # Rounding of nine steps in double precision.
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


@rough
def test_several_queries_have_their_epochs_each():
    case = Case("mlp", "momentum")
    clf = case.fitted()
    asked = ask(clf, *case.validation(), None, "loss", "final", None)
    step, worker = RecordedRun.of(clf).repeatable()
    queries = query_of(worker, asked, SampleQueries)
    found = retrace(asked.trajectory, step, queries, asked.at, by_epoch=True).scores
    n_val = len(asked.dataset)
    assert found.shape == (N_SAMPLES, asked.trajectory.n_epochs, n_val)
    assert found.dtype == torch.float64
    columns = clf.influence(*case.validation(), aggregate=None)
    close(found.sum(1).numpy(), columns)
    # The mean of the queries is the query of the mean.
    close(found.mean(2).numpy(), clf.influence_by_epoch(*case.validation()))


@rough
def test_a_run_recorded_in_part_has_all_its_epochs():
    case = Case("mlp", "momentum")
    whole = case.fitted().influence_by_epoch(*case.validation())
    part = case.fitted(record=1).influence_by_epoch(*case.validation())
    assert part.shape == whole.shape
    assert (part[:, :-1] == 0).all()
    np.testing.assert_array_equal(part[:, -1], whole[:, -1])


def test_nothing_recorded():
    case = Case("linear", "sgd")
    with pytest.raises(NotRecordedError, match="`record` must be"):
        case.fitted(record=None).influence_by_epoch(*case.validation())


def test_warns_of_a_rough_run():
    X = np.ones((6, 1))
    reg = SGDInfluenceRegressor(
        nn.Linear(1, 1, bias=False), lr=1.5, max_epochs=2, batch_size=2, random_state=0
    ).fit(X, np.arange(6.0))
    # A change doubles at each of six steps; none of them uses it before the first.
    with pytest.warns(InfluenceReliabilityWarning, match="grew 32 times"):
        reg.influence_by_epoch(X, np.zeros(6))
