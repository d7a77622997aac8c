"""
Clean with a network, predict with boosted trees
================================================

The cleaner finds harmful samples by retracing the training of a small network; any
scikit-learn model can be trained on the rest. Here 15 % of the labels of the breast
cancer data are flipped, and gradient boosting is fitted on the cleaned data. 60 samples
with checked labels are used for validation.

Run it with ``python examples/clean_before_boosting.py``.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.datasets import flip_labels

X, y = load_breast_cancer(return_X_y=True)
gains = []
for seed in range(3):
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, train_size=400, stratify=y, random_state=seed
    )
    X_val, X_test, y_val, y_test = train_test_split(
        X_test, y_test, train_size=60, stratify=y_test, random_state=seed
    )
    y_noisy, flipped = flip_labels(y_train, 0.15, random_state=seed)
    scaler = StandardScaler().fit(X_train)
    network = SGDInfluenceClassifier(max_epochs=50, batch_size=20, random_state=seed)
    boosting = HistGradientBoostingClassifier(random_state=seed)
    cleaner = InfluenceCleaner(
        network,
        n_remove=60,
        at="path",
        final_estimator=boosting,
        random_state=seed,
    )
    cleaner.fit(
        scaler.transform(X_train), y_noisy, X_val=scaler.transform(X_val), y_val=y_val
    )
    before = boosting.fit(X_train, y_noisy).score(X_test, y_test)
    after = cleaner.score(scaler.transform(X_test), y_test)
    share = flipped[cleaner.removed_indices_].mean()
    print(
        f"seed {seed}: test accuracy {before:.3f} before, {after:.3f} after; "
        f"{share:.0%} of the 60 removed had a flipped label"
    )
    gains.append(after - before)
print(f"mean gain: {100 * np.mean(gains):.1f} points")
