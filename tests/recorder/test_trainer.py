"""Trainings by the Trainer of transformers, recorded: the derivative of its own loop.

The oracle is the Trainer itself, whose loss weights the samples by their numbers.
"""

import functools
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from skinfluence import load_estimator
from skinfluence.exceptions import NotRecordedError, UntrustedTypeError
from skinfluence.recorder import (
    TrainerRecorder,
    next_token_losses,
    token_losses,
)
from tests.cases import rough

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

# peft asks transformers for it by its old name.
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
    ),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]

N, N_VAL, N_WORDS, N_CLASSES = 10, 4, 20, 3
CHANGE = 1e-5
SAMPLES = (0, 3, 7)


def bert(kind="BertForSequenceClassification", n_labels=N_CLASSES):
    config = transformers.BertConfig(
        vocab_size=N_WORDS,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        num_labels=n_labels,
        pad_token_id=0,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return getattr(transformers, kind)(config)


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=N_WORDS,
        n_positions=16,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=N_WORDS - 1,
        eos_token_id=N_WORDS - 1,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return transformers.GPT2LMHeadModel(config)


def lora():
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=2, target_modules=["c_attn"], lora_dropout=0.0, fan_in_fan_out=True
    )
    model = peft.get_peft_model(gpt2(), config)
    # Adapters begin at 0, where half of them have no gradient.
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return model


def classes(words, rng):
    return int(words[0]) % N_CLASSES


def numbers(words, rng):
    return float(words.mean())


def tags(words, rng):
    """Return a class for each token; some have none."""
    labels = words % N_CLASSES
    labels[rng.random(len(words)) < 0.3] = -100
    return labels.tolist()


def prompts(words, rng):
    """Return the words themselves; the first two are not to be predicted."""
    labels = words.copy()
    labels[:2] = -100
    return labels.tolist()


def texts(labels_of, n, seed):
    """Return items of 3 to 7 words."""
    rng = np.random.default_rng(seed)
    words = [rng.integers(1, N_WORDS - 1, rng.integers(3, 8)) for _ in range(n)]
    return [
        {"input_ids": own.tolist(), "labels": labels_of(own, rng), "row": row}
        for row, own in enumerate(words)
    ]


def padded(items):
    """Collate items as a tokenizer's collators do: to the longest of the batch."""
    length = max(len(item["input_ids"]) for item in items)

    def filled(values, value):
        return [*values, *[value] * (length - len(values))]

    labels = [item["labels"] for item in items]
    if isinstance(labels[0], list):
        labels = [filled(own, -100) for own in labels]
    numbers = torch.float64 if isinstance(labels[0], float) else torch.int64
    ids = [item["input_ids"] for item in items]
    batch = {
        "input_ids": torch.tensor([filled(own, 0) for own in ids]),
        "attention_mask": torch.tensor([filled([1] * len(own), 0) for own in ids]),
        "labels": torch.tensor(labels, dtype=numbers),
    }
    if "row" in items[0]:
        batch["row"] = torch.tensor([item["row"] for item in items])
    return batch


def class_losses(outputs, labels):
    return nn.functional.cross_entropy(outputs.logits, labels, reduction="none")


def squares(outputs, labels):
    return (outputs.logits[:, 0] - labels).square()


def by_hand(outputs, labels, shift):
    """Return the losses sample by sample, token by token."""
    logits = outputs.logits.log_softmax(-1)
    losses = []
    for own, y in zip(logits, labels.tolist(), strict=True):
        pairs = zip(own, y[shift:], strict=False)
        found = [-row[label] for row, label in pairs if label != -100]
        losses.append(torch.stack(found).mean())
    return torch.stack(losses)


CASES = {
    "classes": (bert, classes, class_losses),
    "numbers": (functools.partial(bert, n_labels=1), numbers, squares),
    "tags": (
        functools.partial(bert, "BertForTokenClassification"),
        tags,
        functools.partial(by_hand, shift=0),
    ),
    "language": (gpt2, prompts, functools.partial(by_hand, shift=1)),
    "lora": (lora, prompts, functools.partial(by_hand, shift=1)),
}


def model_of(case):
    torch.manual_seed(0)
    return CASES[case][0]().double()


def arguments(folder, **options):
    return transformers.TrainingArguments(
        **{
            "output_dir": str(folder),
            "per_device_train_batch_size": 2,
            "gradient_accumulation_steps": 2,
            "num_train_epochs": 2,
            "learning_rate": 0.01,
            "weight_decay": 0.1,
            # One that is not far below the gradients keeps the oracle's error small.
            "adam_epsilon": 1e-2,
            "warmup_steps": 2,
            "max_grad_norm": 0.5,
            "use_cpu": True,
            "report_to": "none",
            "save_strategy": "no",
            "disable_tqdm": True,
            "dataloader_pin_memory": False,
            **options,
        }
    )


def trainer_of(case, folder, kind=None, model=None, **options):
    rows = options.pop("rows", False)
    items = texts(CASES[case][1], N, 0)
    if not rows:
        items = [{k: v for k, v in item.items() if k != "row"} for item in items]
    return (kind or transformers.Trainer)(
        model=model or model_of(case),
        args=arguments(folder, remove_unused_columns=False, **options),
        train_dataset=items,
        eval_dataset=validation(case),
        data_collator=padded,
    )


class Weighted(transformers.Trainer):
    """Weights the loss of each sample."""

    weights = torch.ones(N, dtype=torch.float64)
    losses = None
    loss_is_scaled_for_ga = False

    def compute_loss(self, model, inputs, **kwargs):
        inputs = dict(inputs)
        weights, labels = self.weights[inputs.pop("row")], inputs.pop("labels")
        return (weights * self.losses(model(**inputs), labels)).mean()


def validation(case):
    items = texts(CASES[case][1], N_VAL, 1)
    return [{k: v for k, v in item.items() if k != "row"} for item in items]


def loss_after(case, folder, weights):
    trainer = trainer_of(case, folder, Weighted, rows=True)
    trainer.loss_is_scaled_for_ga = False
    trainer.losses, trainer.weights = CASES[case][2], weights
    trainer.train()
    batch = padded(validation(case))
    labels = batch.pop("labels")
    trainer.model.eval()
    with torch.no_grad():
        return float(trainer.losses(trainer.model(**batch), labels).mean())


def recorded(case, folder, **options):
    trainer = trainer_of(case, folder, **options)
    recorder = TrainerRecorder(trainer)
    trainer.train()
    return trainer, recorder.finish()


@rough
@pytest.mark.parametrize("case", CASES)
def test_influence_is_the_derivative_of_the_trainers_loop(case, tmp_path):
    _, model = recorded(case, tmp_path)
    expected = []
    for row in SAMPLES:
        values = []
        for change in (CHANGE, -CHANGE):
            weights = torch.ones(N, dtype=torch.float64)
            weights[row] += change
            values.append(loss_after(case, tmp_path, weights))
        expected.append((values[1] - values[0]) / (2 * CHANGE))
    scores = model.influence(validation(case))
    error = np.abs(scores[[*SAMPLES]] - expected).max() / np.abs(expected).max()
    # Central differences are exact to about the square of their step.
    assert error <= 1e-6


def test_the_trainer_trains_as_it_does_unrecorded(tmp_path):
    options = {"gradient_accumulation_steps": 1}
    trainer, model = recorded("classes", tmp_path, **options)
    plain = trainer_of("classes", tmp_path, **options)
    plain.train()
    for ours, theirs in zip(
        model.module_.parameters(), plain.model.parameters(), strict=True
    ):
        # The same samples in the same order; its losses are summed in another one.
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    assert trainer.state.global_step == plain.state.global_step == 10
    assert model.n_steps_ == 10
    # The Trainer is as it was.
    assert "training_step" not in trainer.__dict__
    assert isinstance(trainer.get_train_dataloader(), DataLoader)


def test_a_classifier_answers_for_all_labels(tmp_path):
    _, model = recorded("classes", tmp_path)
    assert model.label_influence(validation("classes")).shape == (N, N_CLASSES)
    model.save(tmp_path / "model")
    with pytest.raises(UntrustedTypeError) as error:
        load_estimator(tmp_path / "model")
    names = set(re.findall(r"'([\w.]+)'", str(error.value)))
    assert not [name for name in names if name.startswith("skinfluence.")]
    loaded = load_estimator(tmp_path / "model", trusted=sorted(names))
    np.testing.assert_array_equal(
        loaded.influence(validation("classes")), model.influence(validation("classes"))
    )


def test_the_mean_over_a_samples_tokens():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 4)
    labels = torch.tensor([[1, 2, -100, 3, 0], [3, 1, -100, -100, -100]])
    outputs = transformers.modeling_outputs.TokenClassifierOutput(logits=logits)
    for losses, shift in ((token_losses, 0), (next_token_losses, 1)):
        expected = by_hand(outputs, labels, shift)
        torch.testing.assert_close(losses(outputs, labels), expected)
    none = torch.full_like(labels, -100)
    assert token_losses(outputs, none).tolist() == [0.0, 0.0]


class Smoothed(transformers.Trainer):
    def compute_loss(self, model, inputs, **kwargs):
        return 0.5 * super().compute_loss(model, inputs, **kwargs)


def test_a_loss_of_ones_own_must_be_given(tmp_path):
    trainer = trainer_of("classes", tmp_path, Smoothed)
    TrainerRecorder(trainer)
    with pytest.raises(ValueError, match="`criterion` must be given"):
        trainer.train()
    trainer = trainer_of("classes", tmp_path, Smoothed)
    recorder = TrainerRecorder(trainer, class_losses)
    trainer.train()
    assert np.isfinite(recorder.finish().influence(validation("classes"))).all()


def test_the_best_epoch_s_weights(tmp_path):
    options = {
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "load_best_model_at_end": True,
        "metric_for_best_model": "first",
        "greater_is_better": True,
        "num_train_epochs": 3,
    }
    trainer = trainer_of("classes", tmp_path, **options)
    best = iter((0.0, 2.0, 1.0))
    trainer.compute_metrics = lambda _: {"first": next(best)}
    recorder = TrainerRecorder(trainer)
    trainer.train()
    model = recorder.finish()
    assert model.n_epochs_ == 3
    assert model.trajectory_.n_epochs == 2
    assert np.isfinite(model.influence(validation("classes"))).all()


def test_a_training_is_recorded_from_its_start(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 3}
    trainer = trainer_of("classes", tmp_path, **options)
    recorder = TrainerRecorder(trainer)
    trainer.train()
    assert recorder.finish().n_steps_ == 6
    twice = trainer_of("classes", tmp_path / "twice")
    TrainerRecorder(twice)
    twice.train()
    with pytest.raises(RuntimeError, match="must be one call of"):
        twice.train()
    resumed = trainer_of("classes", tmp_path, **options)
    TrainerRecorder(resumed)
    with pytest.raises(RuntimeError, match="must be one call of"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


class Endless(IterableDataset):
    def __iter__(self):
        return iter(texts(classes, N, 0))


BAD = {
    "bf16": (lambda t: setattr(t.args, "bf16", True), ValueError, "`bf16` of"),
    "compiled": (
        lambda t: setattr(t.args, "torch_compile", True),
        ValueError,
        "`torch_compile` of",
    ),
    "endless": (
        lambda t: setattr(t, "train_dataset", Endless()),
        TypeError,
        "map-style Dataset",
    ),
    "no data": (
        lambda t: setattr(t, "train_dataset", None),
        TypeError,
        "map-style Dataset",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_recorded_is_refused(kind, tmp_path):
    change, error, message = BAD[kind]
    trainer = trainer_of("classes", tmp_path)
    change(trainer)
    with pytest.raises(error, match=message):
        TrainerRecorder(trainer)
    assert "training_step" not in trainer.__dict__


def test_it_needs_a_trainer():
    with pytest.raises(TypeError, match="got Linear, which has no `args`"):
        TrainerRecorder(nn.Linear(2, 2))


def test_nothing_trained(tmp_path):
    recorder = TrainerRecorder(trainer_of("classes", tmp_path))
    with pytest.raises(NotRecordedError, match="at least one step"):
        recorder.finish()
