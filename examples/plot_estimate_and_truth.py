"""
Estimated and true influence
============================

The influence is an estimate, the derivative of a training run. The true change comes
from retraining without a sample, with many such runs at once. This example compares the
two on a smooth and on a chaotic run, and verifies the samples that matter.
"""

# %%
# A smooth run
# ------------
# A small network with ReLU on 300 digits, 10 % of them with a wrong label.
# ``check_influence`` removes 40 random samples and 40 random groups, one at a time, and
# gives a verdict.
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
    module__hidden_layer_sizes=(32,),
    module__activation="relu",
    max_epochs=20,
    batch_size=50,
    random_state=0,
).fit(X, y)
checks = {"a smooth run": gentle.check_influence(X_val, y_val, 40, random_state=0)}
print(checks["a smooth run"])

# %%
# A chaotic run
# -------------
# The same with ten times the learning rate and half as many epochs more: it memorizes
# the wrong labels, and a small change at the start leads to a different model.
rough = clone(gentle).set_params(lr=1.0, max_epochs=30).fit(X, y)
checks["a chaotic run"] = rough.check_influence(X_val, y_val, 40, random_state=0)
print(checks["a chaotic run"])

# %%
# With the default activation, GELU, single removals are ranked better, but their sizes
# and the groups are not predicted either: this learning rate is too large.
smooth = clone(rough).set_params(module__activation="gelu").fit(X, y)
print(smooth.check_influence(X_val, y_val, 40, random_state=0))

figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
for ax, (title, check) in zip(axes, checks.items(), strict=True):
    AgreementDisplay(estimated=check.estimated, exact=check.exact).plot(ax=ax)
    ax.set_title(title)
plt.show()

# %%
# Estimate, truth and verification
# --------------------------------
# ``verify=k`` ranks all samples by the estimate, and computes the exact change for the
# k most harmful and the k most helpful. The table shows how this improves the agreement
# with the truth, which is computed for all samples here: Kendall's rank correlation,
# and the Jaccard index of the ten samples at each end.
truth = gentle.counterfactual_influence(X_val, y_val)
print("verified   Kendall's tau   Jaccard of the ends")
scores = {}
for k in (0, 10, 20, 40):
    scores[k] = gentle.influence(X_val, y_val, verify=k)
    agreement = kendall_tau(scores[k], truth), jaccard_extremes(scores[k], truth)
    print(f"{2 * k:8d} {agreement[0]:15.2f} {agreement[1]:21.2f}")

# %%
# The ten samples that are truly most harmful, with their estimate and the values from
# ``verify=20``. Most of them have wrong labels.
print("sample   estimate   verify=20      truth   label is wrong")
for sample in np.argsort(truth)[:10]:
    values = scores[0][sample], scores[20][sample], truth[sample]
    print(f"{sample:6d}", *(f"{v:10.5f}" for v in values), f"  {bool(flipped[sample])}")
