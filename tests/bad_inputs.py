"""Bad values of parameters, and what is to be said of them.

``TABLE`` lists values by hand, with the demand that the error must state. ``generated``
draws further ones for every numeric parameter: of another kind, out of range, or of a
type that only looks like a number. Each must be refused before any work, by an error
that names the parameter and shows the value. ``python -m tests.bad_inputs 1000`` tries
that many and prints what came of them.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from skorch.net import NeuralNet
from torch import nn
from torch.utils.data import DataLoader

from skinfluence import (
    InfluenceCleaner,
    InfluenceCleanerCV,
    Recorder,
    SGDInfluenceClassifier,
    SGDInfluenceRegressor,
    Trajectory,
    find_issues,
    influence_interval,
    influence_over_runs,
    load_estimator,
    queries,
    scorers,
)
from skinfluence.cleaning import (
    Decisions,
    Reweight,
    compare_scorers,
    data_fingerprint,
    suggest,
)
from skinfluence.datasets import (
    add_feature_noise,
    add_outliers,
    add_unit_errors,
    ampute,
    fetch_20newsgroups,
    fetch_mnist,
    flip_labels,
    flip_labels_by_class,
    flip_labels_by_group,
    flip_labels_by_instance,
)
from skinfluence.estimators import LinearModule, MLPModule, RecordedRun, SmoothHinge
from skinfluence.inspection import (
    AgreementDisplay,
    AuditReport,
    CleaningCurveDisplay,
    ColumnInfluence,
    ExplanationDisplay,
    InfluenceDisplay,
    SampleGridDisplay,
    slice_influence,
)
from skinfluence.metrics import (
    jaccard_extremes,
    linear_datamodeling_score,
    removal_curve,
)

N_SAMPLES, N_FEATURES, N_VAL = 30, 4, 6
X = np.random.default_rng(0).normal(size=(N_SAMPLES, N_FEATURES))
Y = np.arange(N_SAMPLES) % 2
VAL = X[:N_VAL] + 0.1, Y[:N_VAL]
QUICK: dict[str, Any] = {"max_epochs": 2, "batch_size": 8, "random_state": 0}


class Worked(BaseException):
    """Training was begun: the input was accepted."""


@contextmanager
def no_training() -> Iterator[None]:
    """End whatever begins to train."""
    fitted(), fitted_regressor(), fitted_linear(), fitted_three()
    with mock.patch.object(NeuralNet, "fit_loop", side_effect=Worked):
        yield


@cache
def fitted() -> SGDInfluenceClassifier:
    return SGDInfluenceClassifier(**QUICK).fit(X, Y)


@cache
def fitted_regressor() -> SGDInfluenceRegressor:
    return SGDInfluenceRegressor(**QUICK).fit(X, X[:, 0])


@cache
def fitted_three() -> SGDInfluenceClassifier:
    return SGDInfluenceClassifier(**QUICK).fit(X, np.arange(N_SAMPLES) % 3)


@cache
def fitted_linear() -> SGDInfluenceClassifier:
    return SGDInfluenceClassifier("linear", **QUICK).fit(X, Y)


def classifier(**options: Any) -> object:
    return SGDInfluenceClassifier(**{**QUICK, **options}).fit(X, Y)


def regressor(**options: Any) -> object:
    return SGDInfluenceRegressor(**{**QUICK, **options}).fit(X, X[:, 0])


def linear(**options: Any) -> object:
    return SGDInfluenceClassifier("linear", **{**QUICK, **options}).fit(X, Y)


def cleaner(**options: Any) -> object:
    return InfluenceCleaner(SGDInfluenceClassifier(**QUICK), **options).fit(X, Y)


def cleaner_cv(**options: Any) -> object:
    return InfluenceCleanerCV(SGDInfluenceClassifier(**QUICK), **options).fit(X, Y)


def scorer(name: str) -> Callable[..., object]:
    kind = getattr(scorers, name)
    return lambda **options: kind(**options)(fitted(), X, Y, *VAL)


def audit(**options: Any) -> object:
    few = {"n_check": 0, "n_harmed": 0, "n": 2, **options}
    return AuditReport.from_estimator(fitted(), X, Y, *VAL, **few)


def comparison(**options: Any) -> object:
    return compare_scorers(
        SGDInfluenceClassifier(**QUICK), X, Y, *VAL, ["influence", "loss"], **options
    )


def grid(**options: Any) -> object:
    given = {"labels": Y, "predictions": None, "influence": X[:, 0], **options}
    return SampleGridDisplay(samples=X, **given).plot()


def slices(**options: Any) -> object:
    few = {"X_frame": pd.DataFrame(X).add_prefix("x"), "n_exact": 0, **options}
    return slice_influence(fitted(), X_val=VAL[0], y_val=VAL[1], **few)


def recorder(**options: Any) -> Recorder:
    module = nn.Linear(X.shape[1], 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    return Recorder(module, optimizer, nn.CrossEntropyLoss, (X, Y), **options)


def curve(**options: Any) -> object:
    given = {"counts": [0], **options}
    return removal_curve(LogisticRegression(), X[:, 0], X, Y, *VAL, **given)


def method(name: str, net: Callable[[], Any] = fitted) -> Callable[..., object]:
    return lambda **options: getattr(net(), name)(*VAL, **options)


def of_regressor(name: str) -> Callable[..., object]:
    return lambda **o: getattr(fitted_regressor(), name)(X[:3], X[:3, 0], **o)


GROUPS = [0, 0, 1, 1]
CELLS = pd.DataFrame(X[:3])
_TUNED = ("auc", "average_precision", "calibration", "f1", "quantile_loss")

DECISIONS = Decisions(np.array([0]), np.array([1]), {})

TARGETS: dict[str, Callable[..., object]] = {
    "SGDInfluenceClassifier": classifier,
    "SGDInfluenceRegressor": regressor,
    "linear": linear,
    "find_issues": lambda **o: find_issues(X, Y, **o),
    "influence": method("influence"),
    "of_one_class": lambda **o: fitted().influence(VAL[0][::2], VAL[1][::2], **o),
    "of_three_classes": lambda **o: fitted_three().influence(*VAL, **o),
    "of_one_target": lambda **o: fitted_regressor().influence(X[:3], [1, 1, 1], **o),
    "to_frame": lambda **o: fitted().to_frame(**{"X": X, "y": Y, **o}),
    "explain": method("explain"),
    "influence_by_epoch": method("influence_by_epoch"),
    "influence_error_bound": method("influence_error_bound", fitted_linear),
    "label_influence": method("label_influence"),
    "feature_influence": method("feature_influence"),
    "influence_by_target": method("influence_by_target"),
    "recipe_influence": method("recipe_influence"),
    "addition_influence": lambda **o: fitted().addition_influence(X, Y, *VAL, **o),
    "target_influence": of_regressor("target_influence"),
    "check_influence": method("check_influence"),
    "counterfactual_influence": method("counterfactual_influence"),
    "refit_without": lambda **o: fitted().refit_without(**{"samples": [0], **o}),
    "partial_fit": lambda **o: SGDInfluenceClassifier(**QUICK).partial_fit(X, Y, **o),
    "fit": lambda **o: SGDInfluenceClassifier(**QUICK).fit(**{"X": X, "y": Y, **o}),
    "influence_over_runs": lambda **o: influence_over_runs(fitted(), *VAL, **o),
    "influence_interval": lambda **o: influence_interval(fitted(), *VAL, **o),
    "InfluenceCleaner": cleaner,
    "InfluenceCleanerCV": cleaner_cv,
    "Reweight": lambda **o: cleaner(action=Reweight(**o)),
    "compare_scorers": comparison,
    "suggest": lambda **o: suggest(fitted(), *VAL, **{"budget": 1, **o}),
    "merge": lambda **o: DECISIONS.merge(DECISIONS, **o),
    "data_fingerprint": lambda **o: data_fingerprint(**{"X": X, "y": Y, **o}),
    "AuditReport": audit,
    "InfluenceDisplay": lambda **o: InfluenceDisplay.from_estimator(
        fitted(), *VAL, **o
    ),
    "AgreementDisplay": lambda **o: AgreementDisplay.from_estimator(
        fitted(), *VAL, **o
    ),
    "RecordedRun": lambda **o: RecordedRun.of(fitted(), **o),
    "SampleGridDisplay": lambda **o: SampleGridDisplay.from_estimator(
        fitted(), X, Y, *VAL, **o
    ),
    "ExplanationDisplay": lambda **o: ExplanationDisplay.from_estimator(
        fitted(), X, Y, *VAL, **o
    ),
    "explanation": lambda **o: ExplanationDisplay(
        samples=X[:2], labels=Y[:2], predictions=Y[:2], training_samples=X, **o
    ).plot(),
    "CleaningCurveDisplay": lambda **o: CleaningCurveDisplay.from_estimator(
        SGDInfluenceClassifier(**QUICK), X, Y, **o
    ),
    "cleaner_by_detector": lambda **o: cleaner(scorer=scorers.Outlier(**o)),
    "lds": lambda **o: linear_datamodeling_score(fitted(), X_val=X, y_val=Y, **o),
    "grid": grid,
    "of_estimator": lambda estimator: influence_over_runs(estimator, *VAL),
    "lds_of": lambda estimator: linear_datamodeling_score(estimator, X[:, 0], *VAL),
    "displayed": lambda estimator: InfluenceDisplay.from_estimator(estimator, *VAL),
    "drawn": lambda estimator: SampleGridDisplay.from_estimator(estimator, X, Y, *VAL),
    "RecordedRun.of": RecordedRun.of,
    "slice_influence": slices,
    "Recorder": recorder,
    "batches": lambda **o: next(recorder().batches(**o)),
    "worst": lambda **o: ColumnInfluence(CELLS, {}, CELLS).worst(**o),
    "removal_curve": curve,
    "jaccard_extremes": lambda **o: jaccard_extremes(
        **{"first": X[:, 0], "second": X[:, 1], **o}
    ),
    "linear_datamodeling_score": lambda **o: linear_datamodeling_score(
        fitted(), X[:, 0], *VAL, **o
    ),
    "flip_labels": lambda **o: flip_labels(**{"y": Y, "fraction": 0.1, **o}),
    "flip_labels_by_class": lambda **o: flip_labels_by_class(
        **{"y": Y, "transition": "pair", "rate": 0.1, **o}
    ),
    "flip_labels_by_group": lambda **o: flip_labels_by_group(
        **{"y": Y, "groups": Y, "fraction": 0.1, **o}
    ),
    "flip_labels_by_instance": lambda **o: flip_labels_by_instance(
        **{"X": X, "y": Y, "fraction": 0.1, **o}
    ),
    "add_feature_noise": lambda **o: add_feature_noise(
        **{"X": X, "fraction": 0.1, **o}
    ),
    "add_unit_errors": lambda **o: add_unit_errors(**{"X": X, "fraction": 0.1, **o}),
    "add_outliers": lambda **o: add_outliers(**{"y": X[:, 0], "fraction": 0.1, **o}),
    "ampute": lambda **o: ampute(**{"X": X, "fraction": 0.1, "depends_on": 0, **o}),
    "save": lambda **o: fitted().save(**{"path": "missing/saved", **o}),
    "load_estimator": lambda **o: load_estimator(**{"path": "missing", **o}),
    "Trajectory.save": lambda **o: fitted().trajectory_.save(**o),
    "Trajectory.load": lambda **o: Trajectory.load(**{"path": "missing", **o}),
    "write_html": lambda **o: AuditReport({}).write_html(**o),
    "worst_group": queries.worst_group,
    "demographic_parity": lambda **o: queries.demographic_parity(GROUPS, **o),
    "equalized_odds": lambda **o: queries.equalized_odds(GROUPS, **o),
    **{name: named for name, named in queries.NAMED.items() if name in _TUNED},
    "fetch_mnist": fetch_mnist,
    "fetch_20newsgroups": fetch_20newsgroups,
    "MLPModule": lambda **o: MLPModule(**{"n_features": 3, **o}),
    "LinearModule": lambda **o: LinearModule(**{"n_features": 3, **o}),
    "SmoothHinge": SmoothHinge,
    **{name: scorer(name) for name in scorers.__all__ if name[0].isupper()},
}


@dataclass(frozen=True)
class Kind:
    """The numbers that a parameter takes, and what else it takes."""

    low: float = -np.inf
    high: float = np.inf
    integer: bool = True
    open_low: bool = False
    open_high: bool = True
    also: tuple[object, ...] = field(default=())

    def wrong(self, rng: np.random.Generator) -> object:
        """Draw a value that is refused."""
        draw = _DRAWS[rng.integers(len(_DRAWS))]
        value = draw(self, rng)
        return self.wrong(rng) if value is None or value in self.also else value


def _below(kind: Kind, rng: np.random.Generator) -> object:
    if kind.low == -np.inf:
        return None
    if kind.integer:
        value = int(kind.low) - int(rng.integers(1, 10**6))
        return value if rng.integers(2) else np.int64(value)
    value = kind.low - float(rng.exponential()) - (not kind.open_low) * 1e-3
    return value if rng.integers(2) else np.float32(value)


def _above(kind: Kind, rng: np.random.Generator) -> object:
    if kind.integer:
        return 2 ** int(rng.integers(63, 200)) + int(rng.integers(10**6))
    return None if kind.high == np.inf else kind.high + float(rng.exponential())


def _fraction(kind: Kind, rng: np.random.Generator) -> object:
    return float(rng.uniform(1, 99)) + 1e-4 if kind.integer else None


def _text(kind: Kind, rng: np.random.Generator) -> object:
    letters = list("abcdefghijklmnopqrstuvwxyz 0123456789-.")
    return "".join(rng.choice(letters, size=rng.integers(0, 12)))


_ODD: tuple[object, ...] = (
    True,
    False,
    np.True_,
    np.nan,
    np.inf,
    -np.inf,
    np.float64("nan"),
    1j,
    b"1",
    [],
    [1],
    (2,),
    {},
    {1: 2},
    {3},
    int,
    Ellipsis,
)
_DRAWS: tuple[Callable[[Kind, np.random.Generator], object], ...] = (
    _below,
    _above,
    _fraction,
    _text,
    lambda kind, rng: _ODD[rng.integers(len(_ODD))],
)

_NO_NUMBERS = (
    *(np.nan, np.inf, True, 10**30, Decimal("0.1"), Fraction(1, 10)),
    *(np.array(0.1), torch.tensor(np.nan)),
)


def one(*args: object, **options: object) -> int:
    return 1


def none(*args: object, **options: object) -> None:
    return None


# Target, parameter, value, and a pattern of the demand.
TABLE: list[tuple[str, str, object, str]] = [
    ("SGDInfluenceClassifier", "class_weight", {0: -1}, "finite number of at least 0"),
    ("SGDInfluenceClassifier", "class_weight", {0: "a"}, "finite number of at least 0"),
    ("SGDInfluenceClassifier", "class_weight", {1: np.nan}, "finite number"),
    ("SGDInfluenceClassifier", "class_weight", {1: np.inf}, "finite number"),
    ("SGDInfluenceClassifier", "class_weight", {1: True}, "finite number"),
    ("SGDInfluenceClassifier", "class_weight", {7: 1}, r"the classes of y, \[0, 1\]"),
    ("SGDInfluenceClassifier", "class_weight", "equal", "'balanced'"),
    ("SGDInfluenceClassifier", "device", "tpu", "one that torch has here"),
    ("SGDInfluenceClassifier", "device", 3, "one that torch has here"),
    ("SGDInfluenceClassifier", "device", None, "one that torch has here"),
    ("SGDInfluenceClassifier", "device", "", "one that torch has here"),
    ("SGDInfluenceClassifier", "device", "cuda:99", "one that torch has here"),
    ("SGDInfluenceRegressor", "device", "meta", "one that torch has here"),
    ("SGDInfluenceClassifier", "module__hidden_layer_sizes", "a", "integers of at le"),
    ("SGDInfluenceClassifier", "module__hidden_layer_sizes", (-3,), "of at least 1"),
    ("SGDInfluenceClassifier", "module__hidden_layer_sizes", (0,), "of at least 1"),
    ("SGDInfluenceClassifier", "module__hidden_layer_sizes", (2.5,), "integers"),
    ("SGDInfluenceClassifier", "module__hidden_layer_sizes", (True,), "integers"),
    ("SGDInfluenceClassifier", "module__hidden_layer_sizes", 5, "a sequence"),
    ("SGDInfluenceClassifier", "module__hidden_layer_sizes", None, "a sequence"),
    ("SGDInfluenceClassifier", "module__hidden_layer_sizes", (10**13,), "values that"),
    ("SGDInfluenceClassifier", "module__dropout", 2, "at least 0 and below 1"),
    ("SGDInfluenceClassifier", "module__dropout", 1.0, "at least 0 and below 1"),
    ("SGDInfluenceClassifier", "module__dropout", np.nan, "at least 0 and below 1"),
    ("SGDInfluenceClassifier", "module__activation", "step", "one of .*'gelu'"),
    ("SGDInfluenceClassifier", "module__activation", [], "one of .*'gelu'"),
    ("linear", "module__bias", "no", "True or False"),
    ("linear", "module__bias", 1, "True or False"),
    ("SGDInfluenceClassifier", "optimizer__momentum", -1, "values that it takes"),
    ("SGDInfluenceClassifier", "optimizer__momentum", "a", "values that it takes"),
    ("SGDInfluenceClassifier", "batch_size", 2**70, r"\[1, 2\*\*63\)"),
    ("SGDInfluenceClassifier", "batch_size", 0, r"\[1, 2\*\*63\)"),
    ("SGDInfluenceClassifier", "random_state", "a", "an int in the range"),
    ("SGDInfluenceClassifier", "random_state", True, "an int in the range"),
    ("SGDInfluenceClassifier", "callbacks", [3], "skorch callbacks"),
    ("SGDInfluenceClassifier", "callbacks", [("a", 3)], "pairs of a name and a callb"),
    ("SGDInfluenceClassifier", "callbacks", "all", "a list of skorch callbacks"),
    ("SGDInfluenceClassifier", "classes", [0, 0, 1], "each class once"),
    ("SGDInfluenceClassifier", "classes", [], "at least one label"),
    ("SGDInfluenceClassifier", "classes", [[0, 1]], "one-dimensional"),
    ("SGDInfluenceClassifier", "classes", [0, "a"], "all texts or all numbers"),
    ("SGDInfluenceClassifier", "classes", [0.0, np.nan], "no missing labels"),
    ("partial_fit", "classes", [0, 0, 1], "each class once"),
    ("partial_fit", "classes", "ab", "one-dimensional"),
    ("partial_fit", "classes", 3, "one-dimensional"),
    ("SGDInfluenceClassifier", "lr", True, "a float in the range"),
    ("SGDInfluenceClassifier", "lr", torch.tensor(-1.0), "one finite number"),
    ("SGDInfluenceClassifier", "lr", torch.tensor([0.1, 0.2]), "one finite number"),
    ("SGDInfluenceClassifier", "optimizer", "adam", "torch.optim.Adam"),
    ("SGDInfluenceClassifier", "optimizer", "nonsense", "torch.optim."),
    ("SGDInfluenceClassifier", "optimizer", "lbfgs", "torch.optim.(?!LBFGS)"),
    ("SGDInfluenceClassifier", "record", True, "an int in the range"),
    ("SGDInfluenceClassifier", "trajectory_dir", "", "path of a folder"),
    ("SGDInfluenceClassifier", "trajectory_dir", "\0", "path of a folder"),
    ("SGDInfluenceClassifier", "trajectory_dir", b"runs", "an instance of 'str'"),
    ("SGDInfluenceClassifier", "lr", 10**30, "a float in the range"),
    ("SGDInfluenceClassifier", "lr", Fraction(1, 10), "a float in the range"),
    ("InfluenceCleaner", "validation_fraction", Fraction(1, 5), "a float in the range"),
    ("InfluenceCleaner", "n_remove", Fraction(1, 5), "a fraction .a float."),
    ("flip_labels", "fraction", Fraction(1, 5), r"fraction"),
    *(
        (target, name, value, f"path of a {kind}.*got {re.escape(repr(value))}")
        for target, name, kind in (
            ("save", "path", "folder"),
            ("load_estimator", "path", "folder"),
            ("Trajectory.save", "path", "folder"),
            ("Trajectory.load", "path", "folder"),
            ("ExactCounterfactual", "memory", "folder"),
            ("write_html", "path", "file"),
            ("fetch_mnist", "data_home", "folder"),
        )
        for value in (3, b"runs", "", "a\0b", [], True)
    ),
    ("InfluenceCleaner", "memory", "a\0b", "path of a folder"),
    ("save", "overwrite", 1, "True or False"),
    ("load_estimator", "trusted", (1,), "classes, functions or their full names"),
    ("load_estimator", "trusted", (None,), "classes, functions or their full names"),
    ("load_estimator", "trusted", ("",), "classes, functions or their full names"),
    ("load_estimator", "trusted", (torch,), "classes, functions or their full names"),
    *(
        (target, "device", value, "one that torch has here")
        for target in ("load_estimator", "Trajectory.load", "Autoencoder")
        for value in (True, 3, b"cpu", "", [], "tpu", "meta")
    ),
    ("Trajectory.load", "device", None, "one that torch has here"),
    *(
        ("SGDInfluenceClassifier", f"optimizer__{name}", value, "a finite int or float")
        for name in ("momentum", "weight_decay", "dampening")
        for value in _NO_NUMBERS
    ),
    ("SGDInfluenceClassifier", "criterion__label_smoothing", True, "finite int or"),
    ("SGDInfluenceClassifier", "criterion__label_smoothing", np.nan, "finite int or"),
    ("SGDInfluenceClassifier", "criterion__label_smoothing", -1, "from 0 to 1"),
    (
        "SGDInfluenceClassifier",
        "criterion__weight",
        torch.tensor([np.nan, 1]),
        "finite",
    ),
    *(
        ("SGDInfluenceClassifier", name, makes, f"must make {kind}.*got")
        for name, kind in (
            ("module", "a torch.nn.Module"),
            ("criterion", "a criterion"),
            ("optimizer", "a torch.optim.Optimizer"),
            ("iterator_train", "an iterable of batches"),
            ("dataset", "a map-style Dataset"),
        )
        for makes in (one, none)
    ),
    ("SGDInfluenceClassifier", "module", nn.Linear, "in_features"),
    ("SGDInfluenceClassifier", "criterion", nn.Linear, "in_features"),
    ("SGDInfluenceClassifier", "optimizer", nn.ReLU, "made with values that it takes"),
    ("SGDInfluenceClassifier", "iterator_train", dict, "made with values"),
    ("SGDInfluenceClassifier", "dataset", object, "made with values that it takes"),
    ("SGDInfluenceClassifier", "warm_start", np.array([1, 2]), "instance of 'bool'"),
    ("SGDInfluenceClassifier", "optimizer__dampening", -0.5, "from 0 to 1"),
    (
        "SGDInfluenceClassifier",
        "criterion__weight",
        torch.tensor([-1.0, 1.0]),
        "no negative weights",
    ),
    ("refit_without", "relabel", {2: [1, 2]}, r"targets of shape \(\) as in fit"),
    ("influence", "query", lambda outputs: outputs, r"take \(outputs, targets\)"),
    ("InfluenceCleaner", "query", lambda a: a, r"take \(outputs, targets\)"),
    ("InfluenceCleaner", "scorer", lambda a: a, r"take \(estimator, X, y, X_val"),
    ("compare_scorers", "scoring", ["accuracy"], "a name or a callable"),
    ("removal_curve", "scoring", ["accuracy"], "a name or a callable"),
    ("add_feature_noise", "columns", np.ma.masked, "a sequence of columns"),
    ("fit", "resume", 1, "True or False"),
    ("Recorder", "resume", 1, "True or False"),
    ("fit", "sample_weight", [1], "one number for each"),
    ("fit", "sample_weight", "a", "numbers"),
    ("fit", "X", None, "a 2-D array or CSR matrix"),
    ("fit", "X", [], "a 2-D array or CSR matrix"),
    ("fit", "X", X[:, 0], "a 2-D array or CSR matrix"),
    ("fit", "X", 3, "a 2-D array or CSR matrix"),
    ("fit", "X", DataLoader([1, 2]), "Pass its `dataset`"),
    ("fit", "y", 2 * np.eye(2)[Y], "one label for each .* indicator matrix"),
    ("fit", "y", np.eye(2)[Y] - 0.5, "one label for each .* indicator matrix"),
    ("influence", "at", "last", "'final', 'epochs', 'path'"),
    ("influence", "at", {1: True}, "finite weights"),
    ("influence", "query", 3, "'loss', 'error', .* or a callable"),
    (
        "influence",
        "query",
        "acu",
        "'auc', .* or a callable, got 'acu'. Did you mean 'auc'",
    ),
    ("influence", "query", "worst_group", r"queries.worst_group\(groups\)"),
    ("influence", "query", "roc_auc", "Use counterfactual_influence, which takes it"),
    ("influence", "query", "r2", "only for a regressor"),
    ("influence", "query", queries.worst_group([0, 1]), "groups for 2 and 6 samples"),
    ("influence", "query", queries.equalized_odds([0, 0, 0, 0, 0, 1]), "both classes"),
    ("target_influence", "query", "auc", "probabilities of classes"),
    ("of_one_class", "query", "auc", "at least two classes"),
    ("of_one_class", "query", "f1", "at least two classes"),
    ("of_one_target", "query", "r2", "not all the same"),
    (
        "of_three_classes",
        "query",
        queries.demographic_parity(np.arange(6)),
        "two classes",
    ),
    ("InfluenceCleaner", "query", "demographic_parity", r"be told more: .*\(groups\)"),
    ("influence", "query", "corrected_error", r"told more: .*\(transition\)"),
    ("worst_group", "groups", ["a", "a"], "at least two groups"),
    ("auc", "temperature", 0, "above 0"),
    ("explain", "query", "auc", "single samples do not have"),
    ("explanation", "explanation", X, "what `explain` returns"),
    ("influence", "query", accuracy_score, "Use 'loss', or 'error'"),
    ("influence", "at", np.array(1), "a string, a sequence or a mapping"),
    ("influence", "at", [1, 1], "each epoch once"),
    ("influence", "aggregate", "sum", "'mean' or None"),
    ("influence", "aggregate", np.array(["mean", "sum"]), "'mean' or None"),
    ("influence", "aggregate", pd.NA, "'mean' or None"),
    ("counterfactual_influence", "samples", {1: 2}, "a sequence of row numbers"),
    ("counterfactual_influence", "samples", 3, "a sequence of row numbers"),
    ("counterfactual_influence", "samples", True, "a sequence of row numbers"),
    ("counterfactual_influence", "samples", [0.5], "row numbers or a mask"),
    ("refit_without", "samples", {1: 2}, "row numbers or a mask"),
    ("refit_without", "samples", 3, "row numbers or a mask"),
    ("refit_without", "samples", [[1, 2], 3], "row numbers or a mask"),
    ("InfluenceCleaner", "n_remove", "some", "'auto'"),
    ("InfluenceCleaner", "n_remove", "10%", "A tenth of the samples is 0.1"),
    ("InfluenceCleaner", "n_remove", True, "a count"),
    ("InfluenceCleaner", "n_remove", -1, "not be negative"),
    ("InfluenceCleaner", "n_remove", 1.5, "a fraction"),
    ("InfluenceCleaner", "n_remove", np.nan, "a fraction"),
    ("InfluenceCleaner", "n_remove", 2**70, "below the number of samples"),
    ("InfluenceCleaner", "n_remove", None, "a float|a count|'auto'"),
    # Before the first fold is trained, too.
    ("InfluenceCleaner", "smoothing", "much", "'auto'"),
    ("InfluenceCleanerCV", "smoothing", np.inf, "a float in the range .0"),
    ("InfluenceCleaner", "at", [], "some epoch a positive weight"),
    ("InfluenceCleaner", "at", {}, "some epoch a positive weight"),
    ("InfluenceCleaner", "at", np.array(1), "a string, a sequence or a mapping"),
    ("InfluenceCleaner", "at", [0.5], "epochs of the run"),
    ("InfluenceCleaner", "at", {1: np.nan}, "finite weights"),
    ("InfluenceCleaner", "cv", "five", "an int"),
    ("InfluenceCleaner", "cv", 1, "2|two"),
    ("InfluenceCleaner", "cv", -3, "2|two"),
    ("Reweight", "update", "newton", "one of"),
    ("Reweight", "update", None, "one of"),
    ("Reweight", "update", ["adam"], "one of"),
    ("Reweight", "reseed", "yes", "True or False"),
    ("LearnedWeights", "update", "Adam", "one of"),
    ("LearnedWeights", "reseed", None, "True or False"),
    ("InfluenceCleanerCV", "cv", True, "an int|2"),
    ("InfluenceCleanerCV", "n_removes", [], "at least one"),
    ("InfluenceCleanerCV", "n_removes", [True], "a count"),
    ("InfluenceCleanerCV", "n_removes", 3, "Sequence"),
    ("InfluenceCleaner", "scorer", "lost", "one of"),
    ("InfluenceCleaner", "action", "keep", "a str among"),
    ("merge", "conflicts", "second", "'refuse', 'first' or 'keep'"),
    ("merge", "conflicts", None, "'refuse', 'first' or 'keep'"),
    ("merge", "conflicts", True, "'refuse', 'first' or 'keep'"),
    ("merge", "conflicts", ["first"], "'refuse', 'first' or 'keep'"),
    ("InfluenceCleaner", "memory", 3, "an instance of 'str'"),
    ("InfluenceCleanerCV", "rule", "first", "a str among"),
    ("data_fingerprint", "X", None, "an array, a sequence or a table"),
    ("data_fingerprint", "X", 3, "an array, a sequence or a table"),
    ("data_fingerprint", "y", "a", "an array, a sequence or a table"),
    ("AuditReport", "about", 3, "a mapping of names to facts"),
    ("AuditReport", "raw", 3, "an array, a table or a sequence of texts"),
    ("AuditReport", "raw", "a", "an array, a table or a sequence of texts"),
    ("AuditReport", "raw_val", 3, "an array, a table or a sequence of texts"),
    ("AuditReport", "at", 7, "a string, a sequence or a mapping"),
    ("AuditReport", "n_check", 2, "at least 4"),
    ("AuditReport", "n_check", pd.NA, "an integer"),
    ("KohLiang", "solver", "exact", "one of"),
    ("KohLiang", "solver", np.array(["cg", "direct"]), "one of"),
    ("KohLiang", "damping", pd.NA, "'auto' or a finite number"),
    ("KohLiang", "tol", 0.0, r"\(0\.0, inf"),
    ("FisherKernel", "damping", np.array([1.0, 2.0]), "'auto' or a finite number"),
    ("ConfidentLearning", "method", pd.NA, "one of"),
    ("ConfidentLearning", "filter_by", pd.NA, "one of"),
    ("KNNShapley", "features", pd.NA, "'input' or 'representation'"),
    ("refit_without", "relabel", 0, "a mapping of rows to labels"),
    ("refit_without", "relabel", pd.NA, "a mapping of rows to labels"),
    ("jaccard_extremes", "first", 3, "one-dimensional array of numbers"),
    ("jaccard_extremes", "second", ["a"] * N_SAMPLES, "array of numbers"),
    ("jaccard_extremes", "second", [1.0, 2.0], r"as `first` \(30\), got 2"),
    ("KNNShapley", "features", "output", "'input' or 'representation'"),
    ("Autoencoder", "device", "tpu", "one that torch has here"),
    ("TracIn", "steps", "some", "one of"),
    ("RelatIF", "steps", "some", "one of"),
    ("RelatIF", "at", "last", "'final', 'epochs', 'path'"),
    ("EditedNeighbours", "features", "output", "'input' or 'representation'"),
    ("EditedNeighbours", "n_neighbors", N_SAMPLES, "below the number of samples"),
    ("MeanRank", "scorers", "loss", "a sequence"),
    ("DataOOB", "measure", "accuracy", "one of"),
    ("MeanRank", "query", 3, "'loss', 'error', .* or a callable"),
    ("ConfidentLearning", "cv", 1, "an integer of at least 2"),
    ("removal_curve", "counts", [1.5], "integers"),
    ("removal_curve", "counts", [-1], "from 0"),
    ("fetch_mnist", "subset", "validation", "'train', 'test' or 'all'"),
    ("fetch_20newsgroups", "subset", 3, "'train', 'test' or 'all'"),
    ("fetch_mnist", "subset", [], "'train', 'test' or 'all'"),
    ("fetch_mnist", "subset", np.array("train"), "'train', 'test' or 'all'"),
    ("fetch_mnist", "return_X_y", "yes", "True or False"),
    ("fetch_20newsgroups", "shuffle", 1, "True or False"),
    ("fetch_20newsgroups", "remove", 3, "a sequence of"),
    ("fetch_20newsgroups", "remove", "headers", "a sequence of"),
    ("fetch_20newsgroups", "remove", [["headers"]], "a tuple of"),
    *(
        (target, "cv", value, f"cv. must .*got {re.escape(repr(value))}")
        for target in ("InfluenceCleaner", "InfluenceCleanerCV")
        for value in ([], {}, (), np.array(3), b"a", [1], 40)
    ),
    *(
        (target, "cv", [split], f"pairs of row numbers.*{re.escape(repr(split))}")
        for target in ("InfluenceCleaner", "InfluenceCleanerCV")
        for split in ((1, 2), ("a", "b"), ([0, 1], []), ([0, 99], [2]), ([1.5], [2]))
    ),
    ("InfluenceCleanerCV", "n_removes", np.array(3), "sequence of counts"),
    ("InfluenceCleanerCV", "n_removes", b"a", "sequence of counts"),
    ("compare_scorers", "n_remove", 3, "sequence of counts"),
    ("CleaningCurveDisplay", "n_removes", 3, "sequence of counts"),
    ("removal_curve", "counts", 3, "sequence of integers"),
    ("lds", "scores", ["a"] * N_SAMPLES, "must be numbers"),
    *(
        (target, "detector", value, "must be an instance of an outlier detector")
        for target in ("Outlier", "cleaner_by_detector")
        for value in (None, 3, "forest", IsolationForest, LogisticRegression())
    ),
    *(
        (target, "estimator", value, "must be an SGDInfluenceClassifier or SGD")
        for target in ("of_estimator", "lds_of", "displayed", "drawn", "RecordedRun.of")
        for value in (3, None, LogisticRegression(), SGDInfluenceClassifier)
    ),
    ("data_fingerprint", "X", [], "as many rows, and at least one, got 0 and 30"),
    ("data_fingerprint", "y", Y[:3], "as many rows, and at least one, got 30 and 3"),
    ("AuditReport", "title", object(), "must be text, got"),
    ("AuditReport", "apply_command", 3, "must be text, got"),
    ("AuditReport", "apply_command", [], "must be text, got"),
    ("AuditReport", "slices", X, "must be a DataFrame, got ndarray"),
    ("AuditReport", "repairs", X, "must be a DataFrame with a row for each of the 30"),
    ("AuditReport", "columns", 3, "a sequence of .name, kind"),
    ("AuditReport", "columns", "abc", "a sequence of .name, kind"),
    ("AuditReport", "columns", ["age"], "must hold .name, kind"),
    ("AuditReport", "columns", [("age", "number")], "must hold .name, kind"),
    ("AuditReport", "scores", ["a"] * N_SAMPLES, "must be numbers, got"),
    ("to_frame", "scores", ["a"] * N_SAMPLES, "must be numbers, got"),
    ("to_frame", "scores", [1.0, 2.0], r"each of the 30 samples .*, got shape \(2,\)"),
    ("to_frame", "X", [["a"] * N_FEATURES] * N_SAMPLES, "rows of numbers"),
    ("to_frame", "y", 1 - Y, "what the estimator was fitted on"),
    ("AgreementDisplay", "ax", 3, "matplotlib Axes or None, got 3"),
    ("CleaningCurveDisplay", "ax", 3, "matplotlib Axes or None, got 3"),
    ("influence", "query", nn.Module, "'loss', 'error', .* or a callable, got"),
    ("AuditReport", "warnings", "careful", "a sequence of texts"),
    ("AuditReport", "warnings", [3], "must be text, got"),
    ("AuditReport", "harmful_only", "no", "True or False"),
    *(
        (target, name, value, "must be a sequence of")
        for target in ("AuditReport", "SampleGridDisplay")
        for name in ("feature_names", "image_shape")
        for value in (3, True, "abcd", np.array(3))
    ),
    ("AuditReport", "image_shape", ("a", 2), "image_shape. must be .height"),
    ("AuditReport", "raw", np.array(3), "an array, a table or a sequence of texts"),
    ("SampleGridDisplay", "axes", [None] * 30, "each an Axes, got"),
    ("slice_influence", "X_frame", X, "must be a DataFrame, got ndarray"),
    ("slice_influence", "X_frame", pd.DataFrame(X[:3]), "each of the 30 .* 3 rows"),
    ("slice_influence", "columns", ["x00"], "columns of .X_frame.*Did you mean 'x0'"),
    ("slice_influence", "columns", "x0", "a sequence of column names"),
    ("slice_influence", "columns", [], "at least one column, got none"),
    ("slice_influence", "intervals", [1, 2], "map columns to edges"),
    ("slice_influence", "intervals", {"x": [1]}, "columns of .X_frame"),
    *(
        ("slice_influence", "intervals", {"x0": edges}, "1 to 19 increasing numbers")
        for edges in ([], [2, 1], [1, 1], [np.nan], ["a"], [True, 2], range(20))
    ),
    *(
        ("slice_influence", name, value, "a count from 1 .* or a fraction above 0")
        for name in ("min_rows", "max_rows")
        for value in (0, -1, 0.0, -0.1, 1.5, 31, True, "10%", None, np.nan, 2**70)
    ),
    ("slice_influence", "min_rows", 20, "must not be above .max_rows."),
    ("grid", "labels", 3, "shape .30,., got"),
    ("grid", "influence", ["a"] * N_SAMPLES, "must be numbers, got"),
    ("flip_labels", "y", [[0, 1]], "one-dimensional"),
    ("flip_labels_by_class", "transition", "pairs", "'pair' or a matrix"),
    ("flip_labels_by_group", "groups", [1], "one group for each"),
    ("flip_labels_by_group", "group", 7, "one of"),
    ("flip_labels_by_instance", "estimator", 3, "a classifier"),
    ("flip_labels_by_instance", "X", None, "given without `difficulty`"),
    ("ampute", "depends_on", [0], "among the columns"),
    ("ampute", "columns", [9], "among the columns"),
    ("add_feature_noise", "X", X[:, 0], "two-dimensional"),
    ("add_unit_errors", "factor", 1, "not be 1"),
    ("add_outliers", "y", X, "one-dimensional"),
    ("SmoothHinge", "reduction", "max", "'mean', 'sum' or 'none'"),
]
# In a component's parameter the *name* is the value that is wrong.
UNKNOWN = {
    "module__hidden_layer_size": "`module__hidden_layer_sizes`",
    "module__n_features": "`module__hidden_layer_sizes`, `module__activation`",
    "optimizer__momentun": "`optimizer__momentum`",
    "criterion__label_smooth": "`criterion__label_smoothing`",
    "iterator_train__bach_size": "`iterator_train__batch_size`",
    "iterator_valid__bach_size": "`iterator_valid__batch_size`",
    "dataset__size": "`dataset__length`",
    "callbacks__print_lg": "`callbacks__print_log`",
}

ANY_COUNT = Kind(0)
COUNT = Kind(1)
OPTIONAL = Kind(1, also=(None,))
AUTO = Kind(1, also=("auto",))
SEED = Kind(0, 2**32)
VERBOSE = Kind(0, also=(True, False))
JOBS = Kind()
# None of the estimators here started from another one.
STAGE = Kind(1)
RATE = Kind(0, integer=False)
WITHIN = Kind(0, 1, integer=False, open_low=True)
WIDTH = Kind(0, integer=False, also=("auto",))
ABOVE = Kind(0, integer=False, open_low=True)
NOISE = {"fraction": Kind(0, 1, integer=False), "random_state": SEED}

_NET = {
    "lr": RATE,
    "max_epochs": ANY_COUNT,
    "batch_size": Kind(-1),
    "accumulate_steps": COUNT,
    "random_state": SEED,
    "record": Kind(1, also=("all", "replay")),
    "verbose": VERBOSE,
    "checkpoint_every": AUTO,
    "max_trajectory_bytes": AUTO,
    "module__dropout": Kind(0, 1, integer=False),
}
_CLEANER = {
    "max_class_fraction": Kind(0, 1, integer=False, also=("auto", None)),
    "validation_fraction": WITHIN,
    "n_runs": COUNT,
    "last_epochs": OPTIONAL,
    "smoothing": WIDTH,
    "n_jobs": JOBS,
    "verbose": VERBOSE,
    "random_state": SEED,
}
NUMBERS: dict[str, dict[str, Kind]] = {
    "find_issues": {"near": Kind(0, 1, integer=False)},
    "SGDInfluenceClassifier": _NET,
    "SGDInfluenceRegressor": _NET,
    "influence": {
        "last_epochs": OPTIONAL,
        "verify": ANY_COUNT,
        "smoothing": WIDTH,
        "stage": STAGE,
    },
    "influence_by_epoch": {"last_epochs": OPTIONAL, "smoothing": WIDTH},
    "influence_error_bound": {"last_epochs": OPTIONAL},
    "label_influence": {"last_epochs": OPTIONAL, "smoothing": WIDTH, "stage": STAGE},
    "feature_influence": {"last_epochs": OPTIONAL, "smoothing": WIDTH, "stage": STAGE},
    "influence_by_target": {
        "last_epochs": OPTIONAL,
        "smoothing": WIDTH,
        "stage": STAGE,
    },
    "recipe_influence": {"last_epochs": OPTIONAL, "smoothing": WIDTH},
    "addition_influence": {
        "last_epochs": OPTIONAL,
        "smoothing": WIDTH,
        "steps_per_epoch": Kind(1, also=("all",)),
    },
    "target_influence": {"last_epochs": OPTIONAL, "smoothing": WIDTH, "stage": STAGE},
    "check_influence": {
        "n_samples": Kind(4),
        "n_subsets": Kind(0),
        "keep": WITHIN,
        "level": WITHIN,
        "last_epochs": OPTIONAL,
        "random_state": SEED,
        "n_jobs": JOBS,
        "smoothing": WIDTH,
        "stage": STAGE,
    },
    "counterfactual_influence": {
        "last_epochs": OPTIONAL,
        "n_jobs": JOBS,
        "stage": STAGE,
    },
    "refit_without": {"last_epochs": OPTIONAL, "stage": STAGE},
    "influence_over_runs": {
        "n_runs": COUNT,
        "last_epochs": OPTIONAL,
        "random_state": SEED,
        "n_jobs": JOBS,
        "smoothing": WIDTH,
    },
    "influence_interval": {
        "level": WITHIN,
        "n_runs": Kind(3),
        "n_samples": COUNT,
        "last_epochs": OPTIONAL,
        "random_state": SEED,
        "n_jobs": JOBS,
        "smoothing": WIDTH,
    },
    "RecordedRun": {"last_epochs": OPTIONAL},
    "AgreementDisplay": {"n_samples": COUNT, "random_state": SEED},
    "fetch_20newsgroups": {"random_state": SEED},
    "InfluenceCleaner": _CLEANER,
    "InfluenceCleanerCV": _CLEANER,
    "suggest": {
        "budget": COUNT,
        "n_runs": COUNT,
        "last_epochs": OPTIONAL,
        "smoothing": WIDTH,
        "random_state": SEED,
        "n_jobs": JOBS,
    },
    "compare_scorers": {"n_seeds": COUNT, "random_state": SEED, "n_jobs": JOBS},
    "AuditReport": {
        "n": COUNT,
        "n_harmed": ANY_COUNT,
        "n_check": Kind(0),
        "random_state": SEED,
    },
    "InfluenceDisplay": {"n_marked": ANY_COUNT},
    "Recorder": {"max_epochs": COUNT, "random_state": SEED},
    "batches": {"batch_size": Kind(-1)},
    "worst": {"n": COUNT},
    "slice_influence": {
        "n_intervals": Kind(2, 20),
        "max_categories": COUNT,
        "n_slices": COUNT,
        "n_exact": ANY_COUNT,
        "n_permutations": COUNT,
        "random_state": SEED,
    },
    "SampleGridDisplay": {
        "n_harmful": ANY_COUNT,
        "n_helpful": ANY_COUNT,
        "n_features": COUNT,
        "last_epochs": OPTIONAL,
    },
    "explain": {
        "n_harmful": ANY_COUNT,
        "n_helpful": ANY_COUNT,
        "last_epochs": OPTIONAL,
        "smoothing": WIDTH,
    },
    "ExplanationDisplay": {
        "n_harmful": ANY_COUNT,
        "n_helpful": ANY_COUNT,
        "n_features": COUNT,
        "last_epochs": OPTIONAL,
    },
    "CleaningCurveDisplay": {"n_jobs": JOBS, "random_state": SEED},
    "removal_curve": {"n_jobs": JOBS},
    "jaccard_extremes": {"k": COUNT},
    "linear_datamodeling_score": {
        "n_subsets": Kind(3),
        "keep": WITHIN,
        "random_state": SEED,
        "n_jobs": JOBS,
    },
    "flip_labels": NOISE,
    "flip_labels_by_class": {
        "rate": Kind(0, 1, integer=False),
        "random_state": SEED,
    },
    "flip_labels_by_group": NOISE,
    "flip_labels_by_instance": NOISE,
    "add_feature_noise": {**NOISE, "scale": ABOVE},
    "add_unit_errors": {**NOISE, "factor": ABOVE},
    "add_outliers": {**NOISE, "magnitude": ABOVE},
    "ampute": NOISE,
    "MLPModule": {"dropout": Kind(0, 1, integer=False), "n_features": COUNT},
    "LinearModule": {"n_features": COUNT},
    "SmoothHinge": {"temperature": ABOVE},
    "auc": {"temperature": ABOVE},
    "average_precision": {"temperature": ABOVE},
    "calibration": {"n_bins": COUNT, "temperature": ABOVE},
    "demographic_parity": {"temperature": ABOVE},
    "equalized_odds": {"temperature": ABOVE},
    "f1": {"temperature": ABOVE},
    "quantile_loss": {"quantile": Kind(0, 1, integer=False, open_low=True)},
    "Autoencoder": {
        "width": COUNT,
        "max_epochs": ANY_COUNT,
        "lr": RATE,
        "batch_size": COUNT,
        "random_state": SEED,
    },
    "BetaShapley": {
        "alpha": ABOVE,
        "beta": ABOVE,
        "n_permutations": COUNT,
        "tolerance": RATE,
        "n_jobs": JOBS,
        "random_state": SEED,
    },
    "ConfidentLearning": {"n_jobs": JOBS, "random_state": SEED},
    "DataBanzhaf": {"n_subsets": COUNT, "n_jobs": JOBS, "random_state": SEED},
    "DataOOB": {"n_estimators": COUNT, "n_jobs": JOBS, "random_state": SEED},
    "DataShapley": {
        "n_permutations": COUNT,
        "tolerance": RATE,
        "n_jobs": JOBS,
        "random_state": SEED,
    },
    "DVEmb": {"last_epochs": OPTIONAL},
    "EKFAC": {
        "damping": Kind(0, integer=False, open_low=True, also=("auto",)),
        "batch_size": COUNT,
        "random_state": SEED,
    },
    "EL2N": {"n_epochs": COUNT},
    "EditedNeighbours": {"n_neighbors": COUNT},
    "ExactCounterfactual": {"last_epochs": OPTIONAL, "n_jobs": JOBS},
    "FisherKernel": {"damping": Kind(0, integer=False, open_low=True, also=("auto",))},
    "GraNd": {"n_epochs": COUNT},
    "KNNShapley": {"n_neighbors": COUNT},
    "KohLiang": {
        "damping": WIDTH,
        "tol": ABOVE,
        "max_iter": COUNT,
        "batch_size": COUNT,
        "random_state": SEED,
    },
    "LearnedWeights": {
        "n_iterations": COUNT,
        "step_size": ABOVE,
        "last_epochs": OPTIONAL,
        "smoothing": WIDTH,
        "early_stopping": Kind(0, 1, integer=False, open_low=True, also=(None,)),
    },
    "MeanRank": {"random_state": SEED},
    "Random": {"random_state": SEED},
    "RelatIF": {"last_epochs": OPTIONAL, "smoothing": WIDTH},
    "Reweight": {
        "step_size": ABOVE,
        "early_stopping": Kind(0, 1, integer=False, open_low=True, also=(None,)),
    },
    "SGDInfluence": {
        "last_epochs": OPTIONAL,
        "verify": ANY_COUNT,
        "smoothing": WIDTH,
        "n_runs": COUNT,
        "n_jobs": JOBS,
    },
    "SOURCE": {
        "n_segments": COUNT,
        "n_checkpoints": COUNT,
        "last_epochs": OPTIONAL,
        "tol": ABOVE,
        "max_iter": COUNT,
    },
    "TracIn": {"last_epochs": OPTIONAL},
    "SelfInfluence": {"last_epochs": OPTIONAL},
}


@dataclass(frozen=True)
class BadInput:
    """A value that a parameter must not have."""

    target: str
    name: str
    value: object

    def outcome(self) -> tuple[str, str]:
        """Return what came of it, and what was said."""
        try:
            TARGETS[self.target](**{self.name: self.value})
        except (ValueError, TypeError) as error:
            return self._judged(str(error)), f"{type(error).__name__}: {error}"
        except Worked:
            return "accepted", "work was begun"
        except Exception as error:
            return "raw error", f"{type(error).__name__}: {error}"
        return "accepted", "it returned"

    def _judged(self, message: str) -> str:
        # A value's text ends with a bracket, a colon or a dot where it is cut.
        if re.search(rf"[`'_]{re.escape(self.name)}\b", message) is None:
            return "not named"
        shown = repr(self.value) in message or f"got {self.value}" in message
        return "refused" if shown else "value not shown"


def generated(count: int, seed: int = 0) -> Iterator[BadInput]:
    """Yield bad inputs for all numeric parameters in turn."""
    rng = np.random.default_rng(seed)
    places = [(t, n, kind) for t, names in NUMBERS.items() for n, kind in names.items()]
    for k in range(count):
        target, name, kind = places[k % len(places)]
        yield BadInput(target, name, kind.wrong(rng))


def main(count: int) -> None:
    """Print how many of the inputs were refused as they are to be, and the others."""
    counts: Counter[str] = Counter()
    with no_training():
        for each in generated(count):
            outcome, said = each.outcome()
            counts[outcome] += 1
            if outcome != "refused":
                print(f"{outcome}: {each}\n    {said[:200]}")
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]))
