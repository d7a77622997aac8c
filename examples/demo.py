"""
Clean a training set with wrong labels
======================================

One label in five of scikit-learn's digits is flipped. A small network is trained on
them, its training is retraced to find the harmful samples, the worst fifth is removed,
and the network is trained again. Since the flips are known, we can count how many were
found.

Run it with ``make demo``; it takes less than a minute on a free core.
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
N_REMOVED = 200  # known here; otherwise choose the number on validation data
N_RUNS = 5

# 64-128-10, trained for long, as one would without knowing of the errors.
CLASSIFIER = SGDInfluenceClassifier(
    module__hidden_layer_sizes=(128,), lr=0.2, max_epochs=100, batch_size=50
)

# After so long a training the network has begun to memorize wrong labels, and the
# influence on the final model, at="final", misses many of them. "path" includes the
# models at the end of every epoch, with most weight on early ones, which have learnt
# what the digits have in common but not yet the errors.
AT = "path"


def split(seed):
    """Return training data with wrong labels, validation data and test data."""
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
    """Return the result of a function call and its time in seconds."""
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
    """Print the results of one run."""
    print("The ten most harmful training samples:\n")
    print("     row   given label   predicted   true label   influence")
    for row, given, predicted, true, score in zip(*run["top"], strict=True):
        print(f"{row:8}{given:14}{predicted:12}{true:13}{score:12.5f}")
    print(
        "\nThe influence is the estimated change of the validation loss if the sample"
    )
    print("were left out. Negative: the model would be better without it.\n")
    for name, figure in [
        (f"test accuracy, trained on all {N_TRAIN} samples", f"{run['before']:.3f}"),
        (f"test accuracy, {N_REMOVED} most harmful removed", f"{run['after']:.3f}"),
        (f"of the {N_REMOVED} removed, actually flipped", f"{run['found']}"),
        ("flipped in the whole training set", f"{run['flipped']}"),
        ("seconds to train", f"{run['train']:.1f}"),
        ("seconds to retrace", f"{run['retrace']:.1f}"),
    ]:
        print(f"  {name:48}{figure:>6}")


def table(runs):
    """Print the same figures for several runs, and their means."""
    print("                             test accuracy")
    print("  seed   flipped found   before   after   flips removed")
    columns = [[run[k] for run in runs] for k in ("found", "before", "after", "ideal")]
    rows = [*zip(*columns, strict=True), tuple(map(np.mean, columns))]
    for seed, row in zip([*range(len(runs)), "mean"], rows, strict=True):
        found, before, after, ideal = row
        print(f"{seed:>6}{found:16.0f}{before:9.3f}{after:8.3f}{ideal:12.3f}")


def main():
    torch.set_num_threads(1)  # the matrices are too small for several threads
    print(f"{N_TRAIN} training digits, {NOISE:.0%} of them with a wrong label;")
    print(f"{N_VAL} validation and {N_TEST} test samples, all with right labels.\n")
    runs = [clean(seed=0)]
    report(runs[0])
    print(f"\nA test set of {N_TEST} is small: four digits are one point of accuracy.")
    print("Repeated with other splits, flips and initial weights:\n")
    runs += [clean(seed) for seed in range(1, N_RUNS)]
    table(runs)


if __name__ == "__main__":
    main()
