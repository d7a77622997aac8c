"""SmoothHinge, and losses under every label: against their formulas and torch."""

import numpy as np
import pytest
import torch
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators import SmoothHinge
from skinfluence.estimators._criteria import losses_by_label
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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "criterion",
    [
        nn.CrossEntropyLoss(reduction="none"),
        nn.CrossEntropyLoss(torch.tensor([0.5, 2.0, 1.0, 0.0]), reduction="none"),
        nn.CrossEntropyLoss(reduction="none", label_smoothing=0.2),
        nn.CrossEntropyLoss(
            torch.tensor([0.5, 2.0, 1.0, 3.0]), reduction="none", label_smoothing=0.2
        ),
        nn.CrossEntropyLoss(reduction="none", ignore_index=2),
        nn.CrossEntropyLoss(reduction="none", ignore_index=2, label_smoothing=0.1),
    ],
    ids=["plain", "weights", "smoothing", "both", "ignored", "ignored, smoothed"],
)
def test_losses_by_label_are_the_criterions(criterion):
    outputs = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    every = losses_by_label(criterion, outputs)
    for label in range(4):
        losses = criterion(outputs, torch.full((7,), label))
        # Both take the same logarithms; what follows are a few roundings.
        torch.testing.assert_close(every[:, label], losses, rtol=1e-6, atol=1e-7)


def test_losses_by_label_of_probabilities():
    X, y = np.random.default_rng(0).normal(size=(9, 3)).astype("f4"), np.arange(9) % 3
    module = nn.Sequential(nn.Linear(3, 3), nn.Softmax(dim=1))
    options = {"criterion": nn.NLLLoss, "max_epochs": 2, "random_state": 0}
    clf = SGDInfluenceClassifier(module, **options).fit(X, y)
    outputs = clf.forward(X)
    every = losses_by_label(clf.criterion_, outputs)
    for label in range(3):
        losses = clf.get_losses(outputs, torch.full((9,), label))
        torch.testing.assert_close(every[:, label], losses, rtol=1e-6, atol=1e-7)

    class Repeated(SGDInfluenceClassifier):
        """Has losses of its own, which are computed for each label."""

        def get_losses(self, y_pred, y_true, X=None, training=False):
            return super().get_losses(y_pred, y_true, X=X, training=training)

    other = Repeated(module, **options).fit(X, y)
    scores = clf.label_influence(X, y)
    np.testing.assert_allclose(
        other.label_influence(X, y), scores, rtol=1e-4, atol=1e-7
    )


def test_there_is_no_formula_for_every_criterion():
    outputs = torch.zeros(2, 3)
    assert losses_by_label(nn.MultiMarginLoss(reduction="none"), outputs) is None
    assert losses_by_label(nn.CrossEntropyLoss(), torch.zeros(2, 3, 4)) is None
