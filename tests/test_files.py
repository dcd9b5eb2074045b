import os
import stat
import subprocess
import sys

import pytest

from kseq.data.files import atomic_path, write_bytes, write_text
from kseq.errors import FileError


def names_in(folder):
    return [entry.name for entry in folder.iterdir()]


def test_a_new_file_appears_whole_and_alone(tmp_path):
    write_text(tmp_path / "note.txt", "naïve 🙂\n")
    assert (tmp_path / "note.txt").read_bytes() == "naïve 🙂\n".encode()
    assert names_in(tmp_path) == ["note.txt"]


def test_nothing_has_the_name_before_the_block_ends(tmp_path):
    target = tmp_path / "model.keras"
    with atomic_path(target) as part:
        part.write_bytes(b"new")
        assert not target.exists()
        assert part.parent == tmp_path
        assert part.suffix == ".keras"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, stop):
    target = tmp_path / "model.keras"
    write_bytes(target, b"old")

    def stopped():
        with atomic_path(target) as part:
            part.write_bytes(b"half of the n")
            raise stop

    with pytest.raises(stop):
        stopped()
    assert target.read_bytes() == b"old"
    assert names_in(tmp_path) == ["model.keras"]


def test_a_killed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "model.keras"
    write_bytes(target, b"old")
    code = (
        "import os, signal, sys; from kseq.data.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as part:\n"
        "    part.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -9
    assert target.read_bytes() == b"old"


def test_others_may_read_the_file(tmp_path):
    before = os.umask(0o022)
    try:
        write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileError, match=r"note.txt: the folder must exist and be writable, found"):
        write_text(tmp_path / "none" / "note.txt", "")
