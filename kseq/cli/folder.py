"""The run folder, seen from the command line: what it must be before training, what is left after.

A command that fails before its first epoch is over leaves the folder as it found it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kseq.errors import FileError, UsageError

CHECKPOINT, SETTINGS = "checkpoint.keras", "settings.json"
# Written when training is over; until then those of before a resume would not belong here.
RESULTS = ("model.keras", "curve.png")
OUTPUTS = (CHECKPOINT, "best.keras", "history.json", *RESULTS)


class RunDir:
    """A run folder that a training is about to use.

    resume: go on with the run in it.  overwrite: replace that run.
    """

    def __init__(self, path: Path, resume: bool, overwrite: bool) -> None:
        self.path, self.resume, self.overwrite = path, resume, overwrite
        self.has_new_epoch = False
        self.earlier: Path | None = None

    def check(self) -> None:
        """Refuse a folder that cannot be used, without changing anything.

        Raises:
            UsageError: it holds an earlier run, and the options do not say what to do with it.
            FileError: it cannot be made or written to.
        """
        if self.resume and self.overwrite:
            raise UsageError(
                "--resume: must stand without --overwrite, found both; leave one of them out"
            )
        require_writable(self.path)
        found = [name for name in OUTPUTS if (self.path / name).exists()]
        if found and not self.overwrite and not self.goes_on:
            raise UsageError(
                f"{self.path}: must hold no earlier run, found {found[0]}; pass --overwrite to "
                "replace it, --resume to go on from its checkpoint, or another --run-dir"
            )

    @property
    def goes_on(self) -> bool:
        """Whether there is a run to resume, and it is to be resumed."""
        return self.resume and (self.path / CHECKPOINT).exists()

    def note_epoch(self) -> None:
        """Say that an epoch is over and its checkpoint written: what was here before may go."""
        if self.has_new_epoch:
            return
        self.has_new_epoch = True
        if self.earlier:
            shutil.rmtree(self.earlier)
        for name in RESULTS:
            (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Put the folder back as it was if this context fails before an epoch is over."""
        made = _missing_folders(self.path)
        if not self.goes_on:
            self.earlier = _set_aside(self.path)
        try:
            yield
        except BaseException:
            if not self.has_new_epoch and not self.goes_on:
                _put_back(self.path, self.earlier)
                _remove(made)
            raise


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


def _set_aside(folder: Path) -> Path | None:
    """Move the files of an earlier run into a folder inside; return that, if there are any."""
    found = [name for name in (SETTINGS, *OUTPUTS) if (folder / name).exists()]
    if not found:
        return None
    aside = Path(tempfile.mkdtemp(prefix=".earlier-", dir=folder))
    for name in found:
        (folder / name).rename(aside / name)
    return aside


def _put_back(folder: Path, aside: Path | None) -> None:
    for name in (SETTINGS, *OUTPUTS):
        (folder / name).unlink(missing_ok=True)
    for path in sorted(aside.iterdir()) if aside else ():
        path.rename(folder / path.name)
    if aside:
        aside.rmdir()


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
