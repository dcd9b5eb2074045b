"""The run folder: locked while a training uses it, and never left without the run it held."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from kseq.data.files import made_folder, write_text
from kseq.errors import FileError
from kseq.runs.checkpoints import (
    Checkpoint,
    checkpoint_files,
    newest_checkpoint,
    write_checkpoint,
)
from kseq.runs.lock import locked
from kseq.runs.records import Run
from kseq.runs.settings import check_same

SETTINGS, HISTORY, BEST = "settings.json", "history.json", "best.keras"
# What the command line adds when a training is over.
RESULTS = ("model.keras", "curve.png")
_OUTPUTS = (BEST, HISTORY, *RESULTS)
_EARLIER = ".earlier-"


def outputs_in(folder: Path) -> list[Path]:
    """Return the files that runs leave in a folder, settings not among them."""
    named = [folder / name for name in _OUTPUTS if (folder / name).exists()]
    return [*checkpoint_files(folder), *named]


class RunFolder:
    """The files of a run; without a path every method does nothing.

    To be used in a `with` statement, which locks it.  A new run sets an earlier one aside, and
    puts it back where it ends without having saved anything.

    Raises:
        FileError: the folder cannot be made or written to, or is in use.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.earlier: Path | None = None
        self.latest: Path | None = None
        self.is_new = False

    @contextmanager
    def in_use(self) -> Iterator[Self]:
        """Hold the folder while the block runs."""
        if self.path is None:
            yield self
            return
        with made_folder(self.path), locked(self.path):
            try:
                yield self
            finally:
                self._leave()

    def begin(self, settings: dict[str, Any], resume: bool) -> Checkpoint | None:
        """Return the checkpoint a run goes on from; None where a new one begins.

        Raises:
            UsageError: the run was begun with other settings; each difference is named.
            DataError: the text has changed since.
            FileError: no checkpoint of it is whole.
        """
        if self.path is None:
            return None
        found = newest_checkpoint(self.path) if resume else None
        if found:
            check_same(self.path, _read_json(self.path / SETTINGS), settings)
            checkpoint, self.latest = found
            return checkpoint
        self.is_new = True
        self._set_aside()
        write_text(self.path / SETTINGS, _json(settings))
        return None

    def save(self, checkpoint: Checkpoint, run: Run) -> None:
        """Write a checkpoint and the history; what was here before the run may go then.

        Raises:
            FileError: the checkpoint cannot be written; those before are as they were.
        """
        if self.path is None:
            return
        self.latest = write_checkpoint(self.path, checkpoint, self.latest)
        self.write_history(run)
        if self.earlier:
            shutil.rmtree(self.earlier, ignore_errors=True)
            self.earlier = None

    def save_best(self, model: Any) -> None:
        """Write `model`, which has the weights of the best epoch, to best.keras."""
        if self.path is not None:
            model.save(self.path / BEST)

    def write_history(self, run: Run) -> None:
        """Write history.json; a checkpoint holds it too, so a failure is but a warning."""
        if self.path is None:
            return
        try:
            write_text(self.path / HISTORY, _json(run.to_dict()))
        except OSError as error:
            warnings.warn(f"the history is not written, training goes on: {error}", stacklevel=2)

    def _leave(self) -> None:
        if self.path is not None and self.is_new and self.latest is None:
            (self.path / SETTINGS).unlink(missing_ok=True)
            _put_back(self.path, self.earlier)

    def _set_aside(self) -> None:
        """Move the files of an earlier run into a folder inside, until this one has saved."""
        assert self.path is not None
        left = sorted(self.path.glob(f"{_EARLIER}*"))
        found = outputs_in(self.path)
        if left and not found:
            # The run that set them aside was killed before it saved anything.
            self.earlier = left[0]
            return
        if found:
            self.earlier = Path(tempfile.mkdtemp(prefix=_EARLIER, dir=self.path))
        for path in (self.path / SETTINGS, *found):
            if self.earlier and path.exists():
                path.rename(self.earlier / path.name)


def _put_back(folder: Path, aside: Path | None) -> None:
    for path in sorted(aside.iterdir()) if aside else ():
        path.rename(folder / path.name)
    if aside:
        aside.rmdir()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{path}: must hold the run's facts, found it missing or broken; start a new run"
        ) from error


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
