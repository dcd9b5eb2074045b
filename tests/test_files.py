import errno
import json
import os
import stat

import pytest

from kseq.checks import shown_path
from kseq.data.files import NotWrittenError, atomic_path, made_folder, write_bytes, write_text
from kseq.errors import FileError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")


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


def test_a_file_that_is_replaced_hands_on_its_permissions(tmp_path):
    write_bytes(tmp_path / "a", b"old")
    (tmp_path / "a").chmod(0o640)
    write_bytes(tmp_path / "a", b"new")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "a"
    link.symlink_to("elsewhere/b")
    for content in (b"new", b"newer"):
        write_bytes(link, content)
        assert link.is_symlink()
        assert (tmp_path / "elsewhere" / "b").read_bytes() == content
        assert names_in(tmp_path / "elsewhere") == ["b"]


def test_a_long_name_is_a_name(tmp_path):
    name = "\N{SNOWMAN}" * 80 + ".txt"
    write_bytes(tmp_path / name, b"new")
    assert names_in(tmp_path) == [name]


# What cannot be written


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "found a folder; choose another path"),
        ("pipe", "found a device or a pipe; choose another path"),
        ("file/a", "found Not a directory; create it"),
        ("loop", "found Too many levels of symbolic links; create it"),
        ("a" * 300, "found File name too long; create it"),
        ("a\0b", "found "),
    ],
    ids=["folder", "pipe", "file as folder", "link to itself", "long name", "nul"],
)
def test_a_path_that_cannot_be_a_file_is_refused(tmp_path, name, words):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileError) as raised:
        write_bytes(tmp_path / name, b"new")
    assert words in str(raised.value)
    assert " must " in str(raised.value)
    assert sorted(names_in(tmp_path)) == ["file", "loop", "pipe"]


def test_a_device_is_not_replaced():
    with pytest.raises(FileError, match=r"/dev/null: must be the path of a file, found a device"):
        write_bytes("/dev/null", b"new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_disk_that_does_not_take_the_bytes_is_told_in_our_words(tmp_path, number, wrapped):
    target = tmp_path / "a.txt"

    def written():
        with atomic_path(target) as part:
            part.write_bytes(b"half")
            try:
                raise OSError(number, os.strerror(number))
            except OSError as error:
                if wrapped:
                    raise RuntimeError("a library's own words") from error
                raise

    for kept in ("", ", the version before is untouched"):
        with pytest.raises(NotWrittenError) as raised:
            written()
        assert str(raised.value) == (
            f"{shown_path(target)}: must be written whole, found {os.strerror(number)}; "
            f"free some space or choose another disk{kept}"
        )
        assert raised.value.found == os.strerror(number)
        assert raised.value.exit_code == 5
        target.write_bytes(b"old")
    assert target.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_last_step_leaves_the_old_file(tmp_path, monkeypatch, step):
    target = tmp_path / "a.txt"
    write_bytes(target, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(FileError, match="found No space left"):
        write_bytes(target, b"new")
    assert target.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.txt"]


def test_other_errors_keep_their_own_words(tmp_path):
    def read_while_writing():
        with atomic_path(tmp_path / "a.txt"):
            (tmp_path / "missing").read_bytes()

    with pytest.raises(FileNotFoundError, match="missing"):
        read_while_writing()
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_forced_to_disk_is_no_failure(tmp_path, monkeypatch):
    force = os.fsync

    def files_alone(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        force(handle)

    monkeypatch.setattr(os, "fsync", files_alone)
    write_bytes(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"new"


def test_file_and_folder_are_forced_to_disk_before_and_after_the_rename(tmp_path, monkeypatch):
    target, done = tmp_path / "a.txt", []
    force, rename = os.fsync, os.replace

    def fsync(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        force(handle)

    def replace(source, to):
        done.append("rename")
        rename(source, to)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_bytes(target, b"new")
    assert done == ["file", "rename", "folder"]


def test_half_a_surrogate_pair_becomes_its_escape(tmp_path):
    write_text(tmp_path / "a.json", '"caf\udce9"')
    assert (tmp_path / "a.json").read_bytes() == b'"caf\\udce9"'
    assert json.loads((tmp_path / "a.json").read_bytes()) == "caf\udce9"


# Folders


def fail_in(folder, *names):
    with made_folder(folder):
        for name in names:
            (folder / name).write_bytes(b"")
        raise RuntimeError


def test_a_folder_made_for_nothing_goes_again(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError):
        fail_in(tmp_path / "old" / "new" / "newer")
    assert names_in(tmp_path) == ["old"]
    assert names_in(tmp_path / "old") == []


def test_a_folder_with_something_in_it_stays(tmp_path):
    with pytest.raises(RuntimeError):
        fail_in(tmp_path / "new" / "newer", "kept")
    assert names_in(tmp_path / "new" / "newer") == ["kept"]


def test_a_folder_that_was_there_stays(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError):
        fail_in(tmp_path / "old")
    assert names_in(tmp_path) == ["old"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(FileError, match=r"file/new: the folder must exist and be writable, found"),
        made_folder(tmp_path / "file" / "new"),
    ):
        raise AssertionError("there is no folder to use")
