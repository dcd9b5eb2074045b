"""The run folder: locked while a training uses it, and never left without the run it held."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from kseq.checks import shown
from kseq.data.files import made_folder, write_text
from kseq.errors import FileError, UsageError
from kseq.runs.checkpoints import Checkpoint, newest_checkpoint, write_checkpoint
from kseq.runs.earlier import (
    BEST,
    HISTORY,
    RESULTS,
    SETTINGS,
    earlier_runs,
    forget_earlier,
    outputs_in,
    put_back,
    set_aside,
)
from kseq.runs.lock import locked
from kseq.runs.records import Run
from kseq.runs.settings import check_same


class RunFolder:
    """The files of a run; without a path every method does nothing.

    To be used in a `with` statement, which locks it.  A run that is to `overwrite` an earlier one
    sets it aside until `finish`; where it ends, or is killed, before its first checkpoint, the
    earlier one is put back, at the latest by the next training here (`kseq.runs.earlier`).

    Raises:
        FileError: the folder cannot be made or written to, or is in use.
    """

    def __init__(self, path: str | os.PathLike[str] | None, overwrite: bool = False) -> None:
        self.path = None if path is None else Path(path)
        self.overwrite = overwrite
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
            UsageError: the run was begun with other settings, of which each difference is named; or
                there is one, to be neither gone on with nor overwritten.
            DataError: the text has changed since.
            FileError: no checkpoint of it is whole.
        """
        if self.path is None:
            return None
        put_back(self.path)
        found = newest_checkpoint(self.path) if resume else None
        if found:
            check_same(self.path, _read_facts(self.path / SETTINGS), settings)
            checkpoint, self.latest = found
            return checkpoint
        self._require_replaceable(resume)
        self.is_new = True
        set_aside(self.path)
        write_text(self.path / SETTINGS, _json(settings))
        return None

    def save(self, checkpoint: Checkpoint, run: Run) -> None:
        """Write a checkpoint and the history.

        Raises:
            FileError: the checkpoint cannot be written; those before are as they were.
        """
        if self.path is None:
            return
        self.latest = write_checkpoint(self.path, checkpoint, self.latest)
        self.write_history(run)

    def finish(self) -> None:
        """Remove the earlier run that this one, which has come to its end, was to replace."""
        if self.path is not None and self.latest is not None:
            forget_earlier(self.path)

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

    def _require_replaceable(self, resume: bool) -> None:
        assert self.path is not None
        # Without a checkpoint there is nothing to go on from, but a result is not to be lost.
        # A history comes after a checkpoint: the best model beside it is of a run that went on.
        kept = (*RESULTS, HISTORY)
        found = [each for each in outputs_in(self.path) if not resume or each.name in kept]
        if found and not self.overwrite:
            going_on = "" if resume else "resume=True to go on from its checkpoint, "
            raise UsageError(
                f"{self.path}: must hold no earlier run, found {found[0].name}; pass {going_on}"
                "overwrite=True to replace it, or another run_dir"
            )

    def _leave(self) -> None:
        assert self.path is not None
        if self.is_new:
            put_back(self.path)
            if not outputs_in(self.path):
                (self.path / SETTINGS).unlink(missing_ok=True)
        if self.latest and (kept := earlier_runs(self.path)):
            warnings.warn(
                f"{kept[-1]}: keeps the run that was here before, until this one has finished",
                stacklevel=1,
            )


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _no_facts(path, "it missing or broken") from error
    if not isinstance(facts, dict):
        raise _no_facts(path, shown(facts))
    return facts


def _no_facts(path: Path, found: str) -> FileError:
    return FileError(f"{path}: must hold the run's facts, found {found}; start a new run")


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
