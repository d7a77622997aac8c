"""Estimated against true influence: what is drawn is what was computed."""

import numpy as np
import pytest

from skinfluence.inspection import AgreementDisplay
from tests.cases import Case

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.mark.slow
def test_points_are_truth_and_estimate_of_the_samples_drawn():
    case = Case("mlp", "momentum")
    clf = case.fitted()
    X_val, y_val = case.validation()
    display = AgreementDisplay.from_estimator(
        clf, X_val, y_val, n_samples=6, random_state=0, at="path"
    )
    check = clf.check_influence(X_val, y_val, 6, random_state=0, at="path")
    points = np.column_stack([check.exact, check.estimated])
    # Which way of training again is the fastest decides how sums are rounded.
    np.testing.assert_allclose(display.points_.get_offsets(), points, rtol=1e-9)


def test_legend_has_the_figures_and_the_diagonal_is_one():
    exact = [0.0, 1.0, 2.0, 3.0]
    estimated = [0.0, 1.0, 3.0, 2.0]
    display = AgreementDisplay(estimated=estimated, exact=exact, name="final").plot()
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    # r = 1 - 6 Σd² / (n (n² - 1)) = 0.8 with ranks; of six pairs one is inverted.
    assert labels == ["equal", "final: r = 0.80, τ = 0.67"]
    assert display.diagonal_.get_slope() == 1
    assert display.ax_.get_xlabel() == "true change without the sample"
    assert display.ax_.get_ylabel() == "estimated change"


def test_draws_into_given_axes_with_given_options():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    display = AgreementDisplay(estimated=[1.0, 2.0], exact=[1.0, 3.0])
    assert display.plot(ax=ax, color="black") is display
    assert display.ax_ is ax
    assert display.points_.get_facecolor()[0, :3].tolist() == [0, 0, 0]


def test_constant_scores_are_drawn_without_figures():
    display = AgreementDisplay(estimated=[0.0, 0.0], exact=[1.0, 2.0]).plot()
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["equal", "influence"]
