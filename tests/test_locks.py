"""Two trainings never share a run folder, and a lock outlives nobody."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from children import running
from command_line import FOX, QUICK, TINY, refused, works

from kseq import FileError
from kseq.runs.lock import locked

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

ROOT = Path(__file__).resolve().parent.parent
HOLD = """
import sys, time
from pathlib import Path
from kseq.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    program = [sys.executable, "-c", HOLD, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with running(program, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout.readline() == b"held\n"
        yield child


def test_a_lock_is_there_while_it_is_held(tmp_path):
    with locked(tmp_path):
        held = json.loads((tmp_path / "lock").read_text())
        assert held["process"] == os.getpid()
        assert held["since"].startswith(time.strftime("%Y"))
    assert list(tmp_path.iterdir()) == []


def test_a_second_holder_is_told_of_the_first(tmp_path, holder):
    words = f"must be used by one training at a time, found process {holder.pid} on .*; wait for"
    with pytest.raises(FileError, match=words), locked(tmp_path):
        pass
    assert json.loads((tmp_path / "lock").read_text())["process"] == holder.pid


def test_a_second_holder_in_the_same_process_is_told_too(tmp_path):
    with locked(tmp_path), pytest.raises(FileError, match="found process"), locked(tmp_path):
        pass


def test_a_lock_of_one_that_was_killed_is_taken_over_with_a_note(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    words = f"lock: taken over from process {holder.pid} on .*, which ended without leaving"
    with pytest.warns(UserWarning, match=words), locked(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", "{", "7"])
def test_a_file_that_names_nobody_is_no_lock(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    with locked(tmp_path):
        pass


def test_a_lock_is_let_go_by_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "lock").mkdir()
    words = "lock: the run folder must be writable, found Is a "
    with pytest.raises(FileError, match=words), locked(tmp_path):
        pass


@pytest.mark.filterwarnings("default:.*taken over from process")
def test_two_commands_in_one_folder(tmp_path, monkeypatch, holder):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(FOX * 3)
    line = refused(5, "train", "a.txt", *QUICK, "--run-dir", ".")
    assert f".: must be used by one training at a time, found process {holder.pid} on " in line
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    said = works("train", "a.txt", *TINY, "--epochs", "1", "--run-dir", ".")
    assert [note for note in said.notes if f"taken over from process {holder.pid}" in note]
