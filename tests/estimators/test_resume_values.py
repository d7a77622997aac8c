"""Another run is never taken for this one: values are compared, and all rows."""

import json
import threading

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EpochScoring
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from skinfluence import SGDInfluenceClassifier
from skinfluence._files import sealed
from skinfluence.estimators import _training_data
from skinfluence.exceptions import ResumeWarning, TrainingDataChangedError
from tests import fresh

OPTIONS = {"max_epochs": 2, "batch_size": 64, "lr": 0.1, "random_state": 0}


def arrays(n_samples=400):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 3)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(np.int64)


class Rows(Dataset):
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return self.X[row], self.y[row]


class Noisy(Rows):
    """Draws for some of its items."""

    def __getitem__(self, row):
        x, y = super().__getitem__(row)
        return (x + torch.rand(3).numpy() if row % 7 == 0 else x), y


def tensors(X, y):
    return TensorDataset(torch.from_numpy(X), torch.from_numpy(y))


DATASETS = [tensors, Rows, Noisy]


def net(**options):
    module = {"module__in_features": 3, "module__out_features": 2}
    options = {"classes": [0, 1], **module, **OPTIONS, **options}
    return SGDInfluenceClassifier(**{"module": nn.Linear, **options})


def weights(clf):
    return [p.detach().clone() for p in clf.module_.parameters()]


def same(clf, other):
    return all(map(torch.equal, weights(clf), weights(other)))


@pytest.mark.parametrize("made", DATASETS)
def test_a_label_corrected_anywhere_is_another_run(tmp_path, made):
    X, y = arrays()
    net(trajectory_dir=tmp_path).fit(made(X, y))
    resumed = net(trajectory_dir=tmp_path).fit(made(X, y), resume=True)
    assert resumed.trajectory_.folder.name == "run-000001"
    corrected = y.copy()
    corrected[101] = 1 - y[101]  # not among those that early versions looked at
    expected = net().fit(made(X, corrected))
    clf = net(trajectory_dir=tmp_path).fit(made(X, corrected), resume=True)
    assert clf.trajectory_.folder.name == "run-000002"
    assert same(clf, expected)


@pytest.mark.parametrize("made", DATASETS)
def test_labels_changed_in_place_are_noticed(made):
    X, y = arrays()
    dataset = made(X, y)
    clf = net().fit(dataset)
    clf.influence(X, y)
    y[101] = 1 - y[101]
    with pytest.raises(TrainingDataChangedError):
        clf.influence(X, y)


@pytest.mark.parametrize("made", DATASETS)
def test_data_that_differs_anywhere_has_rows_of_its_own(made):
    X, y = arrays()
    other = X.copy()
    other[101] += 1
    clf = net().fit(made(X, y)).partial_fit(made(other, y)).partial_fit(made(X, y))
    assert clf.influence(X, y).shape == (2 * len(X),)


@pytest.mark.parametrize("made", [tensors, Rows])
def test_early_fingerprints_are_still_known(tmp_path, made, monkeypatch):
    X, y = arrays()
    early = _training_data._early_fingerprint(made(X, y))
    with monkeypatch.context() as patch:
        patch.setattr(_training_data, "fingerprint", lambda *_: early)
        clf = net(trajectory_dir=tmp_path, max_epochs=1).fit(made(X, y))
    assert clf.training_data_[0].digest == early
    clf.influence(X, y)
    assert len(clf.partial_fit(made(X, y)).influence(X, y)) == len(X)
    folder = tmp_path / "run-000001"
    clf = net(trajectory_dir=tmp_path, max_epochs=1).fit(made(X, y))
    about = json.loads((folder / "manifest.json").read_bytes())["content"]["about"]
    assert about["data"] == early


class Bounded(Callback):
    def __init__(self, bound):
        self.bound = bound

    def on_epoch_end(self, net, **kwargs):
        self.beyond_ = net.history[-1, "train_loss"] > self.bound


def scoring(factor):
    def scored(net, X, y):
        return factor * float(net.predict(X).mean())

    return scored


def local(factor):
    class Local(nn.Module):
        def __init__(self, in_features, out_features):
            super().__init__()
            self.inner = nn.Linear(in_features, out_features)

        def forward(self, X):
            return factor * self.inner(X)

    return Local


def weighted(weight):
    return nn.CrossEntropyLoss(weight=torch.tensor(weight))


def scaled(factor):
    module = nn.Linear(3, 2)
    for parameter in module.parameters():
        nn.init.constant_(parameter, factor)
    return module


VALUES = {
    "criterion": (weighted, [1.0, 1.0], [1.0, 5.0]),
    "module": (scaled, 1.0, 2.0),
    "a module of a local class": (local, 1.0, 2.0),
    "callbacks": (lambda bound: [Bounded(bound)], 0.1, 0.2),
    "callbacks with a local function": (
        lambda factor: [EpochScoring(scoring(factor), name="own")],
        1.0,
        2.0,
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_repr_does_not_tell_is_another_run(tmp_path, name):
    make, one, other = VALUES[name]
    key = next(k for k in ("criterion", "module", "callbacks") if k in name)
    X, y = arrays()

    def fitted(value, **options):
        parameters = {"trajectory_dir": tmp_path, key: make(value)}
        if key == "module" and isinstance(parameters[key], nn.Module):
            clf = SGDInfluenceClassifier(**OPTIONS, **parameters)
        else:
            clf = net(train_split=ValidSplit(3), **parameters)
        return clf.fit(X, y, **options)

    fitted(one)
    assert fitted(one, resume=True).trajectory_.folder.name == "run-000001"
    assert fitted(other, resume=True).trajectory_.folder.name == "run-000002"


def subclass(factor):
    class Scaled(SGDInfluenceClassifier):
        def get_losses(self, y_pred, y_true, X=None, training=False):
            return factor * super().get_losses(y_pred, y_true, X=X, training=training)

    return Scaled


def elsewhere(module):
    """Return a class as a module of this name would define it at its top level."""
    names = {"__module__": module, "__qualname__": "Own"}
    return type("Own", (SGDInfluenceClassifier,), names)


@pytest.mark.parametrize(
    ("make", "one", "other"), [(subclass, 1.0, 2.0), (elsewhere, "a", "b")]
)
def test_an_estimator_of_another_class_is_another_run(tmp_path, make, one, other):
    X, y = arrays()

    def run(value, **options):
        clf = make(value)("linear", trajectory_dir=tmp_path, **OPTIONS)
        return clf.fit(X, y, **options).trajectory_.folder.name

    assert run(one) == "run-000001"
    assert run(one, resume=True) == "run-000001"
    assert run(other, resume=True) == "run-000002"


class Unpicklable(Callback):
    def __init__(self):
        self.lock = threading.Lock()


def test_what_cannot_be_compared_is_not_resumed(tmp_path):
    X, y = arrays()
    callback = Unpicklable()
    options = {"trajectory_dir": tmp_path, "callbacks": [callback]}
    net(**options).fit(X, y)
    with pytest.warns(ResumeWarning, match=r"`callbacks` cannot be compared .*pickle"):
        clf = net(**options).fit(X, y, resume=True)
    assert clf.trajectory_.folder.name == "run-000002"


def test_a_manifest_without_values_is_compared_by_its_texts(tmp_path):
    X, y = arrays()
    options = {"trajectory_dir": tmp_path, "criterion": weighted([1.0, 2.0])}
    net(**options).fit(X, y)
    path = tmp_path / "run-000001" / "manifest.json"
    content = json.loads(path.read_bytes())["content"]
    del content["about"]["values"]
    path.write_bytes(sealed(content))
    clf = net(**options).fit(X, y, resume=True)
    assert clf.trajectory_.folder.name == "run-000001"


STABLE = """
from skinfluence.estimators._recording.values import digest_of_value
found = digest_of_value(
    [lambda x: x in {"a", "b", "c", "d", "e", "f", "g", "h"}, set("ijklmnop")]
)
"""


@pytest.mark.slow
def test_digests_are_the_same_in_every_process():
    # Each process hashes strings in its own way: a set of eight has another order.
    here = {"__name__": "__main__"}
    exec(STABLE, here)
    assert fresh.run(STABLE + "print(found)").strip() == here["found"]
