"""The cleaning curve: what is drawn is what was computed."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import StratifiedKFold, cross_val_score

from skinfluence import SGDInfluenceClassifier
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.inspection import CleaningCurveDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def test_scores_are_those_of_the_cleaner_in_each_fold():
    X, y = load_iris(return_X_y=True)
    clf = SGDInfluenceClassifier(max_epochs=3, random_state=0)
    cv = StratifiedKFold(3, shuffle=True, random_state=0)
    display = CleaningCurveDisplay.from_estimator(
        clf, X, y, scorers=["loss"], n_removes=[0, 20], cv=cv, random_state=0
    )
    for column, count in enumerate((0, 20)):
        cleaner = InfluenceCleaner(clf, n_remove=count, scorer="loss", random_state=0)
        expected = cross_val_score(cleaner, X, y, cv=cv)
        np.testing.assert_array_equal(display.scores["loss"][:, column], expected)
    assert display.ax_.get_ylabel() == "cross-validated accuracy"


def test_draws_means_and_standard_errors():
    scores = {"a": [[0.5, 0.7], [0.7, 0.9], [0.6, 0.8]], "b": [[0.1, 0.2]]}
    display = CleaningCurveDisplay(n_removes=[0, 30], scores=scores).plot()
    assert display.ax_.get_xlabel() == "removed samples"
    line, _, (bars,) = display.lines_[0]
    np.testing.assert_allclose(line.get_xdata(), [0, 30])
    np.testing.assert_allclose(line.get_ydata(), [0.6, 0.8])
    (low, high) = bars.get_segments()[0][:, 1]
    assert high - low == pytest.approx(2 * 0.1 / 3**0.5)
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["a", "b"]


def test_fractions_are_drawn_as_percentages():
    display = CleaningCurveDisplay(
        n_removes=[0, 0.1], scores={"a": [[0.5, 0.6]]}
    ).plot()
    assert display.ax_.get_xlabel() == "removed samples (%)"
    np.testing.assert_allclose(display.lines_[0][0].get_xdata(), [0, 10])


def test_draws_into_given_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    display = CleaningCurveDisplay(n_removes=[0], scores={"a": [[0.5]]}).plot(ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure


@pytest.mark.parametrize(
    ("scorers", "message"),
    [
        ("loss", "`scorers` must be a sequence of at least one scorer"),
        ([], "`scorers` must be a sequence of at least one scorer"),
        (
            [IsolationForest(), IsolationForest()],
            "`scorers` must have distinct names",
        ),
    ],
)
def test_wrong_scorers(scorers, message):
    with pytest.raises(ValueError, match=message):
        CleaningCurveDisplay.from_estimator(None, [[0.0]], [0], scorers=scorers)
