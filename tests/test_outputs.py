"""Files that a user names: what becomes of links, modes, pipes, and of failures."""

import os
import stat
import threading
from pathlib import Path

import pytest

from skinfluence._outputs import check_output, is_stdout, is_stream, new_output

unix = pytest.mark.skipif(os.name != "posix", reason="links, modes, pipes and devices")


def put(path, content=b"new", error=None):
    check_output(path)
    with new_output(path) as file:
        file.write(content)
        if error is not None:
            raise error


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.csv"
    with new_output(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert names(tmp_path) == ["a.csv"]


def test_a_trial_leaves_nothing(tmp_path):
    check_output(tmp_path / "a.csv")
    assert names(tmp_path) == []
    (tmp_path / "a.csv").write_bytes(b"old")
    check_output(tmp_path / "a.csv")
    assert names(tmp_path) == ["a.csv"]
    assert (tmp_path / "a.csv").read_bytes() == b"old"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_breaks_off_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    with pytest.raises(error):
        put(path, b"half", error)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.csv"]


def test_files_of_the_user_beside_it_are_not_touched(tmp_path):
    for name in ("a.csv.part", ".a.csv.part"):
        (tmp_path / name).write_bytes(b"mine")
    put(tmp_path / "a.csv")
    for name in ("a.csv.part", ".a.csv.part"):
        assert (tmp_path / name).read_bytes() == b"mine"
    assert len(names(tmp_path)) == 3


def test_names_as_long_as_they_may_be(tmp_path):
    path = tmp_path / ("a" * 251 + ".csv")
    put(path)
    assert path.read_bytes() == b"new"


@unix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    path.chmod(mode)
    put(path)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@unix
def test_a_new_file_has_the_mode_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        put(tmp_path / "a.csv")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == 0o640


@unix
@pytest.mark.parametrize("exists", [True, False])
def test_links_go_on_pointing_at_their_file(tmp_path, exists):
    (tmp_path / "there").mkdir()
    file = tmp_path / "there" / "a.csv"
    if exists:
        file.write_bytes(b"old")
    (tmp_path / "there" / "second.csv").symlink_to("a.csv")
    link = tmp_path / "first.csv"
    link.symlink_to(Path("there", "second.csv"))
    put(link)
    assert os.readlink(link) == os.path.join("there", "second.csv")
    assert os.readlink(tmp_path / "there" / "second.csv") == "a.csv"
    assert file.read_bytes() == b"new"
    assert not file.is_symlink()


@unix
def test_a_circle_of_links_is_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match=r"symbolic links"):
        check_output(tmp_path / "a")


@unix
def test_pipes_are_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert is_stream(path)
    check_output(path)
    found = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()))
    reader.start()
    with new_output(path) as file:
        file.write(b"through")
    reader.join(600)
    assert found == [b"through"]
    assert stat.S_ISFIFO(path.stat().st_mode)


@unix
def test_a_pipe_gets_nothing_of_what_breaks_off(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(ValueError, match="broken"):
        put(path, b"half", ValueError("broken"))
    assert os.read(reader, 9) == b""
    os.close(reader)


@unix
def test_devices_are_written_to_and_stay():
    assert is_stream(Path("/dev/null"))
    put(Path("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux")
def test_a_full_device_is_an_error():
    with (
        pytest.raises(OSError, match="No space"),
        new_output(Path("/dev/full")) as file,
    ):
        file.write(b"new")


@unix
@pytest.mark.parametrize("by_link", [False, True])
def test_an_open_descriptor_is_written_on(tmp_path, by_link):
    # As in: (echo first; skinfluence ... --output /dev/fd/3) 3> file
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"first,")
    name = Path(f"/dev/fd/{descriptor}")
    if by_link:
        (tmp_path / "link").symlink_to(name)
        name = tmp_path / "link"
    assert is_stream(name)
    assert not is_stdout(name)
    put(name, b"second,")
    os.write(descriptor, b"third")
    os.close(descriptor)
    assert path.read_bytes() == b"first,second,third"


@unix
def test_knows_the_standard_output():
    assert is_stdout(Path("/dev/stdout"))
    assert not is_stdout(Path("/dev/stderr"))


@unix
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_full_disk_shows_before_the_work(tmp_path, old):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.csv"
    if old is not None:
        path.write_bytes(old)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            check_output(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ([] if old is None else ["a.csv"])


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="Linux")
def test_a_folder_that_takes_no_files_shows_before_the_work():
    with pytest.raises(OSError, match="No such file"):
        check_output(Path("/proc/a.csv"))


@unix
def test_a_file_that_must_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.touch(0o444)
    # The superuser may write everything: asked for another user.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError):
        check_output(path)
