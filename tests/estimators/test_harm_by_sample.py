"""The validation samples that are harmed most, against the matrix of all pairs."""

import numpy as np
import pytest
from skorch.callbacks import Callback, Freezer, GradientNormClipping, Unfreezer
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators import harm_by_sample
from skinfluence.estimators._questions import estimate as parts
from skinfluence.estimators._questions import harm_by_sample as room
from skinfluence.exceptions import DivergedTrainingError
from tests.cases import N_CLASSES, PAIRS, SIDE, Case, rough

pytestmark = rough

# Of double precision: the two ways add up the same terms in another order.
TOLERANCE = 1e-12

SAMPLES = np.array([3, 0, 9, 13])


def compare(clf, *, at="path", samples=SAMPLES, **options):
    """Compare changes of all validation samples with the full matrix; return it."""
    X_val, y_val = Case().validation()
    every = clf.influence(X_val, y_val, at=at, aggregate=None, **options)[samples]
    found = harm_by_sample(clf, samples, X_val, y_val, 7, at=at, **options)
    expected = np.sort(every, axis=1)
    bound = TOLERANCE * np.abs(expected).max()
    np.testing.assert_allclose(found.influence, expected, atol=bound, rtol=0)
    assert found.rows.tolist() == np.argsort(every, axis=1, kind="stable").tolist()
    return every


@pytest.mark.parametrize(("optimizer", "module"), PAIRS[::3])
def test_equals_the_way_back(optimizer, module):
    assert np.abs(compare(Case(module, optimizer, weighted=True).fitted())).max() > 1e-6


class Clip(Callback):
    """Clips as it is told."""

    def __init__(self, clip, **options):
        self.clip, self.options = clip, options

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.clip([p for _, p in named_parameters], **self.options)


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": [GradientNormClipping(0.05)]},
        # Not symmetric, unlike the others.
        {"callbacks": [Clip(clip_grad_norm_, max_norm=0.1, norm_type=1.0)]},
        {"callbacks": [Clip(clip_grad_value_, clip_value=0.02)]},
        {"callbacks": [Freezer("1.*"), Unfreezer("1.*", at=2)]},
        {"optimizer__param_groups": [("1.*", {"lr": 0.01})]},
        {"record": 2},
        {"checkpoint_every": 4},
    ],
    ids=["norm", "norm_1", "value", "frozen", "groups", "last_epochs", "recomputed"],
)
def test_equals_the_way_back_with(options):
    at = "final" if "record" in options else "path"
    compare(Case("mlp", "adam").fitted(**options), at=at)


def test_two_calls_of_fit():
    case = Case("mlp", "momentum")
    X, y, _ = case.data()
    compare(case.fitted().partial_fit(X, y))


def relu() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE * SIDE, 5), nn.ReLU(), nn.Linear(5, N_CLASSES)
    )


@pytest.mark.parametrize("smoothing", [0.2, "auto"])
def test_kinks_are_smoothed(smoothing):
    X, y, _ = Case().data()
    options = {"lr": 0.1, "batch_size": 5, "dtype": "float64", "random_state": 0}
    compare(SGDInfluenceClassifier(relu, **options).fit(X, y), smoothing=smoothing)


@pytest.mark.parametrize("n_samples", [4, 14])
def test_parts_of_the_matrix(n_samples, monkeypatch):
    """Forwards, and, with more samples than validation samples, backwards."""
    clf, samples = Case().fitted(), np.arange(14)[::-1][:n_samples]
    X_val, y_val = Case().validation()
    every = clf.influence(X_val, y_val, aggregate=None)[samples]
    # Room for two rows, or columns, at once.
    monkeypatch.setattr(room, "_BYTES", 2 * 8 * (7 if n_samples == 4 else 14))
    found = harm_by_sample(clf, samples, X_val, y_val, 3)
    assert found.rows.tolist() == np.argsort(every, axis=1)[:, :3].tolist()
    expected = np.sort(every, axis=1)[:, :3]
    np.testing.assert_allclose(found.influence, expected, rtol=1e-9)


def test_memory_of_the_way_bounds_the_parts(monkeypatch):
    clf, (X_val, y_val) = Case().fitted(), Case().validation()
    whole = harm_by_sample(clf, SAMPLES, X_val, y_val, 3)
    taken = []
    monkeypatch.setattr(parts, "_QUERY_BYTES", 1)
    monkeypatch.setattr(
        room,
        "trace_forward",
        lambda *args, trace=room.trace_forward, **kwargs: (
            taken.append(args[4].tolist()) or trace(*args, **kwargs)
        ),
    )
    found = harm_by_sample(clf, SAMPLES, X_val, y_val, 3)
    assert taken == [[3], [0], [9], [13]]
    assert found.rows.tolist() == whole.rows.tolist()


def test_what_overflows_is_refused():
    clf, (X_val, y_val) = Case("linear").fitted(), Case().validation()

    def huge(y_pred, y_true):
        return 1e300 * y_pred.square().sum(1)

    with pytest.raises(DivergedTrainingError, match="overflowed"):
        harm_by_sample(clf, SAMPLES, 1e10 * X_val, y_val, 3, query=huge)
