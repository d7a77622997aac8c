"""Cells led back through preprocessing, against what the steps do to other cells."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfVectorizer,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.inspection import column_influence, token_influence

rng = np.random.default_rng(0)
N = 20
NUMBERS = ["age", "height", "weight"]


def table():
    frame = pd.DataFrame(
        rng.normal([40, 170, 70], [9, 8, 12], size=(N, 3)), columns=NUMBERS
    )
    frame["town"] = np.array(["A", "B", "C", "D"])[np.arange(N) % 4]
    frame["sex"] = np.array(["f", "m"])[np.arange(N) % 2]
    return frame


def dense(outputs):
    return np.asarray(outputs.toarray() if sparse.issparse(outputs) else outputs)


def slopes_for(steps, X):
    return np.random.default_rng(1).normal(size=dense(steps.transform(X)).shape)


@pytest.mark.parametrize(
    "step",
    [
        StandardScaler(),
        StandardScaler(with_std=False),
        MinMaxScaler((-1, 2)),
        RobustScaler(),
        RobustScaler(with_scaling=False),
        MaxAbsScaler(),
        PCA(2),
        PCA(2, whiten=True),
        TruncatedSVD(2, random_state=0),
        SimpleImputer(),
        FunctionTransformer(),
        make_pipeline(SimpleImputer(), StandardScaler(), PCA(2)),
        make_column_transformer(
            (StandardScaler(), ["weight", "age"]), remainder="passthrough"
        ),
        make_column_transformer((MinMaxScaler(), [2, 0])),
        ColumnTransformer(
            [("one", StandardScaler(), NUMBERS), ("other", PCA(1), NUMBERS[1:])]
        ),
    ],
    ids=str,
)
def test_numbers_are_differences_of_the_outputs(step):
    X = table()[NUMBERS]
    steps = step.fit(X)
    slopes = slopes_for(steps, X)
    found = column_influence(steps, X, slopes).slopes
    for name in NUMBERS:
        higher = X.assign(**{name: X[name] + 1.0})
        # These steps are linear: any difference is the derivative.
        moved = dense(steps.transform(higher)) - dense(steps.transform(X))
        np.testing.assert_allclose(
            found[name], (slopes * moved).sum(1), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("drop", [None, "first", "if_binary"])
def test_categories_are_differences_of_the_outputs(drop):
    X = table()
    steps = make_column_transformer(
        (StandardScaler(), NUMBERS),
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"),
                OneHotEncoder(drop=drop, sparse_output=False),
            ),
            ["town", "sex"],
        ),
    ).fit(X)
    slopes = slopes_for(steps, X)
    found = column_influence(make_pipeline(steps, SGDInfluenceClassifier()), X, slopes)
    assert list(found.switches) == ["town", "sex"]
    assert found.slopes[["town", "sex"]].isna().all(axis=None)
    for name, effects in found.switches.items():
        for category in effects:
            switched = steps.transform(X.assign(**{name: category}))
            moved = (slopes * (switched - steps.transform(X))).sum(1)
            np.testing.assert_allclose(effects[category], moved, atol=1e-12)
        best = found.switches[name].min(axis=1)
        np.testing.assert_array_equal(found.repairs[name], best)


def test_repairs_to_the_median():
    X = table()[NUMBERS]
    scaler = StandardScaler().fit(X)
    slopes = slopes_for(scaler, X)
    found = column_influence(scaler, X, slopes)
    typical = np.tile(X.median(), (N, 1))
    moved = scaler.transform(pd.DataFrame(typical, columns=NUMBERS))
    expected = slopes * (moved - scaler.transform(X))
    np.testing.assert_allclose(found.repairs, expected, atol=1e-12)
    first = found.worst(3)
    assert list(first["repair"]) == pytest.approx(sorted(expected.ravel())[:3])


@pytest.mark.filterwarnings("ignore:Skipping features")
def test_missing_cells_have_no_influence_of_their_own():
    X = table()
    X.loc[2, "age"] = np.nan
    X["none"] = np.nan  # the imputer leaves it out
    chosen = [*NUMBERS, "none"]
    steps = make_pipeline(SimpleImputer(), StandardScaler())
    steps.fit(X[chosen])
    found = column_influence(steps, X[chosen], np.ones((N, 3)))
    assert np.isnan(found.slopes.loc[2, "age"])
    assert np.isnan(found.repairs.loc[2, "age"])
    assert found.slopes.drop(columns="none").isna().sum().sum() == 1
    assert found.repairs["none"].isna().all()


def unit_errors(X, rows, rng):
    """Multiply one cell of each row by 100."""
    cells = [(row, int(rng.integers(X.shape[1]))) for row in rows]
    for cell in cells:
        X[cell] *= 100
    return cells


def swapped_columns(X, rows, rng):
    """Swap two columns in some rows."""
    X[np.ix_(rows, [0, 3])] = X[np.ix_(rows, [3, 0])]
    return [(row, column) for row in rows for column in (0, 3)]


@pytest.mark.parametrize("plant", [unit_errors, swapped_columns])
def test_finds_planted_errors(plant):
    rng = np.random.default_rng(0)
    clean = rng.normal([5, 10, 20, 60, 3], [1, 2, 5, 10, 0.5], size=(200, 5))
    standard = (clean - clean.mean(0)) / clean.std(0)
    y = standard @ [1, -1, 0.5, 0.8, -0.6] + 0.3 * rng.normal(size=200)
    X = clean[:100].copy()
    planted = plant(X, rng.choice(100, 6, replace=False).tolist(), rng)
    reg = SGDInfluenceRegressor(
        "linear", optimizer=torch.optim.Adam, lr=0.02, max_epochs=20, random_state=0
    )
    pipe = make_pipeline(RobustScaler(), reg).fit(X, y[:100])
    slopes = reg.feature_influence(pipe[0].transform(clean[100:]), y[100:])
    worst = column_influence(pipe, X, slopes).worst(2 * len(planted))
    found = {*zip(worst["row"], worst["column"], strict=True)} & {*planted}
    # By chance it would be 2 or 5 % of them.
    assert len(found) >= 0.8 * len(planted)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (PowerTransformer(), "got a PowerTransformer"),
        (make_pipeline(StandardScaler(), PowerTransformer()), "got a PowerTransformer"),
        (MinMaxScaler(clip=True), "`clip` of MinMaxScaler must be False"),
        (SimpleImputer(add_indicator=True), "`add_indicator` of SimpleImputer"),
        (FunctionTransformer(np.log), "`func` of FunctionTransformer must be None"),
    ],
    ids=["power", "inner", "clip", "indicator", "function"],
)
def test_refuses_other_steps_by_name(steps, message):
    X = table()[NUMBERS]
    steps.fit(X)
    with pytest.raises(ValueError, match=message):
        column_influence(steps, X, slopes_for(steps, X))


def test_refuses_infrequent_categories_and_other_shapes():
    X = table()
    encoder = OneHotEncoder(min_frequency=6, sparse_output=False).fit(X[["town"]])
    with pytest.raises(ValueError, match="`min_frequency` of OneHotEncoder"):
        column_influence(encoder, X[["town"]], slopes_for(encoder, X[["town"]]))
    scaler = StandardScaler().fit(X[NUMBERS])
    with pytest.raises(ValueError, match=r"a row for each .* got \(3, 3\)"):
        column_influence(scaler, X[NUMBERS], np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"each output of StandardScaler \(3\), got 2"):
        column_influence(scaler, X[NUMBERS], np.ones((N, 2)))
    with pytest.raises(ValueError, match="must be dense"):
        column_influence(scaler, X[NUMBERS], sparse.csr_matrix(np.ones((N, 3))))
    alone = make_pipeline(SGDInfluenceClassifier("linear", random_state=0))
    alone.fit(X[NUMBERS], np.arange(N) % 2)
    with pytest.raises(ValueError, match="must have steps before the estimator"):
        column_influence(alone, X[NUMBERS], np.ones((N, 3)))


TEXTS = ["good good film", "good plot", "fine film", "bad film", "bad plot", "dull"]


@pytest.mark.parametrize(
    "vectorizer",
    [
        TfidfVectorizer(),
        TfidfVectorizer(norm="l1"),
        TfidfVectorizer(norm=None),
        CountVectorizer(),
    ],
    ids=str,
)
def test_tokens_are_derivatives_in_their_weights(vectorizer):
    X = vectorizer.fit_transform(TEXTS)
    slopes = X.copy().astype(np.float64)
    slopes.data = np.random.default_rng(2).normal(size=X.nnz)
    found = token_influence(vectorizer, X, slopes).toarray()
    order = {"l1": 1, "l2": 2}.get(getattr(vectorizer, "norm", None))

    def normed(row):
        return row if order is None else row / np.linalg.norm(row, order)

    for i, row in enumerate(X.toarray().astype(np.float64)):
        for k in row.nonzero()[0]:
            part = np.zeros_like(row)
            part[k] = 1e-6 * row[k]
            moved = (normed(row - part) - normed(row + part)) / 2e-6
            # Central differences of fractions: their error is of order 1e-12.
            assert found[i, k] == pytest.approx(moved @ slopes.toarray()[i], abs=1e-8)


def test_refuses_what_are_no_tokens():
    vectorizer = TfidfVectorizer()
    X = vectorizer.fit_transform(TEXTS)
    with pytest.raises(ValueError, match="`slopes` must be a sparse matrix"):
        token_influence(vectorizer, X, X.toarray())
    with pytest.raises(ValueError, match="`slopes` must have the shape of X"):
        token_influence(vectorizer, X, X[:2])
    with pytest.raises(ValueError, match="got a HashingVectorizer"):
        token_influence(HashingVectorizer(), X, X)
