"""
Clean a training set with wrong labels
======================================

One label in five of the digits that ship with scikit-learn is made wrong. A small
network is trained on them, its training is retraced to find the samples that harm it,
the worst fifth is removed, and the network is trained again. As we made the errors
ourselves, we can count how many of them were found.

Run it with ``make demo``; it takes less than half a minute on one core.
"""

from time import perf_counter

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skinfluence import SGDInfluenceClassifier
from skinfluence.datasets import flip_labels

N_TRAIN, N_VAL, N_TEST = 1000, 400, 397
NOISE = 0.2
N_REMOVED = 200  # we know the noise; otherwise choose the number on validation data
N_RUNS = 5

# 64-128-10, trained for long: what one does who does not know of the errors.
CLASSIFIER = SGDInfluenceClassifier(
    module__hidden_layer_sizes=(128,), lr=0.2, max_epochs=100, batch_size=50
)

# At the end of so long a training the network has begun to learn wrong labels by heart:
# the influence on the final model, at="final", finds only about half of them. "path"
# asks the models at the ends of all epochs, the early ones most: these have learnt what
# the digits have in common, and not yet the errors.
AT = "path"


def split(seed):
    """Return three disjoint parts of the digits, the first with wrong labels too."""
    X, y = load_digits(return_X_y=True)
    X, X_rest, y_true, y_rest = train_test_split(
        X / 16, y, train_size=N_TRAIN, stratify=y, random_state=seed
    )
    X_val, X_test, y_val, y_test = train_test_split(
        X_rest, y_rest, test_size=N_TEST, stratify=y_rest, random_state=seed
    )
    y, flipped = flip_labels(y_true, NOISE, random_state=seed)
    return (X, y, y_true, flipped), (X_val, y_val), (X_test, y_test)


def timed(function, *args, **kwargs):
    """Return what a function returns, and how many seconds it took."""
    start = perf_counter()
    result = function(*args, **kwargs)
    return result, perf_counter() - start


def clean(seed):
    """Train, find the harmful samples, remove the worst, train again."""
    (X, y, y_true, flipped), validation, test = split(seed)
    untrained = clone(CLASSIFIER).set_params(random_state=seed)

    clf, seconds_to_train = timed(clone(untrained).fit, X, y)
    scores, seconds_to_retrace = timed(clf.influence, *validation, at=AT)
    ranking = scores.argsort()  # the most harmful first
    worst, kept = ranking[:N_REMOVED], np.sort(ranking[N_REMOVED:])
    cleaned = clone(untrained).fit(X[kept], y[kept])

    top = ranking[:10]
    return {
        "top": (top, y[top], clf.predict(X[top]), y_true[top], scores[top]),
        "flipped": flipped.sum(),
        "found": flipped[worst].sum(),
        "before": clf.score(*test),
        "after": cleaned.score(*test),
        "ideal": clone(untrained).fit(X[~flipped], y[~flipped]).score(*test),
        "train": seconds_to_train,
        "retrace": seconds_to_retrace,
    }


def report(run):
    """Print what was found in one run."""
    print("The ten most harmful training samples:\n")
    print("     row   given label   predicted   true label   influence")
    for row, given, predicted, true, score in zip(*run["top"], strict=True):
        print(f"{row:8}{given:14}{predicted:12}{true:13}{score:12.5f}")
    print("\nThe influence is the estimated change of the validation loss, had the")
    print("sample been absent. Negative: the model would be better without it.\n")
    for name, figure in [
        (f"test accuracy, trained on all {N_TRAIN} samples", f"{run['before']:.3f}"),
        (f"test accuracy, {N_REMOVED} most harmful removed", f"{run['after']:.3f}"),
        (f"of the {N_REMOVED} removed, really flipped", f"{run['found']}"),
        ("flipped in the whole training set", f"{run['flipped']}"),
        ("seconds to train", f"{run['train']:.1f}"),
        ("seconds to retrace", f"{run['retrace']:.1f}"),
    ]:
        print(f"  {name:48}{figure:>6}")


def table(runs):
    """Print the same figures for several runs, and their means."""
    print("                             test accuracy")
    print("  seed   flipped found   before   after   had we known the flipped")
    columns = [[run[k] for run in runs] for k in ("found", "before", "after", "ideal")]
    rows = [*zip(*columns, strict=True), tuple(map(np.mean, columns))]
    for seed, row in zip([*range(len(runs)), "mean"], rows, strict=True):
        found, before, after, ideal = row
        print(f"{seed:>6}{found:16.0f}{before:9.3f}{after:8.3f}{ideal:12.3f}")


def main():
    torch.set_num_threads(1)  # these matrices are too small to be shared out
    print(f"{N_TRAIN} digits to train on, {NOISE:.0%} of them with a wrong label;")
    print(f"{N_VAL} to validate and {N_TEST} to test with, all labels right.\n")
    runs = [clean(seed=0)]
    report(runs[0])
    print(f"\nA test set of {N_TEST} is small: four digits make one point of accuracy.")
    print("So the same with other splits, flips and initial weights:\n")
    runs += [clean(seed) for seed in range(1, N_RUNS)]
    table(runs)


if __name__ == "__main__":
    main()
