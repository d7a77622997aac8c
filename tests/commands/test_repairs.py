"""Which cells of a table do the harm."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skinfluence import SGDInfluenceClassifier
from skinfluence.commands import _inputs, main
from skinfluence.commands._inputs import Columns
from skinfluence.commands._kinds import Column
from skinfluence.commands._repairs import repairs_of
from skinfluence.inspection import column_influence
from tests.commands.tables import QUICK, customers, page_data, write

N = 300


def people():
    """Return a table in which some incomes are in another unit."""
    rng = np.random.default_rng(0)
    age, income = rng.uniform(20, 70, N), rng.uniform(20, 60, N)
    noise = 3 * rng.normal(size=N)
    frame = pd.DataFrame(
        {
            "age": age.round(),
            "income": income.round(2),
            "town": rng.choice(["Aa", "Bo", "Cluj"], N),
            "buys": np.where(income + noise > 40, "yes", "no"),
        }
    )
    poor = np.flatnonzero(income < 30)[:6]
    frame.loc[poor, "income"] *= 100
    return frame, poor


def test_the_cells_in_another_unit_are_marked(tmp_path):
    frame, wrong = people()
    path, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    arguments = ["audit", str(path), "--target", "buys", "--report", str(report)]
    assert main([*arguments, "--n", "12", "--epochs", "10"]) == 0
    page = page_data(report)
    suspects = {each["sample"]: each for each in page["suspects"]}
    # Whatever else is suspicious: of these rows the income is what does the harm.
    found = [row for row in wrong if row in suspects]
    assert len(found) >= 5
    for row in found:
        name, gain = suspects[row]["repairs"][0]
        assert (name, gain > 0) == ("income", True)
    assert "or its most frequent category" in report.read_text(encoding="utf-8")


# With few words the input is dense.
@pytest.mark.parametrize(("n_words", "others"), [(300, True), (12, False)])
def test_tables_with_texts_have_no_marks(tmp_path, n_words, others):
    frame = customers() if others else customers()[["stays"]]
    rng = np.random.default_rng(0)
    words = [f"word{k}" for k in range(n_words)]
    said = [" ".join(rng.choice(words, 9)) for _ in range(len(frame))]
    frame = frame.assign(said=said)
    path, report = write(tmp_path, frame=frame), tmp_path / "report.html"
    arguments = ["audit", str(path), "--target", "stays", "--report", str(report)]
    kinds = ["--column", "said=text", "--n", "4"]
    assert main([*arguments, *kinds, *QUICK]) == 0
    page = page_data(report)
    assert page["suspects"]
    assert not any("repairs" in each for each in page["suspects"])
    assert "none: the words of texts" in report.read_text(encoding="utf-8")


def test_through_linear_steps_the_repairs_are_those_of_column_influence(monkeypatch):
    frame, _ = people()
    y = frame.pop("buys").to_numpy()
    frame.loc[:3, "age"] = np.nan
    frame["age"] = frame["age"].fillna(frame["age"].median())
    steps = make_column_transformer(
        (StandardScaler(), ["age", "income"]),
        (OneHotEncoder(sparse_output=False), ["town"]),
    )
    X = steps.fit_transform(frame)
    clf = SGDInfluenceClassifier(max_epochs=2, dtype="float64", random_state=0).fit(
        X[:200], y[:200]
    )
    table = frame[:200]
    inputs = Columns([Column(name, "number") for name in frame])
    monkeypatch.setattr(inputs, "_transformer", steps)
    monkeypatch.setattr(_inputs, "convert", lambda table, columns: table)
    problem = SimpleNamespace(table=table, inputs=inputs)
    found, _ = repairs_of(problem, clf, (X[200:], y[200:]), at="path")
    slopes = clf.feature_influence(X[200:], y[200:], at="path")
    cells = column_influence(steps, table, slopes)
    numbers = ["age", "income"]
    # To rounding, of which a median far from 0 has the most.
    np.testing.assert_allclose(
        found[numbers], cells.repairs[numbers], rtol=1e-9, atol=1e-13
    )
    usual = table["town"].mode()[0]
    assert found["town"].to_numpy() == pytest.approx(
        cells.switches["town"][usual].to_numpy(), rel=1e-9, abs=1e-13
    )
