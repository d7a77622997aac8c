"""What one training may count on: its control group's memory, shared with others."""

import os
import threading
from pathlib import Path

import pytest
import torch

from skinfluence.estimators._recording import free_memory
from skinfluence.estimators._recording.free_memory import (
    free_bytes,
    free_in_groups,
    in_progress,
    n_workers,
)


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def group(folder, names, limit, usage, reclaimed):
    for name, value in zip(names, (limit, usage), strict=True):
        write(folder / name, value)
    write(folder / "memory.stat", f"anon 5\nactive_file 9\n{reclaimed}")


V2 = ("memory.max", "memory.current")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_version_2_each_group_limits_those_in_it(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/job/step")
    top = tmp_path / "sys/fs/cgroup"
    group(top / "job/step", V2, "max", 300, "inactive_file 7")
    group(top / "job", V2, 1000, 400, "inactive_file 50")
    assert list(free_in_groups(tmp_path)) == [1000 - 400 + 50]


def test_version_1_in_a_container(tmp_path):
    # The path is that of the host; the container sees its own group as the root.
    lines = "12:cpu,cpuacct:/a\n4:memory:/docker/abc\n0::/docker/abc"
    write(tmp_path / "proc/self/cgroup", lines)
    top = tmp_path / "sys/fs/cgroup/memory"
    group(top, V1, 2000, 1500, "inactive_file 1\ntotal_inactive_file 100")
    assert list(free_in_groups(tmp_path)) == [600]


def test_a_group_that_is_over_its_limit(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/")
    group(tmp_path / "sys/fs/cgroup", V2, 1000, 1200, "inactive_file 0")
    assert list(free_in_groups(tmp_path)) == [0]


def test_no_groups(tmp_path):
    assert list(free_in_groups(tmp_path)) == []


def test_workers_are_processes_by_the_same_command(tmp_path):
    parent = tmp_path / f"proc/{os.getppid()}/task"
    write(parent / "10/children", "11 12 13")
    write(parent / "14/children", "15")
    for process, command in {
        "self": "python\0-m\0loky\0LokyProcess-2\0--pipe\x0017",
        "11": "python\0-m\0loky\0LokyProcess-1\0--pipe\x0015",
        "12": "python\0-m\0loky\0LokyProcess-2\0--pipe\x0017",
        "13": "python\0-m\0resource_tracker",
        "15": "python\0-m\0loky\0LokyProcess-3\0--pipe\x0019",
    }.items():
        write(tmp_path / f"proc/{process}/cmdline", command)
    assert n_workers(tmp_path) == 3


def test_a_system_without_proc_has_one_worker(tmp_path):
    assert n_workers(tmp_path) == 1


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(free_memory, "_free_on_host", lambda: 6000)
    monkeypatch.setattr(free_memory, "free_in_groups", lambda root: [2400])
    monkeypatch.setattr(free_memory, "n_workers", lambda: 2)


def test_memory_is_divided(machine):
    cpu = torch.device("cpu")
    assert free_bytes(cpu) == 1200
    with in_progress():
        assert free_bytes(cpu) == 1200
        with in_progress():
            assert free_bytes(cpu) == 600
    assert free_bytes(cpu) == 1200


def test_threads_share_it(machine):
    found = []

    def train(wait):
        with in_progress():
            wait.wait(timeout=600)
            found.append(free_bytes(torch.device("cpu")))
            wait.wait(timeout=600)

    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=train, args=(barrier,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [400, 400, 400]
