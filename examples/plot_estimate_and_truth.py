"""
How good is the estimate?
=========================

The influence is an estimate: the derivative of a training run. The truth can be had by
training again without a sample, many such runs at once. This example compares the two
on a gentle and on a rough run, and has the samples that matter verified.
"""

# %%
# A gentle run
# ------------
# A small network on 300 digits, of which 10 % have a wrong label. ``check_influence``
# verifies 40 samples drawn at random and says in words what comes out.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import flip_labels
from skinfluence.inspection import AgreementDisplay
from skinfluence.metrics import jaccard_extremes, kendall_tau

X, y = load_digits(return_X_y=True)
X, X_val, y, y_val = train_test_split(X / 16, y, train_size=300, random_state=0)
y, flipped = flip_labels(y, 0.1, random_state=0)
gentle = SGDInfluenceClassifier(
    module__hidden_layer_sizes=(32,), max_epochs=20, batch_size=50, random_state=0
).fit(X, y)
print(gentle.check_influence(X_val, y_val, 40, random_state=0))

# %%
# A rough run
# -----------
# The same at ten times the learning rate, for half as long again: it learns the wrong
# labels by heart, and a small change at its beginning ends in another model.
rough = clone(gentle).set_params(lr=1.0, max_epochs=30).fit(X, y)
print(rough.check_influence(X_val, y_val, 40, random_state=0))

# %%
# Asked along its path instead of at its end, the rough run is foretold better:
print(rough.check_influence(X_val, y_val, 40, at="path", random_state=0))

figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
for ax, clf, title in zip(
    axes, (gentle, rough), ("a gentle run", "a rough run"), strict=True
):
    AgreementDisplay.from_estimator(
        clf, X_val, y_val, n_samples=40, random_state=0, ax=ax
    )
    ax.set_title(title)
plt.show()

# %%
# Estimate, truth and verification side by side
# ---------------------------------------------
# ``verify=k`` ranks all samples by the estimate, and computes the exact change for the
# k most harmful and the k most helpful. The table has what it makes of the agreement
# with the truth, all of which is computed here for comparison: Kendall's rank
# correlation, and how far the ten samples at either end are the right ones.
truth = gentle.counterfactual_influence(X_val, y_val)
print("verified   Kendall's tau   Jaccard of the ends")
scores = {}
for k in (0, 10, 20, 40):
    scores[k] = gentle.influence(X_val, y_val, verify=k)
    agreement = kendall_tau(scores[k], truth), jaccard_extremes(scores[k], truth)
    print(f"{2 * k:8d} {agreement[0]:15.2f} {agreement[1]:21.2f}")

# %%
# The ten most harmful samples by the truth, with their estimate and what ``verify=20``
# reports. Most of them are wrong labels.
print("sample   estimate   verify=20      truth   label is wrong")
for sample in np.argsort(truth)[:10]:
    values = scores[0][sample], scores[20][sample], truth[sample]
    print(f"{sample:6d}", *(f"{v:10.5f}" for v in values), f"  {bool(flipped[sample])}")
