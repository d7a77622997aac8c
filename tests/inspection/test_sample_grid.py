"""The extreme samples: the right ones are shown, as what they are."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.preprocessing import OneHotEncoder, StandardScaler, scale

from skinfluence import (
    InfluenceCleaner,
    SGDInfluenceClassifier,
    influence_over_runs,
)
from skinfluence.inspection import SampleGridDisplay
from skinfluence.inspection._sample_views import view_of

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

# From the most harmful: 3, 1, 0, 4, 2.
INFLUENCE = np.array([0.0, -0.25, 0.5, -1.5, 0.125])
GIVEN = {
    "labels": ["cat", "dog", "cat", "dog", "cat"],
    "predictions": ["cat", "cat", "cat", "cow", "dog"],
    "influence": INFLUENCE,
}
TEXTS = ["nought", "one", "two", "costs $5 or $6", "four"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def drawn(samples, **options):
    return SampleGridDisplay(samples=samples, **{**GIVEN, **options}).plot()


def pictures(display):
    return [np.asarray(ax.images[0].get_array()) for ax in display.axes_]


def words(ax):
    return [text.get_text() for text in ax.texts]


def headings(figure):
    return [part.get_suptitle() for part in figure.subfigs]


# --- which samples, and what stands above them ---------------------------------------


def test_most_extreme_samples_come_first():
    display = drawn(TEXTS, n_harmful=2, n_helpful=1)
    assert display.rows_.tolist() == [3, 1, 2]
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["dog → cow\n−1.5", "dog → cat\n−0.25", "cat → cat\n+0.50"]
    assert [words(ax) for ax in display.axes_] == [[TEXTS[row]] for row in (3, 1, 2)]


def test_headings_say_what_and_in_which_unit():
    display = drawn(TEXTS, n_harmful=1, n_helpful=1, unit="nats")
    rest = (
        "given → predicted label,\n"
        "change of the mean validation loss without the sample (nats)"
    )
    expected = [f"Most {end} samples: {rest}" for end in ("harmful", "helpful")]
    assert headings(display.figure_) == expected
    assert display.axes_[0].get_title() == "dog → cow\n−1.5"


def test_standard_errors_stand_behind_the_influence():
    errors = [np.nan, 0.0123, 0.2, 0.31, 1.0]
    display = drawn(TEXTS, n_harmful=3, standard_error=errors)
    titles = [ax.get_title().split("\n")[1] for ax in display.axes_]
    assert titles == ["−1.5 ± 0.3", "−0.25 ± 0.01", "+0.0"]


def test_without_predictions_there_is_the_label_alone():
    display = drawn(TEXTS, predictions=None, n_harmful=1)
    assert display.axes_[0].get_title() == "dog\n−1.5"
    assert headings(display.figure_)[0].startswith("Most harmful samples: label,\n")


def test_numbers_are_targets():
    numbers = np.array([0.5, -1.25, 2.0, 1234.5, 3.0])
    display = drawn(TEXTS, labels=numbers, predictions=-numbers, n_harmful=2)
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["1234 → −1234\n−1.5", "−1.25 → 1.25\n−0.25"]
    assert "given → predicted target,\n" in headings(display.figure_)[0]


def test_no_sample_is_shown_twice_and_none_without_influence():
    influence = np.where(np.arange(5) == 3, np.nan, INFLUENCE)
    display = drawn(TEXTS, influence=influence, n_harmful=3, n_helpful=3)
    assert display.rows_.tolist() == [1, 0, 4, 2]


# --- images --------------------------------------------------------------------------

IMAGES = np.random.default_rng(0).uniform(size=(5, 4, 3))
COLORS = np.random.default_rng(0).uniform(size=(5, 4, 5, 3))


@pytest.mark.parametrize(
    ("samples", "image_shape", "expected"),
    [
        (IMAGES, None, IMAGES),
        (IMAGES[:, None], None, IMAGES),
        (IMAGES[..., None], None, IMAGES),
        (torch.as_tensor(IMAGES[:, None]), None, IMAGES),
        (IMAGES.reshape(5, 12), (4, 3), IMAGES),
        (COLORS, None, COLORS),
        (np.moveaxis(COLORS, -1, 1), None, COLORS),
        (np.moveaxis(COLORS, -1, 1).reshape(5, 60), (3, 4, 5), COLORS),
    ],
)
def test_images_of_any_layout(samples, image_shape, expected):
    display = drawn(samples, image_shape=image_shape, n_harmful=2)
    for image, row in zip(pictures(display), [3, 1], strict=True):
        np.testing.assert_allclose(image, expected[row])


def test_black_and_white_are_the_same_for_all_images():
    shifted = drawn(2 * IMAGES - 1, n_harmful=2)
    low, high = IMAGES.min(), IMAGES.max()
    for image, row in zip(pictures(shifted), [3, 1], strict=True):
        np.testing.assert_allclose(image, (IMAGES[row] - low) / (high - low))
    assert shifted.axes_[0].images[0].get_clim() == (0, 1)
    bytes_ = (255 * IMAGES).astype(np.uint8)
    for image, row in zip(pictures(drawn(bytes_, n_harmful=2)), [3, 1], strict=True):
        np.testing.assert_allclose(image, bytes_[row] / 255)


# --- text ----------------------------------------------------------------------------


def test_long_texts_are_wrapped_and_cut():
    (text,) = words(drawn(["word " * 500] * 5, n_harmful=1).axes_[0])
    lines = text.split("\n")
    assert len(lines) == 8
    assert max(map(len, lines)) <= 52
    assert lines[-1].endswith("…")


def test_text_is_drawn_as_it_stands_and_stays_in_its_box():
    display = drawn([*TEXTS[:3], "W" * 400 + " $x$", TEXTS[4]], n_harmful=2)
    display.figure_.canvas.draw()
    for ax in display.axes_:
        (text,) = ax.texts
        assert not text.get_parse_math()
        assert text.get_clip_on()


# --- tables --------------------------------------------------------------------------


def test_rows_show_their_most_unusual_features():
    X = load_iris().data[:5]
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    display = drawn(X, feature_names=names, n_features=2, n_harmful=1)
    # Row 3 of the five; the features that do not vary count as usual.
    scores = StandardScaler().fit_transform(X)[3]
    expected = []
    for k in np.argsort(-np.abs(scores))[:2]:
        z = f"{scores[k]:+.1f}".replace("-", "−")
        expected += [names[k], f"{X[3, k]:.3g}  ({z})"]
    assert words(display.axes_[0]) == expected
    assert headings(display.figure_)[0].endswith("most unusual features (z-score)")


def test_values_that_are_no_numbers_have_their_indicators_z_score():
    city = pd.Series(["Rome", "Rome", "Rome", "Bonn", "Rome"], name="city")
    frame = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0, 5.0], "city": city})
    display = drawn(frame, n_harmful=1)
    encoded = OneHotEncoder(sparse_output=False).fit_transform(frame[["city"]])
    z = StandardScaler().fit_transform(encoded)[3, 0]  # Bonn's column
    assert z == pytest.approx(2.0)
    assert words(display.axes_[0]) == ["city", "Bonn  (+2.0)", "size", "4  (+0.7)"]


def test_missing_values_are_not_unusual_and_hyphens_stay():
    frame = pd.DataFrame(
        {"a-b": [1.0, 2.0, 3.0, np.nan, 5.0], "c": ["u", "u", "u", "HS-grad", "u"]}
    )
    display = drawn(frame, n_harmful=1)
    assert words(display.axes_[0]) == ["c", "HS-grad  (+2.0)", "a-b", "nan  (+0.0)"]


def test_unnamed_columns_get_numbers():
    display = drawn(np.arange(10.0).reshape(5, 2), n_harmful=1)
    assert words(display.axes_[0])[::2] == ["x0", "x1"]


# --- from what was fitted ------------------------------------------------------------


def test_from_estimator_shows_its_influence_and_predictions():
    X, y = load_iris(return_X_y=True)
    X, names = scale(X), load_iris().target_names[y]
    clf = SGDInfluenceClassifier(max_epochs=3, random_state=0).fit(X[::2], names[::2])
    display = SampleGridDisplay.from_estimator(
        clf, X[::2], names[::2], X[1::2], names[1::2], at="path", n_harmful=4
    )
    scores = clf.influence(X[1::2], names[1::2], at="path")
    np.testing.assert_array_equal(display.rows_, scores.argsort()[:4])
    predicted = clf.predict(X[::2])
    for ax, row in zip(display.axes_, display.rows_, strict=True):
        labels = ax.get_title().split("\n")[0]
        assert labels == f"{names[::2][row]} → {predicted[row]}"
    assert "(nats)" in headings(display.figure_)[0]


def test_from_estimator_can_show_what_x_was_made_of():
    X, y = load_iris(return_X_y=True)
    X, texts = scale(X)[::2], [f"flower {row}" for row in range(75)]
    clf = SGDInfluenceClassifier(max_epochs=2, random_state=0).fit(X, y[::2])
    display = SampleGridDisplay.from_estimator(
        clf, X, y[::2], X, y[::2], samples=texts, n_harmful=2
    )
    shown = [words(ax) for ax in display.axes_]
    assert shown == [[f"flower {row}"] for row in display.rows_]


@pytest.mark.parametrize(
    ("options", "meaning"),
    [
        (
            {"query": "error"},
            "change of the expected validation error without the sample",
        ),
        (
            {"query": "loss"},
            "change of the mean validation loss without the sample (nats)",
        ),
        ({"scorer": "loss"}, "score (the lowest are removed first)"),
        (
            {"action": "relabel", "query": "loss"},
            "lowest change of the mean validation loss under any label (nats)",
        ),
    ],
)
def test_from_cleaner_shows_what_it_ranked_first(options, meaning):
    X, y = load_iris(return_X_y=True)
    X = scale(X)
    clf = SGDInfluenceClassifier(max_epochs=3, random_state=0)
    options = {"validation_fraction": 0.2, "random_state": 0, **options}
    cleaner = InfluenceCleaner(clf, n_remove=10, **options).fit(X, y)
    display = SampleGridDisplay.from_cleaner(cleaner, X, n_harmful=5)
    np.testing.assert_array_equal(display.rows_, cleaner.ranking_[:5])
    predicted = cleaner.predict(X)
    for ax, row in zip(display.axes_, display.rows_, strict=True):
        score = f"{cleaner.influence_[row]:+#.2g}".replace("-", "−")
        assert ax.get_title() == f"{y[row]} → {predicted[row]}\n{score}"
    assert headings(display.figure_)[0].split(",\n")[1] == meaning


def test_several_runs_are_shown_with_their_spread():
    X, y = load_iris(return_X_y=True)
    X = scale(X)
    clf = SGDInfluenceClassifier(max_epochs=3, random_state=0)
    options = {"validation_fraction": 0.2, "n_runs": 3, "random_state": 0}
    cleaner = InfluenceCleaner(clf, n_remove=10, **options).fit(X, y)
    runs = influence_over_runs(
        clf.fit(X[::2], y[::2]), X[1::2], y[1::2], n_runs=3, random_state=0
    )
    data = X[::2], y[::2], X[1::2], y[1::2]
    for display, scores in (
        (SampleGridDisplay.from_cleaner(cleaner, X, n_harmful=4), cleaner.over_runs_),
        (SampleGridDisplay.from_estimator(clf, *data, runs=runs, n_harmful=4), runs),
    ):
        rows = np.argsort(scores.mean, kind="stable")[:4]
        np.testing.assert_array_equal(display.rows_, rows)
        for ax, row in zip(display.axes_, rows, strict=True):
            error = scores.scores[:, row].std(ddof=1) / 3**0.5
            written = f"{scores.mean[row]:+#.2g} ± {error:.1g}"
            assert ax.get_title().split("\n")[1].replace("−", "-") == written
    with pytest.raises(TypeError, match="`runs` must be what influence_over_runs"):
        SampleGridDisplay.from_estimator(clf, *data, runs=runs.mean)


def test_draws_into_given_axes():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2)
    display = SampleGridDisplay(samples=TEXTS, n_harmful=3, **GIVEN).plot(axes=axes)
    assert list(display.axes_) == list(axes.flat[:3])
    assert display.figure_ is figure


# --- bad input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "wrong", "message"),
    [
        (TEXTS[:4], {}, "`samples` must have 5 rows, one for each influence, got 4"),
        (TEXTS, {"labels": [1]}, r"`labels` must have shape \(5,\), got \(1,\)"),
        (TEXTS, {"predictions": [1]}, r"`predictions` must have shape \(5,\)"),
        (TEXTS, {"standard_error": [1]}, r"`standard_error` must have shape \(5,\)"),
        (TEXTS, {"n_harmful": 1.5}, "`n_harmful` must be an integer of at least 0"),
        (TEXTS, {"n_helpful": -1}, "`n_helpful` must be an integer of at least 0"),
        (TEXTS, {"n_harmful": 0}, "`n_harmful` and `n_helpful` must show at least one"),
        (np.eye(5), {"n_features": 0}, "`n_features` must be an integer of at least 1"),
        (np.eye(5), {"image_shape": (2, 2)}, "`image_shape` must be .* of 5 numbers"),
        (np.eye(5), {"feature_names": ["a"]}, "`feature_names` must name 5 features"),
        (np.zeros((5, 2, 4, 4)), {}, "`samples` must be images of one or three"),
        (sparse.eye_array(5).tocsr(), {}, "`samples` must be dense"),
    ],
)
def test_wrong_data(samples, wrong, message):
    with pytest.raises(ValueError, match=message):
        drawn(samples, **wrong)


def test_too_few_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=r"`axes` must be at least 2.* got 1"):
        SampleGridDisplay(samples=TEXTS, n_harmful=2, **GIVEN).plot(axes=ax)


def test_a_series_is_a_table_of_one_column():
    values = pd.Series([1.0, 2.0, 9.0], name="age")
    views = [view_of(shown, None, None, 1) for shown in (values, values.to_frame())]
    assert views[0].unusual(2) == views[1].unusual(2) != []
    assert views[0].unusual(2)[0][0] == "age"
