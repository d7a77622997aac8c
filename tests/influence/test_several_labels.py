"""Several labels or numbers for each sample, against finite differences of training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from tests.cases import MODULES, N_CLASSES, N_SAMPLES, OPTIMIZERS, Case, rough
from tests.influence.test_labels import derivatives
from tests.oracles import Spy, finite_differences, relative_error, retrain, rows_of

# The derivative is exact in rough runs too, however little it foretells.
pytestmark = rough

# The oracle's own error is about 1e-8 or less (double precision); the bound is the
# accuracy that the library promises.
TOLERANCE = 1e-6

all_cases = pytest.mark.parametrize(
    "case",
    [
        *(Case(module, "momentum") for module in MODULES),
        *(Case("mlp", optimizer, weighted=True) for optimizer in OPTIMIZERS),
    ],
    ids=lambda case: f"{case.module}-{case.optimizer}",
)


def binary_losses(outputs, targets):
    """Return the binary cross-entropies from their definition, the mean of a row."""
    log = nn.functional.logsigmoid
    return -(targets * log(outputs) + (1 - targets) * log(-outputs)).mean(1)


def squared_losses(outputs, targets):
    return ((outputs - targets) ** 2).mean(1)


def wrong_share(outputs, targets):
    """Return the share of labels that are expected to be wrong."""
    return (torch.sigmoid(outputs) - targets).abs().mean(1)


def indicators(n_samples, seed=2):
    """Return rows of labels: none, one, several and all."""
    return np.random.default_rng(seed).integers(0, 2, size=(n_samples, N_CLASSES))


def mean_of(measure, X_val, y_val):
    """Return what takes a measure's mean on the last of a run's models."""

    def value(ends, base):
        # The running statistics of norms are those of the run itself.
        for mine, its in zip(ends[-1].buffers(), base[-1].buffers(), strict=True):
            mine.copy_(its)
        with torch.no_grad():
            outputs = ends[-1].eval()(torch.from_numpy(X_val))
            return float(measure(outputs, torch.from_numpy(1.0 * y_val)).mean())

    return value


def fitted(case, estimator, y):
    """Return X, what repeats the run of an estimator, and how, after fitting it."""
    X, _, sample_weight = case.data()
    spy = Spy()
    estimator.set_params(callbacks=[spy]).fit(X, y, sample_weight=sample_weight)
    seeds = [record.seed or 0 for record in estimator.trajectory_.records]
    return X, spy.run, {"seeds": seeds, "sample_weight": sample_weight}


def in_samples(case, estimator, y, losses, measure, y_val):
    """Return minus the derivatives of a measure in the samples' weights."""
    X, run, options = fitted(case, estimator, y)
    value = mean_of(measure, case.validation()[0], y_val)
    expected = finite_differences(run, X, value, loss=losses, **options)
    assert np.abs(expected).max() > 1e-6
    return expected


@all_cases
def test_influence_of_samples_with_several_labels(case):
    y, y_val = indicators(N_SAMPLES), indicators(7, 3)
    clf = case.classifier(max_epochs=2)
    expected = in_samples(case, clf, y, binary_losses, binary_losses, y_val)
    found = clf.influence(case.validation()[0], y_val)
    assert relative_error(found, expected) <= TOLERANCE


def test_influence_on_the_expected_error():
    case = Case("mlp", "adam", weighted=True)
    y, y_val = indicators(N_SAMPLES), indicators(7, 3)
    clf = case.classifier()
    expected = in_samples(case, clf, y, binary_losses, wrong_share, y_val)
    found = clf.influence(case.validation()[0], y_val, query="error")
    assert relative_error(found, expected) <= TOLERANCE


def test_influence_with_weights_of_the_labels():
    case = Case("mlp", "momentum")
    weights = torch.tensor([2.0, 0.5, 3.0], dtype=torch.float64)
    clf = case.classifier(criterion__pos_weight=weights)

    def losses(outputs, targets):
        log = nn.functional.logsigmoid
        own = weights * targets * log(outputs) + (1 - targets) * log(-outputs)
        return -own.mean(1)

    y, y_val = indicators(N_SAMPLES), indicators(7, 3)
    expected = in_samples(case, clf, y, losses, losses, y_val)
    found = clf.influence(case.validation()[0], y_val)
    assert relative_error(found, expected) <= TOLERANCE


@all_cases
def test_influence_of_samples_with_several_numbers(case):
    rng = np.random.default_rng(2)
    y, y_val = rng.normal(size=(N_SAMPLES, N_CLASSES)), rng.normal(size=(7, N_CLASSES))
    left_out = ("criterion", "class_weight", "classes")
    options = case.classifier(max_epochs=2).get_params(deep=False)
    reg = SGDInfluenceRegressor(
        **{k: v for k, v in options.items() if k not in left_out}
    )
    expected = in_samples(case, reg, y, squared_losses, squared_losses, y_val)
    found = reg.influence(case.validation()[0], y_val)
    assert relative_error(found, expected) <= TOLERANCE


@all_cases
def test_influence_of_toggling_one_label(case):
    y, y_val = indicators(N_SAMPLES), indicators(7, 3)
    clf = case.classifier(max_epochs=2)
    X, run, options = fitted(case, clf, y)
    options["loss"] = binary_losses
    base = retrain(run, X, np.ones(N_SAMPLES), **options)
    value = mean_of(binary_losses, case.validation()[0], y_val)
    pairs = [(i, c) for i in range(0, N_SAMPLES, 2) for c in range(N_CLASSES)]
    directions = np.zeros((len(pairs), *y.shape))
    for direction, pair in zip(directions, pairs, strict=True):
        direction[pair] = 1 - 2 * y[pair]  # the loss is linear in the labels
    expected = derivatives(
        run, X, 1.0 * y, directions, lambda ends: value(ends, base), **options
    )
    found = clf.label_influence(case.validation()[0], y_val)
    assert found.shape == y.shape
    assert np.abs(expected).max() > 1e-6
    assert relative_error(np.array([found[p] for p in pairs]), expected) <= TOLERANCE


def test_exact_changes_of_toggled_labels_are_those_of_retraining():
    case = Case("mlp", "momentum", weighted=True)
    y, y_val = indicators(N_SAMPLES), indicators(7, 3)
    X_val, _ = case.validation()
    clf = case.classifier()
    X, run, options = fitted(case, clf, y)
    value = mean_of(binary_losses, X_val, y_val)
    ones = np.ones(N_SAMPLES)
    base = retrain(run, X, ones, loss=binary_losses, **options)
    found = clf.counterfactual_influence(X_val, y_val, [5, 2], labels="all")
    assert found.shape == (2, N_CLASSES)
    for row, sample in zip(found, [5, 2], strict=True):
        for label, change in enumerate(row):
            own = 1.0 * y
            own[sample, label] = 1 - own[sample, label]
            batches = [
                (x, torch.from_numpy(own[rows_of(x, X)])) for x, _ in run.batches
            ]
            moved = retrain(
                replace(run, batches=batches), X, ones, loss=binary_losses, **options
            )
            exact = value(moved, base) - value(base, base)
            assert change == pytest.approx(exact, rel=1e-9, abs=1e-14)
            (given,) = clf.counterfactual_influence(
                X_val, y_val, [sample], labels=[own[sample]]
            )
            assert given == pytest.approx(exact, rel=1e-9, abs=1e-14)


def in_targets(case, estimator, y, parts, y_val):
    """Return minus the derivatives of the loss in the weights of single targets."""
    X, run, options = fitted(case, estimator, y)
    X_val, _ = case.validation()
    base = retrain(run, X, np.ones(N_SAMPLES), loss=total(parts), **options)
    value = mean_of(total(parts), X_val, y_val)

    def moved(change):
        own = torch.from_numpy(1 + change)

        def losses(outputs, targets):
            # Rows are told by their inputs, in the order in which they are asked for.
            return (parts(outputs, targets) * own[next(rows)]).sum(1)

        rows = iter([rows_of(x, X) for x, _ in run.batches])
        return value(retrain(run, X, np.ones(N_SAMPLES), loss=losses, **options), base)

    slopes, step = np.zeros(y.shape), 2e-6
    for place in np.ndindex(*y.shape):
        change = np.zeros(y.shape)
        change[place] = step
        slopes[place] = (moved(-change) - moved(change)) / (2 * step)
    return slopes


def total(parts):
    return lambda outputs, targets: parts(outputs, targets).sum(1)


def binary_parts(outputs, targets):
    log = nn.functional.logsigmoid
    each = targets * log(outputs) + (1 - targets) * log(-outputs)
    return -each / targets.shape[1]


@pytest.mark.parametrize(
    "case",
    [
        Case("batch_norm", "momentum"),
        Case("dropout", "sgd"),
        Case("mlp", "adam", weighted=True),
    ],
    ids=lambda case: case.module,
)
def test_influence_of_each_label_of_a_sample(case):
    y, y_val = indicators(N_SAMPLES), indicators(7, 3)
    clf = case.classifier(max_epochs=2)
    expected = in_targets(case, clf, y, binary_parts, y_val)
    found = clf.influence_by_target(case.validation()[0], y_val)
    assert found.shape == y.shape
    assert relative_error(found, expected) <= TOLERANCE
    # The same derivative by another sum: rounding in double precision.
    whole = clf.influence(case.validation()[0], y_val)
    assert relative_error(found.sum(1), whole) < 1e-10


def test_influence_of_each_number_of_a_sample():
    case, rng = Case("mlp", "momentum"), np.random.default_rng(2)
    y, y_val = rng.normal(size=(N_SAMPLES, N_CLASSES)), rng.normal(size=(7, N_CLASSES))
    reg = SGDInfluenceRegressor(
        MODULES["mlp"],
        lr=0.1,
        max_epochs=2,
        batch_size=5,
        dtype="float64",
        random_state=0,
    )

    def parts(outputs, targets):
        return (outputs - targets) ** 2 / targets.shape[1]

    expected = in_targets(case, reg, y, parts, y_val)
    found = reg.influence_by_target(case.validation()[0], y_val)
    assert relative_error(found, expected) <= TOLERANCE


LENGTH, NONE = 4, -100


class Tagger(nn.Module):
    """A class for each place of a sample, from all places."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(LENGTH, 6), nn.Tanh())
        self.head = nn.Linear(6, LENGTH * 2)

    def forward(self, X):
        return self.head(self.body(X)).unflatten(1, (2, LENGTH))


def sequences(n_samples, seed):
    """Return samples, and labels of their places, some of which stand for none."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, N_CLASSES, size=(n_samples, LENGTH))
    y[0] = 2  # none at all
    return rng.normal(size=(n_samples, LENGTH)), np.where(y == 2, NONE, y + 5)


def token_parts(outputs, targets):
    """Return the parts of the places in the mean over those that have a label."""
    logs = outputs.log_softmax(1)
    right = logs.gather(1, targets.clamp_min(0)[:, None])[:, 0]
    counted = targets >= 0
    return torch.where(counted, -right, 0.0) / counted.sum(1, keepdim=True).clamp_min(1)


@pytest.mark.filterwarnings("ignore:Some targets are CrossEntropyLoss's ignore_index")
def test_influence_of_each_label_in_a_sequence():
    X, y = sequences(10, 0)
    X_val, y_val = sequences(6, 1)
    clf = SGDInfluenceClassifier(
        Tagger, lr=0.3, max_epochs=2, batch_size=4, dtype="float64", random_state=0
    )
    spy = Spy()
    clf.set_params(callbacks=[spy]).fit(X, y)
    assert clf.classes_.tolist() == [5, 6]
    seeds = [record.seed or 0 for record in clf.trajectory_.records]
    codes_val = np.where(y_val == NONE, NONE, y_val - 5)

    def trained(weights):
        rows = iter([rows_of(x, X) for x, _ in spy.run.batches])
        own = torch.from_numpy(weights)

        def losses(outputs, targets):
            return (token_parts(outputs, targets) * own[next(rows)]).sum(1)

        ends = retrain(spy.run, X, np.ones(len(X)), seeds=seeds, loss=losses)
        return ends[-1].eval()

    def value(module):
        with torch.no_grad():
            outputs = module(torch.from_numpy(X_val))
            return float(
                token_parts(outputs, torch.from_numpy(codes_val)).sum(1).mean()
            )

    plain = trained(np.ones(y.shape))
    for mine, its in zip(clf.module_.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-12, atol=1e-14)
    expected, step = np.zeros(y.shape), 2e-6
    for place in np.ndindex(*y.shape):
        shift = np.zeros(y.shape)
        shift[place] = step
        pair = (value(trained(1 + sign * shift)) for sign in (-1, 1))
        expected[place] = np.subtract(*pair) / (2 * step)
    found = clf.influence_by_target(X_val, y_val)
    assert relative_error(found, expected) <= TOLERANCE
    assert (found[y == NONE] == 0).all()
    assert relative_error(found.sum(1), clf.influence(X_val, y_val)) < 1e-10
    with torch.no_grad():
        expected = plain(torch.from_numpy(X_val)).softmax(1).numpy()
    np.testing.assert_allclose(clf.predict_proba(X_val), expected, rtol=1e-9)
    np.testing.assert_array_equal(clf.predict(X_val), 5 + expected.argmax(1))
