"""Folders for results, seen from the command line: what they must be before any work."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from kseq.errors import FileError, UsageError
from kseq.runs.earlier import BEST, can_resume, outputs_in


def require_run_folder(path: Path, resume: bool, overwrite: bool) -> None:
    """Refuse a run folder that a training cannot use, without changing anything.

    resume: go on with the run in it.  overwrite: replace that run.

    Raises:
        UsageError: it holds an earlier run, and the options do not say what to do with it.
        FileError: it cannot be made or written to.
    """
    if resume and overwrite:
        raise UsageError(
            "--resume: must stand without --overwrite, found both; leave one of them out"
        )
    require_writable(path)
    found = outputs_in(path)
    # Stopped before its first checkpoint a run has at most a best model, and begins anew.
    if resume and (can_resume(path) or [each.name for each in found] == [BEST]):
        return
    if found and not overwrite:
        raise UsageError(
            f"{path}: must hold no earlier run, found {found[0].name}; pass --overwrite to "
            "replace it, --resume to go on from its checkpoint, or another --run-dir"
        )


def require_free(
    path: Path, names: Iterable[str], overwrite: bool, option: str = "--run-dir"
) -> None:
    """Refuse a folder that holds one of `names` already, or cannot be written to; change nothing.

    Raises:
        UsageError: it holds one, and `overwrite` is false.
        FileError: it cannot be made or written to.
    """
    require_writable(path, option)
    found = [name for name in names if (path / name).exists()]
    if found and not overwrite:
        raise UsageError(
            f"{path}: must hold no earlier results, found {found[0]}; pass --overwrite to replace "
            f"them, or another {option}"
        )


def require_writable(path: Path, option: str = "--run-dir") -> None:
    """Refuse a folder that cannot be made or written to, without leaving one behind.

    Raises:
        FileError: as said.
    """
    made = _missing_folders(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise FileError(
            f"{path}: must be a folder that can be written to, found {error.strerror or error}; "
            f"choose another {option}"
        ) from error
    finally:
        _remove(made)


def _missing_folders(path: Path) -> list[Path]:
    """Return the folders on the way to `path`, and itself, that do not exist; deepest first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        # It has something in it, or never came to be.
        with suppress(OSError):
            folder.rmdir()
