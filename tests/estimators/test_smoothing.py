"""The influence with smoothed kinks, against explicit matrices of a small network."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn
from torch.utils.checkpoint import checkpoint

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators._questions.estimate import Estimate, smoothed
from skinfluence.estimators._questions.question import ask
from skinfluence.estimators._questions.stages import stages_of
from skinfluence.exceptions import DivergedTrainingError, UnsupportedModuleError
from skinfluence.scorers import SGDInfluence
from skinfluence.training import SmoothedKinks, TrainingStep
from tests.cases import rough
from tests.oracles import relative_error

# The derivative is exact in rough runs too, however little it foretells.
pytestmark = rough

# Sums taken in another order, in double precision, through the steps of a short run.
ROUNDING = 1e-10

N_FEATURES, N_HIDDEN, N_CLASSES, N, N_VAL = 4, 6, 3, 16, 5
WIDTH, LR = 0.3, 0.2


def data(seed=0, n=N):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, N_FEATURES)), np.arange(n) % N_CLASSES


VALIDATION = data(1, N_VAL)


def relu(**options):
    return nn.Sequential(
        nn.Linear(N_FEATURES, N_HIDDEN), nn.ReLU(), nn.Linear(N_HIDDEN, N_CLASSES)
    )


def classifier(module=relu, **options):
    options = {"lr": LR, "max_epochs": 4, "batch_size": 5, **options}
    options = {"dtype": "float64", "random_state": 0, **options}
    return SGDInfluenceClassifier(module, **options)


def fitted(module=relu, **options):
    return classifier(module, **options).fit(*data())


# --- the oracle: tangents, forwards, from explicit matrices --------------------------


def unpacked(flat):
    """Return W (d, h), b, V (h, k), c from torch's order."""
    d, h, k = N_FEATURES, N_HIDDEN, N_CLASSES
    W, b, V, c = np.split(flat, np.cumsum([d * h, h, h * k]))
    return W.reshape(h, d).T, b, V.reshape(k, h).T, c


def packed(W, b, V, c):
    return np.concatenate([W.T.ravel(), b, V.T.ravel(), c])


def softmax(o):
    p = np.exp(o - o.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def gradient(flat, X, targets, weights):
    """Return the gradient of the sum of weighted cross-entropies."""
    W, b, V, c = unpacked(flat)
    z = X @ W + b
    a, mask = np.maximum(z, 0), z > 0
    D = weights[:, None] * (softmax(a @ V + c) - targets)
    G = (D @ V.T) * mask
    return packed(X.T @ G, G.sum(0), a.T @ D, D.sum(0))


def gradient_tangent(flat, tangent, X, targets, weights, width):
    """Return its derivative along a tangent, where the mask is a normal CDF."""
    W, b, V, c = unpacked(flat)
    dW, db, dV, dc = unpacked(tangent)
    z = X @ W + b
    h = width * z.std()
    a, mask = np.maximum(z, 0), z > 0
    dz = X @ dW + db
    dmask = norm.pdf(z / h) / h * dz if width else 0 * dz
    da = mask * dz
    p = softmax(a @ V + c)
    do = da @ V + a @ dV + dc
    D = weights[:, None] * (p - targets)
    dD = weights[:, None] * p * (do - (p * do).sum(axis=1, keepdims=True))
    dG = (dD @ V.T + D @ dV.T) * mask + (D @ V.T) * dmask
    return packed(X.T @ dG, dG.sum(0), da.T @ D + a.T @ dD, dD.sum(0))


def one_hot(y):
    return np.eye(N_CLASSES)[y]


def carried(clf, X, y, tangents, width, pushes=None):
    """Carry a tangent for each row of `tangents` through the clf's plain SGD run.

    `pushes` are the changes of the samples' gradients: (n_tangents, n, n_classes)
    changes of the targets and (n_tangents, n) of the weights.
    """
    flat = clf.trajectory_.state(0).parameters.numpy()
    for record in clf.trajectory_.records:
        parts = record.micro_batches()
        moved, ahead = tangents.copy(), flat.copy()
        for batch in parts:
            rows = batch.rows.numpy()
            share = np.full(len(rows), 1 / len(rows) / len(parts))
            targets = one_hot(y[rows])
            ahead -= LR * gradient(flat, X[rows], targets, share)
            for k, tangent in enumerate(tangents):
                change = gradient_tangent(flat, tangent, X[rows], targets, share, width)
                if pushes is not None:
                    dt, dw = pushes[0][k][rows], pushes[1][k][rows]
                    change += gradient(flat, X[rows], targets, dw * share)
                    change += gradient(flat, X[rows], targets + dt, share)
                    change -= gradient(flat, X[rows], targets, share)
                moved[k] -= LR * change
        tangents, flat = moved, ahead
    return tangents


def query_slope(clf, X, y):
    trajectory = clf.trajectory_
    flat = trajectory.state(trajectory.n_steps).parameters.numpy()
    return gradient(flat, X, one_hot(y), np.full(len(y), 1 / len(y)))


def expected_influence(clf, width):
    X, y = data()
    pushes = np.zeros((N, N, N_CLASSES)), -np.eye(N)
    start = np.zeros((N, clf.trajectory_.state(0).parameters.numel()))
    return carried(clf, X, y, start, width, pushes) @ query_slope(clf, *VALIDATION)


@pytest.mark.parametrize("width", [0.0, 0.1, WIDTH, 2.0])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"accumulate_steps": 2},
        {"checkpoint_every": 3},
    ],
    ids=["plain", "accumulated", "replayed"],
)
def test_the_derivative_where_the_mask_is_a_normal_distribution(options, width):
    clf = fitted(**options)
    found = clf.influence(*VALIDATION, smoothing=width)
    expected = expected_influence(clf, width)
    assert relative_error(found, expected) <= ROUNDING
    # The oracle tells widths apart.
    assert relative_error(found, expected_influence(clf, 1.2 * width + 0.1)) > 1e-4


def test_other_labels():
    X, y = data()
    clf = fitted()
    found = clf.label_influence(*VALIDATION, smoothing=WIDTH)
    slope = query_slope(clf, *VALIDATION)
    start = np.zeros((N, clf.trajectory_.state(0).parameters.numel()))
    for label in range(N_CLASSES):
        targets = np.zeros((N, N, N_CLASSES))
        targets[np.arange(N), np.arange(N)] = one_hot(np.full(N, label)) - one_hot(y)
        ends = carried(clf, X, y, start, WIDTH, (targets, np.zeros((N, N))))
        assert relative_error(found[:, label], ends @ slope) <= ROUNDING


def test_an_earlier_stage():
    first = fitted()
    X, y = data(2)
    second = classifier(pretrained=first, max_epochs=2).fit(X, y)
    found = second.influence(*VALIDATION, stage="pretraining", smoothing=WIDTH)
    pushes = np.zeros((N, N, N_CLASSES)), -np.eye(N)
    start = np.zeros((N, first.trajectory_.state(0).parameters.numel()))
    between = carried(first, *data(), start, WIDTH, pushes)
    ends = carried(second, X, y, between, WIDTH)
    assert relative_error(found, ends @ query_slope(second, *VALIDATION)) <= ROUNDING


def test_single_queries_and_epochs_add_up():
    clf = fitted()
    whole = clf.influence(*VALIDATION, smoothing=WIDTH)
    columns = clf.influence(*VALIDATION, aggregate=None, smoothing=WIDTH)
    assert columns.shape == (N, N_VAL)
    assert relative_error(columns.mean(axis=1), whole) <= ROUNDING
    for j in range(N_VAL):
        alone = [part[j : j + 1] for part in VALIDATION]
        expected = clf.influence(*alone, smoothing=WIDTH)
        assert relative_error(columns[:, j], expected) <= ROUNDING
    epochs = clf.influence_by_epoch(*VALIDATION, smoothing=WIDTH)
    assert relative_error(epochs.sum(axis=1), whole) <= ROUNDING


def test_compiled_runs_are_differentiated_eagerly():
    clf = fitted()
    expected = clf.influence(*VALIDATION, smoothing=WIDTH)
    clf.compile = True
    found = clf.influence(*VALIDATION, smoothing=WIDTH)
    assert relative_error(found, expected) <= ROUNDING


def test_targets_of_a_loss_with_a_kink():
    """The derivative of a linear model's gradient, one step, in closed form."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(N, N_FEATURES)), rng.normal(size=N)
    reg = SGDInfluenceRegressor(
        "linear",
        criterion=nn.L1Loss,
        lr=LR,
        max_epochs=1,
        batch_size=N,
        dtype="float64",
        random_state=0,
    ).fit(X, y)
    X_val, y_val = X[:5] + 1, y[:5]
    found = reg.target_influence(
        X_val, y_val, query=lambda o, t: (o - t).reshape(-1) ** 2, smoothing=WIDTH
    )
    before, after = (reg.trajectory_.state(k).parameters.numpy() for k in (0, 1))
    inputs, inputs_val = (np.c_[part, np.ones(len(part))] for part in (X, X_val))
    slope = 2 * (inputs_val @ after - y_val) @ inputs_val / len(y_val)
    residuals = inputs @ before - y
    h = WIDTH * residuals.std()
    # The gradient is the mean of sign(r) x, and r = x θ - y: sign' is 2 normal.pdf.
    expected = LR / N * (inputs @ slope) * 2 * norm.pdf(residuals / h) / h
    assert relative_error(found, expected) <= ROUNDING
    assert not reg.target_influence(X_val, y_val).any()  # a sign has no derivative


def test_half_precision_is_smoothed_in_the_wider_one():
    class Frozen(nn.Module):
        def __init__(self, dtype):
            super().__init__()
            torch.manual_seed(0)
            base = torch.randn(N_HIDDEN, N_FEATURES).bfloat16().to(dtype)
            self.register_buffer("base", base)
            self.middle = nn.Linear(N_HIDDEN, N_HIDDEN)
            self.head = nn.Linear(N_HIDDEN, N_CLASSES)

        def forward(self, X):
            # Of powers of two, no product or sum is rounded.
            hidden = X.to(self.base.dtype) @ self.base.T.sign()
            return self.head(torch.relu(self.middle(hidden.float())))

    X, y = data()
    X = np.sign(X).astype(np.float32)
    found = {}
    for dtype in (torch.bfloat16, torch.float32):
        clf = classifier(Frozen, module__dtype=dtype, dtype="auto").fit(X, y)
        assert clf.trajectory_.state(0).parameters.dtype is torch.float32
        found[dtype] = clf.influence(X[:5], y[:5], smoothing=WIDTH)
        assert relative_error(found[dtype], clf.influence(X[:5], y[:5])) > 1e-3
    # Single precision, through a few steps.
    assert relative_error(*found.values()) <= 1e-4


class Checkpointed(nn.Module):
    """The same network, which computes its activations again on the way back."""

    def __init__(self):
        super().__init__()
        self.layers = relu()

    def forward(self, X):
        return checkpoint(self.layers, X, use_reentrant=False)


def test_checkpointed_activations_are_refused():
    clf = fitted(Checkpointed, lr=1.0, max_epochs=20)  # which grows: "auto" smooths it
    clf.influence(*VALIDATION)
    for smoothing in (WIDTH, "auto"):
        with pytest.raises(UnsupportedModuleError, match="`smoothing` must be None"):
            clf.influence(*VALIDATION, smoothing=smoothing)


# --- what stays as it is -------------------------------------------------------------


def test_the_run_is_the_recorded_one_to_the_bit():
    clf = fitted()
    asked = ask(clf, *VALIDATION, None, "loss", "final", None)
    (stage,), _ = stages_of(clf, asked)
    smooth = TrainingStep(stage.back.objective, stage.back.live, SmoothedKinks(WIDTH))
    records = clf.trajectory_.records
    adjoint = {"parameters": torch.ones(smooth.live.layout.size).double()}
    for record in records:
        state = clf.trajectory_.state(record.step)
        plain = stage.back.backward(state, record, adjoint)
        found = smooth.backward(state, record, adjoint)
        assert torch.equal(plain.loss, found.loss)
        assert torch.equal(plain.gradient, found.gradient)
        assert torch.equal(plain.slopes, found.slopes)
        assert not torch.equal(plain.adjoint["parameters"], found.adjoint["parameters"])


def test_no_width_is_the_exact_derivative_to_the_bit():
    clf = fitted()
    expected = clf.influence(*VALIDATION)
    for smoothing in (None, 0, 0.0):
        found = clf.influence(*VALIDATION, smoothing=smoothing)
        assert np.array_equal(found, expected)


def tanh():
    return nn.Sequential(
        nn.Linear(N_FEATURES, N_HIDDEN), nn.Tanh(), nn.Linear(N_HIDDEN, N_CLASSES)
    )


def test_smooth_modules_are_left_alone_with_a_warning():
    clf = fitted(tanh)
    expected = clf.influence(*VALIDATION)
    with pytest.warns(UserWarning, match="`smoothing` .* changed nothing") as warned:
        found = clf.influence(*VALIDATION, smoothing=0.1)
    assert warned[0].filename == __file__
    assert np.array_equal(found, expected)
    assert np.array_equal(clf.influence(*VALIDATION, smoothing="auto"), expected)


# --- which width ---------------------------------------------------------------------


def at_widths(growths, seen=True):
    """Return a function that gives estimates of the widths' growths, and a record."""
    asked = []

    def estimate(kinks):
        width = 0.0 if kinks is None else kinks.width
        asked.append(width)
        if kinks is not None:
            kinks.seen = seen
        if growths[width] is None:
            raise DivergedTrainingError("overflow")
        return Estimate(np.array([width]), growths[width])

    return estimate, asked


@pytest.mark.parametrize(
    ("growths", "chosen"),
    [
        ((12.0, 3.2, 1.1, 0.97, 1.2), 0.2),
        ((12.0, 3.2, 1.1, 0.97, 1.01), 0.4),  # within 5 %
        ((1.2, 15.0, 2.5, 1.9, 1.7), 0.4),  # the exact way leaves something out
        ((1.2, 15.0, 2.5, 1.9, 1.9), 0.0),
        ((1.2, 1.2, 1.2, 1.2, 1.2), 0.4),
        ((None, 3.0, 2.0, None, 4.0), 0.1),
        ((2.0, None, None, None, None), 0.0),
    ],
)
def test_auto_chooses_by_the_growth(growths, chosen):
    estimate, asked = at_widths(
        dict(zip((0.0, 0.05, 0.1, 0.2, 0.4), growths, strict=True))
    )
    assert smoothed("auto", estimate).scores == chosen
    assert len(asked) == 5


def test_auto_is_exact_where_nothing_grows():
    estimate, asked = at_widths({0.0: 1.04})
    assert smoothed("auto", estimate).scores == 0.0
    assert asked == [0.0]


def test_auto_fails_where_every_width_overflows():
    estimate, _ = at_widths(dict.fromkeys((0.0, 0.05, 0.1, 0.2, 0.4)))
    with pytest.raises(DivergedTrainingError):
        smoothed("auto", estimate)


def test_auto_stops_where_there_is_no_kink():
    growths = dict.fromkeys((0.0, 0.05, 0.1, 0.2, 0.4), 2.0)
    estimate, asked = at_widths(growths, seen=False)
    assert smoothed("auto", estimate).scores == 0.0
    assert asked == [0.0, 0.4]


@pytest.mark.slow
def test_auto_returns_the_result_of_a_width():
    clf = fitted(lr=1.0, max_epochs=20)
    found = clf.influence(*VALIDATION, smoothing="auto")
    of_widths = {
        width: clf.influence(*VALIDATION, smoothing=width)
        for width in (0.0, 0.05, 0.1, 0.2, 0.4)
    }
    equal = [w for w, each in of_widths.items() if np.array_equal(each, found)]
    assert len(equal) == 1
    by_label = clf.label_influence(*VALIDATION, smoothing="auto")
    expected = clf.label_influence(*VALIDATION, smoothing=equal[0])
    assert np.array_equal(by_label, expected)


# --- where it is passed on -----------------------------------------------------------


def test_the_check_and_the_scorer():
    X, y = data()
    clf = fitted()
    expected = clf.influence(*VALIDATION, smoothing=WIDTH)
    check = clf.check_influence(*VALIDATION, N, smoothing=WIDTH, random_state=0)
    assert np.array_equal(check.estimated, expected[check.samples])
    scorer = SGDInfluence("final", smoothing=WIDTH)
    assert np.array_equal(scorer(clf, X, y, *VALIDATION), expected)
    by_label = scorer.by_label(clf, X, y, *VALIDATION)
    assert np.array_equal(by_label, clf.label_influence(*VALIDATION, smoothing=WIDTH))


@pytest.mark.parametrize(
    "smoothing", [-0.1, np.nan, np.inf, True, np.True_, "best", [0.1], 1j]
)
def test_no_width(smoothing):
    clf = fitted()
    questions = (
        clf.influence,
        clf.influence_by_epoch,
        clf.label_influence,
        clf.check_influence,
    )
    # Before the validation data is looked at.
    for question in questions:
        with pytest.raises(ValueError, match="`smoothing` must be None, 'auto' or"):
            question(None, None, smoothing=smoothing)
    with pytest.raises(ValueError, match="`smoothing` must be"):
        SGDInfluence(smoothing=smoothing).check_estimator(classifier())
