"""What is recorded of a run, and that recording it leaves the run as it is."""

import numpy as np
import pytest
import torch
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    Freezer,
    GradientNormClipping,
    LRScheduler,
    Unfreezer,
)
from skorch.dataset import ValidSplit
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    WeightedRandomSampler,
    default_collate,
)

from skinfluence import SGDInfluenceClassifier
from skinfluence.estimators import RecordedRun
from skinfluence.exceptions import (
    DivergenceWarning,
    InfluenceReliabilityWarning,
    IrreproducibleStepError,
)
from skinfluence.training import State
from tests.cases import MODULES, N_SAMPLES, OPTIMIZERS, Case, pairwise, rough
from tests.oracles import Spy, finite_differences, relative_error, validation_loss


def same_tensors(some, others):
    return all(torch.equal(*pair) for pair in zip(some, others, strict=True))


def weights(clf):
    return list(clf.module_.parameters())


def same_state(one, other):
    if len(one.parameters) > len(other.parameters):
        one = older(one, len(other.parameters), len(other.scalars))
    return (
        torch.equal(one.parameters, other.parameters)
        and one.moments.keys() == other.moments.keys()
        and all(torch.equal(one.moments[k], other.moments[k]) for k in one.moments)
        and one.scalars == other.scalars
        and same_tensors(one.buffers, other.buffers)
    )


def older(state, size, count):
    """Return a state without the parameters that were not trained yet."""
    return State(
        state.parameters[:size],
        {name: moment[:size] for name, moment in state.moments.items()},
        state.scalars[:count],
        state.buffers,
    )


def numbers(trajectory):
    """Return the steps, epochs and data sets of the records, one row a step."""
    return [(r.step, r.epoch, r.data) for r in trajectory.records]


# --- recording changes nothing -------------------------------------------------------


@rough
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_recording_changes_no_bit(module, optimizer):
    case = Case(module, optimizer, weighted=True)
    off = case.fitted(record=None)
    for record in ("all", 1):
        on = case.fitted(record=record)
        # Something was recorded: a shadowed mixin would pass the rest.
        assert on.trajectory_.n_steps == 9
        assert np.abs(on.influence(*case.validation())).max() > 0
        assert same_tensors(
            on.module_.state_dict().values(), off.module_.state_dict().values()
        )
        assert on.history[:, "train_loss"] == off.history[:, "train_loss"]
    assert off.trajectory_ is None
    assert (off.n_steps_, off.n_epochs_) == (9, 3)


def test_recording_changes_no_bit_of_what_is_trained_on():
    case = Case("dropout", "momentum")
    X, y, _ = case.data()
    runs = [case.fitted(record=record) for record in ("all", None)]
    for clf in runs:
        clf.partial_fit(X, y)
    assert same_tensors(*map(weights, runs))


def test_recording_changes_no_bit_after_going_back():
    # The seeds count the epochs that were undone, whether they are on record or not.
    case = Case("dropout", "momentum", {"max_epochs": 5})
    X, y, _ = case.data()
    runs = []
    for record in ("all", None):
        clf = case.fitted(record=record, callbacks=[GoBack(2)])
        runs.append(clf.partial_fit(X, y))
    assert runs[0].trajectory_.n_epochs == 2 + 5
    assert same_tensors(*map(weights, runs))


# --- what is recorded ----------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
def test_batches_are_those_a_spy_saw(shuffle, drop_last):
    case, spy = Case("linear"), Spy()
    X, y, _ = case.data()
    clf = case.fitted(
        shuffle=shuffle, iterator_train__drop_last=drop_last, callbacks=[spy]
    )
    records = clf.trajectory_.records
    assert [len(r.rows) for r in records] == ([5, 5] if drop_last else [5, 5, 4]) * 3
    for record, (inputs, targets) in zip(records, spy.run.batches, strict=True):
        np.testing.assert_array_equal(X[record.rows], inputs)
        np.testing.assert_array_equal(y[record.rows], targets)
    assert [r.epoch for r in records] == spy.run.epochs
    drawn = torch.cat([r.rows for r in records]).reshape(3, -1)
    assert shuffle == bool((drawn[0] != drawn[1]).any())


def test_rows_are_those_of_the_data_given_under_a_train_split():
    case, spy = Case("mlp", "momentum"), Spy()
    X, y, _ = case.data()
    held_out = []

    def split(dataset, y=None):
        train, valid = ValidSplit(0.3, random_state=7)(dataset, y)
        held_out.extend(int(row) for row in valid.indices)
        return train, valid

    clf = case.fitted(train_split=split, callbacks=[spy])
    for record, (inputs, targets) in zip(
        clf.trajectory_.records, spy.run.batches, strict=True
    ):
        np.testing.assert_array_equal(X[record.rows], inputs)
        np.testing.assert_array_equal(y[record.rows], targets)
    found = clf.influence(*case.validation())
    assert len(held_out) == 5
    assert found.shape == (N_SAMPLES,)
    trained = np.setdiff1d(np.arange(N_SAMPLES), held_out)
    assert (found[held_out] == 0).all()
    assert (found[trained] != 0).all()


def test_rows_under_a_split_of_a_split():
    case, spy = Case("linear"), Spy()
    X, _, _ = case.data()

    def split(dataset, y=None):
        some = Subset(dataset, range(3, N_SAMPLES))
        return Subset(some, [0, 2, 5, 6, 9]), Subset(some, [1, 3])

    clf = case.fitted(train_split=split, callbacks=[spy])
    for record, (inputs, _) in zip(
        clf.trajectory_.records, spy.run.batches, strict=True
    ):
        np.testing.assert_array_equal(X[record.rows], inputs)
    used = clf.influence(*case.validation()) != 0
    assert np.flatnonzero(used).tolist() == [3, 5, 8, 9, 12]


def test_weights_follow_their_rows_under_a_train_split():
    case, spy = Case("mlp", "momentum", weighted=True), Spy()
    sample_weight = case.data()[2]
    clf = case.fitted(train_split=ValidSplit(3), callbacks=[spy])
    expected = differences(case, spy, clf, sample_weight=sample_weight)
    assert relative_error(clf.influence(*case.validation()), expected) <= 1e-6


def differences(case, spy, clf, stop=None, **options):
    """Return the oracle's influence on the loss at the end, or at another epoch's."""
    X, _, _ = case.data()
    X_val, y_val = case.validation()

    def query(ends, base):
        at = -1 if stop is None else stop - 1
        return validation_loss(ends[at], X_val, y_val, base[at]).mean()

    # The seeds are the one thing that a plain loop cannot know.
    seeds = [record.seed or 0 for record in clf.trajectory_.records]
    seeds += [0] * (len(spy.run.batches) - len(seeds))
    return finite_differences(spy.run, X, query, seeds=seeds, **options)


@pytest.mark.parametrize(
    ("policy", "options", "name"),
    [
        ("StepLR", {"step_size": 2, "gamma": 0.5}, "lr"),
        ("CosineAnnealingLR", {"T_max": 9}, "lr"),
        (
            torch.optim.lr_scheduler.OneCycleLR,
            {"max_lr": 0.2, "total_steps": 9},
            "momentum",
        ),
    ],
)
def test_schedules_are_recorded(policy, options, name):
    spy = Spy()
    schedule = LRScheduler(policy, step_every="batch", **options)
    clf = Case("linear", "nesterov").fitted(callbacks=[spy, schedule])
    recorded = [r.hyperparameters[0][name] for r in clf.trajectory_.records]
    assert recorded == [groups[0][name] for groups in spy.run.groups]
    assert len(set(recorded)) > 2


def test_parameter_groups_are_recorded():
    spy = Spy()
    groups = [("*.bias", {"lr": 0.3})]
    clf = Case("mlp", options={"optimizer__param_groups": groups}).fitted(
        callbacks=[spy]
    )
    for record, seen in zip(clf.trajectory_.records, spy.run.groups, strict=True):
        assert [g["lr"] for g in record.hyperparameters] == [g["lr"] for g in seen]
    assert {g["lr"] for g in record.hyperparameters} == {0.3, 0.1}


def test_steps_that_draw_nothing_have_no_seed():
    assert all(r.seed is None for r in Case("mlp").fitted().trajectory_.records)
    seeds = [r.seed for r in Case("dropout").fitted().trajectory_.records]
    assert len(set(seeds)) == 9


# --- the same run every time ---------------------------------------------------------


class Draw(Callback):
    """Draws on the global generators wherever a callback can."""

    def _draw(self, net, **kwargs):
        torch.rand(3)
        np.random.rand(3)  # noqa: NPY002

    on_train_begin = on_epoch_begin = on_batch_begin = _draw
    on_batch_end = on_epoch_end = on_train_end = _draw


class NumpySampler(Sampler):
    """Draws on numpy's global generator, as many samplers do."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __iter__(self):
        yield from np.random.permutation(self.n).tolist()  # noqa: NPY002


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"train_split": ValidSplit(0.3)},
        {"train_split": ValidSplit(0.3, stratified=True)},
        {"iterator_train__sampler": NumpySampler(N_SAMPLES)},
        {"iterator_train__sampler": WeightedRandomSampler(np.ones(N_SAMPLES), 9)},
    ],
    ids=["plain", "split", "stratified", "numpy_sampler", "torch_sampler"],
)
def test_the_same_whatever_is_drawn_elsewhere(options):
    case = Case("dropout", "momentum")
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    one = case.fitted(**options)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    other = case.fitted(callbacks=[Draw()], **options)
    assert same_tensors(weights(one), weights(other))
    for mine, theirs in zip(
        one.trajectory_.records, other.trajectory_.records, strict=True
    ):
        assert torch.equal(mine.rows, theirs.rows)
    assert not same_tensors(
        weights(one), weights(case.fitted(random_state=1, **options))
    )


def generators():
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state(), torch.from_numpy(keys.copy()), torch.tensor(position)


def test_global_generators_are_left_where_they_were():
    case = Case("dropout", "momentum")
    X, y, _ = case.data()
    before = generators()
    clf = case.fitted(train_split=ValidSplit(0.3))
    assert same_tensors(generators(), before)
    clf.partial_fit(X, y)
    clf.predict(X)
    clf.influence(*case.validation())
    clf.influence(*case.validation(), aggregate=None)
    assert same_tensors(generators(), before)


def test_global_generators_are_left_where_they_were_by_datasets():
    case = Case("dropout")
    X, y, _ = case.data()
    dataset = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))
    before = generators()
    clf = case.classifier().fit(dataset)
    clf.influence(*case.validation())
    assert same_tensors(generators(), before)


def test_a_random_state_instance_is_drawn_from_once_a_fit():
    case = Case("linear")
    X, y, _ = case.data()
    clf = case.classifier(random_state=np.random.RandomState(0))
    one = [w.clone() for w in weights(clf.fit(X, y))]
    assert not same_tensors(one, weights(clf.fit(X, y)))
    again = case.fitted(random_state=np.random.RandomState(0))
    assert same_tensors(one, weights(again))


@pytest.mark.parametrize(
    "make", [MODULES["mlp"], lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3))]
)
def test_another_random_state_is_another_run(make):
    X, y, _ = Case().data()
    options = {"max_epochs": 0, "dtype": "float64"}
    one, other, again = (
        SGDInfluenceClassifier(make, random_state=seed, **options).fit(X, y)
        for seed in (0, 1, 0)
    )
    assert same_tensors(weights(one), weights(again))
    assert not torch.equal(weights(one)[0], weights(other)[0])


# --- repeating a step ----------------------------------------------------------------


def assert_repeats(clf):
    """Every step, taken again from its record, leads to the recorded bits."""
    trajectory = clf.trajectory_
    assert not trajectory.flaws
    step, _ = RecordedRun.of(clf).repeatable()
    for record in trajectory.records:
        again = step.forward(trajectory.state(record.step), record)
        assert same_state(again, trajectory.state(record.step + 1)), record.step


@pairwise(optimizer=OPTIMIZERS, module=MODULES, dtype=["float32", "float64"])
def test_a_step_repeats_to_the_bit(optimizer, module, dtype):
    case = Case(module, optimizer, weighted=True)
    assert_repeats(case.fitted(dtype=dtype, max_epochs=2))


class Clip(Callback):
    """Clips as users write it."""

    def __init__(self, clip):
        self.clip = clip

    def on_grad_computed(self, net, named_parameters, **kwargs):
        self.clip([parameter for _, parameter in named_parameters])


CLIPPING = {
    "skorch": lambda: GradientNormClipping(0.2),
    "skorch_inf": lambda: GradientNormClipping(0.01, float("inf")),
    "norm": lambda: Clip(lambda parameters: clip_grad_norm_(parameters, 0.2)),
    "value": lambda: Clip(lambda parameters: clip_grad_value_(parameters, 0.03)),
    "frozen": lambda: Freezer("1.weight"),
    "unfrozen": lambda: Unfreezer("1.weight", at=2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("module", ["dropout", "mlp"])
@pytest.mark.parametrize("clipping", CLIPPING)
def test_a_clipped_or_frozen_step_repeats_to_the_bit(clipping, module, dtype):
    case = Case(module, "adam", weighted=True)
    callbacks = [CLIPPING[clipping]()]
    if clipping == "unfrozen":
        callbacks.insert(0, Freezer("1.weight"))
    clf = case.fitted(dtype=dtype, callbacks=callbacks)
    free = case.fitted(dtype=dtype)
    assert not same_tensors(weights(clf), weights(free))
    assert_repeats(clf)


def wide():
    return nn.Sequential(
        nn.Linear(64, 100), nn.ReLU(), nn.Dropout(0.2), nn.Linear(100, 10)
    )


def odd_cnn():
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 7, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(7, 11, 2),
        nn.BatchNorm2d(11),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(44, 10),
    )


@pytest.fixture
def two_threads():
    count = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(count)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("module", "optimizer"), [(wide, "adam"), (odd_cnn, "nesterov")]
)
@pytest.mark.usefixtures("two_threads")
def test_wide_steps_repeat_to_the_bit_on_several_threads(optimizer, module, dtype):
    # Sums over wide layers are split into blocks, and over threads.
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(230, 64)).astype(dtype), rng.integers(0, 10, 230)
    clf = SGDInfluenceClassifier(
        module,
        max_epochs=1,
        batch_size=97,
        dtype=dtype,
        random_state=0,
        n_threads=None,
        **OPTIMIZERS[optimizer],
    )
    assert_repeats(clf.fit(X, y))


# --- how much is kept ----------------------------------------------------------------


@pytest.mark.parametrize("record", [1, 2, 3, 5])
def test_record_keeps_the_last_epochs_states(record):
    case = Case("mlp", "momentum")
    full, part = case.fitted(), case.fitted(record=record)
    first = max(0, 3 * (3 - record))
    assert numbers(part.trajectory_) == numbers(full.trajectory_)
    assert part.trajectory_.first_recorded_step == first
    for step in range(first, 10):
        assert same_state(part.trajectory_.state(step), full.trajectory_.state(step))
    for step in range(first):
        with pytest.raises(KeyError):
            part.trajectory_.state(step)
    kept = (full.trajectory_.state(step) for step in range(first, 10))
    assert part.trajectory_.nbytes == sum(state.nbytes for state in kept)
    np.testing.assert_array_equal(
        part.influence(*case.validation()),
        full.influence(*case.validation(), last_epochs=min(record, 3)),
    )


# --- training on ---------------------------------------------------------------------


@pytest.mark.parametrize("call", ["partial_fit", "warm_start"])
def test_training_on_the_same_data_appends(call):
    case, spy = Case("mlp", "adam", weighted=True), Spy()
    X, y, sample_weight = case.data()
    clf = case.fitted(warm_start=call == "warm_start", callbacks=[spy])
    train = clf.fit if call == "warm_start" else clf.partial_fit
    # Equal data is the same data, also where it is another object.
    train(X.copy(), y.copy(), sample_weight=sample_weight)
    assert numbers(clf.trajectory_) == [(t, t // 3 + 1, t // 9) for t in range(18)]
    assert clf.trajectory_.n_samples == N_SAMPLES
    assert_repeats(clf)
    # One long run to a plain loop, but for the seeds, which it does not use.
    assert len(spy.run.batches) == 18
    expected = differences(case, spy, clf, sample_weight=sample_weight)
    assert relative_error(clf.influence(*case.validation()), expected) <= 1e-6


def test_training_on_other_data_appends_its_rows():
    case = Case("mlp", "momentum")
    X, y, _ = case.data()
    more, labels = X[:4] + 1.0, y[:4]
    clf = case.fitted()
    clf.partial_fit(more, labels)
    clf.partial_fit(X, y)
    trajectory = clf.trajectory_
    assert trajectory.n_samples == N_SAMPLES + 4
    everything = np.concatenate([X, more])
    for record in trajectory.records:
        low, high = (N_SAMPLES, N_SAMPLES + 4) if record.data == 1 else (0, N_SAMPLES)
        assert low <= record.rows.min() <= record.rows.max() < high
    assert [r.data for r in trajectory.records] == [0] * 9 + [1] * 3 + [2] * 9
    assert_repeats(clf)
    assert clf.influence(*case.validation()).shape == (len(everything),)


def test_rows_are_never_given_twice():
    # A set that comes back keeps its rows; what is new comes after all there are.
    case = Case("linear")
    X, y, _ = case.data()
    clf = case.fitted()
    for X_more, y_more in ((X[:4] + 1, y[:4]), (X, y), (X[:3] + 2, y[:3])):
        clf.partial_fit(X_more, y_more)
    offsets = [data.offset for data in clf.training_data_]
    assert offsets == [0, N_SAMPLES, 0, N_SAMPLES + 4]
    assert clf.trajectory_.n_samples == N_SAMPLES + 7


def test_finite_differences_through_other_data():
    case, spy = Case("mlp", "momentum"), Spy()
    X, y, _ = case.data()
    more, labels = X[:4] + 1.0, y[:4]
    clf = case.fitted(callbacks=[spy]).partial_fit(more, labels)
    X_val, y_val = case.validation()
    expected = finite_differences(
        spy.run,
        np.concatenate([X, more]),
        lambda ends, base: validation_loss(ends[-1], X_val, y_val, base[-1]).mean(),
        seeds=[0] * 12,
    )
    assert relative_error(clf.influence(X_val, y_val), expected) <= 1e-6


def test_only_the_weights_differ():
    # The same samples with other weights: one set of rows, two sets of weights.
    case = Case("linear")
    X, y, _ = case.data()
    clf = case.fitted().partial_fit(X, y, sample_weight=np.arange(1.0, N_SAMPLES + 1))
    assert clf.trajectory_.n_samples == N_SAMPLES
    assert_repeats(clf)


def halve(samples):
    inputs, targets = default_collate(list(samples))
    return inputs / 2, targets


@pytest.mark.parametrize(
    "params",
    [{"criterion__label_smoothing": 0.3}, {"iterator_train__collate_fn": halve}],
)
def test_a_parameter_set_between_two_calls_is_noticed(params):
    # Steps are taken again with the net as it is now: those of the first call differ.
    case = Case("linear")
    X, y, _ = case.data()
    clf = case.fitted().set_params(**params).partial_fit(X, y)
    X_val, y_val = case.validation()
    with pytest.raises(IrreproducibleStepError, match=r"Step 0 \(epoch 1\)"):
        clf.influence(X_val, y_val)
    assert np.abs(clf.influence(X_val, y_val, last_epochs=3)).max() > 0


def test_training_goes_on_after_record_was_changed_is_refused():
    case = Case("linear")
    X, y, _ = case.data()
    clf = case.fitted().set_params(record=None)
    with pytest.raises(ValueError, match="`record` must stay as it was"):
        clf.partial_fit(X, y)


# --- going back ----------------------------------------------------------------------


class GoBack(Callback):
    """Puts the weights at an epoch's end back when training ends, once."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.epoch:
            self.state_ = {k: v.clone() for k, v in net.module_.state_dict().items()}

    def on_train_end(self, net, **kwargs):
        if self.state_ is not None:
            net.module_.load_state_dict(self.state_)
            self.state_ = None


def rising(net, *args):
    """Score epochs 1, 2, 3, … as 1, 2, 1, 0, …: the second is the best."""
    return 2.0 - abs(len(net.history) - 2)


class Score(Callback):
    def on_epoch_end(self, net, **kwargs):
        score = rising(net)
        net.history.record("score", score)
        net.history.record("score_best", len(net.history) <= 2)


@pytest.mark.parametrize("module", ["mlp", "batch_norm"])
@pytest.mark.parametrize("how", ["early_stopping", "checkpoint", "by_hand"])
def test_going_back_ends_the_run_there(how, module, tmp_path):
    case = Case(module, "momentum", {"max_epochs": 6})
    back = {
        "early_stopping": lambda: EarlyStopping(
            monitor="score", lower_is_better=False, patience=3, load_best=True
        ),
        "checkpoint": lambda: Checkpoint(
            monitor="score_best", load_best=True, dirname=str(tmp_path)
        ),
        "by_hand": lambda: GoBack(2),
    }[how]()
    clf = case.fitted(callbacks=[Score(), back])
    short = case.fitted(max_epochs=2)
    assert same_tensors(
        clf.module_.state_dict().values(), short.module_.state_dict().values()
    )
    assert numbers(clf.trajectory_) == numbers(short.trajectory_)
    assert_repeats(clf)
    X_val, y_val = case.validation()
    for at in ("final", "epochs", "path", [1]):
        np.testing.assert_array_equal(
            clf.influence(X_val, y_val, at=at), short.influence(X_val, y_val, at=at)
        )


def test_training_on_after_the_optimizer_was_left_behind():
    # Early stopping puts back the weights, but not the momentum.
    case = Case("mlp", "momentum", {"max_epochs": 5})
    X, y, _ = case.data()
    clf = case.fitted(callbacks=[GoBack(2)])
    clf.set_params(max_epochs=2).partial_fit(X, y)
    assert clf.trajectory_.epoch_ends() == {1: 3, 2: 6, 3: 9, 4: 12}
    X_val, y_val = case.validation()
    with pytest.raises(IrreproducibleStepError, match="last_epochs=2"):
        clf.influence(X_val, y_val)
    assert np.abs(clf.influence(X_val, y_val, last_epochs=2)).max() > 0


def test_training_on_after_going_back_without_momentum():
    case = Case("mlp", "sgd", {"max_epochs": 5})
    X, y, _ = case.data()
    clf = case.fitted(callbacks=[GoBack(2)]).partial_fit(X, y)
    assert clf.trajectory_.n_epochs == 7
    assert_repeats(clf)


def test_going_back_from_a_divergence():
    case = Case("linear", options={"max_epochs": 6})

    class Explode(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 4:
                net.optimizer_.param_groups[0]["lr"] = 1e300

    clf = case.fitted(callbacks=[GoBack(2), Explode()])
    short = case.fitted(max_epochs=2)
    np.testing.assert_array_equal(
        clf.influence(*case.validation()), short.influence(*case.validation())
    )


# --- what cannot be retraced ---------------------------------------------------------


class Change(Callback):
    """Changes something in the third epoch."""

    def __init__(self, change, event="on_epoch_begin"):
        setattr(self, event, self._change)
        self.change = change

    def _change(self, net, **kwargs):
        if len(net.history) == 3 and kwargs.get("training", True):
            with torch.no_grad():
                self.change(net)


def nudge(net):
    next(net.module_.parameters()).data.mul_(1.5)


def forget(net):
    net.optimizer_.state.clear()


@pytest.mark.parametrize(
    ("change", "event"),
    [(nudge, "on_epoch_begin"), (nudge, "on_batch_end"), (forget, "on_epoch_begin")],
)
def test_a_change_from_outside_is_refused_where_it_happens(change, event):
    case, spy = Case("mlp", "momentum", {"max_epochs": 4}), Spy()
    number, hook = (7, "on_batch_end") if event == "on_batch_end" else (6, event)
    with pytest.raises(
        IrreproducibleStepError,
        match=r"the parameters or the optimizer's state were changed between steps "
        rf"{number - 1} and {number} by something other than the optimizer, such as a "
        rf"callback \(.*`Change\.{hook}`.*\)\. Put the values back .* record=k",
    ):
        case.fitted(callbacks=[spy, Change(change, event)])
    assert len(spy.run.batches) == number + 1  # which was not taken


@pytest.mark.parametrize(
    ("change", "event"),
    [(nudge, "on_epoch_begin"), (nudge, "on_batch_end"), (forget, "on_epoch_begin")],
)
def test_the_last_epochs_after_a_change_can_be_retraced(change, event):
    # With record=k it may happen before all that counts.
    case = Case("mlp", "momentum", {"max_epochs": 4})
    clf = case.fitted(callbacks=[Change(change, event)], record=4)
    X_val, y_val = case.validation()
    with pytest.raises(
        IrreproducibleStepError,
        match=r"parameters or the optimizer's state were changed between steps .* "
        r"such as a callback .*\. Epochs after it can be asked for: "
        r"last_epochs=(2|1)\.",
    ) as caught:
        clf.influence(X_val, y_val)
    # What the error offers is to be had.
    k = int(str(caught.value)[-2])
    assert np.abs(clf.influence(X_val, y_val, last_epochs=k)).max() > 0
    # And so is what came before.
    short = case.fitted(max_epochs=1)
    np.testing.assert_array_equal(
        clf.influence(X_val, y_val, at=[1]), short.influence(X_val, y_val)
    )


def test_what_is_left_after_several_changes():
    class Restart(Callback):
        def on_epoch_begin(self, net, **kwargs):
            forget(net)

    case = Case("mlp", "momentum")
    clf = case.fitted(callbacks=[Restart()], record=3)
    assert list(clf.trajectory_.flaws) == [3, 6]
    X_val, y_val = case.validation()
    for options in ({}, {"last_epochs": 2}):
        with pytest.raises(IrreproducibleStepError, match="last_epochs=1"):
            clf.influence(X_val, y_val, **options)
    last = clf.influence(X_val, y_val, last_epochs=1)
    assert np.abs(last).max() > 0
    only = case.fitted(callbacks=[Restart()], record=1)
    np.testing.assert_array_equal(only.influence(X_val, y_val), last)


@pytest.mark.parametrize(
    "change",
    [
        lambda parameters: parameters[0].grad.mul_(0.731),
        lambda parameters: [p.grad.add_(0.01) for p in parameters],
        lambda parameters: parameters[0].grad.zero_(),
    ],
)
def test_gradients_changed_in_an_unknown_way_are_refused(change):
    case, spy = Case("mlp", "momentum"), Spy()
    with pytest.raises(
        IrreproducibleStepError,
        match="the gradients were changed, other than by clipping by norm or by value, "
        r"in step 0 .* \(`Clip\.on_grad_computed`\)\. Clip them",
    ):
        case.fitted(callbacks=[spy, Clip(change)])
    assert len(spy.run.batches) == 1
    clf = case.fitted(callbacks=[Clip(change)], record=3)
    with pytest.raises(IrreproducibleStepError, match="in step 8 by something"):
        clf.influence(*case.validation())


def test_weights_changed_at_the_end_are_noticed():
    case = Case("mlp")

    class Average(Callback):
        def on_train_end(self, net, **kwargs):
            nudge(net)

    with pytest.warns(InfluenceReliabilityWarning, match="values that no recorded"):
        clf = case.fitted(callbacks=[Average()])
    with pytest.raises(IrreproducibleStepError, match="after the last step"):
        clf.influence(*case.validation())
    assert np.abs(clf.influence(*case.validation(), at=[1, 2])).max() > 0


def test_statistics_renewed_at_the_end_are_those_that_are_asked():
    # The query is of the model that predicts, BatchNorm's statistics included.
    case, spy = Case("batch_norm", "momentum"), Spy()

    class Renew(Callback):
        def on_train_end(self, net, **kwargs):
            net.module_[1].running_mean.add_(0.3)
            net.module_[1].running_var.mul_(2.0)

    clf = case.fitted(callbacks=[spy, Renew()])
    X, _, _ = case.data()
    X_val, y_val = case.validation()
    expected = finite_differences(
        spy.run,
        X,
        lambda ends, base: validation_loss(ends[-1], X_val, y_val, clf.module_).mean(),
        seeds=[0] * 9,
    )
    assert relative_error(clf.influence(X_val, y_val), expected) <= 1e-6


def test_divergence_is_warned_of():
    case = Case("linear", options={"lr": 1e200})
    with pytest.warns(DivergenceWarning, match="from step [12] on"):
        case.fitted()


def test_a_callback_that_joins_within_an_epoch_is_called_from_then_on():
    class Counts(Callback):
        n = 0

        def on_batch_end(self, net, **_):
            self.n += 1

    class Adds(Callback):
        def on_batch_end(self, net, **_):
            if len(net.history[-1]["batches"]) == 2 and not counts.n:
                net.callbacks_.append(("counts", counts))

    counts = Counts()
    clf = Case("linear").fitted(callbacks=[Adds()])
    assert clf.trajectory_.n_steps == 9
    assert counts.n == 7


# --- samplers and loaders ------------------------------------------------------------


def test_sampling_with_replacement():
    case, spy = Case("mlp", "momentum"), Spy()
    sampler = WeightedRandomSampler(np.arange(1.0, N_SAMPLES + 1), 20, replacement=True)
    clf = case.fitted(iterator_train__sampler=sampler, callbacks=[spy])
    rows = [r.rows for r in clf.trajectory_.records]
    assert [len(batch) for batch in rows] == [5] * 12
    assert any(len(batch.unique()) < len(batch) for batch in rows)
    expected = differences(case, spy, clf)
    assert relative_error(clf.influence(*case.validation()), expected) <= 1e-6


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("sampler", [RandomSampler, SequentialSampler])
def test_rows_are_drawn_as_by_the_samplers_of_torch(sampler, drop_last):
    def rows(**options):
        clf = Case("linear").fitted(iterator_train__drop_last=drop_last, **options)
        return [record.rows.tolist() for record in clf.trajectory_.records]

    drawn = rows(iterator_train__shuffle=sampler is RandomSampler)
    assert drawn == rows(iterator_train__sampler=sampler(range(N_SAMPLES)))


class Halves(Sampler):
    """Batches of unlike size, in which one row stands twice."""

    def __len__(self):
        return 2

    def __iter__(self):
        yield [0, 1, 1, 2]
        yield list(range(3, N_SAMPLES))


def test_batch_samplers():
    case, spy = Case("mlp", "momentum"), Spy()
    clf = case.fitted(iterator_train__batch_sampler=Halves(), callbacks=[spy])
    rows = [r.rows.tolist() for r in clf.trajectory_.records]
    assert rows == [[0, 1, 1, 2], list(range(3, N_SAMPLES))] * 3
    expected = differences(case, spy, clf)
    assert relative_error(clf.influence(*case.validation()), expected) <= 1e-6


def test_a_batch_sampler_of_torch():
    sampler = BatchSampler(range(N_SAMPLES), 6, drop_last=False)
    clf = Case("linear").fitted(iterator_train__batch_sampler=sampler)
    assert [len(r.rows) for r in clf.trajectory_.records] == [6, 6, 2] * 3


def test_samplers_count_in_the_rows_that_are_trained_on():
    # Under a train_split a sampler's indices are those of the part that is left.
    case, spy = Case("linear"), Spy()
    X, _, _ = case.data()
    clf = case.fitted(
        train_split=ValidSplit(2),
        iterator_train__sampler=[0, 2, 4],
        callbacks=[spy],
    )
    for record, (inputs, _) in zip(
        clf.trajectory_.records, spy.run.batches, strict=True
    ):
        np.testing.assert_array_equal(X[record.rows], inputs)
    assert clf.trajectory_.records[0].rows.tolist() == [7, 9, 11]


def test_the_whole_data_as_one_batch():
    clf = Case("linear").fitted(batch_size=-1)
    assert [len(r.rows) for r in clf.trajectory_.records] == [N_SAMPLES] * 3


@pytest.mark.parametrize(
    "options", [{}, {"persistent_workers": True, "prefetch_factor": 1}]
)
def test_worker_processes(options):
    case = Case("dropout", "momentum")
    options = {f"iterator_train__{k}": v for k, v in options.items()}
    clf = case.fitted(iterator_train__num_workers=2, max_epochs=2, **options)
    alone = case.fitted(max_epochs=2)
    # Batches are fetched ahead of their steps; which one a step took is the same.
    assert same_tensors(weights(clf), weights(alone))
    np.testing.assert_array_equal(
        clf.influence(*case.validation()), alone.influence(*case.validation())
    )


@pytest.mark.parametrize("samples_at", ["first", "later"])
def test_interrupted_in_the_middle_of_an_epoch(samples_at):
    case = Case("dropout", "momentum")
    X, y, _ = case.data()
    batch = 0 if samples_at == "first" else 1

    class Interrupt(Callback):
        def on_batch_begin(self, net, training=False, **kwargs):
            if len(net.history) == 2 and len(net.history[-1, "batches"]) == batch + 1:
                raise KeyboardInterrupt

    clf = case.fitted(callbacks=[Interrupt()])
    assert clf.trajectory_.n_steps == 3 + batch
    assert_repeats(clf)
    spy = Spy()
    case.fitted(callbacks=[spy])
    expected = differences(case, Cut(spy.run, 3 + batch), clf)
    assert relative_error(clf.influence(*case.validation()), expected) <= 1e-6
    # Training goes on; epochs are those in which something was done.
    clf.partial_fit(X, y)
    first = {1: 3} if samples_at == "first" else {1: 3, 2: 4}
    ends = list(clf.trajectory_.epoch_ends().items())
    assert ends[: len(first)] == list(first.items())
    assert [epoch for epoch, _ in ends] == list(range(1, len(first) + 4))
    assert_repeats(clf)


class Cut:
    """A spy's run, cut off after some steps."""

    def __init__(self, run, n_steps):
        self.run = run
        self.run.batches = run.batches[:n_steps]
        self.run.groups = run.groups[:n_steps]
        self.run.epochs = run.epochs[:n_steps]
