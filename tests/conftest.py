"""What all tests share."""

import pytest
import torch


def pytest_collection_modifyitems(items):
    """Take what lasts longest first: then no process waits for another at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def one_thread():
    """Train as a forked process does, which has no threads but its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
