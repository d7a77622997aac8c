"""Writes what `test_old_files.py` reads: run once, by the version that it is of.

    python -m tests.estimators.make_files NAME

What it has written stays as it is: another version or format that is to be read for
ever gets a folder of its own. A change of this program changes no file.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators import SmoothHinge

FILES = Path(__file__).parent / "files"
KILLED_AFTER = 11  # steps, in the middle of an epoch


def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 3)).astype(dtype)
    return X, np.array(["no", "yes"])[(X[:, 0] + X[:, 1] > 0).astype(int)]


def classifier(**options):
    return SGDInfluenceClassifier(
        module__hidden_layer_sizes=(4,),
        optimizer=torch.optim.Adam,
        lr=0.05,
        batch_size=7,
        random_state=0,
        **options,
    )


def saved():
    """Return an estimator with what can stand in a file, by its class or function."""
    X, y = data()
    first = classifier(criterion=SmoothHinge, criterion__temperature=0.2, max_epochs=2)
    return classifier(
        pretrained=first.fit(X, y),
        max_epochs=3,
        checkpoint_every=3,
        criterion=nn.CrossEntropyLoss(),
        verbose=0,
    ).fit(X, y, sample_weight=np.linspace(0.5, 1.5, len(X)))


def linear():
    X, _ = data()
    return SGDInfluenceRegressor("linear", max_epochs=2, random_state=0).fit(X, X[:, 0])


def in_folder(folder, **options):
    """Return an estimator whose run is on disk."""
    return classifier(
        trajectory_dir=folder, checkpoint_every=1, max_epochs=4, **options
    )


def be_killed(folder):
    """Train, and end in the middle of it without a word."""
    from skinfluence.trajectory import Trajectory

    append = Trajectory.append

    def append_or_die(self, record, *states):
        append(self, record, *states)
        if self.n_steps == KILLED_AFTER:
            os._exit(0)

    Trajectory.append = append_or_die
    in_folder(folder).fit(*data())


def make(folder):
    X, y = data()
    net = saved()
    net.save(folder / "classifier")
    linear().save(folder / "regressor")
    command = [sys.executable, "-m", "tests.estimators.make_files", "killed"]
    subprocess.run([*command, str(folder / "runs")], check=True)
    unbroken = classifier(max_epochs=4).fit(X, y)
    np.savez(
        folder / "expected.npz",
        influence=net.influence(X, y),
        pretraining=net.influence(X, y, stage="pretraining"),
        regressor=linear().influence(X, X[:, 0]),
        resumed=unbroken.influence(X, y),
        probabilities=net.predict_proba(X),
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["killed"]:
        be_killed(sys.argv[2])
    else:
        (FILES / sys.argv[1]).mkdir(parents=True)
        make(FILES / sys.argv[1])
