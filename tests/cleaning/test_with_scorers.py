"""The cleaner with every scorer: asked for by name, it removes what has low scores."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression

from skinfluence.cleaning import InfluenceCleaner
from skinfluence.exceptions import NotRecordedError
from skinfluence.scorers import (
    Autoencoder,
    DataOOB,
    DataShapley,
    KNNShapley,
    Outlier,
    get_scorer,
)
from tests.cleaning.problems import flipped_blobs, quick

RECORDED = ("mean_loss", "area_under_margin", "forgetting", "probability_margin")
SCORERS = {
    **dict.fromkeys((*RECORDED, "loss", "margin", "knn_shapley", "mean_rank")),
    "data_oob": DataOOB(10, random_state=0),
    "data_shapley": DataShapley(1, random_state=0),
    "autoencoder": Autoencoder(max_epochs=2, random_state=0),
    "representation": Outlier(IsolationForest(random_state=0), "representation"),
    "neighbours of representations": KNNShapley(features="representation"),
}


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs(80)


@pytest.mark.parametrize("name", SCORERS)
def test_removes_what_has_the_lowest_scores(blobs, name):
    X, y, _, X_val, y_val = blobs
    scorer = SCORERS[name] or name
    cleaner = InfluenceCleaner(quick(), n_remove=9, scorer=scorer, random_state=0)
    cleaner.fit(X, y, X_val, y_val)
    expected = get_scorer(scorer)(cleaner.estimator_, X, y, X_val, y_val)
    assert np.array_equal(cleaner.influence_, expected)
    lowest = np.argsort(expected, kind="stable")[:9]
    assert np.array_equal(cleaner.removed_indices_, lowest)


@pytest.mark.parametrize("name", RECORDED)
def test_folds_have_epochs_of_their_own(blobs, name):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick(), n_remove=9, scorer=name, cv=2, random_state=0)
    assert np.isfinite(cleaner.fit(X, y).influence_).all()


@pytest.mark.parametrize("name", RECORDED)
def test_says_what_is_lacking_before_any_work(blobs, name):
    X, y, _, X_val, y_val = blobs
    unrecorded = InfluenceCleaner(quick(record=None), scorer=name)
    with pytest.raises(NotRecordedError, match=f"'{name}', got record=None"):
        unrecorded.fit(X, y, X_val, y_val)

    class Unfit(LogisticRegression):
        def fit(self, X, y):
            raise AssertionError("work was begun")

    with pytest.raises(TypeError, match=f"for the scorer '{name}', got Unfit"):
        InfluenceCleaner(Unfit(), scorer=name).fit(X, y, X_val, y_val)
