"""Rank, remove, refit: what comes of it, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


def parameters(net):
    return np.concatenate(
        [p.detach().numpy().ravel() for p in net.module_.parameters()]
    )


def test_what_is_learned_fits_together(blobs):
    X, y, flips, X_val, y_val = blobs
    cleaner = InfluenceCleaner(quick(), n_remove=18).fit(X, y, X_val, y_val)
    assert cleaner.n_removed_ == len(cleaner.removed_indices_) == 18
    assert np.array_equal(cleaner.removed_indices_, cleaner.ranking_[:18])
    assert np.array_equal(
        np.flatnonzero(~cleaner.support_), np.sort(cleaner.ranking_[:18])
    )
    assert np.array_equal(cleaner.get_support(), cleaner.support_)
    assert np.array_equal(cleaner.get_support(indices=True), cleaner.sample_indices_)
    assert np.array_equal(np.flatnonzero(cleaner.support_), cleaner.sample_indices_)
    assert np.array_equal(cleaner.classes_, [0, 1, 2])
    assert cleaner.n_features_in_ == 4
    kept = cleaner.influence_[cleaner.support_]
    assert cleaner.influence_[cleaner.removed_indices_].max() <= kept.min()
    # 18 of 120 labels are wrong: chance would find 2.7 of them.
    assert flips[cleaner.removed_indices_].sum() >= 15


def test_refits_on_what_is_kept(blobs):
    X, y, _, X_val, y_val = blobs
    weights = np.linspace(0.5, 2, len(y))
    cleaner = InfluenceCleaner(quick(), n_remove=0.1)
    cleaner.fit(X, y, X_val, y_val, sample_weight=weights)
    kept = cleaner.sample_indices_
    assert len(kept) == 108
    direct = quick().fit(X[kept], y[kept], sample_weight=weights[kept])
    assert np.array_equal(parameters(cleaner.final_estimator_), parameters(direct))
    assert np.array_equal(cleaner.predict(X_val), direct.predict(X_val))
    assert np.array_equal(cleaner.predict_proba(X_val), direct.predict_proba(X_val))
    assert cleaner.score(X_val, y_val) == direct.score(X_val, y_val)
    before = quick().fit(X, y, sample_weight=weights)
    assert np.array_equal(parameters(cleaner.estimator_), parameters(before))


def test_counterfactual_repeats_the_run_without_them(blobs):
    X, y, _, X_val, y_val = blobs
    cleaner = InfluenceCleaner(quick(), n_remove=10, refit="counterfactual")
    cleaner.fit(X, y, X_val, y_val)
    direct = quick().fit(X, y).refit_without(cleaner.removed_indices_)
    assert np.array_equal(parameters(cleaner.final_estimator_), parameters(direct))


def test_counterfactual_after_setting_validation_samples_apart(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(
        quick(), n_remove=10, refit="counterfactual", random_state=0
    ).fit(X, y)
    train = np.flatnonzero(~np.isnan(cleaner.influence_))
    places = np.searchsorted(train, cleaner.removed_indices_)
    direct = quick().fit(X[train], y[train]).refit_without(places)
    assert np.array_equal(parameters(cleaner.final_estimator_), parameters(direct))


@pytest.mark.parametrize(
    "final",
    [
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
        RandomForestClassifier(n_estimators=5, random_state=0),
        LogisticRegression(),
    ],
)
def test_any_classifier_may_be_last(blobs, final):
    X, y, _, X_val, y_val = blobs
    labels = np.array(["x", "y", "z"])
    cleaner = InfluenceCleaner(quick(), n_remove=12, final_estimator=final)
    cleaner.fit(X, labels[y], X_val, labels[y_val])
    assert type(cleaner.final_estimator_) is type(final)
    kept = cleaner.sample_indices_
    expected = final.fit(X[kept], labels[y[kept]])
    assert np.array_equal(cleaner.predict(X_val), expected.predict(X_val))
    assert cleaner.classes_.tolist() == ["x", "y", "z"]
    for method in ("decision_function", "predict_log_proba"):
        assert hasattr(cleaner, method) == hasattr(final, method)
        if hasattr(final, method):
            with np.errstate(divide="ignore"):  # a forest is sure at times
                found = getattr(cleaner, method)(X_val)
                assert np.array_equal(found, getattr(final, method)(X_val))


def test_other_estimators_with_other_scorers(blobs):
    X, y, flips, *_ = blobs
    cleaner = InfluenceCleaner(
        LogisticRegression(), scorer="loss", n_remove=18, random_state=0
    ).fit(X, y)
    assert flips[cleaner.removed_indices_].sum() >= 12


def test_a_regressor(blobs):
    X, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    y[:20] += 8
    reg = SGDInfluenceRegressor(random_state=0, max_epochs=10)
    cleaner = InfluenceCleaner(reg, n_remove=20, cv=3, random_state=0).fit(X, y)
    assert (cleaner.removed_indices_ < 20).sum() >= 15
    assert not hasattr(cleaner, "classes_")
    assert not hasattr(cleaner, "predict_proba")
    frame = cleaner.to_frame()
    # Two models trained on each sample.
    spread = ["standard_error", "sign_agreement"]
    assert list(frame) == ["score", *spread, "label", "prediction", "removed"]
    both = np.stack([y, -y], axis=1)
    frame = InfluenceCleaner(reg, random_state=0).fit(X, both).to_frame()
    assert list(frame)[:5] == ["score", *spread, "label_0", "label_1"]


def test_the_default_is_a_classifier_that_follows_the_seed(blobs):
    X, y, *_ = blobs
    found = [InfluenceCleaner(random_state=seed).fit(X, y) for seed in (0, 0, 1)]
    assert isinstance(found[0].final_estimator_, SGDInfluenceClassifier)
    assert found[0].n_removed_ == 6
    states = [parameters(cleaner.final_estimator_) for cleaner in found]
    assert np.array_equal(states[0], states[1])
    assert not np.array_equal(states[0], states[2])


def test_to_frame_shows_the_samples_in_the_order_of_removal(blobs):
    X, y, _, X_val, y_val = blobs
    names = [f"s{row}" for row in range(len(X))]
    labels = np.array(["a", "b", "c"])
    cleaner = InfluenceCleaner(quick(), n_remove=12).fit(
        pd.DataFrame(X, index=names, columns=list("wxyz")),
        labels[y],
        pd.DataFrame(X_val, columns=list("wxyz")),
        labels[y_val],
    )
    frame = cleaner.to_frame()
    assert list(frame) == ["score", "label", "prediction", "probability", "removed"]
    assert frame.index.tolist() == [names[row] for row in cleaner.ranking_]
    assert frame["score"].is_monotonic_increasing
    assert frame["removed"].tolist() == [True] * 12 + [False] * 108
    sample = frame.loc["s5"]
    assert sample["label"] == labels[y[5]]
    likely = cleaner.predict_proba(pd.DataFrame(X[5:6], columns=list("wxyz")))[0]
    assert sample["prediction"] == labels[likely.argmax()]
    assert sample["probability"] == pytest.approx(likely.max())
    plain = InfluenceCleaner(quick()).fit(X, y, X_val, y_val)
    assert plain.to_frame().index.tolist() == plain.ranking_.tolist()
