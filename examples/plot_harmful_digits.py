"""
The most harmful digits
=======================

Which of a thousand handwritten digits harm a network most? One label in five is flipped
first, so that we know what should be found.
"""

# %%
# Data with wrong labels
# ----------------------
# scikit-learn's digits have 8 x 8 pixels with 16 shades. The labels of the validation
# data stay right, since the training samples are scored by them.

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skinfluence.datasets import flip_labels

X, y = load_digits(return_X_y=True)
X, X_val, y_true, y_val = train_test_split(
    X / 16, y, train_size=1000, stratify=y, random_state=0
)
y, flipped = flip_labels(y_true, 0.2, random_state=0)

# %%
# Training and retrace
# --------------------
# ``fit`` records each step of the training. ``influence`` retraces them from the last
# to the first, and estimates how much the validation loss would change if a sample had
# been left out. Negative means harmful. ``at="path"`` includes the models at the end of
# every epoch, with most weight on early ones, which have not memorized wrong labels
# yet.

from skinfluence import SGDInfluenceClassifier

clf = SGDInfluenceClassifier(lr=0.2, max_epochs=50, batch_size=50, random_state=0)
clf.fit(X, y)
scores = clf.influence(X_val, y_val, at="path")
ranking = scores.argsort()  # the most harmful first

# %%
# The worst
# ---------
# The ten most harmful samples: the label that they were given, and the one that the
# network predicts. It is right about nearly all of them.

import matplotlib.pyplot as plt

from skinfluence.inspection import SampleGridDisplay

shown = {
    "samples": X,
    "labels": y,
    "predictions": clf.predict(X),
    "image_shape": (8, 8),
    "unit": "nats",
}
SampleGridDisplay(influence=scores, **shown).plot()
plt.show()
print("true labels:", *y_true[ranking[:10]])

# %%
# Distribution of the influence
# -----------------------------
# Nearly all wrong labels (outlined, and ringed) are on the harmful side. On the right
# the influence is plotted against each sample's loss under the final model. In this
# short training wrong labels have high losses too. For the other samples the loss says
# little about the influence: a sample that is hard to fit may still help.

from skinfluence.inspection import InfluenceDisplay

InfluenceDisplay.from_estimator(
    clf, X_val, y_val, at="path", truth=flipped, n_marked=200
)
plt.show()

# %%
# How many of the wrong labels are among the two hundred most harmful samples, and how
# many among the two hundred with the highest loss?

from skinfluence.scorers import Loss

worst = ranking[:200]
by_loss = Loss()(clf, None, None).argsort()[:200]
print(f"{flipped[worst].sum()} and {flipped[by_loss].sum()} of {flipped.sum()}")

# %%
# Influence by epoch
# ------------------
# A sample's influence is the sum of the contributions of all epochs. Wrong labels did
# most of their harm in the first ten epochs, when the network had most to learn.

from skinfluence.inspection import TrajectoryDisplay

TrajectoryDisplay.from_estimator(clf, X_val, y_val, at="path", labels=y)
plt.show()

# %%
# False alarms
# ------------
# These are among the two hundred although their label is right. Most are hard to read
# even for people: harmful is not the same as wrong.

import numpy as np

alarms = np.where(flipped, np.nan, scores)  # samples without a number are left out
SampleGridDisplay(influence=alarms, **shown).plot()
plt.show()
