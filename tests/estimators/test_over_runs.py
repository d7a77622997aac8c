"""The influence over several runs: each is a clone's, and what they say together."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Checkpoint, TrainEndCheckpoint
from skorch.dataset import ValidSplit
from torch import nn

from skinfluence import (
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    influence_over_runs,
    load_estimator,
)
from skinfluence.estimators import ScoresOverRuns
from skinfluence.estimators._runs import answers_over_runs
from skinfluence.exceptions import NotRecordedError, TrainingDataChangedError
from tests.cleaning.problems import flipped_blobs, quick

NAMES = np.array(["left", "middle", "right"])


@pytest.fixture(scope="module")
def blobs():
    X, y, _, X_val, y_val = flipped_blobs()
    return X, y, X_val, y_val


def seeds_of(random_state, count):
    rng = np.random.RandomState(random_state)
    return [int(rng.randint(2**31 - 1)) for _ in range(count)]


def by_hand(estimator, count, random_state, X, y, X_val, y_val, fit=None, **options):
    """Return the influence of the estimator, and of clones fitted by the user."""
    scores = [estimator.influence(X_val, y_val, **options)]
    for seed in seeds_of(random_state, count - 1):
        run = clone(estimator).set_params(random_state=seed)
        run.fit(X, y, **(fit or {}))
        scores.append(run.influence(X_val, y_val, **options))
    return np.array(scores)


class Dropping(nn.Module):
    """A network with dropout and BatchNorm."""

    def __init__(self, width=6):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, width),
            nn.BatchNorm1d(width),
            nn.Tanh(),
            nn.Dropout(0.2),
            nn.Linear(width, 3),
        )

    def forward(self, X):
        return self.layers(X)


@pytest.mark.slow
@pytest.mark.parametrize(
    "estimator",
    [
        quick(random_state=np.random.RandomState(5)),
        SGDInfluenceClassifier("mlp", max_epochs=3, class_weight="balanced"),
        SGDInfluenceClassifier(Dropping, module__width=5, max_epochs=3),
        quick(record=2, checkpoint_every=3),
        quick(optimizer=torch.optim.Adam, lr=0.01, accumulate_steps=2),
    ],
    ids=["linear", "mlp", "dropout", "last epochs", "adam"],
)
def test_every_run_is_that_of_a_clone(blobs, estimator):
    X, y, X_val, y_val = blobs
    y, y_val = NAMES[y], NAMES[y_val]
    fit = {"sample_weight": np.linspace(0.5, 2, len(y))}
    estimator = clone(estimator).fit(X, y, **fit)
    options = {"at": "epochs", "query": "error"}
    found = influence_over_runs(
        estimator, X_val, y_val, n_runs=3, random_state=1, **options
    )
    expected = by_hand(estimator, 3, 1, X, y, X_val, y_val, fit, **options)
    assert np.array_equal(found.scores, expected)
    np.testing.assert_allclose(found.mean, expected.mean(0), rtol=1e-12)
    # The deviations are differences of numbers of one size, with 16 digits.
    np.testing.assert_allclose(
        found.standard_error, stats.sem(expected, axis=0), rtol=1e-9, atol=1e-18
    )


def test_a_regressor_on_a_sparse_matrix(blobs):
    X, y, X_val, y_val = blobs
    X, X_val = sparse.csr_matrix(X), sparse.csr_matrix(X_val)
    reg = SGDInfluenceRegressor("linear", lr=0.01, max_epochs=3, random_state=0)
    reg.fit(X, np.c_[y, -y])
    options = {"last_epochs": 2, "sample_weight_val": np.linspace(0, 1, len(y_val))}
    found = influence_over_runs(
        reg, X_val, np.c_[y_val, -y_val], n_runs=2, random_state=0, **options
    )
    expected = by_hand(
        reg, 2, 0, X, np.c_[y, -y], X_val, np.c_[y_val, -y_val], **options
    )
    assert np.array_equal(found.scores, expected)


class Noisy(torch.utils.data.Dataset):
    """Draws what it adds to its inputs."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, row):
        return self.X[row] + 0.1 * torch.randn(4).numpy(), int(self.y[row])


def test_a_dataset_that_draws(blobs):
    X, y, X_val, y_val = blobs
    data, validation = Noisy(X, y), Noisy(X_val, y_val)
    options = {"max_epochs": 2, "classes": [0, 1, 2], "random_state": 0}
    clf = SGDInfluenceClassifier(Dropping, **options).fit(data)
    found = influence_over_runs(clf, validation, n_runs=2, random_state=0)
    assert np.array_equal(
        found.scores, by_hand(clf, 2, 0, data, None, validation, None)
    )


def test_names_of_columns_are_kept(blobs):
    X, y, X_val, y_val = blobs
    names = list("abcd")
    X, X_val = pd.DataFrame(X, columns=names), pd.DataFrame(X_val, columns=names)
    # scikit-learn would warn of a model that was fitted without names.
    found = influence_over_runs(quick().fit(X, y), X_val, y_val, n_runs=2)
    assert found.scores.shape == (2, 120)


@pytest.mark.slow
def test_processes_do_not_change_a_bit(blobs):
    X, y, X_val, y_val = blobs
    clf = SGDInfluenceClassifier("mlp", max_epochs=2, random_state=0, n_threads=None)
    before = torch.get_num_threads()
    # joblib gives its processes other numbers of threads, on which bits depend.
    torch.set_num_threads(2)
    try:
        clf.fit(X, y)
        one, two = (
            influence_over_runs(
                clf, X_val, y_val, n_runs=3, random_state=0, n_jobs=n_jobs
            )
            for n_jobs in (1, 2)
        )
        found = answers_over_runs(clf, _threads_and_seed, 3, 0, n_jobs=2)
    finally:
        torch.set_num_threads(before)
    for name in ("scores", "mean", "standard_error", "sign_agreement"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert found[:, 0].tolist() == [2, 2, 2]
    assert len(set(found[:, 1])) == 3


def test_other_processes_need_no_class_of_a_notebook(blobs):
    # cloudpickle sends a class that has no module by value, as joblib does; skorch
    # pickles fitted modules by name.
    X, y, X_val, y_val = blobs
    namespace = {"nn": torch.nn, "__name__": "__main__"}
    exec("class Net(nn.Linear):\n    pass", namespace)
    net = namespace["Net"](X.shape[1], 3)
    clf = SGDInfluenceClassifier(namespace["Net"], max_epochs=2, random_state=0)
    clf.set_params(module__in_features=net.in_features, module__out_features=3)
    clf.fit(X, y)
    one, two = (
        influence_over_runs(clf, X_val, y_val, n_runs=2, random_state=0, n_jobs=n_jobs)
        for n_jobs in (1, 2)
    )
    assert np.array_equal(one.scores, two.scores)


def _threads_and_seed(run):
    return np.array([run.trajectory_.records[0].n_threads, run.seed_])


def test_more_runs_begin_with_the_same_ones(blobs):
    X, y, X_val, y_val = blobs
    clf = quick().fit(X, y)
    few, many = (
        influence_over_runs(clf, X_val, y_val, n_runs=n_runs, random_state=4)
        for n_runs in (2, 4)
    )
    assert np.array_equal(few.scores, many.scores[:2])


def test_one_run_is_the_estimators_own(blobs):
    X, y, X_val, y_val = blobs
    clf = quick().fit(X, y)
    found = influence_over_runs(clf, X_val, y_val, n_runs=1)
    assert np.array_equal(found.mean, clf.influence(X_val, y_val))
    assert np.isnan(found.standard_error).all()
    assert (found.sign_agreement == 1).all()
    assert not found.in_doubt.any()


def test_runs_that_did_not_use_a_sample_do_not_count_for_it(blobs):
    X, y, X_val, y_val = blobs
    clf = quick(train_split=_split_at_random, max_epochs=2).fit(X, y)
    found = influence_over_runs(clf, X_val, y_val, n_runs=4, random_state=0)
    scores = by_hand(clf, 4, 0, X, y, X_val, y_val)
    # Exactly 0 for a sample that no step used.
    scores[scores == 0] = np.nan
    unused = np.isnan(scores).sum(0)
    assert {1, 2} < set(unused)
    assert np.array_equal(found.scores, scores, equal_nan=True)
    assert np.array_equal(found.n_used, 4 - unused)
    some = unused < 4
    np.testing.assert_allclose(
        found.mean[some], np.nanmean(scores[:, some], axis=0), rtol=1e-12
    )
    assert np.isnan(found.mean[~some]).all()
    several = unused < 3
    np.testing.assert_allclose(
        found.standard_error[several],
        stats.sem(scores[:, several], axis=0, nan_policy="omit"),
        rtol=1e-9,
    )
    assert np.isnan(found.standard_error[~several]).all()


def _split_at_random(dataset, y=None, **fit_params):
    """Leave out half of the rows, drawn from the seeded global generator."""
    rows = np.random.permutation(len(dataset))  # noqa: NPY002
    half = len(rows) // 2
    return tuple(
        torch.utils.data.Subset(dataset, part.tolist())
        for part in (rows[:half], rows[half:])
    )


def test_a_run_on_disk_leaves_nothing_behind(blobs, tmp_path):
    X, y, X_val, y_val = blobs
    clf = quick(trajectory_dir=tmp_path).fit(X, y)
    found = influence_over_runs(clf, X_val, y_val, n_runs=3, random_state=0)
    assert [path.name for path in tmp_path.iterdir()] == ["run-000001"]
    expected = influence_over_runs(
        quick().fit(X, y), X_val, y_val, n_runs=3, random_state=0
    )
    assert np.array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("kind", [Checkpoint, TrainEndCheckpoint])
def test_files_of_callbacks_stay_those_of_the_estimators_own_run(blobs, tmp_path, kind):
    X, y, X_val, y_val = blobs
    clf = SGDInfluenceClassifier(
        "linear",
        max_epochs=2,
        random_state=0,
        train_split=ValidSplit(5),
        callbacks=[("files", kind(dirname=str(tmp_path)))],
    ).fit(X, y)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    influence_over_runs(clf, X_val, y_val, n_runs=3, random_state=0)
    assert before
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_loaded_estimator_is_trained_again(blobs, tmp_path):
    X, y, X_val, y_val = blobs
    clf = quick().fit(X, NAMES[y])
    clf.save(tmp_path / "saved")
    options = {"n_runs": 2, "random_state": 0}
    one, other = (
        influence_over_runs(each, X_val, NAMES[y_val], **options)
        for each in (clf, load_estimator(tmp_path / "saved"))
    )
    assert np.array_equal(one.scores, other.scores)


def test_the_estimator_stays_as_it_is(blobs):
    X, y, X_val, y_val = blobs
    clf = SGDInfluenceClassifier(Dropping, max_epochs=2, random_state=0).fit(X, y)
    before = clf.predict_proba(X_val), clf.influence(X_val, y_val), clf.seed_
    n_lines, trajectory = len(clf.history), clf.trajectory_
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    influence_over_runs(clf, X_val, y_val, n_runs=2, random_state=0)
    after = clf.predict_proba(X_val), clf.influence(X_val, y_val), clf.seed_
    assert all(map(np.array_equal, before, after))
    assert len(clf.history) == n_lines
    assert clf.trajectory_ is trajectory
    drawn = np.random.uniform(), torch.rand(1)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    assert drawn == (np.random.uniform(), torch.rand(1))  # noqa: NPY002


def test_tells_where_all_runs_start_from_the_same_weights(blobs):
    X, y, X_val, y_val = blobs
    clf = SGDInfluenceClassifier(nn.Linear(4, 3), max_epochs=2, random_state=0)
    clf.fit(X, y)
    with pytest.warns(UserWarning, match="All runs start from the same weights"):
        found = influence_over_runs(clf, X_val, y_val, n_runs=2, random_state=0)
    assert not np.array_equal(*found.scores)


def test_refuses_a_training_in_which_nothing_is_random(blobs):
    X, y, X_val, y_val = blobs
    clf = SGDInfluenceClassifier(
        nn.Linear(4, 3), max_epochs=2, shuffle=False, random_state=0
    ).fit(X, y)
    with (
        pytest.warns(UserWarning, match="All runs start"),
        pytest.raises(ValueError, match="runs must differ, but all have the same bits"),
    ):
        influence_over_runs(clf, X_val, y_val, n_runs=2)


def test_runs_from_a_pretrained_estimator(blobs):
    X, y, X_val, y_val = blobs
    source = SGDInfluenceClassifier(Dropping, max_epochs=2, random_state=0).fit(X, y)
    # The same layers: nothing is left to be drawn.
    same = SGDInfluenceClassifier(
        Dropping, max_epochs=2, random_state=0, pretrained=source
    ).fit(X, y)
    with pytest.warns(UserWarning, match="those of the given `module` or `pretrained`"):
        found = influence_over_runs(same, X_val, y_val, n_runs=2, random_state=0)
    assert np.array_equal(found.scores, by_hand(same, 2, 0, X, y, X_val, y_val))
    # Another head is drawn anew, without a warning.
    two = y < 2
    head = SGDInfluenceClassifier(
        TwoClasses, max_epochs=2, random_state=0, pretrained=source
    ).fit(X[two], y[two])
    X_val, y_val = X_val[y_val < 2], y_val[y_val < 2]
    found = influence_over_runs(head, X_val, y_val, n_runs=2, random_state=0)
    expected = by_hand(head, 2, 0, X[two], y[two], X_val, y_val)
    assert np.array_equal(found.scores, expected)


class TwoClasses(Dropping):
    """The same but for its last layer."""

    def __init__(self):
        super().__init__()
        self.layers[4] = nn.Linear(6, 2)


@pytest.mark.parametrize("n_runs", [0, -1, 2.0, "3", None, True, np.nan])
def test_refuses_what_is_no_number_of_runs(blobs, n_runs):
    *_, X_val, y_val = blobs
    with pytest.raises(ValueError, match="`n_runs` must be an integer of at least 1"):
        influence_over_runs(quick(), X_val, y_val, n_runs=n_runs)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"record": None}, NotRecordedError, "`record` must be 'all' or a number"),
        ({"record": "replay"}, NotRecordedError, "can only be repeated"),
    ],
)
def test_refuses_what_was_not_recorded(blobs, options, error, message):
    X, y, X_val, y_val = blobs
    clf = quick(**options).fit(X, y)
    with pytest.raises(error, match=message):
        influence_over_runs(clf, X_val, y_val, n_runs=2)


def test_refuses_before_any_training(blobs, monkeypatch):
    X, y, X_val, y_val = blobs
    clf = quick().fit(X, y)
    monkeypatch.setattr(SGDInfluenceClassifier, "_train_again", None)
    bad = [
        ({"at": "middle"}, "`at` must be 'final'"),
        ({"query": "gain"}, "`query` must be"),
        ({"smoothing": -1}, "`smoothing` must be None"),
        ({"last_epochs": 9}, "`last_epochs` must be between 1"),
    ]
    for options, message in bad:
        with pytest.raises(ValueError, match=message):
            influence_over_runs(clf, X_val, y_val, n_runs=2, **options)
    with pytest.raises(ValueError, match="has 3 features"):
        influence_over_runs(clf, X_val[:, :3], y_val, n_runs=2)
    with pytest.raises(TypeError, match=r"got Pipeline\. For a pipeline"):
        influence_over_runs(make_pipeline(quick()), X_val, y_val)
    clf.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"in one call of fit .* got 2 calls"):
        influence_over_runs(clf, X_val, y_val, n_runs=2)
    changed = X.copy()
    clf = quick().fit(changed, y)
    changed[3] += 1
    with pytest.raises(TrainingDataChangedError):
        influence_over_runs(clf, X_val, y_val, n_runs=2)


def test_the_summary_of_scores():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(6, 50)) + np.linspace(-3, 3, 50)
    # 30 % of a sample's runs did not use it.
    scores[rng.uniform(size=scores.shape) < 0.3] = np.nan
    scores[:, 7] = np.nan
    scores[1:, 8] = np.nan
    scores[:, 9] = 0.0
    found = ScoresOverRuns.of(scores)
    frame = found.to_frame()
    for sample, column in enumerate(scores.T):
        column = column[~np.isnan(column)]
        row = frame.iloc[sample]
        assert row["n_used"] == len(column)
        if not len(column):
            assert row[["score", "standard_error", "sign_agreement"]].isna().all()
            assert not found.in_doubt[sample]
            continue
        np.testing.assert_allclose(row["score"], column.mean(), rtol=1e-12)
        same = (np.sign(column) == np.sign(column.mean())).mean()
        assert row["sign_agreement"] == same
        if len(column) == 1:
            assert np.isnan(row["standard_error"])
            assert not found.in_doubt[sample]
            continue
        error = column.std(ddof=1) / len(column) ** 0.5
        np.testing.assert_allclose(row["standard_error"], error, rtol=1e-12)
        # In doubt where a t-test of mean 0, one-sided, has a p-value of 5 % or more.
        if error:
            p = stats.ttest_1samp(np.abs(column.mean()) / column.mean() * column, 0)
            assert found.in_doubt[sample] == (p.pvalue / 2 >= 0.05)
    assert found.in_doubt[9]


def test_the_summary_does_not_depend_on_the_order_of_the_runs():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(40, 30)) * 10.0 ** rng.integers(-9, 9, size=(40, 30))
    scores[rng.uniform(size=scores.shape) < 0.2] = np.nan
    one = ScoresOverRuns.of(scores)
    for _ in range(5):
        other = ScoresOverRuns.of(rng.permutation(scores))
        for name in ("mean", "standard_error", "sign_agreement", "in_doubt"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
