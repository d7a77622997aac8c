"""The metrics against brute force."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from skinfluence.metrics import (
    jaccard_extremes,
    kendall_tau,
    linear_datamodeling_score,
    removal_curve,
)
from tests.cases import Case


def test_kendall_tau_counts_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 30))
    pairs = [
        np.sign(a[i] - a[j]) * np.sign(b[i] - b[j])
        for i, j in combinations(range(30), 2)
    ]
    assert kendall_tau(a, b) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert kendall_tau(a, -a) == -1.0


def test_jaccard_extremes():
    a = np.arange(10.0)
    b = a.copy()
    b[[0, 5]] = b[[5, 0]]  # one of the lowest two is another one
    # {0, 1, 8, 9} and {5, 1, 8, 9}: three in common of five
    assert jaccard_extremes(a, b, k=2) == 3 / 5
    assert jaccard_extremes(a, a, k=5) == 1.0


@pytest.mark.parametrize("metric", [kendall_tau, jaccard_extremes])
def test_wrong_scores(metric):
    with pytest.raises(ValueError, match="`second` must be finite"):
        metric(np.arange(30.0), np.full(30, np.nan))
    with pytest.raises(ValueError, match="as many scores as `first`"):
        metric(np.arange(30.0), np.arange(29.0))


@pytest.mark.parametrize("k", [0, 6])
def test_wrong_k(k):
    with pytest.raises(
        ValueError, match=rf"`k` must be an integer between 1 and .* \(5\), got {k}"
    ):
        jaccard_extremes(np.arange(10.0), np.arange(10.0), k=k)


def test_linear_datamodeling_score_is_the_correlation_with_real_retraining():
    case = Case("mlp", "momentum")
    clf = case.fitted()
    X_val, y_val = case.validation()
    scores = clf.influence(X_val, y_val)
    found = linear_datamodeling_score(
        clf, scores, X_val, y_val, n_subsets=12, keep=0.8, random_state=3
    )
    rng = np.random.RandomState(3)
    groups = [rng.permutation(14)[:3] for _ in range(12)]
    truth = []
    for group in groups:
        removed = clf.refit_without(group)
        truth.append(removed.get_loss(removed.forward(X_val), y_val).item())
    predicted = [scores[group].sum() for group in groups]
    assert found == pytest.approx(spearmanr(predicted, truth).statistic, abs=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 1.0}, "`keep` must be a fraction that removes"),
        ({"keep": 0.0}, "`keep` must be a fraction that removes"),
        ({"n_subsets": 2}, "`n_subsets` must be an integer of at least 3, got 2"),
        ({"scores": np.zeros(3)}, r"`scores` must be finite numbers of shape \(14,\)"),
    ],
)
def test_wrong_options_of_lds(options, message):
    case = Case()
    clf = case.fitted()
    options = {"scores": np.zeros(14), **options}
    with pytest.raises(ValueError, match=message):
        linear_datamodeling_score(
            clf, options.pop("scores"), *case.validation(), **options
        )


def test_removal_curve_refits_on_what_is_kept():
    rng = np.random.default_rng(0)
    X, X_test = rng.normal(size=(2, 60, 3))
    y, y_test = (X[:, 0] > 0).astype(int), (X_test[:, 0] > 0).astype(int)
    wrong = rng.choice(60, 12, replace=False)
    y[wrong] = 1 - y[wrong]
    scores = np.zeros(60)
    scores[wrong] = -1.0 - np.arange(12)
    curve = removal_curve(
        LogisticRegression(), scores, X, y, X_test, y_test, counts=[0, 5, 12]
    )
    expected = []
    for count in (0, 5, 12):
        kept = np.setdiff1d(np.arange(60), wrong[::-1][:count])
        expected.append(
            LogisticRegression().fit(X[kept], y[kept]).score(X_test, y_test)
        )
    assert curve["n_removed"].tolist() == [0, 5, 12]
    assert curve["score"].tolist() == expected


def test_removal_curve_wrong_count():
    with pytest.raises(ValueError, match=r"`counts` must be integers from 0 .* got 4"):
        removal_curve(
            LogisticRegression(),
            [1, 2, 3, 4],
            np.eye(4),
            [0, 1, 0, 1],
            None,
            None,
            counts=[1, 4],
        )
