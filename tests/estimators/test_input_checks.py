"""A module that does not take the inputs: a sentence before training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import UnsupportedModuleError

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
Y = np.arange(20) % 2


class Plain(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, X):
        return self.body(X)


class Lazy(Plain):
    def __init__(self):
        super().__init__()
        self.convolution, self.body = nn.Conv2d(3, 4, 3), nn.LazyLinear(2)

    def forward(self, X):
        return self.body(self.convolution(X).flatten(1))


class Own(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error, self.body = error, nn.Linear(4, 2)

    def forward(self, X):
        raise self.error


def refused(module, X=X, **options):
    clf = SGDInfluenceClassifier(module, **options)
    with pytest.raises(UnsupportedModuleError) as caught:
        clf.fit(X, None if isinstance(X, TensorDataset) else Y)
    assert not hasattr(clf, "trajectory_")
    return str(caught.value), caught.value.__cause__


@pytest.mark.parametrize("record", ["all", "replay", None])
def test_wrong_width(record):
    said, cause = refused(Plain, record=record)
    assert "take the inputs, of shape (n, 4) and torch.float32, but Plain does" in said
    assert "in its part `body.0`, Linear(in_features=5, out_features=8" in said
    assert "Make it for the 4 features of X" in said
    assert type(cause) is RuntimeError
    assert str(cause) in said
    # What it says helps.
    fixed = SGDInfluenceClassifier(Plain, module__width=4, max_epochs=1, record=record)
    fixed.fit(X, Y)


def test_wrong_width_of_the_module_itself():
    said, _ = refused(nn.Linear(3, 2))
    assert "but Linear does not: mat1 and mat2" in said


def test_lazy_module():
    said, _ = refused(Lazy)
    assert "in its part `convolution`, Conv2d(3, 4" in said


def test_images():
    said, _ = refused(Plain, X.reshape(20, 1, 2, 2))
    assert "of shape (n, 1, 2, 2)" in said
    assert "Change the module, or give X" in said


def test_dataset():
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    said, _ = refused(Plain, dataset)
    assert "of shape (n, 4)" in said


def test_places_outside_of_an_embedding():
    numbers = np.full((20, 1), 7)
    body = nn.Sequential(nn.Embedding(3, 4), nn.Flatten(), nn.Linear(4, 2))
    said, cause = refused(body, numbers)
    assert "torch.int64" in said
    assert type(cause) is IndexError


@pytest.mark.parametrize(
    "error", [ValueError("mine"), TypeError("mine"), torch.OutOfMemoryError("mine")]
)
def test_other_errors_are_left_as_they_are(error):
    with pytest.raises(type(error)) as caught:
        SGDInfluenceClassifier(Own, module__error=error).fit(X, Y)
    assert caught.value is error
