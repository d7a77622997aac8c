"""Modules that keep computed tensors can be copied; hooks that copies lack are refused.

A copy of the net repeats its steps: what the copy lacks, the influence would lack.
"""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.weight_norm import WeightNorm

from skinfluence import SGDInfluenceClassifier, load_estimator
from tests.cases import rough
from tests.oracles import losses_of, relative_error, trained_in_order, weight_slopes

N_SAMPLES, N_FEATURES, N_CLASSES, BATCH_SIZE = 12, 4, 3, 4

RNG = np.random.default_rng(0)
Y = np.arange(N_SAMPLES) % N_CLASSES
X, X_VAL = RNG.normal(size=(2, N_SAMPLES, N_FEATURES)) + 0.5 * Y[:, None]


class Keeping(nn.Module):
    """Keeps tensors of the graph: a hidden state, maps, and terms of the loss."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(N_FEATURES, 5)
        self.last = nn.Linear(5, N_CLASSES)
        self.hidden = None
        self.maps = {}

    def forward(self, x):
        self.hidden = torch.tanh(self.first(x))
        self.maps = {"first": [self.hidden]}
        self.kl = self.hidden.square().mean(1)
        self.aux_loss = self.hidden.mean().square()
        return self.last(self.hidden)


class AddingTerms(SGDInfluenceClassifier):
    def get_losses(self, y_pred, y_true, X=None, training=False):
        losses = super().get_losses(y_pred, y_true, X=X, training=training)
        return losses + 0.3 * self.module_.kl + self.module_.aux_loss


def with_terms(module, inputs, targets):
    parts = []
    # One of the terms is that of the batch.
    for rows in torch.arange(len(targets)).split(BATCH_SIZE):
        losses = losses_of(module, inputs[rows], targets[rows])
        parts.append(losses + 0.3 * module.kl + module.aux_loss)
    return torch.cat(parts)


def pruned():
    module = nn.Sequential(nn.Linear(N_FEATURES, 5), nn.Tanh(), nn.Linear(5, N_CLASSES))
    return prune.l1_unstructured(module[0], "weight", 0.3) and module


def weight_normed():
    # Over the whole weight; torch's derivative of that over rows is wrong.
    layer = nn.utils.weight_norm(nn.Linear(N_FEATURES, N_CLASSES), dim=None)
    return nn.Sequential(layer, nn.Tanh())


CASES = {
    "kept": (Keeping, SGDInfluenceClassifier, losses_of),
    "terms": (Keeping, AddingTerms, with_terms),
    "prune": (pruned, SGDInfluenceClassifier, losses_of),
    "weight_norm": (weight_normed, SGDInfluenceClassifier, losses_of),
}

pytestmark = [
    # Deprecated, but in many a module still.
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning"),
]


def module(name):
    torch.manual_seed(0)
    return CASES[name][0]().double()


def fitted(name, instance):
    cls = CASES[name][1]
    options = {
        "max_epochs": 2,
        "batch_size": BATCH_SIZE,
        "random_state": 0,
        "shuffle": False,
    }
    return cls(instance, checkpoint_every=2, **options).fit(X, Y)


def used(name):
    """Return a module that has computed already."""
    instance = module(name)
    instance(torch.from_numpy(X))
    return instance


@rough
@pytest.mark.parametrize("make", [module, used])
@pytest.mark.parametrize("name", CASES)
def test_influence_is_the_derivative(name, make, monkeypatch):
    losses = CASES[name][2]
    clf = fitted(name, make(name))
    # torch refuses to copy some of the modules; made anew they can be.
    monkeypatch.setattr(copy, "deepcopy", lambda _: module(name))
    expected = weight_slopes(
        module(name),
        *((torch.from_numpy(each), torch.from_numpy(Y)) for each in (X, X_VAL)),
        range(N_SAMPLES),
        losses=losses,
        query=losses,
        lr=0.1,
    )
    monkeypatch.undo()
    # The oracle's own error is about 1e-9.
    assert relative_error(clf.influence(X_VAL, Y), expected) <= 1e-6


@rough
@pytest.mark.parametrize("name", CASES)
def test_counterfactuals_are_retrainings(name, monkeypatch):
    losses = CASES[name][2]
    found = fitted(name, used(name)).counterfactual_influence(X_VAL, Y, samples=[1, 6])
    monkeypatch.setattr(copy, "deepcopy", lambda _: module(name))
    values = []
    for left_out in ([], [1], [6]):
        weights = torch.ones(N_SAMPLES, dtype=torch.float64)
        weights[left_out] = 0.0
        data, validation = (
            (torch.from_numpy(each), torch.from_numpy(Y)) for each in (X, X_VAL)
        )
        trained = trained_in_order(module(name), *data, weights, losses=losses, lr=0.1)
        values.append(losses(trained, *validation).mean().item())
    # Losses of order 1, rounded in another order.
    np.testing.assert_allclose(
        found, np.array(values[1:]) - values[0], rtol=1e-8, atol=1e-12
    )


@rough
@pytest.mark.parametrize("name", CASES)
def test_every_copy_gives_the_same(name, tmp_path):
    clf = fitted(name, used(name))
    expected = clf.influence(X_VAL, Y)
    cls = CASES[name][1]
    for other in (
        pickle.loads(pickle.dumps(clf)),
        copy.deepcopy(clf),
        clone(clf).fit(X, Y),
        fitted(name, clone(clf).module),
    ):
        assert (other.influence(X_VAL, Y) == expected).all()
    clf.save(tmp_path / "saved")
    trusted = [Keeping, AddingTerms, prune.L1Unstructured, WeightNorm]
    loaded = load_estimator(tmp_path / "saved", trusted=trusted)
    assert type(loaded) is cls
    assert (loaded.influence(X_VAL, Y) == expected).all()


def test_the_net_keeps_its_tensors():
    clf = fitted("terms", module("terms"))
    hidden = clf.module_.hidden
    clf.influence(X_VAL, Y)
    assert clf.module_.hidden is hidden
    assert clf.module_.maps["first"][0] is hidden


# --- hooks on parameters --------------------------------------------------------------


def halve(gradient):
    return gradient / 2


def clip_(parameter):
    parameter.grad.clamp_(-0.01, 0.01)


HOOKS = {
    "hook": lambda p: p.register_hook(halve),
    "post-accumulate hook": lambda p: p.register_post_accumulate_grad_hook(clip_),
}
NO_HOOK = "The parameter `weight` of Linear must have no hook"


@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_on_an_instance_are_refused(kind, tmp_path):
    layer = nn.Linear(N_FEATURES, N_CLASSES).double()
    handle = HOOKS[kind](layer.weight)
    clf = SGDInfluenceClassifier(layer, max_epochs=1, random_state=0)
    for call in (
        lambda: clf.fit(X, Y),
        lambda: clone(clf),
        lambda: pickle.dumps(clf),
        lambda: clf.save(tmp_path / "saved"),
        lambda: clone(clf.set_params(record=None)),
        lambda: cross_val_score(clf, X, Y, cv=2),
    ):
        with pytest.raises(TypeError, match=NO_HOOK):
            call()
    handle.remove()
    clf.set_params(record="all").fit(X, Y)


def test_hooks_on_a_criterion_are_refused():
    criterion = nn.CrossEntropyLoss()
    criterion.scale = nn.Parameter(torch.ones(1))
    criterion.scale.register_hook(halve)
    with pytest.raises(TypeError, match="`scale` of CrossEntropyLoss must have no"):
        SGDInfluenceClassifier("linear", criterion=criterion).fit(X, Y)


@pytest.mark.parametrize("kind", HOOKS)
def test_hooks_of_a_module_s_own_are_refused_where_steps_are_recorded(kind):
    def make():
        layer = nn.Linear(N_FEATURES, N_CLASSES).double()
        HOOKS[kind](layer.weight)
        return layer

    for record in ("all", "replay", 1):
        clf = SGDInfluenceClassifier(make, record=record, random_state=0)
        with pytest.raises(TypeError, match=NO_HOOK):
            clf.fit(X, Y)
    SGDInfluenceClassifier(make, record=None, random_state=0).fit(X, Y)
