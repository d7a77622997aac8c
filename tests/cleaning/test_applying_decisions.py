"""A cleaner that does what was decided, against the same done by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfluence import InfluenceCleaner
from skinfluence.cleaning import data_fingerprint
from skinfluence.exceptions import DecisionsError
from skinfluence.inspection import SampleGridDisplay
from tests.cleaning.problems import flipped_blobs, quick

X, Y, *_ = flipped_blobs()
REMOVED, MOVED = [3, 50, 7], 11
OTHER = (int(Y[MOVED]) + 1) % 3


def table(X=X, y=Y, removed=REMOVED, relabelled=((MOVED, OTHER),)):
    rows = [(row, "remove", "") for row in removed] + [(0, "keep", "")]
    rows += [(row, "relabel", label) for row, label in relabelled]
    frame = pd.DataFrame(rows, columns=["sample", "decision", "label"])
    return frame.assign(fingerprint=data_fingerprint(X, y))


def by_hand(y=Y):
    moved = y.copy()
    moved[MOVED] = OTHER
    return np.delete(X, REMOVED, axis=0), np.delete(moved, REMOVED)


def test_fits_on_what_was_decided():
    cleaner = InfluenceCleaner(quick(), decisions=table()).fit(X, Y)
    expected = quick().fit(*by_hand())
    proba = expected.predict_proba(X)
    np.testing.assert_array_equal(cleaner.predict_proba(X), proba)
    assert cleaner.removed_indices_.tolist() == REMOVED
    assert np.flatnonzero(~cleaner.support_).tolist() == sorted(REMOVED)
    assert cleaner.n_removed_ == 3
    moved = cleaner.relabelled_.to_dict("records")
    assert moved == [{"index": MOVED, "from": Y[MOVED], "to": OTHER}]
    assert np.isnan(cleaner.influence_).all()
    assert not hasattr(cleaner, "estimator_")
    words = cleaner.to_frame()["decision"]
    assert words[REMOVED].eq("remove").all()
    assert (words[MOVED], words[0], words[1]) == ("relabel", "keep", "")


def test_repeats_the_run_before_and_keeps_it():
    cleaner = InfluenceCleaner(quick(), decisions=table(), refit="counterfactual")
    cleaner.fit(X, Y)
    before = quick().fit(X, Y)
    assert (cleaner.estimator_.predict_proba(X) == before.predict_proba(X)).all()
    expected = before.refit_without(REMOVED, relabel={MOVED: OTHER})
    assert (cleaner.predict_proba(X) == expected.predict_proba(X)).all()
    assert not np.allclose(cleaner.predict_proba(X), before.predict_proba(X))
    assert cleaner.to_frame()["decision"][REMOVED].eq("remove").all()
    # It has the scores that the cleaner itself does not.
    assert np.isfinite(cleaner.estimator_.influence(X[:5] + 0.1, Y[:5])).all()
    assert np.isnan(cleaner.influence_).all()


def test_reads_the_file_in_a_pipeline(tmp_path):
    scaled = StandardScaler().fit_transform(X)
    path = tmp_path / "decisions.csv"
    table(scaled).to_csv(path, index=False)
    cleaner = clone(InfluenceCleaner(quick(), decisions=path))
    pipeline = make_pipeline(StandardScaler(), cleaner).fit(X, Y)
    assert pipeline[-1].removed_indices_.tolist() == REMOVED


def test_resamples_into_the_given_containers():
    frame, series = pd.DataFrame(X), pd.Series(Y, name="label")
    X_left, y_left = InfluenceCleaner(quick(), decisions=table()).fit_resample(
        frame, series
    )
    X_hand, y_hand = by_hand()
    pd.testing.assert_frame_equal(X_left.reset_index(drop=True), pd.DataFrame(X_hand))
    assert y_left.tolist() == y_hand.tolist()
    assert y_left.name == "label"
    assert series.tolist() == Y.tolist()


def test_any_estimator_will_do_for_nothing_is_ranked():
    cleaner = InfluenceCleaner(LogisticRegression(), decisions=table()).fit(X, Y)
    expected = LogisticRegression().fit(*by_hand())
    np.testing.assert_array_equal(cleaner.predict(X), expected.predict(X))


def test_targets_of_a_regressor():
    y = X[:, 0].astype(np.float64)
    decided = table(y=y, relabelled=[(MOVED, "2.5")])
    cleaner = InfluenceCleaner(Ridge(), decisions=decided).fit(X, y)
    moved = y.copy()
    moved[MOVED] = 2.5
    expected = Ridge().fit(np.delete(X, REMOVED, 0), np.delete(moved, REMOVED))
    np.testing.assert_array_equal(cleaner.predict(X), expected.predict(X))


@pytest.mark.parametrize("container", [np.asarray, list, pd.Series])
def test_whole_targets_may_become_fractions(container):
    y = np.arange(len(X))
    decided = table(y=y, relabelled=[(MOVED, 2.5)])
    cleaner = InfluenceCleaner(Ridge(), decisions=decided).fit(X, y)
    assert cleaner.relabelled_["to"].tolist() == [2.5]
    _, y_left = cleaner.fit_resample(X, container(y))
    expected = y.astype(np.float64)
    expected[MOVED] = 2.5
    assert list(y_left) == np.delete(expected, REMOVED).tolist()
    assert isinstance(y_left, type(container(y)))


def test_sample_weights_go_with_their_samples():
    weights = np.linspace(0.5, 2, len(X))
    cleaner = InfluenceCleaner(LogisticRegression(), decisions=table())
    cleaner.fit(X, Y, sample_weight=weights)
    own = np.delete(weights, REMOVED)
    expected = LogisticRegression().fit(*by_hand(), sample_weight=own)
    np.testing.assert_array_equal(cleaner.predict_proba(X), expected.predict_proba(X))


def test_refuses_to_empty_a_class():
    label = (Y[0] + 1) % 3
    first, *others = np.flatnonzero(label == Y).tolist()
    decided = table(removed=others, relabelled=[])
    assert InfluenceCleaner(quick(), decisions=decided).fit(X, Y).n_removed_
    decided = table(removed=others, relabelled=[(first, Y[0])])
    cleaner = InfluenceCleaner(quick(), decisions=decided)
    with pytest.raises(DecisionsError, match=f"but none is left of {label}"):
        cleaner.fit(X, Y)
    assert not hasattr(cleaner, "support_")


def test_there_is_no_ranking_to_be_shown():
    cleaner = InfluenceCleaner(quick(), decisions=table(), refit="counterfactual")
    cleaner.fit(X, Y)
    with pytest.raises(ValueError, match=r"must have ranked.*`influence_` is NaN"):
        SampleGridDisplay.from_cleaner(cleaner, X)


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"action": "relabel"}, "`action` must be 'remove' with decisions"),
        ({"refit": "counterfactual", "cv": 2}, "`cv` must be None with refit="),
        ({"refit": "counterfactual", "final_estimator": Ridge()}, "`final_estimator`"),
        ({"decisions": 3}, "'decisions' parameter"),
    ],
)
def test_refuses_what_does_not_go_together(option, match):
    cleaner = InfluenceCleaner(quick(), **{"decisions": table(), **option})
    with pytest.raises(ValueError, match=match):
        cleaner.fit(X, Y)


def test_a_part_of_the_data_is_other_data():
    cleaner = InfluenceCleaner(LogisticRegression(), decisions=table())
    with pytest.raises(DecisionsError, match="about other data"):
        cross_validate(cleaner, X, Y, error_score="raise")
