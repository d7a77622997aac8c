"""Datasets that draw while their items are read: the same items when read again."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from skorch.dataset import Dataset as SkorchDataset
from skorch.dataset import ValidSplit
from torch import nn

from skinfluence import SGDInfluenceClassifier, load_estimator
from skinfluence.scorers import Loss, Margin
from tests.cases import rough
from tests.oracles import Spy, finite_differences, relative_error, retrain

# What the library promises; the oracle's own error is about 1e-8.
TOLERANCE = 1e-6

N, N_VAL, WIDTH = 13, 6, 5
RNG = np.random.default_rng(0)
LABELS, LABELS_VAL = np.arange(N) % 3, np.arange(N_VAL) % 3
FEATURES = RNG.normal(size=(N, WIDTH)) + LABELS[:, None]
FEATURES_VAL = RNG.normal(size=(N_VAL, WIDTH)) + LABELS_VAL[:, None]
# By its last column a sample is told, whatever noise it has.
ROWS = np.arange(float(N))[:, None]
DATA = np.concatenate([FEATURES, ROWS], axis=1)
DATA_VAL = np.concatenate([FEATURES_VAL, np.zeros((N_VAL, 1))], axis=1)

NOISE = {
    "torch": lambda: torch.randn(WIDTH, dtype=torch.float64).numpy(),
    "numpy": lambda: np.random.normal(size=WIDTH),  # noqa: NPY002
    "python": lambda: np.array([random.gauss(0, 1) for _ in range(WIDTH)]),
}


class Noisy(torch.utils.data.Dataset):
    """Adds noise to an item each time it is read."""

    def __init__(self, X, y, kind, rare=False):
        self.X, self.y, self.kind, self.rare = X, y, kind, rare

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        x = self.X[index].copy()
        if not self.rare or index == 7:
            x[:WIDTH] += 0.5 * NOISE[self.kind]()
        return x, self.y[index]


class OwnGenerator(Noisy):
    def __init__(self, X, y):
        super().__init__(X, y, "torch")
        self.rng = np.random.default_rng(0)

    def __getitem__(self, index):
        return self.X[index] + 0.1 * self.rng.normal(), self.y[index]


class NoisyWrapper(SkorchDataset):
    """What skorch's parameter `dataset` makes of arrays."""

    def transform(self, X, y):
        X = X.copy()
        X[:WIDTH] += 0.5 * NOISE["numpy"]()
        return X, y


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(WIDTH, 4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 3)
        )

    def forward(self, x):
        return self.layers(x[:, :WIDTH])


def classifier(**options):
    defaults = {
        "max_epochs": 3,
        "batch_size": 5,
        "lr": 0.1,
        "optimizer__momentum": 0.7,
        "dtype": "float64",
        "random_state": 0,
        "classes": range(3),
    }
    return SGDInfluenceClassifier(Net, **{**defaults, **options})


def losses(module):
    with torch.no_grad():
        outputs = module.eval()(torch.from_numpy(DATA_VAL))
        targets = torch.from_numpy(LABELS_VAL)
        return nn.functional.cross_entropy(outputs, targets).numpy()


def oracle(clf):
    seeds = [
        (record.seed or 0) + k
        for record in clf.trajectory_.records
        for k in range(max(1, len(record.sizes)))
    ]
    return {
        "seeds": seeds,
        "identify": lambda inputs: inputs[:, WIDTH:],
        "accumulate": clf.accumulate_steps,
    }


def same_weights(one, other):
    mine, theirs = one.module_.parameters(), other.module_.parameters()
    return all(map(torch.equal, mine, theirs))


@rough
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"checkpoint_every": 4},
        {"accumulate_steps": 2},
        {"train_split": ValidSplit(4)},
    ],
    ids=lambda options: "-".join(options),
)
@pytest.mark.parametrize("kind", NOISE)
def test_finite_differences_over_the_noise_that_was_drawn(kind, options):
    spy = Spy()
    data = Noisy(DATA, LABELS, kind)
    clf = classifier(callbacks=[spy], **options)
    clf.fit(data, LABELS if "train_split" in options else None)
    inputs = [x for x, _ in spy.run.batches]
    seen = {float(row): x for x in inputs for row, x in zip(x[:, -1], x, strict=True)}
    # Every epoch has noise of its own.
    first, last = inputs[0][0], seen[float(inputs[0][0, -1])]
    assert not torch.equal(first[:WIDTH], last[:WIDTH])

    def value(ends, base):
        return losses(ends[-1])

    random.random()
    np.random.normal()  # noqa: NPY002
    torch.randn(3)
    expected = finite_differences(spy.run, ROWS, value, **oracle(clf))
    found = clf.influence(DATA_VAL, LABELS_VAL)
    assert relative_error(found, expected) <= TOLERANCE
    np.testing.assert_array_equal(clf.influence(DATA_VAL, LABELS_VAL), found)


@pytest.mark.slow
@rough
@pytest.mark.parametrize("kind", NOISE)
def test_counterfactuals_over_the_same_noise(kind):
    spy = Spy()
    clf = classifier(callbacks=[spy]).fit(Noisy(DATA, LABELS, kind))
    base = losses(retrain(spy.run, ROWS, np.ones(N), **oracle(clf))[-1])
    changes = []
    for sample in range(N):
        weights = np.ones(N)
        weights[sample] = 0
        end = retrain(spy.run, ROWS, weights, **oracle(clf))[-1]
        changes.append(losses(end) - base)
    found = clf.counterfactual_influence(DATA_VAL, LABELS_VAL)
    assert relative_error(found, np.array(changes)) <= TOLERANCE
    without = clf.refit_without([3])
    after = losses(copy.deepcopy(without.module_)) - base
    assert abs(after - changes[3]) <= TOLERANCE * np.abs(changes).max()


@pytest.mark.slow
@rough
@pytest.mark.parametrize("kind", NOISE)
def test_the_same_however_it_is_loaded_and_recorded(kind, tmp_path):
    data = Noisy(DATA, LABELS, kind)
    clf = classifier().fit(data)
    scores = clf.influence(DATA_VAL, LABELS_VAL)
    workers = classifier(iterator_train__num_workers=2).fit(data)
    assert same_weights(workers, clf)
    np.testing.assert_array_equal(workers.influence(DATA_VAL, LABELS_VAL), scores)
    assert same_weights(classifier(record=None).fit(data), clf)
    clf.save(tmp_path / "clf")
    names = [f"tests.estimators.test_augmentation.{name}" for name in ("Net", "Noisy")]
    loaded = load_estimator(tmp_path / "clf", trusted=names)
    np.testing.assert_array_equal(loaded.influence(DATA_VAL, LABELS_VAL), scores)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.influence(DATA_VAL, LABELS_VAL), scores)
    on_disk = {"trajectory_dir": tmp_path / "runs"}
    classifier(max_epochs=2, **on_disk).fit(data)
    resumed = classifier(**on_disk).fit(data, resume=True)
    assert resumed.trajectory_.folder.name == "run-000001"
    np.testing.assert_array_equal(resumed.influence(DATA_VAL, LABELS_VAL), scores)


@rough
def test_an_augmenting_wrapper_of_arrays():
    spy = Spy()
    clf = classifier(dataset=NoisyWrapper, callbacks=[spy]).fit(DATA, LABELS)
    val = torch.utils.data.TensorDataset(*map(torch.from_numpy, (DATA_VAL, LABELS_VAL)))

    def value(ends, base):
        return losses(ends[-1])

    expected = finite_differences(spy.run, ROWS, value, **oracle(clf))
    assert relative_error(clf.influence(val), expected) <= TOLERANCE


@rough
def test_a_query_that_draws_is_the_same_each_time():
    clf = classifier().fit(DATA, LABELS)
    val = Noisy(DATA_VAL, LABELS_VAL, "numpy")
    found = clf.influence(val)
    np.testing.assert_array_equal(clf.influence(val), found)
    mean = clf.influence(val, aggregate=None).mean(1)
    assert relative_error(mean, found) <= 1e-10


@rough
def test_scorers_of_a_dataset_that_draws_are_the_same_each_time():
    clf = classifier().fit(Noisy(DATA, LABELS, "numpy"))
    for scorer in (Loss(), Margin()):
        found = scorer(clf, X_val=DATA_VAL, y_val=LABELS_VAL)
        again = scorer(clf, X_val=DATA_VAL, y_val=LABELS_VAL)
        np.testing.assert_array_equal(again, found)


@rough
def test_global_generators_are_left_where_they_were():
    def generators():
        numpy = np.random.get_state()[1:3]  # noqa: NPY002
        return (
            torch.get_rng_state().tolist(),
            [numpy[0].tolist(), numpy[1]],
            random.getstate(),
        )

    before = generators()
    for kind in NOISE:
        clf = classifier().fit(Noisy(DATA, LABELS, kind))
        clf.influence(DATA_VAL, LABELS_VAL)
    assert generators() == before


def test_a_generator_of_the_datasets_own_is_refused_before_training():
    data = OwnGenerator(DATA, LABELS)
    message = "items are the same when they are read again.*item 0 was another one"
    with pytest.raises(ValueError, match=message):
        classifier().fit(data)
    classifier(record=None).fit(data)


@rough
def test_noise_of_rare_items():
    # A look at a few items would not show it.
    X, y = np.tile(DATA, (20, 1)), np.tile(LABELS, 20)
    X[:, -1] = np.arange(len(X))
    spy = Spy()
    clf = classifier(batch_size=50, callbacks=[spy])
    clf.fit(Noisy(X, y, "torch", rare=True))
    scores = clf.influence(DATA_VAL, LABELS_VAL)
    expected = slopes_of(spy, X[:, -1:], [7, 8], oracle(clf))
    assert np.abs(scores[[7, 8]] - expected).max() <= TOLERANCE * np.abs(scores).max()


def slopes_of(spy, rows, samples, options):
    """Return minus the derivatives in some samples' weights."""
    found = []
    for sample in samples:
        total = 0.0
        for shift, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            weights = np.ones(len(rows))
            weights[sample] += shift * 1e-4
            end = retrain(spy.run, rows, weights, **options)[-1]
            total += factor * losses(end)
        found.append(-total / (12 * 1e-4))
    return np.array(found)


class Mixing:
    """Collates a batch and mixes noise of its own into it."""

    def __init__(self, kind):
        self.kind = kind

    def __call__(self, samples):
        inputs, targets = torch.utils.data.default_collate([*samples])
        inputs[:, :WIDTH] += 0.5 * torch.as_tensor(NOISE[self.kind]())
        return inputs, targets


class Plain(torch.utils.data.Dataset):
    def __len__(self):
        return len(DATA)

    def __getitem__(self, index):
        return DATA[index], LABELS[index]


class InBatches(Plain):
    def __getitems__(self, rows):
        noise = 0.5 * np.append(NOISE["numpy"](), 0.0)
        return [(DATA[row] + noise, LABELS[row]) for row in rows]


LOADED = {
    **{f"collated by {kind}": (Plain(), {"kind": kind}) for kind in NOISE},
    "arrays": ((DATA, LABELS), {"kind": "python"}),
    "tensors": (
        torch.utils.data.TensorDataset(*map(torch.from_numpy, (DATA, LABELS))),
        {"kind": "numpy"},
    ),
    "noisy items": (Noisy(DATA, LABELS, "torch"), {"kind": "torch"}),
    "whole batches": (InBatches(), {}),
}


@pytest.mark.slow
@rough
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", LOADED)
def test_noise_of_whole_batches(name, workers):
    data, noise = LOADED[name]
    spy = Spy()
    options = {"iterator_train__collate_fn": Mixing(**noise)} if noise else {}
    options["iterator_train__num_workers"] = workers
    clf = classifier(callbacks=[spy], **options)
    clf.fit(*data) if isinstance(data, tuple) else clf.fit(data)
    # Every batch has noise of its own.
    firsts = [inputs[0].numpy() for inputs, _ in spy.run.batches[:2]]
    one, other = (first - DATA[int(first[-1])] for first in firsts)
    assert not np.allclose(one, other)

    def value(ends, base):
        return losses(ends[-1])

    expected = finite_differences(spy.run, ROWS, value, **oracle(clf))
    assert relative_error(clf.influence(DATA_VAL, LABELS_VAL), expected) <= TOLERANCE


def test_a_loader_that_draws_on_its_own_is_refused_before_training():
    class Loader(torch.utils.data.DataLoader):
        def __iter__(self):
            for inputs, targets in super().__iter__():
                yield inputs + torch.randn(1), targets

    with pytest.raises(ValueError, match="`iterator_train` must load the same batch"):
        classifier(iterator_train=Loader).fit(Plain())
