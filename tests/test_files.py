"""Files that are written whole or not at all, also where processes are killed."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from fastconv.data import files
from fastconv.data.files import written_atomically

fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def killed_while_writing(path):
    """Leave what a process leaves that is killed in the middle."""
    child = os.fork()
    if child == 0:
        with written_atomically(path) as file:
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def write(path, content):
    with written_atomically(path) as file:
        file.write(content)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", ["a.npz", "x" * 250, "ü[*]?.npz"])
def test_the_next_save_removes_what_a_killed_one_left(tmp_path, name):
    path = tmp_path / name
    write(path, b"old")
    killed_while_writing(path)
    killed_while_writing(path)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2  # the second has removed what the first left
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_is_left_of_other_files_stays(tmp_path):
    killed_while_writing(tmp_path / "a")
    (tmp_path / ".mine.part").write_bytes(b"of the user")
    write(tmp_path / "b", b"new")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_that_is_being_written_is_not_left_over(tmp_path):
    path = tmp_path / "a"
    with written_atomically(path) as first:
        first.write(b"first")
        write(path, b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    path, lock, removed = tmp_path / "a", files._lock, []

    def late(file, wait=True):
        if wait and not removed:
            removed.append(file.name)
            os.unlink(file.name)
        lock(file, wait)

    monkeypatch.setattr(files, "_lock", late)
    write(path, b"content")
    assert removed and path.read_bytes() == b"content"


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    """As on a file system that has none: nobody can tell what is left over."""
    path = tmp_path / "a"

    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with written_atomically(path) as first:
        first.write(b"first")
        write(path, b"second")
    assert path.read_bytes() == b"first"


def test_many_savers_of_one_file(tmp_path):
    path, contents, wrong = tmp_path / "a", {bytes([n]) * 10_000 for n in range(4)}, []

    def save(content):
        try:
            for _ in range(50):
                write(path, content)
                if path.read_bytes() not in contents:
                    wrong.append("a mixture")
        except OSError as error:
            wrong.append(error)

    threads = [threading.Thread(target=save, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert list(tmp_path.iterdir()) == [path]
