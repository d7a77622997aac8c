"""
Correcting labels instead of removing samples
=============================================

A sample with a wrong label can still be useful once its label is corrected. One retrace
estimates, for every training sample and every label, how the validation loss would
change with that label. Here 20 % of the labels of the handwritten digits are flipped,
and the cleaner proposes new labels for the samples with the largest estimated gain.
"""

# %%
# Noisy digits
# ------------
# 1,000 training samples, some with wrong labels; 400 validation samples with checked
# labels; 397 test samples.
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
# The proposals
# -------------
# ``relabelled_`` lists the proposals, largest gain first. Review and correct them
# before training on them: ``fit_resample`` returns the data with the new labels.
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
# The first proposals, with the given and the proposed label.
fig, axes = plt.subplots(2, 8, figsize=(9, 3.1), layout="constrained")
for ax, row in zip(axes.flat, proposal.itertuples(index=False), strict=False):
    sample, given, to, _ = row
    ax.imshow(X[sample].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{given} → {to}", fontsize=11)
    ax.axis("off")
fig.suptitle("Given label → proposed label")
plt.show()

# %%
# Relabelled, removed, or unchanged
# ---------------------------------
# Not every proposal is right, and a wrong one adds a wrong label where there may have
# been none. Trained on all proposals without review, this network does worse than on
# the unchanged labels; removal does best. So review the proposals before training on
# them, or remove the samples that you do not want to review.
remover = InfluenceCleaner(clf, n_remove=200, at="path", random_state=0)
remover.fit(X, y_noisy, X_val, y_val)
for name, model in {
    "unchanged": relabeller.estimator_,
    "relabelled": relabeller,
    "removed": remover,
}.items():
    print(f"{name:>12}: test accuracy {model.score(X_test, y_test):.3f}")
