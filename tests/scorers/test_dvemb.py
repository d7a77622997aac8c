"""DVEmb: against the embeddings of a plain loop, multiplied out with dense matrices."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.linear_model import LogisticRegression
from skorch.callbacks import LRScheduler
from skorch.dataset import ValidSplit

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import (
    DivergedTrainingError,
    InfluenceReliabilityWarning,
    NotRecordedError,
)
from skinfluence.scorers import DVEmb, TracIn, get_scorer
from tests.oracles import Spy, cross_entropy
from tests.scorers.problems import binary, mlp
from tests.scorers.unrolled import plain_steps, sample_gradients


def embeddings(run, X, y, c, first_epoch=1):
    """Return the samples' embeddings, (n, p): those of each step, moved on by later."""
    found = 0.0
    for step in plain_steps(run, X, cross_entropy, c):
        if step.epoch < first_epoch:
            continue
        rows = step.rows
        gradients = sample_gradients(step.before, X[rows], y[rows], cross_entropy)
        fisher = (c[rows, None] * gradients).T @ gradients / len(rows)
        moved = step.rates[:, None] * (fisher + step.penalty * np.eye(len(fisher)))
        if isinstance(found, float):
            found = np.zeros((len(X), len(fisher)))
        found = found - found @ moved.T
        found[rows] += c[rows, None] * gradients * step.rates / len(rows)
    return found


def schedule():
    return LRScheduler("LambdaLR", lr_lambda=lambda k: 1 / (k + 1), step_every="batch")


GROUPS = {"optimizer__param_groups": [("layers.0.*", {"lr": 0.5})]}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer__momentum": 0.8, "lr": 0.02},
        {"callbacks": [schedule()]},
        GROUPS,
        {"checkpoint_every": 3},
    ],
    ids=["plain", "momentum", "schedule", "groups", "recomputed"],
)
def test_is_the_product_with_the_embeddings(options):
    X, y, X_val, y_val = binary()
    c, v = np.linspace(0.5, 1.5, len(X)), np.linspace(1, 2, len(X_val))
    callbacks = [Spy(), *options.pop("callbacks", [])]
    clf = mlp(callbacks=callbacks, **options).fit(X, y, sample_weight=c)
    run = dict(clf.callbacks_)["Spy"].run
    query = v / v.sum() @ sample_gradients(clf.module_, X_val, y_val, cross_entropy)
    for last_epochs in (None, 2):
        first = 1 if last_epochs is None else 5 - last_epochs
        expected = embeddings(run, X, y, c, first) @ query
        found = DVEmb(last_epochs)(clf, X, y, X_val, y_val, sample_weight_val=v)
        # The same sums in double precision, in another order.
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-13)


def test_the_last_step_alone_is_that_of_tracin():
    X, y, *validation = binary()
    clf = mlp(max_epochs=1, batch_size=-1, optimizer__weight_decay=0.0).fit(X, y)
    # Elsewhere it is: TracIn's query is at the state before the step.
    found, other = (
        DVEmb()(clf, X, y, *validation),
        TracIn("all")(clf, X, y, *validation),
    )
    assert pearsonr(found, other).statistic > 0.99


def test_what_was_not_trained_on_has_none():
    X, y, *validation = binary()
    split = ValidSplit([(np.arange(5, 24), np.arange(5))])
    scores = DVEmb()(mlp(train_split=split).fit(X, y), X, y, *validation)
    assert (scores[:5] == 0).all()
    assert (scores[5:] != 0).all()


def test_needs_no_second_derivative():
    X, y, *validation = binary()
    found = [
        DVEmb()(mlp(record=record).fit(X, y), X, y, *validation)
        for record in ("all", "replay")
    ]
    np.testing.assert_array_equal(*found)


def test_says_what_is_lacking():
    assert get_scorer("dvemb", last_epochs=2).last_epochs == 2
    with pytest.raises(TypeError, match="for the scorer 'dvemb', got Logistic"):
        DVEmb().check_estimator(LogisticRegression())
    with pytest.raises(NotRecordedError, match="'dvemb', got record=None"):
        DVEmb().check_estimator(mlp(record=None))
    with pytest.raises(
        ValueError, match=r"`optimizer` must be torch.optim.SGD .* Adam"
    ):
        DVEmb().check_estimator(mlp(optimizer=torch.optim.Adam))
    with pytest.raises(ValueError, match="`X_val` must be given for the scorer 'dvem"):
        DVEmb()(mlp())


def test_warns_where_it_grows():
    X, y, *validation = binary()
    clf = SGDInfluenceClassifier(
        "linear", dtype="float64", max_epochs=4, batch_size=6, random_state=0
    ).fit(10 * X, y)
    with pytest.warns(InfluenceReliabilityWarning, match=r"gradient grew .* times"):
        DVEmb()(clf, X, y, *validation)


def test_refuses_what_overflows():
    X, y, *validation = binary()
    # Each step multiplies a change by up to the squared norm of a gradient.
    clf = mlp(lr=300.0, max_epochs=60).fit(1e3 * X, y)
    with pytest.raises(DivergedTrainingError, match="The retrace overflowed"):
        DVEmb()(clf, X, y, *validation)
