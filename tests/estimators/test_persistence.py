"""Saved estimators come back to the bit, with nothing pickled."""

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import StratifiedKFold
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    LRScheduler,
)
from skorch.dataset import Dataset as SkorchDataset
from skorch.dataset import ValidSplit
from skorch.exceptions import DeviceWarning
from skorch.helper import predefined_split
from torch import nn
from torch.utils.data import TensorDataset

from skinfluence import (
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    Trajectory,
    load_estimator,
)
from skinfluence.exceptions import (
    TrajectoryFileError,
)
from tests import fresh
from tests.cases import OPTIMIZERS, Case, rough
from tests.estimators.persisted import (
    OPTIONS,
    OWN,
    Counter,
    Net,
    Rows,
    assert_same,
    data,
    forge,
    plain,
    sheet_of,
    there_and_back,
    written_sheet,
)

pytestmark = rough


# The same estimator


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"record": None},
        {"record": 2},
        {"checkpoint_every": 4},
        {"module": "linear", "class_weight": {"no": 1.0, "yes": 2}},
        {"module__hidden_layer_sizes": (5,), "module__dropout": 0.3},
        {"optimizer": torch.optim.Adam, "optimizer__amsgrad": True},
        {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9},
        {"criterion__weight": torch.tensor([1.0, 3.0]), "dtype": "float64"},
        {"criterion": nn.CrossEntropyLoss(label_smoothing=0.1)},
        {"random_state": np.random.RandomState(3)},
        {"train_split": ValidSplit(4, stratified=True)},
        {"predict_nonlinearity": torch.sigmoid},
        {"predict_nonlinearity": partial(nn.functional.softmax, dim=-1)},
        {
            "callbacks": [
                LRScheduler("StepLR", step_size=2),
                GradientNormClipping(0.1),
                ("f1", EpochScoring("f1_macro", on_train=True)),
            ]
        },
        {
            "train_split": ValidSplit(StratifiedKFold(4)),
            "callbacks": [
                EarlyStopping(patience=2, load_best=True),
                EpochScoring(make_scorer(accuracy_score, normalize=False), name="hits"),
                Freezer("layers.0.*", at=2),
                LRScheduler("ReduceLROnPlateau", patience=1),
            ],
        },
        {"train_split": predefined_split(SkorchDataset(np.eye(3), np.arange(3) % 2))},
        {"optimizer__param_groups": [("layers.0.*", {"lr": 0.01})]},
        {"callbacks": "disable", "verbose": 0},
        {"trajectory_dir": Path("runs"), "record": None},
        {"device": torch.device("cpu"), "batch_size": -1, "shuffle": False},
        {"iterator_train__generator": torch.Generator().manual_seed(3)},
    ],
    ids=lambda options: "-".join(options) or "defaults",
)
def test_what_is_loaded_is_what_was_saved(tmp_path, options):
    X, y = data()
    clf = SGDInfluenceClassifier(**{**OPTIONS, **options}).fit(X, y)
    assert_same(there_and_back(clf, tmp_path / "clf"), clf, X, y)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(tmp_path, optimizer):
    case = Case(optimizer=optimizer, weighted=True)
    X, y, _ = case.data()
    clf = case.fitted()
    trusted = [case.classifier().module]
    assert_same(there_and_back(clf, tmp_path / "clf", trusted=trusted), clf, X, y)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["linear", "cnn", "batch_norm", "dropout"])
def test_every_module(tmp_path, module):
    case = Case(module, options={"checkpoint_every": 2})
    X, y, _ = case.data()
    clf = case.fitted()
    trusted = [case.classifier().module]
    assert_same(there_and_back(clf, tmp_path / "clf", trusted=trusted), clf, X, y)


class Recurrent(nn.Module):
    """It holds weak references, and a layer whose size is found at first use."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 4, batch_first=True)
        self.last = nn.LazyLinear(2)

    def forward(self, X):
        return self.last(self.gru(X[..., None])[0][:, -1])


def test_a_recurrent_module(tmp_path):
    X, y = data(dtype=np.float32)
    clf = SGDInfluenceClassifier(Recurrent, **OPTIONS).fit(X, y)
    loaded = there_and_back(clf, tmp_path / "clf", trusted=[Recurrent])
    assert_same(loaded, clf, X, y)


@pytest.mark.parametrize("module", [Net, Net(5, nn.ReLU())], ids=["class", "instance"])
def test_a_module_of_ones_own(tmp_path, module):
    X, y = data(dtype=np.float32)
    clf = SGDInfluenceClassifier(module, callbacks=[Counter()], **OPTIONS).fit(X, y)
    loaded = there_and_back(clf, tmp_path / "clf", trusted=OWN)
    assert loaded.module_.second.weight is loaded.module_.third.weight
    assert loaded.callbacks[0] is dict(loaded.callbacks_)["Counter"]
    assert plain(loaded.callbacks[0]) == plain(clf.callbacks[0])
    assert_same(loaded, clf, X, y)


def test_a_regressor(tmp_path):
    X, _ = data()
    y = np.stack([X[:, 0], X @ X[0]], axis=1)
    reg = SGDInfluenceRegressor("linear", max_epochs=2, random_state=0)
    reg.fit(X, y, sample_weight=np.arange(1.0, 25.0))
    assert_same(there_and_back(reg, tmp_path / "reg"), reg, X, y)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
def test_sparse_data(tmp_path, kind):
    X, y = data()
    X = kind(np.where(X > 0, X, 0))
    clf = SGDInfluenceClassifier("linear", **OPTIONS).fit(X, y)
    assert_same(there_and_back(clf, tmp_path / "clf"), clf, X, y)


def test_data_frames_strings_and_weights(tmp_path):
    pandas = pytest.importorskip("pandas")
    X, y = data()
    X, y = pandas.DataFrame(X, columns=["a", "b", "c"]), pandas.Series(y, dtype=object)
    weights = np.linspace(0, 1, len(X))
    clf = SGDInfluenceClassifier(**OPTIONS).fit(X, y, sample_weight=weights)
    loaded = there_and_back(clf, tmp_path / "clf")
    assert list(loaded.feature_names_in_) == ["a", "b", "c"]
    assert_same(loaded, clf, X, y)


def test_several_calls_of_partial_fit_on_views_and_other_layouts(tmp_path):
    X, y = data(48)
    wide = np.repeat(X, 2, axis=1)
    clf = SGDInfluenceClassifier(**OPTIONS)
    pieces = [(wide[:24, ::2], y[:24]), (np.asfortranarray(X[24:]), y[24:])]
    for part in (*pieces, pieces[0]):
        clf.partial_fit(*part)
    loaded = there_and_back(clf, tmp_path / "clf")
    assert loaded.trajectory_.n_samples == 48
    # The data is known again, though it lies otherwise in memory.
    for net in (clf, loaded):
        net.partial_fit(*pieces[0])
        net.partial_fit(X[:24], y[:24])
        assert net.trajectory_.n_samples == 48
    assert_same(loaded, clf, X[24:], y[24:])


def test_memory_mapped_data(tmp_path):
    X, y = data()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    clf = SGDInfluenceClassifier(**OPTIONS).fit(mapped, y)
    loaded = there_and_back(clf, tmp_path / "clf")
    assert_same(loaded, clf, X, y)


def test_a_dataset(tmp_path):
    X, y = data(dtype=np.float32)
    y = (y == "yes").astype(np.int64)
    for number, rows in enumerate(
        [Rows(X, y), TensorDataset(torch.from_numpy(X), torch.from_numpy(y))]
    ):
        clf = SGDInfluenceClassifier(Net, classes=[0, 1], **OPTIONS).fit(rows)
        loaded = there_and_back(clf, tmp_path / str(number), trusted=OWN)
        assert plain(loaded.influence(rows)) == plain(clf.influence(rows))
        loaded.partial_fit(rows)
        clf.partial_fit(rows)
        assert loaded.trajectory_.n_samples == len(rows)
        assert plain(loaded.influence(rows)) == plain(clf.influence(rows))


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, a, b):
        return self.layer(torch.cat([a, b], 1))


def test_several_inputs(tmp_path):
    X, y = data(dtype=np.float32)
    parts = {"a": X[:, :1], "b": torch.from_numpy(X[:, 1:].copy())}
    clf = SGDInfluenceClassifier(Both, **OPTIONS).fit(parts, y)
    loaded = there_and_back(clf, tmp_path / "clf", trusted=[Both])
    assert plain(loaded.influence(parts, y)) == plain(clf.influence(parts, y))


def test_an_estimator_before_fit(tmp_path):
    options = {"module__hidden_layer_sizes": [3], "lr": np.float64(0.25), **OPTIONS}
    options.update(lr=np.float64(0.25), classes=np.array(["no", "yes"]))
    clf = SGDInfluenceClassifier(**options)
    loaded = there_and_back(clf, tmp_path / "clf")
    assert plain(loaded.get_params()) == plain(clf.get_params())
    X, y = data()
    assert_same(loaded.fit(X, y), clf.fit(X, y), X, y)


def test_the_exact_influence(tmp_path):
    X, y = data()
    clf = SGDInfluenceClassifier("linear", **OPTIONS).fit(X, y)
    loaded = there_and_back(clf, tmp_path / "clf")
    exact = loaded.counterfactual_influence(X, y, [0, 5])
    # A stack of runs takes its sums in another order than a run by itself, and a trial
    # finds out each time which is faster.
    np.testing.assert_allclose(
        exact, clf.counterfactual_influence(X, y, [0, 5]), rtol=0, atol=1e-14
    )


def test_a_run_without_some_samples(tmp_path):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS).fit(X, y).refit_without([1, 2])
    loaded = there_and_back(clf, tmp_path / "clf")
    assert plain(loaded.influence(X, y)) == plain(clf.influence(X, y))


def test_a_memory_format_stays(tmp_path):
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    module.to(memory_format=torch.channels_last)
    loaded = there_and_back(SGDInfluenceClassifier(module), tmp_path / "clf")
    assert loaded.module[0].weight.stride() == module[0].weight.stride()
    assert torch.equal(loaded.module[0].weight, module[0].weight)


@pytest.mark.slow
def test_another_process_loads_it(tmp_path):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS).fit(X, y)
    clf.save(tmp_path / "clf")
    np.save(tmp_path / "X.npy", X)
    code = (
        "import sys, numpy as np, skinfluence\n"
        "clf = skinfluence.load_estimator(sys.argv[1])\n"
        "np.save(sys.argv[2], clf.predict_proba(np.load(sys.argv[3])))\n"
    )
    files = [str(tmp_path / name) for name in ("clf", "p.npy", "X.npy")]
    fresh.run(code, *files)
    assert plain(np.load(tmp_path / "p.npy")) == plain(clf.predict_proba(X))


def test_nothing_is_pickled(tmp_path, monkeypatch):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS).fit(X, y)

    def refuse(*args, **kwargs):
        pytest.fail("something was pickled")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    there_and_back(clf, tmp_path / "clf")


# Saving over


def test_going_on_and_saving_over_itself(tmp_path, monkeypatch):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS).fit(X, y)
    loaded = there_and_back(clf, tmp_path / "clf")
    for net in (clf, loaded):
        net.partial_fit(X, y)
    loaded.save(tmp_path / "clf", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["clf"]
    assert_same(loaded, clf, X, y)
    again = load_estimator(tmp_path / "clf")
    assert again.n_steps_ * 2 == clf.n_steps_ == loaded.n_steps_


def test_only_an_estimator_is_replaced(tmp_path):
    clf = SGDInfluenceClassifier()
    (tmp_path / "empty").mkdir()
    clf.save(tmp_path / "empty")
    with pytest.raises(TrajectoryFileError, match="overwrite=True"):
        clf.save(tmp_path / "empty")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    Trajectory(0).save(tmp_path / "run")
    for name in ("mine", "file", "run"):
        with pytest.raises(TrajectoryFileError, match="overwrite=True"):
            clf.save(tmp_path / name)
        with pytest.raises(TrajectoryFileError, match="must hold what was saved"):
            clf.save(tmp_path / name, overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"
    Trajectory.load(tmp_path / "run")


@pytest.mark.parametrize("place", [".", "trajectory", "pretrained", ".git"])
def test_what_else_is_in_the_folder_is_not_removed(tmp_path, place):
    X, y = data()
    first = SGDInfluenceClassifier(**OPTIONS).fit(X, y)
    clf = SGDInfluenceClassifier(pretrained=first, **OPTIONS).fit(X, y)
    clf.save(tmp_path / "clf")
    clf.save(tmp_path / "clf", overwrite=True)
    folder = tmp_path / "clf" / place
    folder.mkdir(exist_ok=True)
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(TrajectoryFileError, match="and nothing else"):
        clf.save(tmp_path / "clf", overwrite=True)
    assert (folder / "thesis.txt").read_text() == "mine"
    loaded = load_estimator(tmp_path / "clf")
    np.testing.assert_array_equal(loaded.influence(X, y), clf.influence(X, y))


@pytest.mark.parametrize("overwrite", ["no", 1, None])
def test_overwrite_is_true_or_false(tmp_path, overwrite):
    clf = SGDInfluenceClassifier()
    with pytest.raises(TypeError, match="`overwrite` must be True or False, got"):
        clf.save(tmp_path / "clf", overwrite=overwrite)
    clf.save(tmp_path / "clf", overwrite=np.False_)


def test_not_while_it_trains(tmp_path):
    class Saving(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.save(tmp_path / "clf")

    X, y = data()
    with pytest.raises(RuntimeError, match="not while it trains"):
        SGDInfluenceClassifier(callbacks=[Saving()], **OPTIONS).fit(X, y)
    assert not (tmp_path / "clf").exists()


# Devices


@pytest.mark.parametrize("device", ["cuda:63", "elsewhere:0"])  # or none torch knows
def test_a_device_that_is_not_there(device, tmp_path):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS, optimizer=torch.optim.Adam).fit(X, y)
    scores = clf.influence(X, y)
    clf.save(tmp_path / "clf")

    def elsewhere(data):
        sheet = sheet_of(data)
        sheet["attributes"]["device"] = device
        sheet["tensors"] = [[*kind[:2], device, kind[3]] for kind in sheet["tensors"]]
        return written_sheet(sheet)

    forge(tmp_path / "clf", "estimator.json", elsewhere)
    with pytest.warns(DeviceWarning, match=device):
        loaded = load_estimator(tmp_path / "clf")
    assert loaded.device == "cpu"
    assert plain(loaded.influence(X, y)) == plain(scores)
    asked = load_estimator(tmp_path / "clf", device="cpu")
    assert plain(asked.influence(X, y)) == plain(scores)


def test_a_device_must_be_there(tmp_path):
    SGDInfluenceClassifier().save(tmp_path / "clf")
    for device in ("cuda:63", "nowhere"):
        with pytest.raises(ValueError, match=f"`device` must be .* got '{device}'"):
            load_estimator(tmp_path / "clf", device=device)
