"""Gradients accumulated over several batches: a step on the mean of their losses."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from torch import nn

from skinfluence import SGDInfluenceClassifier, load_estimator
from skinfluence.scorers import TracIn
from tests.cases import MODULES, N_SAMPLES, OPTIMIZERS, Case, rough
from tests.oracles import (
    Spy,
    finite_differences,
    relative_error,
    retrain,
    validation_loss,
)

# What the library promises; the oracle's own error is about 1e-8.
TOLERANCE = 1e-6

# Sums taken in another order, in double precision.
ROUNDING = 1e-10

K = 3  # 14 samples in batches of 3: steps on 3 and on 2 batches, the last one of 2


def fitted(case, *callbacks, **options):
    """Return a classifier that accumulates, and what an onlooker saw."""
    spy = Spy()
    options = {"batch_size": 3, "accumulate_steps": K, **options}
    return case.fitted(callbacks=[spy, *callbacks], **options), spy.run


def oracle_options(clf, case):
    """Return what the plain loop needs besides the batches."""
    seeds = [
        (record.seed or 0) + k
        for record in clf.trajectory_.records
        for k in range(max(1, len(record.sizes)))
    ]
    weights = case.data()[2]
    return {
        "seeds": seeds,
        "sample_weight": weights,
        "accumulate": clf.accumulate_steps,
    }


def expected_influence(clf, run, case, **options):
    X_val, y_val = case.validation()

    def value(ends, base):
        return validation_loss(ends[-1], X_val, y_val, base[-1]).mean()

    options = {**oracle_options(clf, case), **options}
    return finite_differences(run, case.data()[0], value, **options)


def check(case, *callbacks, clip=None, **options):
    clf, run = fitted(case, *callbacks, **options)
    end = retrain(
        run,
        case.data()[0],
        np.ones(N_SAMPLES),
        clip=clip,
        **oracle_options(clf, case),
    )[-1]
    trained = nn.utils.parameters_to_vector(clf.module_.parameters())
    plain = nn.utils.parameters_to_vector(end.parameters())
    assert torch.allclose(trained, plain, rtol=1e-12, atol=1e-14)
    for mine, theirs in zip(clf.module_.buffers(), end.buffers(), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-12)
    found = clf.influence(*case.validation())
    expected = expected_influence(clf, run, case, clip=clip)
    assert relative_error(found, expected) <= TOLERANCE
    return clf, run


@pytest.mark.slow
@rough
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer):
    clf, _ = check(Case("mlp", optimizer, weighted=True))
    assert [r.sizes for r in clf.trajectory_.records[:2]] == [(3, 3, 3), (3, 2)]


@rough
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("module", MODULES)
def test_every_module(module, optimizer):
    check(Case(module, optimizer, weighted=True))


@pytest.mark.slow
@rough
@pytest.mark.parametrize("k", [1, 2, 4, 5, 100])
@pytest.mark.parametrize("module", ["dropout", "batch_norm"])
def test_groups_of_any_size(module, k):
    clf, _ = check(Case(module, "momentum"), accumulate_steps=k)
    assert clf.trajectory_.n_steps == 3 * -(-5 // k)


# A schedule by batches begins before the first step, of which torch warns.
AHEAD = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


@rough
@AHEAD
@pytest.mark.parametrize("every", ["batch", "epoch"])
def test_clipping_and_schedules(every):
    clip = partial(nn.utils.clip_grad_norm_, max_norm=0.5)
    schedule = LRScheduler("StepLR", step_size=2, gamma=0.7, step_every=every)
    clf, run = check(
        Case("dropout", "momentum"), GradientNormClipping(0.5), schedule, clip=clip
    )
    assert all(record.clipping.bound == 0.5 for record in clf.trajectory_.records)
    rates = {groups[0]["lr"] for groups in run.groups}
    assert len(rates) == (8 if every == "batch" else 2)


class Count(Callback):
    def __init__(self):
        self.batches, self.steps = 0, 0

    def on_batch_end(self, net, training=None, **kwargs):
        self.batches += training

    def on_grad_computed(self, net, **kwargs):
        self.steps += 1


def test_callbacks_see_every_batch_and_the_gradients_of_every_step():
    count = Count()
    clf, _ = fitted(Case(), count)
    assert (count.batches, count.steps) == (15, 6)
    sizes = clf.history[0, "batches", :, "train_batch_size"]
    assert sizes == [3, 3, 3, 3, 2]


@pytest.mark.parametrize("module", ["mlp", "batch_norm", "dropout"])
def test_recorded_or_not_the_same_bits(module):
    one, _ = fitted(Case(module, "adam"))
    other, _ = fitted(Case(module, "adam"), record=None)
    for mine, theirs in zip(
        one.module_.parameters(), other.module_.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


@rough
@pytest.mark.parametrize("module", ["mlp", "batch_norm", "dropout"])
def test_recomputed_states_saved_and_copied(module, tmp_path):
    case = Case(module, "adam", weighted=True)
    clf, _ = fitted(case)
    scores = clf.influence(*case.validation())
    # A NondeterminismWarning would tell of other bits.
    thin, _ = fitted(case, checkpoint_every=4)
    assert len(thin.trajectory_.kept) < len(clf.trajectory_.kept)
    np.testing.assert_array_equal(thin.influence(*case.validation()), scores)
    named = case.classifier(batch_size=3, accumulate_steps=K)
    X, y, weights = case.data()
    named.set_params(module=MODULES[module]).fit(X, y, sample_weight=weights)
    named.save(tmp_path / "clf")
    trusted = [f"tests.cases.{module}"]
    loaded = load_estimator(tmp_path / "clf", trusted=trusted)
    np.testing.assert_array_equal(loaded.influence(*case.validation()), scores)
    again = pickle.loads(pickle.dumps(named))
    np.testing.assert_array_equal(again.influence(*case.validation()), scores)


@rough
def test_partial_fit_goes_on():
    case = Case("dropout", "momentum")
    X, y, _ = case.data()
    spy = Spy()
    clf = case.classifier(callbacks=[spy], batch_size=3, accumulate_steps=K)
    clf.fit(X, y).partial_fit(X, y)
    assert clf.trajectory_.n_steps == 12
    found = clf.influence(*case.validation())
    assert relative_error(found, expected_influence(clf, spy.run, case)) <= TOLERANCE


@pytest.mark.slow
@rough
@pytest.mark.parametrize("module", ["mlp", "dropout", "batch_norm"])
def test_counterfactuals_and_refits(module):
    case = Case(module, "momentum", weighted=True)
    X, _, _ = case.data()
    X_val, y_val = case.validation()
    clf, run = fitted(case)
    options = oracle_options(clf, case)
    base = retrain(run, X, np.ones(N_SAMPLES), **options)[-1]
    changes = []
    for sample in range(N_SAMPLES):
        weights = np.ones(N_SAMPLES)
        weights[sample] = 0
        end = retrain(run, X, weights, **options)[-1]
        losses = [validation_loss(copy.deepcopy(m), X_val, y_val) for m in (end, base)]
        changes.append(losses[0].mean() - losses[1].mean())
    found = clf.counterfactual_influence(X_val, y_val)
    assert relative_error(found, np.array(changes)) <= TOLERANCE
    some = clf.counterfactual_influence(X_val, y_val, samples=[[2]])
    assert abs(some[0] - changes[2]) <= TOLERANCE * np.abs(changes).max()
    without = clf.refit_without([5])
    after = validation_loss(copy.deepcopy(without.module_), X_val, y_val).mean()
    before = validation_loss(copy.deepcopy(base), X_val, y_val).mean()
    assert abs(after - before - changes[5]) <= TOLERANCE * np.abs(changes).max()


@rough
def test_labels():
    case = Case("dropout", "momentum", weighted=True)
    X, y, _ = case.data()
    X_val, y_val = case.validation()
    clf, run = fitted(case)
    found = clf.label_influence(X_val, y_val)
    # With small weights on the other label: a mixture of losses in the plain loop.
    step, sample, label = 1e-5, 4, 2
    assert y[sample] != label

    def mixed(amount):
        def loss(outputs, targets):
            cross = nn.functional.cross_entropy
            own = cross(outputs, targets, reduction="none")
            chosen = torch.tensor([bool((x == X[sample]).all()) for x in seen[0]])
            other = cross(outputs, torch.full_like(targets, label), reduction="none")
            return torch.where(chosen, own + amount * (other - own), own)

        return loss

    values = []
    seen = [None]

    def identify(inputs):
        seen[0] = inputs.numpy()
        return inputs

    for amount in (step, -step):
        (end,) = retrain(
            run,
            X,
            np.ones(N_SAMPLES),
            loss=mixed(amount),
            identify=identify,
            **oracle_options(clf, case),
        )[-1:]
        values.append(validation_loss(end, X_val, y_val).mean())
    slope = (values[0] - values[1]) / (2 * step)
    # Central differences of second order.
    assert abs(found[sample, label] - slope) <= 1e-6 * np.abs(found).max()


@rough
@AHEAD
@pytest.mark.parametrize("policy", ["ReduceLROnPlateau", "StepLR"])
def test_resumed_with_the_same_bits(policy, tmp_path):
    case = Case("dropout", "momentum", weighted=True)
    X, y, weights = case.data()
    options = {
        "ReduceLROnPlateau": {"monitor": "train_loss", "patience": 0, "threshold": 0.5},
        "StepLR": {"step_size": 4, "gamma": 0.7, "step_every": "batch"},
    }[policy]

    def run(n_epochs, folder, **how):
        clf = case.classifier(
            batch_size=3,
            accumulate_steps=K,
            max_epochs=n_epochs,
            trajectory_dir=tmp_path / folder,
            callbacks=[LRScheduler(policy, **options)],
        )
        return clf.fit(X, y, sample_weight=weights, **how)

    whole = run(5, "whole")
    run(3, "parts")
    resumed = run(5, "parts", resume=True)
    assert resumed.trajectory_.folder.name == "run-000001"
    assert resumed.history[:, "train_loss"] == whole.history[:, "train_loss"]
    np.testing.assert_array_equal(
        resumed.influence(*case.validation()), whole.influence(*case.validation())
    )


@rough
def test_the_bound_and_tracin_share_out_a_step():
    case = Case("linear", "sgd", {"optimizer__weight_decay": 0.0})
    X, y, _ = case.data()
    X, X_val = X.reshape(len(X), -1), case.validation()[0].reshape(7, -1)
    y_val = case.validation()[1]
    options = {"batch_size": 3, "accumulate_steps": K, "lr": 0.02}
    clf = case.classifier(**options).set_params(module="linear").fit(X, y)
    difference = clf.influence(X_val, y_val) - clf.counterfactual_influence(
        X_val, y_val
    )
    bound = clf.influence_error_bound(X_val, y_val)
    assert (np.abs(difference) <= bound).all()
    # By hand: -η Σ_t ⟨∇Q, g_i⟩ c/(k |S|) at the states before the steps.
    trajectory, total = clf.trajectory_, np.zeros(N_SAMPLES)
    module = copy.deepcopy(clf.module_)
    inputs, targets = torch.from_numpy(X_val), torch.from_numpy(y_val)

    def gradient(x, t):
        loss = nn.functional.cross_entropy(module(x), t)
        found = torch.autograd.grad(loss, list(module.parameters()))
        return nn.utils.parameters_to_vector(found)

    for record in trajectory.records:
        state = trajectory.state(record.step)
        nn.utils.vector_to_parameters(state.parameters, module.parameters())
        query = gradient(inputs, targets)
        for rows in record.rows.split(record.sizes):
            share = 1 / (len(record.sizes) * len(rows))
            for row in rows.tolist():
                x, t = torch.from_numpy(X[row : row + 1]), torch.tensor([y[row]])
                total[row] += 0.02 * share * float(query @ gradient(x, t))
    found = TracIn(steps="all")(clf, X, y, X_val, y_val)
    assert relative_error(found, total) <= ROUNDING


def test_a_compiled_run_does_not_compile_accumulated_steps():
    case = Case("mlp", "momentum")
    clf, _ = fitted(case, compile=True, accumulate_steps=2, batch_size=7)
    plain, _ = fitted(case, accumulate_steps=2, batch_size=7)
    assert {record.compiled_size for record in clf.trajectory_.records} == {None}
    scores = plain.influence(*case.validation())
    assert relative_error(clf.influence(*case.validation()), scores) <= ROUNDING


def test_the_mean_of_the_means_is_that_of_a_large_batch():
    # Without BatchNorm and dropout, and for batches of equal sizes.
    case = Case("mlp", "adam", {"shuffle": False, "max_epochs": 2}, weighted=True)
    parts, _ = fitted(case, batch_size=2, accumulate_steps=7)
    whole, _ = fitted(case, batch_size=14, accumulate_steps=1)
    scores = whole.influence(*case.validation())
    found = parts.influence(*case.validation())
    assert relative_error(found, scores) <= ROUNDING


@pytest.mark.parametrize("k", [0, -1, 1.5, "2", None, [2]])
def test_bad_numbers(k):
    X, y, _ = Case().data()
    message = r"'accumulate_steps' parameter.*an int in the range \[1, 2\*\*63\)"
    with pytest.raises(ValueError, match=message):
        Case().classifier(accumulate_steps=k).fit(X, y)


def test_an_optimizer_that_evaluates_several_times_is_refused():
    X, y, _ = Case().data()
    clf = SGDInfluenceClassifier(
        accumulate_steps=2, record=None, optimizer=torch.optim.LBFGS
    )
    with pytest.raises(ValueError, match="`accumulate_steps` must be 1 for LBFGS"):
        clf.fit(X.reshape(len(X), -1), y)
