"""Relabelling and reweighting: against their definitions, and by what they do."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV
from skinfluence.scorers._descent import LOWEST, lowered, weight_slopes
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


def relabeller(**options):
    return InfluenceCleaner(
        quick(), action="relabel", **{"n_remove": 18, "random_state": 0, **options}
    )


def test_relabels_those_with_most_to_gain(blobs):
    X, y, flips, X_val, y_val = blobs
    cleaner = relabeller().fit(X, y, X_val, y_val)
    changes = quick().fit(X, y).label_influence(X_val, y_val, at="epochs")
    assert np.array_equal(cleaner.influence_, changes.min(axis=1))
    chosen = changes.min(axis=1).argsort(kind="stable")[:18]
    table = cleaner.relabelled_
    assert table.columns.tolist() == ["index", "from", "to", "gain"]
    assert np.array_equal(table["index"], chosen)
    assert np.array_equal(table["from"], y[chosen])
    assert np.array_equal(table["to"], changes[chosen].argmin(axis=1))
    assert np.array_equal(table["gain"], -changes[chosen].min(axis=1))
    # 18 of 120 labels are wrong: chance would find 2.7 of them.
    assert flips[chosen].sum() >= 14
    # All samples stay, and the final fit is on the corrected labels.
    assert cleaner.support_.all()
    assert cleaner.n_removed_ == len(cleaner.removed_indices_) == 0
    mended = y.copy()
    mended[chosen] = table["to"]
    direct = quick().fit(X, mended)
    assert np.array_equal(cleaner.predict_proba(X_val), direct.predict_proba(X_val))


@pytest.mark.parametrize("kind", [InfluenceCleaner, InfluenceCleanerCV])
@pytest.mark.parametrize("names", ["abc", "bca", "abd"])
def test_relabels_to_labels_of_y_only(blobs, kind, names):
    X, y, _, X_val, y_val = blobs
    names = np.array(list(names))
    # One class that no sample has, and the others in another order than sorted.
    clf = quick(classes=["b", "d", "c", "a"])
    options = {"n_remove": 18} if kind is InfluenceCleaner else {"n_removes": [18]}
    cleaner = kind(clf, action="relabel", random_state=0, **options)
    cleaner.fit(X, names[y], X_val, names[y_val])
    changes = clf.fit(X, names[y]).label_influence(X_val, names[y_val], at="epochs")
    known = np.isin(clf.classes_, names)
    lowest = changes[:, known].min(axis=1)
    assert np.array_equal(cleaner.influence_, lowest)
    chosen = lowest.argsort(kind="stable")[:18]
    proposed = clf.classes_[known][changes[chosen][:, known].argmin(axis=1)]
    assert np.array_equal(cleaner.relabelled_["index"], chosen)
    assert np.array_equal(cleaner.relabelled_["to"], proposed)


@pytest.mark.parametrize("n_rounds", [None, 3])
def test_right_labels_stay(n_rounds):
    # Far apart, so that every other label of every sample raises the loss.
    X, y, _, X_val, y_val = flipped_blobs(fraction=0)
    X, X_val = X + 20 * np.eye(3, 4)[y], X_val + 20 * np.eye(3, 4)[y_val]
    X, X_val = X.astype(np.float32), X_val.astype(np.float32)
    clf = quick(lr=0.01)
    changes = clf.fit(X, y).label_influence(X_val, y_val, at="epochs")
    assert (changes.min(axis=1) == 0).all()
    cleaner = relabeller(n_rounds=n_rounds).set_params(estimator=clf)
    cleaner.fit(X, y, X_val, y_val)
    assert len(cleaner.relabelled_) == 0
    assert (cleaner.influence_ == 0).all()
    with pytest.raises(ValueError, match="must distinguish the training samples"):
        cleaner.set_params(estimator=quick(lr=0.0)).fit(X, y, X_val, y_val)


def test_relabels_to_the_true_label():
    X, y, flips, X_val, y_val = flipped_blobs(fraction=0.15)
    truth = flipped_blobs(fraction=0.0)[1]
    table = relabeller().fit(X, y, X_val, y_val).relabelled_
    wrong = flips[table["index"]]
    assert (table["to"] == truth[table["index"]])[wrong].mean() >= 0.9


def test_string_labels_containers_and_resampling(blobs):
    X, y, _, X_val, y_val = blobs
    names = np.array(["ash", "beech", "cedar"])
    index = [f"row {k}" for k in range(len(y))]
    frame = pd.DataFrame(X, index=index)
    labels = pd.Series(names[y], index=index, dtype="category")
    cleaner = relabeller()
    frame_out, labels_out = cleaner.fit_resample(frame, labels, X_val, names[y_val])
    pd.testing.assert_frame_equal(frame_out, frame)
    assert labels_out.dtype == labels.dtype
    moved = np.flatnonzero(labels_out != labels)
    table = cleaner.relabelled_.set_index("index")
    assert sorted(table.index) == moved.tolist()
    assert np.array_equal(labels_out.iloc[table.index], table["to"])
    _, listed = relabeller().fit_resample(X, names[y].tolist(), X_val, names[y_val])
    assert isinstance(listed, list)
    assert listed == labels_out.tolist()


def test_the_proposal_is_a_table(blobs):
    X, y, _, X_val, y_val = blobs
    cleaner = relabeller().fit(X, y, X_val, y_val)
    frame = cleaner.to_frame()
    assert frame.index.tolist() == cleaner.ranking_.tolist()
    assert frame["relabelled"].sum() == len(cleaner.relabelled_)
    assert np.array_equal(frame["proposal"][:18], cleaner.relabelled_["to"])
    assert (frame["label"] == frame["proposal"]).any()
    apart = relabeller(n_remove=5, validation_fraction=0.2).fit(X, y)
    frame = apart.to_frame().sort_index()
    unranked = np.isnan(apart.influence_)
    assert unranked.sum() == 24
    assert np.array_equal(frame["proposal"][unranked], y[unranked])


def test_cross_influence_and_several_runs_average_over_labels(blobs):
    X, y, _, X_val, y_val = blobs
    twice = relabeller(n_runs=2).fit(X, y, X_val, y_val)
    assert np.isfinite(twice.influence_).all()
    folds = relabeller(cv=3, n_runs=2).fit(X, y)
    assert np.isfinite(folds.influence_).all()
    assert len(folds.relabelled_) == 18


def test_verified_gains_are_exact(blobs):
    X, y, _, X_val, y_val = blobs
    from skinfluence.scorers import SGDInfluence

    cleaner = relabeller(scorer=SGDInfluence("final", verify=3), n_remove=2)
    cleaner.fit(X, y, X_val, y_val)
    clf = quick().fit(X, y)
    for row in cleaner.relabelled_.itertuples():
        exact = clf.counterfactual_influence(X_val, y_val, [row.index], labels=[row.to])
        # Runs are taken in stacks of another size: rounding in single precision.
        assert row.gain == pytest.approx(-exact[0], rel=1e-3)


@pytest.mark.slow
def test_chosen_by_cross_validation_and_in_a_pipeline(blobs):
    X, y, *_ = blobs
    pipeline = make_pipeline(StandardScaler(), relabeller())
    grid = {"influencecleaner__action": ["remove", "relabel", "reweight"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert (
        search.best_params_["influencecleaner__action"]
        in grid["influencecleaner__action"]
    )
    auto = relabeller(n_remove="auto").fit(X, y)
    assert (auto.relabelled_["gain"] > 0).all()
    chosen = InfluenceCleanerCV(
        quick(), n_removes=[0, 18], action="relabel", cv=2, random_state=0
    ).fit(X, y)
    assert len(chosen.relabelled_) in (0, 18)


def test_lowered_is_the_nearest_point():
    rng = np.random.default_rng(0)
    for most in (0, 0.5, 1.7, 6):
        weights = rng.normal(0.6, 0.7, size=8)
        found = lowered(weights, most)
        if most == 0:
            assert np.array_equal(found, np.ones(8))
            continue
        # An optimizer that knows nothing of the closed form.
        expected = minimize(
            lambda w, to=weights: ((w - to) ** 2).sum(),
            np.full(8, 1 - min(most / 8, 0.5)),
            jac=lambda w, to=weights: 2 * (w - to),
            bounds=[(LOWEST, 1)] * 8,
            constraints={"type": "ineq", "fun": lambda w, m=most: m - (1 - w).sum()},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        ).x
        assert np.abs(found - expected).max() < 1e-6
        assert (1 - found).sum() <= most + 1e-12


@pytest.mark.slow
def test_slopes_are_the_derivative_in_the_weights(blobs):
    X, y, _, X_val, y_val = blobs
    X, X_val = X[:30].astype(np.float64), X_val.astype(np.float64)
    y = y[:30]
    given, weights = np.linspace(0.5, 2, 30), np.linspace(0.05, 1, 30)
    clf = quick()

    def loss(w):
        fitted = clone(clf).fit(X, y, sample_weight=given * w)
        return log_loss(y_val, fitted.predict_proba(X_val))

    step = 1e-4
    expected = [
        (loss(weights + step * each) - loss(weights - step * each)) / (2 * step)
        for each in np.eye(30)
    ]
    scores = clf.fit(X, y, sample_weight=given * weights).influence(X_val, y_val)
    found = weight_slopes(scores, given, weights)
    # The differences' error: third derivatives times 1e-8, in weights as low as .05.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert np.abs(found).max() > 1e-2


def test_reweighting_lowers_the_flips_within_its_budget(blobs):
    X, y, flips, X_val, y_val = blobs
    cleaner = InfluenceCleaner(quick(), n_remove=18, action="reweight")
    cleaner.fit(X, y, X_val, y_val)
    weights = cleaner.sample_weight_
    assert weights.min() >= LOWEST
    assert weights.max() <= 1
    assert (1 - weights).sum() <= 18 + 1e-9
    assert weights[flips].mean() < 0.4 < 0.9 < weights[~flips].mean()
    direct = quick().fit(X, y, sample_weight=weights)
    assert np.array_equal(cleaner.predict_proba(X_val), direct.predict_proba(X_val))
    losses = [
        log_loss(y_val, model.predict_proba(X_val))
        for model in (cleaner, cleaner.estimator_)
    ]
    assert losses[0] < losses[1]
    assert np.array_equal(cleaner.to_frame().sort_index()["sample_weight"], weights)


def test_reweighting_beside_given_weights_and_data_apart(blobs):
    X, y, *_ = blobs
    given = np.linspace(0.5, 2, len(y))
    cleaner = InfluenceCleaner(
        quick(), n_remove=10, action="reweight", random_state=0
    ).fit(X, y, sample_weight=given)
    weights = cleaner.sample_weight_
    assert (weights[np.isnan(cleaner.influence_)] == 1).all()
    direct = quick().fit(X, y, sample_weight=given * weights)
    assert np.array_equal(cleaner.predict_proba(X), direct.predict_proba(X))
    nothing = InfluenceCleaner(quick(), n_remove=0, action="reweight").fit(X, y)
    assert (nothing.sample_weight_ == 1).all()


@pytest.mark.parametrize("action", ["relabel", "reweight"])
def test_says_what_an_action_needs(blobs, action):
    X, y, *_ = blobs
    with pytest.raises(ValueError, match=rf"`scorer` .* action='{action}', got 'loss'"):
        InfluenceCleaner(quick(), action=action, scorer="loss").fit(X, y)
    with pytest.raises(ValueError, match=rf"`refit` must be 'full' .*'{action}'"):
        InfluenceCleaner(quick(), action=action, refit="counterfactual").fit(X, y)


def test_refuses_what_cannot_be_relabelled_or_reweighted(blobs):
    X, y, *_ = blobs
    with pytest.raises(ValueError, match=r"at least two classes .* got \[1\]"):
        relabeller().fit(X, np.ones_like(y))
    with pytest.raises(TypeError, match="`label_influence` for action='relabel'"):
        InfluenceCleaner(SGDInfluenceRegressor(), action="relabel").fit(
            *load_diabetes(return_X_y=True)
        )
    with pytest.raises(TypeError, match="KNeighborsClassifier takes no sample_weight"):
        InfluenceCleaner(
            quick(), final_estimator=KNeighborsClassifier(), action="reweight"
        ).fit(X, y)
    with pytest.raises(ValueError, match="The 'action' parameter of InfluenceCleaner"):
        InfluenceCleaner(quick(), action="mend").fit(X, y)
    weighting = InfluenceCleaner(quick(), action="reweight")
    assert not hasattr(weighting, "fit_resample")
    other = InfluenceCleaner(
        quick(), final_estimator=LogisticRegression(), action="reweight", n_remove=10
    ).fit(X, y)
    direct = LogisticRegression().fit(X, y, sample_weight=other.sample_weight_)
    assert np.allclose(other.predict_proba(X), direct.predict_proba(X))
