"""An interrupt ends a call, and leaves nothing that is half-trained."""

import contextlib
import copy
import json
import signal
import sys
import threading

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping

from skinfluence import InfluenceCleaner, SGDInfluenceClassifier, Trajectory
from skinfluence._interrupts import deferred_interrupts, exiting, told_apart
from tests import fresh

OPTIONS = {
    "module__hidden_layer_sizes": (4,),
    "optimizer": torch.optim.Adam,
    "lr": 0.01,
    "max_epochs": 3,
    "batch_size": 8,
    "random_state": 0,
}


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def interruptible():
    """Have Python's own handler, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def after(monkeypatch):
    """Interrupt the n-th step from now on, in its middle, by a signal."""
    left, step = [-1], torch.optim.Adam.step
    sent = [signal.SIGINT]

    def interrupted(optimizer, closure=None):
        loss = step(optimizer, closure)
        first = optimizer.param_groups[0]["params"][0]
        # A state's size is found by a step of a single number: that is no training.
        left[0] -= first.numel() > 1
        if left[0] == 0:
            left[0] = -1
            with torch.no_grad():
                # As if only this parameter had been changed by a part of a step.
                first.add_(1.0)
            signal.raise_signal(sent[0])
        return loss

    monkeypatch.setattr(torch.optim.Adam, "step", interrupted)

    def arm(n, number=signal.SIGINT):
        left[0], sent[0] = n, number

    return arm


def weights(net):
    return [p.detach().clone() for p in net.module_.parameters()]


def same(one, other):
    return all(map(torch.equal, one, other))


@pytest.mark.parametrize("n", [1, 3, 5, 11])
def test_fit_raises_and_leaves_the_estimator_as_it_was(after, n):
    X, y = data()
    clf = SGDInfluenceClassifier(**OPTIONS)
    after(n)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    assert not hasattr(clf, "classes_inferred_")
    clf.fit(X, y)
    before, scores = weights(clf), clf.influence(X, y)
    after(n)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    assert same(weights(clf), before)
    np.testing.assert_array_equal(clf.influence(X, y), scores)


@pytest.mark.parametrize("checkpoint_every", [1, 4])
@pytest.mark.parametrize("n", [1, 3, 5, 8])
def test_training_on_stops_after_a_whole_step(after, n, checkpoint_every):
    X, y = data()
    clf = SGDInfluenceClassifier(checkpoint_every=checkpoint_every, **OPTIONS).fit(X, y)
    whole = copy.deepcopy(clf)
    after(n)
    with pytest.raises(KeyboardInterrupt):
        clf.partial_fit(X, y)
    n_steps = clf.trajectory_.n_steps
    assert n_steps == clf.n_steps_ == 15 + n - 1
    # The oracle: the same training without an interrupt, read at that step.
    whole.partial_fit(X, y)
    state = whole.trajectory_.state(n_steps) if checkpoint_every == 1 else None
    if state is not None:
        flat = torch.cat([w.flatten() for w in weights(clf)])
        assert torch.equal(flat, state.parameters)
    # What is recorded is what the model is: it can be retraced and trained on.
    assert np.isfinite(clf.influence(X, y)).all()
    clf.partial_fit(X, y)
    assert np.isfinite(clf.influence(X, y)).all()


def test_a_run_on_disk_is_not_finished_and_can_be_resumed(after, tmp_path):
    X, y = data()
    options = {"trajectory_dir": tmp_path, **OPTIONS}
    after(7)
    with pytest.raises(KeyboardInterrupt):
        SGDInfluenceClassifier(**options).fit(X, y)
    (folder,) = tmp_path.iterdir()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["content"]["finished"] is False
    resumed = SGDInfluenceClassifier(**options).fit(X, y, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    unbroken = SGDInfluenceClassifier(**OPTIONS).fit(X, y)
    assert same(weights(resumed), weights(unbroken))


def test_skorchs_way_on_request(tmp_path):
    X, y = data()

    class Interrupt(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            if training and net.run_.n_steps == 7:
                signal.raise_signal(signal.SIGINT)

    clf = SGDInfluenceClassifier(
        callbacks=[Interrupt()],
        stop_on_interrupt=True,
        trajectory_dir=tmp_path,
        **OPTIONS,
    ).fit(X, y)
    assert clf.trajectory_.n_steps == 7
    assert np.isfinite(clf.influence(X, y)).all()
    (folder,) = tmp_path.iterdir()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["content"]["finished"] is False


def test_a_callback_that_ends_the_training_is_no_interrupt(tmp_path):
    X, y = data()
    stop = EarlyStopping("train_loss", patience=1, threshold=10.0)
    options = {**OPTIONS, "max_epochs": 9, "trajectory_dir": tmp_path}
    clf = SGDInfluenceClassifier(callbacks=[stop], **options).fit(X, y)
    assert clf.n_epochs_ < 9
    (folder,) = tmp_path.iterdir()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["content"]["finished"] is True


def test_a_cleaner_caches_nothing_of_an_interrupted_fold(after, tmp_path):
    X, y = data()
    net = SGDInfluenceClassifier(**OPTIONS)
    options = {"n_remove": 4, "cv": 2, "random_state": 0}
    expected = InfluenceCleaner(net, **options).fit(X, y)
    cleaner = InfluenceCleaner(net, memory=str(tmp_path), **options)
    after(13)  # in the second fold
    with pytest.raises(KeyboardInterrupt):
        cleaner.fit(X, y)
    cleaner.fit(X, y)
    np.testing.assert_array_equal(cleaner.influence_, expected.influence_)


def exit_by_signal(number, frame):
    raise SystemExit(7)


def test_sigterm_is_the_programs_own(after, tmp_path):
    """A handler of the program's own waits for the step's end, and closes the run."""
    X, y = data()
    options = {"trajectory_dir": tmp_path, **OPTIONS}
    handler = signal.signal(signal.SIGTERM, exit_by_signal)
    try:
        after(7, signal.SIGTERM)
        with pytest.raises(SystemExit, match="7"):
            SGDInfluenceClassifier(**options).fit(X, y)
        assert signal.getsignal(signal.SIGTERM) is exit_by_signal
    finally:
        signal.signal(signal.SIGTERM, handler)
    (folder,) = tmp_path.iterdir()
    run = Trajectory.load(folder)
    # Closed: its final state is on the disk, after the last whole step.
    assert run.n_steps == run.kept[-1] == 6
    resumed = SGDInfluenceClassifier(**options).fit(X, y, resume=True)
    unbroken = SGDInfluenceClassifier(**OPTIONS).fit(X, y)
    assert same(weights(resumed), weights(unbroken))


def test_sigterm_exits_where_that_is_asked_for():
    before = signal.getsignal(signal.SIGTERM)
    done = []

    def block():
        with exiting(), deferred_interrupts():
            signal.raise_signal(signal.SIGTERM)
            done.append(True)

    with pytest.raises(SystemExit) as raised:
        block()
    assert done == [True]
    assert raised.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_sigterm_stays():
    before = signal.signal(signal.SIGTERM, exit_by_signal)
    try:
        with exiting():
            assert signal.getsignal(signal.SIGTERM) is exit_by_signal
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_touches_no_signal():
    seen = []

    def block():
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        with exiting(), deferred_interrupts():
            now = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
            seen.append(now == before)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [True]


def test_an_interrupt_waits_for_the_end_of_a_block():
    done = []
    handler = signal.getsignal(signal.SIGINT)

    def block():
        with deferred_interrupts():
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_error_in_the_block_is_not_hidden():
    with pytest.raises(ZeroDivisionError), deferred_interrupts():
        1 / 0  # noqa: B018


class Interrupting(Callback):
    """Sends a signal after the seventh step, in a block that does not pass it on."""

    def on_batch_end(self, net, training=False, **kwargs):
        if training and net.run_.n_steps == 7:
            self.lose()


class Dropping(Interrupting):
    def lose(self):
        # As Python does with what is raised while it removes an object.
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


class Turning(Interrupting):
    def lose(self):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise RuntimeError("turned into another error") from error


@pytest.mark.parametrize("callback", [Dropping, Turning])
def test_an_interrupt_is_not_lost_in_other_code(callback):
    clf = SGDInfluenceClassifier(callbacks=[callback()], **OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*data())
    assert not hasattr(clf, "trajectory_")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("n_calls", [0, 1, 2])
def test_an_interrupt_as_the_handler_is_exchanged_is_raised(monkeypatch, n_calls):
    real, calls = signal.signal, []

    def calling():
        frame = sys._getframe(2)
        while frame := frame.f_back:
            yield frame.f_code

    def exchange(number, handler):
        before = real(number, handler)
        # The first calls are those around the loop: its handler, and back.
        if number == signal.SIGINT and told_apart_code in calling():
            calls.append(handler)
            if len(calls) == n_calls:
                raise KeyboardInterrupt
        return before

    told_apart_code = told_apart.__wrapped__.__code__
    monkeypatch.setattr(signal, "signal", exchange)
    clf = SGDInfluenceClassifier(**OPTIONS)
    if not n_calls:
        clf.fit(*data())
        assert len(calls) == 2
        return
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*data())
    # The second comes when all steps are done: what is kept is whole, or nothing.
    assert getattr(clf, "trajectory_", None) is None or clf.trajectory_.n_steps == 15


IMPORTING = """
import os, signal, sys
import numpy as np
from skinfluence import SGDInfluenceClassifier

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "torch._dynamo.decorators":
            os.kill(os.getpid(), signal.SIGINT)

# In the background, interrupts are ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
assert "torch._dynamo" not in sys.modules
sys.meta_path.insert(0, Interrupting())
X, y = np.arange(20.0)[:, None], np.arange(20) % 2
clf = SGDInfluenceClassifier(max_epochs=1)
try:
    clf.fit(X, y)
except KeyboardInterrupt:
    print("interrupted", len(clf.fit(X, y).classes_))
"""


@pytest.mark.slow
def test_an_interrupt_leaves_no_half_of_torch():
    # A new process: this one has loaded all of torch.
    assert fresh.run(IMPORTING) == "interrupted 2\n"
