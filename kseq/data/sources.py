"""What a user may name as a text: a corpus by name, a file, standard input, or several of these.

Source names become paths here; what is read from the paths is one stream of text.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any

from kseq.checks import nearest, shown, shown_path
from kseq.data.downloads import NAMED_TEXTS, find_text
from kseq.data.reading import (
    BLOCK_BYTES,
    LARGEST_TEXT_BYTES,
    STANDARD_INPUT,
    HeldText,
    text_chunks,
)
from kseq.data.records import is_builder_or_source, texts_in
from kseq.errors import DataError, FileError, UsageError

STORY = "story"
CORPUS_NAMES = (STORY, *NAMED_TEXTS)

Source = str | os.PathLike[str]


@dataclass(frozen=True)
class FoundText:
    """Where a text lies, what to call it, and the cleaning it gets unless the user says."""

    path: Source
    name: str
    cleaning: str = "none"
    edition: str = ""


def find_sources(source: Any, data_dir: Source | None = None) -> list[FoundText]:
    """Return where the text or texts of `source` lie; named ones may be downloaded for it.

    Raises:
        FileError: a file is missing, or a named text can be neither found nor downloaded.
        UsageError: `source` is no string, path, TFDS builder or data source, nor a list of them
            with at least one.

    Example:
        >>> find_sources("story")[0].name
        'story'
    """
    several = list(source) if isinstance(source, list | tuple) else [source]
    several = several if all(map(_is_source, several)) else []
    if not several:
        raise UsageError(
            f"source: must be the name or path of a text, or a list of them, "
            f"found {shown(source)}; try {STORY!r}"
        )
    return [found for one in several for found in _find(one, data_dir)]


def agreed_cleaning(texts: Sequence[FoundText]) -> str:
    """Return the cleaning that all `texts` get by default.

    Raises:
        UsageError: they differ, so the user has to say.
    """
    if len({text.cleaning for text in texts}) > 1:
        each = ", ".join(f"{text.name} {text.cleaning}" for text in texts[:4])
        raise UsageError(
            f"cleaning: must be the same for all texts, found by default {shown(each, 100)}; "
            "pass cleaning='d2l' or 'none' (--cleaning)"
        )
    return texts[0].cleaning


def documents_of(
    texts: Sequence[FoundText],
    encoding: str,
    digest: "hashlib._Hash",
    any_size: bool = False,
) -> Iterator[Iterator[str]]:
    """Yield each text in pieces, with a line end after it where it has none and another follows.

    The pieces of one text have to be read before those of the next.

    Raises: as `kseq.data.reading.read_text`, and DataError for more than 2 GiB altogether,
    unless `any_size` allows it.
    """
    characters = 0

    def pieces(text: FoundText, is_last: bool) -> Iterator[str]:
        nonlocal characters
        last = "\n"
        for chunk in text_chunks(text.path, encoding, digest, any_size):
            characters += len(chunk)
            _refuse_large(0 if any_size else characters)
            last = chunk[-1:] or last
            yield chunk
        if last != "\n" and not is_last:
            yield "\n"

    for number, text in enumerate(texts, start=1):
        yield pieces(text, number == len(texts))


def chunks_of(
    texts: Sequence[FoundText],
    encoding: str,
    digest: "hashlib._Hash",
    any_size: bool = False,
) -> Iterator[str]:
    """Yield the texts of `documents_of` as one."""
    return chain.from_iterable(documents_of(texts, encoding, digest, any_size))


def _refuse_large(characters: int) -> None:
    if characters > LARGEST_TEXT_BYTES:
        raise DataError(
            f"texts: must have at most {LARGEST_TEXT_BYTES:,} bytes together, found more; "
            "use --cache-dir (cache_dir), or train on fewer"
        )


def chunks_of_string(text: str, digest: "hashlib._Hash") -> Iterator[str]:
    """Yield `text` with LF as its only line end, in pieces, feeding its UTF-8 to `digest`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for start in range(0, len(text), BLOCK_BYTES):
        chunk = text[start : start + BLOCK_BYTES]
        digest.update(chunk.encode("utf-8", "surrogatepass"))
        yield chunk


def _is_source(source: Any) -> bool:
    return isinstance(source, str | os.PathLike) or is_builder_or_source(source)


def _find(source: Any, data_dir: Source | None) -> list[FoundText]:
    if is_builder_or_source(source):
        return [_of_record(text, sha256) for text, sha256 in texts_in(source)]
    return [_find_one(source, data_dir)]


def _of_record(text: HeldText, sha256: str) -> FoundText:
    """A named text is known by its contents, so that it is prepared as it is elsewhere."""
    known = next((each for each in NAMED_TEXTS.values() if each.sha256 == sha256), None)
    if known is None:
        return FoundText(text, text.name)
    return FoundText(text, known.name, known.cleaning, known.edition)


def _find_one(source: Source, data_dir: Source | None) -> FoundText:
    if source == STANDARD_INPUT:
        return FoundText(STANDARD_INPUT, "standard input")
    if source == STORY:
        path = Path(str(resources.files("kseq.data").joinpath("story.txt")))
        return FoundText(path, STORY, "d2l", "the story kseq comes with")
    if isinstance(source, str) and source in NAMED_TEXTS:
        text = NAMED_TEXTS[source]
        return FoundText(find_text(text, data_dir), text.name, text.cleaning, text.edition)
    _refuse_missing(source)
    return FoundText(source, Path(source).name)


def _refuse_missing(source: Source) -> None:
    try:
        os.stat(source)
    except (FileNotFoundError, NotADirectoryError) as error:
        close = nearest(os.fspath(source), CORPUS_NAMES)
        raise FileError(
            f"{shown_path(source)}: must be a text file, found it missing; "
            + (f"did you mean {close!r}?" if close else f"check it, or use {_listed_names()}")
        ) from error
    except (OSError, ValueError):
        pass  # reading it says what is wrong


def _listed_names() -> str:
    return f"{', '.join(CORPUS_NAMES[:-1])} or {CORPUS_NAMES[-1]}"
