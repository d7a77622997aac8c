"""What a cleaner refuses, before any work, and that nothing is left behind."""

import joblib
import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch.utils.data import TensorDataset

from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


def state_of(cleaner):
    return {name: id(value) for name, value in vars(cleaner).items()}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"n_remove": 200},
            ValueError,
            r"below the number of samples \(120\), got 200",
        ),
        ({"n_remove": 1.5}, ValueError, "a fraction, must be at least 0 and below 1"),
        ({"n_remove": True}, TypeError, "must be a count"),
        ({"n_remove": "10%"}, TypeError, "got '10%'. A tenth of the samples is 0.1"),
        (
            {"n_remove": 100, "validation_fraction": 0.2},
            ValueError,
            r"samples that are ranked \(96; the others",
        ),
        ({"scorer": "lost"}, ValueError, "`scorer` must be one of"),
        (
            {"estimator": LogisticRegression()},
            TypeError,
            "must have a method `influence`",
        ),
        ({"estimator": quick(record=None)}, ValueError, "must record its training"),
        ({"validation_fraction": 1.0}, ValueError, "'validation_fraction' parameter"),
        ({"n_runs": 0}, ValueError, "'n_runs' parameter"),
        ({"at": "last"}, ValueError, "'at' parameter"),
        ({"refit": "half"}, ValueError, "'refit' parameter"),
        ({"output": "pca"}, ValueError, "'output' parameter"),
        ({"memory": 3}, ValueError, "'memory' parameter"),
        (
            {"cv": 3, "refit": "counterfactual"},
            ValueError,
            "`cv` must be None with ref",
        ),
        (
            {"final_estimator": quick(), "refit": "counterfactual"},
            ValueError,
            "`final_estimator` must be None with refit='counterfactual'",
        ),
        (
            {
                "estimator": LogisticRegression(),
                "scorer": "loss",
                "refit": "counterfactual",
            },
            TypeError,
            "must have a method `refit_without`",
        ),
        (
            {"final_estimator": LogisticRegression(), "output": "representation"},
            TypeError,
            "`final_estimator` must be a network with output='representation', got Log",
        ),
        (
            {"n_remove": "auto", "cv": [(np.arange(60), np.arange(60, 120))]},
            ValueError,
            "a number of folds or a splitter with n_remove='auto'",
        ),
    ],
)
def test_refuses_parameters_before_any_work(
    blobs, monkeypatch, options, error, message
):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick()).fit(X, y).set_params(**options)
    before = state_of(cleaner)
    for estimator in (SGDInfluenceClassifier, LogisticRegression):
        monkeypatch.setattr(estimator, "fit", lambda self, *data: pytest.fail("work"))
    with pytest.raises(error, match=message):
        cleaner.fit(X, y)
    assert state_of(cleaner) == before
    fresh = InfluenceCleaner(quick()).set_params(**options)
    with pytest.raises(error, match=message):
        fresh.fit(X, y)
    assert not [name for name in vars(fresh) if name.endswith("_")]


BAD_WEIGHTS = {
    "too few": (lambda n: np.ones(n - 1), "`{name}` must have one number for each of "),
    "too many": (lambda n: np.ones(n + 1), "each of the {n} rows of {rows}, got shape"),
    "one": (lambda n: 1.0, r"each of the {n} rows of {rows}, got shape \(\)"),
    "a column": (lambda n: np.ones((n, 1)), "each of the {n} rows of {rows}, got sha"),
    "negative": (lambda n: np.arange(n) - 1.0, "`{name}` must not be negative, infi"),
    "NaN": (lambda n: np.full(n, np.nan), "`{name}` must not be .* NaN, got nan"),
    "infinite": (lambda n: np.full(n, np.inf), "`{name}` must not be .* NaN, got inf"),
    "zeros": (np.zeros, "`{name}` must have a positive sum, got only zeros"),
    "text": (lambda n: ["a"] * n, "`{name}` must be numbers, got"),
}


@pytest.mark.parametrize("weights", BAD_WEIGHTS)
@pytest.mark.parametrize("kind", [InfluenceCleaner, InfluenceCleanerCV])
def test_refuses_bad_weights_before_any_work(blobs, monkeypatch, kind, weights):
    X, y, _, X_val, y_val = blobs
    monkeypatch.setattr(
        SGDInfluenceClassifier, "fit", lambda self, *data, **o: pytest.fail("work")
    )
    make, message = BAD_WEIGHTS[weights]
    message = message.format(name="sample_weight", n=120, rows="X")
    for validation in ((), (X_val, y_val)):
        cleaner = kind(quick())
        with pytest.raises(ValueError, match=message):
            cleaner.fit(X, y, *validation, sample_weight=make(120))
        with pytest.raises(ValueError, match=message):
            cleaner.fit_resample(X, y, *validation, sample_weight=make(120))


@pytest.mark.parametrize("kind", [dict, TensorDataset])
def test_refuses_what_it_cannot_take_rows_from(blobs, kind):
    X, y, *_ = blobs
    data = {"X": X} if kind is dict else TensorDataset(torch.from_numpy(X))
    with pytest.raises(TypeError, match=f"can be selected, got {kind.__name__}"):
        InfluenceCleaner(quick()).fit(data, y)


def test_refuses_bad_validation_data(blobs, monkeypatch):
    X, y, _, X_val, y_val = blobs
    monkeypatch.setattr(
        SGDInfluenceClassifier, "fit", lambda self, *data: pytest.fail("work")
    )
    cleaner = InfluenceCleaner(quick())
    with pytest.raises(ValueError, match="`y_val` must be given with X_val, got None"):
        cleaner.fit(X, y, X_val)
    with pytest.raises(ValueError, match="`X_val` must be given with `y_val`"):
        cleaner.fit(X, y, y_val=y_val)
    with pytest.raises(ValueError, match="`X_val` must be given with"):
        cleaner.fit(X, y, sample_weight_val=y_val)
    with pytest.raises(ValueError, match="X has 3 features, but InfluenceCleaner is"):
        cleaner.fit(X, y, X_val[:, :3], y_val)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        cleaner.fit(X, y, X_val, y_val[:-1])
    for weights, message in BAD_WEIGHTS.values():
        own = message.format(name="sample_weight_val", n=40, rows="X_val")
        with pytest.raises(ValueError, match=own):
            cleaner.fit(X, y, X_val, y_val, sample_weight_val=weights(40))
        with pytest.raises(ValueError, match=own):
            cleaner.fit(X, y, (X_val, y_val, weights(40)))
    with pytest.raises(ValueError, match=r"only labels that y has, got \[7\] as well"):
        cleaner.fit(X, y, X_val, np.where(y_val == 1, 7, y_val))
    with pytest.raises(ValueError, match="`cv` must be None where X_val is given"):
        InfluenceCleaner(quick(), cv=3).fit(X, y, X_val, y_val)
    with pytest.raises(ValueError, match="with nothing beside it, got 2 items"):
        cleaner.fit(X, y, (X_val, y_val), y_val)


def test_validation_data_as_long_as_the_samples_must_be_a_tuple(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick())
    with pytest.raises(ValueError, match=r"as many rows as X \(120\): a cross-validat"):
        cleaner.fit(X, y, X[::-1], y[::-1])
    cleaner.fit(X, y, (X[::-1], y[::-1]))
    clf = quick().fit(X, y)
    expected = clf.influence(X[::-1], y[::-1], at="epochs")
    assert np.array_equal(cleaner.influence_, expected)
    weights = np.arange(120.0)
    cleaner.fit(X, y, (X[::-1], y[::-1], weights))
    expected = clf.influence(X[::-1], y[::-1], sample_weight_val=weights, at="epochs")
    assert np.array_equal(cleaner.influence_, expected)


def test_refuses_to_empty_a_class(blobs):
    X, y, *_ = blobs
    few = np.concatenate([np.flatnonzero(y == 0)[:2], np.flatnonzero(y == 1)])
    labels = np.array(["rare", "common"])[y[few]]

    def rare_first(estimator, X, y, X_val, y_val):
        return np.where(y == "rare", -1.0, 1.0)

    cleaner = InfluenceCleaner(
        quick(), n_remove=3, scorer=rare_first, max_class_fraction=None
    )
    with pytest.raises(ValueError, match="3 would leave none of 'rare'"):
        cleaner.fit(X[few], labels, X[few[:2]], labels[:2])
    assert not [name for name in vars(cleaner) if name.endswith("_")]


def test_refuses_fit_parameters_that_the_final_estimator_does_not_take(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick(), final_estimator=KNeighborsClassifier())
    with pytest.raises(
        TypeError,
        match="but KNeighborsClassifier takes no sample_weight",
    ):
        cleaner.fit(X, y, sample_weight=np.ones(len(y)))


def test_nothing_half_fitted_stays_behind(blobs):
    X, y, *_ = blobs

    class Broken(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            raise RuntimeError("broken")

    cleaner = InfluenceCleaner(quick(), final_estimator=Broken(), random_state=0)
    with pytest.raises(RuntimeError, match="broken"):
        cleaner.fit(X, y)
    assert not [name for name in vars(cleaner) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        cleaner.predict(X)
    cleaner.set_params(final_estimator=LogisticRegression()).fit(X, y)
    before = state_of(cleaner)
    with pytest.raises(RuntimeError, match="broken"):
        cleaner.set_params(final_estimator=Broken()).fit(X[:60], y[:60])
    before["final_estimator"] = id(cleaner.final_estimator)
    assert state_of(cleaner) == before


def test_forked_processes_that_would_hang_are_refused_by_name(blobs, monkeypatch):
    X, y, *_ = blobs
    monkeypatch.setattr(
        SGDInfluenceClassifier, "fit", lambda self, *data: pytest.fail("work")
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    cleaner = InfluenceCleaner(quick(), cv=3, n_jobs=2)
    message = "`n_jobs` must be 1 within joblib's backend 'multiprocessing', got 2"
    with (
        joblib.parallel_config("multiprocessing"),
        pytest.raises(ValueError, match=message),
    ):
        cleaner.fit(X, y)


def test_forked_processes_with_one_thread_work(blobs):
    X, y, *_ = blobs
    assert torch.get_num_threads() == 1
    cleaner = InfluenceCleaner(quick(), cv=2, random_state=0)
    expected = cleaner.fit(X, y).influence_
    with joblib.parallel_config("multiprocessing"):
        found = cleaner.set_params(n_jobs=2).fit(X, y).influence_
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("given", [(3, [1]), ([[0.0, 0.0]], 3)], ids=["X", "y"])
def test_validation_data_without_rows(blobs, given):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick())
    with pytest.raises(TypeError, match=r"`._val` must be a container whose rows"):
        cleaner.fit(X, y, *given)
    with pytest.raises(TypeError, match=r"`._val` must be a container whose rows"):
        cleaner.fit(X, y, given)
