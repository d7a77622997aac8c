"""The display of a recipe: what is drawn is what was computed."""

import numpy as np
import pytest

from skinfluence.inspection import RecipeDisplay
from tests.cases import Case, rough

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@rough
def test_bars_are_the_slopes_in_the_logarithm():
    clf = Case("mlp", "momentum").fitted()
    validation = Case().validation()
    recipe = clf.recipe_influence(*validation, at="path")
    for option, value in (("learning_rate", 0.1), ("momentum", 0.8)):
        display = RecipeDisplay.from_estimator(
            clf, *validation, option=option, at="path"
        )
        heights = [bar.get_height() for bar in display.bars_]
        np.testing.assert_allclose(heights, value * recipe.epochs[option])
        assert option.replace("_", " ") in display.ax_.get_ylabel()
        assert display.ax_.get_ylabel().endswith("(nats)")


def test_colours_tell_the_sign():
    display = RecipeDisplay(slopes=[1.0, -1.0, 2.0], values=[1, 1, 1]).plot()
    first, second, third = (bar.get_facecolor() for bar in display.bars_)
    assert first == third != second


@rough
def test_refuses_other_options():
    clf = Case("mlp", "sgd").fitted()
    with pytest.raises(ValueError, match=r"`option` must be one of .* got 'lr'"):
        RecipeDisplay.from_estimator(clf, *Case().validation(), option="lr")
    with pytest.raises(ValueError, match=r"that the optimizer has.* got 'momentum'"):
        RecipeDisplay.from_estimator(clf, *Case().validation(), option="momentum")
    with pytest.raises(
        ValueError, match=r"`values` must have shape \(2,\), got \(1,\)"
    ):
        RecipeDisplay(slopes=[1, 2], values=[1]).plot()
