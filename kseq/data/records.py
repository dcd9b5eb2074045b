"""Texts out of a TFDS builder or data source: records with a text, and perhaps a name.

TFDS itself is not imported: a builder is what has `as_data_source`, a data source what has a
length and records in order.
"""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from kseq.checks import shown
from kseq.data.reading import HeldText
from kseq.errors import UsageError


def is_builder_or_source(source: Any) -> bool:
    """Whether `source` is a TFDS builder or data source, and no name, path or list.

    Example:
        >>> is_builder_or_source("story"), is_builder_or_source(["story"])
        (False, False)
    """
    if isinstance(source, str | bytes | os.PathLike | list | tuple | dict):
        return False
    return hasattr(source, "as_data_source") or (
        hasattr(source, "__getitem__") and hasattr(source, "__len__")
    )


def texts_in(source: Any) -> Iterator[tuple[HeldText, str]]:
    """Yield the text of each record, by its name or its number, and its SHA-256.

    Of a builder the splits follow one another.

    Raises:
        UsageError: a builder that is not prepared, no records, or records without a text.
    """
    number = -1
    for number, record in enumerate(_records(source)):
        text = record.get("text") if isinstance(record, dict) else None
        if not isinstance(text, bytes | str):
            raise _not_texts(shown(record))
        content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        name = record.get("name", f"text {number}")
        name = os.fsdecode(name) if isinstance(name, bytes) else str(name)
        yield HeldText(name, content), hashlib.sha256(content).hexdigest()
    if number < 0:
        raise _not_texts("none")


def _records(source: Any) -> Iterator[Any]:
    for split in _splits(source):
        for index in range(len(split)):
            yield split[index]


def _splits(source: Any) -> list[Any]:
    if not hasattr(source, "as_data_source"):
        return [source]
    try:
        splits = list(source.as_data_source().values())
    except Exception as error:  # TFDS has a kind of its own for each way of not being ready
        raise _not_ready(" ".join(str(error).split())[:80]) from error
    if not splits:
        raise _not_ready("no split")
    return splits


def _not_ready(found: str) -> UsageError:
    return UsageError(
        f"source: must be a builder that is prepared as array_record, found {found}; call its "
        "download_and_prepare, or use kseq.corpus_builder"
    )


def _not_texts(found: str) -> UsageError:
    return UsageError(
        f"source: must have records with a 'text', found {found}; choose a data set of texts"
    )
