"""What texts there are by name, and which of them are here."""

import hashlib
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from kseq.data.downloads import NAMED_TEXTS, NamedText, look_for, verified
from kseq.data.sources import STORY
from kseq.errors import FileError


@dataclass(frozen=True)
class Entry:
    """A text with a name.

    Attributes:
        name: as `load_corpus` takes it.
        bytes, sha256: of the text; the hash is checked on every use.
        licence: under which it may be used.
        source: its address, or what it comes with.
        edition: which one it is.
        cleaning: what it gets unless the user says.
        path: where it is here, or None.
        state: "here", "missing", "wrong" (a file of its name has other contents), or "unreadable".
    """

    name: str
    bytes: int
    sha256: str
    licence: str
    source: str
    edition: str
    cleaning: str
    path: str | None
    state: str


def inventory(data_dir: str | os.PathLike[str] | None = None) -> list[Entry]:
    """Return every text with a name, its files looked for as `load_corpus` looks for them.

    Nothing is downloaded.

    Raises:
        FileError: `data_dir` is missing, or a folder cannot be looked into.

    Example:
        >>> entry = inventory()[0]
        >>> entry.name, entry.state, entry.source
        ('story', 'here', 'kseq')
    """
    return [_story(), *(_entry(text, data_dir) for text in NAMED_TEXTS.values())]


def _story() -> Entry:
    path = Path(str(resources.files("kseq.data").joinpath("story.txt")))
    content = path.read_bytes()
    return Entry(
        name=STORY,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        licence="that of kseq",
        source="kseq",
        edition="the story kseq comes with",
        cleaning="d2l",
        path=str(path),
        state="here",
    )


def _entry(text: NamedText, data_dir: str | os.PathLike[str] | None) -> Entry:
    path = look_for(text, data_dir)
    return Entry(
        name=text.name,
        bytes=text.size,
        sha256=text.sha256,
        licence=text.licence,
        source=text.url,
        edition=text.edition,
        cleaning=text.cleaning,
        path=None if path is None else str(path),
        state="missing" if path is None else _state(path, text),
    )


def _state(path: Path, text: NamedText) -> str:
    try:
        verified(path, text)
    except FileError as error:
        return "unreadable" if isinstance(error.__cause__, OSError) else "wrong"
    return "here"
