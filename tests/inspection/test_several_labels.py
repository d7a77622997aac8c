"""Displays of samples that have several labels or targets each."""

import numpy as np
import pandas as pd
import pytest

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.cleaning import InfluenceCleaner
from skinfluence.inspection import (
    AuditReport,
    ExplanationDisplay,
    InfluenceDisplay,
    RecipeDisplay,
    SampleGridDisplay,
    TrajectoryDisplay,
    slice_influence,
)

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

RNG = np.random.default_rng(0)
X, X_VAL = RNG.normal(size=(40, 6)), RNG.normal(size=(12, 6))
LABELS, LABELS_VAL = ((x[:, :3] > 0.3).astype(int) for x in (X, X_VAL))
NUMBERS, NUMBERS_VAL = X[:, :2] ** 2, X_VAL[:, :2] ** 2

KINDS = [
    (SGDInfluenceClassifier, LABELS, LABELS_VAL),
    (SGDInfluenceRegressor, NUMBERS, NUMBERS_VAL),
]


@pytest.fixture(params=KINDS, ids=["labels", "numbers"], scope="module")
def fitted(request):
    kind, y, y_val = request.param
    return kind("linear", max_epochs=3, random_state=0).fit(X, y), y, y_val


def text(row):
    return f"[{', '.join(format(v, '.3g').replace('-', '−') for v in row.tolist())}]"


def test_titles_of_samples_are_rows_of_targets(fitted):
    net, y, y_val = fitted
    shown = {"n_harmful": 2, "n_helpful": 1}
    display = SampleGridDisplay.from_estimator(net, X, y, X_VAL, y_val, **shown)
    scores = net.influence(X_VAL, y_val)
    worst = int(scores.argmin())
    title = display.axes_[0].get_title()
    predicted = text(net.predict(X)[worst])
    assert title.startswith(f"{text(y[worst])[:20]}")
    assert len(display.axes_) == 3
    if y is LABELS:
        assert title.startswith(f"{text(y[worst])} → {predicted}\n")
    with pytest.raises(ValueError, match="`labels` must have shape"):
        SampleGridDisplay(
            samples=X, labels=y[1:], predictions=None, influence=scores
        ).plot()


@pytest.mark.parametrize("action", ["remove", "relabel"])
def test_samples_of_a_cleaner(action):
    own = SGDInfluenceClassifier("linear", max_epochs=3, random_state=0)
    cleaner = InfluenceCleaner(own, n_remove=3, action=action, random_state=0)
    cleaner.fit(X, LABELS, X_VAL, LABELS_VAL)
    display = SampleGridDisplay.from_cleaner(cleaner, X, n_harmful=1, n_helpful=0)
    (row,) = display.rows_
    given, predicted = text(LABELS[row]), text(cleaner.predict(X)[row])
    assert display.axes_[0].get_title().startswith(f"{given} → {predicted}\n")


def test_other_displays(fitted):
    net, y, y_val = fitted
    display = TrajectoryDisplay.from_estimator(net, X_VAL, y_val, labels=y)
    names = [line.get_label() for line in display.lines_]
    assert names[0] == f"sample {display.rows_[0]}: {y[display.rows_[0]]}"
    explained = ExplanationDisplay.from_estimator(net, X, y, X_VAL[:2], y_val[:2])
    assert len(explained.axes_) == 2
    for kind in (InfluenceDisplay, RecipeDisplay):
        assert kind.from_estimator(net, X_VAL, y_val).figure_ is not None


def test_slices(fitted):
    net, _, y_val = fitted
    frame = pd.DataFrame(X[:, 3:] > 0, columns=list("abc"))
    found = slice_influence(net, frame, X_VAL, y_val)
    rows = found["rows"].iloc[0] if len(found) else []
    assert all(0 <= row < len(X) for row in rows)


def test_a_page_is_about_one_target_of_each_sample(fitted):
    net, y, y_val = fitted
    with pytest.raises(ValueError, match=r"`y` must hold one target .*to_frame"):
        AuditReport.from_estimator(net, X, y, X_VAL, y_val)
