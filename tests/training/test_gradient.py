"""The compiled training step: against autograd, and against itself when repeated."""

import copy
import pickle
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, GradientNormClipping
from torch import nn

from skinfluence import SGDInfluenceClassifier, Trajectory, load_estimator
from skinfluence.exceptions import CompilationWarning, IrreproducibleStepError
from tests.cases import MODULES, SIDE, Case
from tests.oracles import relative_error

# Sums of the same products in double precision, in another order, over nine steps.
TOLERANCE = 1e-10


def changed():
    return pytest.warns(CompilationWarning, match="something else")


def model(clf):
    """Return parameters and buffers as one vector."""
    tensors = [*clf.module_.parameters(), *clf.module_.buffers()]
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors]).numpy()


def losses(clf):
    return clf.history[:, "batches", :, "train_loss"]


def sizes(clf):
    return [record.compiled_size for record in clf.trajectory_.records]


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("module", sorted(MODULES))
def test_trains_as_autograd_does(module, optimizer, counted):
    case = Case(module, optimizer, weighted=True)
    eager, compiled = case.fitted(), case.fitted(compile=True)
    assert relative_error(model(compiled), model(eager)) <= TOLERANCE
    assert relative_error(np.ravel(losses(compiled)), np.ravel(losses(eager))) <= 1e-9
    assert len(counted) == (module != "dropout")


def test_says_for_how_many_samples_each_step_was_compiled(counted):
    # 14 samples in batches of 5: the last one of an epoch has 4.
    assert sizes(Case("mlp").fitted(compile=True)) == 3 * [5, 5, 5]
    assert sizes(Case("batch_norm").fitted(compile=True)) == 3 * [5, 5, None]
    assert sizes(Case("dropout").fitted(compile=True)) == 9 * [None]
    assert sizes(Case("mlp").fitted()) == 9 * [None]


def test_what_draws_random_numbers_keeps_its_bits(counted):
    case = Case("dropout", "adam")
    np.testing.assert_array_equal(
        model(case.fitted(compile=True)), model(case.fitted())
    )


@pytest.mark.parametrize("module", ["mlp", "batch_norm"])
@pytest.mark.parametrize("options", [{"record": None}, {"record": 1}])
def test_recording_changes_no_bit(module, options, counted):
    case = Case(module, "momentum", weighted=True)
    clf, other = case.fitted(compile=True), case.fitted(compile=True, **options)
    np.testing.assert_array_equal(model(other), model(clf))


@pytest.mark.slow
@pytest.mark.parametrize("module", ["mlp", "batch_norm"])
@pytest.mark.parametrize("short", [{"checkpoint_every": 4}, {"trajectory_dir": "runs"}])
def test_recomputed_states_have_the_same_bits(module, short, tmp_path, counted):
    case = Case(module, "adam", weighted=True)
    if "trajectory_dir" in short:
        short = {"trajectory_dir": tmp_path, "checkpoint_every": 3}
    clf, other = case.fitted(compile=True), case.fitted(compile=True, **short)
    found, expected = (c.influence(*case.validation(), at="path") for c in (other, clf))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_compiled_for_good_it_keeps_its_bits_too():
    case = Case("mlp", "adam", {"dtype": "float32"})
    clf, other, unrecorded = (
        case.fitted(compile=True, **options)
        for options in ({}, {"checkpoint_every": 4}, {"record": None})
    )
    assert set(sizes(clf)) - {None} == {5}
    np.testing.assert_array_equal(model(unrecorded), model(clf))
    found, expected = (c.influence(*case.validation(), at="path") for c in (other, clf))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(model(clf.refit_without([])), model(clf))
    # Single precision, a hundred times its rounding.
    assert relative_error(model(clf), model(case.fitted(dtype="float32"))) <= 1e-5


def test_a_run_without_some_samples(counted):
    case = Case("mlp", "momentum")
    clf, eager = case.fitted(compile=True), case.fitted()
    np.testing.assert_array_equal(model(clf.refit_without([])), model(clf))
    found, expected = (
        model(clf.refit_without([1, 5])),
        model(eager.refit_without([1, 5])),
    )
    assert relative_error(found, expected) <= TOLERANCE
    exact, other = (
        c.counterfactual_influence(*case.validation()) for c in (clf, eager)
    )
    assert relative_error(exact, other) <= 1e-8


def test_clipped(counted):
    options = {"callbacks": [GradientNormClipping(0.2)], "checkpoint_every": 4}
    case = Case("mlp", "momentum")
    eager, compiled = case.fitted(**options), case.fitted(compile=True, **options)
    assert relative_error(model(compiled), model(eager)) <= TOLERANCE
    found, expected = (c.influence(*case.validation()) for c in (compiled, eager))
    assert relative_error(found, expected) <= 1e-9


def test_going_on_with_other_batches(counted):
    X, y, _ = Case().data()
    runs = []
    for options in ({}, {"compile": True, "checkpoint_every": 4}):
        clf = Case("mlp", "momentum").fitted(**options)
        clf.batch_size = 7
        runs.append(clf.partial_fit(X, y))
    eager, compiled = runs
    assert sizes(compiled) == 9 * [5] + 6 * [7]
    assert relative_error(model(compiled), model(eager)) <= TOLERANCE
    found, expected = (c.influence(*Case().validation(), at="path") for c in runs)
    assert relative_error(found, expected) <= 1e-9


class Freezes(Callback):
    """Trains the first layer from the second epoch on only."""

    def on_epoch_begin(self, net, **kwargs):
        net.module_[1].requires_grad_(len(net.history) > 1)


def test_parameters_that_are_frozen_for_a_while(counted):
    options = {"callbacks": [Freezes()], "checkpoint_every": 2}
    case = Case("mlp", "momentum")
    eager, compiled = case.fitted(**options), case.fitted(compile=True, **options)
    assert relative_error(model(compiled), model(eager)) <= TOLERANCE
    for a, b in zip(
        compiled.trajectory_.records, eager.trajectory_.records, strict=True
    ):
        assert a.active == b.active
    found, expected = (
        c.influence(*case.validation(), last_epochs=2) for c in (compiled, eager)
    )
    assert relative_error(found, expected) <= 1e-9


class Unusual(nn.Module):
    """Takes a dict and an option, has an unused layer, and gives two outputs."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(SIDE * SIDE, 3)
        self.unused = nn.Linear(2, 2)

    def forward(self, image, scale=1.0):
        outputs = self.first(image.flatten(1)) * scale
        return outputs, {"twice": 2 * outputs}


class SecondOutput(SGDInfluenceClassifier):
    def get_losses(self, y_pred, y_true, X=None, training=False):
        return super().get_losses(y_pred[0], y_true, X=X, training=training)


class Outputs(Callback):
    """Keeps what training gives for a batch."""

    def initialize(self):
        self.seen = []
        return self

    def on_batch_end(self, net, batch=None, training=None, y_pred=None, **kwargs):
        if training:
            self.seen.append((y_pred, len(batch[1])))


def test_modules_of_other_forms(counted):
    X, y, _ = Case().data()
    runs = []
    for compiled in (False, True):
        clf = SecondOutput(
            Unusual,
            batch_size=5,
            max_epochs=2,
            dtype="float64",
            random_state=0,
            compile=compiled,
            checkpoint_every=2,
            callbacks=[("outputs", Outputs())],
        )
        runs.append(clf.fit({"image": X}, y, scale=torch.tensor(0.5)))
    eager, compiled = runs
    assert sizes(compiled) == 6 * [5]
    assert relative_error(model(compiled), model(eager)) <= TOLERANCE
    assert compiled.trajectory_.records[0].active == (0, 1)
    pairs = zip(*(dict(c.callbacks_)["outputs"].seen for c in runs), strict=True)
    for (expected, count), (found, _) in pairs:
        assert found[1]["twice"].shape == (count, 3)
        assert (
            relative_error(found[0].numpy(), expected[0].detach().numpy()) <= TOLERANCE
        )
    X_val, y_val = Case().validation()
    found, expected = (c.influence({"image": X_val}, y_val) for c in (compiled, eager))
    assert relative_error(found, expected) <= 1e-9


class Mixing(nn.Linear):
    """Centres its outputs over the batch."""

    def forward(self, x):
        outputs = super().forward(x.flatten(1))
        return outputs - outputs.mean(0)


def test_batches_whose_samples_mix_are_not_filled_up(counted):
    X, y, _ = Case().data()
    runs = [
        SGDInfluenceClassifier(
            Mixing,
            module__in_features=SIDE * SIDE,
            module__out_features=3,
            batch_size=5,
            max_epochs=2,
            dtype="float64",
            random_state=0,
            compile=compiled,
        ).fit(X, y)
        for compiled in (False, True)
    ]
    assert sizes(runs[1]) == 2 * [5, 5, None]
    assert relative_error(model(runs[1]), model(runs[0])) <= TOLERANCE


class Looking(nn.Linear):
    """Computes something that depends on values: no graph can tell that."""

    def forward(self, x):
        outputs = super().forward(x.flatten(1))
        return outputs * int(outputs.detach().abs().sum() * 1000)


def test_what_cannot_be_traced_is_trained_without():
    X, y, _ = Case().data()
    options = {
        "module__in_features": SIDE * SIDE,
        "module__out_features": 3,
        "max_epochs": 1,
        "lr": 1e-9,
        "random_state": 0,
    }
    clf = SGDInfluenceClassifier(Looking, compile=True, **options)
    with pytest.warns(CompilationWarning, match="training step"):
        clf.fit(X, y)
    expected = SGDInfluenceClassifier(Looking, **options).fit(X, y)
    np.testing.assert_array_equal(model(clf), model(expected))


class Copies(Callback):
    """Copies and pickles the net in the middle of an epoch."""

    def on_batch_end(self, net, **kwargs):
        self.copies = copy.deepcopy(net), pickle.loads(pickle.dumps(net))


@pytest.mark.slow
def test_copies_during_training_hold_no_compiled_code(counted):
    case = Case("mlp")
    clf = case.fitted(compile=True, callbacks=[("copies", Copies())])
    for other in dict(clf.callbacks_)["copies"].copies:
        assert other.compiled_functions_ is None
    np.testing.assert_array_equal(model(clf), model(case.fitted(compile=True)))


@pytest.mark.slow
def test_saved_and_loaded(tmp_path, counted):
    case = Case("mlp", "adam")
    clf = case.fitted(compile=True, checkpoint_every=4)
    clf.trajectory_.save(tmp_path / "run")
    loaded = Trajectory.load(tmp_path / "run")
    assert [r.compiled_size for r in loaded.records] == sizes(clf)
    clf.save(tmp_path / "clf")
    other = load_estimator(tmp_path / "clf", trusted=["tests.cases.mlp"])
    found, expected = (c.influence(*case.validation()) for c in (other, clf))
    np.testing.assert_array_equal(found, expected)


def test_gradients_that_are_there_already_are_added_to(counted):
    class Keeping(torch.optim.SGD):
        def zero_grad(self, set_to_none=True):
            super().zero_grad(set_to_none=False)

    X, y, _ = Case().data()
    options = {"optimizer": Keeping, "dtype": "float64", "random_state": 0}
    runs = [
        SGDInfluenceClassifier(MODULES["mlp"], compile=c, **options).fit(X, y)
        for c in (False, True)
    ]
    # Only the very first step finds none: its gradients are zeroed from then on.
    assert set(sizes(runs[1])[1:]) == {None}
    assert relative_error(model(runs[1]), model(runs[0])) <= TOLERANCE


def test_tracing_leaves_no_trace_on_the_generators(counted):
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Case("mlp").fitted(compile=True)
    after = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(3))


class Tempered(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 3))
        self.temperature = 1.0

    def forward(self, X):
        return self.layers(X) / self.temperature


class Cooling(Callback):
    def on_epoch_begin(self, net, **_):
        net.module_.temperature *= 0.5


def test_a_module_that_a_callback_changes_between_epochs_is_followed(counted):
    X, y, _ = Case().data()
    options = {"module": Tempered, "callbacks": [("cooling", Cooling())]}
    eager, clf = (
        Case().classifier(compile=each).set_params(**options) for each in (False, True)
    )
    eager.fit(X, y)
    with pytest.warns(CompilationWarning, match="something else"):
        clf.fit(X, y)
    assert relative_error(model(clf), model(eager)) <= TOLERANCE
    for each, warns in ((eager, nullcontext()), (clf, changed())):
        with warns, pytest.raises(IrreproducibleStepError):
            each.influence(*Case().validation())


class Weighed(nn.CrossEntropyLoss):
    """Has class weights that are no buffer."""

    def __init__(self, reduction="none"):
        super().__init__(reduction=reduction)
        self.weights = torch.ones(3, dtype=torch.float64)

    def forward(self, outputs, targets):
        return super().forward(outputs, targets) * self.weights[targets]


class Reweighing(Callback):
    def on_epoch_begin(self, net, **_):
        if len(net.history) == 2:
            net.criterion_.weights[2] = 5.0


def test_weights_that_are_changed_in_place_count_from_then_on(counted):
    # The third class is not in the first batch of an epoch.
    X, y, _ = Case().data()
    order = np.argsort(y, kind="stable")
    models = []
    for compiled in (False, True):
        clf = SGDInfluenceClassifier(
            MODULES["mlp"],
            criterion=Weighed,
            lr=0.1,
            max_epochs=4,
            batch_size=5,
            dtype="float64",
            iterator_train__shuffle=False,
            callbacks=[("weights", Reweighing())],
            random_state=0,
            record=None,
            compile=compiled,
        )
        with changed() if compiled else nullcontext():
            models.append(model(clf.fit(X[order], y[order])))
    assert relative_error(models[1], models[0]) <= TOLERANCE


class SlightlyMixing(nn.Module):
    """Computes a sample's outputs from the others too, a little."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(SIDE * SIDE, 3)

    def forward(self, X):
        return self.layer((X + 0.03 * X.mean(0)).flatten(1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_are_not_filled_up_where_samples_mix_a_little(dtype, counted):
    X, y, _ = Case().data()
    options = {"module": SlightlyMixing, "dtype": dtype}
    eager, clf = (
        Case().classifier(compile=each, **{"dtype": dtype}).set_params(**options)
        for each in (False, True)
    )
    eager.fit(X.astype(dtype), y)
    clf.fit(X.astype(dtype), y)
    assert sizes(clf) == 3 * [5, 5, None]
    X_val, y_val = Case().validation()
    found, expected = (
        each.influence(X_val.astype(dtype), y_val) for each in (clf, eager)
    )
    assert relative_error(found, expected) <= {"float32": 1e-5, "float64": 1e-9}[dtype]
