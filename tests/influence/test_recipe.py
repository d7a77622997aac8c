"""The recipe of a training, against finite differences of retraining."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_sample_weight
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch import nn
from torch.nn.utils import clip_grad_norm_

from skinfluence import SGDInfluenceClassifier, SGDInfluenceRegressor
from skinfluence.exceptions import UnsupportedOptimizerError
from tests.cases import MODULES, OPTIMIZERS, Case, rough
from tests.oracles import (
    Spy,
    relative_error,
    retrain,
    validation_loss,
)

# The derivative is exact in rough runs too, however little it foretells.
pytestmark = rough

# The oracle's own error is about 1e-8 or less (double precision); the bound is the
# accuracy that the library promises.
TOLERANCE = 1e-6

# ASGD's learning rate acts in later steps.
KNOWN = [name for name in OPTIMIZERS if not name.startswith("asgd")]


class Training:
    """A recorded run, and a plain loop that repeats it with changes."""

    def __init__(self, case, *, at=None, clip=None, callbacks=(), loss=None, **fit):
        self.case = case
        self.X, self.y, self.weights = case.data()
        spy = Spy()
        self.clf = case.fitted(callbacks=[spy, *callbacks], **fit)
        self.run = spy.run
        self.asked = at or [self.clf.trajectory_.n_epochs]
        self.options = {
            "seeds": [record.seed or 0 for record in self.clf.trajectory_.records],
            "clip": clip,
        }
        if loss is not None:
            self.options["loss"] = loss
        self.base = self.ends()

    def ends(self, run=None, weights=None, **options):
        return retrain(
            run or self.run,
            self.X,
            np.ones(len(self.X)),
            sample_weight=self.weights if weights is None else weights,
            **{**self.options, **options},
        )

    def value(self, *args, **options):
        ends = self.ends(*args, **options)
        X_val, y_val = self.case.validation()
        losses = [
            validation_loss(ends[e - 1], X_val, y_val, self.base[e - 1]).mean()
            for e in self.asked
        ]
        return np.mean(losses)

    def in_option(self, name, steps):
        """Differentiate in an option, the same change at some steps."""

        def moved(change):
            groups = copy.deepcopy(self.run.groups)
            for step in steps:
                for group in groups[step]:
                    if name == "momentum" and not group.get("momentum"):
                        first, second = group["betas"]
                        group["betas"] = (first + change, second)
                    else:
                        own = {"learning_rate": "lr"}.get(name, name)
                        group[own] += change
            return self.value(replace(self.run, groups=groups))

        # Fourth order, and short: the third derivatives of Adam and its kin are large.
        h = 1e-6
        near = moved(h) - moved(-h)
        far = moved(2 * h) - moved(-2 * h)
        return (8 * near - far) / (12 * h)

    def recipe(self, **options):
        return self.clf.recipe_influence(
            *self.case.validation(), at=list(self.asked), **options
        )


def compare(training):
    """Return the relative error of the options' derivatives in some epochs."""
    recipe = training.recipe()
    found, expected = [], []
    epochs = recipe.steps["epoch"]
    for name in recipe.epochs:
        for epoch in (1, 3):
            steps = epochs.index[epochs == epoch]
            found.append(recipe.epochs.loc[epoch, name])
            expected.append(training.in_option(name, steps))
    assert len(found) >= 4
    assert np.abs(expected).max() > 1e-6
    return relative_error(np.array(found), np.array(expected))


@pytest.mark.parametrize(
    "case",
    [
        *(Case(module, "momentum") for module in MODULES),
        *(Case("mlp", optimizer, weighted=True) for optimizer in KNOWN),
    ],
    ids=lambda case: f"{case.module}-{case.optimizer}",
)
def test_options_equal_finite_differences(case):
    assert compare(Training(case)) <= TOLERANCE


@pytest.mark.slow
def test_options_of_a_compiled_run():
    assert compare(Training(Case("mlp", "momentum"), compile=True)) <= TOLERANCE


def schedule():
    return LRScheduler("StepLR", step_size=2, gamma=0.5, step_every="batch")


@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
def test_with_a_schedule_and_clipping_along_the_path(optimizer):
    training = Training(
        Case("mlp", optimizer),
        at=[1, 2, 3],
        clip=lambda parameters: clip_grad_norm_(parameters, 0.2),
        callbacks=[GradientNormClipping(0.2), schedule()],
    )
    assert compare(training) <= TOLERANCE
    rates = training.recipe().options["learning_rate"]
    assert list(rates) == sorted(rates, reverse=True)


def test_single_steps_and_parameter_groups():
    groups = [("*.bias", {"lr": 0.3, "weight_decay": 0.02})]
    training = Training(Case("mlp", "adam", {"optimizer__param_groups": groups}))
    steps = training.recipe().steps
    for step in (0, 4, len(steps) - 1):
        for name in ("learning_rate", "weight_decay"):
            expected = training.in_option(name, [step])
            # Of one step it is smaller than of all: relative to that of its column.
            largest = steps[name].abs().max()
            assert abs(steps.loc[step, name] - expected) <= TOLERANCE * largest
    whole = training.recipe()
    np.testing.assert_allclose(
        whole.epochs, steps.groupby("epoch").sum(), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("class_weight", [None, {0: 0.5, 1: 1.0, 2: 3.0}])
@pytest.mark.parametrize("weighted", [False, True])
def test_class_weights(class_weight, weighted):
    case = Case("mlp", "momentum", {"class_weight": class_weight}, weighted=weighted)
    training = Training(case)
    own = np.ones(len(training.y)) if training.weights is None else training.weights
    X_val, y_val = case.validation()
    by_class = class_weight or dict.fromkeys(range(3), 1.0)
    # The query's weights are those of the run, whatever the run's would be.
    shares = compute_sample_weight(by_class, y_val)

    def value(weights):
        ends = training.ends(weights=own * compute_sample_weight(weights, training.y))
        return np.average(validation_loss(ends[-1], X_val, y_val), weights=shares)

    expected = []
    for label, weight in by_class.items():
        up, down = (
            value({**by_class, label: weight + change}) for change in (2e-6, -2e-6)
        )
        expected.append((up - down) / 4e-6)
    found = training.recipe().class_weight
    assert list(found.index) == [0, 1, 2]
    assert relative_error(found.to_numpy(), np.array(expected)) <= TOLERANCE


@pytest.mark.parametrize("smoothing", [0.1, 0.6])
def test_label_smoothing(smoothing):
    def loss_with(amount):
        def loss(outputs, targets):
            return nn.functional.cross_entropy(
                outputs, targets, reduction="none", label_smoothing=amount
            )

        return loss

    case = Case("dropout", "adam", weighted=True)
    training = Training(
        case, loss=loss_with(smoothing), criterion__label_smoothing=smoothing
    )

    X_val, y_val = (torch.from_numpy(part) for part in case.validation())

    def value(change):
        end = training.ends(loss=loss_with(smoothing + change))[-1].eval()
        with torch.no_grad():
            return float(loss_with(smoothing)(end(X_val), y_val).mean())

    expected = (value(1e-5) - value(-1e-5)) / 2e-5
    recipe = training.recipe()
    assert recipe.label_smoothing == pytest.approx(expected, rel=TOLERANCE)
    # The samples' weights are still right beside it.
    influence = training.clf.influence(*case.validation())
    in_class = recipe.class_weight.sum()
    shares = np.bincount(training.y, training.weights) / training.weights.sum()
    own = -np.bincount(training.y, influence) + shares * influence.sum()
    assert in_class == pytest.approx(own.sum(), rel=1e-9, abs=1e-12)


def test_initial_weights():
    training = Training(Case("mlp", "adam"))
    found = training.recipe().initial_weights
    names = [name for name, _ in training.run.module.named_parameters()]
    assert list(found) == names
    rng = np.random.default_rng(0)
    moved = {name: rng.normal(size=value.shape) for name, value in found.items()}

    def value(step):
        run = replace(training.run)
        run.module, run.optimizer = copy.deepcopy((run.module, run.optimizer))
        with torch.no_grad():
            for name, parameter in run.module.named_parameters():
                parameter += step * torch.from_numpy(moved[name])
        return training.value(run)

    expected = (value(2e-6) - value(-2e-6)) / 4e-6
    along = sum((found[name] * moved[name]).sum() for name in names)
    assert along == pytest.approx(expected, rel=TOLERANCE)


def test_of_the_last_epochs_only():
    training = Training(Case("mlp", "momentum"))
    whole, last = training.recipe(), training.recipe(last_epochs=1)
    assert (last.epochs.loc[:2] == 0).all(axis=None)
    assert last.epochs.loc[3].to_numpy() == pytest.approx(whole.epochs.loc[3])


def test_a_regressor_has_no_class_weights():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=12)
    reg = SGDInfluenceRegressor("linear", random_state=0, max_epochs=2).fit(X, y)
    recipe = reg.recipe_influence(X, y)
    assert recipe.class_weight is None
    assert recipe.label_smoothing is None
    assert list(recipe.epochs.columns) == ["learning_rate", "weight_decay"]


def test_refuses_an_optimizer_whose_rate_acts_later():
    clf = Case("mlp", "asgd").fitted()
    with pytest.raises(UnsupportedOptimizerError, match=r"got ASGD.*Use SGD"):
        clf.recipe_influence(*Case().validation())


def test_single_precision_is_that_of_double():
    X, y, _ = Case().data()
    X_val, y_val = Case().validation()

    def rates(dtype):
        clf = SGDInfluenceClassifier(
            MODULES["mlp"], dtype=dtype, batch_size=5, max_epochs=3, random_state=0
        ).set_params(**OPTIMIZERS["adam"])
        return clf.fit(X, y).recipe_influence(X_val, y_val).epochs["learning_rate"]

    # Single precision, through 9 steps.
    error = relative_error(rates("float32").to_numpy(), rates("float64").to_numpy())
    assert error < 1e-4
