"""Each kind of fault is found where it was planted, and nowhere else."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from skinfluence import find_issues
from skinfluence.datasets import flip_labels
from skinfluence.issues import KINDS, row_digests
from skinfluence.issues._copies import _first_within

N = 300


@pytest.fixture
def table():
    """Return columns of several kinds, and labels, without a fault."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, N),
            "income": rng.lognormal(10, 0.4, N),
            "city": rng.choice(["Ulm", "Kiel", "Bonn"], N),
            "member": rng.random(N) < 0.5,
            "since": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(rng.integers(0, 900, N), unit="D"),
        }
    )
    y = np.where(frame["age"] + rng.normal(0, 20, N) > 50, "yes", "no")
    return frame, y


def of_kind(found, kind):
    """Return the only finding of a kind."""
    (place,) = np.flatnonzero(found["kind"] == kind)
    return found.iloc[place]


def test_nothing_is_found_where_nothing_is_wrong(table):
    X, y = table
    found = find_issues(X[:200], y[:200], X[200:], y[200:])
    assert found.empty
    assert found.attrs["n_samples"] == 200
    assert found.attrs["kinds"] == [kind for kind in KINDS if kind != "label_errors"]


def test_duplicates_are_those_of_pandas(table):
    X, y = table
    rng = np.random.default_rng(1)
    rows = rng.integers(0, N, 80)
    X = pd.concat([X, X.iloc[rows]], ignore_index=True)
    y = np.concatenate([y, y[rows]])
    y[-5:] = np.where(y[-5:] == "yes", "no", "yes")
    both = X.assign(y=y)
    found = find_issues(X, y)
    duplicates = of_kind(found, "duplicates")
    np.testing.assert_array_equal(duplicates["rows"], np.flatnonzero(both.duplicated()))
    first = both.groupby(list(both.columns)).ngroup()
    expected = [np.flatnonzero(first == first[row])[0] for row in duplicates["rows"]]
    np.testing.assert_array_equal(duplicates["matches"], expected)
    assert duplicates["figure"] == both.duplicated().mean()


def test_conflicts_are_all_rows_of_equal_inputs_with_several_labels(table):
    X, y = table
    X, y = X.iloc[[*range(N), 3, 3, 8]].reset_index(drop=True), y[[*range(N), 3, 3, 8]]
    y[N] = "no" if y[3] == "yes" else "yes"
    conflict = of_kind(find_issues(X, y), "conflicting_labels")
    np.testing.assert_array_equal(conflict["rows"], [3, N, N + 1])
    np.testing.assert_array_equal(conflict["matches"], [N, 3, N])
    assert "3 rows in 1 group" in conflict["finding"]


def test_leakage_is_found_whatever_the_label_and_the_order_of_columns(table):
    X, y = table
    train, valid = X[:200], pd.concat([X[200:], X[5:8]], ignore_index=True)
    found = find_issues(train, y[:200], valid[valid.columns[::-1]])
    leak = of_kind(found, "leakage")
    np.testing.assert_array_equal(leak["rows"], [5, 6, 7])
    np.testing.assert_array_equal(leak["matches"], [100, 101, 102])
    assert leak["figure"] == 3 / 103
    assert len(found) == 1


def test_near_copies_differ_in_rounding_spaces_and_capitals(table):
    X, y = table
    near = X.iloc[[4, 9, 20]].assign(income=lambda rows: rows["income"].round(0))
    near["city"] = [f" {city.upper()}" for city in near["city"]]
    far = X.iloc[[50]].assign(city="Kassel")
    X = pd.concat([X, near, far], ignore_index=True)
    found = find_issues(X, np.concatenate([y, y[[4, 9, 20, 50]]]))
    copies = of_kind(found, "near_duplicates")
    np.testing.assert_array_equal(copies["rows"], [N, N + 1, N + 2])
    np.testing.assert_array_equal(copies["matches"], [4, 9, 20])
    without = find_issues(X, kinds=["near_duplicates"], near=0)
    assert without.empty


def test_near_copies_of_images_are_those_with_a_little_noise():
    images = load_digits().images
    rng = np.random.default_rng(0)
    rows = rng.choice(len(images), 30, replace=False)
    noisy = images[rows] + rng.normal(0, 0.05, (30, 8, 8))
    found = find_issues(np.concatenate([images, noisy]), kinds=["near_duplicates"])
    copies = of_kind(found, "near_duplicates")
    np.testing.assert_array_equal(copies["rows"], len(images) + np.arange(30))
    np.testing.assert_array_equal(copies["matches"], rows)
    said = "30 images (1.6 %) are nearly the same as another."
    assert copies["finding"] == said


def test_a_pixel_that_numbers_the_images_tells_them_apart():
    images = np.random.default_rng(0).integers(0, 9, (60, 4, 4))
    images[7] = images[3]
    images[:, 0, 0] = np.arange(60)
    assert not len(find_issues(images, kinds=["duplicates"]))
    images[7] = images[3]
    assert len(find_issues(images, kinds=["duplicates"])) == 1


INDEPENDENT = {
    "1": lambda rng: rng.normal(size=(300, 1)),
    "2": lambda rng: rng.normal(size=(300, 2)),
    "5": lambda rng: rng.normal(size=(300, 5)),
    "20": lambda rng: rng.normal(size=(300, 20)),
    "cars": lambda rng: np.stack(
        [rng.integers(1990, 2024, 300), rng.integers(0, 200_000, 300)], axis=1
    ),
    "heavy tail": lambda rng: np.stack(
        [rng.pareto(1.5, 300) * 1000, rng.integers(18, 80, 300)], axis=1
    ),
}


@pytest.mark.parametrize("square", [2, 26, 45, 75])
@pytest.mark.parametrize("scale", [1.0, 2.0**-40, 2.0**40])
def test_the_first_within_a_radius_is_that_of_all_distances(square, scale, monkeypatch):
    monkeypatch.setattr("skinfluence.issues._copies._BLOCK", 5000)
    monkeypatch.setattr("skinfluence.issues._copies._MOST_NEIGHBOURS", 10)
    points = np.random.default_rng(0).integers(0, 4, (150, 20)) + 1000
    points[100:] = points[:50] + (np.arange(20) < 2)
    # Of whole numbers squares are exact, and many are that of the radius.
    squares = np.square(points[:, None] - points).sum(axis=2)
    expected = [
        row if not near.any() else near.argmax()
        for row, near in enumerate(np.tril(squares <= square, -1))
    ]
    found = _first_within(points * scale, np.sqrt(square) * scale)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", INDEPENDENT)
def test_no_copies_are_found_among_independent_rows(kind):
    # At most 1 in 20 sets has a pair by chance: of 20 sets more than 5 would have one
    # with a probability of 0.0003.
    rng = np.random.default_rng(0)
    found = [
        len(find_issues(INDEPENDENT[kind](rng), kinds=["near_duplicates"]))
        for _ in range(20)
    ]
    assert sum(found) <= 5


def test_dates_are_no_identifiers(table):
    _, y = table
    days = pd.date_range("2020-01-01", periods=N)
    weather = pd.DataFrame({"day": days, "rain": np.arange(N) % 2 == 0})
    assert find_issues(weather, y).empty
    months = weather.assign(day=pd.period_range("1990-01", periods=N, freq="M"))
    assert find_issues(months, y).empty


def test_copies_in_another_type_are_copies(table):
    X, y = table
    held_out = X[:20].astype({"income": np.float32, "member": np.float64})
    single = X.astype({"income": np.float32})
    found = find_issues(X, y, held_out, kinds=["leakage"])
    assert found["matches"][0].tolist() == list(range(20))
    assert find_issues(single, y, X[:20], kinds=["leakage"])["n_rows"].tolist() == [20]


@pytest.mark.parametrize(("n_values", "n"), [(5, 1000), (30, 1000), (200, 1000)])
def test_how_many_rows_are_equal_by_chance(n_values, n):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, n_values, (n, 2)))
    found = of_kind(find_issues(X, kinds=["duplicates"]), "duplicates")
    told = int(found["finding"].split("about ")[1].split(" ")[0])
    # All of them are: within three deviations of so many coincidences.
    assert abs(told - found["n_rows"]) <= 3 * np.sqrt(found["n_rows"]) + 1


def test_near_leakage_leaves_out_what_leaked(table):
    X, y = table
    held_out = pd.concat([X[200:], X[5:6], X[6:7]], ignore_index=True)
    held_out.loc[len(held_out) - 1, "income"] += 1e-3
    found = find_issues(X[:200], y[:200], held_out)
    assert of_kind(found, "leakage")["matches"].tolist() == [100]
    assert of_kind(found, "near_leakage")["rows"].tolist() == [6]
    assert of_kind(found, "near_leakage")["matches"].tolist() == [101]


def test_a_missing_number_is_like_no_other(table):
    X, y = table
    X = X.iloc[[*range(N), 3]].reset_index(drop=True)
    X["income"] = X["income"].where(np.arange(N + 1) != N)
    assert find_issues(X, y[[*range(N), 3]]).empty
    X.loc[3, "income"] = np.nan
    found = find_issues(X, y[[*range(N), 3]])
    assert of_kind(found, "duplicates")["rows"].tolist() == [N]


def test_what_is_equal_by_chance_is_told():
    # Independent columns: the expected number of equal pairs is that of their cells.
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 6, (400, 4)))
    said = of_kind(find_issues(X), "duplicates")["finding"]
    told = int(said.split("about ")[1].split(" ")[0])
    expected = 400 * 399 / 2 / 6**4
    # Poisson, and an estimate from another Poisson count.
    assert abs(told - expected) < 3 * np.sqrt(expected)


def test_copies_do_not_depend_on_a_column_that_names_the_rows(table):
    X, y = table
    X = X.iloc[[*range(N), 3]].reset_index(drop=True).assign(number=range(N + 1))
    found = find_issues(X, y[[*range(N), 3]])
    assert found["kind"].tolist() == ["duplicates", "identifier"]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (np.arange(N), "'it' numbers the rows; it is left out"),
        (np.random.default_rng(0).permutation(N), "in another order"),
        ([f"no. {k * 7919 % 1000}" for k in range(N)], "is different in every row"),
        (1_000_000 + np.arange(N) * 97 % 8_000_000, "numbers the rows, with gaps"),
    ],
    ids=["in order", "shuffled", "words", "digits"],
)
def test_identifiers(table, column, said):
    X, y = table
    found = of_kind(find_issues(X.assign(it=column), y), "identifier")
    assert said in found["finding"] or said == "numbers the rows, with gaps"
    assert found["about"] == ("it",)


def test_texts_to_be_read_and_quantities_are_no_identifiers(table):
    X, y = table
    X["said"] = [f"a text of some words with the number {k} in it" for k in range(N)]
    X["weight"] = np.random.default_rng(0).normal(size=N)
    assert find_issues(X, y).empty


def test_constant_columns_and_their_exceptions():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=2000), "b": 1.0, "c": "x", "d": 0})
    X.loc[7, "d"] = 9
    found = find_issues(X, kinds=["constant"])
    assert found["about"].tolist() == [("b", "c"), ("d",)]
    assert found["finding"][0] == "'b' and 'c' have the same value in every row."
    assert found["rows"][1].tolist() == [7]
    assert found["figure"].tolist() == [1.0, 1999 / 2000]


def test_columns_that_give_the_target_away(table):
    X, y = table
    found = find_issues(X.assign(told=np.where(y == "yes", 8, 7)), y)
    assert of_kind(found, "giveaway")["about"] == ("told",)
    found = find_issues(X.drop(columns="income"), X["income"], kinds=["giveaway"])
    assert found.empty
    found = find_issues(
        X.assign(shifted=3 - 2 * X["income"]), X["income"], kinds=["giveaway"]
    )
    assert [name for about in found["about"] for name in about] == ["income", "shifted"]


def test_missing_values_that_go_with_the_target(table):
    X, y = table
    rng = np.random.default_rng(0)
    by_label = rng.random(N) < np.where(y == "yes", 0.4, 0.05)
    at_random = rng.random(N) < 0.2
    X["income"] = X["income"].where(~by_label)
    X["city"] = X["city"].where(~at_random)
    found = find_issues(X, y)
    assert found["about"].tolist() == [("income",)]
    np.testing.assert_array_equal(found["rows"][0], np.flatnonzero(by_label))
    # Cramér's V of a table of two by two is the correlation.
    expected = abs(np.corrcoef(by_label, y == "yes")[0, 1])
    assert found["figure"][0] == pytest.approx(expected, rel=1e-12)


def test_rare_classes(table):
    X, y = table
    y = y.astype(object)
    y[:12] = "unknown"
    found = find_issues(X, y, kinds=["rare_class"])
    assert found["about"].tolist() == [("unknown",)]
    assert found["rows"][0].tolist() == list(range(12))


def test_rows_with_a_number_far_from_all_others():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(1000, 5)), columns=list("abcde"))
    X["income"] = rng.lognormal(10, 0.5, 1000)
    assert find_issues(X).empty
    X.loc[3, "b"], X.loc[7, "d"] = 50, -np.inf
    found = of_kind(find_issues(X), "outliers")
    assert found["rows"].tolist() == [3, 7]
    assert found["about"] == ("b", "d")
    y = rng.normal(size=1000)
    y[11] = 1e6
    found = of_kind(find_issues(X, y), "outliers")
    assert found["rows"].tolist() == [3, 7, 11]
    assert found["finding"].endswith("in 'b', 'd', the target.")
    # Where most are equal, the others need not be far.
    skewed = pd.DataFrame({"gain": [0] * 80 + [99999] * 20, "x": rng.normal(size=100)})
    assert find_issues(skewed).empty


def test_long_integers_are_told_apart():
    # As float64 all of these are the same, and so are their differences.
    numbers = 2**62 + np.random.default_rng(0).permutation(100)
    X = pd.DataFrame(
        {"number": numbers, "x": np.random.default_rng(1).normal(size=100)}
    )
    found = find_issues(X, kinds=["duplicates", "identifier"])
    assert found["kind"].tolist() == ["identifier"]
    assert (
        "19 digits" in found["finding"][0] or "numbers the rows" in found["finding"][0]
    )
    again = pd.concat([X, X[:1]])
    assert find_issues(again, kinds=["duplicates"])["rows"][0].tolist() == [100]


def test_a_few_rows_are_enough():
    assert find_issues(np.zeros((1, 3)), [1]).kind.tolist() == ["constant"]
    found = find_issues([[0.0, 1.0], [0.0, 1.0]], [0, 1], kinds=["conflicting_labels"])
    assert found["rows"][0].tolist() == [0, 1]


@pytest.fixture(scope="module")
def judged():
    """Return labels, some wrong, and probabilities of models that did not see them."""
    X, y = load_iris(return_X_y=True)
    y, flipped = flip_labels(y, 0.1, random_state=0)
    model = LogisticRegression(max_iter=1000)
    found = cross_val_predict(model, X, y, cv=5, method="predict_proba")
    return X, y, flipped, found


def test_label_errors_by_their_definition(judged):
    X, y, flipped, probabilities = judged
    # Northcutt et al. 2021, equations 1 and 2, written out.
    thresholds = [probabilities[y == label, label].mean() for label in range(3)]
    expected = set()
    for row, given in enumerate(probabilities):
        sure = [label for label in range(3) if given[label] >= thresholds[label]]
        if sure and max(sure, key=lambda label: given[label]) != y[row]:
            expected.add(row)
    found = of_kind(find_issues(X, y, probabilities=probabilities), "label_errors")
    assert set(found["rows"].tolist()) == expected
    own = probabilities[found["rows"], y[found["rows"]]]
    assert (np.diff(own) >= 0).all()
    assert flipped[found["rows"]].mean() > 0.7


def test_the_cost_is_the_sum_of_the_influence(judged):
    X, y, _, probabilities = judged
    influence = np.random.default_rng(0).normal(size=len(y))
    found = find_issues(
        pd.DataFrame(X).assign(unit="cm"),
        y,
        probabilities=probabilities,
        influence=influence,
    )
    wrong = of_kind(found, "label_errors")
    assert wrong["influence"] == pytest.approx(influence[wrong["rows"]].sum())
    assert np.isnan(of_kind(found, "constant")["influence"])
    assert find_issues(X, y)["influence"].isna().all()


def test_texts_are_a_table_of_one_column():
    texts = ["the first text", "another one", "The  first text", "another one", None]
    found = find_issues(texts, [0, 1, 0, 0, 1])
    assert of_kind(found, "near_duplicates")["rows"].tolist() == [2]
    assert of_kind(found, "conflicting_labels")["rows"].tolist() == [1, 3]


def test_digests_tell_columns_and_survive_their_order(table):
    X, _ = table
    digests = row_digests(X)
    assert row_digests(X[X.columns[::-1]]) == digests
    assert len(set(digests)) == N
    swapped = pd.DataFrame({"a": [1, 2], "b": [2, 1]})
    assert len(set(row_digests(swapped))) == 2
    # 0.0 and -0.0 are equal, and integers equal floats.
    assert row_digests(pd.DataFrame({"a": [0.0, 1.0]})) == row_digests(
        pd.DataFrame({"a": [-0.0, 1]})
    )


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"y": [0, 1]}, ValueError, r"`y` must be of shape \(300,\).*got \(2,\)"),
        ({"y": [None] * N}, ValueError, "`y` must have no missing values"),
        ({"y": ["a"] * N, "regression": True}, ValueError, "`y` must hold numbers"),
        ({"regression": "yes"}, TypeError, "`regression` must be True, False or None"),
        ({"kinds": "duplicates"}, ValueError, "`kinds` must be a sequence of names"),
        ({"kinds": ["dupes"]}, ValueError, "`kinds` must be among .* got 'dupes'"),
        ({"kinds": ["leakage"]}, ValueError, "'leakage', which needs `X_val`"),
        ({"near": -0.1}, ValueError, "`near` must be a number from 0 and below 1"),
        ({"near": np.nan}, ValueError, "`near` must be a number from 0 and below 1"),
        ({"X_val": [[1, 2]]}, ValueError, "`X_val` must have the columns of `X`"),
        ({"y_val": [1]}, ValueError, "`y_val` must come with `X_val`"),
        ({"probabilities": [[1.0]]}, ValueError, r"must be of shape \(300, 2\)"),
        ({"probabilities": np.full((N, 2), 2.0)}, ValueError, "between 0 and 1"),
        ({"influence": [1.0]}, ValueError, r"`influence` must be of shape \(300,\)"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_input(table, change, error, said):
    X, y = table
    with pytest.raises(error, match=said):
        find_issues(**{"X": X, "y": y, **change})


def test_bad_tables():
    with pytest.raises(ValueError, match="`X` must have two axes or hold texts"):
        find_issues([1, 2, 3])
    with pytest.raises(ValueError, match="different name for each column, got 'a'"):
        find_issues(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(ValueError, match="`X` must have at least one row, got none"):
        find_issues(pd.DataFrame({"a": []}))
    with pytest.raises(TypeError, match="got a sparse"):
        find_issues(csr_matrix(np.eye(3)))


def test_copies_of_pictures_are_found_in_little_memory():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8)
    pictures[-1] = pictures[0]
    find_issues(pictures[:2], kinds=["duplicates"])  # imports take memory, too
    tracemalloc.start()
    try:
        found = find_issues(pictures, kinds=["duplicates"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert of_kind(found, "duplicates")["rows"].tolist() == [999]
    # One number in double precision for each byte, and no digest beside it.
    assert peak < 12 * pictures.nbytes
