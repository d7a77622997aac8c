"""What `influence` can be asked: of which models, about which samples, in what unit."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn
from tqdm.auto import tqdm

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators._questions import estimate as _estimate
from skinfluence.estimators._questions.question import ask
from skinfluence.estimators._questions.stages import stages_of
from tests.cases import MODULES, N_CLASSES, N_SAMPLES, Case, rough
from tests.oracles import (
    Spy,
    finite_differences,
    relative_error,
    retrain,
    validation_loss,
)

# What the library promises; the oracle's own error is about 1e-8.
TOLERANCE = 1e-6

# Sums taken in another order, in double precision, through the steps of a short run.
ROUNDING = 1e-10


def max_pool():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, N_CLASSES),
    )


ALL_MODULES = {**MODULES, "max_pool": max_pool}


def fitted(name, optimizer="momentum", **options):
    """Return a classifier on its case, of the table's modules or another one."""
    case = Case("mlp", optimizer, weighted=True)
    X, y, weights = case.data()
    clf = case.classifier(**options).set_params(module=ALL_MODULES[name])
    return case, clf.fit(X, y, sample_weight=weights)


# --- one column for each validation sample -------------------------------------------


@rough
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("name", ALL_MODULES)
def test_columns_are_single_queries(name, optimizer):
    case, clf = fitted(name, optimizer)
    X_val, y_val = case.validation()
    columns = clf.influence(X_val, y_val, aggregate=None)
    assert columns.shape == (N_SAMPLES, len(y_val))
    assert columns.dtype == np.float64
    scale = np.abs(columns).max()
    assert scale > 1e-3
    for j in range(len(y_val)):
        alone = clf.influence(X_val[j : j + 1], y_val[j : j + 1])
        assert np.abs(columns[:, j] - alone).max() <= ROUNDING * scale
    together = clf.influence(X_val, y_val)
    assert np.abs(columns.mean(axis=1) - together).max() <= ROUNDING * scale


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dropout", "batch_norm", "max_pool"])
def test_columns_across_the_borders_of_parts(name, monkeypatch):
    case, clf = fitted(name, batch_size=4)
    X_val, y_val = case.validation()
    whole = clf.influence(X_val, y_val, aggregate=None)
    asked = ask(clf, X_val, y_val, None, "loss", "final", None)
    stages, _ = stages_of(clf, asked)
    budgets = {}
    for budget in 1.1 ** np.arange(200):
        monkeypatch.setattr(_estimate, "_QUERY_BYTES", int(budget))
        parts = list(_estimate.parts_in_memory(len(y_val), stages))
        assert [row for part in parts for row in part] == list(range(len(y_val)))
        budgets[max(map(len, parts))] = int(budget)
    assert {1, 2, 3, 4, len(y_val)} <= budgets.keys()
    for size in (1, 2, 3, 4):
        monkeypatch.setattr(_estimate, "_QUERY_BYTES", budgets[size])
        found = clf.influence(X_val, y_val, aggregate=None)
        # A validation sample's column does not depend on who is asked with it.
        assert np.abs(found - whole).max() <= ROUNDING * np.abs(whole).max()


# --- weights and queries -------------------------------------------------------------


def differences(case, spy, clf, query):
    """Return finite differences of `query` of the modules at the epochs' ends."""
    X, _, sample_weight = case.data()
    return finite_differences(
        spy.run,
        X,
        query,
        seeds=[record.seed or 0 for record in clf.trajectory_.records],
        sample_weight=sample_weight,
    )


def test_validation_weights_are_repeated_rows():
    case, clf = fitted("dropout")
    X_val, y_val = case.validation()
    counts = np.array([1, 0, 2, 3, 0, 1, 5])
    weighted = clf.influence(X_val, y_val, sample_weight_val=counts)
    repeated = clf.influence(X_val.repeat(counts, axis=0), y_val.repeat(counts))
    assert relative_error(weighted, repeated) <= ROUNDING
    assert relative_error(clf.influence(X_val, y_val), repeated) > 0.01
    # Only their proportions count.
    scaled = clf.influence(X_val, y_val, sample_weight_val=7.5 * counts)
    assert relative_error(scaled, repeated) <= ROUNDING


class AlwaysDropout(nn.Module):
    """Monte Carlo dropout: it draws in evaluation mode, too."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.4, training=True)


@rough
def test_a_module_that_samples_in_evaluation_mode():
    case, spy = Case("mlp", "momentum"), Spy()
    X, y, _ = case.data()
    X_val, y_val = case.validation()
    clf = case.classifier(callbacks=[spy])
    first, tanh, last = nn.Linear(36, 6), nn.Tanh(), nn.Linear(6, N_CLASSES)
    clf.set_params(
        module=nn.Sequential(nn.Flatten(), first, tanh, AlwaysDropout(), last)
    )
    clf.fit(X, y)

    def losses(module):
        # The query's batches are seeded by their numbers.
        found = []
        for k in range(0, len(X_val), clf.batch_size):
            torch.manual_seed(k // clf.batch_size)
            outputs = module.eval()(torch.from_numpy(X_val[k : k + clf.batch_size]))
            targets = torch.from_numpy(y_val[k : k + clf.batch_size])
            found.append(
                nn.functional.cross_entropy(outputs, targets, reduction="none")
            )
        return torch.cat(found).detach().numpy()

    expected = differences(case, spy, clf, lambda ends, base: losses(ends[-1]))
    torch.manual_seed(3)  # what was drawn before does not count
    columns = clf.influence(X_val, y_val, aggregate=None)
    assert relative_error(columns, expected) <= TOLERANCE
    found = clf.influence(X_val, y_val)
    assert relative_error(found, expected.mean(1)) <= TOLERANCE
    # The counterfactual measures the same query: it differs by the second order only.
    weights = np.ones((N_SAMPLES, N_SAMPLES))
    np.fill_diagonal(weights, 0)
    seeds = [record.seed for record in clf.trajectory_.records]
    end = retrain(spy.run, X, np.ones(N_SAMPLES), seeds=seeds)[-1]
    without = [retrain(spy.run, X, w, seeds=seeds)[-1] for w in weights]
    change = np.array([losses(m).mean() - losses(end).mean() for m in without])
    exact = clf.counterfactual_influence(X_val, y_val)
    assert relative_error(exact, change) <= TOLERANCE


@rough
def test_columns_of_a_sampling_module_do_not_depend_on_parts(monkeypatch):
    case = Case("mlp")
    X, y, _ = case.data()
    X_val, y_val = case.validation()
    module = nn.Sequential(nn.Flatten(), AlwaysDropout(), nn.Linear(36, N_CLASSES))
    clf = case.classifier().set_params(module=module).fit(X, y)
    whole = clf.influence(X_val, y_val, aggregate=None)
    monkeypatch.setattr(_estimate, "_QUERY_BYTES", 1)
    found = clf.influence(X_val, y_val, aggregate=None)
    assert np.abs(found - whole).max() <= ROUNDING * np.abs(whole).max()


def margin(outputs, targets):
    """Return each sample's logit above the mean of them all."""
    return outputs.gather(1, targets[:, None])[:, 0] - outputs.mean(1)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_query_of_ones_own(optimizer):
    case, spy = Case("mlp", optimizer, weighted=True), Spy()
    clf = case.fitted(callbacks=[spy])
    X_val, y_val = case.validation()

    def query(ends, base):
        with torch.no_grad():
            outputs = ends[-1].eval()(torch.from_numpy(X_val))
            return margin(outputs, torch.from_numpy(y_val)).mean().numpy()

    found = clf.influence(X_val, y_val, query=margin)
    assert relative_error(found, differences(case, spy, clf, query)) <= TOLERANCE
    columns = clf.influence(X_val, y_val, query=margin, aggregate=None)
    assert relative_error(columns.mean(axis=1), found) <= ROUNDING


def test_a_query_sees_class_indices():
    case = Case("linear")
    X, y, _ = case.data()
    X_val, y_val = case.validation()
    names = np.array(["c", "a", "b"])
    clf = case.classifier().fit(X, names[y])
    seen = []

    def query(outputs, targets):
        seen.append(targets.clone())
        return margin(outputs, targets)

    clf.influence(X_val, names[y_val], query=query)
    places = np.array([2, 0, 1])  # of c, a, b among a, b, c
    # The last two batches are those of the retrace, or of the check of its gradient.
    assert all(np.isin(batch, places).all() for batch in seen)
    first, second = seen[:2]
    assert torch.equal(torch.cat([first, second]), torch.from_numpy(places[y_val]))


def test_the_order_of_the_validation_data():
    case, clf = fitted("mlp")
    X_val, y_val = case.validation()
    order = np.array([3, 1, 6, 0, 2, 5, 4])
    columns = clf.influence(X_val, y_val, aggregate=None)
    shuffled = clf.influence(X_val[order], y_val[order], aggregate=None)
    assert relative_error(shuffled, columns[:, order]) <= ROUNDING


# --- which models are asked ----------------------------------------------------------


@pytest.fixture(scope="module")
def asked():
    """Return a run of four epochs and each epoch's influence by itself."""
    case, clf = fitted("dropout", max_epochs=4)
    X_val, y_val = case.validation()
    each = {e: clf.influence(X_val, y_val, at=[e]) for e in range(1, 5)}
    return clf, X_val, y_val, each


@pytest.mark.parametrize(
    ("at", "weights"),
    [
        ("final", {4: 1}),
        ("epochs", {1: 1, 2: 1, 3: 1, 4: 1}),
        ("path", {1: 1, 2: 1 / 2, 3: 1 / 3, 4: 1 / 4}),
        ([2, 4], {2: 1, 4: 1}),
        ((3, 1), {3: 1, 1: 1}),
        (range(1, 4), {1: 1, 2: 1, 3: 1}),
        (np.array([4, 2]), {2: 1, 4: 1}),
        ({1: 2.0, 3: 6.0}, {1: 1, 3: 3}),
        ({np.int64(2): np.float32(0.5), 4: 0}, {2: 1}),
    ],
    ids=str,
)
def test_at_is_a_weighted_mean(asked, at, weights):
    clf, X_val, y_val, each = asked
    total = sum(weights.values())
    expected = sum(w / total * each[e] for e, w in weights.items())
    found = clf.influence(X_val, y_val, at=at)
    assert relative_error(found, expected) <= ROUNDING
    columns = clf.influence(X_val, y_val, at=at, aggregate=None)
    assert relative_error(columns.mean(axis=1), expected) <= ROUNDING


def test_an_earlier_epoch_is_the_end_of_a_shorter_run(asked):
    _, X_val, y_val, each = asked
    for epochs in (1, 2, 3):
        _, short = fitted("dropout", max_epochs=epochs)
        np.testing.assert_array_equal(short.influence(X_val, y_val), each[epochs])


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("at", ["final", "epochs"])
def test_last_epochs(k, at):
    # The weights change in the steps of the last k epochs alone: the run before is as
    # it was, so the oracle's run begins at the state where they begin.
    case, spy = Case("dropout", "adam", weighted=True), Spy()
    X, _, sample_weight = case.data()
    X_val, y_val = case.validation()
    before = Begin(3 - k + 1)
    clf = case.fitted(callbacks=[spy, before])
    run = spy.run
    skipped = run.epochs.index(3 - k + 1)
    run.module, run.optimizer = before.begun
    for name in ("batches", "groups", "epochs"):
        setattr(run, name, getattr(run, name)[skipped:])

    def query(ends, base):
        losses = [
            validation_loss(end, X_val, y_val, buffers).mean()
            for end, buffers in zip(ends, base, strict=True)
        ]
        # The mean over all three epochs; those before the last k stand still.
        return losses[-1] if at == "final" else np.sum(losses) / 3

    expected = finite_differences(
        run,
        X,
        query,
        seeds=[r.seed for r in clf.trajectory_.records[skipped:]],
        sample_weight=sample_weight,
    )
    found = clf.influence(X_val, y_val, at=at, last_epochs=k)
    assert relative_error(found, expected) <= TOLERANCE
    if k < 3:
        assert relative_error(clf.influence(X_val, y_val, at=at), expected) > 0.01
    # Recorded no further back, that is all there is.
    short = case.fitted(record=k)
    np.testing.assert_array_equal(short.influence(X_val, y_val, at=at), found)


class Begin(Spy):
    """Copies module and optimizer, one with the other, at the beginning of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_train_begin(self, net, **kwargs):
        pass

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        if training and not hasattr(self, "begun") and len(net.history) == self.epoch:
            self.begun = copy.deepcopy((net.module_, net.optimizer_))


# --- what it leaves alone ------------------------------------------------------------


@pytest.mark.parametrize("name", ["dropout", "batch_norm"])
@pytest.mark.parametrize("aggregate", ["mean", None])
def test_asking_changes_nothing(name, aggregate):
    case, clf = fitted(name, "adam")
    X_val, y_val = case.validation()
    X, y, _ = case.data()
    before = copy.deepcopy(clf)
    first = clf.influence(X_val, y_val, aggregate=aggregate)
    np.testing.assert_array_equal(
        clf.influence(X_val, y_val, aggregate=aggregate), first
    )
    np.testing.assert_array_equal(clf.predict_proba(X), before.predict_proba(X))
    for mine, theirs in zip(
        clf.module_.state_dict().values(),
        before.module_.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(mine, theirs)
    assert clf.trajectory_.nbytes == before.trajectory_.nbytes
    assert all(p.requires_grad for p in clf.module_.parameters())
    # Training goes on as if nothing had been asked.
    clf.partial_fit(X, y)
    before.partial_fit(X, y)
    for mine, theirs in zip(
        clf.module_.parameters(), before.module_.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


@rough
def test_threads_may_ask_at_once():
    # Each step of the retrace seeds the generators that all threads share.
    case, clf = fitted("dropout", max_epochs=8)
    X_val, y_val = case.validation()
    asked = [
        {"at": "final"},
        {"at": "path"},
        {"aggregate": None},
        {"last_epochs": 3},
    ]
    alone = [clf.influence(X_val, y_val, **options) for options in asked]
    found = [None] * len(asked)

    def ask(k):
        for _ in range(3):
            found[k] = clf.influence(X_val, y_val, **asked[k])

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, theirs in zip(found, alone, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_threads_may_ask_while_another_trains():
    case, clf = fitted("dropout", max_epochs=8)
    X_val, y_val = case.validation()
    alone = clf.influence(X_val, y_val)
    other = []

    def train():
        other.append(fitted("dropout", max_epochs=20)[1])

    thread = threading.Thread(target=train)
    thread.start()
    asked = [clf.influence(X_val, y_val)]
    while thread.is_alive():
        asked.append(clf.influence(X_val, y_val))
    thread.join()
    for found in asked:
        np.testing.assert_array_equal(found, alone)
    undisturbed = fitted("dropout", max_epochs=20)[1]
    for mine, theirs in zip(
        other[0].module_.parameters(), undisturbed.module_.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_progress_is_shown_when_asked_for(capsys):
    case, clf = fitted("mlp")
    X_val, y_val = case.validation()
    silent = clf.influence(X_val, y_val, last_epochs=2)
    shown = capsys.readouterr()
    assert shown.out + shown.err == ""
    clf.set_params(verbose=1)
    found = clf.influence(X_val, y_val, last_epochs=2)
    # It counts up to the number of steps: two epochs of three.
    assert "Retrace: 100%" in (bar := capsys.readouterr().err)
    assert "6/6" in bar
    np.testing.assert_array_equal(found, silent)


# --- sign and unit -------------------------------------------------------------------


def test_the_sign_is_that_of_harm():
    # A sample with a wrong label, far out: without it the validation loss is lower.
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 2)) + 3.0 * y[:, None]
    X[7], y[7] = 4.0, 0
    X_val, y_val = X[20:], y[20:]
    X, y = X[:20], y[:20]
    clf = SGDInfluenceClassifier("linear", max_epochs=30, random_state=0).fit(X, y)
    found = clf.influence(X_val, y_val)
    assert found.argmin() == 7
    assert found[7] < 0

    def loss(model):
        probabilities = model.predict_proba(X_val)
        return -np.log(probabilities[np.arange(20), y_val]).mean()

    assert loss(clf.refit_without([7])) < loss(clf)
    helpful = found.argmax()
    assert loss(clf.refit_without([helpful])) > loss(clf)


def test_a_quiet_estimator_takes_no_lock_of_a_progress_bar():
    # tqdm's lock is one for all processes that were forked from another: where one is
    # killed with it, all others would wait for ever.
    case = Case()
    X, y, _ = case.data()
    clf = case.classifier().fit(X, y)
    before = tqdm.get_lock()
    tqdm.set_lock(None)  # fails where it is entered
    try:
        clf.influence(*case.validation())
        clf.addition_influence(X, y, *case.validation())
        with pytest.raises(TypeError):
            clf.set_params(verbose=1).influence(*case.validation())
    finally:
        tqdm.set_lock(before)
