"""Bad values are refused before any work, by name, with the demand and the value."""

import re

import pytest

from skinfluence import SGDInfluenceClassifier
from tests.bad_inputs import (
    QUICK,
    TABLE,
    TARGETS,
    UNKNOWN,
    BadInput,
    X,
    Y,
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
    assert re.search(rf"[`'_]?\b{name}\b", message)
    assert re.search(f"(?s){demand}", message)


GENERATED = list(generated(200, seed=1))


@pytest.mark.parametrize("bad", GENERATED, ids=lambda b: f"{b.target}-{b.name}")
def test_generated(bad: BadInput):
    """Each numeric parameter is met about twice."""
    outcome, said = bad.outcome()
    assert outcome == "refused", (bad, said)


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_names_of_components(name):
    clf = SGDInfluenceClassifier(**QUICK, **{name: 1})
    with pytest.raises(ValueError, match=f"`{name}` must .*{UNKNOWN[name]}"):
        clf.fit(X, Y)
