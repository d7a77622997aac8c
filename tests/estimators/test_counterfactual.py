"""`counterfactual_influence`: forms of asking, caching, processes, wrong input."""

import numpy as np
import pytest
import torch

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import NotRecordedError
from tests.cases import Case
from tests.oracles import Spy, retrain, validation_loss


@pytest.fixture(scope="module")
def run():
    case, spy = Case("mlp", "momentum"), Spy()
    clf = case.fitted(callbacks=[spy])
    X = case.data()[0]
    X_val, y_val = case.validation()
    seeds = [0] * clf.trajectory_.n_steps

    def change(weights):
        losses = [
            validation_loss(retrain(spy.run, X, w, seeds=seeds)[-1], X_val, y_val)
            for w in (weights, np.ones(len(X)))
        ]
        return (losses[0] - losses[1]).mean()

    def without(*rows):
        weights = np.ones(len(X))
        weights[list(rows)] = 0
        return change(weights)

    return clf, X_val, y_val, without, change


def test_every_sample(run):
    clf, X_val, y_val, without, _ = run
    found = clf.counterfactual_influence(X_val, y_val)
    expected = [without(k) for k in range(clf.trajectory_.n_samples)]
    assert found.shape == (14,)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_estimate_and_truth_have_the_same_sign_and_size(run):
    clf, X_val, y_val, *_ = run
    exact = clf.counterfactual_influence(X_val, y_val)
    estimate = clf.influence(X_val, y_val)
    # Each of 14 samples is a fifth of its batches: first order is most of the change.
    assert np.corrcoef(exact, estimate)[0, 1] > 0.8
    assert 0.5 < np.polyfit(estimate, exact, 1)[0] < 2.0


@pytest.mark.parametrize(
    "samples", [[3, 0, 7], np.array([3, 0, 7]), torch.tensor([3, 0, 7])]
)
def test_some_samples_in_their_order(run, samples):
    clf, X_val, y_val, without, _ = run
    found = clf.counterfactual_influence(X_val, y_val, samples)
    np.testing.assert_allclose(found, [without(3), without(0), without(7)], atol=1e-12)


def test_groups(run):
    clf, X_val, y_val, without, _ = run
    groups = [[1, 2], [5], [7, 8, 9]]
    mask = np.zeros((3, 14), dtype=bool)
    for row, group in enumerate(groups):
        mask[row, group] = True
    expected = [without(*group) for group in groups]
    for samples in (groups, [np.array(g) for g in groups], mask):
        found = clf.counterfactual_influence(X_val, y_val, samples)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_any_weights(run):
    clf, X_val, y_val, _, change = run
    weights = np.random.default_rng(0).uniform(0, 3, size=(2, 14))
    found = clf.counterfactual_influence(X_val, y_val, weights)
    np.testing.assert_allclose(found, [change(w) for w in weights], atol=1e-12)


def test_refit_without_gives_the_same_change(run):
    clf, X_val, y_val, *_ = run
    removed = clf.refit_without([1, 2])
    losses = [
        validation_loss(net.module_, X_val, y_val).mean() for net in (removed, clf)
    ]
    found = clf.counterfactual_influence(X_val, y_val, [[1, 2]])
    assert found[0] == pytest.approx(losses[0] - losses[1], abs=1e-12)


def test_last_epochs_take_the_rest_as_given(run):
    clf, X_val, y_val, *_ = run
    found = clf.counterfactual_influence(X_val, y_val, [4], last_epochs=1)
    removed = clf.refit_without([4], last_epochs=1)
    losses = [
        validation_loss(net.module_, X_val, y_val).mean() for net in (removed, clf)
    ]
    assert found[0] == pytest.approx(losses[0] - losses[1], abs=1e-12)
    assert found[0] != clf.counterfactual_influence(X_val, y_val, [4])[0]


def test_processes_give_the_same():
    # A built-in module: the processes do not know those of the tests.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4))
    y = (X[:, 0] > 0).astype(int)
    clf = SGDInfluenceClassifier("linear", random_state=0, max_epochs=3).fit(X, y)
    alone = clf.counterfactual_influence(X, y)
    spread = clf.counterfactual_influence(X, y, n_jobs=2)
    np.testing.assert_allclose(spread, alone, rtol=0, atol=1e-12)


def test_cached_parts_are_not_computed_again(run, tmp_path, monkeypatch):
    clf, X_val, y_val, *_ = run
    from skinfluence.estimators._questions import counterfactual as _counterfactual

    monkeypatch.setattr(_counterfactual, "_RUNS_A_PART", 5)
    calls = []
    changes = _counterfactual.Ensemble.changes

    def interrupted(self, weights, others):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(weights))
        return changes(self, weights, others)

    monkeypatch.setattr(_counterfactual.Ensemble, "changes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        clf.counterfactual_influence(X_val, y_val, memory=str(tmp_path))
    assert calls == [5, 5]

    def counted(self, weights, others):
        calls.append(len(weights))
        return changes(self, weights, others)

    monkeypatch.setattr(_counterfactual.Ensemble, "changes", counted)
    found = clf.counterfactual_influence(X_val, y_val, memory=tmp_path)
    assert calls == [5, 5, 4]
    np.testing.assert_allclose(
        found, clf.counterfactual_influence(X_val, y_val), rtol=0, atol=1e-12
    )
    # Another question is another entry.
    clf.counterfactual_influence(X_val, y_val, at="epochs", memory=str(tmp_path))
    assert len(calls) > 6


def test_an_edited_query_is_another_question(run, tmp_path):
    clf, X_val, y_val, *_ = run
    for query in (lambda out, y: out[:, 0], lambda out, y: out[:, 1]):
        expected, *found = (
            clf.counterfactual_influence(
                X_val, y_val, [2, 3], query=query, memory=memory
            )
            for memory in (None, tmp_path, tmp_path)
        )
        for changes in found:
            np.testing.assert_allclose(changes, expected, rtol=0, atol=1e-12)


def test_what_makes_no_key_of_a_cache_is_refused(run, tmp_path):
    clf, X_val, y_val, *_ = run
    generator = (k for k in range(3))
    with pytest.raises(ValueError, match="`query` must have a stable key with `memory"):
        clf.counterfactual_influence(
            X_val,
            y_val,
            query=lambda out, y: out[:, next(generator)],
            memory=tmp_path / "memory",
        )
    assert not (tmp_path / "memory").exists()


def test_leaving_out_all_that_is_trained_on_is_refused():
    case = Case("mlp", "sgd", {"iterator_train__sampler": [0, 1, 2, 3, 4, 5, 6]})
    clf = case.fitted()
    with pytest.raises(ValueError, match="group 1 empties every batch"):
        clf.counterfactual_influence(
            *case.validation(), [[0], [0, 1, 2, 3, 4, 5, 6, 9]]
        )


def test_unused_samples_change_nothing():
    case = Case("mlp", "sgd", {"iterator_train__sampler": [0, 1, 2, 3, 4, 5, 6]})
    clf = case.fitted()
    X_val, y_val = case.validation()
    found = clf.counterfactual_influence(X_val, y_val)
    assert (found[:7] != 0).all()
    assert (found[7:] == 0).all()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([0, 14], r"`samples` must be rows of the training data, 0 to 13, got 0 to 14"),
        ([-1], r"0 to 13, got -1 to -1"),
        ([2, 3, 2], r"`samples` must name each sample once, got 2 2 times"),
        ([[0, 1], [5, 5]], r"`samples\[1\]` must name each sample once, got 5"),
        ([[0, 1], [15]], r"`samples\[1\]` must be rows of the training data"),
        ([[0, 1], []], r"at least one sample, got an empty one at position 1"),
        ([list(range(14))], r"group 0 empties every batch"),
        (np.zeros((1, 14)), r"group 0 empties every batch"),
        (np.ones((2, 13)), r"must have shape \(n_groups, 14\), got \(2, 13\)"),
        (np.full((1, 14), np.nan), r"must be finite, got NaN"),
        (np.ones((1, 14), dtype=int), r"boolean \(groups\) or floating point"),
        ([0.5, 1.5], r"row numbers or a mask, got dtype float64"),
        (np.ones(13, dtype=bool), r"one entry for each of the 14 samples, got 13"),
    ],
)
def test_wrong_samples_are_refused_before_any_training(
    run, samples, message, monkeypatch
):
    clf, X_val, y_val, *_ = run
    from skinfluence.counterfactual import Ensemble

    monkeypatch.delattr(Ensemble, "changes")
    with pytest.raises(ValueError, match=message):
        clf.counterfactual_influence(X_val, y_val, samples)


def test_nothing_recorded():
    X, y, _ = Case().data()
    clf = Case().classifier(record=None).fit(X, y)
    with pytest.raises(NotRecordedError, match="`record` must be"):
        clf.counterfactual_influence(*Case().validation())


def test_a_small_change_of_the_weights_is_the_estimate(run):
    # The estimate is the derivative: what remains is of the order of the change.
    clf, X_val, y_val, *_ = run
    h = 1e-5
    nearly = clf.counterfactual_influence(
        X_val, y_val, np.ones((14, 14)) - h * np.eye(14)
    )
    estimate = clf.influence(X_val, y_val)
    np.testing.assert_allclose(nearly / h, estimate, rtol=1e-3, atol=1e-6)


def test_on_a_stable_convex_run_first_order_is_nearly_all():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    y = (X @ rng.normal(size=5) + rng.normal(size=200) > 0).astype(int)
    clf = SGDInfluenceClassifier("linear", lr=0.05, random_state=0)
    clf.fit(X[:100], y[:100])
    exact = clf.counterfactual_influence(X[100:], y[100:])
    estimate = clf.influence(X[100:], y[100:])
    assert np.corrcoef(exact, estimate)[0, 1] > 0.999


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
def test_a_query_of_another_dtype(dtype):
    case = Case("linear")
    clf, (X_val, y_val) = case.fitted(lr=1.0), case.validation()
    samples = [[0, 3, 6], [1, 4], [2, 5, 8]]

    def wrong(outputs, targets):
        return (outputs.argmax(1) != targets).to(getattr(torch, dtype))

    def errors(net):
        return (net.predict(X_val) != y_val).mean()

    found = clf.counterfactual_influence(X_val, y_val, samples, query=wrong)
    expected = [errors(clf.refit_without(rows)) - errors(clf) for rows in samples]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(expected).max() > 0.1
    with pytest.raises(ValueError, match="`query` must be differentiable"):
        clf.influence(X_val, y_val, query=wrong)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "uint64"])
def test_rows_of_any_integers(dtype):
    case = Case("linear")
    clf, validation = case.fitted(), case.validation()
    expected = clf.counterfactual_influence(*validation)
    rows = np.arange(len(expected)).astype(dtype)
    found = clf.counterfactual_influence(*validation, rows)
    # Stacks of other sizes round otherwise.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)
    # As many as there are samples: still rows, not a mask.
    (group,) = clf.counterfactual_influence(*validation, [rows[1:3][::-1]])
    both = clf.counterfactual_influence(*validation, [[1, 2]])[0]
    assert group == pytest.approx(both, rel=1e-9)
