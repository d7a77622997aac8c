"""Wrong values: the error names what is wrong, and nothing has happened."""

import copy
import pickle
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.exceptions import NotFittedError
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
)
from skorch.dataset import ValidSplit
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.exceptions import (
    DivergedTrainingError,
    DivergenceWarning,
    IrreproducibleStepError,
    NotRecordedError,
    TrainingDataChangedError,
    UnsupportedCriterionError,
    UnsupportedOptimizerError,
)

N_SAMPLES, N_FEATURES, N_VAL = 30, 4, 6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N_SAMPLES, N_FEATURES))
Y = np.arange(N_SAMPLES) % 3
X_VAL, Y_VAL = X[:N_VAL] + 0.1, Y[:N_VAL]
OPTIONS = {"max_epochs": 3, "batch_size": 8, "random_state": 0}


def classifier(**options):
    return SGDInfluenceClassifier(**{**OPTIONS, **options})


def regressor(**options):
    return SGDInfluenceRegressor(**{**OPTIONS, **options})


@pytest.fixture(scope="module")
def clf():
    return classifier().fit(X, Y)


@contextmanager
def left_as_it_was(estimator, data=X):
    """Check that an estimator is to the bit what it was before the block."""
    # Whether modules are in training mode is as predictions leave it.
    predictions = estimator.predict(data)
    losses = [dict(epoch) for epoch in estimator.history]
    before = dict(vars(estimator))
    # The callbacks were told if training began; all else is as it was.
    inside = {k: pickle.dumps(v) for k, v in before.items() if k != "callbacks_"}
    yield
    after = dict(vars(estimator))
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    assert [k for k in inside if pickle.dumps(after[k]) != inside[k]] == []
    assert [dict(epoch) for epoch in estimator.history] == losses
    np.testing.assert_array_equal(estimator.predict(data), predictions)


class Untouchable(nn.Module):
    """A module that must not be run: work is not to begin before all is checked."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(N_FEATURES, 3)
        self.allowed = True

    def forward(self, data):
        assert self.allowed, "work was begun"
        return self.layer(data)


@pytest.fixture
def guarded():
    """Return a fitted classifier whose module may not be run any more."""
    clf = classifier(module=Untouchable).fit(X, Y)
    clf.module_.allowed = False
    yield clf
    clf.module_.allowed = True


# --- influence: the validation data --------------------------------------------------


def changed(data, index, value):
    data = data.astype(float)
    data[index] = value
    return data


VALIDATION = {
    "fewer features": (X_VAL[:, :2], Y_VAL, "X_val.*X has 2 features.*expecting 4"),
    "more features": (np.c_[X_VAL, X_VAL], Y_VAL, "X_val.*8 features.*expecting 4"),
    "one axis": (X_VAL[0], Y_VAL[:1], "X_val.*Expected 2D array, got 1D"),
    "three axes": (X_VAL[:, :, None], Y_VAL, "X_val.*dim 3"),
    "nan": (changed(X_VAL, (0, 0), np.nan), Y_VAL, "X_val.*Input X contains NaN"),
    "infinity": (changed(X_VAL, (0, 0), np.inf), Y_VAL, "X_val.*X contains infinity"),
    "empty": (X_VAL[:0], Y_VAL[:0], r"X_val.*0 sample\(s\).*minimum of 1"),
    "no features": (X_VAL[:, :0], Y_VAL, r"X_val.*0 feature\(s\)"),
    "text": (np.full((6, 4), "a"), Y_VAL, "X_val.*could not convert string to float"),
    "complex": (X_VAL * 1j, Y_VAL, "X_val.*Complex data not supported"),
    "none": (None, Y_VAL, "X_val.*Expected 2D array"),
    "lengths": (X_VAL, Y_VAL[:3], r"X_val.*inconsistent numbers of samples: \[6, 3\]"),
    "sparse lengths": (
        sparse.csr_array(X_VAL),
        Y_VAL[:3],
        r"X_val.*inconsistent numbers of samples: \[6, 3\]",
    ),
    "no targets": (X_VAL, None, "`y_val` must be given with X_val, got None"),
    "unseen label": (
        X_VAL,
        np.where(Y_VAL == 2, 7, Y_VAL),
        r"`y_val` must have only labels .*\(\[0, 1, 2\]\), got \[7\]",
    ),
    "label of another kind": (
        X_VAL,
        np.full(N_VAL, "cat"),
        r"`y_val` must have only labels .*got \['cat'\]",
    ),
    "labels without an order": (
        X_VAL,
        np.full(N_VAL, {}, dtype=object),
        r"`y_val` must have only labels .*got \[\{\}, \{\}",
    ),
    "label in between": (X_VAL, Y_VAL + 0.5, r"`y_val` .* got \[0.5, 1.5, 2.5\]"),
    "nan target": (X_VAL, changed(Y_VAL, 0, np.nan), "y_val.*Input y contains NaN"),
    "two targets": (X_VAL, np.c_[Y_VAL, Y_VAL], "y_val.*shape"),
    "a dataset": (
        TensorDataset(torch.tensor(X_VAL), torch.tensor(Y_VAL)),
        None,
        "X_val.*must be a 2-D array or CSR matrix.*'mlp', got TensorDataset",
    ),
    "a dict": (
        {"a": X_VAL},
        Y_VAL,
        "X_val.*must be a 2-D array or CSR matrix.*'mlp', got dict",
    ),
}


@pytest.mark.parametrize("case", VALIDATION)
def test_validation_data(clf, case):
    X_val, y_val, message = VALIDATION[case]
    with left_as_it_was(clf), pytest.raises(ValueError, match=f"(?s){message}"):
        clf.influence(X_val, y_val)


def test_validation_data_with_other_names():
    frame = pd.DataFrame(X, columns=list("abcd"))
    clf = classifier().fit(frame, Y)
    with (
        left_as_it_was(clf, frame),
        pytest.raises(ValueError, match=r"(?s)X_val.*feature names should match"),
    ):
        clf.influence(frame[list("abdc")], Y)


def test_validation_data_of_another_shape():
    clf = classifier(module=nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    clf.fit(X.reshape(-1, 2, 2), Y)
    with (
        left_as_it_was(clf, X.reshape(-1, 2, 2)),
        pytest.raises(
            ValueError, match=r"X_val.*samples of shape \(2, 2\) as in fit, got \(4,\)"
        ),
    ):
        clf.influence(X_VAL, Y_VAL)


@pytest.mark.parametrize(
    ("y", "y_val", "message"),
    [
        (X[:, 0], X_VAL[:, :2], r"`y_val` must have targets of shape \(\).*got \(2,\)"),
        (X[:, :2], X_VAL[:, 0], r"`y_val` must have targets of shape \(2,\).*got \(\)"),
        (X[:, :2], X_VAL[:, :3], r"`y_val` .*shape \(2,\) as in fit, got \(3,\)"),
        (X[:, 0], changed(X_VAL[:, 0], 1, np.nan), "y_val.*Input y contains NaN"),
        (X[:, 0], changed(X_VAL[:, 0], 1, np.inf), "y_val.*Input y contains infinity"),
    ],
)
def test_validation_targets_of_a_regression(y, y_val, message):
    reg = regressor().fit(X, y)
    with left_as_it_was(reg), pytest.raises(ValueError, match=message):
        reg.influence(X_VAL, y_val)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), r"sample_weight_val.* of the 6 rows of X_val, got shape \(3,\)"),
        (np.ones((6, 1)), r"sample_weight_val.*rows of X_val, got shape \(6, 1\)"),
        (-np.ones(6), "sample_weight_val.*must not be negative.*got -1"),
        (np.zeros(6), "sample_weight_val.*(non-zero|positive sum)"),
        (np.full(6, np.nan), "sample_weight_val.*must not be .*NaN, got nan"),
        (np.full(6, "a"), "sample_weight_val.*must be numbers"),
    ],
)
def test_validation_weights(clf, weights, message):
    with left_as_it_was(clf), pytest.raises(ValueError, match=f"(?s){message}"):
        clf.influence(X_VAL, Y_VAL, sample_weight_val=weights)


# --- influence: the parameters -------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"at": "first"},
            ValueError,
            "`at` must be 'final', 'epochs', 'path'.*'first'",
        ),
        ({"at": 2}, TypeError, "`at` must be a string, a sequence or a mapping, got 2"),
        ({"at": None}, TypeError, "`at` must be .*got None"),
        ({"at": {1, 2}}, TypeError, r"`at` must be .*got \{1, 2\}"),
        ({"at": [0]}, ValueError, "`at` must name epochs of the run, 1 to 3, got 0"),
        ({"at": [1, 4]}, ValueError, "`at` must name epochs of the run, 1 to 3, got 4"),
        ({"at": [-1]}, ValueError, "`at` must name epochs of the run, 1 to 3, got -1"),
        ({"at": [1.5]}, ValueError, "`at` must name epochs .*got 1.5"),
        ({"at": [True, False]}, ValueError, "`at` must name epochs .*got True"),
        ({"at": ["final"]}, ValueError, "`at` must name epochs .*got 'final'"),
        ({"at": np.ones((2, 2), int)}, ValueError, "`at` must name epochs"),
        ({"at": [2, 2]}, ValueError, r"`at` must name each epoch once, got \[2, 2\]"),
        ({"at": []}, ValueError, r"`at` must give some epoch a positive weight.*\[\]"),
        ({"at": {}}, ValueError, "`at` must give some epoch a positive weight"),
        ({"at": {1: 0}}, ValueError, "`at` must give some epoch a positive weight"),
        ({"at": {1: -1}}, ValueError, "`at` .*not negative, got -1 for epoch 1"),
        ({"at": {1: np.nan}}, ValueError, "`at` .*finite weights.*got nan for epoch 1"),
        ({"at": {1: np.inf}}, ValueError, "`at` .*finite weights.*got inf for epoch 1"),
        ({"at": {1: "a"}}, ValueError, "`at` .*finite weights.*got 'a' for epoch 1"),
        ({"at": {5: 1}}, ValueError, "`at` must name epochs of the run, 1 to 3, got 5"),
        (
            {"at": [1], "last_epochs": 2},
            ValueError,
            "`at` must name an epoch among those retraced.*`last_epochs`=2",
        ),
        (
            {"last_epochs": 4},
            NotRecordedError,
            r"`last_epochs` must be between 1 and .*\(3\), got 4",
        ),
        ({"last_epochs": 0}, NotRecordedError, "`last_epochs` must be .*got 0"),
        ({"last_epochs": -1}, NotRecordedError, "`last_epochs` must be .*got -1"),
        ({"last_epochs": 1.0}, TypeError, "`last_epochs` must be an integer.*got 1.0"),
        ({"last_epochs": True}, TypeError, "`last_epochs` must be an integer.*True"),
        ({"last_epochs": "all"}, TypeError, "`last_epochs` must be an integer.*'all'"),
        (
            {"query": "accuracy"},
            ValueError,
            "`query` must be 'loss', 'error', .*'accuracy'",
        ),
        (
            {"query": None},
            ValueError,
            "`query` must be 'loss', 'error', .* or a callable, got None",
        ),
        ({"aggregate": "sum"}, ValueError, "`aggregate` must be 'mean' or None.*'sum'"),
        (
            {"aggregate": None, "sample_weight_val": np.ones(N_VAL)},
            ValueError,
            "`sample_weight_val` must be None with aggregate=None",
        ),
    ],
    ids=str,
)
def test_parameters_of_influence(guarded, options, error, message):
    with pytest.raises(error, match=message):
        guarded.influence(X_VAL, Y_VAL, **options)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (lambda y_pred, y_true: y_pred.sum(), r"`query` .*shape \(6,\), got \(\)"),
        (lambda y_pred, y_true: y_pred, r"`query` .*shape \(6,\), got \(6, 3\)"),
        (lambda y_pred, y_true: y_pred[:2, 0], r"`query` .*\(6,\), got \(2,\)"),
        (lambda y_pred, y_true: 1.0, "`query` .*got .*float"),
        (lambda y_pred, y_true: np.zeros(6), "`query` .*got .*ndarray"),
        (
            lambda y_pred, y_true: (y_pred.argmax(1) != y_true).float(),
            "`query` must be differentiable",
        ),
    ],
)
def test_what_a_query_returns(clf, query, message):
    for aggregate in ("mean", None):
        with left_as_it_was(clf), pytest.raises(ValueError, match=message):
            clf.influence(X_VAL, Y_VAL, query=query, aggregate=aggregate)


# --- influence: the run --------------------------------------------------------------


def test_before_fit():
    with pytest.raises(NotFittedError, match=r"not fitted yet. Call 'fit'"):
        classifier().influence(X_VAL, Y_VAL)


def test_initialized_by_hand_and_never_fitted():
    clf = classifier(module=nn.Linear(4, 3)).initialize()
    with pytest.raises(NotFittedError, match=r"not fitted yet. Call 'fit'"):
        clf.influence(X_VAL, Y_VAL)


def test_recording_off():
    clf = classifier(record=None).fit(X, Y)
    message = "`record` must be 'all' or a number of epochs in fit, got None"
    with left_as_it_was(clf), pytest.raises(NotRecordedError, match=message):
        clf.influence(X_VAL, Y_VAL)


@pytest.mark.parametrize(
    "options",
    [{"max_epochs": 0}, {"iterator_train__drop_last": True, "batch_size": 99}],
)
def test_no_step_was_taken(options):
    clf = classifier(**options).fit(X, Y)
    with pytest.raises(NotRecordedError, match="at least one step, got 0"):
        clf.influence(X_VAL, Y_VAL)


def test_more_epochs_than_were_recorded():
    clf = classifier(record=2).fit(X, Y)
    with pytest.raises(NotRecordedError, match=r"between 1 and .*\(2\), got 3"):
        clf.influence(X_VAL, Y_VAL, last_epochs=3)
    with pytest.raises(ValueError, match=r"`at` must name an epoch among .*`record`=2"):
        clf.influence(X_VAL, Y_VAL, at=[1])


@pytest.mark.parametrize("what", ["X", "y", "weak"])
def test_training_data_changed_since(what):
    data, labels = X.copy(), Y.copy()
    clf = classifier().fit(data, labels)
    expected = clf.influence(X_VAL, Y_VAL)
    if what == "X":
        data[3, 1] += 1e-9
    elif what == "y":
        clf.training_data_[0].y[3] = (labels[3] + 1) % 3
    else:
        data[[0, 3]] = data[[3, 0]]
    with pytest.raises(
        TrainingDataChangedError, match="The training data must be as it"
    ):
        clf.influence(X_VAL, Y_VAL)
    if what == "X":
        data[3, 1] = X[3, 1]
        np.testing.assert_array_equal(clf.influence(X_VAL, Y_VAL), expected)


def test_labels_given_to_fit_are_not_needed_any_more():
    labels = Y.copy()
    clf = classifier().fit(X, labels)
    expected = clf.influence(X_VAL, Y_VAL)
    labels[:] = 0
    np.testing.assert_array_equal(clf.influence(X_VAL, Y_VAL), expected)


@pytest.mark.parametrize("how", ["by hand", "set_params", "load_params"])
def test_model_changed_since(how, tmp_path):
    clf = classifier().fit(X, Y)
    if how == "by hand":
        with torch.no_grad():
            clf.module_.layers[0].bias[0] += 1e-3
    elif how == "set_params":
        clf.set_params(module__hidden_layer_sizes=(3,))
    else:
        classifier(max_epochs=1).fit(X, Y).save_params(tmp_path / "other.pt")
        clf.load_params(tmp_path / "other.pt")
    message = "The model must be as the recorded run left it"
    with pytest.raises(IrreproducibleStepError, match=message):
        clf.influence(X_VAL, Y_VAL)
    clf.fit(X, Y)
    assert np.abs(clf.influence(X_VAL, Y_VAL)).max() > 0


def test_criterion_changed_since():
    clf = classifier().fit(X, Y).set_params(criterion__label_smoothing=0.3)
    with pytest.raises(
        IrreproducibleStepError, match=r"Step 0 \(epoch 1\) gave a different"
    ):
        clf.influence(X_VAL, Y_VAL)


@pytest.mark.parametrize(("lr", "step"), [(1e200, "[0-9]+"), (np.nan, "5")])
def test_a_run_that_diverged(lr, step):
    class Explode(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 2:
                net.optimizer_.param_groups[0]["lr"] = lr

    with pytest.warns(DivergenceWarning, match=f"from step {step} on"):
        clf = classifier(callbacks=[Explode()]).fit(X.astype(np.float64), Y)
    message = f"NaN or infinite from step {step} on"
    with pytest.raises(DivergedTrainingError, match=message):
        clf.influence(X_VAL, Y_VAL)


def test_a_retrace_that_diverged():
    # The run is finite, but its derivative is not, after the first batch.
    steep = X[-1, 0]

    class Steep(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(N_FEATURES, 3)

        def forward(self, data):
            outputs = self.layer(data)
            if (data[:, 0] == steep).any():
                # At 0 this power has a slope, but its slope has none.
                outputs = outputs + (0.0 * self.layer.weight.sum()).abs().pow(1.5)
            return outputs

    clf = classifier(module=Steep, shuffle=False).fit(X, Y)
    with pytest.raises(DivergedTrainingError, match="The retrace overflowed"):
        clf.influence(X_VAL, Y_VAL)


# --- fit -----------------------------------------------------------------------------

PARAMETERS = {
    "module": ("cnn", "a str among .*'mlp'"),
    "criterion": ("mse", "a callable"),
    "optimizer": (3, "a callable"),
    "lr": (-0.1, r"range \[0.0, inf\)"),
    "max_epochs": (2.5, r"an int in the range \[0, 2\*\*63\)"),
    "batch_size": (0, r"an int in the range \[1, 2\*\*63\) or a int among \{-1\}"),
    "shuffle": ("yes", "an instance of 'bool'"),
    "class_weight": (
        "equal",
        "an instance of 'collections.abc.Mapping', a str among {'balanced'} or None",
    ),
    "dtype": ("float16", "a str among"),
    "random_state": ("seed", "an int in the range"),
    "record": (0, "a str among {.*'all'.*}, an int in the range .* or None"),
    "train_split": (0.2, "a callable or None"),
    "warm_start": ("yes", "an instance of 'bool'"),
    "verbose": ("yes", "an int in the range"),
    "classes": (3, "an array-like or None"),
    "predict_nonlinearity": ("softmax", "a str among {'auto'}, a callable or None"),
    "iterator_train": ("loader", "a callable"),
    "iterator_valid": (DataLoader([]), "a callable"),
    "dataset": (TensorDataset(), "a callable"),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    value, demand = PARAMETERS[name]
    message = (
        f"The '{name}' parameter of SGDInfluenceClassifier must be .*{demand}.*Got"
    )
    clf = classifier(**{name: value})
    with pytest.raises(ValueError, match=f"(?s){message}"):
        clf.fit(X, Y)
    assert not hasattr(clf, "module_")


@pytest.mark.parametrize(
    "name", [n for n in PARAMETERS if n not in ("module", "criterion")]
)
def test_parameters_of_a_fitted_estimator(name):
    clf = classifier().fit(X, Y)
    vars(clf)[name] = PARAMETERS[name][0]
    train = clf.partial_fit if name == "optimizer" else clf.fit
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        train(X, Y)
    vars(clf)[name] = vars(classifier())[name]
    if name in OPTIONS:
        vars(clf)[name] = OPTIONS[name]
    np.testing.assert_array_equal(
        clf.influence(X_VAL, Y_VAL), classifier().fit(X, Y).influence(X_VAL, Y_VAL)
    )


def test_a_wrong_learning_rate_nan():
    with pytest.raises(ValueError, match="'lr' parameter"):
        classifier(lr=float("nan")).fit(X, Y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"callbacks": 3}, TypeError, "`callbacks` must be a list .*got 3"),
        ({"compile": 3}, ValueError, "'compile' parameter"),
        ({"compile__dynamic": True}, ValueError, "`compile__dynamic` must not"),
        ({"modul__x": 1}, (TypeError, ValueError), "modul__x"),
        ({"module__x": 1}, ValueError, "`module__x` .* 'mlp', but it takes no 'x'"),
        ({"module__activation": "step"}, ValueError, "`module__activation` .*'step'"),
        ({"optimizer__x": 1}, ValueError, "`optimizer__x` .* SGD, but it takes no 'x'"),
        ({"device": "abacus"}, ValueError, "`device` must be .*got 'abacus'"),
    ],
    ids=str,
)
def test_other_parameters(options, error, message):
    clf = classifier(**options)
    with pytest.raises(error, match=message):
        clf.fit(X, Y)
    assert not hasattr(clf, "module_")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("LBFGS", "evaluates the loss several times"),
        ("SparseAdam", "its gradients are sparse"),
        ("Adafactor", "mixes the elements of a matrix"),
        ("Rprop", "uses only the sign of the gradient"),
        ("Muon", "mixes the elements of a matrix"),
    ],
)
def test_optimizers_that_cannot_be_retraced(name, reason):
    optimizer = getattr(torch.optim, name, None)
    if optimizer is None:
        pytest.skip(f"this torch has no {name}")
    # Muon takes nothing but matrices.
    clf = classifier(module=nn.Linear(4, 3, bias=False), optimizer=optimizer, lr=0.01)
    with pytest.raises(
        UnsupportedOptimizerError,
        match=rf"`optimizer` must be one .*\(ASGD, .*SGD\), got {name}: .*{reason}.*"
        "Use one of these, or record=None",
    ):
        clf.fit(X, Y)
    assert not hasattr(clf, "module_")


def test_such_an_optimizer_trains_without_recording():
    clf = classifier(optimizer=torch.optim.Rprop, lr=0.01, record=None).fit(X, Y)
    assert clf.history[-1, "train_loss"] < clf.history[0, "train_loss"]


FIT_DATA = {
    "nan": (changed(X, (0, 0), np.nan), Y, None, "Input X contains NaN"),
    "lengths": (X, Y[:5], None, r"inconsistent numbers of samples: \[30, 5\]"),
    "empty": (X[:0], Y[:0], None, "0 sample"),
    "nan target": (X, changed(Y, 0, np.nan), None, "Input y contains NaN"),
    "continuous": (X, X[:, 0], None, "Unknown label type"),
    "no targets": (X, None, None, "requires y to be passed, but the target y is None"),
    "weights": (X, Y, np.ones(5), r"`sample_weight` must .* 30 rows of X, got shape"),
    "negative": (X, Y, -np.ones(N_SAMPLES), "`sample_weight` must not be negative"),
    "zeros": (X, Y, np.zeros(N_SAMPLES), "(non-zero|positive sum)"),
    "dict": ({"a": X}, Y, None, "X must be a 2-D array or CSR matrix .*got dict"),
}


@pytest.mark.parametrize("how", ["fit", "partial_fit", "warm_start"])
@pytest.mark.parametrize("case", FIT_DATA)
def test_training_data(case, how):
    data, labels, weights, message = FIT_DATA[case]
    clf = classifier(warm_start=how == "warm_start").fit(X, Y)
    expected = clf.influence(X_VAL, Y_VAL)
    if case == "continuous" and how != "fit":
        message = "`y` must have only labels that the classifier was fitted on"
    train = clf.partial_fit if how == "partial_fit" else clf.fit
    with left_as_it_was(clf), pytest.raises(ValueError, match=f"(?s){message}"):
        train(data, labels, sample_weight=weights)
    np.testing.assert_array_equal(clf.influence(X_VAL, Y_VAL), expected)


def test_training_on_with_other_labels_or_features():
    clf = classifier().fit(X, Y)
    with left_as_it_was(clf):
        with pytest.raises(ValueError, match=r"`y` must have only labels .*got \[3\]"):
            clf.partial_fit(X, Y + 1)
        with pytest.raises(ValueError, match="X has 2 features"):
            clf.partial_fit(X[:, :2], Y)


@pytest.mark.parametrize("size", [1e308, 1e-310, 5e-324])
def test_uniform_weights_of_any_size_change_nothing(size):
    def bits(**given):
        clf = classifier().fit(X, Y, **given)
        scores = clf.influence(X_VAL, Y_VAL)
        return clf.trajectory_.final.parameters, scores

    parameters, scores = bits()
    same_parameters, same_scores = bits(sample_weight=np.full(N_SAMPLES, size))
    assert torch.equal(same_parameters, parameters)
    np.testing.assert_array_equal(same_scores, scores)


@pytest.mark.parametrize("scale", [2.0**1000, 2.0**-1060])
def test_weights_count_by_their_ratios(scale):
    # Few digits, so that the smallest have them too.
    weights = np.arange(N_SAMPLES) / 8.0
    expected = classifier().fit(X, Y, weights).influence(X_VAL, Y_VAL)
    found = classifier().fit(X, Y, weights * scale).influence(X_VAL, Y_VAL)
    np.testing.assert_array_equal(found, expected)


def test_class_weights_of_any_size():
    few = {0: 1e308, 1: 1e308, 2: 5e307}
    expected = classifier(class_weight={0: 2, 1: 2, 2: 1}).fit(X, Y)
    found = classifier(class_weight=few).fit(X, Y, np.full(N_SAMPLES, 1e308))
    np.testing.assert_allclose(
        found.predict_proba(X), expected.predict_proba(X), rtol=1e-12
    )


def test_class_weights_and_sample_weights_that_leave_nothing():
    clf = classifier(class_weight={0: 0, 1: 0})
    message = "`sample_weight` times `class_weight` must have a positive sum"
    with pytest.raises(ValueError, match=message):
        clf.fit(X, Y, (Y < 2).astype(float))
    with pytest.raises(ValueError, match="`class_weight` must have a positive sum"):
        classifier(class_weight={0: 0, 1: 0, 2: 0}).fit(X, Y)


@pytest.mark.parametrize("classes", [[0, 1, 2, 3], [0, 1], [0, 1, "2"]])
def test_other_classes_than_in_the_first_call(classes):
    clf = classifier().partial_fit(X, Y, classes=[0, 1, 2])
    with left_as_it_was(clf), pytest.raises(ValueError, match="`classes` must be "):
        clf.partial_fit(X, Y, classes=classes)
    clf.partial_fit(X, Y, classes=[2, 1, 0])


def test_other_classes_than_the_parameter():
    with pytest.raises(
        ValueError, match=r"`classes` .*\[0, 1, 2\], got \[0, 1, 2, 3\]"
    ):
        classifier(classes=[0, 1, 2]).partial_fit(X, Y, classes=[0, 1, 2, 3])


@pytest.mark.parametrize(
    "wrong",
    [{"callbacks": [3]}, {"module__hidden_layer_size": 3}, {"optimizer__momentun": 1}],
    ids=str,
)
def test_wrong_parameters_set_on_a_fitted_net(wrong):
    clf = classifier().fit(X, Y)
    with (
        left_as_it_was(clf),
        pytest.raises((ValueError, TypeError), match=next(iter(wrong))),
    ):
        clf.set_params(**wrong)


def test_class_weight_without_labels():
    data = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(Y))
    clf = classifier(module=nn.Linear(4, 3), class_weight="balanced")
    with pytest.raises(ValueError, match="`class_weight` needs the labels"):
        clf.fit(data)


def test_data_without_rows():
    class Stream(IterableDataset):
        def __iter__(self):
            yield from zip(X, Y, strict=True)

    clf = classifier(module=nn.Linear(4, 3))
    with pytest.raises(ValueError, match="X must be a Dataset with rows"):
        clf.fit(Stream())


def test_a_split_that_returns_other_data():
    def split(dataset, y=None):
        return TensorDataset(torch.zeros(5, 4), torch.zeros(5, dtype=torch.int64)), None

    with pytest.raises(ValueError, match=r"`train_split` must return .*TensorDataset"):
        classifier(train_split=split).fit(X, Y)


@pytest.mark.parametrize("name", ["get_loss", "train_step_single"])
def test_overrides_that_would_change_the_loss(name):
    def override(self, *args, **kwargs):
        raise AssertionError

    cls = type("Own", (SGDInfluenceClassifier,), {name: override})
    with pytest.raises(
        TypeError, match=f"Own must not override `{name}`.*`get_losses`"
    ):
        cls(**OPTIONS).fit(X, Y)


class Fail(Callback):
    """Fails at an event, once, when it is told to."""

    armed = False  # kept by the class: callbacks belong to what must not change

    def __init__(self, event, after=0):
        setattr(self, event, self._fail)
        self.after = after

    def _fail(self, net, **kwargs):
        if Fail.armed and net.run_.n_steps >= self.after:
            Fail.armed = False
            raise RuntimeError("no more")


@pytest.mark.parametrize("event", ["on_train_begin", "on_batch_begin", "on_epoch_end"])
def test_a_refit_that_fails_leaves_the_fit_before(event):
    fail = Fail(event, after=2 if event == "on_batch_begin" else 0)
    clf = classifier(callbacks=[fail]).fit(X, Y)
    expected = clf.influence(X_VAL, Y_VAL)
    Fail.armed = True
    with left_as_it_was(clf), pytest.raises(RuntimeError, match="no more"):
        clf.fit(X + 1, Y)
    np.testing.assert_array_equal(clf.influence(X_VAL, Y_VAL), expected)


@pytest.mark.parametrize(
    "event", ["on_train_begin", "on_epoch_begin", "on_batch_begin"]
)
def test_training_on_that_fails_before_its_first_step(event):
    fail = Fail(event)
    # By default each call measures the free memory anew.
    clf = classifier(callbacks=[fail], max_trajectory_bytes=2**30).fit(X, Y)
    expected = clf.influence(X_VAL, Y_VAL)
    Fail.armed = True
    with left_as_it_was(clf), pytest.raises(RuntimeError, match="no more"):
        clf.partial_fit(X + 1, Y)
    np.testing.assert_array_equal(clf.influence(X_VAL, Y_VAL), expected)


def test_training_on_that_fails_later_keeps_what_was_done():
    fail = Fail("on_batch_begin", after=15)
    clf = classifier(callbacks=[fail]).fit(X, Y)
    Fail.armed = True
    with pytest.raises(RuntimeError, match="no more"):
        clf.partial_fit(X, Y)
    # The model has changed: what it went through is on record.
    assert clf.trajectory_.n_steps == clf.n_steps_ == 15
    assert "run_" not in vars(clf)
    whole = classifier(max_epochs=6).fit(X, Y)
    state = whole.trajectory_.state(15)
    assert torch.equal(clf.trajectory_.final.parameters, state.parameters)
    clf.partial_fit(X, Y)
    assert np.abs(clf.influence(X_VAL, Y_VAL)).max() > 0


def test_a_fit_that_fails_leaves_an_unfitted_estimator():
    clf = classifier(criterion=lambda: Broken())
    before = copy.copy(vars(clf))
    with pytest.raises(UnsupportedCriterionError, match="one loss for each sample"):
        clf.fit(X, Y)
    assert vars(clf) == before


class Broken(nn.Module):
    def forward(self, outputs, targets):
        return outputs.sum()


MONITORS = {
    "EarlyStopping": lambda: [EarlyStopping()],
    "of the accuracy": lambda: [EarlyStopping("valid_acc", lower_is_better=False)],
    "of a score": lambda: [
        ("auc", EpochScoring("roc_auc_ovr", lower_is_better=False, name="auc")),
        EarlyStopping("auc", lower_is_better=False),
    ],
    "Checkpoint": lambda: [Checkpoint(dirname="none")],
    "LRScheduler": lambda: [LRScheduler(ReduceLROnPlateau, monitor="valid_loss")],
}


@pytest.mark.parametrize("monitors", MONITORS)
@pytest.mark.parametrize("record", ["all", None])
def test_a_monitor_of_validation_data_without_any(monitors, record, monkeypatch):
    monkeypatch.setattr(
        SGDInfluenceClassifier, "train_step", lambda *_, **__: pytest.fail("work")
    )
    clf = classifier(callbacks=MONITORS[monitors](), record=record)
    with pytest.raises(ValueError, match="`train_split` must split off validation"):
        clf.fit(X, Y)
    assert not hasattr(clf, "trajectory_")


def test_monitors_that_need_no_validation_data(tmp_path):
    callbacks = [
        EarlyStopping("train_loss"),
        Checkpoint(dirname=tmp_path, monitor="train_loss_best"),
        Checkpoint(dirname=tmp_path, monitor=None),
        LRScheduler(ReduceLROnPlateau, monitor="train_loss"),
        LRScheduler("StepLR", step_size=2, monitor="valid_loss"),
    ]
    assert len(classifier(callbacks=callbacks).fit(X, Y).history) == 3
    split = classifier(train_split=ValidSplit(3), callbacks=[EarlyStopping()])
    assert "valid_loss" in split.fit(X, Y).history[-1]
