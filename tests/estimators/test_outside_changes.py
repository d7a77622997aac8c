"""What something other than the optimizer changes on the way: refused where it does."""

import copy

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, GradientNormClipping
from torch.optim.optimizer import (
    _global_optimizer_post_hooks,
    register_optimizer_step_post_hook,
)

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import (
    DivergedTrainingError,
    DivergenceWarning,
    IrreproducibleStepError,
)
from tests.cases import N_SAMPLES, Case, rough

pytestmark = rough


class Registers(Callback):
    """Registers something at the optimizer as training begins, and removes it."""

    def __init__(self, register):
        self.register = register

    def on_train_begin(self, net, **kwargs):
        self.handle_ = self.register(net)

    def on_train_end(self, net, **kwargs):
        if self.handle_ is not None:
            self.handle_.remove()


def from_step(change, after=4):
    """Return a hook of an optimizer that changes it from some step on."""

    def hook(optimizer, args, kwargs):
        hook.n_steps += 1
        if hook.n_steps > after:
            with torch.no_grad():
                change(optimizer)

    hook.n_steps = 0
    return hook


def at(event, change, after=4):
    """Return a callback that changes a net at each event from some step on."""

    class Hook(Callback):
        def _change(self, net, training=True, **kwargs):
            if net.run_.n_steps >= after:
                with torch.no_grad():
                    change(net)

    setattr(Hook, event, Hook._change)
    return Hook()


def first(net):
    return next(net.module_.parameters())


def add_noise(net):
    for parameter in net.module_.parameters():
        parameter.add_(0.01 * torch.randn_like(parameter))


def add_gradient_noise(net):
    for parameter in net.module_.parameters():
        parameter.grad.add_(0.01 * torch.randn_like(parameter))


def load_average(net):
    average = {k: 0.9 * v for k, v in net.module_.state_dict().items()}
    net.module_.load_state_dict(average)


def clear_momentum(net):
    for state in net.optimizer_.state.values():
        state["momentum_buffer"].zero_()


def renew_optimizer(net):
    net.initialize_optimizer()


def use_another_optimizer(net):
    net.optimizer_ = torch.optim.AdamW(net.module_.parameters())


# What is changed, by which hook, and where that shows first. Three steps make an epoch.
CHANGES = {
    "weight noise, before batches": (
        "on_batch_begin",
        add_noise,
        "between steps 3 and 4",
    ),
    "weight noise, after batches": ("on_batch_end", add_noise, "between steps 3 and 4"),
    "weight noise, after epochs": ("on_epoch_end", add_noise, "between steps 5 and 6"),
    "an average": ("on_epoch_begin", load_average, "between steps 5 and 6"),
    "values in `data`": (
        "on_batch_end",
        lambda net: first(net).data.mul_(0.9),
        "between steps 3 and 4",
    ),
    "another tensor in `data`": (
        "on_batch_end",
        lambda net: setattr(first(net), "data", 0.9 * first(net).data),
        "between steps 3 and 4",
    ),
    "momentum within an epoch": (
        "on_batch_end",
        clear_momentum,
        "between steps 3 and 4",
    ),
    "momentum of a new optimizer": (
        "on_epoch_begin",
        renew_optimizer,
        "between steps 5 and 6",
    ),
    "another kind of optimizer": (
        "on_batch_end",
        use_another_optimizer,
        "between steps 3 and 4",
    ),
    "weights with the gradients": ("on_grad_computed", add_noise, "in step 4"),
    "gradient noise": ("on_grad_computed", add_gradient_noise, "in step 4"),
    "a gradient in `data`": (
        "on_grad_computed",
        lambda net: first(net).grad.data.mul_(0.731),
        "in step 4",
    ),
    "another gradient": (
        "on_grad_computed",
        lambda net: setattr(first(net), "grad", 0.731 * first(net).grad),
        "in step 4",
    ),
    "no gradient": (
        "on_grad_computed",
        lambda net: setattr(first(net), "grad", None),
        "in step 4",
    ),
}


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 4}, {"record": "replay"}])
@pytest.mark.parametrize("change", CHANGES)
def test_refused_at_the_first_step(change, options):
    event, how, where = CHANGES[change]
    case = Case("mlp", "momentum", {"max_epochs": 4})
    message = rf"changed.* {where} by .* \(.*`Hook\.{event}`.*\)\. .* record=None"
    with pytest.raises(IrreproducibleStepError, match=message):
        case.fitted(callbacks=[at(event, how)], **options)
    case.fitted(callbacks=[at(event, how)], record=None)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("the gradients", lambda net: first(net).grad.mul_(0.5)),
        ("the parameters", add_noise),
    ],
)
def test_refused_between_the_batches_of_a_step(what, change):
    def within_step(net):
        if net.run_.n_taken:
            change(net)

    case = Case("mlp", "momentum", {"accumulate_steps": 2})
    with pytest.raises(
        IrreproducibleStepError, match=rf"{what}.* in step 4 .*`Hook.on_batch_begin`"
    ):
        case.fitted(callbacks=[at("on_batch_begin", within_step)])


class Averages(Callback):
    """Evaluates an average of the weights, and puts them back."""

    def on_train_begin(self, net, **kwargs):
        self.average_ = copy.deepcopy(net.module_.state_dict())

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            for name, value in net.module_.state_dict().items():
                average = self.average_[name]
                average.copy_(0.9 * average + 0.1 * value)

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        own = copy.deepcopy(net.module_.state_dict())
        net.module_.load_state_dict(self.average_)
        net.forward(dataset_train)
        net.module_.load_state_dict(own)


@pytest.mark.parametrize("every", [1, 4])
def test_what_is_put_back_before_the_next_step_is_no_change(every):
    case = Case("batch_norm", "adam")
    clf = case.fitted(callbacks=[Averages()], checkpoint_every=every)
    np.testing.assert_array_equal(
        clf.influence(*case.validation()), case.fitted().influence(*case.validation())
    )


@pytest.mark.parametrize("clipping", [[], [GradientNormClipping(0.1)]])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_divergence_is_told_as_that(optimizer, clipping):
    # NaN is unlike itself, and whatever it came from: not a change by a callback.
    case = Case("linear", optimizer, {"lr": 1e200, "max_epochs": 5})
    with pytest.warns(DivergenceWarning):
        clf = case.fitted(callbacks=clipping)
    assert clf.trajectory_.n_steps == 15
    with pytest.raises(DivergedTrainingError):
        clf.influence(*case.validation())


@pytest.mark.parametrize("call", ["partial_fit", "fit"])
def test_training_on_after_a_change_by_hand(call):
    # A change between two calls is noted: what comes after it can be retraced.
    case = Case("mlp", "momentum")
    X, y, _ = case.data()
    clf = case.fitted(warm_start=True)
    with torch.no_grad():
        add_noise(clf)
    getattr(clf, call)(X, y)
    with pytest.raises(IrreproducibleStepError, match="last_epochs=3"):
        clf.influence(*case.validation())
    assert np.abs(clf.influence(*case.validation(), last_epochs=3)).max() > 0


def test_a_refusal_while_training_goes_on_leaves_the_model_at_its_last_step():
    case = Case("mlp", "momentum")
    X, y, _ = case.data()
    hook = at("on_batch_end", add_noise, after=9 + 4)
    clf = case.fitted(callbacks=[hook])
    with pytest.raises(IrreproducibleStepError, match="between steps 12 and 13"):
        clf.partial_fit(X, y)
    assert clf.trajectory_.n_steps == 13
    assert clf.influence(*case.validation()).shape == (N_SAMPLES,)


def project(optimizer):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.clamp_(-0.1, 0.1)


def project_data(optimizer):
    parameter = optimizer.param_groups[0]["params"][0]
    parameter.data = 0.9 * parameter.data


def forget(optimizer):
    for state in optimizer.state.values():
        for name, value in state.items():
            if name != "step":
                value.mul_(0.5)


def slow_down(optimizer):
    optimizer.param_groups[0]["lr"] *= 0.5


def nothing(optimizer):
    sum(float(p.norm()) for p in optimizer.param_groups[0]["params"])


def clear(optimizer):
    optimizer.zero_grad(set_to_none=True)


def after_steps(change):
    return lambda net: net.optimizer_.register_step_post_hook(from_step(change))


def before_steps(change):
    return lambda net: net.optimizer_.register_step_pre_hook(from_step(change))


def globally(change):
    def register(net):
        hook, trained = from_step(change), net.optimizer_

        def own(optimizer, *rest):
            # Training is repeated with other optimizers: none of its business.
            if optimizer is trained:
                hook(optimizer, *rest)

        return register_optimizer_step_post_hook(own)

    return register


@pytest.fixture(autouse=True)
def _no_global_hooks():
    """Remove what a refused fit leaves behind."""
    yield
    _global_optimizer_post_hooks.clear()


def lookahead(net):
    """Replace the step by one that goes back half of the way each second time."""
    optimizer, own = net.optimizer_, net.optimizer_.step
    slow = [p.detach().clone() for p in net.module_.parameters()]
    count = iter(range(10**6))

    def step(closure=None):
        loss = own(closure)
        if next(count) % 5 == 4:
            with torch.no_grad():
                for p, q in zip(net.module_.parameters(), slow, strict=True):
                    p.copy_(q.lerp_(p, 0.5))
        return loss

    optimizer.step = step


# What is done around the optimizer's steps, and by what that is named.
AROUND_STEPS = {
    "projection": (after_steps(project), "hook"),
    "projection in `data`": (after_steps(project_data), "hook"),
    "noise": (
        after_steps(lambda o: o.param_groups[0]["params"][0].add_(0.1)),
        "hook",
    ),
    "moments": (after_steps(forget), "hook"),
    "learning rate": (after_steps(slow_down), "hook"),
    "projection before": (before_steps(project), "hook"),
    "for all optimizers": (globally(project), "own"),
    "lookahead": (lookahead, "step"),
}


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 4}, {"record": "replay"}])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("around", AROUND_STEPS)
def test_changes_around_the_optimizers_step_are_refused_in_it(
    around, optimizer, options
):
    register, name = AROUND_STEPS[around]
    case = Case("mlp", optimizer, {"max_epochs": 4})
    message = rf"changed in step 4 by what runs around .*{name}`\)\. .* record=None"
    with pytest.raises(IrreproducibleStepError, match=message):
        case.fitted(callbacks=[Registers(register)], **options)
    case.fitted(callbacks=[Registers(register)], record=None)


def test_the_epochs_after_a_change_around_a_step_can_be_retraced():
    def once(net):
        hook = from_step(project, after=4)

        def only_once(*args):
            hook(*args)
            if hook.n_steps > 4:
                handle.remove()

        handle = net.optimizer_.register_step_post_hook(only_once)

    case = Case("mlp", "momentum", {"max_epochs": 4})
    clf = case.fitted(callbacks=[Registers(once)], record=2)
    assert np.abs(clf.influence(*case.validation(), last_epochs=2)).max() > 0


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize(
    "register",
    [
        after_steps(nothing),
        after_steps(clear),
        before_steps(nothing),
        globally(nothing),
    ],
    ids=["after", "clears gradients", "before", "for all"],
)
def test_what_only_looks_at_the_optimizers_steps_is_no_change(
    register, optimizer, every
):
    case = Case("batch_norm", optimizer)
    clf = case.fitted(callbacks=[Registers(register)], checkpoint_every=every)
    plain = case.fitted()
    for one, other in zip(
        clf.module_.parameters(), plain.module_.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    np.testing.assert_array_equal(
        clf.influence(*case.validation()), plain.influence(*case.validation())
    )


def change_after_two(net):
    if net.run_.n_steps == 2:
        with torch.no_grad():
            net.module_.weight.mul_(0.99)


class OwnNotify(SGDInfluenceClassifier):
    def notify(self, method_name, **kwargs):
        super().notify(method_name, **kwargs)
        if method_name == "on_batch_end":
            change_after_two(self)


class OwnEpoch(SGDInfluenceClassifier):
    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        def stepping(batch, **params):
            step = step_fn(batch, **params)
            change_after_two(self)
            return step

        super().run_single_epoch(iterator, training, prefix, stepping, **fit_params)


class OwnIterator(SGDInfluenceClassifier):
    def get_iterator(self, dataset, training=False):
        for batch in super().get_iterator(dataset, training):
            change_after_two(self)
            yield batch


@pytest.mark.parametrize("kind", [OwnNotify, OwnEpoch, OwnIterator])
def test_a_loop_of_the_nets_own_is_watched(kind):
    """It may change the parameters within an epoch, where no callback does."""
    X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    net = kind(torch.nn.Linear(3, 2), max_epochs=1, batch_size=5, random_state=0)
    with pytest.raises(IrreproducibleStepError, match="between steps 1 and 2"):
        net.fit(X, np.arange(20) % 2)
