"""
Cleaning the data of a fine-tuned language model
================================================

A small BERT of Hugging Face Transformers with LoRA adapters of PEFT is fine-tuned to
tell posts of two newsgroups apart. 20 % of the training labels are flipped. The
influence on a few checked labels finds many of them, and ``refit_without`` repeats the
fine-tuning without the most harmful posts.

The model is made from a configuration, and so are its tokenizer's words from the texts:
nothing is loaded from a hub. With a pretrained model (``from_pretrained``) only the
adapters and the head would have to be trained, not the word embeddings as well.

The posts are read from the folder given by the environment variable
``SKINFLUENCE_DATA``; without it sentences of two topics are made up. Run it with
``pip install "skinfluence[transformers]"`` and ``python examples/clean_lora_text.py``.
"""

import os

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from sklearn.model_selection import train_test_split
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_20newsgroups, flip_labels


def posts():
    """Return texts and topics, from the newsgroups or made up."""
    if "SKINFLUENCE_DATA" in os.environ:
        pair = ["comp.sys.ibm.pc.hardware", "comp.sys.mac.hardware"]
        parts = ("headers", "footers", "quotes")
        return fetch_20newsgroups(
            subset="all", categories=pair, remove=parts, return_X_y=True
        )
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=600)
    topics = "bios board dos jumper windows", "apple finder powerbook quadra system"
    shared = "the a disk my is drive how card to fails with new memory"
    texts = []
    for topic in y:
        own = rng.choice(topics[topic].split(), 2)
        texts.append(" ".join(rng.permutation([*own, *rng.choice(shared.split(), 8)])))
    return texts, y


# %%
# The texts as tokens
# -------------------
# A word-level tokenizer, trained on the texts. Its result, a mapping of arrays, is
# given to ``fit`` as it is.

texts, y = posts()
words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
trainer = trainers.WordLevelTrainer(
    vocab_size=2000,
    min_frequency=3,
    special_tokens=["[PAD]", "[UNK]", "[CLS]"],
    show_progress=False,
)
words.train_from_iterator(map(str.lower, texts), trainer)
words.post_processor = TemplateProcessing(
    single="[CLS] $A", special_tokens=[("[CLS]", words.token_to_id("[CLS]"))]
)
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
)


def tokens(texts):
    return tokenizer(
        [text.lower() for text in texts],
        max_length=48,
        padding="max_length",
        truncation=True,
        return_tensors="np",
    )


texts, texts_test, y, y_test = train_test_split(
    texts, y, test_size=1 / 3, stratify=y, random_state=0
)
texts, texts_val, y, y_val = train_test_split(
    texts, y, test_size=1 / 3, stratify=y, random_state=0
)
y_noisy, flipped = flip_labels(y, 0.2, random_state=0)
X, X_val, X_test = map(tokens, (texts, texts_val, texts_test))

# %%
# The model
# ---------
# Adapters at the queries and values of attention. All else is frozen, and costs the
# record of the training nothing.

torch.manual_seed(0)
config = BertConfig(
    vocab_size=len(tokenizer),
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=48,
    num_labels=2,
    initializer_range=0.1,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
lora = LoraConfig(
    task_type="SEQ_CLS",
    r=4,
    target_modules=["query", "value"],
    modules_to_save=["classifier", "word_embeddings"],
)
model = get_peft_model(BertForSequenceClassification(config), lora)

# %%
# Fine-tuning, influence, and fine-tuning without the harmful posts
# -----------------------------------------------------------------

clf = SGDInfluenceClassifier(
    model,
    optimizer=torch.optim.AdamW,
    lr=0.001,
    max_epochs=8,
    batch_size=32,
    random_state=0,
).fit(X, y_noisy)
scores = clf.influence(X_val, y_val, at="path")
most_harmful = np.argsort(scores)[: len(y) // 10]
cleaned = clf.refit_without(most_harmful)

print(
    f"Of the {len(most_harmful)} most harmful posts {flipped[most_harmful].mean():.0%} "
    f"have a flipped label; of all {flipped.mean():.0%}."
)
for name, net in (("all posts", clf), ("the others alone", cleaned)):
    print(f"Fine-tuned on {name}: test accuracy {net.score(X_test, y_test):.3f}")
