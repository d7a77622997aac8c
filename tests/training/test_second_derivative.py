"""Modules and losses with a true second derivative pass, others are refused by name.

The oracle is central differences of the whole gradient, in plain PyTorch.
"""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from skinfluence.exceptions import UnsupportedModuleError
from skinfluence.training import (
    MicroBatch,
    Objective,
    _derivatives,
    _second_derivative,
    check_second_derivative,
    few,
)

REMEDY = "Train without influence (record=None)."
N_SAMPLES, N_FEATURES, WIDTH, N_CLASSES = 12, 6, 8, 4

pytestmark = [
    # Deprecated, but in many a module still.
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning"),
]


class StraightThrough(nn.Module):
    def forward(self, x):
        return x + (x.round() - x).detach()


class _Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0].cos()


class OnceDifferentiable(nn.Module):
    def forward(self, x):
        return _Sine.apply(x)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Reversal(nn.Module):
    """The gradient reversal of domain-adversarial training."""

    def forward(self, x):
        return _Reversal.apply(x)


class RandomBeta(nn.Module):
    def forward(self, x):
        return torch.distributions.Beta(F.softplus(x) + 0.1, 2.0 + 0 * x).rsample()


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
        self.use_reentrant = use_reentrant

    def forward(self, x):
        return checkpoint(self.inner, x, use_reentrant=self.use_reentrant)


class Words(nn.Module):
    """Looks up whole numbers made of the inputs."""

    def __init__(self, table, pool=True):
        super().__init__()
        self.table = table
        self.pool = pool

    def forward(self, x):
        found = self.table((x.abs() * 3).long().clamp(max=9))
        return found.mean(1) if self.pool else found


class First(nn.Module):
    """Runs a recurrent module and returns its last output."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0][:, -1]


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Focal(nn.Module):
    def __init__(self, detached):
        super().__init__()
        self.detached = detached

    def forward(self, outputs, targets):
        losses = F.cross_entropy(outputs, targets, reduction="none")
        factors = (1 - torch.exp(-losses)) ** 2
        return (factors.detach() if self.detached else factors) * losses


class CTC(nn.Module):
    def forward(self, outputs, targets):
        scores = outputs.reshape(len(outputs), 2, -1).transpose(0, 1).log_softmax(-1)
        lengths = torch.full((len(outputs),), 2), torch.ones(len(outputs)).long()
        labels = torch.ones(len(outputs), 1).long()
        return F.ctc_loss(scores, labels, *lengths, reduction="none")


class OnTargets(nn.Module):
    """A loss of real targets made of the classes."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, outputs, targets):
        real = F.one_hot(targets, outputs.shape[1]).to(outputs)
        return self.loss(outputs, real).mean(1)


class Stopping(nn.Sequential):
    """Stops a gradient itself, between submodules that do not."""

    def forward(self, x):
        x = self[0](x)
        return self[1](x) * x.detach()


def between(inner):
    """Put a module between the layers of a network."""
    return nn.Sequential(
        nn.Linear(N_FEATURES, WIDTH), nn.Tanh(), inner, nn.Linear(WIDTH, N_CLASSES)
    )


def ending(*first):
    return nn.Sequential(*first, nn.Linear(WIDTH, N_CLASSES))


def cross_entropy(**options):
    return nn.CrossEntropyLoss(reduction="none", **options)


@dataclass
class Case:
    """A module and a loss; lazy, so that seeds decide what is in them."""

    make: Callable[[], nn.Module]
    loss: Callable[[], Any] = cross_entropy
    culprit: str = ""
    seed: int = 0

    def built(self, dtype):
        torch.manual_seed(self.seed)
        module, loss = self.make().to(dtype), self.loss()
        X = torch.randn(N_SAMPLES, N_FEATURES, dtype=dtype)
        y = torch.randint(N_CLASSES, (N_SAMPLES,))
        return module, loss.to(dtype) if isinstance(loss, nn.Module) else loss, X, y


def check(module, loss, X, y, seed=3, parameters=None):
    if parameters is None:
        parameters = [p for p in module.parameters() if p.requires_grad]
    objective = Objective(
        [part for part in (module, loss) if isinstance(part, nn.Module)],
        module,
        lambda outputs, targets, _: loss(outputs, targets),
        lambda batch: (X[batch.rows], y[batch.rows], None),
    )
    with sdpa_kernel(SDPBackend.MATH):
        batch = MicroBatch(0, torch.arange(len(X)), seed)
        check_second_derivative(objective, parameters, few(batch), REMEDY)


def oracle(case):
    """Return the relative error of autograd's derivative of the gradient, float64."""
    module, loss, X, y = case.built(torch.float64)
    parameters = list(module.parameters())
    start = copy.deepcopy(module.state_dict())
    # Off the kinks on which biases of 0 may sit.
    along, shift = (
        [torch.randn(p.shape, dtype=p.dtype) for p in parameters] for _ in range(2)
    )

    def gradient(length, create_graph=False):
        module.load_state_dict(start)
        with torch.no_grad():
            for parameter, a, s in zip(parameters, along, shift, strict=True):
                parameter.add_(1e-3 * s + length * a)
        torch.manual_seed(7)
        with sdpa_kernel(SDPBackend.MATH):
            mean = loss(module(X), y).mean()
        return torch.autograd.grad(mean, parameters, create_graph=create_graph)

    def flat(tensors):
        return torch.cat([tensor.flatten() for tensor in tensors])

    # The row of an embedding's padding never moves, whatever its slope.
    for a, g in zip(along, gradient(0.0), strict=True):
        a[g == 0] = 0.0
    product = flat(gradient(0.0, create_graph=True)) @ flat(along)
    derivative = flat(torch.autograd.grad(product, parameters))
    found = (flat(gradient(1e-7)) - flat(gradient(-1e-7))) / 2e-7
    return float((found - derivative).norm() / found.norm())


def compiled(inner):
    # After many others torch would give up compiling, and take them as they are.
    torch._dynamo.reset()
    return torch.compile(inner, backend="aot_eager")


WRONG = {
    "straight-through": Case(lambda: between(StraightThrough()), culprit="`2` (Straig"),
    "once": Case(lambda: between(OnceDifferentiable()), culprit="`2` (OnceDiff"),
    "reversal": Case(lambda: between(Reversal()), culprit="`2` (Reversal)"),
    "nested": Case(
        lambda: between(nn.Sequential(nn.Tanh(), nn.Sequential(StraightThrough()))),
        culprit="`2.1.0` (StraightThrough)",
    ),
    "own forward": Case(
        lambda: between(Stopping(nn.Linear(WIDTH, WIDTH), nn.Tanh())),
        culprit="`2` (Stopping)",
    ),
    "focal": Case(
        lambda: between(nn.Tanh()), lambda: Focal(True), culprit="in `Focal`"
    ),
    "function": Case(
        lambda: between(nn.Tanh()),
        lambda: lambda *args: Focal(True)(*args),
        culprit="in the loss",
    ),
    "spectral_norm": Case(
        lambda: between(nn.utils.spectral_norm(nn.Linear(WIDTH, WIDTH))),
        culprit="`2` (Linear)",
    ),
    "parametrized spectral_norm": Case(
        lambda: between(parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH))),
        culprit="`2.parametrizations.weight.0` (_SpectralNorm)",
    ),
    "weight_norm": Case(
        lambda: between(nn.utils.weight_norm(nn.Linear(WIDTH, WIDTH))),
        culprit="`2` (Linear)",
    ),
    "parametrized weight_norm": Case(
        lambda: between(parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH))),
        culprit="`2.parametrizations.weight.0` (_WeightNorm)",
    ),
    "max_norm": Case(
        lambda: ending(Words(nn.Embedding(10, WIDTH, max_norm=1.0))),
        culprit="`0.table` (Embedding)",
    ),
    "beta": Case(lambda: between(RandomBeta()), culprit="`2` (RandomBeta)"),
}
IMPOSSIBLE = {
    "checkpoint": Case(lambda: between(Checkpointed(True)), culprit="`2` (Checkp"),
    "bag": Case(
        lambda: ending(Words(nn.EmbeddingBag(10, WIDTH), pool=False), nn.Dropout()),
        culprit="`0.table` (EmbeddingBag)",
    ),
    "sparse": Case(
        lambda: ending(Words(nn.Embedding(10, WIDTH, sparse=True))),
        culprit="`0.table` (Embedding)",
    ),
    "multi-margin": Case(
        lambda: between(nn.Tanh()),
        lambda: nn.MultiMarginLoss(reduction="none"),
        culprit="`MultiMarginLoss`",
    ),
    "ctc": Case(lambda: between(nn.Tanh()), CTC, culprit="`CTC`"),
    "cdist": Case(
        lambda: between(Function(lambda x: torch.cdist(x, x[:8] + 1.0))),
        culprit="`2` (Function)",
    ),
    "compiled": Case(lambda: compiled(between(nn.Tanh())), culprit="`OptimizedModule`"),
    "compiled part": Case(
        lambda: between(compiled(nn.Linear(WIDTH, WIDTH))),
        culprit="`2` (OptimizedModule)",
    ),
}
SEQUENCE = nn.Unflatten(1, (3, 2))
RIGHT = {
    "linear": Case(lambda: nn.Linear(N_FEATURES, N_CLASSES)),
    "relu": Case(lambda: between(nn.ReLU())),
    "inplace relu": Case(lambda: ending(nn.Linear(6, 8), nn.ReLU(inplace=True))),
    "gelu": Case(lambda: between(nn.GELU())),
    "deep": Case(lambda: between(between(nn.ReLU())[1:3])),
    "cnn": Case(
        lambda: ending(
            nn.Unflatten(1, (1, N_FEATURES)),
            nn.Conv1d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool1d(6),
            nn.Flatten(),
        )
    ),
    "batch_norm": Case(lambda: between(nn.BatchNorm1d(WIDTH))),
    "group_norm": Case(lambda: between(nn.GroupNorm(2, WIDTH))),
    "layer_norm": Case(lambda: between(nn.LayerNorm(WIDTH))),
    "dropout": Case(lambda: between(nn.Dropout(0.4))),
    "lstm": Case(lambda: ending(SEQUENCE, First(nn.LSTM(2, WIDTH, batch_first=True)))),
    "gru": Case(lambda: ending(SEQUENCE, First(nn.GRU(2, WIDTH, batch_first=True)))),
    "embedding": Case(lambda: ending(Words(nn.Embedding(10, WIDTH, padding_idx=0)))),
    "attention": Case(lambda: between(nn.Sequential(nn.Tanh(), SelfAttention()))),
    "transformer": Case(
        lambda: between(
            nn.Sequential(
                nn.Unflatten(0, (3, 4)),
                nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True),
                nn.Flatten(0, 1),
            )
        )
    ),
    "weight_norm of the whole": Case(
        lambda: between(nn.utils.weight_norm(nn.Linear(WIDTH, WIDTH), dim=None))
    ),
    "prune": Case(
        lambda: between(prune.random_unstructured(nn.Linear(8, 8), "weight", 0.5))
    ),
    "checkpoint": Case(lambda: between(Checkpointed(False))),
    "norm": Case(lambda: between(Function(lambda x: x / x.norm(dim=1, keepdim=True)))),
    "softmax": Case(lambda: between(nn.Softmax(1))),
    "logsumexp": Case(
        lambda: between(Function(lambda x: x - x.logsumexp(1, keepdim=True)))
    ),
    "label smoothing": Case(
        lambda: between(nn.Tanh()), lambda: cross_entropy(label_smoothing=0.1)
    ),
    "class weights": Case(
        lambda: between(nn.Tanh()),
        lambda: cross_entropy(weight=torch.tensor([0.5, 1.0, 2.0, 0.1])),
    ),
    "ignored": Case(lambda: between(nn.Tanh()), lambda: cross_entropy(ignore_index=1)),
    "focal": Case(lambda: between(nn.Tanh()), lambda: Focal(False)),
    "huber": Case(
        lambda: between(nn.ReLU()), lambda: OnTargets(nn.HuberLoss(reduction="none"))
    ),
    "smooth l1": Case(
        lambda: between(nn.ReLU()), lambda: OnTargets(nn.SmoothL1Loss(reduction="none"))
    ),
    "l1": Case(
        lambda: between(nn.ReLU()), lambda: OnTargets(nn.L1Loss(reduction="none"))
    ),
    "pos_weight": Case(
        lambda: between(nn.ReLU()),
        lambda: OnTargets(
            nn.BCEWithLogitsLoss(reduction="none", pos_weight=torch.full((4,), 3.0))
        ),
    ),
    "mse": Case(
        lambda: nn.Linear(N_FEATURES, N_CLASSES),
        lambda: OnTargets(nn.MSELoss(reduction="none")),
    ),
}

EVERY = WRONG | IMPOSSIBLE | RIGHT


# The smallest error that is refused; what a difference over 1e-7 leaves of 16 digits.
@pytest.mark.parametrize("name", WRONG)
def test_the_oracle_finds_the_wrong_cases_wrong(name):
    assert oracle(WRONG[name]) > 1e-3


@pytest.mark.parametrize("name", RIGHT)
def test_the_oracle_finds_the_right_cases_right(name):
    assert oracle(RIGHT[name]) < 1e-6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what torch says besides its errors
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_torch_cannot_differentiate_the_impossible_cases(name):
    with pytest.raises(RuntimeError):
        oracle(IMPOSSIBLE[name])


DTYPES = [torch.float32, torch.float64, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_cases_are_refused_by_name(name, dtype):
    case = WRONG[name]
    message = f"{re.escape(case.culprit)}.*(relative error .*detach|max_norm=None).*"
    for seed in range(3):
        case.seed = seed
        with pytest.raises(UnsupportedModuleError, match=message) as caught:
            check(*case.built(dtype), seed=seed)
        assert str(caught.value).endswith(f" {REMEDY}")


@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_cases_are_refused_by_name(name, dtype):
    case = IMPOSSIBLE[name]
    message = rf"differentiate {re.escape(case.culprit)}.* twice \(.+\)\. Train"
    with pytest.raises(UnsupportedModuleError, match=message):
        check(*case.built(dtype))


def test_what_surrounds_the_modules_has_a_name_too():
    module, loss, X, y = large(WIDTH)
    outside = StraightThrough()
    objective = Objective(
        [module, loss],
        lambda inputs: outside(module(inputs)),
        lambda outputs, targets, _: loss(outputs, targets),
        lambda batch: (X[batch.rows], y[batch.rows], None),
    )
    batch = MicroBatch(0, torch.arange(9), 0)
    with pytest.raises(UnsupportedModuleError, match="wrong in the forward pass"):
        check_second_derivative(objective, list(module.parameters()), batch, REMEDY)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:DeprecationWarning")
def test_scripted_modules_take_no_hooks_but_others_are_named():
    _, loss, X, y = large(4)
    scripted = torch.jit.script(nn.Sequential(nn.Linear(N_FEATURES, WIDTH), nn.ReLU()))
    check(ending(scripted), loss, X, y)
    with pytest.raises(UnsupportedModuleError, match=r"`1` \(StraightThrough\)"):
        check(ending(scripted, StraightThrough()), loss, X, y)


def test_torch_s_own_words_are_told():
    with pytest.raises(UnsupportedModuleError, match="'_embedding_bag_backward' is no"):
        check(*IMPOSSIBLE["bag"].built(torch.float32))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", RIGHT)
def test_right_cases_pass(name, dtype):
    case = RIGHT[name]
    for seed in range(5):
        case.seed = seed
        check(*case.built(dtype), seed=seed)


class ReluNetwork(nn.Sequential):
    def __init__(self, width, *more):
        super().__init__(
            nn.Linear(N_FEATURES, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            *more,
            nn.Linear(width, N_CLASSES),
        )


def large(width, *more, seed=0, n_samples=1024):
    torch.manual_seed(seed)
    X = torch.randn(n_samples, N_FEATURES)
    y = torch.randint(N_CLASSES, (n_samples,))
    return ReluNetwork(width, *more), cross_entropy(), X, y


@pytest.mark.parametrize("width", [4, 64, 512])
def test_relu_networks_pass(width):
    for seed in range(20):
        check(*large(width, seed=seed), seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [(1e-1, 1e-2, 1e-3), (1e-3, 1e-4, 1e-5)])
def test_kinks_within_every_step_are_no_reason_to_refuse(monkeypatch, steps):
    # As if there were so many units that kinks lay within the shortest step.
    monkeypatch.setattr(_second_derivative, "_MOST_ROWS", 1024)
    monkeypatch.setitem(_second_derivative._STEPS, torch.float64, steps)
    differences = []
    taken = _second_derivative._DerivativeTest._gradient
    monkeypatch.setattr(
        _second_derivative._DerivativeTest,
        "_gradient",
        lambda *args: differences.append(0) or taken(*args),
    )
    for seed in range(5):
        check(*large(256, seed=seed), seed=seed)
    assert len(differences) > 5 * 2  # not accepted at the first step every time


def test_inputs_of_zeros_put_a_new_network_on_its_kinks():
    module, loss, X, y = large(64)
    for layer in (module[0], module[2], module[4]):
        nn.init.zeros_(layer.bias)
    check(module, loss, torch.zeros_like(X), y)
    module = ReluNetwork(64, StraightThrough())
    nn.init.zeros_(module[0].bias)
    with pytest.raises(UnsupportedModuleError, match="StraightThrough"):
        check(
            module, loss, torch.cat([torch.zeros_like(X[:4]), X]), torch.cat([y[:4], y])
        )


@pytest.mark.slow
def test_kinks_do_not_hide_what_is_wrong():
    for seed in range(5):
        with pytest.raises(UnsupportedModuleError, match=r"`4` \(StraightThrough\)"):
            check(*large(512, StraightThrough(), seed=seed), seed=seed)


class SinglePrecision(nn.Module):
    """Works in one precision only, as compiled kernels may."""

    def __init__(self, *inner):
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x):
        if self.inner[0].weight.dtype is not torch.float32:
            raise NotImplementedError("in single precision only")
        return self.inner(x)


def test_where_there_is_only_single_precision_it_decides():
    for seed in range(10):
        torch.manual_seed(seed)
        right = SinglePrecision(nn.Linear(N_FEATURES, WIDTH), nn.ReLU())
        check(ending(right), *large(4)[1:], seed=seed)
        smooth = SinglePrecision(nn.Linear(N_FEATURES, WIDTH), nn.GELU())
        check(ending(smooth), *large(4)[1:], seed=seed)
        wrong = SinglePrecision(nn.Linear(N_FEATURES, WIDTH), OnceDifferentiable())
        with pytest.raises(UnsupportedModuleError, match=r"`0.inner.1` \(OnceDiff"):
            check(ending(wrong), *large(4)[1:], seed=seed)


class Casting(nn.Module):
    """Brings what it gets to a dtype of its own, and makes constants of the default."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        x = self.inner(x.float().to(torch.float32)) * torch.full((WIDTH,), 0.5)
        return x @ torch.eye(WIDTH)


def test_modules_that_cast_are_compared_in_double_precision(monkeypatch):
    # Single precision cannot tell: no comparison is made in it.
    monkeypatch.delitem(_second_derivative._STEPS, torch.float32)
    layer = nn.Linear(N_FEATURES, WIDTH)
    check(ending(Casting(layer)), *large(4)[1:])
    with pytest.raises(UnsupportedModuleError, match="StraightThrough"):
        check(ending(Casting(layer), StraightThrough()), *large(4)[1:])


def test_parameters_of_several_dtypes():
    module, loss, X, y = large(WIDTH)
    module[2].double()
    module.insert(2, Function(torch.Tensor.double))
    module.insert(5, Function(torch.Tensor.float))
    check(module, loss, X, y)
    module.insert(1, StraightThrough())
    with pytest.raises(UnsupportedModuleError, match="StraightThrough"):
        check(module, loss, X, y)


def test_large_targets_do_not_hide_what_is_wrong():
    module, _, X, y = large(WIDTH)
    far = OnTargets(nn.MSELoss(reduction="none"))
    check(module, lambda outputs, targets: far(outputs - 1e6, targets), X, y)
    wrong, *_ = large(WIDTH, StraightThrough())
    with pytest.raises(UnsupportedModuleError, match="StraightThrough"):
        check(wrong, lambda outputs, targets: far(outputs - 1e6, targets), X, y)


@pytest.mark.parametrize("factor", [1e-4, 1e3])
def test_inputs_of_any_scale(factor):
    for seed in range(5):
        module, loss, X, y = large(64, seed=seed)
        check(module, loss, X * factor, y, seed=seed)


def test_the_second_derivative_may_be_zero():
    module, X, y = nn.Linear(N_FEATURES, N_CLASSES), *large(4)[2:]
    for loss in (nn.L1Loss(reduction="none"), nn.HuberLoss(reduction="none", delta=99)):
        check(module, OnTargets(loss), X, y)
    check(module, lambda o, t: (1 - o.gather(1, t[:, None])[:, 0]).relu(), X, y)
    check(module, lambda o, t: 0.0 * o.sum(1), X, y)


class Constant(nn.Linear):
    def forward(self, x):
        return super().forward(x).detach()


def test_a_derivative_that_is_not_a_number_is_refused():
    # Where a factor is 0 so is the gradient; its derivative is 0 times infinity.
    power = Function(lambda x: (x * (x > 0)) ** 1.5)
    message = r"in `2` \(Function\) it is infinite or NaN at these inputs.* \+ 1e-6"
    with pytest.raises(UnsupportedModuleError, match=message):
        check(between(power), *large(4)[1:])
    # ReLU's gradient hides what is infinite below it, from the parameters before it
    # alone: no part by itself has the fault.
    root = Function(lambda x: torch.sqrt(torch.relu(x)))
    with pytest.raises(UnsupportedModuleError, match="it is infinite or NaN at these"):
        check(between(root), *large(4)[1:])
    check(between(Function(lambda x: torch.sqrt(x.relu() + 1e-6))), *large(4)[1:])
    # But a run that has diverged says so itself.
    module, loss, X, y = large(4)
    check(module, loss, X * float("inf"), y)


def test_what_depends_on_nothing_is_left_to_training():
    _, loss, X, y = large(4)
    check(Constant(N_FEATURES, N_CLASSES), loss, X, y)
    check(nn.Linear(N_FEATURES + 1, N_CLASSES), loss, X, y)  # does not even run
    check(nn.Identity(), loss, X, y)
    ignoring = cross_entropy(ignore_index=1)
    check(nn.Linear(N_FEATURES, N_CLASSES), ignoring, X, torch.ones_like(y))


def test_parameters_that_take_part_in_no_loss():
    module, loss, X, y = large(4)
    spare = nn.Linear(2, 2)
    check(module, loss, X, y, parameters=[*module.parameters(), *spare.parameters()])
    check(module, loss, X, y, parameters=list(spare.parameters()))


def test_one_sample_and_two():
    module, loss, X, y = large(4)
    check(module, loss, X[:1], y[:1])
    normed = between(nn.BatchNorm1d(WIDTH))
    check(normed, loss, X[:2], y[:2])
    check(normed, loss, X[:1], y[:1])  # refused by torch itself, in training


def contents(module):
    """Return all that a module is made of, as bytes and identities."""
    found = []
    for part in module.modules():
        for tensor in (*part._parameters.values(), *part._buffers.values()):
            if tensor is not None:
                memory = tensor.data_ptr(), tensor.dtype, tensor.requires_grad
                bits = tensor.detach().flatten().view(torch.uint8).numpy().tobytes()
                found.append((id(tensor), *memory, bits, id(tensor.grad)))
        found.append([(name, id(value)) for name, value in vars(part).items()])
    return found


# torch.compile itself writes to the modules that it compiles.
@pytest.mark.parametrize("dtype", DTYPES[:2], ids=str)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", [n for n in EVERY if "compiled" not in n])
def test_nothing_is_changed(name, training, dtype):
    module, loss, X, y = EVERY[name].built(dtype)
    module.train(training)
    for parameter in list(module.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    list(module.parameters())[-1].requires_grad_(False)
    before, inputs, generator = contents(module), X.clone(), torch.get_rng_state()
    try:
        check(module, loss, X, y)
    except UnsupportedModuleError:
        assert name not in RIGHT
    assert contents(module) == before
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.equal(X, inputs)


@pytest.fixture
def passes(monkeypatch):
    """Count forward passes and calls of autograd."""
    counts = {"forward": 0, "grad": 0}
    forward, grad = nn.Linear.forward, _derivatives.slopes

    def count_forward(self, x):
        counts["forward"] += self.out_features == N_CLASSES
        counts["rows"] = len(x)
        return forward(self, x)

    def count_grad(*args, **kwargs):
        counts["grad"] += 1
        return grad(*args, **kwargs)

    monkeypatch.setattr(nn.Linear, "forward", count_forward)
    monkeypatch.setattr(_derivatives, "slopes", count_grad)
    return counts


def test_costs_three_gradients_and_a_second_derivative(passes):
    check(*large(100))
    assert passes == {"forward": 3, "grad": 4, "rows": 32}


def test_buffers_cost_two_passes_and_one_for_each_that_training_computes(passes):
    check(*large(100, nn.BatchNorm1d(100)))
    assert passes == {"forward": 3 + 2 + 2, "grad": 4, "rows": 32}


def test_kinks_cost_no_more_than_every_step_in_two_directions(passes, monkeypatch):
    monkeypatch.setitem(
        _second_derivative._STEPS, torch.float64, (1e-1, 1e-2, 1e-3, 1e-4, 3e-1)
    )
    check(*large(512))
    assert passes["forward"] <= 2 * (1 + 2 * 5)
