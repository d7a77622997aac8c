"""Models of Hugging Face Transformers, made from configurations, and LoRA adapters.

With their default attention; no weights are loaded.
"""

import copy
import functools

import numpy as np
import pytest
import torch

from skinfluence import SGDInfluenceClassifier
from tests.cases import rough
from tests.oracles import losses_of, relative_error, trained_in_order, weight_slopes

transformers = pytest.importorskip("transformers")

N_SAMPLES, N_CLASSES, N_WORDS, LENGTH, SIDE = 8, 3, 20, 7, 8

# peft asks transformers for it by its old name.
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

# What the library promises; the oracle's own error is about 1e-9.
TOLERANCE = 1e-6

# A finite difference of few samples is enough: they all go through the same steps.
SAMPLES = (0, 3, 5)


def text(seed):
    """Return token numbers and a mask: half of the texts are shorter."""
    rng = np.random.default_rng(seed)
    y = np.arange(N_SAMPLES) % N_CLASSES
    words = rng.integers(1, N_WORDS - 1, (N_SAMPLES, LENGTH))
    words[np.arange(N_SAMPLES), rng.integers(0, 5, N_SAMPLES)] = 1 + y
    mask = np.ones_like(words)
    mask[::2, 5:] = 0
    return {"input_ids": words * mask, "attention_mask": mask}, y


def images(seed):
    rng = np.random.default_rng(seed)
    y = np.arange(N_SAMPLES) % N_CLASSES
    pixels = rng.normal(size=(N_SAMPLES, 1, SIDE, SIDE)) + 0.3 * y[:, None, None, None]
    return {"pixel_values": pixels}, y


SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "num_labels": N_CLASSES,
}
WORDS = {"vocab_size": N_WORDS, "max_position_embeddings": 16, "pad_token_id": 0}
# The oracle draws nothing.
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def bert():
    config = transformers.BertConfig(**SIZES, **WORDS, **NO_DROPOUT)
    return transformers.BertForSequenceClassification(config)


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=N_WORDS,
        n_positions=16,
        n_embd=32,
        n_layer=2,
        n_head=2,
        num_labels=N_CLASSES,
        pad_token_id=0,
        bos_token_id=N_WORDS - 1,
        eos_token_id=N_WORDS - 1,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return transformers.GPT2ForSequenceClassification(config)


def llama():
    options = {"num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.LlamaConfig(**SIZES, **WORDS, **options)
    model = transformers.LlamaForSequenceClassification(config)
    # Theirs compute in single precision, too coarse for finite differences.
    for layer in model.model.layers:
        layer.input_layernorm = torch.nn.RMSNorm(SIZES["hidden_size"])
        layer.post_attention_layernorm = torch.nn.RMSNorm(SIZES["hidden_size"])
    model.model.norm = torch.nn.RMSNorm(SIZES["hidden_size"])
    return model


def vit():
    config = transformers.ViTConfig(
        **SIZES, **NO_DROPOUT, image_size=SIDE, patch_size=4, num_channels=1
    )
    return transformers.ViTForImageClassification(config)


def lora(base, *layers, **options):
    """Return a frozen model with adapters at some layers, and a head to be trained."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=2, target_modules=layers, lora_dropout=0.0, **options
    )
    model = peft.get_peft_model(base, config)
    # Adapters begin at 0, where half of them have no gradient.
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


MODELS = {
    "bert": (bert, text),
    "gpt2": (gpt2, text),
    "llama": (llama, text),
    "vit": (vit, images),
    "lora bert": (lambda: lora(bert(), "query", "value"), text),
    "lora gpt2": (lambda: lora(gpt2(), "c_attn", fan_in_fan_out=True), text),
}


def model(name):
    torch.manual_seed(0)
    return MODELS[name][0]().double()


def tensors(name, seed):
    X, y = MODELS[name][1](seed)
    return {k: torch.from_numpy(v) for k, v in X.items()}, torch.from_numpy(y)


def fitted(name, **options):
    options = {"lr": 0.1, "max_epochs": 2, "batch_size": 4, "shuffle": False, **options}
    clf = SGDInfluenceClassifier(model(name), random_state=0, **options)
    return clf.fit(*MODELS[name][1](0))


@functools.cache
def slopes(name):
    return weight_slopes(
        model(name), tensors(name, 0), tensors(name, 1), SAMPLES, lr=0.1
    )


@rough
@pytest.mark.parametrize("name", MODELS)
def test_influence_is_the_derivative(name):
    clf = fitted(name)
    influence = clf.influence(*MODELS[name][1](1))
    assert relative_error(influence[[*SAMPLES]], slopes(name)) <= TOLERANCE
    thin = fitted(name, checkpoint_every=3)
    assert (thin.influence(*MODELS[name][1](1)) == influence).all()


@rough
@pytest.mark.parametrize("name", ["lora bert", "lora gpt2"])
def test_adapters_under_adamw(name):
    # An eps that is not far below the gradients keeps the oracle's error small.
    options = {"lr": 0.01, "optimizer": torch.optim.AdamW}
    clf = fitted(name, **options, optimizer__eps=1e-2)
    expected = weight_slopes(
        model(name), tensors(name, 0), tensors(name, 1), SAMPLES, **options, eps=1e-2
    )
    found = clf.influence(*MODELS[name][1](1))[[*SAMPLES]]
    assert relative_error(found, expected) <= TOLERANCE


@rough
@pytest.mark.parametrize("name", MODELS)
def test_counterfactuals_are_retrainings(name):
    found = fitted(name).counterfactual_influence(
        *MODELS[name][1](1), samples=SAMPLES[:2]
    )
    values = []
    for left_out in ([], *([k] for k in SAMPLES[:2])):
        weights = torch.ones(N_SAMPLES, dtype=torch.float64)
        weights[left_out] = 0.0
        trained = trained_in_order(model(name), *tensors(name, 0), weights, lr=0.1)
        with torch.no_grad():
            values.append(losses_of(trained, *tensors(name, 1)).mean().item())
    # Losses of order 1, rounded in another order.
    np.testing.assert_allclose(
        found, np.array(values[1:]) - values[0], rtol=1e-8, atol=1e-11
    )


@pytest.mark.parametrize("name", ["lora bert", "lora gpt2"])
def test_only_adapters_and_head_are_trained_and_recorded(name):
    clf = fitted(name)
    pairs = zip(clf.module_.named_parameters(), model(name).parameters(), strict=True)
    moved = {key for (key, now), before in pairs if not torch.equal(now, before)}
    assert moved
    assert all("lora_" in key or "modules_to_save" in key for key in moved)
    trained = sum(p.numel() for p in clf.module_.parameters() if p.requires_grad)
    assert clf.trajectory_.state(0).parameters.numel() == trained


def test_a_tokenizer_s_result():
    X, y = text(0)
    encoding = transformers.BatchEncoding({k: v.tolist() for k, v in X.items()})
    expected = fitted("bert")
    clf = SGDInfluenceClassifier(
        model("bert"), max_epochs=2, batch_size=4, shuffle=False, random_state=0
    ).fit(encoding, y)
    assert (clf.predict_proba(encoding) == expected.predict_proba(X)).all()
    assert (clf.influence(encoding, y) == expected.influence(X, y)).all()


@rough
@pytest.mark.parametrize("name", ["lora bert", "lora gpt2"])
def test_a_run_without_samples_is_a_retraining(name):
    X, y = MODELS[name][1](1)
    clf = fitted(name)
    without = clf.refit_without(SAMPLES)
    weights = torch.ones(N_SAMPLES, dtype=torch.float64)
    weights[[*SAMPLES]] = 0.0
    trained = trained_in_order(model(name), *tensors(name, 0), weights, lr=0.1)
    with torch.no_grad():
        logits = trained(**tensors(name, 1)[0]).logits
    # Rounding, in another order, through the steps of a short run.
    np.testing.assert_allclose(
        without.predict_proba(X), logits.softmax(1), rtol=1e-9, atol=1e-12
    )
    labels = clf.label_influence(X, y)
    assert (labels[np.arange(N_SAMPLES), text(0)[1]] == 0).all()


# --- a base in half precision ---------------------------------------------------------


class Derivative:
    """The run's derivative at its recorded states, with steps in double precision.

    Rounding to bfloat16 at the end of a step has no derivative: what a little becomes
    in the steps without it is what the influence is.
    """

    def __init__(self, clf, data, targets):
        self.module = copy.deepcopy(clf.module_).double()
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.run, self.lr = clf.trajectory_, clf.lr
        self.data = {name: torch.from_numpy(x) for name, x in data.items()}
        self.targets = torch.from_numpy(targets)

    def losses(self, state, data, targets):
        torch.nn.utils.vector_to_parameters(state.clone(), self.parameters)
        outputs = self.module(**data).logits
        return torch.nn.functional.cross_entropy(outputs, targets, reduction="none")

    def step(self, state, rows, weights):
        own = {name: x[rows] for name, x in self.data.items()}
        losses = self.losses(state, own, self.targets[rows])
        loss = (weights[rows] * losses).mean()
        gradients = torch.autograd.grad(loss, self.parameters)
        return state - self.lr * torch.cat([g.flatten() for g in gradients])

    def final(self, sample, shift):
        """Return the last state of the run with another weight of a sample."""
        ones = torch.ones(len(self.targets), dtype=torch.float64)
        weights, little = ones.clone(), 0.0
        weights[sample] += shift
        for record in self.run.records:
            state = self.run.state(record.step).parameters.double()
            recorded = self.step(state, record.rows, ones)
            little = self.step(state + little, record.rows, weights) - recorded
        return self.run.final.parameters.double() + little

    def influence(self, sample, data, targets, shift=1e-4):
        data = {name: torch.from_numpy(x) for name, x in data.items()}
        self.module.eval()
        up, down = (
            self.losses(self.final(sample, s), data, torch.from_numpy(targets))
            for s in (shift, -shift)
        )
        return float((down - up).mean().detach()) / (2 * shift)


@rough
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_adapters_in_single_precision_on_a_bfloat16_base(name):
    torch.manual_seed(0)
    base = MODELS[name][0]().to(torch.bfloat16)
    options = {} if name == "bert" else {"fan_in_fan_out": True}
    layers = ["query", "value"] if name == "bert" else ["c_attn"]
    module = lora(base, *layers, **options)
    dtypes = {p.dtype for p in module.parameters() if p.requires_grad}
    assert dtypes == {torch.float32, torch.bfloat16}  # the head is the base's
    X, y = text(0)
    clf = SGDInfluenceClassifier(
        module, lr=0.1, max_epochs=2, batch_size=4, shuffle=False, random_state=0
    ).fit(X, y)
    oracle = Derivative(clf, X, y)
    expected = np.array([oracle.influence(k, *text(1)) for k in SAMPLES])
    # The way back is in single precision: its eps^(2/3), over two epochs.
    assert relative_error(clf.influence(*text(1))[[*SAMPLES]], expected) <= 2.4e-5
