"""Metagradient descent on weights: against the same steps taken by hand."""

import uuid
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV

from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import InfluenceCleaner, Reweight, _reweighting
from skinfluence.cleaning._ranking import over_runs
from skinfluence.cleaning._reweighting import _judges
from skinfluence.scorers import SGDInfluence
from skinfluence.scorers._descent import lowered, weight_slopes
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


def cleaner(action, **options):
    defaults = {"n_remove": 18, "n_rounds": 4, "random_state": 0}
    return InfluenceCleaner(quick(), action=action, **{**defaults, **options})


HALVES = [(np.arange(0, 120, 2), np.arange(1, 120, 2))]
HALVES.append(HALVES[0][::-1])


def test_takes_the_step_that_is_judged_best(blobs):
    X, y, _, X_val, y_val = blobs
    action = Reweight("sign", 0.2, early_stopping=0.5, reseed=False)
    cleaned = cleaner(action).fit(X, y, X_val, y_val)
    seed = cleaner(action)._seeds()[1]

    class Data:
        validation = type("Given", (), {"y": y_val})

    run = type("Run", (), {"validation": None, "estimator": quick()})
    judges = _judges(run, Data, 0.5, seed)
    assert judges.sum() == 20
    weights, losses, tried = np.ones(len(y)), [], []
    for _ in range(5):
        fitted = quick().fit(X, y, sample_weight=weights)
        proba = fitted.predict_proba(X_val[judges])
        losses.append(log_loss(y_val[judges], proba))
        tried.append(weights)
        scores = fitted.influence(X_val[~judges], y_val[~judges], at="epochs")
        slopes = weight_slopes(scores, np.ones(len(y)), weights)
        weights = lowered(weights - 0.2 * np.sign(slopes), 18)
    best = tried[int(np.argmin(losses))]
    assert np.argmin(losses) > 0
    # The means are taken over other batches, so that slopes near 0 may differ.
    np.testing.assert_allclose(cleaned.sample_weight_, best, rtol=0, atol=1e-6)


def test_held_out_samples_validate_with_their_own_weights(blobs):
    X, y, *_ = blobs
    given = np.linspace(0.5, 2, len(y))
    action = Reweight("sgd", 0.5, early_stopping=None, reseed=False)
    options = {"cv": HALVES, "n_rounds": 2, "query": "loss"}
    cleaned = cleaner(action, **options).fit(X, y, sample_weight=given)
    weights = np.ones(len(y))
    scale = 0.0
    for _ in range(2):
        scores = np.empty(len(y))
        for train, test in HALVES:
            fitted = quick()
            fitted.fit(X[train], y[train], sample_weight=(given * weights)[train])
            scores[train] = fitted.influence(
                X[test], y[test], sample_weight_val=given[test], at="epochs"
            )
        slopes = weight_slopes(scores, given, weights)
        scale = max(scale, slopes.std())
        weights = lowered(weights - 0.5 * (slopes / scale), 18)
    np.testing.assert_allclose(cleaned.sample_weight_, weights, rtol=0, atol=1e-12)


def test_groups_are_not_divided_between_judges_and_others(blobs):
    X, y, *_ = blobs
    groups = np.repeat(np.arange(24), 5)
    action = Reweight(early_stopping=0.5)
    found = cleaner(action, n_rounds=1)
    data = found._check_data(X, y, (None, None, None), {}, groups)
    run = type("Run", (), {"validation": np.arange(60), "estimator": quick()})
    judges = _judges(run, data, 0.5, 0)
    shares = judges.reshape(12, 5).mean(axis=1)
    assert set(shares) == {0.0, 1.0}


def test_other_seeds_for_each_step(blobs):
    X, y, _, X_val, y_val = blobs
    seeds = []

    class Seeded(SGDInfluenceClassifier):
        def fit(self, X, y, **params):
            seeds.append(self.random_state)
            return super().fit(X, y, **params)

    def fit(reseed):
        seeds.clear()
        action = Reweight(early_stopping=None, reseed=reseed)
        net = Seeded("linear", max_epochs=5, batch_size=32, random_state=0)
        found = cleaner(action).set_params(estimator=net)
        return found.fit(X, y, X_val, y_val).sample_weight_, seeds[:-1]

    weights, used = fit(True)
    assert used[0] == 0
    assert len(set(used)) == 4
    again, same = fit(True)
    assert same == used
    assert np.array_equal(again, weights)
    assert set(fit(False)[1]) == {0}


class Counting(SGDInfluence):
    """Leaves a file for each call."""

    def __init__(self, folder="", at="epochs", query="loss"):
        super().__init__(at=at, query=query)
        self.folder = folder

    def __call__(self, *args, **options):
        (Path(self.folder) / uuid.uuid4().hex).touch()
        return super().__call__(*args, **options)


def test_cached_steps_are_not_taken_again(blobs, tmp_path):
    X, y, _, X_val, y_val = blobs
    calls = tmp_path / "calls"
    calls.mkdir()

    def fit(n_rounds, n_jobs=None):
        cached = cleaner(
            Reweight(early_stopping=None),
            n_rounds=n_rounds,
            scorer=Counting(str(calls)),
            memory=tmp_path / "memory",
            n_jobs=n_jobs,
        )
        cached.fit(X, y, X_val, y_val)
        return len(list(calls.iterdir())), cached.sample_weight_

    n_calls, weights = fit(3)
    assert n_calls == 3
    again = fit(3)
    assert again[0] == 3
    assert np.array_equal(again[1], weights)
    # A longer descent begins with the same steps.
    assert fit(5)[0] == 5


def test_is_cloned_and_searched(blobs):
    X, y, *_ = blobs
    search = GridSearchCV(
        cleaner(Reweight(), n_rounds=1), {"action__update": ["adam", "sign"]}, cv=2
    )
    search.fit(X, y)
    assert search.best_params_["action__update"] in ("adam", "sign")
    action = clone(cleaner(Reweight("adam", 0.3))).action
    assert (action.update, action.step_size) == ("adam", 0.3)


def test_refuses_before_any_work(blobs):
    X, y, _, X_val, y_val = blobs

    class Untrained(SGDInfluenceClassifier):
        def fit(self, X, y, **params):
            raise AssertionError("trained")

    def fit(n_val=40, n_rounds=2, **options):
        refused = cleaner(Reweight(**options), n_rounds=n_rounds)
        refused.set_params(estimator=Untrained("linear"))
        refused.fit(X, y, X_val[:n_val], y_val[:n_val])

    with pytest.raises(ValueError, match="'n_rounds' parameter"):
        fit(n_rounds=0)
    with pytest.raises(ValueError, match=r"`update` must be one of .* got 'newton'"):
        fit(update="newton")
    for size in (0, -1.0, np.inf, "small", True):
        with pytest.raises(ValueError, match="`step_size` must be a finite number"):
            fit(step_size=size)
    for share in (0, 1, 1.5, -0.1, np.nan, True, "half"):
        with pytest.raises(ValueError, match="`early_stopping` must be a share"):
            fit(early_stopping=share)
    with pytest.raises(ValueError, match="`reseed` must be True or False, got 1"):
        fit(reseed=1)
    with pytest.raises(ValueError, match=r"`early_stopping` must leave .* 0.1 of 4"):
        fit(early_stopping=0.1, n_val=4)


def test_a_run_with_an_exploded_derivative_moves_no_weight(blobs, monkeypatch):
    X, y, *_ = blobs
    found = []
    for times in 1e9, np.nan:

        def exploding(*args, times=times, **options):
            parts = over_runs(*args, **options)
            parts[0][:-1] *= times
            return parts

        monkeypatch.setattr(_reweighting, "over_runs", exploding)
        # It says so of the first, and NumPy that the other one has no number.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitted = cleaner("reweight", n_rounds=2, cv=3).fit(X, y)
        found.append(fitted.sample_weight_)
    np.testing.assert_array_equal(*found)
