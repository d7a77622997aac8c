"""Influence by epoch: what is drawn is what was computed, added up."""

import numpy as np
import pytest

from skinfluence.inspection import TrajectoryDisplay
from tests.cases import Case, rough

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

# Influence of the four: 3, -3, 0.5, -1.
PARTS = [[1.0, 2.0], [-2.0, -1.0], [0.5, 0.0], [0.0, -1.0]]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@rough
def test_lines_end_at_the_influence_of_the_extreme_samples():
    case = Case("mlp", "momentum")
    clf = case.fitted()
    display = TrajectoryDisplay.from_estimator(
        clf, *case.validation(), at="path", last_epochs=2
    )
    scores = clf.influence(*case.validation(), at="path", last_epochs=2)
    order = scores.argsort()
    assert display.rows_.tolist() == [*order[:3], *order[:-4:-1]]
    ends = [line.get_ydata()[-1] for line in display.lines_]
    # The same sums in double precision, taken in another order.
    np.testing.assert_allclose(ends, scores[display.rows_], rtol=1e-9)
    assert display.ax_.get_ylabel().endswith("(nats)")


def test_lines_begin_at_zero_and_add_up():
    display = TrajectoryDisplay(contributions=PARTS, samples=[1, 0]).plot()
    low, high = display.lines_
    assert low.get_xdata().tolist() == [0, 1, 2]
    assert low.get_ydata().tolist() == [0, -2, -3]
    assert high.get_ydata().tolist() == [0, 1, 3]
    assert legend(display) == ["sample 1", "sample 0"]
    assert low.get_color() != high.get_color()
    assert low.get_marker() != high.get_marker()


def test_labels_say_what_and_in_which_unit():
    display = TrajectoryDisplay(contributions=PARTS, labels=list("abcd"), unit="nats")
    display.plot()
    # The lowest three, then the highest of those that are left.
    assert legend(display) == [
        "sample 1: b",
        "sample 3: d",
        "sample 2: c",
        "sample 0: a",
    ]
    assert display.ax_.get_xlabel() == "epoch of training"
    assert display.ax_.get_ylabel() == "influence up to the epoch (nats)"
    title = display.ax_.get_title(loc="left").replace("\n", " ")
    assert title == "change of the mean validation loss without the sample"


@rough
def test_a_query_is_named_and_has_no_unit():
    case = Case("linear", "sgd")
    display = TrajectoryDisplay.from_estimator(
        case.fitted(), *case.validation(), query=lambda outputs, _: outputs[:, 0]
    )
    assert display.ax_.get_ylabel() == "influence up to the epoch"
    title = display.ax_.get_title(loc="left").replace("\n", " ")
    assert title == "change of the query without the sample"


@pytest.mark.parametrize("own_axes", [False, True])
def test_title_labels_and_legend_lie_inside_the_figure(own_axes):
    import matplotlib.pyplot as plt

    ax = plt.subplots()[1] if own_axes else None
    display = TrajectoryDisplay(contributions=PARTS, labels=list("abcd"), unit="nats")
    ax = display.plot(ax=ax).ax_
    display.figure_.canvas.draw()
    whole = display.figure_.bbox
    for part in (ax.yaxis.label, ax._left_title, ax.get_legend()):
        box = part.get_window_extent()
        assert whole.x0 <= box.x0
        assert box.x1 <= whole.x1
        assert whole.y0 <= box.y0
        assert box.y1 <= whole.y1


def test_draws_into_given_axes():
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    display = TrajectoryDisplay(contributions=PARTS)
    assert display.plot(ax=ax) is display
    assert display.ax_ is ax
    assert display.figure_ is figure


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"contributions": [1.0]}, "`contributions` must have shape"),
        ({"samples": [[0]]}, "`samples` must have shape"),
        ({"samples": [4]}, r"`samples` must be row numbers from 0 to 3, got \[4\]"),
        ({"samples": [-1]}, r"`samples` must be row numbers from 0 to 3, got \[-1\]"),
        ({"samples": [0.5]}, "`samples` must be row numbers"),
        ({"samples": [True]}, "`samples` must be row numbers"),
        ({"samples": [0] * 7}, "`samples` must be 1 to 6 samples"),
        ({"samples": np.zeros(0, dtype=int)}, "`samples` must be 1 to 6 samples"),
        ({"labels": ["a"]}, r"`labels` must have shape \(4,\), got \(1,\)"),
    ],
)
def test_wrong_data(wrong, message):
    display = TrajectoryDisplay(**{"contributions": PARTS, **wrong})
    with pytest.raises(ValueError, match=message):
        display.plot()
