"""The ensemble against one-by-one retraining in plain PyTorch."""

import numpy as np
import pytest
import torch
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from skinfluence.counterfactual import Ensemble
from skinfluence.estimators import RecordedRun
from skinfluence.estimators._questions.question import ask, query_of
from tests.cases import MODULES, OPTIMIZERS, Case
from tests.oracles import Spy, retrain, validation_loss

# The same arithmetic in double precision in another order.
TOLERANCE = 1e-10


def weights_of_runs(n):
    """Single samples left out, groups left out, and weights of any kind."""
    rng = np.random.default_rng(3)
    alone = 1 - np.eye(n)[:4]
    group = np.ones((1, n))
    group[0, [2, 5, 6]] = 0
    return np.concatenate([alone, group, rng.uniform(0, 2, (1, n)), np.ones((1, n))])


def changes(clf, case, weights, way, at=None, first=0, others=None, **options):
    """Return the ensemble's changes, through the estimator's own query."""
    X_val, y_val = case.validation()
    question = ask(clf, X_val, y_val, None, "loss", at or "final", None)
    step, worker = RecordedRun.of(clf).repeatable()
    ensemble = Ensemble(
        question.trajectory,
        step,
        query_of(worker, question).here,
        question.at,
        first=first,
        way=way,
        **options,
    )
    like = step.live.parameters[0]
    return ensemble.changes(torch.from_numpy(weights).to(like), others).numpy()


def truth(spy, clf, case, weights, clip=None, epochs=None):
    """Return the changes by plain loops, one run after the other."""
    X, _, sample_weight = case.data()
    X_val, y_val = case.validation()
    seeds = [record.seed or 0 for record in clf.trajectory_.records]
    epochs = epochs or {clf.trajectory_.n_epochs: 1.0}

    def value(own):
        ends = retrain(
            spy.run, X, own, seeds=seeds, sample_weight=sample_weight, clip=clip
        )
        losses = [
            w * validation_loss(ends[e - 1], X_val, y_val).mean()
            for e, w in epochs.items()
        ]
        return sum(losses) / sum(epochs.values())

    return np.array([value(own) for own in weights]) - value(np.ones(len(X)))


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_equals_one_by_one_retraining(optimizer, module):
    case, spy = Case(module, optimizer, weighted=True), Spy()
    schedule = LRScheduler("StepLR", step_size=2, gamma=0.5, step_every="batch")
    clf = case.fitted(callbacks=[spy, GradientNormClipping(0.3), schedule])
    weights = weights_of_runs(len(case.data()[0]))
    expected = truth(
        spy, clf, case, weights, clip=lambda some: clip_grad_norm_(some, 0.3)
    )
    for way in ("stacked", "loop"):
        found = changes(clf, case, weights, way)
        assert np.abs(found - expected).max() <= TOLERANCE, way
        assert np.abs(found[:-1]).min() > 1e3 * TOLERANCE, way
        assert found[-1] == 0.0, way


@pytest.mark.parametrize("way", ["stacked", "loop"])
def test_parameter_groups_and_clipping_by_value(way):
    options = {
        "optimizer__param_groups": [("*.bias", {"lr": 0.3}), ("3.*", {"lr": 0.01})]
    }
    case, spy = Case("mlp", "adam", options), Spy()

    class ClipValue(GradientNormClipping):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            clip_grad_value_([p for _, p in named_parameters], 0.05)

    clf = case.fitted(callbacks=[spy, ClipValue()])
    weights = weights_of_runs(len(case.data()[0]))
    expected = truth(
        spy, clf, case, weights, clip=lambda some: clip_grad_value_(some, 0.05)
    )
    assert np.abs(changes(clf, case, weights, way) - expected).max() <= TOLERANCE


@pytest.mark.parametrize("way", ["stacked", "loop"])
def test_query_along_the_path(way):
    case, spy = Case("mlp", "momentum"), Spy()
    clf = case.fitted(callbacks=[spy])
    weights = weights_of_runs(len(case.data()[0]))
    at = {1: 1.0, 3: 0.5}
    expected = truth(spy, clf, case, weights, epochs=at)
    assert np.abs(changes(clf, case, weights, way, at) - expected).max() <= TOLERANCE


@pytest.mark.parametrize("max_bytes", [1, 20_000, 2**29])
def test_chunks_make_no_difference(max_bytes):
    case = Case("mlp", "adam")
    clf = case.fitted()
    weights = weights_of_runs(len(case.data()[0]))
    whole = changes(clf, case, weights, "stacked")
    parts = changes(clf, case, weights, "stacked", max_bytes=max_bytes)
    assert np.abs(whole - parts).max() <= TOLERANCE


def test_single_precision_agrees_to_rounding():
    case, spy = Case("mlp", "momentum"), Spy()
    clf = case.fitted(dtype="float32", callbacks=[spy])
    weights = weights_of_runs(len(case.data()[0]))
    found = {way: changes(clf, case, weights, way) for way in ("stacked", "loop")}
    exact = changes(case.fitted(), case, weights, "loop")
    for values in found.values():
        # Changes are differences of losses near 1, which single precision has to 1e-7;
        # nine steps add their own.
        assert np.abs(values - exact).max() <= 2e-6


def test_runs_begin_where_they_part_from_the_recorded_one(monkeypatch):
    case = Case("mlp", "sgd", {"max_epochs": 1})
    clf = case.fitted()
    last = clf.trajectory_.records[-1]
    weights = np.ones((1, len(case.data()[0])))
    weights[0, last.rows[0]] = 0
    taken = []
    from skinfluence.training import TrainingStep

    advance = TrainingStep.advance

    def noted(self, record, *arguments):
        taken.append(record.step)
        return advance(self, record, *arguments)

    monkeypatch.setattr(TrainingStep, "advance", noted)
    assert changes(clf, case, weights, "stacked")[0] != 0.0
    # One step for the check that the record repeats, and the one that differs.
    assert taken == [last.step, last.step]


def sizes_taken(monkeypatch, seconds, runs=300, epochs=60):
    """Return in what sizes runs are taken if a step of `size` runs takes `seconds`."""
    from skinfluence.counterfactual import _ensemble

    def pretended(step, records, budget=None):
        return seconds(getattr(step, "runs", 1))

    monkeypatch.setattr(_ensemble, "_seconds_a_step", pretended)
    taken = []
    for name, size in (("_stack", len), ("_loop", lambda weights: 1)):

        def noted(self, weights, others, start, size=size):
            taken.append(size(weights))
            return torch.zeros(len(weights), dtype=torch.float64)

        monkeypatch.setattr(Ensemble, name, noted)
    case = Case("mlp", "sgd", {"max_epochs": epochs})
    clf = case.fitted()
    weights = np.random.default_rng(0).uniform(0, 2, (runs, len(case.data()[0])))
    changes(clf, case, weights, "auto")
    return taken


@pytest.mark.parametrize(
    ("seconds", "taken"),
    [
        # the cost of a stack is that of its overhead: the larger the better
        (lambda runs: 1.0, {300}),
        # as slow as one by one and slower: not tried beyond the smallest
        (lambda runs: 1.3 * runs if runs > 1 else 1.0, {1}),
        # beyond 64 runs the caches are left
        (lambda runs: 1 + 0.1 * runs + (runs > 64) * runs, {64, 44}),
        # a third of the time of one by one, whatever the size
        (lambda runs: runs / 3 if runs > 1 else 1.0, {4}),
    ],
)
def test_takes_the_size_that_was_fastest_in_the_trial(monkeypatch, seconds, taken):
    assert set(sizes_taken(monkeypatch, seconds)) == taken


def test_the_trial_is_a_small_part_of_the_work(monkeypatch):
    tried = []

    def seconds(runs):
        tried.append(runs)
        return 1.0

    sizes_taken(monkeypatch, seconds, runs=20, epochs=10)
    # 20 runs of 30 steps: two steps of 16 runs would be more than a twentieth.
    assert tried == [1, 4]


class Branching(nn.Module):
    """Looks at its numbers, which a stack of runs cannot do."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(36, 3)

    def forward(self, X):
        outputs = self.layer(X.flatten(1))
        return outputs * 2.0 if outputs.sum() > 0 else outputs


def test_modules_that_cannot_be_stacked_take_turns(monkeypatch, caplog):
    monkeypatch.setitem(MODULES, "branching", Branching)
    case, spy = Case("branching", "sgd"), Spy()
    clf = case.fitted(callbacks=[spy])
    weights = weights_of_runs(len(case.data()[0]))
    with caplog.at_level("INFO", "skinfluence"):
        found = changes(clf, case, weights, "auto")
    assert "one after the other" in caplog.text
    assert np.abs(found - truth(spy, clf, case, weights)).max() <= TOLERANCE
