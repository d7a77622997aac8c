"""pytest runs the examples of the pages, each page in a folder of its own."""

import pytest

collect_ignore = ["_build", "auto_examples", "conf.py", "generated"]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    """Let a page write files where they go again."""
    monkeypatch.chdir(tmp_path)
