"""Temporary files that killed writers leave: removed by the next, and nothing else is."""

import os
import subprocess
import sys
import threading

import pytest
from children import LONGEST

from kseq.data.files import atomic_path, write_bytes

pytestmark = pytest.mark.engine("torch")


def names_in(folder):
    return [entry.name for entry in folder.iterdir()]


KILLED = (
    "import os, signal, sys; from kseq.data.files import atomic_path\n"
    "with atomic_path(sys.argv[1]) as part:\n"
    "    part.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
)


def kill_a_writer(target):
    done = subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False, timeout=LONGEST)
    assert done.returncode == -9


def test_a_killed_write_leaves_the_old_file_and_the_next_one_tidies_up(tmp_path):
    target = tmp_path / "model.keras"
    write_bytes(target, b"old")
    kill_a_writer(target)
    assert target.read_bytes() == b"old"
    assert len(names_in(tmp_path)) == 2

    write_bytes(tmp_path / "another.txt", b"new")
    assert sorted(names_in(tmp_path)) == ["another.txt", "model.keras"]


def test_a_write_that_is_going_on_is_not_tidied_up(tmp_path):
    begun, end = threading.Event(), threading.Event()

    def write_slowly():
        with atomic_path(tmp_path / "slow.txt") as part:
            begun.set()
            end.wait(LONGEST)
            part.write_bytes(b"slow")

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert begun.wait(LONGEST)
    write_bytes(tmp_path / "quick.txt", b"quick")
    write_bytes(tmp_path / "slow.txt", b"overtakes")
    end.set()
    writer.join()
    assert (tmp_path / "slow.txt").read_bytes() == b"slow"
    assert sorted(names_in(tmp_path)) == ["quick.txt", "slow.txt"]


@pytest.mark.parametrize(
    "name",
    [
        ".model.kseq-part-0123.keras",
        "model.kseq-part-0123456789abcdef.keras",
        ".model.kseq-part-0123456789abcdeF.keras",
        ".kseq-part-0123456789abcdef.keras",
    ],
)
def test_files_of_other_names_are_left_alone(tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")
    write_bytes(tmp_path / "model.keras", b"new")
    assert (tmp_path / name).read_bytes() == b"mine"


def test_what_only_has_the_name_of_a_temporary_file_is_left_alone(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    name = ".model.kseq-part-0123456789abcde{}.keras"
    (tmp_path / name.format(0)).symlink_to(tmp_path / "mine")
    (tmp_path / name.format(1)).mkdir()
    os.mkfifo(tmp_path / name.format(2))

    write_bytes(tmp_path / "model.keras", b"new")

    assert len(names_in(tmp_path)) == 5
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_without_locks_files_are_written_and_nothing_is_removed(tmp_path, monkeypatch):
    kill_a_writer(tmp_path / "model.keras")
    monkeypatch.setattr("kseq.data.files.fcntl", None)
    write_bytes(tmp_path / "model.keras", b"new")
    assert (tmp_path / "model.keras").read_bytes() == b"new"
    assert len(names_in(tmp_path)) == 2
