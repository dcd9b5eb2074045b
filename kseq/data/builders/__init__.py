"""Corpora as TensorFlow Datasets (TFDS): builders of our own that need no TensorFlow.

    builder = kseq.corpus_builder("time_machine")    prepared and verified
    builder.as_data_source("texts")[0]               {"name": bytes, "text": bytes}
    kseq.load_corpus(builder)                        the ids of load_corpus("time_machine")

One record holds one document whole, so that letters and order stay.  The format is array_record,
the one that TFDS reads without TensorFlow and without losing rows.  The hash of the contents is in
the path and, as a number, in the version, so that other contents never give old data:

    DATA_DIR/time_machine/8424dbd9532ac81f/1.0.2217008089/      array_record, features.json, ...

Texts come from where `load_corpus` finds them; TFDS itself downloads and unpacks nothing, so that
without a network there is no wait.  TFDS is imported when a builder is asked for: it costs 0.4 s.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kseq.data.downloads import NAMED_TEXTS, cache_folder
from kseq.data.sources import Source
from kseq.errors import UsageError

_NEEDED = ("tensorflow_datasets", "array_record")


def corpus_builder(
    source: Source | Sequence[Source],
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
) -> Any:
    """Return a prepared TFDS builder of a named text, a folder of text files, or files.

    What has been prepared before is used again if every byte of it is right, and made anew if
    not.  It has one split, "texts"; a record is {"name", "text"}, bytes as they are in the file.

    Args:
        source: "time_machine", "tiny_shakespeare", "war_of_the_worlds", a folder, whose files
            ending in .txt are taken in the order of their names, a file, or a list of files.
        data_dir: where TFDS keeps prepared data sets; None for tensorflow_datasets in the cache
            folder of kseq.
        manual_dir: where a named text may lie that was placed by hand; it is looked for there
            first, and then as `load_corpus` does.

    Raises:
        UsageError: TFDS cannot be used here, or a source of another kind.
        DataError: a folder without texts, or a text of more than 1 GiB.
        FileError: a text that is missing, wrong, or cannot be downloaded, or a folder that cannot
            be written to.

    Example:
        >>> import pathlib
        >>> pathlib.Path("books").mkdir()
        >>> _ = pathlib.Path("books/b.txt").write_text("or not to be")
        >>> _ = pathlib.Path("books/a.txt").write_text("to be")
        >>> builder = corpus_builder("books", data_dir="prepared")
        >>> builder.as_data_source("texts")[0]["text"]
        b'to be'
    """
    _require_tfds()
    from kseq.data.builders import preparing, texts

    folder = cache_folder() / "tensorflow_datasets" if data_dir is None else Path(data_dir)
    if isinstance(source, str) and source in NAMED_TEXTS:
        return preparing.prepared(texts.named(source, folder, manual_dir))
    return preparing.prepared(texts.of_files(source, folder))


def _require_tfds() -> None:
    for name in _NEEDED:
        if find_spec(name) is None:
            raise UsageError(
                f"corpus_builder: must have the package {name}, found it missing (array_record is "
                "made for Linux alone); load the text by its name or path instead"
            )
