"""What a report tells, against the estimator asked directly; its page as HTML."""

import base64
import hashlib
import io
import json
import pickle
import re
import sys
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy import sparse
from scipy.stats import norm, sem
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_random_state
from skorch.dataset import ValidSplit
from torch import nn

from skinfluence import (
    InfluenceCleaner,
    InfluenceCleanerCV,
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    find_issues,
    queries,
)
from skinfluence.cleaning import data_fingerprint
from skinfluence.estimators import InfluenceInterval, ScoresOverRuns, skill
from skinfluence.exceptions import DecisionsError, TrainingDataChangedError
from skinfluence.inspection import AuditReport
from skinfluence.inspection._report.page import page, visible
from skinfluence.inspection._report.values import as_it_stands
from skinfluence.inspection._style import unit_of_loss
from tests.inspection.hostile import HOSTILE, LONG
from tests.inspection.reports import blobs, fitted, hostile_data, report_of

DATA = blobs()
# Five significant digits are kept.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def clf():
    return fitted(*DATA[:2])


@pytest.fixture(scope="module")
def report(clf):
    return AuditReport.from_estimator(
        clf,
        *DATA,
        n=10,
        n_check=5,
        X_test=DATA[2],
        y_test=DATA[3],
        harmful_only=False,
        random_state=0,
    )


def of_suspects(report, name):
    return [suspect[name] for suspect in report.to_dict()["suspects"]]


def test_suspects_are_the_most_harmful(report, clf):
    X, y, X_val, y_val = DATA
    influence = clf.influence(X_val, y_val, at="path")
    order = np.argsort(influence)[:10]
    assert of_suspects(report, "sample") == order.tolist()
    assert "without each, by estimate" in page(report.to_dict())
    found = of_suspects(report, "influence")
    np.testing.assert_allclose(found, influence[order], rtol=TOLERANCE)
    labels = np.array(report.to_dict()["classes"])
    assert labels[of_suspects(report, "given")].tolist() == y[order].tolist()
    predicted = labels[of_suspects(report, "predicted")]
    assert predicted.tolist() == clf.predict(X[order]).tolist()
    proba = clf.predict_proba(X[order])
    found = of_suspects(report, "probability")
    np.testing.assert_allclose(found, proba.max(axis=1), rtol=TOLERANCE)


def test_gains_paths_and_whom_they_harm(report, clf):
    _, _, X_val, y_val = DATA
    order = of_suspects(report, "sample")
    by_label = clf.label_influence(X_val, y_val, at="path")[order]
    each = clf.influence(X_val, y_val, at="path", aggregate=None)[order]
    for k, suspect in enumerate(report.to_dict()["suspects"]):
        assert suspect["proposal"] == by_label[k].argmin()
        assert suspect["gain"] == pytest.approx(-by_label[k].min(), rel=TOLERANCE)
        assert suspect["path"][0] == 0
        assert len(suspect["path"]) == 5
        assert suspect["path"][-1] == pytest.approx(suspect["influence"], rel=TOLERANCE)
        rows, values = zip(*suspect["harms"], strict=True)
        # Of all validation samples, not only of those with high losses.
        assert list(rows) == np.argsort(each[k])[:3].tolist()
        np.testing.assert_allclose(values, np.sort(each[k])[:3], rtol=TOLERANCE)
        assert {str(row) for row in rows} <= set(report.to_dict()["validation"])


def test_whom_suspects_harm_need_not_be_shown(clf):
    none = AuditReport.from_estimator(clf, *DATA, n=10, n_check=0, n_harmed=0)
    assert not any(of_suspects(none, "harms"))
    assert "Harms most: of" not in page(none.to_dict())


def test_single_samples_have_no_metric_of_all_together(clf):
    options = {"n": 3, "n_check": 0, "query": "calibration", "harmful_only": False}
    match = "`n_harmed` must be 0 for a query of the whole.*got 3 with query='calib"
    with pytest.raises(ValueError, match=match):
        AuditReport.from_estimator(clf, *DATA, **options)
    report = AuditReport.from_estimator(clf, *DATA, n_harmed=0, **options)
    assert of_suspects(report, "harms") == [[]] * 3


def test_scores_check_and_fingerprint(report, clf):
    X, y, X_val, y_val = DATA
    assert report.scores.index.tolist() == ["validation", "test"]
    proba = clf.predict_proba(X_val)
    own = proba[np.arange(len(y_val)), np.searchsorted(clf.classes_, y_val)]
    np.testing.assert_allclose(
        report.scores.loc["validation"],
        [clf.score(X_val, y_val), -np.log(own).mean()],
        rtol=TOLERANCE,
    )
    check = clf.check_influence(X_val, y_val, 5, at="path", random_state=0)
    assert report.to_dict()["check"]["verdict"] == check.verdict
    assert report.fingerprint == data_fingerprint(X, y)


def test_other_scores_rank(clf):
    scores = np.arange(60.0)
    scores[[4, 9]] = -1, np.nan
    report = AuditReport.from_estimator(clf, *DATA, n=3, n_check=0, scores=scores)
    assert of_suspects(report, "sample") == [4, 0, 1]
    assert of_suspects(report, "score") == [-1, 0, 1]
    html = page(report.to_dict())
    assert "have a negative score" in html
    assert ">score</text>" in html


def test_scores_over_several_runs_are_shown_with_their_spread(clf):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5, 60)) + np.linspace(-1, 1, 60)
    scores[2:, 0] = np.nan
    scores[:2, 0] = -9, -7
    scores[:, 1] = np.nan
    runs = ScoresOverRuns.of(scores)
    report = AuditReport.from_estimator(
        clf, *DATA, n=60, n_check=0, scores=runs, harmful_only=False
    )
    suspects = report.to_dict()["suspects"]
    assert [s["sample"] for s in suspects] == np.argsort(runs.mean)[:-1].tolist()
    first = suspects[0]
    assert (first["score"], first["standard_error"]) == (-8, 1)
    assert (first["n_runs"], first["n_agree"]) == (2, 2)
    for suspect in suspects[1:]:
        own = scores[:, suspect["sample"]]
        assert suspect["score"] == pytest.approx(own.mean(), rel=1e-4)
        assert suspect["standard_error"] == pytest.approx(sem(own), rel=1e-4)
        assert suspect["n_runs"] == 5
        same = np.sign(own) == np.sign(own.mean())
        assert suspect["n_agree"] == same.sum()
    plain = AuditReport.from_estimator(clf, *DATA, n=3, n_check=0, scores=runs.mean)
    assert "n_runs" not in plain.to_dict()["suspects"][0]


def test_intervals_for_a_fresh_run_are_shown(clf):
    rng = np.random.default_rng(0)
    runs = ScoresOverRuns.of(rng.normal(-1.0, 0.1, (3, 60)))
    interval = runs.mean[:, None] + np.array([-0.5, 2.0])
    interval[5] = np.nan, np.inf
    found = InfluenceInterval(runs.mean, interval, 0.8, 30, 0.9, runs)
    options = {"n": 60, "n_check": 0, "n_harmed": 0}
    report = AuditReport.from_estimator(clf, *DATA, scores=found, **options)
    content = report.to_dict()
    order = of_suspects(report, "sample")
    assert order == np.argsort(runs.mean).tolist()
    assert of_suspects(report, "n_runs") == [3] * 60
    shown = dict(zip(order, of_suspects(report, "interval"), strict=True))
    assert shown.pop(5) == [None, None]
    for row, ends in shown.items():
        np.testing.assert_allclose(ends, interval[row], rtol=TOLERANCE)
    assert content["level"] == 0.8
    assert "in a fresh run for 80 % of the samples" in page(content)
    # Runs without intervals have none, and nothing is said of them.
    plain = AuditReport.from_estimator(clf, *DATA, scores=runs, **options)
    assert {*of_suspects(plain, "interval")} == {None}
    assert "An interval" not in page(plain.to_dict())


def test_the_expected_error_is_asked_for(clf):
    _, _, X_val, y_val = DATA
    report = AuditReport.from_estimator(
        clf, *DATA, n=5, n_check=4, at="final", query="error", random_state=0
    )
    influence = clf.influence(X_val, y_val, query="error")
    assert of_suspects(report, "sample") == np.argsort(influence)[:5].tolist()
    each = clf.influence(X_val, y_val, query="error", aggregate=None)
    first = report.to_dict()["suspects"][0]
    rows, values = zip(*first["harms"], strict=True)
    wanted = np.sort(each[first["sample"]])[: len(rows)]
    np.testing.assert_allclose(values, wanted, rtol=TOLERANCE)
    assert (report.to_dict()["unit"], report.to_dict()["loss_unit"]) == ("", "nats")
    html = page(report.to_dict())
    assert "without each, by estimate, the expected validation error would be" in html


def test_a_query_that_is_an_object_is_called_by_its_name(clf):
    query = queries.corrected_error(np.eye(3))
    report = AuditReport.from_estimator(clf, *DATA, n=3, n_check=0, query=query)
    said = "the expected validation error corrected for label noise would be"
    assert said in page(report.to_dict())


def test_kinks_can_be_smoothed():
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    options = {"max_epochs": 4, "batch_size": 16, "random_state": 0}
    clf = SGDInfluenceClassifier(module, **options).fit(*DATA[:2])
    report = AuditReport.from_estimator(
        clf, *DATA, n=3, n_check=0, smoothing=0.5, harmful_only=False
    )
    smooth = clf.influence(*DATA[2:], at="path", smoothing=0.5)
    exact = clf.influence(*DATA[2:], at="path")
    shown, rows = of_suspects(report, "influence"), of_suspects(report, "sample")
    np.testing.assert_allclose(shown, smooth[rows], rtol=TOLERANCE)
    assert not np.allclose(shown, exact[rows], rtol=10 * TOLERANCE)
    assert "kinks are smoothed" in page(report.to_dict())
    with pytest.raises(ValueError, match="`smoothing` must be"):
        AuditReport.from_estimator(clf, *DATA, smoothing=-1)


def test_is_json(report):
    text = json.dumps(report.to_dict(), allow_nan=False)
    again = AuditReport(json.loads(text))
    assert page(again.to_dict()) == page(report.to_dict())
    with pytest.raises(ValueError, match="content alone"):
        again.apply("decisions.csv")


def decisions_of(report):
    samples = of_suspects(report, "sample")
    frame = pd.DataFrame({"sample": samples, "decision": "remove", "label": ""})
    frame.loc[0, ["decision", "label"]] = ["relabel", "c"]
    frame.loc[1, "decision"] = "keep"
    return frame.assign(fingerprint=report.fingerprint)


@pytest.mark.parametrize("refit", ["full", "counterfactual"])
def test_applies_decisions(report, clf, refit):
    X, y, X_val, y_val = DATA
    decisions = decisions_of(report)
    moved, _, *removed = decisions["sample"]
    changed = y.copy()
    changed[moved] = "c"
    if refit == "full":
        rest = np.delete(np.arange(60), removed)
        expected = clone(clf).fit(X[rest], changed[rest])
    else:
        expected = clone(clf).fit(X, changed).refit_without(removed)
    applied = report.apply(decisions, refit=refit)
    proba = expected.predict_proba(X_val)
    own = proba[np.arange(len(y_val)), np.searchsorted(expected.classes_, y_val)]
    np.testing.assert_allclose(
        applied.scores.loc["test", ["score_after", "loss_after"]],
        [expected.score(X_val, y_val), -np.log(own).mean()],
        rtol=TOLERANCE,
    )
    before = ["score", "loss"]
    pd.testing.assert_frame_equal(applied.scores[before], report.scores)
    html = page(applied.to_dict())
    assert "8 removed, 1 relabelled, 1 reviewed and kept" in html
    with pytest.raises(DecisionsError, match="about other data"):
        report.apply(decisions.assign(fingerprint="data-1"), refit=refit)


def test_decisions_about_what_is_shown(clf):
    X, y, X_val, y_val = DATA
    raw = pd.DataFrame({"name": [f"row {k}" for k in range(60)]})
    report = AuditReport.from_estimator(
        clf, X, y, X_val, y_val, n=4, n_check=0, raw=raw
    )
    assert report.fingerprint.split("+") == [
        data_fingerprint(X, y),
        data_fingerprint(raw, y),
    ]


def test_a_regressor_tells_slopes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = X @ [1.0, -2.0, 0.5]
    y[7] += 20
    reg = SGDInfluenceRegressor("linear", max_epochs=20, lr=0.1, random_state=0)
    reg.fit(X[:40], y[:40])
    report = AuditReport.from_estimator(
        reg, X[:40], y[:40], X[40:], y[40:], n=5, n_check=0
    )
    first = report.to_dict()["suspects"][0]
    slopes = reg.target_influence(X[40:], y[40:], at="path")
    assert (first["sample"], report.to_dict()["classes"]) == (7, None)
    assert first["slope"] == pytest.approx(slopes[7], rel=TOLERANCE)
    assert first["given"] == y[7]
    assert report.to_dict()["unit"] == "squared target units"
    table = pd.DataFrame([[7, "relabel", f"'{y[7] - 20}", report.fingerprint]])
    table.columns = ["sample", "decision", "label", "fingerprint"]
    applied = report.apply(table)
    scores = applied.scores.loc["validation"]
    assert scores["loss_after"] < scores["loss"]


def test_pictures(clf):
    images = np.zeros((60, 3, 8, 16), dtype=np.uint8)
    images[:, 0, :, :4] = np.arange(60)[:, None, None]
    report = AuditReport.from_estimator(clf, *DATA, n=3, n_check=0, raw=images)
    for suspect in report.to_dict()["suspects"]:
        head, data = suspect["image"].split(",")
        assert head == "data:image/png;base64"
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert picture.size == (16, 8)
        assert picture.getpixel((0, 0)) == (suspect["sample"], 0, 0)
    large = np.zeros((60, 300, 200))
    large[0] = 1
    report = AuditReport.from_estimator(clf, *DATA, n=1, n_check=0, raw=large)
    (suspect,) = report.to_dict()["suspects"]
    data = base64.b64decode(suspect["image"].split(",")[1])
    assert Image.open(io.BytesIO(data)).size == (128, 192)


def test_rows_show_what_is_unusual(clf):
    first = of_suspects(
        AuditReport.from_estimator(clf, *DATA, n=1, n_check=0), "sample"
    )[0]
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "usual": rng.normal(size=60),
            "far": rng.normal(size=60),
            "rare": ["often"] * 60,
            "missing": [np.nan] * 60,
            "constant": 1,
            "flag": [True] * 59 + [False],
        }
    )
    table.loc[first, ["usual", "far"]] = table[["usual", "far"]].median().to_numpy()
    table.loc[first, "far"] += 100
    table.loc[first, "rare"] = "once"
    report = AuditReport.from_estimator(clf, *DATA, n=1, n_check=0, raw=table)
    (suspect,) = report.to_dict()["suspects"]
    rows = {name: (value, why, odd) for name, value, why, odd in suspect["table"]}
    assert [*rows][:2] == ["far", "rare"]
    middle = table["far"].median()
    mad = 1.4826 * (table["far"] - middle).abs().median()
    assert rows["far"][2] == pytest.approx((table["far"][first] - middle) / mad, abs=1)
    # As rare as a normal variable that far from its mean.
    rare = -norm.ppf(0.5 / 60)
    assert rows["rare"] == ("once", "this row only", pytest.approx(rare, abs=0.01))
    assert rows["missing"] == ("—", "missing in all rows", 0)
    assert rows["constant"] == ("1", "+0.0σ", 0)
    assert rows["flag"][1] == "98 % of rows"


class Weight:
    """A number that is shown with its unit."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)

    def __str__(self):
        return f"{self.value} kg"


def test_objects_that_are_numbers_are_judged_as_numbers(clf):
    first = int(np.argsort(clf.influence(*DATA[2:]))[0])
    numbers = np.round(np.random.default_rng(0).normal(size=60), 2)
    numbers[first] = 7.5
    slips = pd.Series([*map(Weight, numbers)], dtype=object)
    slips[first] = "none"
    lost = pd.Series([*map(Weight, numbers)], dtype=object)
    lost[first] = None
    few = pd.Series(["a", "b"] * 30, dtype=object)
    few[[first, first - 1]] = 7.5, 8.5
    table = pd.DataFrame(
        {
            "number": numbers,
            "weight": [*map(Weight, numbers)],
            "price": [Decimal(str(number)) for number in numbers],
            "slips": slips,
            "lost": lost,
            "few": few,
        }
    )
    report = AuditReport.from_estimator(clf, *DATA, n=1, n_check=0, raw=table)
    (suspect,) = report.to_dict()["suspects"]
    rows = {name: (value, why, odd) for name, value, why, odd in suspect["table"]}
    _, why, odd = rows["number"]
    assert why.endswith("σ")
    assert rows["weight"] == ("7.5 kg", why, odd)
    assert rows["price"] == ("7.5", why, odd)
    assert rows["slips"][:2] == ("none", "this row only")
    assert rows["lost"][:2] == ("—", "missing in this row only")
    assert rows["few"][:2] == ("7.5", "this row only")


def test_what_is_rare_by_its_nature_is_not_unusual():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "key": [f"k{k}" for k in range(60)],
            "day": pd.date_range("2020-01-01", periods=60),
            "size": rng.normal(size=60),
            "word": ["a", "b"] * 30,
            "story": [
                f"It was the day number {k} of a very long journey" for k in range(60)
            ],
        }
    )
    table.loc[0, "day"] = pd.Timestamp("1900-01-01")
    plain = report_of(DATA, raw=table, n=60).to_dict()["suspects"]
    for suspect in plain:
        row = suspect["sample"]
        lines = {line[0]: line[1:] for line in suspect["table"]}
        # A text first, with its length; the date last, as a date.
        names = [*lines]
        assert (names[0], names[-1]) == ("story", "day")
        assert lines["story"] == [table["story"][row], "", 0, len(table["story"][row])]
        assert lines["day"][0] == f"{table['day'][row]:%Y-%m-%d}"
        assert lines["day"][2] == lines["key"][2] == 0
    columns = [("word", "category", ""), ("size", "number", ""), ("day", "date", "")]
    known = report_of(DATA, raw=table, n=60, columns=columns)
    for suspect in known.to_dict()["suspects"]:
        names = [line[0] for line in suspect["table"]]
        assert {*names[:2]} == {"word", "size"}
        why = {line[0]: line[2] for line in suspect["table"]}
        assert (why["key"], why["story"], why["day"]) == ("not used", "not used", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (15917.0, "15917"),
        (32982.52, "32982.52"),
        (-0.5, "-0.5"),
        (np.float32(0.1), "0.1"),
        (123456789012.0, "123456789012"),
        (1 / 3, "0.3333333…"),
        (1e5 / 3, "33333.33…"),
        (1e-7 / 3, "3.333333…e-08"),
        (-1e5 / 3, "-33333.33…"),
        (1e300, "1e+300"),
        (np.int64(7), "7"),
        (None, "—"),
        (np.nan, "—"),
        (pd.NaT, "—"),
        (True, "True"),
        ("1.10", "1.10"),
        (pd.Timestamp("2020-02-03"), "2020-02-03"),
        (pd.Timestamp("2020-02-03 04:05"), "2020-02-03 04:05:00"),
    ],
)
def test_values_are_shown_as_they_stand(value, text):
    assert as_it_stands(value) == text


def test_all_columns_are_on_the_page():
    wide = pd.DataFrame(np.arange(60 * 40.0).reshape(60, 40))
    for suspect in report_of(DATA, raw=wide, n=5).to_dict()["suspects"]:
        values = {int(line[0]): float(line[1]) for line in suspect["table"]}
        assert values == dict(enumerate(wide.iloc[suspect["sample"]]))
        assert suspect["more"] == 0


def test_the_same_samples_share_a_card():
    X, y, X_val, y_val = DATA
    X, y = X.copy(), y.copy()
    X[[3, 17, 40]], y[[3, 17]], y[40] = X[3], "a", "b"
    data = X, y, X_val, y_val
    suspects = report_of(data, n=60).to_dict()["suspects"]
    alike = {s["sample"]: s["alike"] for s in suspects if "alike" in s}
    first, second = [s["sample"] for s in suspects if s["sample"] in (3, 17)]
    assert alike == {second: first}
    # What the model does not use makes no difference; what it uses does.
    table = pd.DataFrame(X, columns=[*"abcd"]).assign(id=range(60))
    columns = [(name, "number", "") for name in "abcd"]
    for given, expected in ((columns, alike), (None, {})):
        some = report_of(data, n=60, raw=table, columns=given).to_dict()["suspects"]
        assert {s["sample"]: s["alike"] for s in some if "alike" in s} == expected
    assert not any("alike" in s for s in report_of(DATA, n=60).to_dict()["suspects"])


def test_suspects_of_each_label(report):
    content = report.to_dict()
    y = DATA[1]
    given = [content["classes"][k] for k in of_suspects(report, "given")]
    expected = {label: [np.sum(y == label), given.count(label)] for label in given}
    found = {content["classes"][k]: counts for k, *counts in content["by_label"]}
    assert found == expected


def test_shows_none_where_none_is_harmful(clf):
    influence = clf.influence(*DATA[2:], at="path")
    report = AuditReport.from_estimator(clf, *DATA, n=60, n_check=4, random_state=0)
    assert len(report.to_dict()["suspects"]) == np.sum(influence < 0)
    # Four models, whom all samples help.
    runs = ScoresOverRuns.of(np.random.default_rng(0).uniform(1, 2, size=(4, 60)))
    none = AuditReport.from_estimator(
        clf, *DATA, n_check=0, scores=runs, raw=["text"] * 60, feature_names=[*"abcd"]
    )
    assert none.to_dict()["suspects"] == []
    assert repr(none) == "<AuditReport 'Data audit': 0 suspects of 60 samples>"
    html = page(none.to_dict())
    assert "None of the 60 samples is harmful" in html
    assert Tags(html).tags.count("script") == 0
    json.dumps(none.to_dict(), allow_nan=False)


def test_says_that_a_model_has_learnt_nothing():
    X, y, X_val, y_val = DATA
    wrong = pd.Series(y).map(dict(zip("abc", "bca", strict=True))).to_numpy(object)
    clf = fitted(X, wrong)
    report = AuditReport.from_estimator(clf, X, wrong, X_val, y_val, n_check=4)
    dummy = DummyClassifier().fit(X, wrong).score(X_val, y_val)
    (judged,) = report.to_dict()["scores"]
    assert judged["baseline"] == pytest.approx(dummy, rel=TOLERANCE)
    assert clf.score(X_val, y_val) <= dummy
    assert "The model has learnt nothing" in page(report.to_dict())
    assert "<strong>The" not in page(report.to_dict())
    good = report_of(DATA).to_dict()
    assert str(skill(fitted(*DATA[:2]), *DATA[2:])) == good["skill"]["said"]
    # Another model's, where that says more.
    other = report_of(DATA, skill=skill(clf, X_val, y_val)).to_dict()
    assert other["skill"] == report.to_dict()["skill"]
    assert other["warnings"] == report.to_dict()["warnings"]
    assert good["warnings"] == []
    said = report_of(DATA, warnings=["Column 'x' gives <y> away."]).to_dict()
    assert "Column &#39;x&#39; gives &lt;y&gt; away." in page(said)


class Scaled(nn.MSELoss):
    """A loss in another unit, which it does not name."""

    def forward(self, input, target):
        return 3 * super().forward(input, target)


class Named(Scaled):
    """A loss that names its unit."""

    unit = "thirds"


@pytest.mark.parametrize(
    ("criterion", "unit"),
    [
        (nn.MSELoss, "squared target units"),
        (nn.L1Loss, "target units"),
        (Scaled, ""),
        (Named, "thirds"),
    ],
)
def test_the_unit_of_a_loss(criterion, unit):
    X, _, *_ = DATA
    reg = SGDInfluenceRegressor("linear", criterion=criterion, max_epochs=1)
    assert unit_of_loss(reg.fit(X, X[:, 0])) == unit


def test_says_how_many_samples_were_trained_on():
    X, y, X_val, y_val = DATA
    split = ValidSplit([(np.arange(50), np.arange(50, 60))])
    clf = fitted(X, y, train_split=split)
    facts = dict(
        AuditReport.from_estimator(clf, X, y, X_val, y_val, n_check=0).to_dict()[
            "facts"
        ]
    )
    assert facts["Training samples"] == "50 of 60; the other 10 were held out"


def test_speaks_to_where_its_reader_comes_from():
    python = page(report_of(DATA).to_dict())
    assert "InfluenceCleaner(decisions=" in python
    command = page(report_of(DATA, apply_command="clean 'a<b'").to_dict())
    assert "InfluenceCleaner(" not in command
    assert "clean &#39;a&lt;b&#39;" in command


def test_words_that_matter_in_a_linear_model():
    rng = np.random.default_rng(0)
    words = ["alpha", "beta", "gamma ray", "c++"]
    X = sparse.csr_matrix((rng.random((60, 4)) < 0.5) * 1.0)
    y = np.where(X[:, [0]].toarray()[:, 0] > 0, "x", "y")
    y[:6] = "y"
    X_val, y_val = X[40:], y[40:]
    clf = fitted(X[:40], y[:40], max_epochs=10)
    texts = [f"Alpha beta Gamma  ray, c++ alphabet {k}" for k in range(40)]
    texts = [text.replace("  ", " ") for text in texts]
    report = AuditReport.from_estimator(
        clf,
        X[:40],
        y[:40],
        X_val,
        y_val,
        n=5,
        n_check=0,
        raw=texts,
        feature_names=words,
    )
    weight = clf.module_.state_dict()
    (weight,) = [v.numpy() for v in weight.values() if v.ndim == 2]
    for suspect in report.to_dict()["suspects"]:
        row = suspect["sample"]
        x = X[[row]].toarray()[0]
        proba = clf.predict_proba(X[[row]])[0]
        target = (clf.classes_ == y[row]) * 1.0
        effects = x * ((target - proba) @ weight)
        parts = {text.lower(): strength for text, strength in suspect["text"]}
        for word, effect in zip(words, effects / np.abs(effects).max(), strict=True):
            assert parts.get(word, 0) == pytest.approx(effect, abs=2e-3)
        assert "".join(text for text, _ in suspect["text"]) == texts[row]


def test_sparse_rows_without_texts():
    X = sparse.random(60, 30, 0.2, format="csr", random_state=0)
    _, y, _, y_val = DATA
    report = report_of(
        (X, y, X[:30], y_val), n=2, feature_names=[f"f{k}" for k in range(30)]
    )
    for suspect in report.to_dict()["suspects"]:
        own = X[[suspect["sample"]]].toarray()[0]
        names = [row[0] for row in suspect["table"]]
        assert names == [f"f{k}" for k in np.argsort(-own)[: len(names)]]


@pytest.mark.parametrize("kind", ["cleaner", "grid"])
def test_the_curve(clf, kind):
    X, y, *_ = DATA
    if kind == "cleaner":
        search = InfluenceCleanerCV(clf, n_removes=[6, 0, 3], cv=2, random_state=0)
    else:
        cleaner = InfluenceCleaner(clf, random_state=0)
        search = GridSearchCV(cleaner, {"n_remove": [6, 0, 3]}, cv=2)
    report = AuditReport.from_estimator(
        clf, *DATA, n=2, n_check=0, curve=search.fit(X, y)
    )
    curve = report.to_dict()["curve"]
    assert curve["n_removes"] == [0, 3, 6]
    mean = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(curve["means"], mean[[1, 2, 0]], rtol=TOLERANCE)
    # Of two folds the standard error is the (population's) standard deviation.
    spread = search.cv_results_["std_test_score"]
    np.testing.assert_allclose(curve["errors"], spread[[1, 2, 0]], rtol=TOLERANCE)
    assert "Removing by rank alone" in page(report.to_dict())


class Tags(HTMLParser):
    """All tags and attributes of a page, and what is in its scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.raw = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag in ("script", "style"):
            self.raw.append("")

    def handle_data(self, data):
        if self.cdata_elem:
            self.raw[-1] += data


def test_the_page_needs_nothing_else(report, tmp_path):
    report.write_html(tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    found = Tags(html)
    assert not {"link", "iframe", "object", "img", "base", "form"} & set(found.tags)
    sources = [v for k, v in found.attributes if k in ("src", "href", "action")]
    assert sources == ["#suspects", "#details"]
    urls = set(re.findall(r"https?://[^\s\"']+", html))
    assert urls == {"http://www.w3.org/2000/svg"}  # a name, not an address
    policy = next(v for _, v in found.attributes if v and v.startswith("default-src"))
    style, data, script = found.raw
    for text in (style, script):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert json.loads(data)["suspects"] == report.to_dict()["suspects"]


def test_hostile_text_makes_no_tags():
    X, y, *_ = data = hostile_data()
    table = pd.DataFrame(X, columns=HOSTILE[:4]).assign(text=y)
    plain = report_of(DATA, raw=pd.DataFrame(DATA[0]).assign(text="a"))
    hostile = report_of(
        data,
        n=len(X),
        raw=table,
        repairs=pd.DataFrame(-np.abs(X), columns=HOSTILE[:4]),
        title=HOSTILE[0],
        about=dict.fromkeys(HOSTILE, LONG),
    )
    tags, wanted = (Tags(page(each.to_dict())) for each in (hostile, plain))
    assert set(tags.tags) == set(wanted.tags)
    assert tags.tags.count("script") == 2
    data = json.loads(tags.raw[1])
    assert data["suspects"] == hostile.to_dict()["suspects"]
    assert {name for s in data["suspects"] for name, _ in s["repairs"]} <= {*HOSTILE}
    assert sorted(data["classes"]) == sorted([*HOSTILE, LONG])
    assert not re.search(r"[<>\u2028\u2029]", tags.raw[1])
    # The long label once, in escapes.
    assert len(page(hostile.to_dict())) < 6 * 10**6


def test_unseen_characters_are_seen():
    assert visible("a\u202eb\x00c\x7f\ud800") == "a‹U+202E›b␀c‹U+007F›‹U+D800›"
    assert visible("é\n\tعربي 👩‍👧") == "é\n\tعربي 👩‍👧"
    assert visible(LONG) == LONG[:4999] + "…"


def test_a_notebook_is_kept_apart(report):
    html = report._repr_html_()
    found = Tags(html)
    assert found.tags == ["iframe"]
    attributes = dict(found.attributes)
    assert attributes["sandbox"] == "allow-scripts allow-downloads"
    assert attributes["srcdoc"] == page(report.to_dict())


@pytest.mark.parametrize(
    ("module", "name"), [("jinja2", "jinja2"), ("PIL.Image", "Pillow")]
)
def test_says_what_is_not_installed(clf, monkeypatch, module, name):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{name}.*install 'skinfluence\[report\]'"):
        AuditReport.from_estimator(clf, *DATA, raw=np.zeros((60, 8, 8)))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n": 0}, "`n` must be an integer of at least 1"),
        ({"n_check": 3}, "`n_check` must be an integer of at least 4"),
        ({"n_harmed": -1}, "`n_harmed` must be an integer of at least 0"),
        ({"raw": ["text"]}, "`raw` must have 60 rows"),
        ({"raw": np.zeros((60, 8, 8, 2))}, "`raw` must be images of one or three"),
        ({"raw_val": ["text"]}, "`raw_val` must have 30 rows"),
        ({"scores": [1.0]}, "`scores` must have shape"),
        ({"scores": [np.nan] * 60}, "`scores` must be finite for at least"),
        ({"X_test": DATA[0]}, "`X_test` and `y_test` must be given together"),
        ({"curve": InfluenceCleaner()}, "`curve` must be a fitted InfluenceCleanerCV"),
        ({"feature_names": ["one"]}, "`feature_names` must name 4 features"),
    ],
)
def test_refuses(clf, options, match):
    with pytest.raises(ValueError, match=match):
        AuditReport.from_estimator(clf, *DATA, **options)


def test_refuses_a_skill_that_is_none(clf):
    with pytest.raises(TypeError, match="`skill` must be the `skill` of a result"):
        AuditReport.from_estimator(clf, *DATA, skill=0.9)


def test_row_labels_are_shown_and_row_numbers_are_not():
    X, y, X_val, y_val = blobs()
    raw = pd.DataFrame(X, index=[f"line {k + 2}" for k in range(len(X))])
    data = X, y, X_val, y_val
    named = report_of(data, raw=raw, raw_val=pd.DataFrame(X_val)).to_dict()
    assert all(s["name"] == f"line {s['sample'] + 2}" for s in named["suspects"])
    assert all("name" not in shown for shown in named["validation"].values())
    # They are no part of the data.
    assert named["fingerprint"] == report_of(data).fingerprint


def test_refuses_other_estimators(clf):
    with pytest.raises(TypeError, match="got Pipeline"):
        AuditReport.from_estimator(make_pipeline(clf), *DATA)


def test_only_the_data_of_fit_is_audited(clf, monkeypatch):
    X, y, X_val, y_val = DATA
    monkeypatch.setattr(
        type(clf), "influence_by_epoch", lambda *_, **__: pytest.fail("work")
    )
    changed = X.copy()
    changed[3, 0] += 1e-3
    flipped = np.where(y == y[0], y[-1], y[0])
    for others in ((changed, y), (X[::-1], y), (X, flipped)):
        with pytest.raises(TrainingDataChangedError, match="their fingerprint is ano"):
            AuditReport.from_estimator(clf, *others, X_val, y_val)
    with pytest.raises(TrainingDataChangedError, match=f"{len(X)} rows, got 5"):
        AuditReport.from_estimator(clf, X[:5], y[:5], X_val, y_val)


@pytest.mark.parametrize("container", [np.ndarray.tolist, pd.DataFrame, torch.tensor])
def test_the_data_of_fit_in_another_container(clf, container):
    X, y, X_val, y_val = DATA
    few = {"n": 2, "n_check": 0, "n_harmed": 0}
    report = AuditReport.from_estimator(clf, container(X), y, X_val, y_val, **few)
    assert len(of_suspects(report, "sample")) == 2


def test_the_data_of_several_calls():
    X, y, X_val, y_val = DATA
    few = {"n": 2, "n_check": 0, "n_harmed": 0}
    clf = clone(fitted(X, y)).partial_fit(X[:20], y[:20], classes=np.unique(y))
    clf.partial_fit(X[20:], y[20:])
    AuditReport.from_estimator(clf, X, y, X_val, y_val, **few)
    with pytest.raises(TrainingDataChangedError, match="their fingerprint is another"):
        AuditReport.from_estimator(clf, X[::-1], y[::-1], X_val, y_val, **few)


@pytest.mark.parametrize("seed", [0, None])
def test_apply_draws_from_the_global_generator_as_the_estimator_does(clf, seed):
    X, y, X_val, y_val = DATA
    model = clone(clf).set_params(random_state=seed).fit(X, y)
    few = {"n": 2, "n_check": 0, "n_harmed": 0}
    report = AuditReport.from_estimator(model, X, y, X_val, y_val, **few)
    decisions = pd.DataFrame(
        {"sample": [3], "decision": "remove", "label": "", "fingerprint": ""}
    ).assign(fingerprint=data_fingerprint(X, y))
    generator = check_random_state(None)
    before = pickle.dumps(generator.get_state())
    report.apply(decisions)
    assert (pickle.dumps(generator.get_state()) == before) == (seed == 0)


def planted(seed=0):
    """Return data of which one site has wrong labels, and a table that tells it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(800, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    sites = [*(f"site {k}" for k in range(19)), HOSTILE[0]]
    table = pd.DataFrame({"site": rng.choice(sites, 600)})
    wrong = np.flatnonzero(table["site"] == HOSTILE[0])
    y[wrong] = 1 - y[wrong]
    return (X[:600], y[:600], X[600:], y[600:]), table, wrong


def test_slices_that_chance_does_not_explain_are_shown():
    data, table, wrong = planted()
    report = report_of(data, slices=table)
    slices = report.to_dict()["slices"]
    clf = fitted(*data[:2])
    exact = clf.counterfactual_influence(*data[2:], [wrong], at="path")[0]
    assert [line["slice"] for line in slices["lines"]] == [f"site = {HOSTILE[0]}"]
    (line,) = slices["lines"]
    assert line["n_rows"] == len(wrong)
    assert line["exact"] == pytest.approx(exact, rel=1e-3)
    influence = clf.influence(*data[2:], at="path")
    assert line["estimate"] == pytest.approx(influence[wrong].sum(), rel=TOLERANCE)
    html = page(report.to_dict())
    assert 'href="#slices">A group of rows that does harm' in html
    assert HOSTILE[0] not in html.split("<script")[0]
    json.dumps(report.to_dict())


@pytest.mark.slow
def test_slices_that_chance_explains_are_not_shown():
    data, *_ = planted()
    nothing = pd.DataFrame({"code": np.arange(600) % 20}).astype(str)
    report = report_of(data, slices=nothing)
    assert report.to_dict()["slices"]["lines"] == []
    html = page(report.to_dict())
    assert "None of 20 groups of rows" in html
    assert 'href="#slices"' not in html
    assert 'id="slices"' not in page(report_of(data).to_dict())


def test_the_table_of_slices_is_checked_before_the_work():
    data, table, _ = planted()
    with pytest.raises(
        ValueError, match="`slices` must have a row for each of the 600"
    ):
        report_of(data, slices=table[:3])


def test_other_faults_are_shown_with_the_influence_of_their_rows():
    X, y, X_val, y_val = data = planted()[0]
    X, y = np.concatenate([X, X[:3]]), np.concatenate([y, y[:3]])
    table = pd.DataFrame(X).assign(**{HOSTILE[0]: "same"})
    issues = find_issues(table, y)
    report = report_of((X, y, X_val, y_val), issues=issues)
    copies, constant = report.to_dict()["issues"]
    influence = fitted(X, y).influence(X_val, y_val, at="path")
    assert copies["kind"] == "duplicates"
    assert copies["rows"] == "Rows 600, 601, 602"
    shown = float(copies["change"].replace("\N{MINUS SIGN}", "-"))
    assert shown == pytest.approx(influence[600:].sum(), rel=0.01)
    assert constant["change"] == ""
    html = page(report.to_dict())
    assert 'href="#issues">2 other faults of the data' in html
    assert HOSTILE[0] not in html.split("<script")[0]
    assert 'id="issues"' not in page(report_of(data).to_dict())
    nothing = find_issues(table[:600], y[:600], kinds=["duplicates"])
    assert "No copies, no leakage" in page(report_of(data, issues=nothing).to_dict())


def test_other_faults_must_be_of_these_samples():
    data, table, _ = planted()
    with pytest.raises(ValueError, match="`issues` must be about the 600 samples"):
        report_of(data, issues=find_issues(table[:50]))
    with pytest.raises(TypeError, match="`issues` must be what `find_issues` returns"):
        report_of(data, issues=table)


def test_the_cells_that_do_the_harm_are_marked():
    """Those with the most negative repairs, as computed by hand for a linear model."""
    X, y, X_val, y_val = blobs()
    # Of one cell the unit is another; it belongs to a row that is a suspect for that.
    X = X.copy()
    X[5, 2] *= 60
    clf = fitted(X, y)
    slopes = clf.feature_influence(X_val, y_val, at="path")
    repairs = pd.DataFrame(slopes * (np.median(X, axis=0) - X), columns=list("abcd"))
    raw = pd.DataFrame(X, columns=list("abcd"))
    report = AuditReport.from_estimator(
        clf,
        X,
        y,
        X_val,
        y_val,
        raw=raw,
        repairs=repairs,
        n_check=0,
        n=60,
        n_harmed=0,
        harmful_only=False,
    )
    suspects = {each["sample"]: each for each in report.to_dict()["suspects"]}
    for row, suspect in suspects.items():
        gains = -repairs.loc[row].clip(upper=0).sort_values()
        expected = [c for c in gains.index[:3] if 0 < gains[c] >= 0.2 * gains.sum()]
        assert [name for name, _ in suspect["repairs"]] == expected
        for name, gain in suspect["repairs"]:
            assert gain == pytest.approx(gains[name], rel=1e-4)  # five digits
        # What is marked is seen first.
        assert [line[0] for line in suspect["table"]][: len(expected)] == expected
    assert len(suspects[5]["repairs"]) == 1
    assert suspects[5]["repairs"][0][0] == "c"


@pytest.mark.parametrize(
    ("repairs", "match"),
    [
        (3, "row for each of the 60 samples, got int"),
        (pd.DataFrame(np.zeros((9, 1)), columns=["a"]), r"60 samples, got \(9, 1\)"),
        (pd.DataFrame(np.zeros((60, 1)), columns=["A"]), "each once, got a column 'A'"),
        (pd.DataFrame(np.zeros((60, 2)), columns=["a", "a"]), "got a column 'a'"),
        (pd.DataFrame({"a": ["x"] * 60}), "got other values"),
    ],
)
def test_repairs_are_checked_before_the_work(repairs, match):
    data = blobs()
    raw = pd.DataFrame(data[0], columns=list("abcd"))
    with pytest.raises(ValueError, match=match):
        report_of(data, raw=raw, repairs=repairs)
    with pytest.raises(ValueError, match="`raw` as a DataFrame"):
        report_of(data, raw=["text"] * 60, repairs=repairs)
