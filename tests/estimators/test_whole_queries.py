"""Queries of the whole validation set: finite differences and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_regression
from sklearn.metrics import get_scorer, make_scorer, r2_score, roc_auc_score
from torch import nn

from skinfluence import (
    InfluenceCleaner,
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    influence_interval,
    queries,
    scorers,
)
from tests.cases import Case, rough
from tests.oracles import Spy, finite_differences, relative_error

pytestmark = rough

# The oracle's own error, see `finite_differences`.
TOLERANCE = 1e-6
GROUPS = np.array([0, 1, 0, 1, 1, 0, 0])


def one_against_rest(logs, k):
    rest = torch.cat([logs[:, :k], logs[:, k + 1 :]], dim=1).logsumexp(1)
    odds = logs[:, k] - rest
    return odds / (odds - odds.mean()).square().mean().sqrt()


def smooth_auc(logs, y):
    means = []
    for k in range(3):
        odds = one_against_rest(logs, k)
        pairs = [
            torch.sigmoid((odds[i] - odds[j]) / 0.1)
            for i in range(len(y))
            for j in range(len(y))
            if y[i] == k != y[j]
        ]
        means.append(torch.stack(pairs).mean())
    return 1 - torch.stack(means).mean()


def smooth_precision(logs, y):
    means = []
    for k in range(3):
        odds = one_against_rest(logs, k)
        for i in np.flatnonzero(y == k):
            above = [torch.sigmoid((odds[j] - odds[i]) / 0.1) for j in range(len(y))]
            own = sum(a for j, a in enumerate(above) if y[j] == k and j != i)
            every = sum(a for j, a in enumerate(above) if j != i)
            means.append((1 + own) / (1 + every) / (y == k).sum())
    return 1 - sum(means) / 3


def smooth_f1(logs, y):
    centred = logs - logs.mean(1, keepdim=True)
    p = (centred / (T_CHOICE * centred.square().mean().sqrt())).softmax(1)
    scores = [
        2 * p[y == k, k].sum() / (p[:, k].sum() + (y == k).sum()) for k in range(3)
    ]
    return 1 - sum(scores) / 3


def smooth_calibration(logs, y):
    total = torch.zeros((), dtype=torch.float64)
    confidence = logs.exp().amax(1)
    right = torch.as_tensor(logs.argmax(1).numpy() == y).double()
    middles = (torch.arange(15) + 0.5) / 15
    shares = torch.exp(-((confidence[:, None] - middles) ** 2) / 1e-3)
    shares = shares / shares.sum(1, keepdim=True)
    for b in range(15):
        total = total + (shares[:, b] * (right - confidence)).sum().abs()
    return total / len(y)


def brier(logs, y):
    return (logs.exp() - torch.eye(3)[y]).square().sum(1).mean()


def worst_group(logs, y):
    losses = -logs[np.arange(len(y)), y]
    return max(losses[GROUPS == 0].mean(), losses[GROUPS == 1].mean())


T_CHOICE = 0.1

FORMULAS = {
    "auc": ("auc", smooth_auc),
    "average_precision": ("average_precision", smooth_precision),
    "f1": ("f1", smooth_f1),
    "calibration": ("calibration", smooth_calibration),
    "brier": ("brier", brier),
    "log_loss": ("log_loss", lambda logs, y: -logs[np.arange(len(y)), y].mean()),
    "worst_group": (queries.worst_group(GROUPS), worst_group),
}


@pytest.mark.parametrize(
    ("case", "name", "at"),
    [
        *((Case("mlp", "momentum"), name, "final") for name in FORMULAS),
        (Case("batch_norm", "adam"), "auc", "final"),
        (Case("dropout", "sgd"), "average_precision", "epochs"),
        (Case("cnn", "rmsprop"), "f1", "path"),
        (Case("linear", "sgd", weighted=True), "auc", "epochs"),
    ],
    ids=lambda value: (
        f"{value.module}-{value.optimizer}" if isinstance(value, Case) else str(value)
    ),
)
def test_the_influence_is_the_derivative_of_the_surrogate(case, name, at):
    query, formula = FORMULAS[name]
    spy = Spy()
    X, _, sample_weight = case.data()
    X_val, y_val = case.validation()
    # Batches of three: the metric is of all of them together.
    clf = case.fitted(callbacks=[spy], iterator_valid__batch_size=3)
    shares = {"final": [0, 0, 1], "epochs": [1, 1, 1], "path": [1, 1 / 2, 1 / 3]}[at]

    def value(modules, base):
        total = 0.0
        for share, module, own in zip(shares, modules, base, strict=True):
            for mine, theirs in zip(module.buffers(), own.buffers(), strict=True):
                mine.copy_(theirs)
            module.eval()
            with torch.no_grad():
                logs = module(torch.from_numpy(X_val)).log_softmax(1)
            total += share * float(formula(logs, y_val)) / sum(shares)
        return np.asarray(total)

    expected = finite_differences(
        spy.run,
        X,
        value,
        seeds=[record.seed or 0 for record in clf.trajectory_.records],
        sample_weight=sample_weight,
    )
    found = clf.influence(X_val, y_val, query=query, at=at)
    assert relative_error(found, expected) <= TOLERANCE
    by_epoch = clf.influence_by_epoch(X_val, y_val, query=query, at=at)
    assert relative_error(by_epoch.sum(1), found) <= 1e-9


def largest(outputs, targets):
    losses = -outputs.log_softmax(1).gather(1, targets[:, None])
    return losses.logsumexp(0).squeeze()


def test_a_function_of_ones_own_in_batches_is_that_in_one():
    case = Case("mlp")
    X_val, y_val = case.validation()
    query = queries.whole(largest)
    found = [
        getattr(case.fitted(iterator_valid__batch_size=size), method)(
            X_val, y_val, query=query
        )
        for size in (2, 7)
        for method in ("influence", "counterfactual_influence")
    ]
    assert relative_error(found[0], found[2]) <= 1e-10
    assert relative_error(found[1], found[3]) <= 1e-10
    # It is smooth, and the samples change it a little.
    assert np.corrcoef(found[0], found[1])[0, 1] > 0.9


def binary(n=80, n_val=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n + n_val, 4))
    y = np.where(X[:, 0] + rng.normal(size=n + n_val) > 0, "yes", "no")
    return X[:n], y[:n], X[n:], y[n:]


def fitted_binary(**options):
    X, y, X_val, y_val = binary()
    options = {"max_epochs": 4, "batch_size": 20, "random_state": 0, **options}
    return SGDInfluenceClassifier(**options).fit(X, y), X_val, y_val


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_counterfactual_changes_are_those_of_refitted_models(n_outputs):
    criterion = nn.BCEWithLogitsLoss if n_outputs == 1 else nn.CrossEntropyLoss
    clf, X_val, y_val = fitted_binary(
        module=nn.Linear,
        module__in_features=4,
        module__out_features=n_outputs,
        criterion=criterion,
        dtype="float64",
    )
    samples = [0, 3, 5, 8]

    def value(model):
        return -roc_auc_score(y_val, model.predict_proba(X_val)[:, 1])

    expected = [value(clf.refit_without([k])) - value(clf) for k in samples]
    for query in (
        "auc",
        "roc_auc",
        make_scorer(roc_auc_score, response_method="predict_proba"),
    ):
        found = clf.counterfactual_influence(X_val, y_val, samples, query=query)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss", "f1_macro"])
def test_scorers_see_what_the_estimator_predicts(scoring):
    clf, X_val, y_val = fitted_binary(dtype="float64")
    scorer = get_scorer(scoring)
    group = np.arange(20)
    expected = scorer(clf, X_val, y_val) - scorer(
        clf.refit_without(group), X_val, y_val
    )
    found = clf.counterfactual_influence(X_val, y_val, [group], query=scoring)
    np.testing.assert_allclose(found, [expected], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_metrics_of_regressors(n_outputs):
    X, y = make_regression(60, 5, n_targets=n_outputs, noise=20, random_state=0)
    X, y = X.astype(np.float64), y / 50
    reg = SGDInfluenceRegressor(
        max_epochs=4, batch_size=10, random_state=0, dtype="float64"
    ).fit(X[:30], y[:30])
    X_val, y_val = X[30:], y[30:]
    found = reg.counterfactual_influence(X_val, y_val, [0, 1, 2], query="r2")
    scorer = reg.counterfactual_influence(
        X_val, y_val, [0, 1, 2], query="neg_mean_squared_error"
    )
    predictions = [reg.refit_without([k]).predict(X_val) for k in range(3)]
    base = r2_score(y_val, reg.predict(X_val))
    expected = [base - r2_score(y_val, each) for each in predictions]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    before = np.mean((y_val - reg.predict(X_val)) ** 2)
    errors = [np.mean((y_val - each) ** 2) - before for each in predictions]
    np.testing.assert_allclose(scorer, errors, rtol=0, atol=1e-10)
    # R² is the mean squared error over a number, for one output.
    if n_outputs == 1:
        found = reg.influence(X_val, y_val, query="r2")
        loss = reg.influence(X_val, y_val, query="loss")
        np.testing.assert_allclose(found, loss / y_val.var(), rtol=1e-9)
    half = reg.influence(X_val, y_val, query="quantile_loss")
    absolute = reg.influence(
        X_val,
        y_val,
        query=lambda p, t: (t.reshape(p.shape) - p).abs().reshape(len(p), -1).mean(1),
    )
    np.testing.assert_allclose(half, absolute / 2, rtol=1e-9)


@pytest.mark.slow
def test_every_question_takes_them():
    clf, X_val, y_val = fitted_binary()
    X, y, *_ = binary()
    groups = np.arange(len(y_val)) % 2
    query = queries.demographic_parity(groups)
    exact = clf.counterfactual_influence(X_val, y_val, query=query)
    verified = clf.influence(X_val, y_val, query=query, verify=3)
    assert np.isclose(verified, exact, atol=1e-12).sum() >= 6
    check = clf.check_influence(X_val, y_val, 10, query="auc", random_state=0)
    auc = clf.counterfactual_influence(X_val, y_val, check.samples, query="auc")
    # Runs are taken in other stacks.
    np.testing.assert_allclose(check.exact, auc, rtol=0, atol=1e-3)
    assert clf.label_influence(X_val, y_val, query="auc").shape == (len(y), 2)
    added = clf.addition_influence(X[:5], y[:5], X_val, y_val, query="auc")
    assert added.shape == (5,)
    found = influence_interval(
        clf, X_val, y_val, query="auc", n_runs=3, n_samples=8, random_state=0
    )
    assert found.influence.shape == (len(y),)
    for query in ("auc", queries.worst_group(groups)):
        scorer = scorers.SGDInfluence(query=query, at="final")
        np.testing.assert_array_equal(
            scorer(clf, X, y, X_val, y_val), clf.influence(X_val, y_val, query=query)
        )
    exact = scorers.ExactCounterfactual(query="roc_auc", at="final")
    assert exact(clf, X, y, X_val, y_val).shape == (len(y),)


def test_a_cleaner_takes_them(tmp_path):
    X, y, X_val, y_val = binary()
    net = SGDInfluenceClassifier(max_epochs=3, random_state=0)
    query = queries.worst_group(np.arange(len(y_val)) % 2)
    cleaner = InfluenceCleaner(
        net,
        n_remove=5,
        query=query,
        at="final",
        refit="counterfactual",
        memory=tmp_path,
    )
    cleaner.fit(X, y, X_val=X_val, y_val=y_val)
    expected = cleaner.estimator_.influence(X_val, y_val, query=query)
    np.testing.assert_array_equal(cleaner.influence_, expected)


def test_results_are_cached_by_the_groups(tmp_path):
    clf, X_val, y_val = fitted_binary()
    halves = np.arange(len(y_val)) % 2, np.arange(len(y_val)) // 30
    for groups in (*halves, *halves):
        query = queries.worst_group(groups)
        found = clf.counterfactual_influence(
            X_val, y_val, [0, 1], query=query, memory=tmp_path
        )
        plain = clf.counterfactual_influence(X_val, y_val, [0, 1], query=query)
        np.testing.assert_allclose(found, plain, rtol=0, atol=1e-6)


def counted(outputs, targets):
    return (outputs.argmax(1) != targets).double().mean()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            lambda: queries.whole(lambda o, t: o[:, 0]),
            r"one number .* shape \(\), got \(60,\)",
        ),
        (lambda: queries.whole(lambda o, t: 1.0), r"one number .*got .*float"),
        (lambda: queries.whole(counted), "whole\\(surrogate, metric\\)"),
        (
            lambda: queries.whole(lambda o, t: (o.detach() * o).sum()),
            "autograd gets it wrong",
        ),
    ],
)
def test_functions_that_are_none(query, said):
    clf, X_val, y_val = fitted_binary()
    with pytest.raises(Exception, match=said):
        clf.influence(X_val, y_val, query=query())


def test_a_step_function_is_the_exact_part():
    clf, X_val, y_val = fitted_binary(dtype="float64")
    query = queries.whole(largest, counted)
    group = np.arange(20)
    found = clf.counterfactual_influence(X_val, y_val, [group], query=query)
    expected = clf.score(X_val, y_val) - clf.refit_without(group).score(X_val, y_val)
    np.testing.assert_allclose(found, [expected], rtol=0, atol=1e-12)
    assert (clf.influence(X_val, y_val, query=query) != 0).any()
