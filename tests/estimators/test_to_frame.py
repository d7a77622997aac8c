"""The training samples of an estimator as a table: a cleaner's, without removals."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.utils.data import TensorDataset

from skinfluence import (
    InfluenceCleaner,
    Recorder,
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    influence_over_runs,
)
from skinfluence.estimators import InfluenceInterval, ScoresOverRuns
from skinfluence.exceptions import TrainingDataChangedError

NAMES = [f"s{row}" for row in range(30)]
X = np.random.default_rng(0).normal(size=(30, 4))
TABLE = pd.DataFrame(X, index=NAMES, columns=list("wxyz"))
Y = np.array(["no", "yes"])[(X[:, 0] > 0).astype(int)]
VAL = X[:6] + 0.1, Y[:6]
QUICK = {"module": "linear", "max_epochs": 3, "batch_size": 10, "random_state": 0}


@pytest.fixture(scope="module")
def clf():
    return SGDInfluenceClassifier(**QUICK).fit(TABLE, Y)


def test_it_is_the_table_of_a_cleaner_that_removes_nothing(clf):
    val = pd.DataFrame(VAL[0], columns=list("wxyz"))
    cleaner = InfluenceCleaner(clf, n_remove=0, refit="counterfactual", random_state=0)
    theirs = cleaner.fit(TABLE, Y, val, VAL[1]).to_frame().drop(columns="removed")
    scores = clf.influence(val, VAL[1], at="epochs")
    pd.testing.assert_frame_equal(clf.to_frame(TABLE, Y, scores), theirs)


def test_without_scores_it_is_in_the_order_of_the_data(clf):
    frame = clf.to_frame(TABLE, Y)
    assert list(frame) == ["label", "prediction", "probability"]
    assert frame.index.tolist() == NAMES
    assert frame["label"].tolist() == Y.tolist()
    listed = SGDInfluenceClassifier(**QUICK).fit(X.tolist(), Y)
    assert listed.to_frame(X.tolist(), Y.tolist()).index.tolist() == [*range(30)]
    assert frame["prediction"].tolist() == clf.predict(TABLE).tolist()
    likely = clf.predict_proba(TABLE).max(axis=1)
    assert frame["probability"].to_numpy() == pytest.approx(likely, rel=1e-12)


def test_samples_without_a_score_come_last(clf):
    scores = np.arange(30.0)[::-1].copy()
    scores[29] = np.nan
    assert clf.to_frame(TABLE, Y, scores).index.tolist() == [*NAMES[28::-1], "s29"]


def test_scores_over_runs_bring_their_columns(clf):
    val = pd.DataFrame(VAL[0], columns=list("wxyz"))
    runs = influence_over_runs(clf, val, VAL[1], n_runs=2, random_state=0)
    frame = clf.to_frame(TABLE, Y, runs)
    theirs = runs.to_frame().set_index(TABLE.index).loc[frame.index]
    pd.testing.assert_frame_equal(frame[list(theirs)], theirs)
    ends = np.stack([runs.mean - 1, runs.mean + 1], axis=1)
    found = InfluenceInterval(runs.mean, ends, 0.9, 20, 1.0, runs)
    frame = clf.to_frame(TABLE, Y, found)
    assert ((frame["upper"] + frame["lower"]) / 2).to_numpy() == pytest.approx(
        frame["score"].to_numpy()
    )


def test_several_targets_have_a_column_each():
    both = np.stack([X[:, 0], -X[:, 1]], axis=1)
    reg = SGDInfluenceRegressor(**QUICK).fit(X, both)
    frame = reg.to_frame(X, both)
    assert list(frame) == ["label_0", "label_1", "prediction_0", "prediction_1"]
    tags = (X[:, :3] > 0).astype(int)
    tagger = SGDInfluenceClassifier(**QUICK).fit(X, tags)
    table = tagger.to_frame(X, tags)
    assert table["label_2"].tolist() == tags[:, 2].tolist()
    assert table["probability_1"].tolist() == tagger.predict_proba(X)[:, 1].tolist()


def test_a_sequence_of_labels_has_a_column_for_each_place():
    tokens = np.random.default_rng(1).integers(3, size=(12, 5))

    def module():
        return nn.Sequential(nn.Linear(4, 15), nn.Unflatten(1, (3, 5)))

    net = SGDInfluenceClassifier(module, max_epochs=1, random_state=0)
    frame = net.fit(X[:12], tokens).to_frame(X[:12], tokens)
    assert frame["label_4"].tolist() == tokens[:, 4].tolist()
    likely = net.predict_proba(X[:12])[:, :, 4].max(axis=1)
    assert frame["probability_4"].tolist() == likely.tolist()


def test_data_of_two_calls_is_one_table():
    net = SGDInfluenceClassifier(**QUICK).partial_fit(
        X[:20], Y[:20], classes=["no", "yes"]
    )
    net.partial_fit(X[20:], Y[20:])
    assert len(net.to_frame(X, Y)) == 30
    with pytest.raises(TrainingDataChangedError, match="30 rows, got 20"):
        net.to_frame(X[:20], Y[:20])


def test_a_recorded_loop_and_its_dataset():
    inputs = torch.from_numpy(X).float()
    codes = torch.from_numpy((Y == "yes").astype(np.int64))
    for data in ((inputs, codes), TensorDataset(inputs, codes)):
        module = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        recorder = Recorder(module, optimizer, nn.CrossEntropyLoss, data, n_classes=2)
        for batch in recorder.batches(10):
            recorder.loss(batch).backward()
            optimizer.step()
            optimizer.zero_grad()
        model = recorder.finish()
        args = data if isinstance(data, tuple) else (data,)
        frame = model.to_frame(*args, scores=np.arange(30))
        assert frame["prediction"].tolist() == model.predict(args[0]).tolist()
        assert ("label" in frame) == (len(args) == 2)
    with pytest.raises(TrainingDataChangedError, match=r"`X` must be .*30 rows, got 9"):
        model.to_frame(TensorDataset(inputs[:9], codes[:9]))
    with pytest.raises(TrainingDataChangedError, match=r"`y` must be .*30 rows, got 9"):
        model.to_frame(data, codes[:9])


def test_other_data_and_unfitted_estimators_are_refused(clf):
    with pytest.raises(TrainingDataChangedError, match="must be what"):
        clf.to_frame(TABLE[::-1], Y[::-1])
    with pytest.raises(NotFittedError):
        SGDInfluenceClassifier().to_frame(X, Y)
    images = np.zeros((6, 2, 2), dtype=int)
    with pytest.raises(ValueError, match=r"a label of shape \(2, 2\) for each"):
        _of_pixels(images).to_frame(X[:6], images)


def _of_pixels(images):
    def module():
        return nn.Sequential(nn.Linear(4, 8), nn.Unflatten(1, (2, 2, 2)))

    net = SGDInfluenceClassifier(module, max_epochs=1, classes=[0, 1], random_state=0)
    return net.fit(X[:6], images)


def test_the_runs_of_a_summary_keep_their_columns():
    runs = ScoresOverRuns.of([[-3.0, 2.0], [-1.0, -1.0]])
    interval = np.array([[-5.0, 1.0], [-2.0, 3.0]])
    frame = InfluenceInterval(runs.mean, interval, 0.9, 4, 1.0, runs).to_frame()
    assert frame["lower"].tolist() == [-5.0, -2.0]
    assert frame["upper"].tolist() == [1.0, 3.0]
    pd.testing.assert_frame_equal(frame[list(runs.to_frame())], runs.to_frame())
