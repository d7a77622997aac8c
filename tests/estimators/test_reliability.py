"""How good the estimate is: verified values, the check, the warning, the bound."""

import warnings
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.preprocessing import scale
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.estimators._questions import influence_check, intervals
from skinfluence.estimators._questions import reliability as _reliability
from skinfluence.exceptions import (
    InfluenceReliabilityWarning,
    UnsupportedCriterionError,
    UnsupportedOptimizerError,
)
from skinfluence.metrics import linear_datamodeling_score
from tests.cases import Case


@pytest.fixture(scope="module")
def run():
    case = Case("mlp", "momentum")
    return case.fitted(), *case.validation()


# verify


@pytest.mark.parametrize("k", [1, 3])
def test_verify_puts_the_exact_values_at_both_ends(run, k):
    clf, X_val, y_val = run
    estimate = clf.influence(X_val, y_val)
    exact = clf.counterfactual_influence(X_val, y_val)
    order = np.argsort(estimate)
    ends = [*order[:k], *order[-k:]]
    middle = np.setdiff1d(np.arange(14), ends)
    found = clf.influence(X_val, y_val, verify=k)
    # The same arithmetic in another order.
    np.testing.assert_allclose(found[ends], exact[ends], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found[middle], estimate[middle])
    assert (np.abs(exact - estimate)[ends] > 1e-6).all()


@pytest.mark.parametrize("k", [7, 100])
def test_verify_may_cover_all(run, k):
    clf, X_val, y_val = run
    exact = clf.counterfactual_influence(X_val, y_val)
    found = clf.influence(X_val, y_val, verify=k)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)


def test_verify_on_each_validation_sample(run):
    clf, X_val, y_val = run
    found = clf.influence(X_val, y_val, aggregate=None, verify=2)
    estimate = clf.influence(X_val, y_val, aggregate=None)
    order = np.argsort(estimate.mean(axis=1))
    ends = [*order[:2], *order[-2:]]
    for column in range(len(y_val)):
        one = slice(column, column + 1)
        exact = clf.counterfactual_influence(X_val[one], y_val[one], ends)
        np.testing.assert_allclose(found[ends, column], exact, rtol=0, atol=1e-12)
    middle = np.setdiff1d(np.arange(14), ends)
    np.testing.assert_array_equal(found[middle], estimate[middle])


def test_verify_asks_the_same_question(run):
    clf, X_val, y_val = run
    weights = np.arange(1.0, 8.0)
    asked = {"at": "path", "last_epochs": 2, "sample_weight_val": weights}
    exact = clf.counterfactual_influence(X_val, y_val, **asked)
    found = clf.influence(X_val, y_val, verify=14, **asked)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("verify", [-1, 1.5, True, "all"])
def test_wrong_verify_is_refused_before_any_work(run, verify, monkeypatch):
    clf, X_val, y_val = run
    monkeypatch.delattr(_reliability, "estimate")
    with pytest.raises(ValueError, match="`verify` must be an integer of at least 0"):
        clf.influence(X_val, y_val, verify=verify)


# the warning


@cache
def rough_digits(**options):
    """Three hidden layers at a large learning rate: a chaotic run."""
    X, y = load_digits(return_X_y=True)
    clf = SGDInfluenceClassifier(
        **{
            "module__hidden_layer_sizes": (64, 64, 64),
            "lr": 0.5,
            "max_epochs": 30,
            "batch_size": 50,
            "random_state": 0,
            **options,
        }
    )
    return clf.fit(X[:300] / 16, y[:300]), X[300:350] / 16, y[300:350]


@pytest.mark.slow
def test_a_chaotic_run_is_told_and_a_gentle_one_is_not():
    clf, X_val, y_val = rough_digits()
    with pytest.warns(InfluenceReliabilityWarning, match=r"grew .* times") as record:
        clf.influence(X_val, y_val)
    assert record[0].filename == __file__
    for help_ in ("at='path'", "`last_epochs`", "`verify`", "`check_influence`"):
        assert help_ in str(record[0].message)
    gentle, *_ = rough_digits(lr=0.02, max_epochs=10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gentle.influence(X_val, y_val)
        gentle.influence(X_val, y_val, aggregate=None)


# check_influence


def test_check_gives_the_figures_of_scipy(run):
    clf, X_val, y_val = run
    check = clf.check_influence(X_val, y_val, 9, random_state=0)
    assert len(check.samples) == 9
    assert len(np.unique(check.samples)) == 9
    estimate = clf.influence(X_val, y_val)[check.samples]
    exact = clf.counterfactual_influence(X_val, y_val, check.samples)
    np.testing.assert_array_equal(check.estimated, estimate)
    np.testing.assert_allclose(check.exact, exact, rtol=0, atol=1e-12)
    tau = stats.kendalltau(estimate, exact).statistic
    assert check.correlation == pytest.approx(tau, abs=1e-9)
    assert check.confidence_interval[0] < tau <= check.confidence_interval[1]
    error = np.median(np.abs(estimate - exact) / np.abs(exact))
    assert check.relative_error == pytest.approx(error, rel=1e-6)
    line = stats.linregress(check.estimated, check.exact)
    assert check.slope == pytest.approx(line.slope, rel=1e-9)
    assert f"rank correlation {tau:.2f}" in str(check)
    assert check.verdict in str(check)


def test_check_of_groups_gives_the_figures_of_the_metrics(run):
    clf, X_val, y_val = run
    weights = np.arange(1.0, 8.0)
    asked = {"at": "path", "sample_weight_val": weights}
    check = clf.check_influence(
        X_val, y_val, 4, n_subsets=12, keep=0.7, random_state=0, **asked
    )
    assert check.subsets.shape == (12, 4)
    scores = clf.influence(X_val, y_val, **asked)
    exact = clf.counterfactual_influence(X_val, y_val, list(check.subsets), **asked)
    np.testing.assert_allclose(check.subset_exact, exact, rtol=0, atol=1e-12)
    lds = stats.spearmanr(scores[check.subsets].sum(axis=1), exact).statistic
    assert check.lds == pytest.approx(lds, abs=1e-9)
    assert check.lds_interval[0] < lds < check.lds_interval[1]


def test_groups_have_the_score_of_skinfluence_metrics(run):
    clf, X_val, y_val = run

    class Drawn(np.random.RandomState):
        """Draws the subsets of a check."""

        def permutation(self, x):
            return np.append(next(self.rows), range(x))

    check = clf.check_influence(X_val, y_val, 4, n_subsets=8, keep=0.5, random_state=1)
    drawn = Drawn()
    drawn.rows = iter(check.subsets)
    lds = linear_datamodeling_score(
        clf,
        clf.influence(X_val, y_val),
        X_val,
        y_val,
        n_subsets=8,
        keep=0.5,
        random_state=drawn,
    )
    assert check.lds == pytest.approx(lds, abs=1e-9)


@pytest.mark.slow
def test_metasmoothness_of_the_check_is_that_of_three_trainings(run):
    clf, X_val, y_val = run
    check = clf.check_influence(X_val, y_val, 4, n_subsets=4, random_state=0)
    found = []
    for rows in check.subsets:
        weights = np.ones((2, 14))
        weights[0, rows], weights[1, rows] = 0.5, 0.0
        half, whole = np.transpose(
            [
                clf.counterfactual_influence(
                    X_val[k : k + 1], y_val[k : k + 1], weights
                )
                for k in range(7)
            ]
        )
        same = np.where(half * (whole - half) > 0, 1.0, -1.0)
        found.append(np.average(same, weights=np.abs(half)))
    assert check.metasmoothness == pytest.approx(np.mean(found), abs=1e-6)


def test_no_groups(run):
    clf, X_val, y_val = run
    check = clf.check_influence(X_val, y_val, 5, n_subsets=0, random_state=0)
    assert len(check.subsets) == 0
    assert np.isnan([check.lds, *check.lds_interval, check.metasmoothness]).all()
    assert "groups" not in str(check)


@pytest.mark.slow
def test_a_smooth_run_and_a_chaotic_one_by_metasmoothness():
    # One step of least squares: the parameters are linear in the weights.
    X, y = scale(load_diabetes().data), scale(load_diabetes().target)
    est = SGDInfluenceRegressor(
        "linear", max_epochs=1, batch_size=-1, lr=1e-4, random_state=0, dtype="float64"
    ).fit(X[:100], y[:100].astype(np.float32))
    smooth = est.check_influence(X[100:150], y[100:150], 4, random_state=0)
    assert smooth.metasmoothness > 0.999
    clf, X_val, y_val = rough_digits(lr=1.0, module__activation="relu")
    chaotic = clf.check_influence(X_val, y_val, 10, random_state=0)
    assert chaotic.metasmoothness_interval[1] < 0.5
    assert "smooth activation" in chaotic.verdict


def test_check_draws_only_samples_that_were_used():
    clf = Case(options={"iterator_train__sampler": [0, 2, 4, 6, 8, 10]}).fitted()
    check = clf.check_influence(*Case().validation(), random_state=0)
    assert check.samples.tolist() == [0, 2, 4, 6, 8, 10]
    again = clf.check_influence(*Case().validation(), 5, random_state=1)
    assert set(again.samples) < {0, 2, 4, 6, 8, 10}


@pytest.mark.slow
def test_check_says_so_of_a_run_that_cannot_be_trusted():
    clf, X_val, y_val = rough_digits()
    check = clf.check_influence(X_val, y_val, 40, random_state=0)
    assert check.confidence_interval[1] < 0.4
    assert "cannot be trusted" in check.verdict
    assert "at='path'" in check.verdict


@pytest.mark.parametrize(
    ("low", "high", "slope", "words"),
    [
        (0.95, 0.99, 1.0, "in order and in size"),
        (0.95, 0.99, 0.3, "multiplied by 0.3"),
        (0.6, 0.95, 1.0, "rough on this run: good for a ranking"),
        (-0.2, 0.3, 0.1, "cannot be trusted"),
        (0.2, 0.8, 1.0, "verify more samples"),
        (np.nan, np.nan, np.nan, "Nothing can be said"),
    ],
)
def test_verdicts(low, high, slope, words):
    assert words in influence_check.verdict(low, high, slope)


def test_constant_estimates_say_nothing():
    check = influence_check.check_of_samples(
        np.arange(5), np.zeros(5), np.arange(1.0, 6.0), 0.9, 10
    )
    assert np.isnan(check.correlation)
    assert "Nothing can be said" in str(check)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_subsets": 3}, "`n_subsets` must be None, 0 or an integer of at least 4"),
        ({"n_subsets": True}, "`n_subsets` must be None, 0 or an integer"),
        ({"keep": 0}, "`keep` must be the fraction .* between 0 and 1, got 0"),
        ({"keep": "most"}, "`keep` must be the fraction"),
        ({"level": 95}, "`level` must be a number between 0 and 1, .* got 95"),
        ({"level": True}, "`level` must be a number between 0 and 1"),
    ],
)
def test_wrong_groups_and_levels(run, options, message):
    clf, X_val, y_val = run
    with pytest.raises(ValueError, match=message):
        clf.check_influence(X_val, y_val, 5, **options)


@pytest.mark.parametrize("n_samples", [3, 0, 10.0, True])
def test_wrong_number_to_check(run, n_samples):
    clf, X_val, y_val = run
    with pytest.raises(
        ValueError, match="`n_samples` must be an integer of at least 4"
    ):
        clf.check_influence(X_val, y_val, n_samples)


def test_too_few_samples_used():
    clf = Case(options={"iterator_train__sampler": [0, 1, 2]}).fitted()
    with pytest.raises(ValueError, match="at least 4 samples to compare, got 3"):
        clf.check_influence(*Case().validation())


# influence_error_bound

IRIS, DIABETES = load_iris(return_X_y=True), load_diabetes(return_X_y=True)


def convex(criterion=None, **options):
    """Return a linear estimator on half of the data, and the other half."""
    X, y = DIABETES if criterion is nn.MSELoss else IRIS
    X = scale(X)
    options = {"lr": 0.01, "max_epochs": 2, "batch_size": 10, **options}
    if criterion is nn.MSELoss:
        y = np.column_stack([scale(y), X[:, 0] * scale(y)])
        est = SGDInfluenceRegressor("linear", random_state=0, **options)
    elif criterion is nn.BCEWithLogitsLoss:
        y = np.column_stack([y == 0, y == 1]).astype(float)
        est = SGDInfluenceRegressor(
            "linear", criterion=criterion, random_state=0, **options
        )
    else:
        est = SGDInfluenceClassifier("linear", random_state=0, **options)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(X[::2]))
    return est.fit(X[::2], y[::2], sample_weight=weight), X[1::2], y[1::2]


SCHEDULE = {"callbacks": [LRScheduler("StepLR", step_size=1, gamma=0.5)]}


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{}, {"at": "path"}, {"last_epochs": 1}])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.3, "max_epochs": 5},
        {"optimizer__weight_decay": 0.3, **SCHEDULE},
        {"criterion": nn.MSELoss},
        {"criterion": nn.BCEWithLogitsLoss},
        {"criterion__weight": torch.tensor([0.5, 1.0, 2.0])},
        {"criterion__label_smoothing": 0.2},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_the_true_error_is_within_the_bound(options, asked):
    est, X_val, y_val = convex(**options)
    estimate = est.influence(X_val, y_val, **asked)
    exact = est.counterfactual_influence(X_val, y_val, **asked)
    bound = est.influence_error_bound(X_val, y_val, **asked)
    assert (np.abs(estimate - exact) <= bound).all()
    assert (np.abs(estimate - exact) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("criterion", [None, nn.MSELoss, nn.BCEWithLogitsLoss])
def test_the_bound_is_of_the_order_of_the_error_on_a_gentle_run(criterion):
    est, X_val, y_val = convex(criterion, lr=1e-3, max_epochs=1)
    estimate = est.influence(X_val, y_val)
    exact = est.counterfactual_influence(X_val, y_val)
    bound = est.influence_error_bound(X_val, y_val)
    # A worst case in each of a few steps: not far above what happens, and far below
    # the influence itself.
    assert np.max(np.abs(estimate - exact) / bound) > 0.1
    assert np.median(bound) < 0.05 * np.median(np.abs(exact))


def test_bound_of_unused_samples_is_zero():
    X, y = scale(IRIS[0]), IRIS[1]
    clf = SGDInfluenceClassifier(
        "linear", iterator_train__sampler=list(range(100)), random_state=0
    ).fit(X, y)
    bound = clf.influence_error_bound(X, y)
    assert (bound[:100] > 0).all()
    assert (bound[100:] == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"module": "mlp"}, ValueError, "`module` must be 'linear'"),
        (
            {"criterion": nn.MultiMarginLoss, "record": "replay"},
            UnsupportedCriterionError,
            "one of CrossEntropyLoss, .*, got MultiMarginLoss",
        ),
        (
            {"optimizer": torch.optim.Adam},
            UnsupportedOptimizerError,
            "SGD without momentum and clipping",
        ),
        (
            {"optimizer__momentum": 0.5},
            UnsupportedOptimizerError,
            "step 0 was not",
        ),
        (
            {"callbacks": [GradientNormClipping(0.1)]},
            UnsupportedOptimizerError,
            "SGD without momentum and clipping",
        ),
        (
            {"optimizer__param_groups": [("*.bias", {"lr": 0.3})]},
            UnsupportedOptimizerError,
            "one learning rate",
        ),
    ],
)
def test_runs_without_a_bound_are_refused(options, error, message):
    X, y = scale(IRIS[0]), IRIS[1]
    options = {"module": "linear", "max_epochs": 1, "random_state": 0, **options}
    clf = SGDInfluenceClassifier(**options).fit(X, y)
    with pytest.raises(error, match=message):
        clf.influence_error_bound(X, y)


def test_a_loss_of_ones_own_has_no_bound():
    class Doubled(SGDInfluenceClassifier):
        def get_losses(self, *arguments, **options):
            return 2 * super().get_losses(*arguments, **options)

    X, y = scale(IRIS[0]), IRIS[1]
    clf = Doubled("linear", max_epochs=1, random_state=0).fit(X, y)
    with pytest.raises(UnsupportedCriterionError, match="a `get_losses` of your own"):
        clf.influence_error_bound(X, y)


def test_a_check_is_equal_to_itself_alone():
    # Arrays have no single truth value: a comparison by fields would raise.
    values = np.arange(5.0)
    check, same = (
        influence_check.check_of_samples(np.arange(5), values, values, 0.9, 9)
        for _ in range(2)
    )
    assert check != same
    assert len({check, same, check}) == 2


def test_kendall_counts_pairs_that_are_tied_in_both_as_in_order():
    estimate = np.array([0.0, 0.0, 1.0, 2.0])
    exact = np.array([0.0, 0.0, 1.0, 3.0])
    assert intervals.kendall(estimate, exact, 0.9, np.inf)[0] == 1.0
    # One of the six pairs is tied in one of them only.
    found, _ = intervals.kendall(estimate, np.array([0.0, 0.5, 1.0, 3.0]), 0.9, np.inf)
    assert found == pytest.approx(5 / 6)
