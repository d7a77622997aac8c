"""Modules without a second derivative: refused before training, or replayed exactly."""

import numpy as np
import pytest
import torch
from torch import nn

from skinfluence import InfluenceCleaner, SGDInfluenceClassifier, load_estimator
from skinfluence.exceptions import NotRecordedError, UnsupportedModuleError
from skinfluence.scorers import KohLiang
from tests.cases import N_CLASSES, SIDE, Case

EPOCHS, BATCH, LR = 3, 5, 0.1


class Rounds(nn.Module):
    """A straight-through estimator: rounds forwards, and not backwards."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(SIDE * SIDE, 6)
        self.output = nn.Linear(6, N_CLASSES)

    def forward(self, X):
        hidden = torch.tanh(self.hidden(X.flatten(1)))
        hidden = hidden + ((4 * hidden).round() / 4 - hidden).detach()
        return self.output(hidden**2)


class Focal(nn.CrossEntropyLoss):
    """A focal loss whose weight is held constant."""

    def forward(self, outputs, targets):
        losses = super().forward(outputs, targets)
        return (1 - torch.exp(-losses)).detach() ** 2 * losses


def bag():
    return nn.Sequential(nn.EmbeddingBag(9, 4), nn.Tanh(), nn.Linear(4, N_CLASSES))


def estimator(module=Rounds, **options):
    options = {"max_epochs": EPOCHS, "batch_size": BATCH, "lr": LR, **options}
    return SGDInfluenceClassifier(module, dtype="float64", random_state=0, **options)


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, N_CLASSES))


def words():
    return np.random.default_rng(0).integers(0, 9, (12, 5))


REFUSED = {
    "straight-through": (Rounds, {}, "wrong in `Rounds`"),
    "focal": (linear, {"criterion": Focal}, "wrong in `Focal`"),
    "bag": (bag, {}, r"cannot differentiate `0` \(EmbeddingBag\) twice"),
    "spectral": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.utils.spectral_norm(nn.Linear(SIDE * SIDE, N_CLASSES))
        ),
        {},
        "wrong in `1` ",
    ),
    "max_norm": (
        lambda: nn.Sequential(
            nn.Embedding(9, 4, max_norm=50.0), nn.Flatten(), nn.Linear(20, N_CLASSES)
        ),
        {},
        r"`0` \(Embedding\) must have max_norm=None",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused_before_the_first_step(name):
    module, options, message = REFUSED[name]
    X, y, _ = Case().data()
    if name in ("bag", "max_norm"):
        X, y = words(), np.arange(12) % N_CLASSES
    clf = estimator(module, **options)
    with pytest.raises(UnsupportedModuleError, match=message) as raised:
        clf.fit(X, y)
    assert "record='replay'" in str(raised.value)
    assert not hasattr(clf, "module_")
    # Nothing of it is in the way of training without influence.
    assert clf.set_params(record=None).fit(X, y).predict(X).shape == y.shape


def plain_run(clf, X, y, weights):
    """Repeat the run in plain PyTorch; return its validation loss."""
    record = clf.trajectory_.records
    torch.manual_seed(0)
    module = Rounds().double()
    start = clf.trajectory_.state(0).parameters
    nn.utils.vector_to_parameters(start.clone(), module.parameters())
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    for step in record:
        losses = nn.functional.cross_entropy(
            module(X[step.rows]), y[step.rows], reduction="none"
        )
        loss = (weights[step.rows] * losses).sum() / len(step.rows)
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(module.parameters(), gradients, strict=True):
                parameter -= LR * gradient
    X_val, y_val = map(torch.from_numpy, Case().validation())
    return float(nn.functional.cross_entropy(module(X_val), y_val).detach())


def test_a_replay_is_exact():
    X, y, _ = Case().data()
    clf = estimator(record="replay").fit(X, y)
    changes = clf.counterfactual_influence(*Case().validation(), [0, 4])
    ones = torch.ones(len(X), dtype=torch.float64)
    before = plain_run(clf, X, y, ones)
    for row, change in zip([0, 4], changes, strict=True):
        without = ones.clone()
        without[row] = 0.0
        # Rounding to quarters makes the loss jump: equal runs, or far apart.
        assert change == pytest.approx(plain_run(clf, X, y, without) - before, abs=1e-9)


def test_a_replay_cannot_be_retraced(tmp_path):
    X, y, _ = Case().data()
    X_val, y_val = Case().validation()
    clf = estimator(record="replay").fit(X, y)
    assert clf.refit_without([0]).predict(X_val).shape == y_val.shape
    clf.save(tmp_path / "clf")
    loaded = load_estimator(tmp_path / "clf", [f"{__name__}.Rounds"])
    # What was recorded counts, not what the parameter is now.
    for net in (clf.set_params(record="all"), loaded):
        for ask in (net.influence, net.label_influence, net.check_influence):
            with pytest.raises(NotRecordedError, match="got 'replay'"):
                ask(X_val, y_val)


def test_rankings_that_differentiate_twice_refuse_it():
    X, y, _ = Case().data()
    data = (X, y), Case().validation()
    with pytest.raises(NotRecordedError, match="record='replay'"):
        InfluenceCleaner(estimator(record="replay"), n_remove=1).fit(*data[0])
    clf = estimator(record=None).fit(X, y)
    with pytest.raises(UnsupportedModuleError, match="takes no second derivative"):
        KohLiang()(clf, X, y, *data[1])
    cleaner = InfluenceCleaner(estimator(record="replay"), scorer="exact", n_remove=1)
    assert cleaner.fit(X, y).influence_.shape == y.shape


def test_train_step_must_not_be_overridden_where_it_is_recorded():
    class Mixes(SGDInfluenceClassifier):
        def train_step(self, batch, **fit_params):
            return super().train_step(batch, **fit_params)

    X, y, _ = Case().data()
    with pytest.raises(TypeError, match="Mixes must not override `train_step`"):
        Mixes(linear).fit(X, y)
    assert Mixes(linear, record=None).fit(X, y).predict(X).shape == y.shape
