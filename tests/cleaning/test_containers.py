"""The kept samples come back in what they came in."""

import datetime

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner, data_fingerprint
from skinfluence.cleaning._containers import _written as written
from tests.cleaning.problems import flipped_blobs, quick


@pytest.fixture(scope="module")
def blobs():
    return flipped_blobs()


CONTAINERS = {
    "array": np.asarray,
    "list": lambda X: X.tolist(),
    "frame": lambda X: pd.DataFrame(
        X, columns=list("abcd"), index=np.arange(len(X)) + 7
    ),
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_array,
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_give_the_same_ranking_and_come_back(blobs, container):
    X, y, *_ = blobs
    given = CONTAINERS[container](X)
    labels = pd.Series(y, name="label", dtype="category") if container == "frame" else y
    cleaner = InfluenceCleaner(quick(dtype="float32"), n_remove=12, random_state=0)
    X_kept, y_kept = cleaner.fit_resample(given, labels)
    expected = InfluenceCleaner(quick(), n_remove=12, random_state=0).fit(X, y)
    kept = expected.sample_indices_
    assert np.array_equal(cleaner.sample_indices_, kept)
    assert type(X_kept) is type(given)
    dense = X_kept.toarray() if sparse.issparse(given) else np.asarray(X_kept)
    assert np.array_equal(dense, X[kept])
    if container == "frame":
        assert X_kept.equals(given.iloc[kept])
        assert y_kept.equals(labels.iloc[kept])
        assert y_kept.dtype == labels.dtype
        assert cleaner.feature_names_in_.tolist() == list("abcd")
    else:
        assert np.array_equal(y_kept, y[kept])


def test_mixed_dtypes_come_back():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "number": rng.normal(size=60),
            "count": rng.integers(5, size=60).astype(np.int16),
            "flag": rng.integers(2, size=60).astype(bool),
        }
    )
    y = pd.Series(np.where(X["number"] > 0, "yes", "no"))
    X_kept, y_kept = InfluenceCleaner(quick(), random_state=0).fit_resample(X, y)
    assert X_kept.dtypes.equals(X.dtypes)
    assert y_kept.dtype == y.dtype
    assert len(X_kept) == len(y_kept) == 57
    X_list, y_list = InfluenceCleaner(quick(), random_state=0).fit_resample(
        X.astype(float).to_numpy().tolist(), y.tolist()
    )
    assert isinstance(X_list, list)
    assert y_list == y_kept.tolist()


def test_fit_resample_after_fit_leaves_the_model_of_what_it_returns(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(n_remove=5, random_state=0).fit(X, y)
    X_kept, y_kept = cleaner.fit_resample(X[::2], y[::2])
    direct = clone(cleaner).fit(X[::2], y[::2])
    assert np.array_equal(X_kept, X[::2][direct.get_support()])
    assert np.array_equal(cleaner.predict_proba(X), direct.predict_proba(X))
    assert len(y_kept) == len(X_kept)


def test_fit_resample_leaves_no_final_estimator(blobs):
    X, y, *_ = blobs
    cleaner = InfluenceCleaner(quick(), validation_fraction=0.2, random_state=0)
    cleaner.fit_resample(X, y)
    assert not hasattr(cleaner, "final_estimator_")
    with pytest.raises(NotFittedError, match="no final estimator after fit_resample"):
        cleaner.predict(X)
    assert list(cleaner.to_frame()) == ["score", "label", "removed"]


# ------------------------------------------------------------- other libraries' tables

COLUMNS = list("abcd")


def polars():
    return pytest.importorskip("polars")


def arrow(dtype):
    pytest.importorskip("pyarrow")
    return f"{dtype}[pyarrow]"


TABLES = {
    "nullable": lambda X: pd.DataFrame(X, columns=COLUMNS).astype("Float64"),
    "arrow": lambda X: pd.DataFrame(X, columns=COLUMNS).astype(arrow("double")),
    "mixed": lambda X: pd.DataFrame(X, columns=COLUMNS).astype({"a": "Float64"}),
    "polars": lambda X: polars().DataFrame(X, schema=COLUMNS),
    "pyarrow": lambda X: pytest.importorskip("pyarrow").table(
        dict(zip(COLUMNS, X.T.copy(), strict=True))
    ),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("table", TABLES)
def test_tables_have_the_scores_of_arrays(blobs, table, dtype):
    X, y, _, X_val, y_val = blobs
    X, X_val = X.astype(np.float64) / 3, X_val.astype(np.float64) / 3
    given, given_val = TABLES[table](X), TABLES[table](X_val)
    if dtype == np.float32:
        X, X_val = X.astype(dtype), X_val.astype(dtype)
        if table in ("nullable", "arrow"):
            name = {"nullable": "Float32", "arrow": "float[pyarrow]"}[table]
            given, given_val = given.astype(name), given_val.astype(name)
        elif table == "polars":
            given, given_val = (
                each.cast(polars().Float32) for each in (given, given_val)
            )
        else:
            pytest.skip("of float64 columns only")
    cleaner = InfluenceCleaner(quick(), n_remove=12, random_state=0)
    kept, _ = cleaner.fit_resample(given, y, given_val, y_val)
    expected = InfluenceCleaner(quick(), n_remove=12, random_state=0)
    expected.fit(X, y, X_val, y_val)
    assert np.array_equal(cleaner.influence_, expected.influence_)
    assert cleaner.estimator_.dtype_ == expected.estimator_.dtype_
    assert cleaner.feature_names_in_.tolist() == COLUMNS
    assert type(kept) is type(given)
    assert str(kept[:0]) == str(given[:0])  # the columns' dtypes
    rows = expected.sample_indices_
    assert np.array_equal(np.asarray(kept, dtype=dtype), X[rows])
    found, direct = quick().fit(given, y), quick().fit(X, y)
    assert np.array_equal(found.predict_proba(given_val), direct.predict_proba(X_val))


def test_integers_of_a_module_of_ones_own_stay_integers():
    tokens = pd.DataFrame({"a": [2**53 + 1, 3, 4, 5], "b": [1, 2, 3, 4]})
    y = [0, 1, 0, 1]
    seen = []

    class Module(torch.nn.Linear):
        def forward(self, inputs):
            seen.append(inputs.clone())
            return super().forward((inputs % 7).float())

    for name in ("int64", "Int64"):
        clf = SGDInfluenceClassifier(
            Module(2, 2), max_epochs=1, shuffle=False, record=None
        )
        clf.fit(tokens.astype(name), y)
    assert all(each.dtype == torch.int64 for each in seen)
    whole = [each.tolist() for each in seen if len(each) == len(tokens)]
    assert whole == [tokens.to_numpy().tolist()] * 2


BIG = 2**53
NAMES = np.array(["a", "b", "c"])

LABELS = {
    "Int64": lambda y: pd.Series(BIG + y, dtype="Int64"),
    "UInt64": lambda y: pd.Series((BIG + y).astype(np.uint64), dtype="UInt64"),
    "Int8": lambda y: pd.Series(y, dtype="Int8"),
    "arrow int64": lambda y: pd.Series(BIG + y, dtype=arrow("int64")),
    "string": lambda y: pd.Series(NAMES[y], dtype="string"),
    "str": lambda y: pd.Series(NAMES[y], dtype="str"),
    "arrow string": lambda y: pd.Series(NAMES[y], dtype=arrow("string")),
    "category": lambda y: pd.Series(NAMES[y], dtype="category"),
    "categories of numbers": lambda y: pd.Series(BIG + y, dtype="category"),
    "object": lambda y: NAMES[y].astype(object),
    "list": lambda y: NAMES[y].tolist(),
    "polars": lambda y: polars().Series("label", BIG + y),
    "polars UInt8": lambda y: polars().Series("label", y.astype(np.uint8)),
    "polars String": lambda y: polars().Series("label", NAMES[y]),
    "polars Categorical": lambda y: polars().Series(
        "label", NAMES[y], dtype=polars().Categorical
    ),
    "polars Enum": lambda y: polars().Series(
        "label", NAMES[y], dtype=polars().Enum(NAMES.tolist())
    ),
}


@pytest.mark.parametrize("action", ["remove", "relabel"])
@pytest.mark.parametrize("labels", LABELS)
def test_labels_come_back_in_their_dtype(blobs, labels, action):
    X, y, *_ = blobs
    given = LABELS[labels](y)
    if isinstance(given, pd.Series):
        given.index = np.arange(len(y)) + 7
    before = np.array(list(given), dtype=object)
    options = {"action": action, "n_remove": 12, "random_state": 0}
    cleaner = InfluenceCleaner(quick(), **options)
    _, kept = cleaner.fit_resample(X, given)
    expected = InfluenceCleaner(quick(), **options).fit(X, y)
    assert np.array_equal(cleaner.influence_, expected.influence_, equal_nan=True)
    codes = y[expected.sample_indices_].copy()
    if action == "relabel":
        codes[expected.relabelled_["index"]] = expected.relabelled_["to"]
        assert (codes != y).sum() == 12
    assert type(kept) is type(given)
    assert getattr(kept, "dtype", None) == getattr(given, "dtype", None)
    of_code = dict(zip(y.tolist(), before.tolist(), strict=True))
    assert list(kept) == [of_code[code] for code in codes.tolist()]
    if isinstance(given, pd.Series):
        assert kept.index.tolist() == (expected.sample_indices_ + 7).tolist()
    # What was passed is left as it was.
    assert list(given) == before.tolist()


@pytest.mark.parametrize("container", ["Int64", "polars", "list"])
def test_decided_targets_come_back(blobs, container):
    X, *_ = blobs
    y = np.arange(len(X))
    given = {
        "Int64": lambda: pd.Series(y, dtype="Int64"),
        "polars": lambda: polars().Series("target", y),
        "list": y.tolist,
    }[container]()
    table = pd.DataFrame(
        {
            "sample": [3, 8],
            "decision": ["relabel", "remove"],
            "label": ["2.5", ""],
            "fingerprint": data_fingerprint(X, given),
        }
    )
    cleaner = InfluenceCleaner(SGDInfluenceRegressor(), decisions=table)
    _, kept = cleaner.fit_resample(X, given)
    expected = np.delete(y.astype(float), 8)
    expected[3] = 2.5
    assert type(kept) is type(given)
    assert list(kept) == expected.tolist()


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize("kind", ["pyarrow", "sparse", "polars"])
def test_refuses_to_relabel_what_cannot_be_changed(blobs, monkeypatch, kind):
    X, y, *_ = blobs
    given = {
        "pyarrow": lambda: pytest.importorskip("pyarrow").array(y),
        "sparse": lambda: pd.Series(y, dtype="Sparse[int]"),
        "polars": lambda: polars().DataFrame({"label": y}),
    }[kind]()
    kept = InfluenceCleaner(quick(), random_state=0).fit_resample(X, given)[1]
    assert type(kept) is type(given)
    monkeypatch.setattr(
        SGDInfluenceClassifier, "fit", lambda self, *data: pytest.fail("work")
    )
    with pytest.raises(TypeError, match="`y` must be an array, a list or a Series who"):
        InfluenceCleaner(quick(), action="relabel").fit_resample(X, given)


@pytest.mark.parametrize("which", ["X", "y"])
def test_refuses_frames_of_dask(blobs, monkeypatch, which):
    dask = pytest.importorskip("dask.dataframe")
    X, y, *_ = blobs
    data = {"X": X, "y": y}
    # What is trained on whole may be one.
    frame = dask.from_pandas(pd.DataFrame(X, columns=COLUMNS), npartitions=2)
    assert np.array_equal(
        quick().fit(frame, y).influence(X, y), quick().fit(X, y).influence(X, y)
    )
    whole = {"X": frame.compute(), "y": pd.Series(y)}[which]
    data[which] = dask.from_pandas(whole, npartitions=2)
    monkeypatch.setattr(
        SGDInfluenceClassifier, "fit", lambda self, *data: pytest.fail("work")
    )
    cleaner = InfluenceCleaner(quick())
    for method in (cleaner.fit, cleaner.fit_resample):
        with pytest.raises(TypeError, match=f"`{which}` must be .*compute"):
            method(**data)


MISSING = {
    "None": lambda y: [None, *NAMES[y[1:]]],
    "NaN": lambda y: np.array([np.nan, *NAMES[y[1:]]], dtype=object),
    "NA": lambda y: np.array([pd.NA, *NAMES[y[1:]]], dtype=object),
    "str": lambda y: pd.Series([None, *NAMES[y[1:]]], dtype="str"),
    "string": lambda y: pd.Series([None, *NAMES[y[1:]]], dtype="string"),
    "arrow": lambda y: pd.Series([None, *NAMES[y[1:]]], dtype=arrow("string")),
    "category": lambda y: pd.Series([None, *NAMES[y[1:]]], dtype="category"),
    "boolean": lambda y: pd.Series([None, *(y[1:] > 0)], dtype="boolean"),
    "polars": lambda y: polars().Series([None, *NAMES[y[1:]]]),
}

DATES = {
    "NumPy": lambda X: np.full(X.shape, np.datetime64("2020-01-01")),
    "differences": lambda X: np.full(X.shape, np.timedelta64(1, "D")),
    "objects": lambda X: np.full(X.shape, datetime.date(2020, 1, 1), dtype=object),
    "column": lambda X: pd.DataFrame(X, columns=COLUMNS).assign(
        d=pd.Timestamp("2020-01-01", tz="UTC")
    ),
    "polars": lambda X: (
        polars()
        .DataFrame(X, schema=COLUMNS)
        .with_columns(d=polars().lit(datetime.date(2020, 1, 1)))
    ),
}


@pytest.mark.parametrize("labels", MISSING)
def test_refuses_missing_labels(blobs, labels):
    X, y, *_ = blobs
    given = MISSING[labels](y)
    message = "`y` must have no missing values, got 1, the first in row 0"
    for estimator in (quick(), InfluenceCleaner(quick())):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X, given)
    clf = quick().fit(X, NAMES[y])
    with pytest.raises(ValueError, match=message):
        clf.influence(X, given)
    with pytest.raises(ValueError, match=message.replace("`y`", "`y_val`")):
        InfluenceCleaner(quick()).fit(X, NAMES[y], X[:9], MISSING[labels](y[:9]))


@pytest.mark.parametrize("dates", DATES)
def test_refuses_dates(blobs, dates):
    X, y, *_ = blobs
    given = DATES[dates](X)
    where = " in 'd'" if dates in ("column", "polars") else ""
    message = rf"X must hold numbers, got dates or times{where}\. Turn them"
    own = SGDInfluenceClassifier(nn.Linear(4, 3), dtype="float32")
    for estimator in (quick(), own, InfluenceCleaner(quick())):
        with pytest.raises(ValueError, match=message):
            estimator.fit(given, y)
    with pytest.raises(ValueError, match=message):
        quick().fit(X, y).predict(given)
    days = np.full(len(X), np.datetime64("2020-01-01"))
    for estimator in (quick(), SGDInfluenceRegressor()):
        with pytest.raises(ValueError, match="`y` must be labels or numbers, got dat"):
            estimator.fit(X, days)


class LosingSeries(list):
    """As polars before 1.32: what is written in the place of a category is lost."""

    dtype = "Enum"

    def scatter(self, rows, values):
        kept = enumerate(self)
        return LosingSeries([None if row in rows else value for row, value in kept])


def test_labels_are_written_or_refused():
    rows, labels = np.array([1]), np.array(["b"], dtype=object)
    with pytest.raises(TypeError, match="cannot change values of Enum: cast y to Str"):
        written(LosingSeries(["a", "a", "b"]), rows, labels)
