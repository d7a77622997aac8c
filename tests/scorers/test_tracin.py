"""TracIn and SelfInfluence: against a plain loop over the run."""

import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import LRScheduler
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import NotRecordedError
from skinfluence.scorers import SelfInfluence, TracIn, get_scorer
from tests.oracles import Spy, rows_of
from tests.scorers.problems import binary, linear_regressor, mlp, regression


def gradient(module, loss, x, y, weights=None):
    losses = loss(module(x), y)
    weights = torch.ones_like(losses) if weights is None else weights
    parts = torch.autograd.grad(losses @ weights / weights.sum(), module.parameters())
    return torch.cat([part.reshape(-1) for part in parts])


def plain_loop(run, X, loss, validation, c, steps, first_epoch=1):
    """Train again, step by step, and add up the products as they are defined."""
    module, optimizer = copy.deepcopy((run.module, run.optimizer))
    scores, own, pending = np.zeros(len(X)), np.zeros(len(X)), []
    c = torch.from_numpy(c * len(c) / c.sum())

    def visit(x, y, row, rate):
        module.eval()
        g_val = gradient(module, loss, *validation)
        g = gradient(module, loss, x[None], y[None])
        scores[row] += rate * float(c[row] * (g_val @ g))
        own[row] -= rate * float(c[row] * (g @ g))

    for t, (x, y) in enumerate(run.batches):
        rows = rows_of(x, X)
        for group, options in zip(optimizer.param_groups, run.groups[t], strict=True):
            group.update(options)
        lr = optimizer.param_groups[0]["lr"]
        batch = list(zip(x, y, rows, strict=True))
        if steps == "all" and run.epochs[t] >= first_epoch:
            for sample in batch:
                visit(*sample, lr / len(x))
        pending.append((lr, batch))
        module.train()
        optimizer.zero_grad()
        ((loss(module(x), y) * c[rows]).sum() / len(x)).backward()
        optimizer.step()
        if t + 1 == len(run.batches) or run.epochs[t + 1] != run.epochs[t]:
            mean = np.mean([lr for lr, _ in pending])
            if steps == "epochs" and run.epochs[t] >= first_epoch:
                for _, batch in pending:
                    for sample in batch:
                        visit(*sample, mean / len(batch))
            pending = []
    return scores, own


def cross_entropy(outputs, targets):
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def squared_error(outputs, targets):
    return (outputs - targets) ** 2


def schedule():
    return LRScheduler("LambdaLR", lr_lambda=lambda k: 1 / (k + 1), step_every="batch")


def normalized():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))


PROBLEMS = {
    "mlp": (binary, mlp, cross_entropy, {}),
    "momentum": (binary, mlp, cross_entropy, {"optimizer__momentum": 0.8}),
    "batch_norm": (
        binary,
        SGDInfluenceClassifier,
        cross_entropy,
        {
            "module": normalized,
            "dtype": "float64",
            "batch_size": 6,
            "max_epochs": 3,
            "random_state": 0,
        },
    ),
    "regression": (regression, linear_regressor, squared_error, {"lr": 0.02}),
    "recomputed": (binary, mlp, cross_entropy, {"checkpoint_every": 3}),
}


@pytest.mark.parametrize("steps", ["epochs", "all"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_is_the_sum_of_a_plain_loop(name, steps):
    data, make, loss, options = PROBLEMS[name]
    X, y, X_val, y_val = data()
    c, v = np.linspace(0.5, 1, len(X)), np.linspace(1, 2, len(X_val))
    spy = Spy()
    net = make(callbacks=[spy, schedule()], **options)
    net.fit(X, y, sample_weight=c)
    spy = dict(net.callbacks_)["Spy"]
    validation = [torch.from_numpy(a) for a in (X_val, y_val, v)]
    expected, own = plain_loop(spy.run, X, loss, validation, c, steps)
    found = TracIn(steps)(net, X, y, X_val, y_val, sample_weight_val=v)
    # The same sums in double precision, in another order.
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-13)
    found = SelfInfluence(steps)(net, X, y)
    np.testing.assert_allclose(found, own, rtol=1e-8, atol=1e-13)
    assert (found < 0).all()


@pytest.mark.parametrize("steps", ["epochs", "all"])
def test_takes_the_last_epochs_alone(steps):
    X, y, X_val, y_val = binary()
    spy = Spy()
    clf = mlp(callbacks=[spy], record=2).fit(X, y)
    spy = dict(clf.callbacks_)["Spy"]
    validation = [torch.from_numpy(a) for a in (X_val, y_val)]
    for last, options in ((2, {}), (1, {"last_epochs": 1})):
        expected, own = plain_loop(
            spy.run, X, cross_entropy, validation, np.ones(len(X)), steps, 5 - last
        )
        found = TracIn(steps, **options)(clf, X, y, X_val, y_val)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-13)
        found = SelfInfluence(steps, **options)(clf, X, y)
        np.testing.assert_allclose(found, own, rtol=1e-8, atol=1e-13)


def test_learning_rates_of_parameter_groups_are_kept_apart():
    X, y, X_val, y_val = binary()
    clf = mlp(
        max_epochs=1,
        batch_size=-1,
        optimizer__param_groups=[("layers.0.*", {"lr": 0.0})],
        lr=0.5,
    ).fit(X, y)
    # Only the last layer is trained: its gradient is (p - e_y) times the features.
    with torch.no_grad():
        start = clf.trajectory_.state(0)
        first = clf.module_.layers[0]
        last = start.parameters[-10:]
        weight, bias = last[:8].view(2, 4), last[8:]

        def parts(X, y):
            hidden = torch.tanh(first(torch.from_numpy(X)))
            slopes = torch.softmax(hidden @ weight.T + bias, 1)
            slopes[torch.arange(len(y)), y] -= 1
            return slopes, torch.cat([hidden, torch.ones(len(y), 1)], 1)

        (s, h), (s_val, h_val) = parts(X, y), parts(X_val, y_val)
        kernel = (s @ s_val.T) * (h @ h_val.T)
        own = (s * s).sum(1) * (h * h).sum(1)
    addresses = clf.trajectory_.addresses
    assert sorted(group for group, _ in addresses) == [0, 0, 1, 1]
    # Flat vectors follow the optimizer's groups: the named group is the first.
    found = TracIn("all")(clf, X, y, X_val, y_val)
    np.testing.assert_allclose(found, 0.5 / len(X) * kernel.mean(1), rtol=1e-9)
    found = SelfInfluence("all")(clf, X, y)
    np.testing.assert_allclose(found, -0.5 / len(X) * own, rtol=1e-9)


@pytest.mark.parametrize("scorer", [TracIn, SelfInfluence])
def test_says_what_it_needs(scorer):
    name = {"TracIn": "tracin", "SelfInfluence": "self_influence"}[scorer.__name__]
    with pytest.raises(TypeError, match=f"for the scorer '{name}', got Logistic"):
        scorer().check_estimator(LogisticRegression())
    with pytest.raises(NotRecordedError, match=f"scorer '{name}', got record=None"):
        scorer().check_estimator(SGDInfluenceClassifier(record=None))
    with pytest.raises(ValueError, match=r"`steps` must be one of .*, got 'every'"):
        scorer("every").check_estimator(SGDInfluenceClassifier())
    assert get_scorer(name, last_epochs=3).last_epochs == 3
