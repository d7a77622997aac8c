"""
How many to remove
==================

Choose the number of samples to remove on validation data: with too few, harmful samples
remain; with too many, hard but right samples are lost. Here 20 % of the labels of the
handwritten digits are flipped, and the cleaning curve shows the cross-validated
accuracy against the number removed, for three rankings.
"""

# %%
# Noisy digits
# ------------
# 800 training samples, some with wrong labels; 200 validation samples with checked
# labels for the rankings; 797 test samples.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skinfluence import InfluenceCleanerCV, SGDInfluenceClassifier
from skinfluence.datasets import flip_labels
from skinfluence.inspection import CleaningCurveDisplay

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, test_size=797, random_state=0)
X, X_val, y, y_val = train_test_split(X, y, test_size=200, random_state=0)
y_noisy, flipped = flip_labels(y, 0.2, random_state=0)
clf = SGDInfluenceClassifier(max_epochs=50, batch_size=50, random_state=0)

# %%
# The cleaning curve
# ------------------
# The held-out folds contain wrong labels too, so no ranking can reach more than about
# 80 %. What counts is where a curve rises and where it falls.
CleaningCurveDisplay.from_estimator(
    clf,
    X,
    y_noisy,
    X_val=X_val,
    y_val=y_val,
    scorers=["influence", "loss", "random"],
    n_removes=[0, 0.1, 0.2, 0.3],
    cv=3,
    at="path",
    random_state=0,
)
plt.show()

# %%
# Cross-validation
# ----------------
# :class:`~skinfluence.InfluenceCleanerCV` chooses ``n_remove``, as ``GridSearchCV``
# would, but with one ranking per fold.
cleaner = InfluenceCleanerCV(
    clf, n_removes=[0, 0.1, 0.2], cv=3, at="path", random_state=0
)
cleaner.fit(X, y_noisy, X_val, y_val)
print(f"removed: {cleaner.n_remove_:.0%} of the samples")
before = clf.fit(X, y_noisy).score(X_test, y_test)
print(f"test accuracy: {before:.3f} before, {cleaner.score(X_test, y_test):.3f} after")
removed = cleaner.removed_indices_
print(f"of the {len(removed)} removed, {flipped[removed].sum()} had a flipped label")
