"""Tests on the stand-in device, each run in one process that has it.

torch has a device for as long as a process lasts, which can then no longer fork: this
process stays without it, and the other one is started at the first such test.
"""

import atexit
import functools
import os
import sys
from multiprocessing import get_context

import pytest
from _pytest.runner import runtestprotocol


def in_other_process(item, nextitem):
    """Run a test in the other process, and log its reports here."""
    items = item.session.items
    paths = {str(each.path) for each in items if each.get_closest_marker("stand")}
    connection = _started(*sorted(paths))
    connection.send((item.nodeid, nextitem and nextitem.nodeid))
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for data in connection.recv():
        report = hook.pytest_report_from_serializable(config=item.config, data=data)
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


@functools.cache
def _started(*paths):
    context = get_context("spawn")
    connection, theirs = context.Pipe()
    context.Process(target=_serve, args=(theirs, paths)).start()
    theirs.close()  # if the other process dies, this one is told
    atexit.register(connection.close)  # and the other way round
    return connection


def _serve(connection, paths):
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the reports hold what is printed
    from tests.devices import stand_in

    stand_in.register()
    arguments = [*paths, "-m", "stand", "-p", "no:cacheprovider", "-p", "no:xdist"]
    pytest.main(arguments, [_Server(connection)])


class _Server:
    """Runs the tests that it is told to, in place of all."""

    def __init__(self, connection):
        self.connection = connection

    def pytest_runtestloop(self, session):
        items = {item.nodeid: item for item in session.items}
        hook = session.config.hook
        while True:
            try:
                name, following = self.connection.recv()
            except EOFError:  # no more tests
                return True
            reports = runtestprotocol(items[name], False, items.get(following))
            self.connection.send(
                [
                    hook.pytest_report_to_serializable(config=session.config, report=r)
                    for r in reports
                ]
            )
