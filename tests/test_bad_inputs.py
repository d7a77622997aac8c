"""Bad values are refused before any work, by name, with the demand and the value."""

import inspect
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import skinfluence
from skinfluence import (
    SGDInfluenceClassifier,
    cleaning,
    datasets,
    estimators,
    inspection,
    metrics,
    queries,
    scorers,
)
from tests.bad_inputs import (
    NUMBERS,
    QUICK,
    TABLE,
    TARGETS,
    UNKNOWN,
    VAL,
    BadInput,
    Worked,
    X,
    Y,
    fitted,
    generated,
    no_training,
)


@pytest.fixture(autouse=True, scope="module")
def untrained():
    with no_training():
        yield


@pytest.mark.parametrize(
    ("target", "name", "value", "demand"),
    TABLE,
    ids=[f"{target}-{name}-{k}" for k, (target, name, *_) in enumerate(TABLE)],
)
def test_the_table(target, name, value, demand):
    with pytest.raises((ValueError, TypeError)) as caught:
        TARGETS[target](**{name: value})
    message = str(caught.value)
    assert re.search(rf"\b{name}\b", message)
    assert re.search(f"(?s){demand}", message)


GENERATED = list(generated(200, seed=1))


@pytest.mark.parametrize("bad", GENERATED, ids=lambda b: f"{b.target}-{b.name}")
def test_generated(bad: BadInput):
    """Each numeric parameter is met about twice."""
    outcome, said = bad.outcome()
    assert outcome == "refused", (bad, said)


ROOMS = (
    *(skinfluence, cleaning, datasets, estimators, inspection, metrics, queries),
    scorers,
)
# Without a number as their default.
NUMERIC = {"random_state", "n_jobs", "last_epochs", "n_subsets", "stage"}
# Counts or fractions, and folds or splitters: in the table alone.
BY_HAND = {"n_remove", "cv", "min_rows", "max_rows"}
# What the library makes itself.
RESULTS = {"Trajectory", "InfluenceCheck"}


def numeric_parameters(function):
    for name, parameter in inspect.signature(function).parameters.items():
        number = isinstance(parameter.default, (int, float))
        if name in NUMERIC or (number and not isinstance(parameter.default, bool)):
            yield name


def public_callables():
    """Yield all public functions and classes, and the methods of these, by name."""
    for room in ROOMS:
        for name in set(room.__all__) - RESULTS:
            found = getattr(room, name)
            if callable(found):
                yield name, name, found
            if not inspect.isclass(found):
                continue
            for method in dir(found):
                own = None if method[0] == "_" else getattr(found, method, None)
                if getattr(own, "__module__", "").startswith("skinfluence"):
                    yield name, method, own


def test_every_numeric_parameter_is_met():
    missing = {
        (name, method, each)
        for name, method, function in public_callables()
        for each in numeric_parameters(function)
        if each not in {*NUMBERS.get(name, ()), *NUMBERS.get(method, ()), *BY_HAND}
    }
    assert not missing


# Their arithmetic wraps around: -np.uint8(2) is 254, and np.int8(100) + 100 is not 200.
NUMPY = (np.uint8, np.int64)


@pytest.mark.parametrize("kind", NUMPY)
def test_numpys_integers_are_integers(kind):
    first, second = X[:, 0], X[:, 1]
    expected = metrics.jaccard_extremes(first, second, k=3)
    assert metrics.jaccard_extremes(first, second, k=kind(3)) == expected
    changes = [
        fitted().counterfactual_influence(*VAL, [0, 1, 2], n_jobs=n_jobs)
        for n_jobs in (1, kind(1))
    ]
    np.testing.assert_array_equal(*changes)


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_names_of_components(name):
    clf = SGDInfluenceClassifier(**QUICK, **{name: 1})
    with pytest.raises(ValueError, match=f"`{name}` must .*{UNKNOWN[name]}"):
        clf.fit(X, Y)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"criterion": nn.CrossEntropyLoss(label_smoothing=-0.1)},
            "`criterion__label_smoothing` must be from 0 to 1, got -0.1",
        ),
        (
            {"optimizer__param_groups": [("*weight*", {"lr": np.nan})]},
            "`optimizer__lr` must be a finite int or float, got nan",
        ),
        (
            {"optimizer": torch.optim.Rprop, "optimizer__etas": (Decimal("0.5"), 1.2)},
            "`optimizer__etas` must be finite, got .*Decimal",
        ),
    ],
)
def test_options_are_looked_at_in_what_was_made(options, said):
    with pytest.raises(ValueError, match=said):
        SGDInfluenceClassifier(**QUICK, **options).fit(X, Y)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer__momentum": np.float32(0.9), "optimizer__nesterov": np.True_},
        {"optimizer__weight_decay": np.int64(1), "lr": np.float16(0.1)},
        {"optimizer__momentum": torch.tensor(0.9), "lr": torch.tensor(0.1)},
        {"optimizer": torch.optim.Adam, "optimizer__betas": [0.9, 0.99]},
        {"optimizer": torch.optim.Adafactor, "record": None},
        {"optimizer": torch.optim.RMSprop, "optimizer__eps": 1},
        {"criterion__label_smoothing": np.float64(1), "criterion__ignore_index": -1},
        {"criterion__weight": torch.ones(2), "criterion__reduction": "none"},
        {"shuffle": np.False_, "trajectory_dir": Path("runs")},
    ],
)
def test_valid_values_are_taken(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Worked):
        SGDInfluenceClassifier(**{**QUICK, **options}).fit(X, Y)
