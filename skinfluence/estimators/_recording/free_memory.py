"""The free memory that one training may count on, of all that share it."""

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ...training import own_memory

# Where the size of physical memory is not known.
_UNKNOWN = 16 * 2**30

# Limit, usage, and what of it the system reclaims when it is needed.
_GROUP_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}

_lock = threading.Lock()
_in_progress = 0


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device, divided by the trainings that share it."""
    free = own_memory(device)
    if free is None:
        free = min([_free_on_host(), *free_in_groups(Path("/"))])
    return free // _sharing()


def free_on_disk(folder: Path) -> int:
    """Return the free space of a folder's disk, divided by those that share it."""
    return shutil.disk_usage(folder).free // _sharing()


@contextmanager
def in_progress() -> Iterator[None]:
    """Count a training of this process among those that share the memory."""
    global _in_progress
    with _lock:
        _in_progress += 1
    try:
        yield
    finally:
        with _lock:
            _in_progress -= 1


def _sharing() -> int:
    return max(1, _in_progress) * n_workers()


def _free_on_host() -> int:
    try:
        # Includes what the system can reclaim; only Linux reports it.
        lines = Path("/proc/meminfo").read_text().splitlines()
        values = dict(line.split(":") for line in lines)
        return 1024 * int(values["MemAvailable"].split()[0])
    except (OSError, KeyError):
        names = getattr(os, "sysconf_names", {})
        if "SC_PHYS_PAGES" not in names:
            return _UNKNOWN
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_in_groups(root: Path) -> Iterator[int]:
    """Yield what is free in this process's control groups, of version 1 or 2.

    Each group limits those in it. A container may see its own group as the root.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        kind = "memory" if "memory" in controllers.split(",") else controllers
        if kind in _GROUP_FILES:
            top = root / "sys/fs/cgroup" / kind
            group = top / path.lstrip("/")
            for folder in (group, *group.parents):
                yield from _free_in(folder, *_GROUP_FILES[kind])
                if folder == top:
                    break


def _free_in(folder: Path, limit: str, usage: str, reclaimed: str) -> Iterator[int]:
    try:
        most, used = ((folder / name).read_text().strip() for name in (limit, usage))
        stat = (folder / "memory.stat").read_text()
    except OSError:
        return
    if most == "max":
        return
    found = re.search(rf"^{reclaimed} (\d+)$", stat, re.MULTILINE)
    yield max(0, int(most) - int(used) + (int(found[1]) if found else 0))


def n_workers(root: Path = Path("/")) -> int:
    """Return how many processes like this one its parent has, such as loky's workers.

    They were started by the same command, but for the numbers in it. Only Linux tells.
    """
    own = _command(root, "self")
    listed = (root / f"proc/{os.getppid()}/task").glob("*/children")
    try:
        children = [child for each in listed for child in each.read_text().split()]
    except OSError:
        return 1
    return max(1, sum(_command(root, child) == own for child in children))


def _command(root: Path, process: str) -> bytes:
    try:
        command = (root / f"proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""
    return re.sub(rb"\d+", b"", command)
