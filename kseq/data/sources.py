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

from kseq.checks import nearest, shown, shown_path
from kseq.data.downloads import NAMED_TEXTS, find_text
from kseq.data.reading import BLOCK_BYTES, LARGEST_TEXT_BYTES, STANDARD_INPUT, text_chunks
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


def find_sources(
    source: Source | Sequence[Source], data_dir: Source | None = None
) -> list[FoundText]:
    """Return where the text or texts of `source` lie; named ones may be downloaded for it.

    Raises:
        FileError: a file is missing, or a named text can be neither found nor downloaded.
        UsageError: `source` is neither a string or path nor a list of them with at least one.

    Example:
        >>> find_sources("story")[0].name
        'story'
    """
    several = [source] if isinstance(source, str | os.PathLike) else _listed(source)
    if not several:
        raise UsageError(
            f"source: must be the name or path of a text, or a list of them, "
            f"found {shown(source)}; try {STORY!r}"
        )
    return [_find(one, data_dir) for one in several]


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
    texts: Sequence[FoundText], encoding: str, digest: "hashlib._Hash"
) -> Iterator[Iterator[str]]:
    """Yield each text in pieces, with a line end after it where it has none and another follows.

    The pieces of one text have to be read before those of the next.

    Raises: as `kseq.data.reading.read_text`, and DataError for more than 2 GiB altogether.
    """
    characters = 0

    def pieces(text: FoundText, is_last: bool) -> Iterator[str]:
        nonlocal characters
        last = "\n"
        for chunk in text_chunks(text.path, encoding, digest):
            characters += len(chunk)
            _refuse_large(characters)
            last = chunk[-1:] or last
            yield chunk
        if last != "\n" and not is_last:
            yield "\n"

    for number, text in enumerate(texts, start=1):
        yield pieces(text, number == len(texts))


def chunks_of(texts: Sequence[FoundText], encoding: str, digest: "hashlib._Hash") -> Iterator[str]:
    """Yield the texts of `documents_of` as one."""
    return chain.from_iterable(documents_of(texts, encoding, digest))


def _refuse_large(characters: int) -> None:
    if characters > LARGEST_TEXT_BYTES:
        raise DataError(
            f"texts: must have at most {LARGEST_TEXT_BYTES:,} bytes together, found more; "
            "train on fewer of them"
        )


def chunks_of_string(text: str, digest: "hashlib._Hash") -> Iterator[str]:
    """Yield `text` with LF as its only line end, in pieces, feeding its UTF-8 to `digest`."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for start in range(0, len(text), BLOCK_BYTES):
        chunk = text[start : start + BLOCK_BYTES]
        digest.update(chunk.encode("utf-8", "surrogatepass"))
        yield chunk


def _listed(sources: object) -> list[Source]:
    several = sources if isinstance(sources, list | tuple) else []
    return list(several) if all(isinstance(one, str | os.PathLike) for one in several) else []


def _find(source: Source, data_dir: Source | None) -> FoundText:
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
