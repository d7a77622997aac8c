"""
Influence over several runs
===========================

The influence is that of one training run, with its initial weights and batches. What
harms this run need not harm the next one. This example retraces five runs, and looks at
how far they agree.
"""

# %%
# Five runs
# ---------
# A network trained on 400 digits, one in ten of them with a wrong label. The
# estimator's own run is the first of five; the others are trained on the same data from
# other seeds.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skinfluence import SGDInfluenceClassifier, influence_over_runs
from skinfluence.datasets import flip_labels
from skinfluence.inspection import InfluenceDisplay

X, y = load_digits(return_X_y=True)
X, X_val, y, y_val = train_test_split(X / 16, y, train_size=400, random_state=0)
y, flipped = flip_labels(y, 0.1, random_state=0)
clf = SGDInfluenceClassifier(max_epochs=30, random_state=0).fit(X, y)
runs = influence_over_runs(clf, X_val, y_val, n_runs=5, random_state=0)
print("Correlation of the runs with each other:")
print(np.corrcoef(runs.scores).round(2))

# %%
# Where they agree
# ----------------
# The table has the mean over the runs, its standard error, and the share of the runs
# that agree with the mean in sign. The first rows are the most harmful samples.
frame = runs.to_frame().assign(wrong=flipped)
print(frame.sort_values("score").head(10).round(5).to_string())

# %%
# In a single run, and in the mean too, some samples with a right label seem harmful.
# Where the runs leave no doubt about the sign, they are fewer.
groups = {
    "harmful in the first run": runs.scores[0] < 0,
    "harmful in the mean": runs.mean < 0,
    "harmful without doubt": (runs.mean < 0) & ~runs.in_doubt,
}
for name, harmful in groups.items():
    print(f"{name}: {harmful.sum()}, {flipped[harmful].mean():.0%} of them wrong")

# %%
# The bars are standard errors.
InfluenceDisplay.from_estimator(clf, X_val, y_val, runs=runs, truth=flipped)
plt.show()
