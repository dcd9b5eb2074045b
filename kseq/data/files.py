"""Whole files or none: every file kseq writes goes through here.

The bytes go to a temporary file in the same folder, are forced to disk, and take the final
name in one step (POSIX rename(2)); a reader sees the old version or the new one, never a part.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kseq.errors import FileError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends without an error.

    The temporary file keeps the suffix of `path`, because some writers choose their format by
    it.  If the block raises, the temporary file is removed and `path` is as it was.

    Raises:
        FileError: the folder is missing or cannot be written to.

    Example:
        >>> import tempfile, pathlib
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_path(target) as part:
        ...     _ = part.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    path = Path(path)
    part = _temporary_beside(path)
    try:
        yield part
        _force_to_disk(part)
        os.replace(part, path)
        _force_to_disk(path.parent)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: str | os.PathLike[str], content: str) -> None:
    """Write `content` to `path` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def _temporary_beside(path: Path) -> Path:
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
    except OSError as error:
        raise FileError(
            f"{path}: the folder must exist and be writable, found {error.strerror}; "
            "create it or choose another path"
        ) from error
    os.close(handle)
    _give_usual_permissions(name)
    return Path(name)


def _give_usual_permissions(name: str) -> None:
    # mkstemp makes the file readable by its owner alone; a model file is meant to be shared.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)


def _force_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
