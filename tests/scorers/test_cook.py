"""CookDistance: against refitting by least squares, and Pregibon's formula."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators import LinearModule
from skinfluence.exceptions import UnsupportedCriterionError
from skinfluence.scorers import CookDistance, get_scorer
from tests.scorers.problems import binary, linear_regressor, regression

# Full-batch steps until nothing moves any more.
CONVERGED = {"batch_size": -1, "lr": 0.3, "max_epochs": 400, "record": None}


def with_ones(X):
    return np.column_stack([X, np.ones(len(X))])


def solve(X, y, c, penalty):
    """Minimize Σ c (y - Xβ)² / n + penalty |β|² / 2; n counts absent samples too."""
    return np.linalg.solve(
        2 * X.T @ (X * c[:, None]) + len(X) * penalty * np.eye(X.shape[1]),
        2 * X.T @ (c * y),
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_is_how_far_the_fit_moves_without_the_sample(weighted, penalty):
    X, y, *_ = regression()
    c = np.linspace(0.2, 1, len(X)) if weighted else np.ones(len(X))
    c *= len(c) / c.sum()
    reg = linear_regressor(optimizer__weight_decay=penalty, **CONVERGED)
    reg.fit(X, y, sample_weight=c)
    A = with_ones(X)
    beta = solve(A, y, c, penalty)
    hessian = A.T @ (A * c[:, None]) + len(X) * penalty / 2 * np.eye(4)
    count = np.trace(np.linalg.solve(hessian, A.T @ (A * c[:, None])))
    variance = c @ (y - A @ beta) ** 2 / (len(X) - count)
    expected = []
    for sample in range(len(X)):
        absent = c.copy()
        absent[sample] = 0
        moved = beta - solve(A, y, absent, penalty)
        expected.append(-moved @ hessian @ moved / (count * variance))
    # Cook's formula is exact; the model is within rounding errors of the optimum.
    found = CookDistance()(reg, X, y)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_is_the_textbook_formula_of_ordinary_least_squares():
    X, y, *_ = regression()
    model = LinearRegression().fit(X, y)
    residuals = y - model.predict(X)
    A = with_ones(X)
    leverages = np.diag(A @ np.linalg.inv(A.T @ A) @ A.T)
    variance = residuals @ residuals / (len(X) - 4)
    expected = residuals**2 / (4 * variance) * leverages / (1 - leverages) ** 2
    reg = linear_regressor(**CONVERGED).fit(X, y)
    np.testing.assert_allclose(CookDistance()(reg, X, y), -expected, rtol=1e-6)


@pytest.mark.parametrize("logits", [1, 2])
def test_is_pregibons_formula_for_two_classes(logits):
    X, y, *_ = binary(60)
    clf = SGDInfluenceClassifier(
        "linear" if logits == 2 else LinearModule(3),
        criterion=nn.CrossEntropyLoss if logits == 2 else nn.BCEWithLogitsLoss,
        dtype="float64",
        random_state=0,
        **{**CONVERGED, "lr": 4.0 / logits, "max_epochs": 600},
    ).fit(X, y)
    model = LogisticRegression(C=np.inf, tol=1e-12).fit(X, y)
    p = model.predict_proba(X)[:, 1]
    A = with_ones(X)
    root = np.sqrt(p * (1 - p))[:, None] * A
    leverages = np.diag(root @ np.linalg.inv(root.T @ root) @ root.T)
    pearson = (y - p) / np.sqrt(p * (1 - p))
    expected = pearson**2 * leverages / (1 - leverages) ** 2 / 4
    # Both optimizers stop within about 1e-5 of the optimum.
    found = CookDistance()(clf, X, y)
    np.testing.assert_allclose(found, -expected, rtol=1e-3)
    # What one step foretells is about what refitting gives.
    truth = []
    for sample in range(len(X)):
        kept = np.arange(len(X)) != sample
        other = LogisticRegression(C=np.inf, tol=1e-12).fit(X[kept], y[kept])
        moved = np.append(
            model.coef_ - other.coef_, model.intercept_ - other.intercept_
        )
        truth.append(moved @ root.T @ root @ moved / 4)
    assert np.corrcoef(truth, expected)[0, 1] > 0.98


def test_two_logits_share_the_penalty_of_their_difference():
    X, y, *_ = binary()
    decay = 0.2
    options = {"dtype": "float64", "random_state": 0, **CONVERGED, "lr": 1.0}
    two = SGDInfluenceClassifier(
        "linear", optimizer__weight_decay=2 * decay, **options
    ).fit(X, y)
    one = SGDInfluenceClassifier(
        LinearModule(3),
        criterion=nn.BCEWithLogitsLoss,
        optimizer__weight_decay=decay,
        **options,
    ).fit(X, y)
    found = [CookDistance()(clf, X, y) for clf in (one, two)]
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_takes_collinear_columns():
    X, y, *_ = regression()
    doubled = np.column_stack([X, X[:, 0]])
    reg = linear_regressor(**{**CONVERGED, "lr": 0.2})
    once = CookDistance()(reg.fit(X, y), X, y)
    twice = CookDistance()(reg.fit(doubled, y), doubled, y)
    np.testing.assert_allclose(once, twice, rtol=1e-6)


def test_says_what_it_needs():
    scorer = get_scorer("cook_distance")
    assert isinstance(scorer, CookDistance)
    with pytest.raises(TypeError, match="scorer 'cook_distance', got LinearRegression"):
        scorer.check_estimator(LinearRegression())
    with pytest.raises(ValueError, match=r"'linear' for the scorer .* got 'mlp'"):
        scorer.check_estimator(SGDInfluenceRegressor())
    for criterion in (nn.L1Loss, nn.HuberLoss(2.0)):
        with pytest.raises(UnsupportedCriterionError, match=r"MSELoss, .* got "):
            scorer.check_estimator(SGDInfluenceRegressor("linear", criterion=criterion))
    X, y, *_ = regression()
    reg = linear_regressor(max_epochs=1)
    with pytest.raises(ValueError, match=r"one target, or two classes, .* 2 outputs"):
        scorer(reg.fit(X, np.stack([y, y], axis=1)), X, y)
    with pytest.raises(ValueError, match=r"more samples than .* got 4 and 4"):
        scorer(reg.fit(X[:4], y[:4]), X[:4], y[:4])
    clf = SGDInfluenceClassifier("linear", max_epochs=1)
    with pytest.raises(ValueError, match="got 3 outputs"):
        scorer(clf.fit(X, np.arange(len(X)) % 3), X, y)
