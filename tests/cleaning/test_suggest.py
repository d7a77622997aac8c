"""Suggested removals, labels and additions, from the influences they stand for."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from skinfluence import (
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    influence_over_runs,
)
from skinfluence.cleaning import suggest
from skinfluence.datasets import flip_labels

X, TRUE = load_digits(return_X_y=True)
X = X / 16
Y, FLIPPED = flip_labels(TRUE, 0.2, random_state=0)
NAMES = np.array([f"digit {k}" for k in range(10)])
TRAIN, POOL, VAL = slice(200), slice(200, 300), slice(300, 600)


@pytest.fixture(scope="module")
def clf():
    return SGDInfluenceClassifier(max_epochs=10, random_state=0).fit(X[TRAIN], Y[TRAIN])


def test_the_best_change_of_each_sample(clf):
    validation = X[VAL], TRUE[VAL]
    removed = clf.influence(*validation, at="epochs")
    relabelled = clf.label_influence(*validation, at="epochs")
    added = clf.addition_influence(X[POOL], Y[POOL], *validation, at="epochs")
    expected = []
    for row in range(200):
        best = relabelled[row].argmin()
        options = [
            (-removed[row], "remove", row, None),
            (-relabelled[row, best], "relabel", row, best),
        ]
        expected.append(max(options))
    expected += [(-each, "add", row, None) for row, each in enumerate(added)]
    expected = sorted((e for e in expected if e[0] > 0), key=lambda e: -e[0])
    for budget in (1, 25, 10**6):
        found = suggest(clf, *validation, budget, X_pool=X[POOL], y_pool=Y[POOL])
        gains, actions, rows, labels = zip(*expected[:budget], strict=True)
        np.testing.assert_array_equal(found["gain"], gains)
        assert found["action"].tolist() == list(actions)
        assert found["index"].tolist() == list(rows)
        assert found["label"].tolist() == list(labels)
        assert found["standard_error"].isna().all()
        assert found["sign_agreement"].isna().all()
    assert set(actions) == {"relabel", "add"} | ({"remove"} & set(actions))


def test_what_is_suggested_is_right_and_helps(clf):
    changes = suggest(clf, X[VAL], TRUE[VAL], 40)
    rows = changes["index"].to_numpy()
    # A fifth of the labels are wrong, which is the chance level.
    assert FLIPPED[TRAIN][rows].mean() > 0.7
    relabel = changes[changes["action"] == "relabel"]
    y = Y[TRAIN].copy()
    y[relabel["index"]] = relabel["label"].astype(int)
    kept = np.ones(200, dtype=bool)
    kept[changes.loc[changes["action"] == "remove", "index"]] = False
    after = clone(clf).fit(X[TRAIN][kept], y[kept])
    assert after.score(X[600:], TRUE[600:]) > clf.score(X[600:], TRUE[600:])


def test_over_several_runs(clf):
    options = {"n_runs": 3, "random_state": 0, "at": "path"}
    runs = influence_over_runs(clf, X[VAL], TRUE[VAL], **options)
    changes = suggest(clf, X[VAL], TRUE[VAL], 30, actions=["remove"], **options)
    rows = runs.mean.argsort()[: len(changes)]
    assert changes["index"].tolist() == rows.tolist()
    np.testing.assert_array_equal(changes["gain"], -runs.mean[rows])
    np.testing.assert_array_equal(changes["standard_error"], runs.standard_error[rows])
    np.testing.assert_array_equal(changes["sign_agreement"], runs.sign_agreement[rows])


def test_names_of_labels_and_an_unlabelled_pool():
    clf = SGDInfluenceClassifier(max_epochs=3, random_state=0)
    clf.fit(X[TRAIN], NAMES[Y[TRAIN]])
    changes = suggest(clf, X[VAL], NAMES[TRUE[VAL]], 500, X_pool=X[POOL])
    relabel = changes["action"] == "relabel"
    assert set(changes.loc[relabel, "label"]) <= set(NAMES)
    assert changes.loc[~relabel, "label"].isna().all()
    assert (changes["action"] == "add").any()


def test_of_a_regressor():
    reg = SGDInfluenceRegressor(max_epochs=3, lr=0.01, random_state=0)
    reg.fit(X[TRAIN], Y[TRAIN] / 9)
    changes = suggest(reg, X[VAL], TRUE[VAL] / 9, 5)
    assert set(changes["action"]) == {"remove"}
    with pytest.raises(ValueError, match="'relabel' is for classifiers"):
        suggest(reg, X[VAL], TRUE[VAL] / 9, 5, actions=["relabel"])


@pytest.mark.parametrize("actions", ["remove", ["keep"], {"remove"}, [[]], 3])
def test_refuses_other_actions(clf, actions):
    with pytest.raises(ValueError, match="`actions` must be a sequence of some of"):
        suggest(clf, X[VAL], TRUE[VAL], 5, actions=actions)


@pytest.mark.parametrize("actions", [[], ["add"]])
def test_refuses_no_action(clf, actions):
    with pytest.raises(ValueError, match="`actions` must have one that is possible"):
        suggest(clf, X[VAL], TRUE[VAL], 5, actions=actions)


def test_refuses_other_estimators():
    with pytest.raises(TypeError, match="`estimator` must be an SGDInfluenceClass"):
        suggest(object(), X[VAL], TRUE[VAL], 5)


def test_refuses_labels_of_no_pool(clf):
    with pytest.raises(ValueError, match="`X_pool` must be given with `y_pool`"):
        suggest(clf, X[VAL], TRUE[VAL], 5, y_pool=Y[POOL])
