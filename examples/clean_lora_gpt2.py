"""
Spoilt texts in the fine-tuning of a language model
===================================================

A small GPT-2 of Hugging Face Transformers is trained on posts of three newsgroups, and
then fine-tuned on posts about space by LoRA adapters of PEFT, in a plain loop that a
``Recorder`` records. In 20 % of the posts about space the words are in a random order.
The influence on the loss of a few good posts finds them, ``check_influence`` tells how
well it predicts the removal of groups of posts, and ``refit_without`` repeats the
fine-tuning without the most harmful posts.

Nothing is loaded from a hub. The posts are those of 20 Newsgroups, read from the folder
given by the environment variable ``SKINFLUENCE_DATA``, or downloaded. Run it with
``pip install "skinfluence[transformers]"`` and ``python examples/clean_lora_gpt2.py``;
it takes some minutes.
"""

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from sklearn.metrics import average_precision_score
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel

from skinfluence import Recorder
from skinfluence.datasets import fetch_20newsgroups
from skinfluence.recorder import next_token_losses

LENGTH = 48

# %%
# The posts as tokens
# -------------------
# A word-level tokenizer, trained on the posts. The words of a fifth of the posts to
# fine-tune on are shuffled.


def posts(*groups):
    return fetch_20newsgroups(
        subset="all",
        categories=groups,
        remove=("headers", "footers", "quotes"),
        random_state=0,
    ).data


known = posts("rec.autos", "sci.electronics", "talk.politics.mideast")
new = posts("sci.space")
words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
trainer = trainers.WordLevelTrainer(
    vocab_size=2000, special_tokens=["[PAD]", "[UNK]"], show_progress=False
)
words.train_from_iterator(map(str.lower, known + new), trainer)


def tokens(texts):
    ids = [words.encode(text.lower()).ids[:LENGTH] for text in texts]
    return [own for own in ids if len(own) >= 12]


def arrays(texts):
    """Return the model's inputs, and the tokens to be predicted: -100 for none."""
    ids = np.zeros((len(texts), LENGTH), dtype=np.int64)
    for row, own in zip(ids, texts, strict=True):
        row[: len(own)] = own
    mask = ids > 0
    inputs = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
    return inputs, np.where(mask, ids, -100)


known, new = tokens(known), tokens(new)
n = len(new) // 5
train, val, test = new[: 3 * n], new[3 * n : 4 * n], new[4 * n :]
rng = np.random.default_rng(0)
spoilt = np.arange(len(train)) % 5 == 0
train = [
    rng.permutation(own) if bad else own for own, bad in zip(train, spoilt, strict=True)
]
X_train, y_train = arrays(train)
X_val, y_val = arrays(val)

# %%
# The model, trained on the posts of other groups
# -----------------------------------------------
# This training is not recorded: the model could be any other.

torch.manual_seed(0)
config = GPT2Config(
    vocab_size=words.get_vocab_size(),
    n_positions=LENGTH,
    n_embd=64,
    n_layer=2,
    n_head=2,
    bos_token_id=1,
    eos_token_id=1,
    resid_pdrop=0.0,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
)
model = GPT2LMHeadModel(config)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
inputs, labels = arrays(known)
inputs = {name: torch.from_numpy(each) for name, each in inputs.items()}
labels = torch.from_numpy(labels)
for _ in range(4):
    for rows in torch.randperm(len(labels)).split(32):
        batch = {name: each[rows] for name, each in inputs.items()}
        optimizer.zero_grad()
        next_token_losses(model(**batch), labels[rows]).mean().backward()
        optimizer.step()

# %%
# Fine-tuning, recorded
# ---------------------
# Only the adapters are trained, and only their states are kept.

lora = LoraConfig(
    task_type="CAUSAL_LM",
    r=4,
    target_modules=["c_attn", "c_proj", "c_fc"],
    fan_in_fan_out=True,
)
model = get_peft_model(model, lora)
n_epochs, batch_size = 4, 25
n_steps = n_epochs * -(-len(train) // batch_size)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, n_steps)
recorder = Recorder(
    model,
    optimizer,
    next_token_losses,
    (X_train, y_train),
    random_state=0,
    max_epochs=n_epochs,
)
for _ in range(n_epochs):
    for batch in recorder.batches(batch_size, shuffle=True):
        optimizer.zero_grad()
        recorder.loss(batch).backward()
        optimizer.step()
        schedule.step()
tuned = recorder.finish()

# %%
# The harmful posts
# -----------------

scores = tuned.influence(X_val, y_val)
most_harmful = np.argsort(scores)[: spoilt.sum()]
print(
    f"Of the {len(most_harmful)} most harmful posts {spoilt[most_harmful].mean():.0%} "
    f"are spoilt, of all {spoilt.mean():.0%}; average precision "
    f"{average_precision_score(spoilt, -scores):.3f}."
)
print(tuned.check_influence(X_val, y_val, 4, n_subsets=16, random_state=0))

# %%
# Fine-tuning without them
# ------------------------

cleaned = tuned.refit_without(most_harmful)
inputs, labels = arrays(test)
inputs = {name: torch.from_numpy(each) for name, each in inputs.items()}
for name, net in (("all posts", tuned), ("the others alone", cleaned)):
    with torch.no_grad():
        outputs = net.module_.eval()(**inputs)
    loss = next_token_losses(outputs, torch.from_numpy(labels)).mean()
    hits = outputs.logits[:, :-1].argmax(-1).numpy() == labels[:, 1:]
    accuracy = hits[labels[:, 1:] >= 0].mean()
    print(f"Fine-tuned on {name}: test loss {loss:.4f}, accuracy {accuracy:.4f}")
