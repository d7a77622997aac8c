"""
The most harmful digits
=======================

Which of a thousand handwritten digits would a network rather not have seen? One label
in five is made wrong first, so that we know what ought to be found.
"""

# %%
# Data with wrong labels
# ----------------------
# The digits ship with scikit-learn: 8 x 8 pixels of 16 shades. The labels of the
# validation data stay right: they are what the training samples are judged by.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skinfluence.datasets import flip_labels

X, y = load_digits(return_X_y=True)
X, X_val, y_true, y_val = train_test_split(
    X / 16, y, train_size=1000, stratify=y, random_state=0
)
y, flipped = flip_labels(y_true, 0.2, random_state=0)

# %%
# Training, and back
# ------------------
# ``fit`` records each step of the training. ``influence`` retraces them from the last
# to the first, and estimates by how much the validation loss would change if a sample
# had been absent. Negative means harmful. ``at="path"`` asks the models at the ends of
# all epochs, the early ones most, which have not yet learnt wrong labels by heart.

from skinfluence import SGDInfluenceClassifier

clf = SGDInfluenceClassifier(lr=0.2, max_epochs=50, batch_size=50, random_state=0)
clf.fit(X, y)
scores = clf.influence(X_val, y_val, at="path")
ranking = scores.argsort()  # the most harmful first

# %%
# The worst
# ---------
# The ten most harmful samples, with the labels that they were given.

import matplotlib.pyplot as plt


def show(rows):
    """Draw some training samples with their labels."""
    figure, axes = plt.subplots(2, 5, figsize=(8, 4.4), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12)
    for ax, row in zip(axes.flat, rows, strict=False):
        ax.imshow(X[row].reshape(8, 8), cmap="gray_r")
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"given: {y[row]}\ntrue: {y_true[row]}", fontsize=12)
    plt.show()


show(ranking[:10])

# %%
# All of them
# -----------
# Nearly all wrong labels lie on the harmful side, nearly all right ones on the other.

import numpy as np

# Two colours that the colour-blind can tell apart too.
BLUE, ORANGE = "#0072B2", "#D55E00"

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
bins = np.linspace(scores.min(), scores.max(), 50)
ax.hist(scores[~flipped], bins, color=BLUE, label="right label (800 samples)")
ax.hist(
    scores[flipped],
    bins,
    histtype="step",
    color=ORANGE,
    hatch="////",
    linewidth=1.5,
    label="wrong label (200 samples)",
)
ax.axvline(0, color="black", linewidth=0.8)
ax.set_xlabel("← harmful        influence on the validation loss        helpful →")
ax.set_ylabel("training samples")
ax.legend()
plt.show()

# %%
# How many of the wrong labels are among the two hundred most harmful samples?

worst = ranking[:200]
print(f"{flipped[worst].sum()} of {flipped.sum()}")

# %%
# False alarms
# ------------
# These have the right label, and yet are among the two hundred. Most are hard to read
# even for us: harmful is not the same as wrong.

show(worst[~flipped[worst]])
