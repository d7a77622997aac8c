"""What the tests of compiled steps share."""

import pytest

from skinfluence.training import _compiler


@pytest.fixture
def counted(monkeypatch):
    """Count what is compiled, and run it without a compiler."""
    compiled = []

    def count(graph, examples):
        compiled.append(graph)
        return graph

    monkeypatch.setattr(_compiler, "compile_graph", count)
    return compiled
