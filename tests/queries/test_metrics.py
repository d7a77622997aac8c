"""The metrics against scikit-learn and formulas written apart, on drawn outputs."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    mean_pinball_loss,
    r2_score,
    roc_auc_score,
)

from skinfluence import queries

ROUNDING = 1e-12


def drawn(n_classes, n=60, *, ties=False):
    """Return log-probabilities and labels, as numpy arrays."""
    rng = np.random.default_rng(n_classes)
    y = rng.permutation(np.arange(n) % n_classes)
    scores = rng.normal(size=(n, n_classes)) + 1.5 * np.eye(n_classes)[y]
    scores = np.round(scores) if ties else scores
    return scores - np.log(np.exp(scores).sum(1, keepdims=True)), y


def found(function, values, targets):
    return float(function(torch.as_tensor(values), torch.as_tensor(targets)))


# Ties of log-odds are ties of probabilities in exact arithmetic only: for two classes
# their differences are whole numbers here.
@pytest.mark.parametrize(("n_classes", "ties"), [(2, False), (2, True), (4, False)])
def test_the_values_are_scikit_learns(n_classes, ties):
    logs, y = drawn(n_classes, ties=ties)
    p = np.exp(logs)
    p /= p.sum(1, keepdims=True)
    scores = np.round(p[:, 1], 12) if n_classes == 2 else p
    average = "binary" if n_classes == 2 else "macro"
    expected = {
        "auc": roc_auc_score(y, scores, multi_class="ovr"),
        "average_precision": average_precision_score(y, scores),
        "f1": f1_score(y, p.argmax(1), average=average),
    }
    for name, score in expected.items():
        value = found(queries.NAMED[name]().value, np.round(logs, 12), y)
        assert value == pytest.approx(1 - score, abs=ROUNDING)
    for name, value in {
        "log_loss": log_loss(y, p),
        "brier": brier_score_loss(y, scores, labels=np.arange(n_classes)),
    }.items():
        values = queries.NAMED[name]().values(torch.as_tensor(logs), torch.as_tensor(y))
        assert values.shape == (len(y),)
        assert float(values.mean()) == pytest.approx(value, abs=ROUNDING)


def test_the_values_of_numbers_are_scikit_learns():
    rng = np.random.default_rng(0)
    for shape in ((30,), (30, 2)):
        y, predicted = rng.normal(size=(2, *shape))
        value = found(queries.r2().value, predicted, y)
        assert value == pytest.approx(1 - r2_score(y, predicted), abs=ROUNDING)
        losses = queries.quantile_loss(0.8).values(
            torch.as_tensor(predicted), torch.as_tensor(y)
        )
        expected = mean_pinball_loss(y, predicted, alpha=0.8)
        assert float(losses.mean()) == pytest.approx(expected, abs=ROUNDING)


def test_the_calibration_error():
    logs, y = drawn(3, 200)
    p = np.exp(logs)
    confidence, right = p.max(1), p.argmax(1) == y
    total = 0.0
    for k in range(10):
        own = (confidence > k / 10) & (confidence <= (k + 1) / 10)
        total += abs((right[own] * 1.0 - confidence[own]).sum()) / len(y)
    metric = queries.calibration(n_bins=10, temperature=1e-7)
    assert found(metric.value, logs, y) == pytest.approx(total, abs=ROUNDING)
    # Bins that are nearly sharp count nearly the same.
    assert found(metric.smooth, logs, y) == pytest.approx(total, abs=0.01)


def test_the_metrics_of_groups():
    logs, y = drawn(2, 80)
    groups = np.random.default_rng(0).choice(["a", "b", "c"], 80)
    chosen = logs.argmax(1)

    def spread(rows):
        rates = [chosen[rows & (groups == g)].mean() for g in "abc"]
        return max(rates) - min(rates)

    everyone = np.ones(80, dtype=bool)
    for metric, value in (
        (queries.demographic_parity(groups), spread(everyone)),
        (queries.equalized_odds(groups), max(spread(y == 0), spread(y == 1))),
    ):
        assert found(metric.value, logs, y) == pytest.approx(value, abs=ROUNDING)
    losses = -logs[np.arange(80), y]
    worst = max(losses[groups == g].mean() for g in "abc")
    metric = queries.worst_group(groups)
    assert found(metric.value, losses, y) == pytest.approx(worst, abs=ROUNDING)


GROUPS = np.arange(80) % 3


@pytest.mark.parametrize(
    "make",
    [
        queries.auc,
        queries.average_precision,
        queries.f1,
        lambda temperature: queries.demographic_parity(GROUPS, temperature),
        lambda temperature: queries.equalized_odds(GROUPS, temperature),
    ],
    ids=["auc", "average_precision", "f1", "demographic_parity", "equalized_odds"],
)
def test_a_surrogate_tends_to_its_metric(make):
    """As the temperature falls; that of the metric itself plays no part in it."""
    logs, y = drawn(2, 80)
    value = found(make(1.0).value, logs, y)
    assert found(make(1e-6).smooth, logs, y) == pytest.approx(value, abs=1e-9)
    # Nor does the scale of the log-odds, which changes no prediction and no order.
    scaled = logs * 3
    assert found(make(0.3).smooth, scaled, y) == pytest.approx(
        found(make(0.3).smooth, logs, y), rel=1e-9
    )


def test_blocks_of_pairs_change_nothing(monkeypatch):
    logs, y = (torch.as_tensor(each) for each in drawn(3, 50))
    results = []
    for pairs in (2**22, 90):
        monkeypatch.setattr("skinfluence.queries._classes._PAIRS", pairs)
        leaf = logs.clone().requires_grad_()
        values = [q().smooth(leaf, y) for q in (queries.auc, queries.average_precision)]
        slopes = [torch.autograd.grad(v, leaf, retain_graph=True)[0] for v in values]
        results.append(
            torch.cat([torch.stack(values).detach(), *slopes[0], *slopes[1]])
        )
    np.testing.assert_allclose(*results, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: queries.worst_group(["a", "a"]), "two groups to compare, got ..a.."),
        (lambda: queries.worst_group([[1, 2]]), r"`groups` .*\(n_val,\), got shape"),
        (lambda: queries.worst_group(None), r"`groups` .*\(n_val,\), got None"),
        (lambda: queries.whole(3), "`function` must be a function"),
        (
            lambda: queries.whole(lambda a: a),
            r"`function` must take \(outputs, targets",
        ),
        (lambda: queries.whole(max, exact=3), "`exact` must be a function"),
    ],
)
def test_bad_arguments(call, said):
    with pytest.raises((ValueError, TypeError), match=said):
        call()
