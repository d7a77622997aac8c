"""The table of the epochs is skorch's, and made only where it is seen."""

import pytest
from skorch.callbacks import PrintLog

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor

X, Y = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]


@pytest.fixture
def made(monkeypatch):
    """Count the lines that skorch makes."""
    lines, table = [], PrintLog.table
    monkeypatch.setattr(
        PrintLog, "table", lambda self, row: lines.append(row) or table(self, row)
    )
    return lines


@pytest.mark.parametrize("estimator", [SGDInfluenceClassifier, SGDInfluenceRegressor])
def test_not_made_where_nobody_sees_it(estimator, made, capsys):
    estimator(max_epochs=3).fit(X, Y)
    assert not made
    assert capsys.readouterr().out == ""


def test_printed_as_skorch_prints_it(capsys):
    SGDInfluenceClassifier(max_epochs=2, verbose=1).fit(X, Y)
    header, line, *epochs = capsys.readouterr().out.splitlines()
    assert header.split() == ["epoch", "train_loss", "dur"]
    assert set(line) <= {"-", " "}
    assert [row.split()[0] for row in epochs] == ["1", "2"]


def test_goes_to_another_sink_whatever_is_printed(made):
    lines = []
    clf = SGDInfluenceClassifier(max_epochs=2, callbacks__print_log__sink=lines.append)
    clf.fit(X, Y)
    assert len(lines) == 4
    assert len(made) == 2
