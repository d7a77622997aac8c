"""
How many to remove
==================

How many samples to remove is a question for validation data: too few leaves harm in,
too many takes out samples that are hard but right. Here 20 % of the labels of the
handwritten digits are flipped, and the cleaning curve shows the cross-validated
accuracy against the number removed, for three rankings.
"""

# %%
# Noisy digits
# ------------
# The labels of the test part stay as they are: they judge.
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.datasets import flip_labels
from skinfluence.inspection import CleaningCurveDisplay

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=797, random_state=0)
y_noisy, flipped = flip_labels(y, 0.2, random_state=0)
clf = SGDInfluenceClassifier(lr=0.2, max_epochs=40, batch_size=50, random_state=0)

# %%
# The cleaning curve
# ------------------
# The folds hold wrong labels too, so that no ranking can reach more than 80 %.
# Removing by influence along the training path gains most, and keeps its gain over a
# wide range of numbers; removing at random only loses samples.
CleaningCurveDisplay.from_estimator(
    clf,
    MinMaxScaler().fit_transform(X),
    y_noisy,
    scorers=["influence", "loss", "random"],
    n_removes=[0, 0.05, 0.1, 0.2, 0.3],
    cv=3,
    at="path",
    random_state=0,
)
plt.show()

# %%
# Tuned like any other parameter
# ------------------------------
# ``n_remove`` is a parameter, and ``GridSearchCV`` finds it, inside a Pipeline as well.
# (:class:`~skinfluence.InfluenceCleanerCV` does the same with one ranking for
# each fold.)
cleaner = InfluenceCleaner(clf, at="path", random_state=0)
search = GridSearchCV(
    make_pipeline(MinMaxScaler(), cleaner),
    {"influencecleaner__n_remove": [0, 0.1, 0.2]},
    cv=3,
).fit(X, y_noisy)
print(
    f"removed: {search.best_params_['influencecleaner__n_remove']:.0%} of the samples"
)
before = make_pipeline(MinMaxScaler(), clf).fit(X, y_noisy).score(X_test, y_test)
print(f"test accuracy: {before:.3f} before, {search.score(X_test, y_test):.3f} after")
removed = search.best_estimator_[-1].removed_indices_
print(f"of the {len(removed)} removed, {flipped[removed].sum()} had a flipped label")
