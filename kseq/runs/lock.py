"""One training at a time in a run folder.

The file `lock` names its holder and is locked by flock(2), which the system undoes when the
holder ends in whatever way; a name that is left without a lock is that of a training that was
killed.  Where there is no flock(2) (no POSIX) two trainings are not kept apart.
"""

from __future__ import annotations

import json
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kseq.errors import FileError

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None

NAME = "lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that exists while the block runs.

    Raises:
        FileError: another training holds it, who is named; or the file cannot be written.
    """
    if fcntl is None:
        yield
        return
    path = folder / NAME
    handle = _taken(path)
    try:
        _note_stale(path, _read(handle))
        _write(handle)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _taken(path: Path) -> int:
    """Return the locked file; the one that has the name, for its last holder may remove it."""
    while True:
        handle = _opened(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _read(handle)
            os.close(handle)
            raise _held(path.parent, holder) from error
        if _is_at(path, handle):
            return handle
        os.close(handle)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise FileError(
            f"{path}: the run folder must be writable, found {error.strerror}; choose another"
        ) from error


def _is_at(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _write(handle: int) -> None:
    holder = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    os.ftruncate(handle, 0)
    # The lock holds without a name, where the disk is too full for one.
    with suppress(OSError):
        os.pwrite(handle, json.dumps(holder).encode(), 0)


def _read(handle: int) -> dict[str, Any]:
    """Return who wrote the lock, or nothing where it is empty or no lock of ours."""
    try:
        holder = json.loads(os.pread(handle, 1000, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _note_stale(path: Path, holder: dict[str, Any]) -> None:
    if holder:
        warnings.warn(
            f"{path}: taken over from {_in_words(holder)}, which ended without leaving",
            stacklevel=4,
        )


def _held(folder: Path, holder: dict[str, Any]) -> FileError:
    return FileError(
        f"{folder}: must be used by one training at a time, found {_in_words(holder)}; wait for "
        "it to end, or use another run folder"
    )


def _in_words(holder: dict[str, Any]) -> str:
    names = ("process", "host", "since")
    process, host, since = (str(holder.get(name, "unknown"))[:40] for name in names)
    return f"process {process} on {host} (since {since})"
