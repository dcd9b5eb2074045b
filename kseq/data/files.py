"""Whole files or none: every file kseq writes goes through here.

The bytes go to a temporary file in the same folder, are forced to disk, and take the final
name in one step (POSIX rename(2)); a reader sees the old version or the new one, never a part.

    .story.kseq-part-5f0c9b1e22a4d7c3.keras      while it is written, under an flock(2)
    story.keras                                  when it is whole

The system gives the lock of a killed writer back, so the next writer in that folder knows by it
what nobody will finish, and removes it.  Where there are no such locks nothing is removed.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kseq.checks import shown_path
from kseq.errors import FileError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

# What the disk says, not what the caller did wrong.
_NOT_WRITTEN = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EROFS}
# What a file system says that cannot force a folder to disk, or lets nobody list it.
_NOT_FORCED = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}
_PART = re.compile(r"\..*\.kseq-part-[0-9a-f]{16}(\..*)?", re.DOTALL)
# A name has at most 255 bytes, and a character at most 4 of them.
_LONGEST_STEM = 40


class NotWrittenError(FileError):
    """A file that could not be written; `found` is what the system said."""

    def __init__(self, message: str, found: str) -> None:
        super().__init__(message)
        self.found = found


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an error.

    The temporary file keeps the suffix of `path`, because some writers choose their format by
    it.  If the block raises, the temporary file is removed and `path` is as it was.  A link stays
    a link: the file it points to is replaced.  A file that is replaced hands on its permissions.

    Raises:
        NotWrittenError: a FileError: the folder is missing or cannot be written to, the disk is
            full or fails, or `path` is a folder or a device.

    Example:
        >>> import tempfile, pathlib
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_path(target) as part:
        ...     _ = part.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    target = _target(path)
    with _part_beside(target, path) as part:
        with disk_errors_told(target, path):
            yield part
            _force_to_disk(part)
            os.replace(part, target)
        _force_folder_to_disk(target.parent)


@contextmanager
def made_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder for the files of the block; if it raises, what was made and is empty goes.

    Raises:
        NotWrittenError: a FileError: the folder cannot be made.

    Example:
        >>> with made_folder("new/folder") as folder:
        ...     folder.is_dir()
        True
    """
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_place(path, error) from error
    try:
        yield path
    except BaseException:
        for folder in missing:
            with suppress(OSError):  # there is something in it
                folder.rmdir()
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all.

    Half a surrogate pair, which is no UTF-8, becomes the escape that JSON and Python have for it.
    """
    write_bytes(path, content.encode("utf-8", "backslashreplace"))


def put_in_place(part: Path, path: Path) -> None:
    """Give `part`, a file of the same disk that is whole, the name `path` in one step.

    For a file too large to be written anew after an interruption; others go by `atomic_path`.

    Raises:
        NotWrittenError: a FileError: the disk is full or fails.
    """
    with disk_errors_told(path, path):
        _force_to_disk(part)
        os.replace(part, path)
    _force_folder_to_disk(path.parent)


@contextmanager
def held_alone(path: Path) -> Iterator[None]:
    """Keep other processes that name the same file waiting while the block runs.

    The file stays, empty.  Where there is no flock(2) nobody waits.

    Raises:
        NotWrittenError: a FileError: the file cannot be made.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _no_place(path, error) from error
    try:
        with suppress(OSError):  # a file system without locks
            _lock(handle)
        yield
    finally:
        os.close(handle)


def _target(path: str | os.PathLike[str]) -> Path:
    """Return where the bytes go: `path`, or what it links to."""
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _no_place(path, error) from error
    if mode is None or stat.S_ISREG(mode):
        return target
    found = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
    raise NotWrittenError(
        f"{shown_path(path)}: must be the path of a file, found {found}; choose another path",
        found,
    )


def _mode(target: Path) -> int | None:
    try:
        return target.stat().st_mode
    except FileNotFoundError:
        return None


@contextmanager
def _part_beside(target: Path, path: str | os.PathLike[str]) -> Iterator[Path]:
    _remove_abandoned(target.parent)
    try:
        part, handle = _locked_part(target)
    except OSError as error:
        raise _no_place(path, error) from error
    try:
        yield part
    finally:
        # Gone already when all went well; what cannot be removed now, the next writer removes.
        with suppress(OSError):
            part.unlink()
        os.close(handle)


def _locked_part(target: Path) -> tuple[Path, int]:
    """Make an empty file beside `target`; return its path, and the handle that locks it."""
    while True:
        name = f".{target.stem[:_LONGEST_STEM]}.kseq-part-{secrets.token_hex(8)}{target.suffix}"
        part = target.with_name(name)
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):
            _lock(handle)
        # Before it was locked another writer may have taken it for abandoned.
        if part.exists():
            break
        os.close(handle)
    with suppress(OSError):
        os.fchmod(handle, stat.S_IMODE(target.stat().st_mode))
    return part, handle


def _lock(handle: int, wait: bool = True) -> None:
    """Lock an open file until it is closed.

    Raises:
        OSError: another holds the lock, or there are no locks here.
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of writers that are no more."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _remove_unlocked(Path(entry.path))


def _remove_unlocked(part: Path) -> None:
    with suppress(OSError):
        handle = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            _lock(handle, wait=False)
            part.unlink()
        finally:
            os.close(handle)


@contextmanager
def disk_errors_told(target: Path, path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell of a full or failing disk in our words, however a writer has wrapped it."""
    try:
        yield
    except Exception as error:
        cause = _disk_error(error)
        if cause is None:
            raise
        kept = ", the version before is untouched" if target.exists() else ""
        raise NotWrittenError(
            f"{shown_path(path)}: must be written whole, found {cause.strerror}; "
            f"free some space or choose another disk{kept}",
            str(cause.strerror),
        ) from error


def _disk_error(error: BaseException | None) -> OSError | None:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if isinstance(error, OSError) and error.errno in _NOT_WRITTEN:
            return error
        seen.append(error)
        error = error.__cause__ or error.__context__
    return None


def _no_place(path: str | os.PathLike[str], error: Exception) -> NotWrittenError:
    found = getattr(error, "strerror", None) or str(error)
    return NotWrittenError(
        f"{shown_path(path)}: the folder must exist and be writable, found {found}; "
        "create it or choose another path",
        found,
    )


def _force_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _force_folder_to_disk(folder: Path) -> None:
    try:
        _force_to_disk(folder)
    except OSError as error:
        if error.errno not in _NOT_FORCED:
            raise
