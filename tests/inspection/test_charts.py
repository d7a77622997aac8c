"""The geometry of the page's charts."""

import numpy as np
import pytest

from skinfluence.inspection._report.charts import _Axis, curve, histogram, scatter


@pytest.mark.parametrize("seed", range(20))
def test_ticks_are_round_and_where_they_belong(seed):
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.normal(size=2)) * 10.0 ** rng.integers(-9, 9)
    axis = _Axis(low, high, 10.0, 110.0)
    places, labels = zip(*axis.ticks(), strict=True)
    values = np.array([float(text.replace("−", "-")) for text in labels])
    values = values * 10.0**axis.exponent
    assert low <= values[0] + 1e-9 * (high - low)
    assert values[-1] <= high + 1e-9 * (high - low)
    assert 2 <= len(values) <= 9
    steps = np.diff(values)
    # Labels have four digits: of a step between them three are left or so.
    np.testing.assert_allclose(steps, steps[0], rtol=0.02)
    leading = steps[0] / 10 ** np.floor(np.log10(steps[0] * 1.01))
    assert min(abs(leading - wanted) for wanted in (1, 2, 5)) < 0.1
    expected = 10 + 100 * (values - low) / (high - low)
    np.testing.assert_allclose(places, expected, atol=0.1)


def test_an_axis_without_extent_has_one():
    axis = _Axis(3.0, 3.0, 0.0, 100.0)
    assert axis(3.0) == 50
    assert len(axis.ticks()) >= 2


@pytest.mark.parametrize(
    ("high", "unit", "expected"),
    [(1.0, "nats", " (nats)"), (2e-3, "nats", " (10⁻³ nats)"), (3e7, "", " (10⁷)")],
)
def test_units_have_the_power_of_ten(high, unit, expected):
    assert _Axis(0.0, high, 0.0, 1.0).unit(unit) == expected


def test_a_bar_for_each_count():
    distribution = {"edges": [-2, -1, 0, 1], "counts": [1, 0, 100], "threshold": -1.5}
    chart = histogram(distribution, "influence", "nats")
    assert [bar["suspect"] for bar in chart["bars"]] == [True, False]
    one, hundred = chart["bars"]
    decade = chart["y_ticks"][0][0] - chart["y_ticks"][1][0]
    assert hundred["height"] - one["height"] == pytest.approx(2 * decade, abs=0.1)
    assert one["x"] < chart["zero"] == pytest.approx(hundred["x"])


def test_equal_values_lie_on_the_line():
    chart = scatter({"estimated": [-1.0, 2.0], "exact": [-1.0, 2.0]}, "")
    (x0, y0), (x1, y1) = chart["line"]
    for x, y in chart["points"]:
        assert (y - y0) / (y1 - y0) == pytest.approx((x - x0) / (x1 - x0), abs=1e-3)


def test_impossible_numbers_are_left_out_of_the_curve():
    found = {"fractions": True, "n_removes": [0.0, 5.0, 90.0], "n_folds": 3}
    chart = curve({**found, "means": [0.8, 0.9, None], "errors": [0.1, 0.1, None]})
    assert len(chart["points"]) == len(chart["errors"]) == 2
    assert "%" in chart["x_name"]
