"""SmoothHinge: against its formula, and as the criterion of a classifier."""

import numpy as np
import pytest
import torch

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators import SmoothHinge
from tests.scorers.problems import binary


@pytest.mark.parametrize("temperature", [1.0, 0.1, 1e-3])
def test_is_the_formula(temperature):
    outputs = torch.randn(20, 2, dtype=torch.float64)
    targets = torch.arange(20) % 2
    s = (outputs[:, 1] - outputs[:, 0]).numpy() * np.where(targets, 1, -1)
    expected = temperature * np.logaddexp(0, (1 - s) / temperature)
    losses = SmoothHinge(temperature, reduction="none")(outputs, targets)
    # torch's softplus is linear where the rest is below exp(-20).
    np.testing.assert_allclose(losses, expected, atol=3e-9 * temperature, rtol=1e-12)
    mean = SmoothHinge(temperature)(outputs, targets)
    assert float(mean) == pytest.approx(expected.mean())
    total = SmoothHinge(temperature, reduction="sum")(outputs, targets)
    assert float(total) == pytest.approx(expected.sum())


def test_comes_near_the_hinge():
    outputs = torch.randn(50, 2, dtype=torch.float64)
    targets = torch.arange(50) % 2
    s = (outputs[:, 1] - outputs[:, 0]) * (2 * targets - 1)
    losses = SmoothHinge(1e-3, reduction="none")(outputs, targets)
    # Furthest away at the kink, by t log 2.
    assert (losses - (1 - s).clamp_min(0)).abs().max() <= 1e-3 * np.log(2)


@pytest.mark.parametrize("labels", [(0, 1), ("no", "yes")])
def test_trains_and_predicts_and_has_influence(labels):
    X, y, X_val, y_val = binary(80)
    y, y_val = np.array(labels)[y], np.array(labels)[y_val]
    clf = SGDInfluenceClassifier(
        "linear",
        criterion=SmoothHinge,
        criterion__temperature=0.5,
        max_epochs=20,
        batch_size=10,
        random_state=0,
    ).fit(X, y)
    outputs = X @ clf.module_.layers[0].weight.detach().numpy().T
    outputs += clf.module_.layers[0].bias.detach().numpy()
    assert np.array_equal(clf.predict(X), np.array(labels)[outputs.argmax(1)])
    # The labels follow the first feature, with noise.
    assert clf.score(X, y) > 0.7
    estimate = clf.influence(X_val, y_val)
    truth = clf.counterfactual_influence(X_val, y_val)
    assert np.corrcoef(estimate, truth)[0, 1] > 0.99


def test_refuses_what_it_cannot_take():
    for temperature in (0, -1.0, np.inf, "hot"):
        with pytest.raises(ValueError, match="`temperature` must be a finite number"):
            SmoothHinge(temperature)
    with pytest.raises(ValueError, match="`reduction` must be 'mean', 'sum' or"):
        SmoothHinge(reduction="max")
    X = np.random.default_rng(0).normal(size=(30, 2))
    clf = SGDInfluenceClassifier("linear", criterion=SmoothHinge)
    with pytest.raises(ValueError, match=r"two outputs .* got \(2, 3\)"):
        clf.fit(X, np.arange(30) % 3)
