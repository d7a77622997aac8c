"""What does not show in the first step: refused at the question, or the right value."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators._questions import later_faults
from skinfluence.exceptions import IrreproducibleStepError, UnsupportedModuleError
from tests.cases import N_CLASSES, SIDE, Case, pairwise, rough

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


@pytest.mark.slow
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
    for _ in range(2):  # not only at the first
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
        if not float(X.detach().max()) > 100.0:
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


@pairwise(
    module=[Rarely, RarelyRounds, MostlyDetached],
    options=[{}, {"checkpoint_every": 7}, {"accumulate_steps": 3}],
    ask=ASKED,
)
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
        for _ in range(1 + int((hidden.abs().sum() * 1e6).long()) % 97):
            hidden = torch.tanh(hidden)
        return hidden


def test_as_many_graphs_as_steps_are_looked_at_in_part(monkeypatch):
    clf = fitted(AnyLength, max_epochs=20)
    looked = []
    monkeypatch.setattr(
        later_faults,
        "check_later_steps",
        lambda step, taken, *_, **__: looked.append(taken),
    )
    clf.influence(*Case().validation())
    # The usual ones, and up to twice as many others as there are to be about.
    assert 16 <= len(looked) <= 33


def test_what_was_looked_at_once_is_not_again(monkeypatch):
    looked, check = [], later_faults.check_later_steps

    def noted(step, taken, *arguments, **options):
        taken = list(taken)
        looked.extend(record.step for _, record, _ in taken)
        check(step, taken, *arguments, **options)

    monkeypatch.setattr(later_faults, "check_later_steps", noted)
    clf = fitted(Net, max_epochs=4)
    clf.influence(*Case().validation())
    first = sorted(looked)
    assert len(first) >= 8
    clf.label_influence(*Case().validation())
    clf.influence(*Case().validation(), at="path")
    assert sorted(looked) == first
    # Steps that were taken since, and those of another run.
    n_steps = clf.trajectory_.n_steps
    clf.partial_fit(*Case().data()[:2])
    clf.influence(*Case().validation())
    assert max(looked) >= n_steps
    looked.clear()
    clf.fit(*Case().data()[:2]).influence(*Case().validation())
    assert sorted(looked) == first


class Masked(Net):
    """Stops the gradient of single values, within one and the same graph."""

    def __init__(self, stopped):
        super().__init__()
        self.stopped = stopped

    def forward(self, X):
        # An outlier would saturate the units, which then have no gradient to stop.
        hidden = torch.tanh(self.hidden(X.flatten(1).clamp(max=2.0)))
        rare = (X.flatten(1).amax(1, keepdim=True) > 100.0).expand_as(hidden)
        return self.output(self.stopped(hidden * hidden, rare))


class StraightThrough(torch.autograd.Function):
    """Rounds values far from 0, and passes their gradient on."""

    @staticmethod
    def forward(ctx, x, rare):
        return torch.where(rare, (4 * x).round() / 4, x)

    @staticmethod
    def backward(ctx, along):
        return along, None


class RarelyReversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, rare):
        ctx.save_for_backward(rare)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, along):
        (rare,) = ctx.saved_tensors
        return torch.where(rare, -along, along), None


def by_index(x, rare):
    x = x.clone()
    x[rare] = x[rare].detach()
    return x


def by_data(x, rare):
    x = x * 1.0
    if rare.any():
        x.data[rare] *= 0.5 * x.data[rare]
    return x


def by_clamp(x, rare):
    bound = x.detach().mean()
    return torch.where(rare, x.clamp(max=bound), x)


def without_gradients(x, rare):
    with torch.no_grad():
        scale = torch.where(rare, x, 1.0)
    return x * scale


def by_number(x, rare):
    return x / max(1.0, torch.where(rare, x + 3.0, 0.0).sum().item())


def by_shape(x, rare):
    x, some = x * 1.0, x[rare]
    if len(some):
        x.data[rare] *= 0.5 * some.data
    return x


def by_hook(x, rare):
    x = x * 1.0
    if x.requires_grad:
        x.register_hook(lambda along: torch.where(rare, 0.5 * along, along))
    return x


STOPS = {
    "where": lambda x, rare: torch.where(rare, x.detach() * x, x),
    "where, wholly": lambda x, rare: torch.where(rare, x.detach(), x),
    "index": by_index,
    "data": by_data,
    "data, by a shape": by_shape,
    "clamp": by_clamp,
    "no_grad": without_gradients,
    "number": by_number,
    "hook": by_hook,
    "mask": lambda x, rare: x + rare * (x.detach() * x - x),
    "rounding": lambda x, rare: x + rare * ((4 * x).round() / 4 - x).detach(),
    "function": StraightThrough.apply,
    "reversal": RarelyReversed.apply,
}


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 7}])
@pytest.mark.parametrize("stopped", STOPS)
def test_a_gradient_that_is_stopped_in_few_values_is_refused(stopped, options):
    clf = rare(lambda: Masked(STOPS[stopped]), **options)
    with pytest.raises(UnsupportedModuleError, match="autograd gets it wrong in"):
        clf.influence(*Case().validation())
    assert np.isfinite(clf.counterfactual_influence(*Case().validation(), [8])).all()


def minus_largest(x, rare):
    largest = x.detach().amax(1, keepdim=True)
    return x + largest - largest


def logged(x, rare):
    logged.seen.append((x.mean().item(), float(x.detach().norm())))
    with torch.no_grad():
        logged.seen.append(x.square().mean())
    return x


logged.seen = []


class Squares(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, rare):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, along):
        (x,) = ctx.saved_tensors
        return 2 * x * along, None


def looked_at(x, rare):
    if x.requires_grad:
        x = x * 1.0
        x.register_hook(lambda along: logged.seen.append(along.norm()))
    return x


STOPS_NOTHING = {
    "largest": minus_largest,
    "logged": logged,
    "function": Squares.apply,
    "hook": looked_at,
    "detached where it never is": lambda x, rare: torch.where(x > 9, x.detach(), x),
}


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 7}])
@pytest.mark.parametrize("stopped", STOPS_NOTHING)
def test_what_stops_no_gradient_is_right(stopped, options):
    clf = rare(lambda: Masked(STOPS_NOTHING[stopped]), lr=0.1, **options)
    rows = [0, 3, 8]
    scores = clf.influence(*Case().validation())[rows]
    np.testing.assert_allclose(scores, small_changes(clf, rows), rtol=1e-6)


def kept(x, rare):
    return x


class RarelyRoundsInEvaluation(Masked):
    def __init__(self):
        super().__init__(kept)

    def train(self, mode=True):
        self.stopped = kept if mode else STOPS["rounding"]
        return super().train(mode)


@pytest.mark.parametrize("row", [0, 4])
@pytest.mark.parametrize("at", ["final", "path"])
def test_every_batch_of_a_query_is_looked_at(at, row):
    clf = rare(RarelyRoundsInEvaluation, iterator_valid__batch_size=2)
    X_val, y_val = Case().validation()
    X_val[row, 0, 0, 0] = 1000.0
    with pytest.raises(UnsupportedModuleError, match="gradient of the query"):
        clf.influence(X_val, y_val, at=at)
