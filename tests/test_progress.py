"""Progress bars: where they are asked for, and nowhere else."""

import io
import os
from contextvars import copy_context

import numpy as np
import pytest
from joblib import parallel_config

from skinfluence import (
    InfluenceCleaner,
    SGDInfluenceClassifier,
    find_issues,
    progress,
    scorers,
)
from skinfluence._progress import counting, tracked

X = np.random.default_rng(0).normal(size=(30, 4))
Y = (X[:, 0] > 0).astype(int)
VAL = X[:6] + 0.1, Y[:6]


def linear(**options):
    """Make a net of 3 epochs of 3 steps."""
    return SGDInfluenceClassifier(
        "linear", max_epochs=3, batch_size=10, random_state=0, **options
    )


@pytest.fixture(scope="module")
def clf():
    return linear().fit(X, Y)


def test_a_block_shows_the_long_work_and_changes_no_result(clf, capsys):
    silent = clf.influence(*VAL)
    exact = clf.counterfactual_influence(*VAL, samples=[0, 1, 2])
    assert capsys.readouterr() == ("", "")
    with progress():
        again = linear().fit(X, Y)
        shown = again.influence(*VAL)
        changes = again.counterfactual_influence(*VAL, samples=[0, 1, 2])
        again.refit_without([0])
        find_issues(X, Y)
    out, err = capsys.readouterr()
    assert out == ""
    for words, total in {
        "Training": "3/3",
        "Retrace": "9/9",
        "Counterfactual runs": "3/3",
        "Repetition": "9/9",
        "Faults": "9/9",
    }.items():
        lines = [each for each in err.split("\r") if each.startswith(words)]
        assert "100%" in lines[-1], words
        assert total in lines[-1], words
    np.testing.assert_array_equal(shown, silent)
    np.testing.assert_array_equal(changes, exact)
    clf.influence(*VAL)
    assert capsys.readouterr() == ("", "")


def test_what_works_in_other_threads_is_counted_as_it_comes_back(clf, capsys):
    cleaner = InfluenceCleaner(clf, cv=3, n_remove=2, random_state=0)
    silent = cleaner.fit(X, Y).influence_
    scorer = scorers.DataBanzhaf(n_subsets=4, n_jobs=2, random_state=0)
    capsys.readouterr()
    with progress(), parallel_config("threading", n_jobs=2):
        shown = cleaner.fit(X, Y).influence_
        scorer(clf, X, Y, *VAL)
    with progress():
        scorers.DataOOB(n_estimators=6, random_state=0)(clf, X, Y)
    err = capsys.readouterr().err
    # The first run is fitted here, and the two others in the threads.
    assert "Further runs: 100%" in err
    assert "2/2" in err
    assert "4/4" in err
    assert "Models: 100%" in err
    # The first run's, and that of the final model.
    assert err.count("Training: 100%") == 2
    np.testing.assert_array_equal(shown, silent)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_what_works_in_forked_processes_is_counted_too(clf, capsys, one_thread):
    scorer = scorers.DataBanzhaf(n_subsets=4, random_state=0)
    silent = scorer(clf, X, Y, *VAL)
    with progress(), parallel_config("multiprocessing", n_jobs=2):
        shown = scorer(clf, X, Y, *VAL)
    bars = [bar for bar in capsys.readouterr().err.split("\r") if "Subsets" in bar]
    assert "4/4" in bars[-1]
    np.testing.assert_array_equal(shown, silent)


def test_a_table_of_epochs_needs_no_bar(capsys):
    with progress():
        linear(verbose=1).fit(X, Y)
    out, err = capsys.readouterr()
    assert "train_loss" in out
    assert err == ""


def test_two_bars_at_most_and_the_inner_one_goes(capsys):
    with progress():
        for _ in tracked(range(2), "Whole", "part"):
            with counting("Part", 3, "step") as advance:
                advance(3)
                with counting("Crumb", 9, "step") as smaller:
                    smaller()
    err = capsys.readouterr().err
    assert "Whole: 100%" in err
    assert "Crumb" not in err
    assert "Part" not in err  # too short to be shown


def test_a_failed_block_leaves_no_bar_behind(capsys):
    def fail():
        with progress():
            for _ in tracked(range(2), "Failed", "part"):
                raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    capsys.readouterr()
    items = [1, 2]
    assert tracked(items, "Nothing", "part") is items
    with progress():
        list(tracked(items, "Later", "part"))
    assert "Later: 100%" in capsys.readouterr().err


def test_a_block_may_end_in_another_context(capsys):
    def steps():
        with progress():
            yield
            list(tracked("abc", "Letters", "letter"))

    # As those do in which a loop of asyncio closes a generator.
    work = steps()
    copy_context().run(next, work)
    copy_context().run(list, work)
    assert tracked(work, "Nothing", "part") is work
    capsys.readouterr()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "none"])
def test_without_a_standard_error_there_is_no_bar(monkeypatch, closed):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr("sys.stderr", stream if closed else None)
    with progress():
        assert [*tracked("abc", "Letters", "letter")] == ["a", "b", "c"]


def test_a_single_item_has_no_bar(capsys):
    with progress():
        assert [*tracked([5], "Single", "part")] == [5]
    assert capsys.readouterr().err == ""


def test_a_decorated_function_shows_bars(capsys):
    @progress()
    def work():
        return list(tracked(iter("abc"), "Letters", "letter"))

    assert work() == ["a", "b", "c"]
    assert "Letters: 3letter" in capsys.readouterr().err
