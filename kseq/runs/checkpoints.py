"""Checkpoint files: written whole, known by the hash in their name, the newest two kept.

`checkpoint-POSITION-HASH.npz` is a plain NumPy archive; HASH is the start of the SHA-256 of the
file, which tells a damaged one before anything in it is read.  Beside the arrays it holds
"facts", JSON as bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import re
import struct
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kseq.data.files import write_bytes
from kseq.errors import FileError

KEPT = 2
_NAME = re.compile(r"checkpoint-(?P<position>\d{10})-(?P<hash>[0-9a-f]{16})\.npz")
_FACTS = "facts"
# What zipfile and NumPy raise on bytes that somebody has altered and given the right name.
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    RuntimeError,
    MemoryError,
    OverflowError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Checkpoint:
    """A state of a training.

    position: how far it is; grows from one checkpoint of a run to the next.
    facts: plain JSON values.
    arrays: by name.
    """

    position: int
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


def checkpoint_files(folder: Path) -> list[Path]:
    """Return the checkpoint files in a folder, the newest first."""
    found = [path for path in folder.glob("checkpoint-*.npz") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.name, reverse=True)


def write_checkpoint(folder: Path, checkpoint: Checkpoint, before: Path | None) -> Path:
    """Write a checkpoint, then remove all others but the one written `before`; return its path.

    Raises:
        FileError: it cannot be written; the others are as they were.
    """
    content = as_bytes(checkpoint)
    path = folder / f"checkpoint-{checkpoint.position:010}-{_hash(content)}.npz"
    write_bytes(path, content)
    for other in checkpoint_files(folder):
        if other not in (path, before):
            other.unlink(missing_ok=True)
    return path


def newest_checkpoint(folder: Path) -> tuple[Checkpoint, Path] | None:
    """Return the newest checkpoint that is whole, and its file, or None where there are none.

    Warns of each newer one that is damaged.

    Raises:
        FileError: there are some, and all are damaged or unreadable.
    """
    damaged = []
    for path in checkpoint_files(folder):
        try:
            checkpoint = read_checkpoint(path)
        except FileError as error:
            damaged.append(error)
            continue
        for error in damaged:
            warnings.warn(f"{error}; an older one is taken, {path.name}", stacklevel=4)
        return checkpoint, path
    if damaged:
        raise damaged[0]
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Return what a checkpoint file holds, after checking its hash.

    Raises:
        FileError: it cannot be read, or is damaged.
    """
    name = _NAME.fullmatch(path.name)
    try:
        content = path.read_bytes()
        if name is None or _hash(content) != name["hash"]:
            raise _damaged(path, "another SHA-256 than its name says")
        return from_bytes(int(name["position"]), content)
    except FileError:
        raise
    except OSError as error:
        raise _damaged(path, error.strerror or "what it cannot be") from error
    except _UNREADABLE as error:
        raise _damaged(path, f"{type(error).__name__} inside") from error


def as_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the content of a checkpoint file."""
    facts = np.frombuffer(json.dumps(checkpoint.facts).encode(), np.uint8)
    stream = io.BytesIO()
    arrays: dict[str, Any] = {_FACTS: facts, **checkpoint.arrays}
    np.savez(stream, **arrays)
    return stream.getvalue()


def from_bytes(position: int, content: bytes) -> Checkpoint:
    """Return what `as_bytes` was given; raises whatever NumPy does where it is damaged."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    facts = json.loads(arrays.pop(_FACTS).tobytes())
    if not isinstance(facts, dict):
        raise TypeError("facts")
    return Checkpoint(position, facts, arrays)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _damaged(path: Path, found: str) -> FileError:
    return FileError(
        f"{path}: must be a whole checkpoint, found {found}; take the folder from a copy, or "
        "begin a new run"
    )
