"""Taking labels away: against self-training on the same samples by hand."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from skinfluence import SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner, InfluenceCleanerCV
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


def unlabeller(**options):
    defaults = {"estimator": quick(), "n_remove": 18, "random_state": 0}
    return InfluenceCleaner(**{**defaults, "action": "unlabel", **options})


LABELS = [
    np.array([0, 1, 2]),
    np.array([0.0, 1.0, 2.0]),
    np.array([0, 1, 2], dtype=np.uint8),
    np.array(["a", "b", "c"]),
    np.array(["a", "b", "c"], dtype=object),
]


@pytest.mark.parametrize("names", LABELS, ids=lambda names: names.dtype.kind)
def test_the_suspects_stay_without_their_labels(blobs, names):
    X, y, _, X_val, y_val = blobs
    cleaned = unlabeller().fit(X, names[y], X_val, names[y_val])
    suspects = InfluenceCleaner(quick(), n_remove=18, random_state=0)
    suspects = suspects.fit(X, y, X_val, y_val).removed_indices_
    assert np.array_equal(cleaned.unlabelled_indices_, suspects)
    assert cleaned.support_.all()
    assert cleaned.n_removed_ == 0
    frame = cleaned.to_frame()
    assert sorted(frame.index[frame["unlabelled"]]) == sorted(suspects)
    assert frame["label"].tolist() == names[y][cleaned.ranking_].tolist()
    # scikit-learn's own self-training, told which labels are missing.
    left = y.copy()
    left[suspects] = -1
    by_hand = SelfTrainingClassifier(quick()).fit(X, left)
    assert (by_hand.labeled_iter_[suspects] > 0).any()
    assert np.array_equal(cleaned.predict_proba(X_val), by_hand.predict_proba(X_val))
    assert np.array_equal(cleaned.predict(X_val), names[by_hand.predict(X_val)])
    assert cleaned.classes_.tolist() == names.tolist()


def test_any_semi_supervised_classifier_can_be_the_final_one(blobs):
    X, y, _, X_val, y_val = blobs
    final = make_pipeline(StandardScaler(), LabelSpreading())
    cleaned = unlabeller(final_estimator=final).fit(X, y, X_val, y_val)
    left = y.copy()
    left[cleaned.unlabelled_indices_] = -1
    by_hand = final.fit(X, left)
    assert np.array_equal(cleaned.predict(X_val), by_hand.predict(X_val))


def test_other_rankings_unlabel_too(blobs):
    cleaned = unlabeller(scorer="loss").fit(*blobs[:2])
    assert len(cleaned.unlabelled_indices_) == 18


def test_rounds_train_without_the_suspects(blobs):
    X, y, _, X_val, y_val = blobs
    removed = InfluenceCleaner(quick(), n_remove=18, n_rounds=3, random_state=0)
    removed = removed.fit(X, y, X_val, y_val).removed_indices_
    cleaned = unlabeller(n_rounds=3).fit(X, y, X_val, y_val)
    assert np.array_equal(cleaned.unlabelled_indices_, removed)


def test_the_number_is_chosen_without_a_warning(blobs):
    # With none to unlabel self-training warns, and warnings are errors here.
    X, y, *_ = blobs
    path = InfluenceCleanerCV(
        quick(), n_removes=[0, 12], action="unlabel", cv=2, random_state=0
    )
    path.fit(X, y)
    assert path.n_remove_ in (0, 12)
    assert len(path.unlabelled_indices_) == path.n_remove_


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"final_estimator": LogisticRegression()}, "`final_estimator` must learn"),
        ({"final_estimator": make_pipeline(quick())}, "`final_estimator` must learn"),
        ({"refit": "counterfactual"}, "`refit` must be 'full' with action='unlabel'"),
        ({"estimator": SGDInfluenceRegressor()}, "`estimator` must be a classifier"),
    ],
)
def test_what_cannot_learn_from_them_is_refused(blobs, options, match):
    with pytest.raises((TypeError, ValueError), match=match):
        unlabeller(**options).fit(*blobs[:2])


def test_the_label_of_none_is_refused(blobs):
    X, y, *_ = blobs
    with pytest.raises(ValueError, match="`y` must not have the label -1"):
        unlabeller().fit(X, y - 1)


@pytest.mark.parametrize(
    ("final", "names", "match"),
    [
        (None, np.array([False, True]), "numbers or text .* dtype bool"),
        (LabelSpreading(), np.array([False, True]), "numbers with .* dtype bool"),
        (
            make_pipeline(StandardScaler(), LabelSpreading()),
            np.array(["a", "b"]),
            "numbers with .* which LabelSpreading takes no missing label",
        ),
    ],
)
def test_labels_without_room_for_a_missing_one_are_refused(blobs, final, names, match):
    X, y, *_ = blobs
    with pytest.raises(ValueError, match=match):
        unlabeller(final_estimator=final).fit(X, names[y % 2])


def test_weights_that_self_training_cannot_take_are_refused(blobs):
    X, y, *_ = blobs
    with pytest.raises(
        TypeError, match="SelfTrainingClassifier takes no sample_weight"
    ):
        unlabeller().fit(X, y, sample_weight=np.ones(len(y)))


def test_does_not_resample(blobs):
    assert not hasattr(unlabeller(), "fit_resample")
    with pytest.raises(AttributeError) as raised:
        unlabeller().fit_resample(*blobs[:2])
    assert "unlabelled_indices_" in str(raised.value.__cause__)
