"""Inside scikit-learn's and imbalanced-learn's tools."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter
from torch import nn
from torch.nn.functional import gelu

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV
from tests import fresh
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


def test_last_in_a_pipeline_with_columns(blobs):
    X, y, *_ = blobs
    frame = pd.DataFrame(X, columns=list("abcd")).assign(
        kind=np.where(X[:, 0] > 0, "up", "down")
    )
    columns = ColumnTransformer(
        [
            ("scale", StandardScaler(), list("abcd")),
            ("kinds", OneHotEncoder(), ["kind"]),
        ]
    )
    pipe = make_pipeline(
        columns, InfluenceCleaner(quick(), n_remove=12, random_state=0)
    )
    pipe.fit(frame, y)
    plain = make_pipeline(columns, quick()).fit(frame, y)
    assert pipe.score(frame, y) > 0.7
    assert pipe[-1].n_removed_ == 12
    assert (
        pipe.predict_proba(frame).shape == plain.predict_proba(frame).shape == (120, 3)
    )
    assert not hasattr(pipe, "transform")
    search = GridSearchCV(pipe, {"influencecleaner__n_remove": [0, 6]}, cv=2)
    assert search.fit(frame, y).best_score_ > 0.7


def test_validation_data_and_weights_reach_it_through_a_pipeline(blobs):
    X, y, _, X_val, y_val = blobs
    weights = np.linspace(1, 2, len(y))
    pipe = make_pipeline(StandardScaler(), InfluenceCleaner(quick()))
    pipe.fit(
        X,
        y,
        influencecleaner__X_val=X_val,
        influencecleaner__y_val=y_val,
        influencecleaner__sample_weight=weights,
    )
    scaled = StandardScaler().fit_transform(X)
    direct = InfluenceCleaner(quick()).fit(
        scaled, y, X_val, y_val, sample_weight=weights
    )
    assert np.array_equal(pipe[-1].influence_, direct.influence_)


def test_cross_validation_refuses_to_cut_validation_data(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick())
    with pytest.raises(
        ValueError, match=r"as many rows as X \(80\): a cross-validation"
    ):
        cross_val_score(
            cleaner, X, y, cv=3, params={"X_val": X, "y_val": y}, error_score="raise"
        )
    scores = cross_val_score(cleaner, X, y, cv=3, params={"X_val": (X, y)})
    assert scores.min() > 0.5


def test_cross_val_score_and_calibration(blobs):
    X, y, _, X_val, y_val = blobs
    cleaner = InfluenceCleaner(quick(), random_state=0)
    scores = cross_val_score(cleaner, X, y, cv=3)
    assert scores.shape == (3,)
    assert scores.min() > 0.6
    calibrated = CalibratedClassifierCV(cleaner, cv=2).fit(X, y)
    assert calibrated.predict_proba(X_val).sum(axis=1) == pytest.approx(1.0)
    assert calibrated.score(X_val, y_val) > 0.8


@pytest.mark.parametrize("kind", [InfluenceCleaner, InfluenceCleanerCV])
def test_clones_and_pickles(blobs, kind):
    X, y, *_ = blobs
    cleaner = kind(quick(), output="representation", random_state=0)
    if kind is InfluenceCleanerCV:
        cleaner.set_params(n_removes=[0, 5], cv=2)
    copy = clone(cleaner)
    assert copy.get_params(deep=False).keys() == cleaner.get_params(deep=False).keys()
    assert repr(copy) == repr(cleaner)
    assert "output='representation'" in repr(copy)
    cleaner.fit(X, y)
    again = pickle.loads(pickle.dumps(cleaner))
    assert np.array_equal(again.predict_proba(X), cleaner.predict_proba(X))
    assert np.array_equal(again.transform(X), cleaner.transform(X))
    assert again.to_frame().equals(cleaner.to_frame())
    assert not hasattr(clone(cleaner), "support_")


def test_kind_and_tags_are_those_of_the_final_estimator():
    assert is_classifier(InfluenceCleaner())
    assert is_regressor(InfluenceCleaner(SGDInfluenceRegressor()))
    assert is_regressor(InfluenceCleanerCV(SGDInfluenceRegressor()))
    boosting = InfluenceCleaner(final_estimator=HistGradientBoostingClassifier())
    assert get_tags(boosting).input_tags.allow_nan is False
    assert get_tags(boosting).input_tags.sparse is False
    assert get_tags(InfluenceCleaner()).input_tags.sparse
    assert get_tags(InfluenceCleaner()).transformer_tags is None
    transformer = InfluenceCleaner(output="representation")
    assert get_tags(transformer).transformer_tags is not None


# --------------------------------------------------------------------- routing


def test_metadata_is_routed(blobs):
    X, y, _, X_val, y_val = blobs
    weights = np.linspace(1, 2, len(y))
    with config_context(enable_metadata_routing=True):
        cleaner = InfluenceCleaner(
            quick().set_fit_request(sample_weight=True),
            final_estimator=LogisticRegression().set_fit_request(sample_weight=False),
        )
        cleaner.set_fit_request(X_val=True, y_val=True)
        cleaner.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, cleaner)
        pipe.fit(X, y, X_val=X_val, y_val=y_val, sample_weight=weights)
        scaled = StandardScaler().fit_transform(X)
        clf = quick().fit(scaled, y, sample_weight=weights)
        expected = clf.influence(X_val, y_val, at="epochs")
        assert np.array_equal(pipe[-1].influence_, expected)
        kept = pipe[-1].sample_indices_
        final = LogisticRegression().fit(scaled[kept], y[kept])
        assert np.array_equal(pipe[-1].final_estimator_.coef_, final.coef_)
        search = GridSearchCV(cleaner, {"n_remove": [0, 5]}, cv=2)
        search.fit(X, y, X_val=(X_val, y_val, None), sample_weight=weights)
        assert search.best_score_ > 0.6
        # Without any metadata, and with one estimator for both.
        assert InfluenceCleaner(quick()).fit(X, y).n_removed_ == 6


@pytest.mark.parametrize("kind", [InfluenceCleaner, InfluenceCleanerCV])
def test_weights_are_an_argument_of_fit(blobs, kind):
    X, y, _, X_val, y_val = blobs
    weights = np.random.default_rng(0).uniform(0.1, 3, len(y))
    options = {"n_removes": [0, 12], "cv": 2} if kind is InfluenceCleanerCV else {}
    cleaner = kind(quick(), random_state=0, **options)
    assert has_fit_parameter(cleaner, "sample_weight")
    calibrated = CalibratedClassifierCV(cleaner, cv=2).fit(X, y, weights)
    for (train, _), part in zip(
        StratifiedKFold(2).split(X, y), calibrated.calibrated_classifiers_, strict=True
    ):
        direct = clone(cleaner).fit(X[train], y[train], sample_weight=weights[train])
        found = part.estimator
        assert np.array_equal(found.influence_, direct.influence_, equal_nan=True)
        assert np.array_equal(found.predict_proba(X_val), direct.predict_proba(X_val))
    boosted = AdaBoostClassifier(cleaner, n_estimators=2, random_state=0).fit(X, y)
    assert boosted.score(X_val, y_val) > 0.8


# -------------------------------------------------------------- representation


def test_representation_is_the_last_hidden_layer(blobs):
    X, y, _, X_val, _ = blobs
    clf = SGDInfluenceClassifier(
        module__hidden_layer_sizes=(7, 5), max_epochs=3, batch_size=16, random_state=0
    )
    cleaner = InfluenceCleaner(clf, output="representation", random_state=0)
    cleaner.fit(X, y)
    first, _, second, *_ = cleaner.final_estimator_.module_.layers
    with torch.no_grad():
        expected = gelu(second(gelu(first(torch.from_numpy(X_val))))).numpy()
    found = cleaner.transform(X_val)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32
    linear = InfluenceCleaner(quick(), output="representation").fit(X, y)
    assert np.array_equal(linear.transform(X_val), X_val)
    assert not first._forward_pre_hooks


def test_it_is_a_transformer_before_another_estimator(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick(), output="representation", random_state=0)
    pipe = make_pipeline(StandardScaler(), cleaner, LogisticRegression())
    assert pipe.fit(X, y).predict(X).shape == (120,)
    pipe.set_output(transform="pandas").fit(X, y)
    frame = pipe[:-1].transform(X)
    names = [f"influencecleaner{unit}" for unit in range(4)]
    assert frame.columns.tolist() == names
    assert cleaner.get_feature_names_out().tolist() == names
    assert list(cleaner.set_output(transform="pandas").fit_transform(X, y)) == names


def test_the_message_in_the_wrong_place_says_what_to_choose(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick()).fit(X, y)
    for name in ("transform", "fit_transform", "get_feature_names_out", "set_output"):
        assert not hasattr(cleaner, name)
    with pytest.raises(AttributeError) as error:
        cleaner.transform(X)
    assert "last step of a scikit-learn Pipeline, or" in str(error.value.__cause__)
    transformer = InfluenceCleaner(quick(), output="representation")
    assert not hasattr(transformer, "fit_resample")
    with pytest.raises(AttributeError) as error:
        transformer.fit_resample(X, y)
    assert "`output` must be 'prediction' for fit_resample" in str(
        error.value.__cause__
    )
    pipe = make_pipeline(cleaner, LogisticRegression())
    with pytest.raises(TypeError, match="should be transformers"):
        pipe.fit(X, y)


def test_refuses_a_module_without_a_linear_layer(blobs):
    X, y, *_ = blobs

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(4))

        def forward(self, X):
            return (X * self.factor)[:, :3]

    cleaner = InfluenceCleaner(
        SGDInfluenceClassifier(Scale, max_epochs=1), output="representation"
    )
    with pytest.raises(ValueError, match=r"with a torch\.nn\.Linear, got Scale"):
        cleaner.fit(X, y)
    assert not [name for name in vars(cleaner) if name.endswith("_")]


# ------------------------------------------------------------- imbalanced-learn


def test_a_step_of_imbalanced_learns_pipeline(blobs):
    imblearn = pytest.importorskip("imblearn.pipeline")
    X, y, _, X_val, y_val = blobs
    frame = pd.DataFrame(X, columns=list("abcd"))
    cleaner = InfluenceCleaner(quick(), n_remove=20, random_state=0)
    final = HistGradientBoostingClassifier(max_iter=5, random_state=0)
    pipe = imblearn.make_pipeline(cleaner, final).fit(frame, y)
    kept = cleaner.sample_indices_
    assert len(kept) == 100
    direct = clone(final).fit(frame.iloc[kept], y[kept])
    val = pd.DataFrame(X_val, columns=list("abcd"))
    assert np.array_equal(pipe.predict_proba(val), direct.predict_proba(val))
    search = GridSearchCV(pipe, {"influencecleaner__n_remove": [0, 20]}, cv=2)
    assert search.fit(frame, y).best_score_ > 0.6
    transformer = InfluenceCleaner(quick(), output="representation")
    both = imblearn.make_pipeline(transformer, LogisticRegression()).fit(X, y)
    assert both.predict(X_val).shape == y_val.shape


def samplers_pipeline(cleaner, final):
    """Return a cleaner before another estimator, which gets no weights."""
    imblearn = pytest.importorskip("imblearn.pipeline")
    return imblearn.make_pipeline(cleaner, final.set_fit_request(sample_weight=False))


@pytest.mark.parametrize("kind", [InfluenceCleaner, InfluenceCleanerCV])
@pytest.mark.parametrize("requested", [True, False, None])
def test_imbalanced_learns_pipeline_routes_to_it(blobs, kind, requested):
    # Only where it is imported does scikit-learn know of `fit_resample`.
    pytest.importorskip("imblearn.pipeline")
    X, y, _, X_val, y_val = blobs
    weights = np.random.default_rng(0).uniform(0.1, 3, len(y))
    options = {"n_removes": [12], "cv": 2} if kind is InfluenceCleanerCV else {}
    plain = kind(quick(), random_state=0, **options)
    expected = clone(plain).fit_resample(X, y, X_val, y_val, sample_weight=weights)
    with config_context(enable_metadata_routing=True):
        cleaner = clone(plain)
        cleaner.estimator.set_fit_request(sample_weight=requested)
        # The pipeline asks for what both methods take, and calls one.
        cleaner.set_fit_request(X_val=True, y_val=True)
        cleaner.set_fit_resample_request(X_val=True, y_val=True)
        pipe = samplers_pipeline(cleaner, LogisticRegression())
        data = {"X_val": X_val, "y_val": y_val, "sample_weight": weights}
        if requested:
            pipe.fit(X, y, **data)
            direct = LogisticRegression().fit(*expected)
            assert np.array_equal(pipe[-1].coef_, direct.coef_)
            return
        error = UnsetMetadataPassedError if requested is None else TypeError
        with pytest.raises(error, match="sample_weight"):
            pipe.fit(X, y, **data)
        # The validation data alone.
        pipe.fit(X, y, X_val=X_val, y_val=y_val)
        unweighted = clone(plain).fit(X, y, X_val, y_val)
        assert np.array_equal(pipe[0].influence_, unweighted.influence_)


def test_validation_data_that_nobody_asked_for_is_refused(blobs):
    X, y, _, X_val, y_val = blobs
    with config_context(enable_metadata_routing=True):
        pipe = samplers_pipeline(InfluenceCleaner(quick()), LogisticRegression())
        for method in ("set_fit_request", "set_fit_resample_request"):
            with pytest.raises(UnsetMetadataPassedError, match=method):
                pipe.fit(X, y, X_val=X_val, y_val=y_val)
            getattr(pipe[0], method)(X_val=True, y_val=True)
        pipe.fit(X, y, X_val=X_val, y_val=y_val)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["imblearn", "skinfluence"])
def test_resampling_is_requested_whatever_was_imported_first(first):
    pytest.importorskip("imblearn")
    code = """
import importlib, sys
import sklearn
sklearn.set_config(enable_metadata_routing=True)
assert not {"imblearn", "skinfluence"} & set(sys.modules)
importlib.import_module(sys.argv[1])
from skinfluence import InfluenceCleaner
import imblearn
cleaner = InfluenceCleaner()
cleaner.set_fit_resample_request(X_val=True, sample_weight=True)
requests = cleaner.get_metadata_routing()._self_request.fit_resample.requests
assert requests["X_val"] is requests["sample_weight"] is True
"""
    fresh.run(code, first)
