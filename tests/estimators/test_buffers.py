"""Buffers that do not change, and frozen parameters, cost a run next to nothing."""

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skinfluence import SGDInfluenceClassifier, Trajectory
from skinfluence.exceptions import InfluenceReliabilityWarning
from tests.cases import N_CLASSES, SIDE, Case, batch_norm

N_STEPS = 9
ENCODING = 50 * SIDE * SIDE * 8  # bytes
HEAD = (SIDE * SIDE + 1) * N_CLASSES * 8


class Encoded(nn.Module):
    """Adds an encoding, which is most of its memory."""

    def __init__(self):
        super().__init__()
        encoding = torch.linspace(-1, 1, 50 * SIDE * SIDE).reshape(50, -1)
        self.register_buffer("encoding", encoding)
        self.linear = nn.Linear(SIDE * SIDE, N_CLASSES)

    def forward(self, X):
        return self.linear(X.flatten(1) + self.encoding[: len(X)])


class Frozen(nn.Module):
    """A head on a large frozen backbone."""

    def __init__(self):
        super().__init__()
        width = SIDE * SIDE
        self.backbone = nn.Sequential(nn.Linear(width, 500), nn.Linear(500, width))
        self.backbone.requires_grad_(False)
        self.head = nn.Linear(width, N_CLASSES)

    def forward(self, X):
        return self.head(torch.tanh(self.backbone(X.flatten(1))))


class Shift(Callback):
    """Changes the encoding before an epoch, past autograd's books."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 2:
            net.module_.encoding.data.add_(0.5)


def fitted(module, **more):
    X, y, _ = Case().data()
    options = {"lr": 0.1, "batch_size": 5, "max_epochs": 3, "dtype": "float64", **more}
    return SGDInfluenceClassifier(module, random_state=0, **options).fit(X, y)


def influence(clf):
    return clf.influence(*Case().validation())


def test_a_buffer_is_kept_once_while_it_does_not_change():
    run = fitted(Encoded).trajectory_
    assert len(run.kept) == N_STEPS + 1
    assert run.nbytes == ENCODING + (N_STEPS + 1) * HEAD
    assert run.state(0).buffers[0] is run.final.buffers[0]


def test_a_buffer_that_changes_is_kept_as_it_was():
    with pytest.warns(InfluenceReliabilityWarning, match="module's buffers"):
        clf = fitted(Encoded, callbacks=[Shift()])
    run = clf.trajectory_
    assert run.nbytes == 2 * ENCODING + (N_STEPS + 1) * HEAD
    (first,), (last,) = run.state(0).buffers, run.final.buffers
    torch.testing.assert_close(last, first + 0.5, rtol=0.0, atol=1e-15)
    with pytest.warns(InfluenceReliabilityWarning, match="module's buffers"):
        again = fitted(Encoded, callbacks=[Shift()], checkpoint_every=4)
    np.testing.assert_array_equal(influence(again), influence(clf))


def test_running_statistics_are_kept_in_every_state():
    run = fitted(batch_norm).trajectory_
    buffers = [run.state(k).buffers for k in run.kept]
    assert len({id(mean) for mean, *_ in buffers}) == len(run.kept)
    assert run.nbytes == sum(run.state(k).nbytes for k in run.kept)


def test_a_file_holds_a_shared_buffer_once(tmp_path):
    expected = fitted(Encoded)
    clf = fitted(Encoded, trajectory_dir=tmp_path / "runs")
    files = [*(tmp_path / "runs").rglob("states-*.safetensors")]
    # The first state has a file of its own, from which a killed run is resumed.
    assert len(files) == 2
    size = sum(file.stat().st_size for file in files)
    assert 2 * ENCODING < size < 3 * ENCODING
    np.testing.assert_array_equal(influence(clf), influence(expected))
    clf.trajectory_.save(tmp_path / "saved")
    run = clf.trajectory_ = Trajectory.load(tmp_path / "saved")
    # Two files, and the final state in memory.
    assert run.nbytes == 3 * ENCODING + (N_STEPS + 1) * HEAD
    np.testing.assert_array_equal(influence(clf), influence(expected))


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_budget_counts_a_shared_buffer_once(on_disk, tmp_path):
    room = 2 * ENCODING + (N_STEPS + 1) * HEAD
    folder = tmp_path if on_disk else None
    run = fitted(Encoded, max_trajectory_bytes=room, trajectory_dir=folder).trajectory_
    assert run.interval == 1
    assert len(run.kept) == N_STEPS + 1
    with pytest.raises(ValueError, match="room for 6 states of 888 bytes"):
        fitted(Encoded, max_trajectory_bytes=ENCODING)


def test_frozen_parameters_cost_nothing():
    run = fitted(Frozen).trajectory_
    assert run.nbytes == (N_STEPS + 1) * HEAD
