"""Explanations: each sample beside its own neighbours, as what they are."""

import numpy as np
import pandas as pd
import pytest

from skinfluence import SGDInfluenceClassifier
from skinfluence.inspection import ExplanationDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

TABLE = pd.DataFrame(
    {
        "sample": [0, 0, 0, 1],
        "effect": ["harmful", "helpful", "helpful", "harmful"],
        "rank": [1, 1, 2, 1],
        "row": [2, 0, 1, 3],
        "label": ["dog", "cat", "cat", "cow"],
        "influence": [-0.5, 0.25, 0.125, -1.5],
    }
)
GIVEN = {
    "explanation": TABLE,
    "labels": ["cat", "dog"],
    "predictions": ["dog", "dog"],
    "samples": ["first", "second"],
    "training_samples": ["nought", "one", "two", "three"],
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def texts(axes):
    return [[t.get_text() for t in ax.texts] if ax.axison else None for ax in axes]


def test_each_sample_stands_beside_its_neighbours():
    display = ExplanationDisplay(**GIVEN).plot()
    assert display.axes_.shape == (2, 4)
    assert texts(display.axes_[0]) == [["first"], ["two"], ["nought"], ["one"]]
    assert texts(display.axes_[1]) == [["second"], ["three"], None, None]
    titles = [ax.get_title() for ax in display.axes_[0]]
    assert titles == ["cat → dog", "dog\n−0.50", "cat\n+0.25", "cat\n+0.12"]
    harm, help_ = (ax.spines["left"].get_edgecolor() for ax in display.axes_[0, 1:3])
    assert harm != help_


def test_images_and_given_axes():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 4)
    images = np.arange(6 * 4.0).reshape(6, 2, 2)
    given = {**GIVEN, "samples": images[:2], "training_samples": images[2:]}
    display = ExplanationDisplay(**given).plot(axes=axes)
    assert display.figure_ is figure
    shown = np.asarray(display.axes_[1, 1].images[0].get_array())
    low, high = images[2:].min(), images[2:].max()
    np.testing.assert_allclose(shown, (images[5] - low) / (high - low))


def test_from_estimator():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    y = np.where(X[:, 0] > 0, "yes", "no")
    clf = SGDInfluenceClassifier(max_epochs=3, random_state=0).fit(X[:30], y[:30])
    asked = X[30:33], y[30:33]
    display = ExplanationDisplay.from_estimator(
        clf, X[:30], y[:30], *asked, n_harmful=2, n_helpful=1, n_features=2
    )
    pd.testing.assert_frame_equal(
        display.explanation, clf.explain(*asked, n_harmful=2, n_helpful=1)
    )
    assert display.axes_.shape == (3, 4)
    assert display.unit == "nats"
    first = display.figure_.get_suptitle()
    assert "change of the loss without the sample (nats)" in first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": ["cat"]}, "`labels` must have one value for each of the 2"),
        ({"predictions": ["cat"] * 3}, "`predictions` must have one value .*got 3"),
        ({"explanation": 3}, "`explanation` must be what `explain` returns"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ExplanationDisplay(**{**GIVEN, **options}).plot()


def test_too_few_axes():
    import matplotlib.pyplot as plt

    with pytest.raises(ValueError, match=r"`axes` must be 2 times 4, .* got 2"):
        ExplanationDisplay(**GIVEN).plot(axes=plt.subplots(1, 2)[1])
