"""Runs recorded on disk: killed anywhere, they go on to the bits of an unbroken run."""

import errno
import os
import shutil
import signal
import traceback
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import ValidSplit

from skinfluence import InfluenceCleaner, SGDInfluenceClassifier, Trajectory
from skinfluence.estimators._recording.hooks import RecordingMixin
from skinfluence.estimators._recording.training_run import TrainingRun
from skinfluence.exceptions import (
    IrreproducibleStepError,
    ResumeWarning,
    TrajectoryFileError,
)
from skinfluence.trajectory._disk import store as disk
from tests.cases import Case, rough
from tests.commands.processes import end, start

pytestmark = rough


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    monkeypatch.setattr(disk, "_SHARD_STATES", 3)


class Broken(Exception):
    """What ends a run in the middle."""


def break_off(clf, case, n_steps, monkeypatch, target=None):
    """Train until so many steps are taken, and then no more.

    The folder is left as it is after an error, or copied to `target` as a kill
    would leave it.
    """
    train_step = RecordingMixin.train_step

    def until(net, *arguments, **options):
        run = net.trajectory_
        if run.n_steps == n_steps:
            run._store._wait()
            if target is not None:
                shutil.copytree(run.folder.parent, target)
            raise Broken
        return train_step(net, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(RecordingMixin, "train_step", until)
        with pytest.raises(Broken):
            fit(clf, case)


def count_steps(monkeypatch):
    """Return a list that grows with each step that is really taken."""
    end_batch, taken = TrainingRun.end_batch, []

    def noted(run, *arguments):
        taken.append(run.n_steps)
        return end_batch(run, *arguments)

    monkeypatch.setattr(TrainingRun, "end_batch", noted)
    return taken


def schedule():
    return LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5)


def stopping():
    return [
        EarlyStopping(patience=2, load_best=True, monitor="valid_loss"),
        LRScheduler(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0),
    ]


def clipping():
    from skorch.callbacks import GradientNormClipping

    return GradientNormClipping(0.05)


CASES = {
    "sgd": Case(),
    "adam": Case("mlp", "adam"),
    "asgd, weights": Case("linear", "asgd", weighted=True),
    "BatchNorm, Nesterov": Case("batch_norm", "nesterov"),
    "dropout": Case("dropout", "rmsprop"),
    "clipping": Case("mlp", "momentum", {"callbacks": [clipping()]}),
    "schedule by batch": Case(
        "mlp",
        "sgd",
        {
            "callbacks": [
                LRScheduler(
                    torch.optim.lr_scheduler.StepLR,
                    step_size=4,
                    gamma=0.5,
                    step_every="batch",
                )
            ]
        },
    ),
    "schedule": Case("mlp", "sgd", {"callbacks": [schedule()]}),
    "thinned": Case("mlp", "adam", {"checkpoint_every": 4}),
    "the last epochs": Case("mlp", "adam", {"record": 2}),
    "validation": Case(
        "batch_norm",
        "adam",
        # It stops in the sixth epoch and goes back to the fourth.
        {"train_split": ValidSplit(3), "callbacks": stopping(), "lr": 0.02},
    ),
    "validation, thinned": Case(
        "dropout",
        "momentum",
        {"train_split": ValidSplit(3), "checkpoint_every": 4},
    ),
}

EPOCHS = {"max_epochs": 6}


def fit(clf, case, **options):
    X, y, weights = case.data()
    return clf.fit(X, y, sample_weight=weights, **options)


def losses(clf):
    names = ("train_loss", "valid_loss", "valid_acc")
    return [[row.get(name) for name in names] for row in clf.history_]


def assert_same(clf, other, case):
    """The same run to the bit: parameters, optimizer, history, influence."""
    ours, theirs = clf.trajectory_, other.trajectory_
    assert ours.n_steps == theirs.n_steps
    assert ours.first_recorded_step == theirs.first_recorded_step
    for mine, other_ones in zip(
        clf.module_.state_dict().values(),
        other.module_.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(mine, other_ones)
    mine = clf.optimizer_.state_dict()["state"]
    for key, state in other.optimizer_.state_dict()["state"].items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(mine[key][name]), torch.as_tensor(value))
    assert losses(clf) == losses(other)
    validation = case.validation()
    assert np.array_equal(clf.influence(*validation), other.influence(*validation))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_on_disk_as_in_memory(tmp_path, name):
    case = CASES[name]
    on_disk = fit(case.classifier(trajectory_dir=tmp_path, **EPOCHS), case)
    assert on_disk.trajectory_.folder == tmp_path / "run-000001"
    assert_same(on_disk, fit(case.classifier(**EPOCHS), case), case)
    loaded = Trajectory.load(tmp_path / "run-000001")
    assert loaded.n_steps == on_disk.trajectory_.n_steps


@pytest.mark.parametrize(("killed", "n_steps"), [(True, 1), (False, 6), (True, 8)])
@pytest.mark.parametrize("name", CASES)
def test_goes_on_to_the_bits_of_an_unbroken_run(
    tmp_path, monkeypatch, name, killed, n_steps
):
    case, folder = CASES[name], tmp_path / "runs"
    unbroken = fit(case.classifier(**EPOCHS), case)
    broken = case.classifier(trajectory_dir=folder, **EPOCHS)
    copy = tmp_path / "killed"
    break_off(broken, case, n_steps, monkeypatch, copy if killed else None)
    folder = copy if killed else folder
    clf = case.classifier(trajectory_dir=folder, **EPOCHS)
    taken = count_steps(monkeypatch)
    fit(clf, case, resume=True)
    assert [path.name for path in folder.iterdir()] == ["run-000001"]
    assert_same(clf, unbroken, case)
    # Done again is what follows the last state on the disk: after a kill, files of
    # three states each that were not written yet.
    interval = case.options.get("checkpoint_every", 1)
    assert taken[0] > n_steps - (4 * interval if killed else interval)


def killed(clf, case, n_steps):
    """Train in a process that is killed in the midst of a step; return how it ended."""
    reader, writer = os.pipe()
    train_step = RecordingMixin.train_step

    def told(net, *arguments, **options):
        os.write(writer, f"{net.run_.n_steps}\n".encode())
        return train_step(net, *arguments, **options)

    def train(_):
        RecordingMixin.train_step = told
        fit(clf, case, resume=True)
        return 0

    child = start([], work=train)
    os.close(writer)
    with open(reader) as steps:
        if any(int(line) >= n_steps for line in steps):
            os.kill(child, signal.SIGKILL)
    return end(child)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
def test_goes_on_after_a_kill(tmp_path, one_thread):
    case = CASES["BatchNorm, Nesterov"]
    unbroken = fit(case.classifier(max_epochs=20), case)
    clf = case.classifier(trajectory_dir=tmp_path, max_epochs=20)
    for n_steps in (13, 41):
        assert killed(clf, case, n_steps) == -signal.SIGKILL
        there = Trajectory.load(tmp_path / "run-000001")
        assert there.n_steps >= n_steps - 1
    fit(clf, case, resume=True)
    assert_same(clf, unbroken, case)


def test_a_longer_run_goes_on_from_a_finished_one(tmp_path):
    case = CASES["sgd"]
    fit(case.classifier(trajectory_dir=tmp_path, max_epochs=2), case)
    clf = case.classifier(trajectory_dir=tmp_path, max_epochs=5)
    fit(clf, case, resume=True)
    assert clf.trajectory_.folder == tmp_path / "run-000001"
    assert_same(clf, fit(case.classifier(max_epochs=5), case), case)


def test_a_seed_that_was_drawn_is_the_recorded_one(tmp_path, monkeypatch):
    case = Case(options={"random_state": None})
    broken = case.classifier(trajectory_dir=tmp_path, **EPOCHS)
    break_off(broken, case, 7, monkeypatch)
    clf = case.classifier(trajectory_dir=tmp_path, **EPOCHS)
    fit(clf, case, resume=True)
    assert clf.trajectory_.folder == tmp_path / "run-000001"
    seed = Trajectory.load(tmp_path / "run-000001").seed
    assert clf.seed_ == clf.trajectory_.seed == seed
    # Any other seed gives other batches: the run repeats only with its own.
    assert clf.counterfactual_influence(*case.validation(), [3])[0] != 0.0


def test_a_generator_that_draws_the_recorded_seed_goes_on(tmp_path, monkeypatch):
    case = CASES["adam"]
    for broken in (True, False):
        clf = case.classifier(
            trajectory_dir=tmp_path,
            **{**EPOCHS, "random_state": np.random.RandomState(3)},
        )
        if broken:
            break_off(clf, case, 7, monkeypatch)
    fit(clf, case, resume=True)
    assert clf.trajectory_.folder == tmp_path / "run-000001"


def test_partial_fit_refuses_a_run_that_another_fit_went_on_with(tmp_path):
    case = CASES["adam"]
    X, y, _ = case.data()
    clf = fit(case.classifier(trajectory_dir=tmp_path, max_epochs=2), case)
    longer = case.classifier(trajectory_dir=tmp_path, max_epochs=3)
    fit(longer, case, resume=True)
    files = {p: p.read_bytes() for p in (tmp_path / "run-000001").iterdir()}
    steps = clf.n_steps_
    for _ in range(2):  # the refused run is not kept locked
        with pytest.raises(TrajectoryFileError, match=f"{steps} steps that this"):
            clf.partial_fit(X, y)
    assert clf.n_steps_ == clf.trajectory_.n_steps == steps
    assert files == {p: p.read_bytes() for p in (tmp_path / "run-000001").iterdir()}
    assert longer.partial_fit(X, y).n_steps_ > steps


def test_partial_fit_goes_on_in_the_folder(tmp_path):
    case = CASES["adam"]
    X, y, _ = case.data()
    on_disk = fit(case.classifier(trajectory_dir=tmp_path), case).partial_fit(X, y)
    in_memory = fit(case.classifier(), case).partial_fit(X, y)
    assert [path.name for path in tmp_path.iterdir()] == ["run-000001"]
    assert_same(on_disk, in_memory, case)


class Halving(Callback):
    """Changes the parameters behind the optimizer's back."""

    def on_epoch_end(self, net, **kwargs):
        with torch.no_grad():
            for parameter in net.module_.parameters():
                parameter.mul_(0.5)


def other_data(clf, case):
    X, y, _ = case.data()
    return clf.fit(X + 1, y, resume=True)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ({}, {"lr": 0.2}, "other `lr`"),
        ({}, {"random_state": 1}, "other `random_state`"),
        ({}, {"random_state": np.int64(1)}, "other `random_state`"),
        ({}, {"random_state": np.random.RandomState(1)}, "other `random_state`"),
        ({}, {"max_epochs": 1}, "it has 2 epochs, more than `max_epochs`"),
        ({"callbacks": [Halving()], "record": 2}, {}, "changed its states"),
        (
            {"callbacks": [EpochScoring("accuracy", on_train=True)]},
            {},
            "EpochScoring looks at every batch",
        ),
        (
            {"record": 1, "train_split": ValidSplit(3)},
            {},
            "states that were dropped are looked at",
        ),
    ],
)
def test_a_run_that_cannot_go_on_is_left_as_it_is(
    tmp_path, monkeypatch, before, after, why
):
    case = Case(options={**before})
    broken = case.classifier(trajectory_dir=tmp_path, **EPOCHS)
    break_off(broken, case, 5, monkeypatch)
    files = {path: path.read_bytes() for path in (tmp_path / "run-000001").iterdir()}
    again = case.classifier(trajectory_dir=tmp_path, **{**EPOCHS, **after})
    with pytest.warns(ResumeWarning, match=f"run-000001: .*{why}"):
        fit(again, case, resume=True)
    assert again.trajectory_.folder == tmp_path / "run-000002"
    assert files == {p: p.read_bytes() for p in (tmp_path / "run-000001").iterdir()}


def test_other_data_begins_a_run_of_its_own(tmp_path, monkeypatch):
    case = Case()
    X, y, _ = case.data()
    clf = case.classifier(trajectory_dir=tmp_path)
    break_off(clone(clf), case, 5, monkeypatch)
    with pytest.warns(ResumeWarning, match="run-000001: other data"):
        clf.fit(X + 1, y, resume=True)
    # A second time each goes on with its own.
    assert fit(clone(clf), case, resume=True).trajectory_.folder.name == "run-000001"
    assert clone(clf).fit(X + 1, y, resume=True).trajectory_.folder.name == "run-000002"


class Drifting(torch.nn.Linear):
    """Starts from other parameters each time, whatever the seed."""

    started = 0

    def __init__(self):
        super().__init__(36, 3)
        Drifting.started += 1
        torch.nn.init.constant_(self.weight, Drifting.started)

    def forward(self, X):
        return super().forward(X.flatten(1))


def test_a_model_that_starts_elsewhere_is_refused(tmp_path, monkeypatch):
    case = Case()
    options = {"module": Drifting, "trajectory_dir": tmp_path}
    break_off(case.classifier().set_params(**options), case, 5, monkeypatch)
    with pytest.raises(IrreproducibleStepError, match="initial parameters differ"):
        fit(case.classifier().set_params(**options), case, resume=True)
    assert Trajectory.load(tmp_path / "run-000001").n_steps == 5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "trajectory_dir=None"),
        ({"trajectory_dir": "runs", "record": None}, "record=None"),
    ],
)
def test_resume_without_a_folder(tmp_path, monkeypatch, options, match):
    monkeypatch.chdir(tmp_path)
    case = Case()
    with pytest.raises(ValueError, match=match):
        fit(case.classifier(**options), case, resume=True)
    assert not list(tmp_path.iterdir())


def test_bad_types(tmp_path):
    case = Case()
    with pytest.raises(ValueError, match="trajectory_dir"):
        fit(case.classifier(trajectory_dir=3), case)
    with pytest.raises(TypeError, match="`resume` must be True or False, got 'yes'"):
        fit(case.classifier(trajectory_dir=tmp_path), case, resume="yes")


def test_every_fit_has_a_folder_of_its_own(tmp_path):
    case = Case()
    X, y, _ = case.data()
    clf = case.classifier(trajectory_dir=tmp_path, max_epochs=1)
    cross_val_score(clf, X, y, cv=3)
    assert len(list(tmp_path.iterdir())) == 3
    cleaner = InfluenceCleaner(clf, n_remove=2, random_state=0).fit(X, y)
    assert len(cleaner.removed_indices_) == 2
    assert len(list(tmp_path.iterdir())) > 3


def test_a_relative_folder_is_that_of_fit(tmp_path, monkeypatch):
    case = Case("mlp", "adam")
    monkeypatch.chdir(tmp_path)
    clf = case.fitted(trajectory_dir="runs", checkpoint_every=2)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert clf.trajectory_dir == "runs"
    assert clf.trajectory_.folder == tmp_path / "runs" / "run-000001"
    memory = case.fitted(checkpoint_every=2)
    for each in (clf, memory):
        each.partial_fit(*case.data()[:2])
    assert np.array_equal(
        clf.influence(*case.validation()), memory.influence(*case.validation())
    )
    assert not list((tmp_path / "elsewhere").iterdir())


def test_refit_without_is_in_memory(tmp_path):
    case = Case()
    clf = fit(case.classifier(trajectory_dir=tmp_path), case)
    without = clf.refit_without([3])
    assert without.trajectory_.folder is None
    assert [path.name for path in tmp_path.iterdir()] == ["run-000001"]


# Where nothing can be written


def test_an_error_before_the_first_step_leaves_no_folder(tmp_path):
    clf = SGDInfluenceClassifier(
        optimizer=torch.optim.Rprop, trajectory_dir=tmp_path / "runs"
    )
    with pytest.raises(ValueError, match="Rprop"):
        clf.fit([[0.0], [1.0]], [0, 1])
    assert not list((tmp_path / "runs").iterdir())


def test_a_file_in_the_folders_place(tmp_path):
    (tmp_path / "runs").write_text("mine")
    case = Case()
    clf = case.classifier(trajectory_dir=tmp_path / "runs")
    with pytest.raises(TrajectoryFileError, match=r"runs.* cannot be written"):
        fit(clf, case)
    assert (tmp_path / "runs").read_text() == "mine"
    assert not hasattr(clf, "trajectory_")


@pytest.mark.parametrize("resume", [False, True])
def test_a_working_folder_that_is_gone(tmp_path, monkeypatch, resume):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    case = Case()
    with pytest.raises(TrajectoryFileError, match="'runs' cannot be written"):
        fit(case.classifier(trajectory_dir="runs"), case, resume=resume)


def test_a_folder_that_cannot_be_looked_at(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    case = Case()
    clf = case.classifier(trajectory_dir=tmp_path / "runs")
    # As root may look at everything, no folder's mode would do.
    monkeypatch.setattr(type(tmp_path), "is_dir", denied)
    with pytest.raises(TrajectoryFileError, match=r"runs.* cannot be written: Perm"):
        fit(clf, case, resume=True)


@pytest.mark.parametrize("room", [300, 5_000, 20_000])
def test_a_full_disk_in_the_middle_of_a_run(tmp_path, monkeypatch, room):
    case = CASES["adam"]
    write, left = os.write, [room]

    def full(descriptor, data):
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[: left[0]])
        left[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(TrajectoryFileError, match="No space left"):
            fit(case.classifier(trajectory_dir=tmp_path, **EPOCHS), case)
    clf = case.classifier(trajectory_dir=tmp_path, **EPOCHS)
    fit(clf, case, resume=True)
    assert_same(clf, fit(case.classifier(**EPOCHS), case), case)


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
@pytest.mark.parametrize("file", ["manifest.json", "journal.jsonl", "states"])
def test_a_damaged_run_is_named_and_passed_over(tmp_path, file, damage):
    case = CASES["sgd"]
    clf = fit(case.classifier(trajectory_dir=tmp_path), case)
    path = min((tmp_path / "run-000001").glob(f"{file}*"))
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 4
    path.write_bytes(data[: len(data) // 2] if damage == "truncate" else data)
    if damage == "delete":
        path.unlink()
    again = case.classifier(trajectory_dir=tmp_path, max_epochs=5)
    with pytest.warns(ResumeWarning, match=rf"run-000001: The file .*{path.name}"):
        fit(again, case, resume=True)
    assert again.trajectory_.folder == tmp_path / "run-000002"
    # It is in nobody's way from now on.
    again = fit(
        case.classifier(trajectory_dir=tmp_path, max_epochs=6), case, resume=True
    )
    assert again.trajectory_.folder == tmp_path / "run-000002"
    if file == "states":
        with pytest.raises(TrajectoryFileError, match=path.name):
            clf.influence(*case.validation())


def test_a_run_that_is_starting_is_passed_over(tmp_path, recwarn):
    case = CASES["sgd"]
    (tmp_path / "run-000001").mkdir()  # killed before its manifest, or before the lock
    (tmp_path / "run-000002").mkdir()
    (tmp_path / "run-000002" / "lock").touch()
    (tmp_path / "run-000003").touch()
    (tmp_path / "run-4").mkdir()
    clf = fit(case.classifier(trajectory_dir=tmp_path), case, resume=True)
    assert clf.trajectory_.folder == tmp_path / "run-000004"
    assert not recwarn


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked")
def test_several_processes_in_one_folder(tmp_path, monkeypatch, one_thread):
    case = Case("linear", "sgd", {"max_epochs": 1})
    monkeypatch.setattr(disk, "_SHARD_STATES", 1)
    expected = [fit(case.classifier(lr=0.1 * k), case) for k in (1, 2, 3)]

    def repeat(k):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResumeWarning)  # others are at work
            for _ in range(8):
                clf = case.classifier(lr=0.1 * k, trajectory_dir=tmp_path)
                fit(clf, case, resume=True)
                ours = clf.module_.state_dict().values()
                theirs = expected[k - 1].module_.state_dict().values()
                assert all(map(torch.equal, ours, theirs))

    processes = []
    for k in (1, 2, 3):
        process = os.fork()
        if not process:
            try:
                repeat(k)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        processes.append(process)
    assert [os.waitpid(process, 0)[1] for process in processes] == [0, 0, 0]
