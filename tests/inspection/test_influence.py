"""The influence of all samples: what is drawn is what was computed."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.preprocessing import scale

from skinfluence import (
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    influence_over_runs,
)
from skinfluence.inspection import InfluenceDisplay

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

# Ten samples: 3 and 8 are the most harmful, 5 and 0 the most helpful.
INFLUENCE = [0.8, 0.1, 0.2, -0.9, 0.0, 1.0, -0.1, 0.3, -0.5, 0.05]
LOSSES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def bars(ax):
    """Return the heights of the filled bars, and the edges of the first and last."""
    boxes = [bar for container in ax.containers for bar in container]
    return [box.get_height() for box in boxes], boxes[0].get_x(), boxes[-1]


def test_losses_and_influence_are_the_estimators():
    X, y = load_iris(return_X_y=True)
    X = scale(X)
    clf = SGDInfluenceClassifier(max_epochs=3, dtype="float64", random_state=0)
    clf.fit(X[::2], y[::2])
    display = InfluenceDisplay.from_estimator(
        clf, X[1::2], y[1::2], at="path", last_epochs=2, n_marked=5
    )
    expected = clf.influence(X[1::2], y[1::2], at="path", last_epochs=2)
    np.testing.assert_array_equal(display.influence, expected)
    likely = clf.predict_proba(X[::2])[np.arange(75), y[::2]]
    # Both are logarithms of the same softmax, in double precision.
    np.testing.assert_allclose(display.losses, -np.log(likely), rtol=1e-9)
    drawn = np.ma.concatenate([p.get_offsets() for p in display.points_.values()])
    points = np.column_stack([display.losses, expected])
    np.testing.assert_array_equal(np.sort(drawn, axis=0), np.sort(points, axis=0))
    assert display.axes_["loss"].get_ylabel() == "influence (nats)"


def test_several_runs_are_drawn_with_their_spread():
    X, y = load_iris(return_X_y=True)
    X = scale(X)
    clf = SGDInfluenceClassifier(max_epochs=3, random_state=0).fit(X[::2], y[::2])
    runs = influence_over_runs(clf, X[1::2], y[1::2], n_runs=3, random_state=0)
    display = InfluenceDisplay.from_estimator(
        clf, X[1::2], y[1::2], runs=runs, n_marked=4
    )
    np.testing.assert_array_equal(display.influence, runs.mean)
    order = runs.mean.argsort(kind="stable")
    for bars, rows in zip(display.errors_, (order[:4], order[::-1][:4]), strict=True):
        (lines,) = bars[2]
        ends = np.array([line[:, 1] for line in lines.get_segments()])
        errors = runs.scores[:, rows].std(axis=0, ddof=1) / 3**0.5
        expected = runs.mean[rows][:, None] + errors[:, None] * [-1, 1]
        np.testing.assert_allclose(ends, expected, rtol=1e-9)
    alone = InfluenceDisplay.from_estimator(clf, X[1::2], y[1::2], n_marked=4)
    assert alone.errors_ == []


def test_squared_error_has_no_unit_and_a_query_is_named():
    X, y = load_iris(return_X_y=True)
    X, y = scale(X), y.astype(np.float32)
    reg = SGDInfluenceRegressor(max_epochs=2, random_state=0).fit(X[::2], y[::2])
    display = InfluenceDisplay.from_estimator(
        reg, X[1::2], y[1::2], query=lambda outputs, targets: outputs.reshape(-1)
    )
    label = display.axes_["distribution"].get_xlabel()
    assert label.endswith("\nchange of the query without the sample")
    assert display.axes_["loss"].get_ylabel() == "influence"


def test_tails_are_marked_in_both_panels():
    display = InfluenceDisplay(influence=INFLUENCE, losses=LOSSES, n_marked=2).plot()
    harmful = display.points_["harmful"].get_offsets()
    np.testing.assert_allclose(harmful, [[0.4, -0.9], [0.9, -0.5]])
    helpful = display.points_["helpful"].get_offsets()
    np.testing.assert_allclose(helpful, [[0.6, 1.0], [0.1, 0.8]])
    assert len(display.points_["others"].get_offsets()) == 6
    labels = ["others", "2 most harmful", "2 most helpful"]
    assert texts(display.axes_["loss"].get_legend()) == labels
    ax = display.axes_["distribution"]
    to_data = ax.transData.inverted()
    spans = {p.get_label(): p.get_extents().transformed(to_data) for p in ax.patches}
    # Each reaches from the last of its samples to the end of the histogram.
    assert spans["2 most harmful"].x1 == pytest.approx(-0.5)
    assert spans["2 most harmful"].x0 <= -0.9
    assert spans["2 most helpful"].x0 == pytest.approx(0.8)
    assert spans["2 most helpful"].x1 >= 1.0


def test_histogram_counts_all_samples_in_bins_that_part_at_zero():
    display = InfluenceDisplay(influence=INFLUENCE, losses=LOSSES, n_marked=2).plot()
    heights, first, last = bars(display.axes_["distribution"])
    assert sum(heights) == 10
    assert first <= -0.9
    assert last.get_x() + last.get_width() >= 1.0
    negative = np.asarray(heights)[: round(-first / last.get_width())]
    assert negative.sum() == 3
    assert texts(display.axes_["distribution"].get_legend())[0] == "all samples (10)"


def test_labels_say_what_and_in_which_unit():
    display = InfluenceDisplay(influence=INFLUENCE, losses=LOSSES, unit="nats").plot()
    distribution, loss = display.axes_.values()
    assert distribution.get_xlabel() == (
        "← harmful      influence      helpful →\n"
        "change of the mean validation loss without the sample (nats)"
    )
    assert distribution.get_ylabel() == "training samples"
    what, tau = loss.get_xlabel().split("\n")
    assert what == "training loss of the sample, final model (nats)"
    # All losses differ and all influences do: τ is the mean of the pairs' agreement.
    pairs = [
        np.sign(INFLUENCE[j] - INFLUENCE[i])
        for i in range(10)
        for j in range(i + 1, 10)
    ]
    expected = f"{-np.mean(pairs):.2f}".replace("-", "−")
    assert tau == f"rank correlation of harm and loss: τ = {expected}"


def test_known_bad_samples_are_ringed_and_counted():
    truth = np.isin(np.arange(10), [3, 6])
    display = InfluenceDisplay(influence=INFLUENCE, losses=LOSSES, truth=truth).plot()
    rings = display.points_["truth"]
    np.testing.assert_allclose(rings.get_offsets(), [[0.4, -0.9], [0.7, -0.1]])
    assert len(rings.get_facecolors()) == 0
    labels = texts(display.axes_["distribution"].get_legend())
    assert "known to be bad (2)" in labels
    assert texts(display.axes_["loss"].get_legend())[-1] == "known to be bad"


def test_samples_without_influence_are_left_out_and_no_end_takes_all():
    influence = [*INFLUENCE[:5], np.nan]
    display = InfluenceDisplay(influence=influence, losses=LOSSES[:6]).plot()
    shown = {name: len(p.get_offsets()) for name, p in display.points_.items()}
    assert shown == {"others": 1, "harmful": 2, "helpful": 2}


def test_constant_influence_is_drawn_without_a_figure():
    display = InfluenceDisplay(influence=[0.0, 0.0], losses=[1.0, 2.0]).plot()
    assert "τ" not in display.axes_["loss"].get_xlabel()
    heights, _, _ = bars(display.axes_["distribution"])
    assert sum(heights) == 2


def test_losses_over_several_orders_have_a_logarithmic_axis():
    losses = np.geomspace(1e-4, 1, 10)
    display = InfluenceDisplay(influence=INFLUENCE, losses=losses).plot()
    assert display.axes_["loss"].get_xscale() == "log"
    losses[0] = 0
    display = InfluenceDisplay(influence=INFLUENCE, losses=losses).plot()
    assert display.axes_["loss"].get_xscale() == "linear"


def test_draws_into_given_axes():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1)
    display = InfluenceDisplay(influence=INFLUENCE, losses=LOSSES)
    assert display.plot(axes=axes) is display
    assert list(display.axes_.values()) == list(axes)
    assert display.figure_ is figure


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"influence": [[1.0]]}, r"`influence` must have shape \(n_samples,\), got"),
        ({"influence": [np.nan] * 10}, "`influence` must be a number for at least"),
        ({"losses": [1.0]}, r"`losses` must have shape \(10,\), got \(1,\)"),
        ({"truth": [True]}, r"`truth` must have shape \(10,\), got \(1,\)"),
        ({"n_marked": -1}, "`n_marked` must be an integer of at least 0, got -1"),
        ({"n_marked": 2.5}, "`n_marked` must be an integer of at least 0, got 2.5"),
    ],
)
def test_wrong_data(wrong, message):
    display = InfluenceDisplay(**{"influence": INFLUENCE, "losses": LOSSES, **wrong})
    with pytest.raises(ValueError, match=message):
        display.plot()


def test_wrong_number_of_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    with pytest.raises(ValueError, match=r"`axes` must be two.*got 1"):
        InfluenceDisplay(influence=INFLUENCE, losses=LOSSES).plot(axes=ax)
