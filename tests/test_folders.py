"""Folders that are replaced as a whole: at every moment there is one of the two."""

import os
import stat
from pathlib import Path

import pytest

from skinfluence import _folders
from skinfluence._files import write_file
from skinfluence._folders import folder_to_read, new_folder, settled
from skinfluence.exceptions import TrajectoryFileError


def ours(folder):
    """Tell what may be overwritten: a folder with a sheet."""
    if not (folder / "sheet").exists():
        raise TrajectoryFileError(f"{folder} has no sheet")


def save(path, text, **options):
    with new_folder(Path(path), ours, **options) as folder:
        write_file(folder / "sheet", text.encode())


def names(folder):
    return sorted(os.listdir(folder))


@pytest.fixture(params=[True, False], ids=["exchanged", "renamed"])
def way(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(_folders, "_exchanged", lambda one, other: False)
    return request.param


def test_replacing(tmp_path, way):
    save(tmp_path / "run", "old")
    with pytest.raises(TrajectoryFileError, match=r"run.* must be new or empty"):
        save(tmp_path / "run", "new")
    save(tmp_path / "run", "new", overwrite=True)
    assert names(tmp_path) == ["run"]
    assert (tmp_path / "run" / "sheet").read_text() == "new"


def test_only_what_was_saved_is_replaced(tmp_path, way):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "all.tex").write_text("all of it")
    (tmp_path / "file").write_text("mine")
    for name in ("thesis", "file"):
        with pytest.raises(TrajectoryFileError, match=rf"{name}.* must hold what was"):
            save(tmp_path / name, "new", overwrite=True)
    assert (tmp_path / "thesis" / "all.tex").read_text() == "all of it"
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["file", "thesis"]


@pytest.mark.parametrize("path", [".", "..", "here/.."])
def test_the_working_folder_stays(tmp_path, monkeypatch, path):
    (tmp_path / "in" / "here").mkdir(parents=True)
    for folder in (tmp_path / "in", tmp_path):
        write_file(folder / "sheet", b"mine")
    monkeypatch.chdir(tmp_path / "in")
    with pytest.raises(TrajectoryFileError, match="must not be the working folder"):
        save(path, "new", overwrite=True)
    assert Path("sheet").read_text() == "mine"


def test_without_a_working_folder_others_are_replaced(tmp_path, monkeypatch):
    save(tmp_path / "saved", "old")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    save(tmp_path / "saved", "new", overwrite=True)
    assert (tmp_path / "saved" / "sheet").read_text() == "new"


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o777])
def test_permissions_stay(tmp_path, way, mode):
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    for text in ("first", "second"):
        save(tmp_path / "run", text, overwrite=True)
        assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == mode
    (tmp_path / "run" / "sheet").chmod(0o600)
    write_file(tmp_path / "run" / "sheet", b"third")
    assert stat.S_IMODE((tmp_path / "run" / "sheet").stat().st_mode) == 0o600


def test_new_ones_have_those_of_the_process(tmp_path):
    before = os.umask(0o027)
    try:
        save(tmp_path / "run", "new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "run" / "sheet").stat().st_mode) == 0o640


def test_a_link_to_a_folder_stays_one(tmp_path, way):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    for text in ("first", "second"):
        save(link, text, overwrite=True)
        assert link.is_symlink()
        assert (link / "sheet").read_text() == text
    assert names(tmp_path) == ["elsewhere", "link"]
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(TrajectoryFileError, match=r"link.* cannot be written"):
        save(link, "third", overwrite=True)
    with pytest.raises(TrajectoryFileError, match=r"link.* cannot be read"):
        folder_to_read(link)


def test_a_file_that_is_written_follows_no_link(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "sheet").symlink_to(tmp_path / "precious")
    write_file(tmp_path / "sheet", b"new")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "sheet").read_text() == "new"


needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="processes cannot be forked"
)


def killed_at(monkeypatch, call, number, action):
    """Do something in a process that ends at a call of the system."""
    process = os.fork()
    if not process:
        try:
            original, left = getattr(os, call), [number]

            def last(*arguments, **options):
                left[0] -= 1
                if not left[0]:
                    os._exit(9)
                return original(*arguments, **options)

            monkeypatch.setattr(os, call, last)
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9


@needs_fork
@pytest.mark.parametrize("call", ["mkdir", "chmod", "fsync", "rename", "unlink"])
def test_killed_while_it_replaces(tmp_path, monkeypatch, way, call):
    path = tmp_path / "run"
    for number in range(1, 9):
        save(path, "old", overwrite=True)
        if not killed_at(
            monkeypatch, call, number, lambda: save(path, "new", overwrite=True)
        ):
            break
        assert way is False or path.exists()
        # Where names cannot be exchanged, the next one to look puts the old one back.
        assert (settled(path) / "sheet").read_text() in ("old", "new")
    assert number < 8
    # What was left is gone with the next save.
    save(path, "last", overwrite=True)
    assert names(tmp_path) == ["run"]
    assert (path / "sheet").read_text() == "last"


def test_what_others_have_stays(tmp_path):
    for name in (".run-settings", ".run-00000000.part.d", ".run2-00000000.part"):
        (tmp_path / name).mkdir()
    (tmp_path / ".run-11111111.part").write_text("a file")
    (tmp_path / ".run-22222222.part").symlink_to(tmp_path / ".run-settings")
    before = names(tmp_path)
    with new_folder(tmp_path / "run", ours) as folder:
        (folder / "sheet").touch()
        save(tmp_path / "run", "of another one")  # at the same time
        assert folder.exists()
        (tmp_path / "run" / "sheet").unlink()
    assert names(tmp_path) == sorted([*before, "run"])


@pytest.mark.parametrize("name", ["a" * 250, "ä" * 125, "a" * 200, "a" * 201])
def test_names_may_be_as_long_as_names_can_be(tmp_path, way, name):
    path = tmp_path / name
    save(path, "old")
    save(path, "new", overwrite=True)
    assert (path / "sheet").read_text() == "new"
    with pytest.raises(RuntimeError), new_folder(path, ours, overwrite=True):
        raise RuntimeError
    assert names(tmp_path) == [name]


def test_what_a_killed_process_left_of_a_long_name_is_removed(tmp_path):
    path = tmp_path / ("a" * 250)
    left, other = (path.with_name(_folders._beside(n)) for n in (path.name, "b" * 250))
    left.mkdir()
    other.mkdir()
    save(path, "new")
    assert names(tmp_path) == sorted([other.name, path.name])
