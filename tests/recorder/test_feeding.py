"""What the rest of the library makes of a recorded run: the same as of a net's own."""

import functools
import inspect

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from torch import nn

from skinfluence import (
    InfluenceCleaner,
    Recorder,
    SGDInfluenceClassifier,
    influence_over_runs,
    scorers,
)
from skinfluence.inspection import (
    AgreementDisplay,
    AuditReport,
    ExplanationDisplay,
    InfluenceDisplay,
    RecipeDisplay,
    SampleGridDisplay,
    TrajectoryDisplay,
)
from skinfluence.metrics import linear_datamodeling_score

N = 80
OPTIONS = {"lr": 0.05, "momentum": 0.9}


def module():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(64, 8), nn.SiLU(), nn.Linear(8, 10))


def data():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    return X[:N], y[:N], X[N : 2 * N], y[N : 2 * N]


@functools.cache
def models():
    """Return the models of a recorded loop and of an estimator, of the same run."""
    X, y, *_ = data()
    own = module()
    optimizer = torch.optim.SGD(own.parameters(), **OPTIONS)
    recorder = Recorder(own, optimizer, nn.CrossEntropyLoss, (X, y), random_state=0)
    for _ in range(3):
        for batch in recorder.batches(16, shuffle=True):
            optimizer.zero_grad()
            recorder.loss(batch).backward()
            optimizer.step()
    clf = SGDInfluenceClassifier(
        module(),
        lr=OPTIONS["lr"],
        optimizer__momentum=OPTIONS["momentum"],
        batch_size=16,
        max_epochs=3,
        random_state=0,
    )
    return recorder.finish(), clf.fit(X, y)


def frame(display, *names):
    return [np.asarray(getattr(display, name)) for name in names]


MADE = {
    "influence": lambda m, X, y, *val: frame(
        InfluenceDisplay.from_estimator(m, *val), "influence", "losses"
    ),
    "trajectory": lambda m, X, y, *val: frame(
        TrajectoryDisplay.from_estimator(m, *val), "contributions"
    ),
    "grid": lambda m, X, y, *val: frame(
        SampleGridDisplay.from_estimator(m, X, y, *val, image_shape=(8, 8)), "samples"
    ),
    "agreement": lambda m, X, y, *val: frame(
        AgreementDisplay.from_estimator(m, *val, n_samples=5, random_state=0),
        "estimated",
        "exact",
    ),
    "recipe": lambda m, X, y, *val: frame(
        RecipeDisplay.from_estimator(m, *val), "slopes"
    ),
    "explanation": lambda m, X, y, X_val, y_val: frame(
        ExplanationDisplay.from_estimator(m, X, y, X_val[:2], y_val[:2]).explanation,
        "influence",
        "row",
    ),
    "report": lambda m, *every: [
        AuditReport.from_estimator(m, *every, n=3).scores,
    ],
    "lds": lambda m, X, y, *val: [
        linear_datamodeling_score(m, np.arange(N), *val, n_subsets=3, random_state=0)
    ],
}


@pytest.mark.parametrize("name", MADE)
def test_displays_and_the_report(name):
    pytest.importorskip("jinja2")
    ours, theirs = (MADE[name](model, *data()) for model in models())
    for mine, other in zip(ours, theirs, strict=True):
        # How many runs are taken at once is found out by trying.
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)


def test_the_report_is_written(tmp_path):
    pytest.importorskip("jinja2")
    report = AuditReport.from_estimator(models()[0], *data(), n=3)
    report.write_html(tmp_path / "report.html")
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")


REFITTING = {"ConfidentLearning", "LearnedWeights"}
OTHERS = {"BaseScorer", "CookDistance", "Outlier", "Scorer"}
# They fit many models, of one kind or another.
SLOW = {"BetaShapley", "DataBanzhaf", "DataOOB", "DataShapley", "ExactCounterfactual"}
ON_THE_RUN = [
    name
    for name in scorers.__all__
    if inspect.isclass(getattr(scorers, name)) and name not in REFITTING | OTHERS | SLOW
]


@pytest.mark.parametrize("name", ON_THE_RUN)
def test_scorers(name):
    if name == "EKFAC":
        pytest.importorskip("kronfluence")
    kind = getattr(scorers, name)
    seeded = "random_state" in inspect.signature(kind).parameters
    scorer = kind(random_state=0) if seeded else kind()
    ours, theirs = (scorer(model, *data()) for model in models())
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12)


NEEDING = {
    "clone": clone,
    "a cleaner": lambda m: InfluenceCleaner(m, n_remove=5).fit(*data()[:2]),
    "several runs": lambda m: influence_over_runs(m, *data()[2:], n_runs=2),
    "cross-validation": lambda m: cross_val_score(m, *data()[:2]),
    "a scorer": lambda m: scorers.LearnedWeights()(m, *data()),
}


@pytest.mark.parametrize("name", NEEDING)
def test_what_trains_again_needs_an_estimator_and_says_so(name):
    with pytest.raises(TypeError, match="needs an SGDInfluenceClassifier or an SGD"):
        NEEDING[name](models()[0])
