"""Attention and recurrent networks are trained, and retraced, with kernels that can be.

torch's default kernels for attention have no second derivative.
"""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from skinfluence import SGDInfluenceClassifier
from skinfluence.training import twice_differentiable
from tests.cases import rough
from tests.oracles import losses_of, relative_error, trained_in_order, weight_slopes

N_SAMPLES, N_CLASSES, LENGTH, WIDTH = 10, 3, 5, 8

# What the library promises; the oracle's own error is about 1e-9.
TOLERANCE = 1e-6


class Attention(nn.Module):
    """Self-attention by torch's function."""

    def __init__(self, is_causal=False):
        super().__init__()
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.is_causal = is_causal

    def forward(self, x):
        heads = self.project(x).unflatten(-1, (3, 2, WIDTH // 2)).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(*heads, is_causal=self.is_causal)
        return found.transpose(1, 2).flatten(2)


class MultiheadAttention(nn.MultiheadAttention):
    def __init__(self):
        super().__init__(WIDTH, 2, batch_first=True)

    def forward(self, x):
        return super().forward(x, x, x, need_weights=False)[0]


class Encoder(nn.TransformerEncoder):
    """Masks what would be padding; `fast` in evaluation mode, by torch's default."""

    def __init__(self, **options):
        options |= {"dropout": 0.0, "batch_first": True, "activation": "gelu"}
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 2 * WIDTH, **options)
        super().__init__(layer, 2, enable_nested_tensor=not options.get("norm_first"))

    def forward(self, x):
        padding = (torch.arange(LENGTH) > 2) & (x[:, :, 0] > 0)
        return super().forward(x, src_key_padding_mask=padding)


class Decoder(nn.TransformerDecoderLayer):
    def __init__(self):
        super().__init__(WIDTH, 2, 2 * WIDTH, dropout=0.0, batch_first=True)
        self.activation = F.gelu

    def forward(self, x):
        return super().forward(x, x)


class Checkpointed(Attention):
    def forward(self, x):
        return checkpoint(super().forward, x, use_reentrant=False)


class Recurrent(nn.LSTM):
    def __init__(self):
        super().__init__(WIDTH, WIDTH, batch_first=True)

    def forward(self, x):
        return super().forward(x)[0]


class Classifier(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.head = nn.Linear(WIDTH, N_CLASSES)

    def forward(self, x):
        return self.head(self.inner(x).mean(1))


INNER = {
    "function": Attention,
    "causal": lambda: Attention(is_causal=True),
    "multihead": MultiheadAttention,
    "encoder": Encoder,
    "encoder, norm first": lambda: Encoder(norm_first=True),
    "decoder": Decoder,
    "checkpointed": Checkpointed,
    "recurrent": Recurrent,
}


def data(seed):
    rng = np.random.default_rng(seed)
    y = np.arange(N_SAMPLES) % N_CLASSES
    return rng.normal(size=(N_SAMPLES, LENGTH, WIDTH)) + 0.5 * y[:, None, None], y


def module(name="function"):
    torch.manual_seed(0)
    return Classifier(INNER[name]()).double()


def fitted(module, **options):
    options = {"max_epochs": 2, "batch_size": 4, "shuffle": False, **options}
    return SGDInfluenceClassifier(module, random_state=0, **options).fit(*data(0))


@rough
@pytest.mark.parametrize("name", INNER)
def test_influence_is_the_derivative(name):
    tensors = [tuple(map(torch.from_numpy, data(seed))) for seed in (0, 1)]
    expected = weight_slopes(module(name), *tensors, range(N_SAMPLES), lr=0.1)
    clf = fitted(module(name))
    influence = clf.influence(*data(1))
    assert relative_error(influence, expected) <= TOLERANCE
    thin = fitted(module(name), checkpoint_every=4)
    assert (thin.influence(*data(1)) == influence).all()


@pytest.mark.slow
@rough
@pytest.mark.parametrize("name", INNER)
def test_counterfactuals_are_retrainings(name):
    found = fitted(module(name)).counterfactual_influence(*data(1), samples=[2, 7])
    (X, y), validation = ([*map(torch.from_numpy, data(seed))] for seed in (0, 1))
    values = []
    for left_out in ([], [2], [7]):
        weights = torch.ones(N_SAMPLES, dtype=torch.float64)
        weights[left_out] = 0.0
        trained = trained_in_order(module(name), X, y, weights, lr=0.1)
        with torch.no_grad():
            values.append(float(losses_of(trained, *validation).mean()))
    expected = np.array(values[1:]) - values[0]
    # Losses of order 1, rounded in another order.
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


def kernels():
    return [
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.cuda.mem_efficient_sdp_enabled(),
        torch.backends.cuda.math_sdp_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cudnn.enabled,
    ]


class Seen(Attention):
    """Notes the kernels of each pass."""

    seen: list = []  # noqa: RUF012 - of all copies

    def forward(self, x):
        self.seen.append(kernels())
        return super().forward(x)


@pytest.mark.parametrize("inner", [Seen, Recurrent])
def test_settings_are_put_back(inner):
    before = kernels()
    clf = fitted(Classifier(inner()))
    clf.influence(*data(1))
    assert kernels() == before
    with pytest.raises(ValueError, match="X must have samples"):
        clf.influence(np.zeros((1, 2)), [0])
    assert kernels() == before


@pytest.mark.parametrize("record", ["all", 1, "replay", None])
def test_training_without_a_record_uses_the_default_kernels(record):
    before = kernels()
    Seen.seen.clear()
    fitted(Classifier(Seen()), record=record)
    # The first pass is a trial of the module, for its shapes.
    fast = [seen == before for seen in Seen.seen[1:]]
    assert fast
    assert all(fast) if record is None else not any(fast)


def test_the_fast_kernel_gives_other_bits():
    # Else the tests above would test nothing.
    parameters = [
        torch.cat(
            [p.flatten() for p in fitted(module(), record=r).module_.parameters()]
        )
        for r in ("all", None)
    ]
    assert not torch.equal(*parameters)
    assert torch.allclose(*parameters, atol=1e-12)


def test_threads_share_the_settings():
    before = kernels()
    attention, recurrent = (
        twice_differentiable([part]) for part in (nn.Linear(1, 1), nn.RNN(1, 1))
    )
    assert twice_differentiable([nn.Linear(1, 1)]) is attention
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with attention:
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with recurrent:
        leave.set()
        thread.join()
        assert kernels() == [False, False, True, False, False]
    assert kernels() == before
