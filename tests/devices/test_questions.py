"""Every question about a run on a device against the same on a CPU."""

import functools

import numpy as np
import pytest
import torch

from skinfluence import (
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    influence_over_runs,
)
from skinfluence.inspection import AuditReport
from tests.cases import on_devices, rough
from tests.oracles import relative_error
from tests.scorers.problems import binary, regression

pytestmark = rough

X, y, X_VAL, Y_VAL = binary(n=12, n_val=7)
VALIDATION = X_VAL, Y_VAL
LABELS, LABELS_VAL = (np.stack([each, 1 - each, each], 1) for each in (y, Y_VAL))
POOL = X_VAL[:4], Y_VAL[:4]
NUMBERS = regression(n=12, n_val=7)

# The devices add in another order.
TOLERANCE = 1e-7

OPTIONS = {
    "dtype": "float64",
    "max_epochs": 2,
    "batch_size": 5,
    "random_state": 0,
    "optimizer__foreach": True,
}
MLP = {"module__hidden_layer_sizes": (4,), "module__activation": "tanh", **OPTIONS}


@functools.cache
def classifier(device):
    # The criterion's own tensors are on the device too.
    weights = {"criterion__weight": torch.tensor([1.0, 2.0])}
    return SGDInfluenceClassifier(**MLP, **weights, device=device).fit(X, y)


@functools.cache
def with_kinks(device):
    options = {**MLP, "module__activation": "relu", "device": device}
    return SGDInfluenceClassifier(**options).fit(X, y)


@functools.cache
def of_labels(device):
    return SGDInfluenceClassifier(**MLP, device=device).fit(X, LABELS)


@functools.cache
def linear(device):
    options = {**OPTIONS, "device": device}
    return SGDInfluenceRegressor("linear", **options).fit(*NUMBERS[:2])


def reported(clf):
    report = AuditReport.from_estimator(clf, X, y, *VALIDATION, n=4, n_check=0)
    return [suspect["gain"] for suspect in report.to_dict()["suspects"]]


QUESTIONS = {
    "path": lambda clf: clf.influence(*VALIDATION, at="path"),
    "error": lambda clf: clf.influence(*VALIDATION, query="balanced_error"),
    "metric": lambda clf: clf.influence(*VALIDATION, query="auc"),
    "verified": lambda clf: clf.influence(*VALIDATION, verify=2),
    "epochs": lambda clf: clf.influence_by_epoch(*VALIDATION),
    "labels": lambda clf: clf.label_influence(*VALIDATION),
    "cells": lambda clf: clf.feature_influence(*VALIDATION),
    "recipe": lambda clf: clf.recipe_influence(*VALIDATION).steps,
    "pool": lambda clf: clf.addition_influence(*POOL, *VALIDATION),
    "pool without labels": lambda clf: clf.addition_influence(
        POOL[0], None, *VALIDATION
    ),
    "explanation": lambda clf: clf.explain(X_VAL[:2], Y_VAL[:2])["influence"],
    "groups": lambda clf: clf.counterfactual_influence(
        *VALIDATION, samples=[[1, 2], [3]]
    ),
    "relabelled": lambda clf: clf.counterfactual_influence(
        *VALIDATION, samples=[1, 2], labels="all"
    ),
    "refitted": lambda clf: clf.refit_without([1], relabel={2: 1 - y[2]}).predict_proba(
        X_VAL
    ),
    "check": lambda clf: clf.check_influence(*VALIDATION, 10, random_state=0).exact,
    "runs": lambda clf: (
        influence_over_runs(clf, *VALIDATION, n_runs=2, random_state=0).scores
    ),
    "report": reported,
}
WITH_KINKS = {"smoothed": lambda clf: clf.influence(*VALIDATION, smoothing=0.1)}
OF_LABELS = {
    "labels": lambda clf: clf.label_influence(X_VAL, LABELS_VAL),
    "targets": lambda clf: clf.influence_by_target(X_VAL, LABELS_VAL),
    "pool": lambda clf: clf.addition_influence(
        X_VAL[:4], LABELS_VAL[:4], X_VAL, LABELS_VAL
    ),
    "relabelled": lambda clf: clf.counterfactual_influence(
        X_VAL, LABELS_VAL, samples=[1, 2], labels="all"
    ),
}
LINEAR = {
    "targets": lambda reg: reg.target_influence(*NUMBERS[2:]),
    "bound": lambda reg: reg.influence_error_bound(*NUMBERS[2:]),
    "quantile": lambda reg: reg.influence(*NUMBERS[2:], query="quantile_loss"),
}
ALL = {
    f"{model.__name__}, {name}": (model, question)
    for model, questions in {
        classifier: QUESTIONS,
        with_kinks: WITH_KINKS,
        of_labels: OF_LABELS,
        linear: LINEAR,
    }.items()
    for name, question in questions.items()
}


@on_devices
@pytest.mark.parametrize("name", ALL)
def test_question(name, device):
    model, question = ALL[name]
    found, expected = (question(model(where)) for where in (device, "cpu"))
    assert relative_error(np.asarray(found), np.asarray(expected)) <= TOLERANCE
