"""What a notebook shows of fitted estimators, cleaners and runs."""

from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EpochTimer

from skinfluence import (
    InfluenceCleaner,
    InfluenceCleanerCV,
    Recorder,
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    queries,
)
from skinfluence._digits import measured

HOSTILE = np.array(["<img src=x onerror=alert(1)>", "</table><b>&amp;"])
X = np.random.default_rng(0).normal(size=(40, 3))
Y = HOSTILE[(X[:, 0] > 0).astype(int)]


class Cells(HTMLParser):
    """The facts of a table, as a browser would show them, and all tags."""

    def __init__(self, page):
        super().__init__()
        self.facts, self.tags, self.place = {}, set(), None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.place = tag

    def handle_endtag(self, tag):
        self.place = None

    def handle_data(self, data):
        if self.place == "th":
            self.label = data
        elif self.place == "td":
            self.facts[self.label] = data


def shown(fitted):
    page = fitted._repr_html_()
    table = Cells(page[page.index('<table class="skinfluence-facts">') :])
    assert table.tags == {"table", "tr", "th", "td"}
    return table.facts


def quick(**options):
    return SGDInfluenceClassifier(
        "linear", max_epochs=3, batch_size=16, random_state=0, **options
    )


@pytest.fixture(scope="module")
def clf():
    return quick(optimizer__momentum=0.9).fit(X, Y)


def test_a_run_is_told_by_what_it_holds(clf):
    run = clf.trajectory_
    # Two classes of three features; the state after the last step is kept too, and the
    # first one has no momentum yet.
    facts = {
        "Recorded": "3 epochs, 9 steps over 40 samples",
        "Size": "10 states kept, 1.19 KiB, in memory",
        "A state": "8 parameters, 1 × 8 of the optimizer (float64)",
    }
    assert run.nbytes == (10 + 9) * 8 * 8
    assert shown(run) == facts
    assert repr(run) == f"<Trajectory of {facts['Recorded']}; {facts['Size']}>"
    seconds = sum(clf.history[:, "dur"])
    assert shown(clf) == {**facts, "Training": f"{seconds:.3g} s for 3 epochs"}


def test_a_run_on_disk_names_its_folder(tmp_path):
    fitted = quick(trajectory_dir=tmp_path).fit(X, Y)
    assert shown(fitted)["Size"].endswith(f"in {fitted.trajectory_.folder}")


@pytest.mark.parametrize(
    ("record", "label", "fact"),
    [
        (None, "Recorded", "nothing (record=None)"),
        (1, "Retraced back to", "step 6"),
        ("replay", "Questions", "those of exact retraining (record='replay')"),
    ],
)
def test_what_was_not_recorded_is_said(record, label, fact):
    assert shown(quick(record=record).fit(X, Y))[label] == fact


def test_amounts_are_in_the_largest_unit_that_they_hold():
    seconds = {"h": 3600, "min": 60, "s": 1}
    amounts = [0, 0.0123, 59.9, 60, 3599, 5400, 1e7]
    found = [measured(amount, seconds) for amount in amounts]
    expected = ["0 s", "0.0123 s", "59.9 s", "1 min", "60 min", "1.5 h", "2,778 h"]
    assert found == expected


def test_nobody_invents_a_time():
    untimed = SGDInfluenceRegressor("linear", max_epochs=2, callbacks="disable")
    assert "Training" not in shown(untimed.fit(X, X[:, 0]))
    timer = SGDInfluenceRegressor("linear", max_epochs=2, callbacks=[EpochTimer()])
    assert "Training" in shown(timer.fit(X, X[:, 0]))


def test_a_parameter_changed_between_two_calls_is_said_of_the_run():
    fitted = quick().partial_fit(X, Y)
    with torch.no_grad():
        fitted.module_.layers[0].bias += 1.0
    fitted.partial_fit(X, Y)
    fact = shown(fitted)["Retraced back to"]
    assert fact.startswith("step 9: the parameters or the optimizer's state were")


def test_a_cleaner_tells_what_it_removed_of_which_classes(clf):
    cleaner = InfluenceCleaner(clf, n_remove=6, cv=3, random_state=0).fit(X, Y)
    facts = shown(cleaner)
    cleaner.query_ = queries.corrected_error(np.eye(2))
    assert "query 'corrected_error', in" in shown(cleaner)["Ranked"]
    assert (
        facts["Ranked"] == "40 of 40 samples by 'influence', query 'error', in 3 runs"
    )
    removed = facts["Removed"]
    assert removed.startswith("6 samples (15 %): ")
    classes, counts = np.unique(Y[cleaner.removed_indices_], return_counts=True)
    for name, count in zip(classes.tolist(), counts, strict=True):
        assert f"{count} of {name!r}" in removed
    assert facts["First run, recorded"] == "3 epochs, 6 steps over 26 samples"


def test_a_cleaner_tells_what_else_it_did(clf):
    moved = InfluenceCleaner(clf, n_remove=6, action="relabel", random_state=0)
    moved = moved.fit(X, Y)
    facts = shown(moved)
    assert "Removed" not in facts
    assert facts["Relabelled"].startswith(f"{len(moved.relabelled_)} sample")
    first = moved.relabelled_.groupby(["from", "to"]).size().idxmax()
    assert f"from {first[0]!r} to {first[1]!r}" in facts["Relabelled"]
    weighted = InfluenceCleaner(clf, n_remove=4, action="reweight", random_state=0)
    weights = weighted.fit(X, Y).sample_weight_
    lowered = f"{(weights < 1).sum()} samples"
    assert shown(weighted)["Weights lowered"].startswith(lowered)
    tried = InfluenceCleanerCV(clf, n_removes=[0, 4], cv=2, random_state=0).fit(X, Y)
    assert shown(tried)["Validation score"].startswith(f"{tried.best_score_:.4g} with")


def test_a_regressor_has_no_classes():
    reg = SGDInfluenceRegressor("linear", max_epochs=2, random_state=0)
    cleaner = InfluenceCleaner(reg, n_remove=4, random_state=0).fit(X, X[:, 0])
    assert shown(cleaner)["Removed"] == "4 samples (10 %)"


def test_a_recorder_shows_the_run_so_far():
    module = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(module.parameters())
    data = X.astype("float32"), X[:, :1].astype("float32")
    recorder = Recorder(module, optimizer, torch.nn.MSELoss, data)
    for batch in recorder.batches(20):
        recorder.loss(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    facts = shown(recorder)
    assert facts["Recorded"] == "1 epoch, 2 steps over 40 samples"
    assert facts["A state"] == "4 parameters, 2 × 4 of the optimizer (float32)"
    assert shown(recorder.finish()) == facts


def test_other_diagrams_hold_fitted_and_unfitted_ones(clf):
    pipeline = make_pipeline(StandardScaler(), InfluenceCleaner(clf, n_remove=2))
    search = GridSearchCV(pipeline, {"influencecleaner__n_remove": [0, 2]}, cv=2)
    for display in (pipeline, search, search.fit(X, Y)):
        assert "InfluenceCleaner" in display._repr_html_()
    assert "skinfluence-facts" not in quick()._repr_html_()
    assert "skinfluence-facts" not in InfluenceCleaner(clf)._repr_html_()


def test_the_text_says_the_same_and_is_all_where_it_was_asked_for(clf):
    text = clf._repr_mimebundle_()["text/plain"]
    assert text.startswith(repr(clf))
    for label, fact in shown(clf).items():
        assert any(
            line.startswith(f"{label}:") and line.endswith(f" {fact}")
            for line in text.splitlines()
        )
    with config_context(display="text"):
        assert clf._repr_mimebundle_() == {"text/plain": text}
        assert not hasattr(clf, "_repr_html_")
        assert clf.trajectory_._repr_html_() is None
