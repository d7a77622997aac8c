"""`refit_without` against plain PyTorch loops with weights on the losses."""

import copy

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import nn
from torch.nn.utils import clip_grad_norm_

from skinfluence import SGDInfluenceRegressor
from skinfluence.exceptions import (
    DivergenceWarning,
    NotRecordedError,
    TrainingDataChangedError,
)
from tests.cases import MODULES, PAIRS, Case
from tests.oracles import Run, Spy, retrain

ABSENT = [1, 4, 11]
# Two loops over the same double-precision arithmetic: only the order of a batch's sum
# differs.
TOLERANCE = 1e-12


def parameters(module):
    return np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])


def expected(run, case, clf, **options):
    """Return the final parameters of a plain loop without the absent samples."""
    X, _, sample_weight = case.data()
    weights = np.ones(len(X))
    weights[ABSENT] = 0.0
    seeds = [0 if r.seed is None else r.seed for r in clf.trajectory_.records]
    ends = retrain(run, X, weights, seeds=seeds, sample_weight=sample_weight, **options)
    return parameters(ends[-1])


@pytest.mark.parametrize(("optimizer", "module"), PAIRS)
def test_equals_a_plain_loop_with_weights(optimizer, module):
    case, spy = Case(module, optimizer, weighted=True), Spy()
    clf = case.fitted(callbacks=[spy])
    found = parameters(clf.refit_without(ABSENT).module_)
    np.testing.assert_allclose(
        found, expected(spy.run, case, clf), rtol=TOLERANCE, atol=TOLERANCE
    )
    assert np.abs(found - parameters(clf.module_)).max() > 1e-4


def test_clips_and_schedules_as_the_run_did():
    case, spy = Case("mlp", "momentum"), Spy()
    schedule = LRScheduler("StepLR", step_size=2, gamma=0.5, step_every="batch")
    clf = case.fitted(callbacks=[spy, GradientNormClipping(0.2), schedule])
    np.testing.assert_allclose(
        parameters(clf.refit_without(ABSENT).module_),
        expected(spy.run, case, clf, clip=lambda some: clip_grad_norm_(some, 0.2)),
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )


@pytest.mark.parametrize(("optimizer", "module"), PAIRS)
def test_without_nobody_is_the_same_run_to_the_bit(optimizer, module):
    clf = Case(module, optimizer).fitted()
    again = clf.refit_without([])
    for state in range(clf.trajectory_.n_steps + 1):
        before, after = clf.trajectory_.state(state), again.trajectory_.state(state)
        assert torch.equal(before.parameters, after.parameters)
        assert all(map(torch.equal, before.buffers, after.buffers))
    assert np.array_equal(parameters(clf.module_), parameters(again.module_))


@pytest.mark.parametrize("record", ["all", 2])
def test_last_epochs_start_from_the_recorded_state(record):
    case, spy = Case("mlp", "sgd"), Spy()
    clf = case.fitted(callbacks=[spy], record=record)
    X = case.data()[0]
    seeds = [0] * clf.trajectory_.n_steps
    begin = retrain(spy.run, X, np.ones(len(X)), seeds=seeds)[0]
    optimizer = torch.optim.SGD(begin.parameters(), lr=0.1)
    later = spy.run.epochs.index(2)
    tail = Run(
        begin,
        optimizer,
        spy.run.batches[later:],
        spy.run.groups[later:],
        spy.run.epochs[later:],
    )
    last_epochs = 2 if record == "all" else None
    found = clf.refit_without(ABSENT, last_epochs=last_epochs)
    np.testing.assert_allclose(
        parameters(found.module_),
        expected(tail, case, clf),
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )
    assert found.trajectory_.first_recorded_step == later
    with pytest.raises(NotRecordedError, match="`last_epochs` must be between 1 and"):
        found.influence(*case.validation(), last_epochs=3)


def test_its_trajectory_is_that_of_the_run_without_them():
    case = Case("mlp", "momentum", weighted=True)
    clf = case.fitted()
    found = clf.refit_without(ABSENT)
    # The same run trained from scratch, with the samples' own weights at 0. Weights are
    # scaled to mean 1, so the others grow: the learning rate takes that back.
    X, y, weights = case.data()
    absent = weights.copy()
    absent[ABSENT] = 0.0
    share = absent.sum() / weights.sum()
    direct = case.classifier(lr=0.1 * share).fit(X, y, sample_weight=absent)
    np.testing.assert_allclose(
        parameters(found.module_), parameters(direct.module_), rtol=0, atol=TOLERANCE
    )
    scores = found.influence(*case.validation())
    # The influence is linear in a sample's weight, which is smaller here by the share.
    np.testing.assert_allclose(
        scores, direct.influence(*case.validation()), rtol=1e-9, atol=1e-12
    )
    assert (scores[ABSENT] == 0).all()
    assert np.array_equal(
        parameters(found.refit_without(ABSENT).module_), parameters(found.module_)
    )


def test_leaves_the_estimator_as_it_was():
    clf = Case("batch_norm", "adam").fitted()
    weights = parameters(clf.module_).copy()
    moments = copy.deepcopy(clf.optimizer_.state_dict())
    steps, history = clf.trajectory_.n_steps, len(clf.history)
    other = clf.refit_without([0])
    assert np.array_equal(parameters(clf.module_), weights)
    for name, value in moments["state"][0].items():
        assert torch.equal(clf.optimizer_.state_dict()["state"][0][name], value)
    assert (clf.trajectory_.n_steps, len(clf.history)) == (steps, history)
    assert type(other) is type(clf)
    assert len(other.history) == 0
    assert clf.training_data_[0].weights is None


def test_goes_on_training():
    case = Case("mlp", "momentum")
    clf = case.fitted()
    X, y, _ = case.data()
    again = clf.refit_without([]).partial_fit(X, y)
    assert np.array_equal(
        parameters(again.module_), parameters(clf.partial_fit(X, y).module_)
    )
    assert again.trajectory_.n_epochs == 6


def test_counts_rows_through_partial_fit():
    case = Case("mlp", "sgd")
    X, y, _ = case.data()
    clf = case.classifier().partial_fit(X[:8], y[:8], classes=[0, 1, 2])
    clf.partial_fit(X[8:], y[8:])
    found = clf.refit_without([9])
    assert [data.weights is None for data in found.training_data_] == [True, False]
    assert found.training_data_[1].weights.tolist() == [1, 0, 1, 1, 1, 1]


def test_a_mask_is_the_same_as_rows():
    clf = Case("mlp", "sgd").fitted()
    mask = np.zeros(14, bool)
    mask[ABSENT] = True
    assert np.array_equal(
        parameters(clf.refit_without(mask).module_),
        parameters(clf.refit_without(ABSENT).module_),
    )


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([14], "`samples` must be rows of the training data, 0 to 13, got 14 to 14"),
        ([-1], "0 to 13, got -1 to -1"),
        ([0.5], "a one-dimensional array of row numbers or a mask, got dtype float64"),
        ([[0]], r"got dtype int64 and shape \(1, 1\)"),
        ([True], "one entry for each of the 14 samples, got 1"),
    ],
)
def test_refuses_samples_that_are_not_rows(samples, message):
    clf = Case("mlp", "sgd").fitted()
    with pytest.raises(ValueError, match=message):
        clf.refit_without(samples)


def test_refuses_what_cannot_be_repeated():
    case = Case("mlp", "sgd")
    X, y, _ = case.data()
    with pytest.raises(NotRecordedError, match="nothing was recorded"):
        case.fitted(record=None).refit_without([0])
    clf = case.classifier().fit(X, y)
    X[0] += 1
    with pytest.raises(TrainingDataChangedError, match="changed in place"):
        clf.refit_without([0])


class Push(nn.Module):
    """A loss that draws the output to 0, or drives it away where the target is -1."""

    def forward(self, outputs, targets):
        return targets * outputs**2


def test_says_that_the_run_without_them_diverges():
    X = np.ones((2, 1), dtype=np.float32)
    reg = SGDInfluenceRegressor(
        "linear", criterion=Push, batch_size=2, lr=1e6, max_epochs=8, random_state=0
    ).fit(X, [1.0, -1.0])
    with pytest.warns(DivergenceWarning, match="Without the samples the run diverged"):
        other = reg.refit_without([0])
    assert other.trajectory_.diverged_at == 7


OTHER = {2: 1, 7: 0, 9: 2}


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_relabelling_is_the_run_on_other_labels(optimizer, module):
    case = Case(module, optimizer, weighted=True)
    clf, (X, y, sample_weight) = case.fitted(), case.data()
    changed = np.array(y)
    changed[list(OTHER)] = list(OTHER.values())
    assert (changed != y).any()
    trained = clone(clf).fit(X, changed, sample_weight=sample_weight)
    found = clf.refit_without([], relabel=OTHER)
    assert np.array_equal(parameters(found.module_), parameters(trained.module_))
    without = clf.refit_without(ABSENT, relabel=OTHER)
    expected = trained.refit_without(ABSENT)
    assert np.array_equal(parameters(without.module_), parameters(expected.module_))
    # And what is asked of it is asked of these labels.
    validation = case.validation()
    np.testing.assert_array_equal(
        without.influence(*validation), expected.influence(*validation)
    )


def test_relabelling_targets_over_the_last_epochs():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    options = {"max_epochs": 4, "batch_size": 8, "lr": 0.05, "random_state": 0}
    reg = SGDInfluenceRegressor("linear", **options).fit(X, y)
    moved = reg.refit_without([], relabel={5: 2.0, 6: -1.0}, last_epochs=2)
    exact = reg.counterfactual_influence(
        X, y, [[5, 6]], labels=[[2.0, -1.0]], last_epochs=2
    )
    change = np.mean((moved.predict(X) - y) ** 2) - np.mean((reg.predict(X) - y) ** 2)
    # The same arithmetic in another order.
    np.testing.assert_allclose(change, exact[0], rtol=1e-9)


def test_relabelling_in_an_earlier_stage():
    X, y, _ = Case("mlp", "sgd").data()
    first = Case("mlp", "sgd").fitted()
    second = Case("mlp", "sgd").classifier(pretrained=first).fit(X, y)
    found = second.refit_without(ABSENT, relabel=OTHER, stage="pretraining")
    changed = first.refit_without(ABSENT, relabel=OTHER)
    expected = clone(second).set_params(pretrained=changed).fit(X, y)
    assert np.array_equal(parameters(found.module_), parameters(expected.module_))


def test_targets_in_a_dataset_are_not_relabelled():
    X, y, _ = Case("linear", "sgd").data()
    dataset = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))
    clf = Case("linear", "sgd").classifier(classes=[0, 1, 2]).fit(dataset, None)
    with pytest.raises(TypeError, match=r"`relabel` needs targets .* a Dataset holds"):
        clf.refit_without([], relabel=OTHER)


@pytest.mark.parametrize(
    ("relabel", "error", "match"),
    [
        ({1: 0}, ValueError, "`relabel` must not name samples that are left out.* 1"),
        ({99: 0}, ValueError, "`relabel` must be rows of the training data"),
        ({2: 77}, ValueError, "`relabel` must have only labels .*got .77"),
        ([2], TypeError, "`relabel` must be a mapping of rows to labels, got list"),
    ],
)
def test_refuses_other_relabelling(relabel, error, match):
    with pytest.raises(error, match=match):
        Case("linear", "sgd").fitted().refit_without(ABSENT, relabel=relabel)
