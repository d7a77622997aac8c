"""What all tests share."""

import ctypes
import sys
from collections import defaultdict

import pytest

from tests.devices.stand_process import in_other_process

CAP_DAC_OVERRIDE = 1 << 1


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the marks
def pytest_collection_modifyitems(items):
    """Mark pages and the bulk of each cross product as slow; take what is slow first.

    What lasts longest comes first, so that no process waits for another at the end.
    """
    tables = defaultdict(list)
    for item in items:
        if hasattr(item, "callspec"):
            on_stand = item.get_closest_marker("stand") is not None
            tables[item.nodeid.partition("[")[0], on_stand].append(item)
    for table in tables.values():
        for item in set(table) - covering(table):
            item.add_marker(pytest.mark.slow)
    for item in items:
        if item.path.suffix == ".rst":
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_runtest_protocol(item, nextitem):
    """Run what is marked `stand` where that device is."""
    if item.get_closest_marker("stand") and not hasattr(sys.modules["torch"], "stand"):
        in_other_process(item, nextitem)
        return True
    return None


@pytest.fixture(autouse=True)
def no_figures():
    """Close the figures of what ran before: pyplot warns of more than twenty."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")


def covering(table):
    """Return few rows with each value of each `parametrize`: those of a diagonal."""
    seen, rows = set(), set()
    values = {item: set(enumerate(values_of(item))) for item in table}
    for n_new in range(max(map(len, values.values())), 0, -1):
        for item in table:
            if len(values[item] - seen) >= n_new:
                seen |= values[item]
                rows.add(item)
    return rows


def values_of(item):
    """Return a row's value in each `parametrize`, for one argument or several."""
    params = {name: known(value) for name, value in item.callspec.params.items()}
    names = [mark.args[0] for mark in item.iter_markers("parametrize")]
    split = [each.split(",") if isinstance(each, str) else each for each in names]
    together = [tuple(params.pop(name.strip()) for name in each) for each in split]
    return [*together, *params.values()]  # those of fixtures last


def known(value):
    """Return what tells a value from others, in every process alike."""
    # Two equal numbers or texts may be one object in one process and two in another.
    return repr(value) if isinstance(value, str | int | float) else id(value)


@pytest.fixture
def one_thread():
    """Train as a forked process does, which has no threads but its own."""
    import torch  # not where the tests are only given out to other processes

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def read_only_folder(tmp_path):
    """Return a folder in which this process can make nothing: not even as root."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    # What lets root write everywhere is a capability of each thread, and can be laid
    # down for a while. Another user has it not.
    libc = ctypes.CDLL(None)
    header, before = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc.capget(header, before)
    effective, *others = before
    less = (ctypes.c_uint32 * 6)(effective & ~CAP_DAC_OVERRIDE, *others)
    libc.capset(header, less)
    yield folder
    libc.capset(header, before)
