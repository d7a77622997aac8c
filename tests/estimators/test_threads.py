"""The number of threads that a run is trained on, and goes back on."""

import threading

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skinfluence import SGDInfluenceClassifier, load_estimator
from skinfluence.trajectory import on_threads

N = 24
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
Y = np.arange(N) % 2


@pytest.fixture(autouse=True)
def torch_on_three():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    after = torch.get_num_threads()
    torch.set_num_threads(before)
    assert after == 3  # whatever was done, the setting is put back


class Wide(nn.Linear):
    """As much work as a batch of images: a large product that changes little."""

    def __init__(self):
        super().__init__(4, 2)
        self.register_buffer("matrix", torch.zeros(1000, 1000))

    def forward(self, x):
        return super().forward(x) + (x.new_zeros(len(x), 1000) @ self.matrix)[:, :2]


def small(**options):
    return SGDInfluenceClassifier("linear", **{"max_epochs": 2, **options})


def threads_of(clf):
    return {record.n_threads for record in clf.trajectory_.records}


@pytest.mark.parametrize(("given", "used"), [("auto", 1), (None, 3), (2, 2)])
def test_number(given, used):
    clf = small(n_threads=given).fit(X, Y)
    assert threads_of(clf) == {used}
    clf.partial_fit(X, Y)
    assert threads_of(clf) == {used}


@pytest.mark.parametrize(("batch_size", "used"), [(8, 1), (N, 3), (-1, 3)])
def test_auto_goes_by_the_operations_of_a_step(batch_size, used):
    # 2 million for each row; the bound is 20 million.
    clf = SGDInfluenceClassifier(Wide, max_epochs=1, batch_size=batch_size).fit(X, Y)
    assert threads_of(clf) == {used}


def test_a_module_that_cannot_be_counted_is_trained_as_torch_is_set(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("of another kind")

    monkeypatch.setattr("skinfluence.estimators._threads.FlopCounterMode", refuse)
    assert threads_of(small().fit(X, Y)) == {3}


def test_the_way_back_takes_as_many(monkeypatch):
    clf, seen = small(n_threads=2).fit(X, Y), []

    def query(outputs, targets):
        seen.append(torch.get_num_threads())
        return outputs[:, 0]

    clf.influence(X, Y, query=query)
    assert 2 in seen


def test_put_back_after_an_error():
    class Failing(Callback):
        def on_epoch_end(self, net, **kwargs):
            assert torch.get_num_threads() == 1
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        small(callbacks=[Failing()]).fit(X, Y)


def test_saved(tmp_path):
    small(n_threads=2).save(tmp_path / "clf")
    assert load_estimator(tmp_path / "clf").n_threads == 2


@pytest.mark.parametrize("value", [0, -1, 1.5, "all", True])
def test_refused(value):
    with pytest.raises(ValueError, match=r"'n_threads' parameter .* must be"):
        small(n_threads=value).fit(X, Y)


def test_each_thread_has_a_setting_of_its_own():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with on_threads(2):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with on_threads(1):
        thread.start()
        inside.wait()
    assert torch.get_num_threads() == 3  # though the other one is still at work
    leave.set()
    thread.join()
    assert torch.get_num_threads() == 3


def test_nested_blocks():
    with on_threads(1):
        with on_threads(2), on_threads(None):
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 1
