"""
Mending labels in place of removing samples
===========================================

A sample with a wrong label is not lost: what harms is its label. One retrace tells, for
every training sample and every label, how the validation loss would change if the
sample had carried that label. Here 20 % of the labels of the handwritten digits are
flipped, and the cleaner proposes new labels for the samples with the most to gain.
"""

# %%
# Noisy digits
# ------------
# 1,000 samples to train on, with wrong labels among them; 400 whose labels were checked
# validate, and 397 judge at the end.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skinfluence import InfluenceCleaner, SGDInfluenceClassifier
from skinfluence.datasets import flip_labels

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X, X_rest, y, y_rest = train_test_split(X, y, train_size=1000, random_state=0)
X_val, X_test, y_val, y_test = train_test_split(
    X_rest, y_rest, train_size=400, random_state=0
)
y_noisy, flipped = flip_labels(y, 0.2, random_state=0)
clf = SGDInfluenceClassifier(
    module__hidden_layer_sizes=(128,),
    lr=0.2,
    max_epochs=100,
    batch_size=50,
    random_state=0,
)

# %%
# What is proposed
# ----------------
# ``relabelled_`` is the proposal, those with the most to gain first. It can be looked
# at, and corrected, before anything is trained on it: ``fit_resample`` returns the data
# with the new labels.
relabeller = InfluenceCleaner(
    clf, action="relabel", n_remove=200, at="path", random_state=0
)
relabeller.fit(X, y_noisy, X_val, y_val)
proposal = relabeller.relabelled_
print(proposal.head().to_string(index=False))
wrong = flipped[proposal["index"]]
right = proposal["to"].to_numpy() == y[proposal["index"]]
print(f"{wrong.mean():.0%} of them had a wrong label; {right[wrong].mean():.0%} of")
print("those get their true one")

# %%
# The first of them, with the label that they were given and the one proposed.
fig, axes = plt.subplots(2, 8, figsize=(9, 3.1), layout="constrained")
for ax, row in zip(axes.flat, proposal.itertuples(index=False), strict=False):
    sample, given, to, _ = row
    ax.imshow(X[sample].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{given} → {to}", fontsize=11)
    ax.axis("off")
fig.suptitle("Given label → proposed label")
plt.show()

# %%
# Mended, removed, or as they were
# --------------------------------
# Not every proposal is right, and a wrong one adds a wrong label where there was none.
# Trained on all of them unseen, this network does worse than on the labels as they
# were; removal does best. So look at the proposals before you train on them, or remove
# what you do not want to look at.
remover = InfluenceCleaner(clf, n_remove=200, at="path", random_state=0)
remover.fit(X, y_noisy, X_val, y_val)
for name, model in {
    "as they were": relabeller.estimator_,
    "relabelled": relabeller,
    "removed": remover,
}.items():
    print(f"{name:>12}: test accuracy {model.score(X_test, y_test):.3f}")
