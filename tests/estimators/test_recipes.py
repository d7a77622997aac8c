"""Recipes of training that people use: the right value, or refused with a reason."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import (
    IrreproducibleStepError,
    UnsupportedModuleError,
    UnsupportedOptimizerError,
)
from tests.cases import rough
from tests.oracles import relative_error, weight_slopes

pytestmark = rough

N, WIDTH, N_CLASSES = 12, 6, 3
SAMPLES = [0, 5, 10]


def data(seed):
    rng = np.random.default_rng(seed)
    y = np.arange(N) % N_CLASSES
    return rng.normal(size=(N, WIDTH)) + 0.5 * y[:, None], y


class Net(nn.Module):
    """Two layers, with a way for subclasses to change what is between them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden = nn.Linear(WIDTH, 8)
        self.middle = nn.Linear(8, 8)
        self.output = nn.Linear(8, N_CLASSES)
        self.double()

    def forward(self, X):
        return self.output(self.changed(torch.tanh(self.hidden(X))))

    def changed(self, hidden):
        return torch.tanh(self.middle(hidden))


class Symmetric(nn.Module):
    def forward(self, weight):
        return weight.triu() + weight.triu(1).T


class Projected(nn.Module):
    """Keeps the norms of columns below a bound, which some exceed."""

    def forward(self, weight):
        return weight / (weight.norm(dim=0) / 0.55).clamp(min=1.0)


class Parametrized(Net):
    def __init__(self, how):
        super().__init__()
        register_parametrization(self.middle, "weight", how.double())


class Orthogonal(Net):
    def __init__(self):
        super().__init__()
        self.middle = parametrizations.orthogonal(self.middle)


class LogSumExp(Net):
    """Subtracts the largest value as a constant, and adds it again."""

    def changed(self, hidden):
        largest = hidden.detach().amax(1, keepdim=True)
        total = torch.exp(hidden - largest).sum(1, keepdim=True)
        return hidden + largest + torch.log(total)


class BufferWeights(Net):
    def __init__(self):
        super().__init__()
        self.register_buffer("projection", torch.randn(8, 8).double())

    def changed(self, hidden):
        return torch.tanh(hidden @ self.projection)


MODULES = {
    "symmetric": lambda: Parametrized(Symmetric()),
    "projected": lambda: Parametrized(Projected()),
    "orthogonal": Orthogonal,
    "log-sum-exp": LogSumExp,
    "weights in a buffer": BufferWeights,
}


def of_batch(module, X, y):
    return cross_entropy(module(X), y, reduction="none")


def penalized(module, X, y):
    """Add the squared norm of the outputs' gradient in the inputs."""
    X = X.detach().requires_grad_()
    (slope,) = torch.autograd.grad(
        module(X).square().sum(), X, create_graph=module.training
    )
    return of_batch(module, X, y) + 0.1 * slope.square().sum(1)


def adversarial(module, X, y):
    """Add the losses at the inputs moved along the signs of their gradient."""
    X = X.detach().requires_grad_()
    (slope,) = torch.autograd.grad(of_batch(module, X, y).sum(), X)
    return of_batch(module, X, y) + of_batch(module, X.detach() + 0.1 * slope.sign(), y)


def trimmed(module, X, y):
    """Leave out the largest losses of a batch."""
    losses = of_batch(module, X, y)
    bound = torch.quantile(losses.detach(), 0.7)
    return torch.where(losses < float(bound), losses, 0.0)


LOSSES = {
    "gradient penalty": penalized,
    "adversarial": adversarial,
    "trimmed": trimmed,
}


def fitted(module, losses=None, **options):
    """Return an estimator that trains on batches in order, with losses of its own."""

    class Own(SGDInfluenceClassifier):
        def get_losses(self, y_pred, y_true, X=None, training=False):
            if training and losses is not None:
                return losses(self.module_, X, y_true)
            return super().get_losses(y_pred, y_true, X=X, training=training)

    options = {"lr": 0.1, "max_epochs": 2, "batch_size": 4, **options}
    kind = options.pop("kind", Own)
    return kind(module, shuffle=False, **options).fit(*data(0))


def tensors(seed):
    return tuple(map(torch.from_numpy, data(seed)))


def assert_right(module, losses):
    own = {} if losses is None else {"losses": losses}
    expected = weight_slopes(module, tensors(0), tensors(1), SAMPLES, lr=0.1, **own)
    found = fitted(module, losses).influence(*data(1))[SAMPLES]
    assert relative_error(found, expected) <= 1e-6


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_right(module):
    assert_right(MODULES[module](), None)


@pytest.mark.parametrize("losses", LOSSES)
def test_losses_are_right(losses):
    assert_right(Net(), LOSSES[losses])


class NumpySine(torch.autograd.Function):
    """Has a right gradient, but none of the gradient."""

    @staticmethod
    def forward(ctx, x):
        ctx.x = x.detach().numpy()
        return torch.from_numpy(np.sin(ctx.x))

    @staticmethod
    def backward(ctx, along):
        return along * torch.from_numpy(np.cos(ctx.x))


class InNumpy(Net):
    def changed(self, hidden):
        return NumpySine.apply(hidden)


class HalfDetached(Net):
    def __init__(self):
        super().__init__()
        self.middle.register_forward_hook(lambda m, i, out: (out + out.detach()) / 2)


class ClipsActivationGradients(Net):
    def __init__(self):
        super().__init__()
        self.middle.register_full_backward_hook(
            lambda m, into, out: tuple(g.clamp(-1e-3, 1e-3) for g in into)
        )


class Teacher(Net):
    """Adds the outputs of an average of its own weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("average", torch.zeros_like(self.middle.weight))

    def changed(self, hidden):
        if self.training:
            with torch.no_grad():
                self.average.lerp_(self.middle.weight, 0.2)
        return super().changed(hidden) + 0.1 * hidden @ self.average.clone().T


class ScalesByNumber(Net):
    def changed(self, hidden):
        return hidden * min(1.0, 2.0 / hidden.norm().item())


def moved_by_gradient(module, X, y):
    X = X.detach().requires_grad_()
    (slope,) = torch.autograd.grad(of_batch(module, X, y).sum(), X)
    return of_batch(module, X.detach() + slope, y)


REFUSED_AT_FIT = {
    "NumPy": (InNumpy, None),
    "a hook that detaches": (HalfDetached, None),
    "a hook on a gradient": (ClipsActivationGradients, None),
    "a teacher": (Teacher, None),
    "a number": (ScalesByNumber, None),
    "a gradient as data": (Net, moved_by_gradient),
}


@pytest.mark.parametrize("recipe", REFUSED_AT_FIT)
def test_refused_before_training(recipe):
    module, losses = REFUSED_AT_FIT[recipe]
    with pytest.raises(UnsupportedModuleError, match="autograd gets it wrong"):
        fitted(module(), losses)


class Saturating(Net):
    """Passes on what is close to 1 without its gradient."""

    def changed(self, hidden):
        far, hidden = hidden.abs() > 0.93, 1.0 * hidden
        hidden[far] = 0.9 * hidden[far].detach()
        return hidden


class Outlying(Net):
    def changed(self, hidden):
        if hidden.requires_grad:
            far = hidden.detach().abs() > 0.93
            hidden = 1.0 * hidden
            hidden.register_hook(lambda along: torch.where(far, 0.5 * along, along))
        return hidden


@pytest.mark.parametrize("module", [Saturating, Outlying])
def test_what_acts_once_weights_have_grown_is_refused_at_the_question(module):
    clf = fitted(module(), lr=0.5, max_epochs=20)
    with pytest.raises(UnsupportedModuleError, match="autograd gets it wrong"):
        clf.influence(*data(1))


class MaxNorm(Net):
    """Bounds its weights in the forward pass, which they reach later."""

    def forward(self, X):
        with torch.no_grad():
            self.hidden.weight.clamp_(-0.5, 0.5)
        return super().forward(X)


def test_weights_that_are_bounded_later_are_refused_at_the_question():
    clf = fitted(MaxNorm(), lr=0.5, max_epochs=20)
    with pytest.raises(IrreproducibleStepError, match="gave a different result"):
        clf.influence(*data(1))


class Centralized(torch.optim.SGD):
    """Centres gradients before it takes a step."""

    def step(self, closure=None):
        loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad.sub_(parameter.grad.mean())
        super().step()
        return loss


class Projecting(torch.optim.SGD):
    """Bounds weights in a hook of its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_step_post_hook(self.project)

    @torch.no_grad()
    def project(self, *_):
        for parameter in self.param_groups[0]["params"]:
            parameter.clamp_(-0.1, 0.1)


class ProjectingNet(SGDInfluenceClassifier):
    def _step_optimizer(self, step_fn):
        super()._step_optimizer(step_fn)
        with torch.no_grad():
            self.module_.hidden.weight.clamp_(-0.1, 0.1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"optimizer": Centralized}, UnsupportedOptimizerError, "got Centralized"),
        ({"optimizer": Projecting}, IrreproducibleStepError, "`Projecting.project`"),
        ({"kind": ProjectingNet}, TypeError, "must not override `_step_optimizer`"),
    ],
    ids=["step", "hook", "net"],
)
def test_other_steps_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        fitted(Net(), **options)
    fitted(Net(), record=None, **options)
