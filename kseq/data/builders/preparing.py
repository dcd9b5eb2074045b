"""A data set prepared by TFDS, and used only if every byte of it is right.

TFDS takes any folder of the right name for a data set that is ready: one left half copied, one
whose file was cut off.  Here its records are read and hashed each time, which costs what reading
the text costs, and what is wrong is made anew.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
from collections.abc import Iterator

import tensorflow_datasets as tfds

from kseq.checks import shown_path
from kseq.data.builders.texts import SPLIT, BrokenError, Maker, TextBuilder
from kseq.errors import FileError, KseqError


def prepared(make: Maker) -> TextBuilder:
    """Return a builder whose data set is there and right, preparing it where it is not.

    Raises:
        FileError: the text cannot be found, or the data set cannot be written.
    """
    with _quiet(), _errors_told():
        builder = _fresh(make)
        return builder if _is_right(builder) else _prepared_anew(builder, make)


def _fresh(make: Maker) -> TextBuilder:
    try:
        return make()
    except BrokenError as broken:
        shutil.rmtree(broken.place, ignore_errors=True)
        return make()


def _prepared_anew(builder: TextBuilder, make: Maker) -> TextBuilder:
    if builder.place.exists():
        shutil.rmtree(builder.place)
        builder = make()
    # The data sets that TFDS hosts are none of ours: it need not ask for them.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config)
    except OSError:
        # Another process may have been first: then it is there, and the name was taken.
        if not builder.place.exists():
            raise
    builder = make()
    if not _is_right(builder):
        raise FileError(
            f"{shown_path(builder.place)}: must hold the texts as they were read, found others; "
            "see that nothing else writes there or to the texts, and try again"
        )
    return builder


def _is_right(builder: TextBuilder) -> bool:
    try:
        return builder.hash_of(builder.as_data_source(SPLIT)) == builder.content_hash
    except Exception:  # nothing is there, or half of it, or a file that was cut off
        return False


@contextlib.contextmanager
def _errors_told() -> Iterator[None]:
    """Say in our words what TFDS says in many: that a folder or a disk is not to be used."""
    try:
        yield
    except KseqError:
        raise
    except (BrokenError, OSError, RuntimeError) as error:
        cause = error.found if isinstance(error, BrokenError) else error
        found = getattr(cause, "strerror", None) or " ".join(str(cause).split())[:80]
        place = error.place if isinstance(error, BrokenError) else getattr(cause, "filename", None)
        raise FileError(
            f"{shown_path(place or 'data_dir')}: must be a place where a data set can be written, "
            f"found {found}; free it, or choose another data_dir"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep TFDS's bars and notes to itself: they are for data sets that take hours."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.setLevel(before)
