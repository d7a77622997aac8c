"""
Which pretraining samples help the fine-tuned model?
====================================================

A network is pretrained on the digits 0 to 3 and then fine-tuned on a few images of the
digits 4 to 6, which it has never seen. Which of the pretraining images helped, and
which did harm? This is the experiment of Chen et al., "Multi-Stage Influence Function"
(NeurIPS 2020), with the influence computed through the actual trainings.
"""

# %%
# Two tasks
# ---------
# MNIST is used if the environment variable ``SKINFLUENCE_DATA`` names a folder with its
# file; otherwise scikit-learn's small digits.
import os

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import fetch_mnist

if os.environ.get("SKINFLUENCE_DATA"):
    X, y = fetch_mnist(return_X_y=True)
    X, y = X[:8000] / np.float32(255), y[:8000]
else:
    X, y = load_digits(return_X_y=True)
    X = X / 16

first, later = y <= 3, (y >= 4) & (y <= 6)
X_first, _, y_first, _ = train_test_split(
    X[first], y[first], train_size=700, random_state=0
)
X_later, X_rest, y_later, y_rest = train_test_split(
    X[later], y[later], train_size=30, stratify=y[later], random_state=0
)
# The samples are scored on the validation data; the scores are tested on the test data.
X_val, X_test, y_val, y_test = train_test_split(
    X_rest, y_rest, train_size=0.5, stratify=y_rest, random_state=0
)

# %%
# Two trainings
# -------------
# All layers but the last have the same shapes in both networks. They are copied, and
# frozen here, so the fine-tuning trains only a new last layer.
options = {
    "module__hidden_layer_sizes": (32, 16),
    "lr": 0.1,
    "max_epochs": 20,
    "random_state": 0,
}
pretrained = SGDInfluenceClassifier(batch_size=50, **options).fit(X_first, y_first)
clf = SGDInfluenceClassifier(
    pretrained=pretrained, freeze_pretrained=True, batch_size=10, **options
).fit(X_later, y_later)
print(", ".join(clf.pretrained_parameters_))
print(f"accuracy on digits 4 to 6: {clf.score(X_test, y_test):.3f}")

# %%
# Retrace through both trainings
# ------------------------------
# One score per pretraining sample: how much the validation loss on the digits 4 to 6
# would change if the sample had been left out of the training on 0 to 3. The retrace
# goes back through the fine-tuning and then through the pretraining.
scores = clf.influence(X_val, y_val, stage="pretraining")

# %%
# The baseline needs no retrace: the loss of each sample in pretraining, where a high
# loss counts as harmful. It ignores the fine-tuning.
probabilities = pretrained.predict_proba(X_first)[np.arange(len(y_first)), y_first]
losses = -np.log(probabilities)
print(f"their correlation: {np.corrcoef(scores, -losses)[0, 1]:.2f}")

# %%
# The removal experiment
# ----------------------
# Both trainings are repeated without some of the samples, with the same batches and
# random numbers: without the most harmful by influence, without the most helpful,
# without those of the highest loss, and without some at random.
orders = {
    "most harmful by influence": scores.argsort(),
    "most helpful by influence": (-scores).argsort(),
    "highest pretraining loss": (-losses).argsort(),
    "at random": np.random.default_rng(0).permutation(len(scores)),
}
numbers = [35, 70, 140, 280]
accuracy = {
    name: [clf.score(X_test, y_test)]
    + [
        clf.refit_without(order[:k], stage="pretraining").score(X_test, y_test)
        for k in numbers
    ]
    for name, order in orders.items()
}

# Colour-blind safe.
STYLES = {
    "most harmful by influence": {"color": "#0072B2", "marker": "o"},
    "most helpful by influence": {"color": "#D55E00", "marker": "s"},
    "highest pretraining loss": {"color": "#009E73", "marker": "^", "linestyle": "--"},
    "at random": {"color": "0.4", "marker": "x", "linestyle": ":"},
}
figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
for name, values in accuracy.items():
    ax.plot([0, *numbers], values, label=name, **STYLES[name])
ax.set_xlabel("pretraining samples removed, of 700")
ax.set_ylabel("test accuracy on digits 4 to 6")
ax.legend(title="removed")
plt.show()

# %%
# Leaving out the right pretraining samples makes the pretraining better for the new
# task, without any more samples of that task.
for name, values in accuracy.items():
    print(f"{name:27}", " ".join(f"{value:.3f}" for value in values))

# %%
# Harmful and helpful
# -------------------
# The five most harmful pretraining images above, the five most helpful below.
side = int(np.sqrt(X.shape[1]))
figure, axes = plt.subplots(2, 5, figsize=(8, 3.8), layout="constrained")
for ax, row in zip(
    axes.flat, [*scores.argsort()[:5], *scores.argsort()[-5:]], strict=True
):
    ax.imshow(X_first[row].reshape(side, side), cmap="gray_r")
    ax.set(xticks=[], yticks=[], title=f"{1e3 * scores[row]:+.1f} · 10⁻³")
plt.show()
