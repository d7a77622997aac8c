"""Trainings that something unrecorded changes on the way: noticed, or the right value.

Only early epochs differ from what the fitted net does, so that nothing shows in the
last step. Each of these gave scores that were wrong by 6 to 60 % before every step that
is taken again was compared with its record.
"""

import random

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.exceptions import (
    IrreproducibleStepError,
    NondeterminismWarning,
    UnsupportedModuleError,
)
from tests.cases import SIDE, Case, dropout, mlp, pairwise

EPOCHS = 4


class AtEpoch(Callback):
    """Does something before an epoch, counted from 1."""

    def __init__(self, epoch, change):
        self.epoch = epoch
        self.change = change

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch:
            self.change(net)


def set_smoothing(net):
    net.criterion_.label_smoothing = 0.1


def drop_nothing(net):
    for module in net.module_.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def remove(net):
    net.handle_.remove()


def clip_early(net):
    def clip(parameter):
        parameter.grad.clamp_(-0.01, 0.01)

    first = next(net.module_.parameters())
    net.handle_ = first.register_post_accumulate_grad_hook(clip)


def halve_gradients(net):
    last = [*net.module_.parameters()][-1]
    net.handle_ = last.register_hook(lambda gradient: 0.5 * gradient)


def clear_gradients(net):
    def clear(parameter):
        parameter.grad.zero_()

    last = [*net.module_.parameters()][-1]
    net.handle_ = last.register_post_accumulate_grad_hook(clear)


class WarmUp(SGDInfluenceClassifier):
    """Weighs the loss by the epoch."""

    def get_losses(self, y_pred, y_true, X=None, training=False):
        losses = super().get_losses(y_pred, y_true, X=X, training=training)
        early = training and len(self.history) == 1
        return 0.5 * losses if early else losses


class ChangesBatches(SGDInfluenceClassifier):
    """Changes the batch in place, in the first epoch."""

    def infer(self, x, **fit_params):
        if self.module_.training and len(self.history) == 1:
            x = x + 0.3
        return super().infer(x, **fit_params)


class Dropped(nn.Module):
    """Skips its middle layer by chance, with generators that are not torch's."""

    def __init__(self, draw):
        super().__init__()
        self.draw = draw
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 6), nn.Tanh())
        self.middle = nn.Linear(6, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, X):
        hidden = self.first(X)
        if not self.training or self.draw() < 0.5:
            hidden = torch.tanh(self.middle(hidden))
        return self.last(hidden)


def dropped(draw=lambda: 0.0):
    return lambda: Dropped(draw)


def drawing_from(draw):
    """Return what lets a module draw later than in its first step."""

    def begin(net):
        net.module_.draw = draw

    return begin


CHANGES = {
    "criterion": {"callbacks": [AtEpoch(2, set_smoothing)]},
    "dropout": {"module": dropout, "callbacks": [AtEpoch(EPOCHS, drop_nothing)]},
    "losses": {"cls": WarmUp},
    "batch": {"cls": ChangesBatches},
    # Hooks on parameters would be refused in the first step.
    "clipping": {"callbacks": [AtEpoch(2, clip_early), AtEpoch(3, remove)]},
    "hook": {"callbacks": [AtEpoch(2, halve_gradients), AtEpoch(3, remove)]},
    "gradient": {"callbacks": [AtEpoch(2, clear_gradients), AtEpoch(3, remove)]},
    "random": {
        "module": dropped(),
        "callbacks": [AtEpoch(2, drawing_from(random.random))],
    },
    "np.random": {
        "module": dropped(),
        "callbacks": [AtEpoch(2, drawing_from(np.random.random_sample))],
    },
}


def fitted(module=mlp, cls=SGDInfluenceClassifier, **options):
    X, y, _ = Case().data()
    options = {"lr": 0.1, "max_epochs": EPOCHS, "batch_size": 5, **options}
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    return cls(module, dtype="float64", random_state=0, **options).fit(X, y)


@pairwise(change=CHANGES, optimizer=[torch.optim.SGD, torch.optim.Adam], every=[1, 5])
def test_a_change_that_is_not_recorded_is_noticed(change, optimizer, every):
    clf = fitted(**CHANGES[change], optimizer=optimizer, checkpoint_every=every)
    X_val, y_val = Case().validation()
    message = r"Step \d+ \(epoch \d\) gave a different result when it was repeated"
    for ask in (
        lambda: clf.influence(X_val, y_val),
        lambda: clf.influence(X_val, y_val, verify=1),
        lambda: clf.label_influence(X_val, y_val),
        lambda: clf.influence_by_epoch(X_val, y_val),
        lambda: clf.counterfactual_influence(X_val, y_val, [0, 3]),
        lambda: clf.check_influence(X_val, y_val, n_samples=4),
        lambda: clf.refit_without([0]),
    ):
        with pytest.raises(IrreproducibleStepError, match=message):
            ask()


DRAWS = random.random, lambda: np.random.random_sample()  # noqa: NPY002


@pytest.mark.parametrize("draw", DRAWS)
def test_what_draws_in_the_first_step_is_refused_before_it(draw):
    with pytest.raises(UnsupportedModuleError, match="NumPy's or Python's"):
        fitted(module=dropped(draw))


@pytest.mark.parametrize("every", [1, 3])
def test_the_error_names_the_first_step_that_differs(every):
    clf = fitted(callbacks=[AtEpoch(3, set_smoothing)], checkpoint_every=every)
    # From epoch 3 on the criterion is what it is now: the steps before differ.
    with pytest.raises(IrreproducibleStepError, match=r"Step 0 \(epoch 1\).*its loss"):
        clf.influence(*Case().validation())
    assert np.abs(clf.influence(*Case().validation(), last_epochs=2)).max() > 0


def test_a_run_whose_steps_agree_is_not_refused():
    # A callback that changes nothing in training, and one that evaluates.
    def evaluate(net):
        net.predict(Case().data()[0])
        torch.rand(3)

    clf = fitted(dropout, callbacks=[AtEpoch(2, evaluate)])
    plain = fitted(dropout)
    scores = clf.influence(*Case().validation())
    np.testing.assert_array_equal(scores, plain.influence(*Case().validation()))


# --- rounding is not another step ---------------------------------------------------


def images(seed=0, n=40):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 1, 8, 8)).astype(np.float32)
    return X, (X.mean((1, 2, 3)) > 0).astype(int)


def convolution():
    # The convolution's bias is taken out again by BatchNorm: its gradient is rounding.
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=True),
        nn.BatchNorm2d(4),
        nn.Softplus(),
        nn.Flatten(),
        nn.Linear(144, 2),
    )


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def wide():
    return nn.Sequential(nn.Linear(784, 300), nn.Tanh(), nn.Linear(300, 10))


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("trained", [1, 2])
def test_another_number_of_threads_is_no_other_run(trained, every, threads):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(256, 784)).astype(np.float32)
    y = rng.integers(0, 10, 256)
    threads(trained)
    clf = SGDInfluenceClassifier(
        wide, max_epochs=2, batch_size=64, checkpoint_every=every, random_state=0
    ).fit(X, y)
    scores = clf.influence(X[:50], y[:50])
    states = [record.digest for record in clf.trajectory_.records]
    threads(3 - trained)
    # Recomputed states have the same bits: what differs is the order of additions on
    # the way back, some eps of single precision of the largest score.
    again = clf.influence(X[:50], y[:50])
    np.testing.assert_allclose(again, scores, atol=1e-4 * np.abs(scores).max())
    assert torch.get_num_threads() == 3 - trained
    assert (states[0] is None) == (every == 1)


@pytest.mark.parametrize("every", [1, 3])
def test_a_bias_before_batch_norm_under_adam(every):
    X, y = images()
    clf = SGDInfluenceClassifier(
        convolution,
        optimizer=torch.optim.Adam,
        lr=0.01,
        batch_size=10,
        max_epochs=3,
        checkpoint_every=every,
        random_state=0,
    ).fit(X, y)
    assert np.isfinite(clf.influence(X, y)).all()
    assert np.isfinite(clf.counterfactual_influence(X, y, [0])).all()


@pytest.mark.parametrize("every", [1, 3])
def test_channels_last_is_kept(every, recwarn):
    X, y = images()

    def module():
        return convolution().to(memory_format=torch.channels_last)

    clf = SGDInfluenceClassifier(
        module, batch_size=10, max_epochs=3, checkpoint_every=every, random_state=0
    ).fit(X, y)
    assert np.isfinite(clf.influence(X, y)).all()
    assert not [w for w in recwarn if w.category is NondeterminismWarning]
