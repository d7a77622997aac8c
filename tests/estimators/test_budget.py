"""What a trajectory may take of a device's memory and the host's."""

import pytest

from skinfluence.estimators._recording.budget import with_host

GIB = 2**30


@pytest.mark.parametrize(
    ("asked", "on_device", "free_on_host", "expected"),
    [
        ("auto", 4 * GIB, 64 * GIB, 8 * GIB),  # at most 4 GiB on each
        ("auto", 4 * GIB, 8 * GIB, 6 * GIB),  # a quarter of what is free
        ("auto", GIB, 64 * GIB, 3 * GIB),  # at most twice what is on the device
        (5 * GIB, GIB, 64 * GIB, 5 * GIB),  # as asked
    ],
)
def test_device_and_host_together(asked, on_device, free_on_host, expected):
    assert with_host(asked, on_device, free_on_host) == expected
