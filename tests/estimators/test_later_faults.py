"""What does not show in the first step: refused at the question, or the right value."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators._questions import estimate
from skinfluence.exceptions import IrreproducibleStepError, UnsupportedModuleError
from tests.cases import N_CLASSES, SIDE, Case, rough

pytestmark = rough


class Net(nn.Module):
    """A hidden layer, and a way for subclasses to change what comes out of it."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(SIDE * SIDE, 8)
        self.output = nn.Linear(8, N_CLASSES)
        self.register_buffer("mean", torch.zeros(8))
        self.register_buffer("mask", torch.ones(8))

    def forward(self, X):
        return self.output(self.changed(torch.tanh(self.hidden(X.flatten(1)))))

    def changed(self, hidden):
        return hidden * self.mask


class Noisy(Net):
    def changed(self, hidden):
        # vmap draws other numbers for these than a single run does.
        noise = torch.randn_like(hidden) if self.training else 0.0
        return hidden + 0.3 * noise


class InPlace(Net):
    def forward(self, X):
        return super().forward(X.mul_(0.5).sub_(0.1))


class Centred(Net):
    """Subtracts a mean of earlier outputs, and updates it afterwards."""

    def changed(self, hidden):
        centred = hidden - self.mean
        if self.training:
            with torch.no_grad():
                self.mean.copy_(0.5 * self.mean + 0.5 * hidden.mean(0))
        return centred


class CentredInputs(Net):
    """The same of the inputs, which the parameters do not change."""

    def forward(self, X):
        centre = self.mean[:1].clone()
        if self.training:
            with torch.no_grad():
                self.mean.mul_(0.5).add_(0.5 * X.mean())
        return super().forward(X - centre)


class Rebound(CentredInputs):
    def forward(self, X):
        outputs = super().forward(X)
        self.mean = self.mean.clone()
        return outputs


class Clipped(Net):
    """Clips its weights straight-through, which no weight reaches at first."""

    def forward(self, X):
        weight = self.hidden.weight
        weight = weight + (weight.clamp(-0.3, 0.3) - weight).detach()
        hidden = nn.functional.linear(X.flatten(1), weight, self.hidden.bias)
        return self.output(torch.tanh(hidden))


class RoundsInEvaluation(Net):
    def changed(self, hidden):
        if self.training:
            return hidden
        return hidden + ((4 * hidden).round() / 4 - hidden).detach()


class NoGradients(Net):
    def forward(self, X):
        with torch.set_grad_enabled(self.training):
            return super().forward(X)


class NoGradientsWithin(Net):
    def forward(self, X):
        with torch.set_grad_enabled(self.training):
            hidden = torch.tanh(self.hidden(X.flatten(1)))
        return self.output(hidden)


class Masks(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            net.module_.mask[:4] = 0.0


def fitted(module, **options):
    X, y, _ = Case().data()
    options = {"lr": 0.1, "max_epochs": 3, "batch_size": 5, **options}
    return SGDInfluenceClassifier(
        module, dtype="float64", random_state=0, **options
    ).fit(X, y)


def small_changes(clf, rows):
    """Return the derivatives in the samples' weights, from exact changes."""
    n = len(Case().data()[0])
    shift = 1e-4
    up = np.ones((len(rows), n))
    up[np.arange(len(rows)), rows] += shift
    changes = clf.counterfactual_influence(
        *Case().validation(), np.concatenate([up, 2 - up])
    )
    return -(changes[: len(rows)] - changes[len(rows) :]) / (2 * shift)


@pytest.mark.parametrize("module", [Noisy, InPlace, CentredInputs])
def test_many_runs_at_once_are_the_runs_one_by_one(module):
    clf = fitted(module)
    data = Case().validation()
    alone = [clf.counterfactual_influence(*data, [k])[0] for k in range(14)]
    together = clf.counterfactual_influence(*data)
    # Rounding, which a stack does in another order.
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)
    expected = small_changes(clf, [0, 3, 7])
    scores = clf.influence(*data)
    np.testing.assert_allclose(scores[[0, 3, 7]], expected, rtol=1e-6)


class FixedFeatures(Net):
    def forward(self, X):
        with torch.no_grad():
            hidden = torch.tanh(self.hidden(X.flatten(1)))
        return self.output(hidden)


def test_a_part_without_gradients_that_never_moves_is_no_fault():
    clf = fitted(FixedFeatures)
    rows = [0, 3, 7]
    scores = clf.influence(*Case().validation())[rows]
    np.testing.assert_allclose(scores, small_changes(clf, rows), rtol=1e-6)


REFUSED_AT_FIT = {
    Centred: r"The buffer `mean` must not be both computed from the parameters and",
    Rebound: "Buffers must be written to in place",
}


@pytest.mark.parametrize("module", REFUSED_AT_FIT)
def test_buffers_that_influence_does_not_follow_are_refused(module):
    with pytest.raises(UnsupportedModuleError, match=REFUSED_AT_FIT[module]):
        fitted(module)


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (Clipped, UnsupportedModuleError, "wrong in `Clipped`"),
        (RoundsInEvaluation, UnsupportedModuleError, "gradient of the query"),
        (NoGradientsWithin, UnsupportedModuleError, "gradient of the query"),
        (NoGradients, ValueError, "in evaluation mode the module computes without"),
    ],
)
def test_faults_that_show_later_are_refused_at_the_question(module, error, message):
    clf = fitted(module, lr=0.5, max_epochs=8)
    with pytest.raises(error, match=message):
        clf.influence(*Case().validation())
    assert np.isfinite(clf.counterfactual_influence(*Case().validation(), [0])).all()


def test_losses_weighted_by_themselves_later_on_are_refused():
    class SelfPaced(SGDInfluenceClassifier):
        def get_losses(self, y_pred, y_true, X=None, training=False):
            losses = super().get_losses(y_pred, y_true, X=X, training=training)
            easy = training and float(losses.detach().mean()) < 0.9
            return losses * losses.detach() if easy else losses

    X, y, _ = Case().data()
    clf = SelfPaced(
        Net, lr=0.5, max_epochs=12, batch_size=5, dtype="float64", random_state=0
    ).fit(X, y)
    with pytest.raises(UnsupportedModuleError, match="autograd gets it wrong"):
        clf.influence(*Case().validation())


def test_buffers_that_a_callback_changes_stand_in_the_way_of_other_runs():
    clf = fitted(Net, callbacks=[Masks()])
    data = Case().validation()
    assert np.abs(clf.influence(*data)).max() > 0  # the states hold the buffers
    message = "something other than the step changed the module's buffers"
    for ask in (
        lambda: clf.counterfactual_influence(*data, [0]),
        lambda: clf.refit_without([0]),
        lambda: clf.check_influence(*data, n_samples=4),
    ):
        with pytest.raises(IrreproducibleStepError, match=message):
            ask()
    # From the change on they are what the steps lead to.
    assert clf.counterfactual_influence(*data, [0], last_epochs=2).shape == (1,)


def test_gradients_scaled_by_frequency_are_refused():
    def module():
        return nn.Sequential(
            nn.Embedding(9, 4, scale_grad_by_freq=True), nn.Flatten(), nn.Linear(20, 3)
        )

    words = np.random.default_rng(0).integers(0, 9, (12, 5))
    with pytest.raises(UnsupportedModuleError, match="scale_grad_by_freq=False"):
        SGDInfluenceClassifier(module).fit(words, np.arange(12) % 3)


class Rarely(Net):
    """Stops a gradient in batches with an outlier, which few have."""

    def forward(self, X):
        hidden = torch.tanh(self.hidden(X.flatten(1)))
        if float(X.detach().max()) > 100.0:
            hidden = self.stopped(hidden)
        return self.output(hidden)

    def stopped(self, hidden):
        return hidden * hidden.detach()


class RarelyRounds(Rarely):
    def stopped(self, hidden):
        return hidden + ((4 * hidden).round() / 4 - hidden).detach()


class MostlyDetached(Rarely):
    """Stops the gradient of a gate which a few batches alone move."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(SIDE * SIDE, 8)

    def forward(self, X):
        gate = torch.sigmoid(self.gate(X.flatten(1)))
        if not float(X.max()) > 100.0:
            gate = gate.detach()
        return self.output(gate * torch.tanh(self.hidden(X.flatten(1))))


class RarelySquares(Rarely):
    """Takes a branch as rarely, but a right one."""

    def stopped(self, hidden):
        return hidden * hidden


def rare(module, row=8, **options):
    """Return a net one of whose training samples takes another branch."""
    X, y, _ = Case().data()
    X[row, 0, 0, 0] = 1000.0
    # Of seven steps in an epoch the usual ones that are looked at are all the last.
    options = {"lr": 1e-4, "max_epochs": 8, "batch_size": 2, **options}
    return SGDInfluenceClassifier(
        module, dtype="float64", random_state=0, shuffle=False, **options
    ).fit(X, y)


ASKED = {
    "influence": lambda clf, *data: clf.influence(*data),
    "by epoch": lambda clf, *data: clf.influence_by_epoch(*data),
    "features": lambda clf, *data: clf.feature_influence(*data),
    "labels": lambda clf, *data: clf.label_influence(*data),
    "samples": lambda clf, *data: clf.influence(*data, aggregate=None),
}


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize(
    "options", [{}, {"checkpoint_every": 7}, {"accumulate_steps": 3}]
)
@pytest.mark.parametrize("module", [Rarely, RarelyRounds, MostlyDetached])
def test_a_branch_that_few_batches_take_is_looked_at(module, options, ask):
    clf = rare(module, **options)
    with pytest.raises(UnsupportedModuleError, match="autograd gets it wrong in"):
        ASKED[ask](clf, *Case().validation())


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 7}])
def test_a_right_branch_that_few_batches_take_is_right(options):
    clf = rare(RarelySquares, **options)
    rows = [0, 3, 8]
    scores = clf.influence(*Case().validation())[rows]
    np.testing.assert_allclose(scores, small_changes(clf, rows), rtol=1e-6)


class AnyLength(Net):
    """Takes as many turns as the batch says: each number is another graph."""

    def changed(self, hidden):
        for _ in range(1 + int(hidden.abs().sum().item() * 1e6) % 97):
            hidden = torch.tanh(hidden)
        return hidden


def test_as_many_graphs_as_steps_are_looked_at_in_part(monkeypatch):
    clf = fitted(AnyLength, max_epochs=20)
    looked = []
    monkeypatch.setattr(
        estimate,
        "check_later_steps",
        lambda step, taken, *_, **__: looked.append(taken),
    )
    clf.influence(*Case().validation())
    # The usual ones, and up to twice as many others as there are to be about.
    assert 16 <= len(looked) <= 33
