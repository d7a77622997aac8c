"""The comparison of scorers: what is drawn is what was computed."""

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from skinfluence.cleaning import compare_scorers
from skinfluence.inspection import ScorerComparisonDisplay
from tests.cleaning.problems import flipped_blobs

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def comparison():
    rows = {
        "scorer": ["b", "b", "b", "a", "a", "a"],
        "n_removed": [0, 5, 9, 0, 5, 9],
        "seconds": [2.0] * 3 + [3.0] * 3,
        "tau": [1.0] * 3 + [0.25] * 3,
        "average_precision": [0.8] * 3 + [0.4] * 3,
        "score": [0.5, 0.6, 0.7, 0.5, 0.55, 0.45],
    }
    errors = {f"{name}_se": [0.01] * 6 for name in list(rows)[2:]}
    return pd.DataFrame({**rows, **errors})


def drawn(ax):
    """Return the places of the dots, and the ends of their bars, of all series."""
    series = []
    for line, _, bars in ax.containers:
        ends = np.array([segment[:, 0] for segment in bars[0].get_segments()])
        series.append((line.get_xdata(), line.get_ydata(), ends))
    return series


def test_draws_means_and_standard_errors(comparison):
    display = ScorerComparisonDisplay(comparison=comparison).plot()
    assert list(display.axes_) == ["score", "average_precision", "tau", "seconds"]
    ((found, places, ends),) = drawn(display.axes_["average_precision"])
    np.testing.assert_allclose(found, [0.8, 0.4])
    np.testing.assert_allclose(places, [0, 1])
    np.testing.assert_allclose(ends, [[0.79, 0.81], [0.39, 0.41]])
    scores = display.axes_["score"]
    five, nine = drawn(scores)
    np.testing.assert_allclose(five[0], [0.6, 0.55])
    np.testing.assert_allclose(nine[0], [0.7, 0.45])
    # What no removal gives is one line for all.
    np.testing.assert_allclose(scores.lines[0].get_xdata(), 0.5)
    labels = [text.get_text() for text in scores.get_legend().get_texts()]
    assert labels == ["0", "5", "9"]
    assert [label.get_text() for label in scores.get_yticklabels()] == ["b", "a"]
    # The first scorer stands above.
    assert scores.yaxis_inverted()
    assert display.axes_["tau"].get_xlabel() == "rank correlation τ\nwith b"
    assert display.axes_["seconds"].get_xscale() == "log"


def test_from_estimator_draws_what_compare_scorers_returns():
    X, y, flips, X_val, y_val = flipped_blobs()
    data = KNeighborsClassifier(), X, y, X_val, y_val, ["loss", "random"]
    options = {"truth": flips, "n_seeds": 2, "random_state": 0}
    display = ScorerComparisonDisplay.from_estimator(*data, **options)
    assert list(display.axes_) == ["average_precision", "tau", "seconds"]
    expected = compare_scorers(*data, **options)
    timed = ["seconds", "seconds_se"]
    pd.testing.assert_frame_equal(
        display.comparison.drop(columns=timed), expected.drop(columns=timed)
    )


def test_draws_into_given_axes(comparison):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2)
    display = ScorerComparisonDisplay(comparison=comparison).plot(axes=axes)
    assert display.figure_ is figure
    assert list(display.axes_.values()) == list(axes.ravel())
    with pytest.raises(ValueError, match=r"`axes` must be one for each .* got 1 axes"):
        ScorerComparisonDisplay(comparison=comparison).plot(axes=axes[0, 0])


def test_one_seed_has_no_bars(comparison):
    comparison[[name for name in comparison if name.endswith("_se")]] = np.nan
    display = ScorerComparisonDisplay(comparison=comparison).plot()
    for ax in display.axes_.values():
        assert all(not container.has_xerr for container in ax.containers)
