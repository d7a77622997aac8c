"""Rankings, cleaners, loops and attention on a device against the same on a CPU."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from skinfluence import (
    InfluenceCleaner,
    Recorder,
    SGDInfluenceClassifier,
    load_estimator,
)
from skinfluence.scorers import Autoencoder, CookDistance, get_scorer
from tests.cases import on_devices, rough
from tests.estimators import test_attention as attention
from tests.oracles import relative_error
from tests.scorers.problems import binary, linear_regressor, mlp, regression

pytestmark = rough

X, y, X_VAL, Y_VAL = DATA = binary(n=12, n_val=7)

# The devices add in another order.
TOLERANCE = 1e-7

SCORERS = {
    "area_under_margin": {},
    "confident_learning": {"cv": 2, "random_state": 0},
    "data_oob": {"n_estimators": 2, "random_state": 0},
    "dvemb": {},
    "el2n": {},
    "exact": {},
    "fisher_kernel": {},
    "forgetting": {},
    "grand": {},
    "influence": {},
    "knn_shapley": {},
    "koh_liang": {},
    "learned_weights": {"n_iterations": 2},
    "loss": {},
    "margin": {},
    "mean_loss": {},
    "probability_margin": {},
    "relatif": {},
    "self_influence": {},
    "source": {"n_segments": 2},
    "tracin": {},
}


@functools.cache
def classifier(device):
    options = {"max_epochs": 2, "optimizer__foreach": True, "device": device}
    return mlp(**options).fit(X, y)


def agree(compute, device):
    found, expected = (np.asarray(compute(where)) for where in (device, "cpu"))
    assert relative_error(found, expected) <= TOLERANCE


@on_devices
@pytest.mark.parametrize("name", SCORERS)
def test_scorer(name, device):
    scorer = get_scorer(name).set_params(**SCORERS[name])
    agree(lambda where: scorer(classifier(where), *DATA), device)


@on_devices
def test_scorers_with_models_of_their_own(device):
    agree(
        lambda where: Autoencoder(device=where, max_epochs=2, random_state=0)(
            None, X, y
        ),
        device,
    )
    numbers = regression(n=12, n_val=7)
    options = {"max_epochs": 2, "optimizer__foreach": True}
    agree(
        lambda where: CookDistance()(
            linear_regressor(**options, device=where).fit(*numbers[:2]), *numbers
        ),
        device,
    )


@on_devices
@pytest.mark.parametrize("action", ["remove", "relabel", "unlabel", "reweight"])
def test_cleaner(action, device):
    def cleaned(where):
        inner = mlp(max_epochs=2, optimizer__foreach=True, device=where)
        cleaner = InfluenceCleaner(inner, n_remove=2, action=action, random_state=0)
        return cleaner.fit(X, y, X_val=X_VAL, y_val=Y_VAL).predict_proba(X_VAL)

    agree(cleaned, device)


@on_devices
def test_own_loop(device, tmp_path):
    def recorded(where):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        module = module.double().to(where)
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, foreach=True)
        recorder = Recorder(
            module, optimizer, nn.CrossEntropyLoss, (X, y), random_state=0
        )
        for _ in range(2):
            for batch in recorder.batches(batch_size=5, shuffle=True):
                recorder.loss(batch).backward()
                nn.utils.clip_grad_norm_(module.parameters(), 0.5)
                optimizer.step()
                optimizer.zero_grad()
        return recorder.finish()

    agree(lambda where: recorded(where).influence(X_VAL, Y_VAL), device)
    recorded(device).save(tmp_path / "run")
    trusted = ["torch.nn.modules.container.Sequential"]
    back = load_estimator(tmp_path / "run", trusted=trusted, device="cpu")
    expected = recorded("cpu").counterfactual_influence(X_VAL, Y_VAL)
    found = back.counterfactual_influence(X_VAL, Y_VAL)
    assert relative_error(found, expected) <= TOLERANCE


class Dict(nn.Module):
    """An embedding and a second input."""

    def __init__(self):
        super().__init__()
        self.first, self.known = nn.Linear(3, 4), nn.Embedding(5, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, x, kind):
        return self.last((self.first(x) + self.known(kind)).tanh())


@on_devices
def test_several_inputs(device):
    inputs, asked = (
        {"x": each, "kind": np.arange(len(each)) % 5} for each in (X, X_VAL)
    )

    def labels(where):
        clf = SGDInfluenceClassifier(
            Dict,
            max_epochs=2,
            batch_size=5,
            dtype="float64",
            random_state=0,
            optimizer__foreach=True,
            device=where,
        )
        return clf.fit(inputs, y).label_influence(asked, Y_VAL)

    agree(labels, device)


@on_devices
@pytest.mark.parametrize("name", ["causal", "multihead", "decoder"])
def test_attention(name, device):
    def scores(where):
        module = attention.module(name)
        clf = attention.fitted(module, optimizer__foreach=True, device=where)
        return clf.influence(*attention.data(1))

    agree(scores, device)
