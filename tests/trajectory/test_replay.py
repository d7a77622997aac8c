"""Runs of which only some states are kept against runs that keep them all."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from torch import nn

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators import RecordedRun
from skinfluence.estimators._replica import Replica
from skinfluence.exceptions import IrreproducibleStepError, NondeterminismWarning
from skinfluence.training import State, TrainingStep
from skinfluence.trajectory import Replay, fewest_states
from tests.cases import Case

EPOCHS, STEPS = 7, 21


def size(clf):
    """Return the size of the largest state of a run."""
    run = clf.trajectory_
    return max(run.state(number).nbytes for number in run.kept)


def budget(n_states):
    return lambda whole: {"max_trajectory_bytes": n_states * size(whole)}


# Each plan from the run that keeps everything: what its estimator is given.
PLANS = {
    "2": lambda whole: {"checkpoint_every": 2},
    "3": lambda whole: {"checkpoint_every": 3},
    "4": lambda whole: {"checkpoint_every": 4},
    "5": lambda whole: {"checkpoint_every": 5},
    "100": lambda whole: {"checkpoint_every": 100},
    "root": budget(math.ceil(2 * math.sqrt(STEPS))),
    "log": budget(fewest_states(STEPS)),
}


def same_state(one, other):
    known = min(len(one.parameters), len(other.parameters))
    pairs = [
        (one.parameters[:known], other.parameters[:known]),
        *((one.moments[k][:known], other.moments[k][:known]) for k in other.moments),
        *zip(one.buffers, other.buffers, strict=True),
    ]
    count = min(len(one.scalars), len(other.scalars))
    return (
        all(torch.equal(a, b) for a, b in pairs)
        and one.moments.keys() == other.moments.keys()
        and one.scalars[:count] == other.scalars[:count]
    )


class Thaw(Callback):
    """Trains a layer from the fifth step on only."""

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            net.module_[1].weight.requires_grad_(net.run_.n_steps >= 4)


class Renew(Callback):
    """Sets BatchNorm's statistics anew at each epoch's end."""

    def on_epoch_end(self, net, **kwargs):
        net.module_[1].running_mean.add_(0.3)


class Score(Callback):
    """Scores the third epoch best."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("score", abs(len(net.history) - 3))


def stopping():
    return [Score(), EarlyStopping("score", patience=3, load_best=True)]


RUNS = {
    "sgd": (Case("mlp", "sgd"), {}),
    "momentum": (Case("mlp", "momentum", weighted=True), {}),
    "adam": (Case("mlp", "adam"), {}),
    "dropout": (Case("dropout", "momentum"), {}),
    "batch_norm": (Case("batch_norm", "adam"), {}),
    "renewed": (Case("batch_norm", "momentum"), {"callbacks": lambda: [Renew()]}),
    "thawed": (Case("mlp", "momentum"), {"callbacks": lambda: [Thaw()]}),
    "stopped": (Case("batch_norm", "momentum"), {"callbacks": stopping}),
    "last_two": (Case("mlp", "momentum"), {"record": 2}),
}


PAIRS = [
    (name, plan)
    for name in RUNS
    for plan in PLANS
    # The plans are made for all epochs; two leave them room for every state. A state
    # that is renewed at each epoch's end is too much for the smallest one.
    if (name, plan) not in {("last_two", "root"), ("last_two", "log")}
    and (name, plan) != ("renewed", "log")
]


def fitted(name, **more):
    case, options = RUNS[name]
    options = {k: v() if callable(v) else v for k, v in options.items()}
    return case.fitted(max_epochs=EPOCHS, **options, **more)


@pytest.fixture(scope="module")
def whole():
    made = {}

    def get(name):
        if name not in made:
            made[name] = fitted(name, checkpoint_every=1)
        return made[name]

    return get


@pytest.fixture(scope="module")
def thinned(whole):
    """Runs of which some states are kept: asking does not change them."""
    return cache(lambda name, plan: fitted(name, **PLANS[plan](whole(name))))


def answers(clf, case):
    """Return the influence by questions of all sorts."""
    return [
        clf.influence(*case.validation(), **options)
        for options in (
            {},
            {"at": "path"},
            {"at": [clf.trajectory_.n_epochs - 1]},
            {"last_epochs": 2},
            {"at": "epochs", "last_epochs": 1, "aggregate": None},
        )
    ]


@pytest.fixture(scope="module")
def asked(whole):
    return cache(lambda name: answers(whole(name), RUNS[name][0]))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "plan"), PAIRS)
def test_influence_is_the_same_to_the_bit(name, plan, whole, thinned, asked):
    full, part, case = whole(name), thinned(name, plan), RUNS[name][0]
    assert len(part.trajectory_.kept) < len(full.trajectory_.kept)
    assert part.trajectory_.n_steps == full.trajectory_.n_steps
    assert part.trajectory_.first_recorded_step == full.trajectory_.first_recorded_step
    for found, expected in zip(answers(part, case), asked(name), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("plan", ["2", "5", "root", "log"])
@pytest.mark.parametrize("name", ["momentum", "batch_norm", "stopped", "last_two"])
def test_repeating_the_run_is_the_same_to_the_bit(name, plan, whole, thinned):
    full, part, case = whole(name), thinned(name, plan), RUNS[name][0]
    for way in ("epochs", "final"):
        found, expected = (
            clf.counterfactual_influence(*case.validation(), [0, 3, 9], at=way)
            for clf in (part, full)
        )
        # Which way is faster is found by trial, and they round each in its own way.
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)
    again, expected = part.refit_without([2, 7]), full.refit_without([2, 7])
    assert same_state(again.trajectory_.final, expected.trajectory_.final)
    assert len(again.trajectory_.kept) <= len(part.trajectory_.kept) + 1
    np.testing.assert_array_equal(
        again.influence(*case.validation(), at="path"),
        expected.influence(*case.validation(), at="path"),
    )


def test_the_error_bound_is_the_same_to_the_bit():
    case = Case()
    X, y, _ = case.data()
    X_val, y_val = case.validation()
    X, X_val = X.reshape(len(X), -1), X_val.reshape(len(X_val), -1)

    def bound(every):
        clf = SGDInfluenceClassifier(
            "linear", max_epochs=4, batch_size=8, random_state=0, checkpoint_every=every
        )
        clf.fit(X, y)
        start = clf.trajectory_.first_step_of_last(2)
        assert (start in clf.trajectory_.kept) == (every == 1)
        return clf.influence_error_bound(X_val, y_val, last_epochs=2)

    np.testing.assert_array_equal(bound(5), bound(1))


@pytest.mark.parametrize(("name", "plan"), PAIRS)
def test_recomputed_states_are_the_recorded_ones(name, plan, whole, thinned):
    full, part = whole(name), thinned(name, plan)
    run = part.trajectory_
    step, _ = RecordedRun.of(part).repeatable()
    replay = Replay(run, step)
    numbers = range(run.first_recorded_step, run.n_steps + 1)
    for number in numbers:
        assert same_state(replay.state(number), full.trajectory_.state(number))
    for number in (run.first_recorded_step - 1, run.n_steps + 1):
        with pytest.raises(KeyError):
            replay.state(number)
    walked = list(numbers)[:-1]
    for record, before, after in replay.backwards(run.n_steps, numbers[0]):
        assert record.step == walked.pop()
        assert same_state(before, full.trajectory_.state(record.step))
        assert same_state(after, full.trajectory_.state(record.step + 1))
    assert walked == []


# --- how many states there are -------------------------------------------------------


@pytest.fixture
def alive(monkeypatch, whole):
    """Count the states that are alive."""
    whole("momentum")  # the run compared with is made before the counting begins

    class Counted(State):
        __slots__ = ()
        now = peak = 0

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            Counted.now += 1
            Counted.peak = max(Counted.peak, Counted.now)

        def __del__(self):
            Counted.now -= 1

    monkeypatch.setattr("skinfluence.training._flat.State", Counted)
    return Counted


@pytest.mark.parametrize("n_epochs", [EPOCHS, 22])
@pytest.mark.parametrize("kind", ["root", "log"])
def test_no_more_states_than_promised_are_alive(kind, n_epochs, alive, whole):
    n_steps = 3 * n_epochs
    limit = {
        "root": math.floor(2.2 * math.sqrt(n_steps)),
        "log": math.floor(2 * math.log2(n_steps)),
    }[kind]
    case, room = RUNS["momentum"][0], limit * size(whole("momentum"))
    clf = case.fitted(max_epochs=n_epochs, max_trajectory_bytes=room)
    run = clf.trajectory_
    # The states before and after the step at hand are read before they are kept.
    assert alive.peak <= len(run.kept) + 2 <= limit
    assert alive.now == len(run.kept)
    promised = run.schedule(n_steps).peak_states
    alive.peak = 0
    clf.influence(*case.validation(), at="path")
    assert alive.peak == promised <= limit
    assert alive.now == len(run.kept)


def test_the_plan_tells_how_many_steps_are_taken(monkeypatch):
    clf = fitted("adam", max_trajectory_bytes=8 * size(fitted("adam")))
    run = clf.trajectory_
    step, _ = RecordedRun.of(clf).repeatable()
    taken = []
    advance = TrainingStep.advance

    def counted(self, record, weights=None):
        taken.append(record.step)
        return advance(self, record, weights)

    monkeypatch.setattr(TrainingStep, "advance", counted)
    assert len(list(Replay(run, step).backwards(run.n_steps))) == STEPS
    assert len(taken) == run.schedule(run.n_steps).recomputed_steps > STEPS


@pytest.mark.slow
@pytest.mark.parametrize("how", ["partial_fit", "warm_start"])
def test_a_run_that_turns_out_longer_keeps_to_its_bound(how):
    case = RUNS["adam"][0]
    X, y, _ = case.data()
    full = case.fitted(warm_start=True)
    room = 11 * size(full)
    part = case.fitted(warm_start=True, max_trajectory_bytes=room)
    assert part.trajectory_.interval == 1
    for _ in range(6):
        for clf in (full, part):
            (clf.partial_fit if how == "partial_fit" else clf.fit)(X, y)
        run = part.trajectory_
        peak = run.schedule(run.n_steps).peak_states
        assert peak * size(full) <= room
        np.testing.assert_array_equal(
            part.influence(*case.validation(), at="path"),
            full.influence(*case.validation(), at="path"),
        )
    assert run.interval & (run.interval - 1) == 0 < run.interval - 1


class Unforeseen(torch.utils.data.Sampler):
    """Batches that do not tell how many they are."""

    def __iter__(self):
        yield from ([start, start + 1] for start in range(0, 14, 2))


def test_a_run_of_unknown_length_keeps_to_its_bound():
    options = {"iterator_train__batch_sampler": Unforeseen(), "max_epochs": 5}
    case = Case("dropout", "adam")
    full = case.fitted(**options)
    part = case.fitted(max_trajectory_bytes=12 * size(full), **options)
    assert part.trajectory_.n_steps == 35
    assert part.trajectory_.schedule(35).peak_states <= 12
    np.testing.assert_array_equal(
        part.influence(*case.validation()), full.influence(*case.validation())
    )


def test_calls_of_a_step_each_do_not_fill_the_memory():
    case = Case("mlp", "momentum")
    X, y, _ = case.data()
    more = {"max_epochs": 1, "batch_size": -1}
    full, room = case.fitted(**more), None
    full.partial_fit(X, y)
    room = 12 * size(full)
    part = case.fitted(max_trajectory_bytes=room, **more).partial_fit(X, y)
    for _ in range(30):
        full.partial_fit(X, y)
        part.partial_fit(X, y)
    assert part.trajectory_.schedule(32).peak_states <= 12
    np.testing.assert_array_equal(
        part.influence(*case.validation()), full.influence(*case.validation())
    )


def test_what_cannot_be_recomputed_is_forgotten_when_it_fills_the_memory():
    case = Case("mlp", "momentum", {"max_epochs": 30})

    class Nudge(Callback):
        def on_epoch_begin(self, net, **kwargs):
            net.module_[1].bias.data.add_(0.01)

    options = {"callbacks": [Nudge()], "record": 30}
    whole = case.fitted(**options)
    part = case.fitted(**options, max_trajectory_bytes=14 * size(whole))
    run = part.trajectory_
    assert run.schedule(90).peak_states <= 14
    assert 0 < run.first_recorded_step < 87
    np.testing.assert_array_equal(
        part.influence(*case.validation(), last_epochs=1),
        whole.influence(*case.validation(), last_epochs=1),
    )


# --- going back ----------------------------------------------------------------------


class PutBack(Callback):
    """Puts the parameters after some step back when training ends."""

    def __init__(self, step):
        self.step = step

    def on_batch_end(self, net, training=False, **kwargs):
        if training and net.run_.n_steps == self.step:
            self.state_ = {k: v.clone() for k, v in net.module_.state_dict().items()}

    def on_train_end(self, net, **kwargs):
        net.module_.load_state_dict(self.state_)


@pytest.mark.parametrize("number", [3, 4, 10, 20])
@pytest.mark.parametrize("plan", ["2", "5", "100", "log"])
def test_going_back_makes_the_state_whole_again(number, plan, whole):
    full, case = whole("adam"), RUNS["adam"][0]
    options = PLANS[plan](full)
    clf = case.fitted(max_epochs=EPOCHS, callbacks=[PutBack(number)], **options)
    assert clf.trajectory_.n_steps == number
    assert not clf.trajectory_.flaws
    # Its optimizer state too, which the callback knew nothing of.
    assert same_state(clf.trajectory_.final, full.trajectory_.state(number))


def test_an_interruption_within_an_epoch_leaves_a_whole_state(whole):
    class Interrupt(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            if net.run_.n_steps == 10:
                raise KeyboardInterrupt

    case = RUNS["adam"][0]
    clf = case.fitted(max_epochs=EPOCHS, callbacks=[Interrupt()], checkpoint_every=4)
    assert clf.trajectory_.n_steps == 10
    assert same_state(clf.trajectory_.final, whole("adam").trajectory_.state(10))


def test_an_error_within_an_epoch_leaves_a_whole_state(whole):
    class Fail(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            if net.run_.n_steps == 13:
                raise RuntimeError("no more")

    case = RUNS["adam"][0]
    X, y, _ = case.data()
    clf = case.fitted(callbacks=[Fail()], checkpoint_every=4)
    with pytest.raises(RuntimeError, match="no more"):
        clf.partial_fit(X, y)
    assert clf.trajectory_.n_steps == 13
    full = case.fitted().partial_fit(X, y)
    assert same_state(clf.trajectory_.final, full.trajectory_.state(13))
    assert np.abs(clf.influence(*case.validation())).max() > 0


# --- steps that do not repeat --------------------------------------------------------


class Careless(nn.Module):
    """Draws a little from a generator of its own, after the 12 steps of training.

    Before them a step that is another one when it is repeated would be refused.
    """

    calls = 0

    def __init__(self, scale=1e-9):
        super().__init__()
        self.layer = nn.Linear(36, 3)
        self.rng = np.random.default_rng(0)
        self.scale = scale

    def forward(self, X):
        self.calls += self.training
        noise = float(self.rng.normal()) if self.training and self.calls > 12 else 0.0
        return self.layer(X.flatten(1)) * (1.0 + self.scale * noise)


def careless(scale):
    X, y, _ = Case().data()
    return SGDInfluenceClassifier(
        Careless,
        module__scale=scale,
        dtype="float64",
        max_epochs=4,
        batch_size=5,
        random_state=0,
        checkpoint_every=4,
    ).fit(X, y)


def test_a_step_that_is_not_the_recorded_one_is_an_error():
    # Far above the rounding of a loss in double precision, eps^(2/3) = 4e-11.
    clf = careless(1e-7)
    run = clf.trajectory_
    step = Replica(clf).step(run)
    message = r"Step 0 \(epoch 1\) gave a different .*: its loss is"
    with pytest.raises(IrreproducibleStepError, match=message):
        list(Replay(run, step).backwards(12))
    with pytest.raises(IrreproducibleStepError, match=r"Step 4 \(epoch 2\)"):
        Replay(run, step).state(6)
    with pytest.raises(IrreproducibleStepError, match="Step 0 "):
        Replay(run, step).repeat(12)
    with pytest.raises(IrreproducibleStepError, match="Step 0 "):
        clf.influence(*Case().validation())


def test_steps_that_differ_by_rounding_are_a_warning_with_its_size():
    clf = careless(1e-13)
    run = clf.trajectory_
    step = Replica(clf).step(run)
    message = (
        r"Repeating steps \d+ to \d+ led to parameters that differ by \d\.\de-1[234] "
        r"of the distance .*use_deterministic_algorithms\(True\)"
    )
    with pytest.warns(NondeterminismWarning, match=message):
        list(Replay(run, step).backwards(12))
    with pytest.warns(NondeterminismWarning, match=message):
        Replay(run, step).repeat(12)
    with pytest.warns(NondeterminismWarning, match=message):
        clf.influence(*Case().validation())


# --- bad input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint_every": 0}, "'checkpoint_every' parameter .* Got 0"),
        ({"checkpoint_every": 1.5}, "'checkpoint_every' parameter .* Got 1.5"),
        ({"checkpoint_every": "often"}, "'checkpoint_every' .* Got 'often'"),
        ({"max_trajectory_bytes": 0}, "'max_trajectory_bytes' .* Got 0"),
        ({"max_trajectory_bytes": "4 GiB"}, "'max_trajectory_bytes' .* Got '4 GiB'"),
        (
            {"max_trajectory_bytes": 5000},
            r"`max_trajectory_bytes` must have room for 6 states of 3,\d+ bytes to "
            r"retrace 9 steps, \d+,\d+ bytes in all, got 5,000\. Raise it, record only",
        ),
        (
            {"max_trajectory_bytes": 24000, "checkpoint_every": 1},
            "`checkpoint_every` must leave room .* with 1 the run keeps 10 states of "
            r".* \(24,000\) has room for 7\. Use 'auto', or raise",
        ),
    ],
)
def test_bad_input(options, message):
    case = Case("mlp", "momentum")
    X, y, _ = case.data()
    clf = case.classifier(**options)
    with pytest.raises(ValueError, match=message):
        clf.fit(X, y)
    assert not hasattr(clf, "trajectory_")
