"""A folder of texts as token ids: what is in it, and whether it is still the text's.

    char-5f0c9b1e22a4d7c3-090b5e7e70c29575.npy     the codes, one a token (`kseq.data.id_files`)
    char-5f0c9b1e22a4d7c3-090b5e7e70c29575.json    its hash, preparation, symbols and their counts,
                                                   and where among the tokens each file ends
    a4d7c35f0c9b1e22.source.json                   which files had that hash, and their marks
    a4d7c35f0c9b1e22.partial.json, .partial-1      a text half done, to be gone on with

An index is found by the hash of the text's bytes (SHA-256).  Hashing a file takes seconds a
gigabyte, so it is left out where nothing about the file has changed since it was hashed: path,
size, inode, time of modification and time of change (ctime, which no program can set).  A file
modified less than 2 seconds before it was read is not trusted, since a second change might bear
the same time; that is the rule Git has for its index.  Otherwise the file is hashed again, and
another text is another index: no change is overlooked, and a file that was only copied or touched
is not tokenized twice.

The JSON is written last, so an index is there as a whole or not at all; JSON that is not as it was
written, which its own hash tells, counts as missing, and an index whose header or length is not
what the JSON says is made anew.  The folder may be removed at any time.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kseq.data.files import put_in_place, write_text
from kseq.data.mapped import MappedIds, MappedText
from kseq.data.preparation import Preparation
from kseq.data.reading import STANDARD_INPUT, HeldText
from kseq.data.sources import FoundText
from kseq.version import __version__

FORMAT = 2
_HEADER_BYTES = 128
_NOT_TRUSTED_NS = 2 * 10**9


class IndexedText(NamedTuple):
    """Texts whose codes stay on the disk.

    coded: the tokens of all.
    stops: how many there are after each text.
    sha256: of the bytes of all.
    """

    coded: MappedText
    stops: list[int]
    sha256: str


class IdCache:
    """What a cache folder has of one text, which may be several files, prepared in one way.

    Args:
        folder: an existing folder.
        texts, encoding, how: the files, and how they are read and tokenized.
    """

    def __init__(
        self, folder: Path, texts: Sequence[FoundText], encoding: str, how: Preparation
    ) -> None:
        self.folder = folder
        self.marks = [_mark(text.path) for text in texts]
        self.began = time.time_ns()
        self.facts = {"format": FORMAT, "encoding": encoding, **vars(how)}
        self.facts["bytes"] = [mark[1] if mark else None for mark in self.marks]
        places = [mark[0] if mark else STANDARD_INPUT for mark in self.marks]
        self._name = f"{how.level}-{_hash_of(self.facts)}"
        self.place = folder / _hash_of([places, self.facts | {"bytes": None}])

    @property
    def size(self) -> int | None:
        """The bytes of all files together, where that is known before they are read."""
        sizes = [mark[1] for mark in self.marks if mark]
        return sum(sizes) if len(sizes) == len(self.marks) else None

    @property
    def can_be_read_again(self) -> bool:
        """Whether all texts are files, and none a pipe."""
        return None not in self.marks

    def remembered(self) -> str | None:
        """Return the hash of the files, if they are marked as they were when they were hashed."""
        record = _read(self.place.with_suffix(".source.json"))
        if not self.can_be_read_again or record.get("marks") != self.marks:
            return None
        newest = max(mark[3] for mark in self.marks if mark)
        return record.get("sha256") if newest + _NOT_TRUSTED_NS < record.get("read", 0) else None

    def remember(self, sha256: str) -> None:
        """Write down which files have that hash; the marks are of before they were read."""
        record = {"sha256": sha256, "marks": self.marks, "read": self.began}
        _write(self.place.with_suffix(".source.json"), record)

    def might_have(self) -> bool:
        """Whether there is an index of texts of these lengths: then hashing is worth its time."""
        return self.can_be_read_again and any(self.folder.glob(f"{self._name}-*.json"))

    def opened(self, sha256: str | None) -> IndexedText | None:
        """Return the texts of that hash, none of them read; None if not here as a whole."""
        if sha256 is None:
            return None
        facts = _read(self._index(sha256, ".json"))
        if any(facts.get(name) != value for name, value in self.facts.items()):
            return None
        try:
            codes = np.load(self._index(sha256, ".npy"), mmap_mode="r")
        except (OSError, ValueError, EOFError):
            return None
        whole = _HEADER_BYTES + codes.nbytes == self._index(sha256, ".npy").stat().st_size
        if not whole or facts["sha256"] != sha256 or codes.shape != (facts["tokens"],):
            return None
        counts = np.array(facts["counts"], np.int64)
        ids = MappedIds(codes, origin=self._index(sha256, "").name)
        coded = MappedText(ids, tuple(facts["symbols"]), counts)
        return IndexedText(coded, facts["stops"], sha256)

    def add(self, codes: Path, sha256: str, found: dict[str, list[Any]]) -> None:
        """Give a finished file of codes its name, and write what was `found` in the texts."""
        put_in_place(codes, self._index(sha256, ".npy"))
        facts = {"sha256": sha256, "kseq": __version__, "tokens": sum(found["counts"])}
        facts |= {**self.facts, **found}
        _write(self._index(sha256, ".json"), facts)

    def partial(self) -> dict[str, Any]:
        """Return how far an earlier run came; empty if there is nothing to go on with."""
        found = _read(self._partial) if self.can_be_read_again else {}
        return found if found.get("facts") == self.facts else {}

    def write_partial(self, state: dict[str, Any]) -> None:
        """Write down how far this run is."""
        _write(self._partial, state | {"facts": self.facts})

    def remove_partial(self) -> None:
        """Remove what a run wrote that is finished, or cannot be gone on with."""
        for path in self.folder.glob(f"{self.place.name}.partial*"):
            with suppress(OSError):
                path.unlink()

    @property
    def codes_stem(self) -> Path:
        """Where the codes of a text half done are, less the ending that tells their width."""
        return self.place.with_name(f"{self.place.name}.partial")

    @property
    def _partial(self) -> Path:
        return self.place.with_suffix(".partial.json")

    def _index(self, sha256: str, suffix: str) -> Path:
        return self.folder / f"{self._name}-{sha256[:32]}{suffix}"


def _mark(path: str | os.PathLike[str]) -> list[Any] | None:
    """Return path, size, inode, and the times of modification and change; None if it is no file."""
    if path == STANDARD_INPUT or isinstance(path, HeldText):
        return None
    try:
        found = os.stat(path)
    except (OSError, ValueError, TypeError):  # no path, or reading it says what is wrong
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    times = [found.st_mtime_ns, found.st_ctime_ns]
    return [os.path.realpath(path), found.st_size, found.st_ino, max(times), *times]


def _hash_of(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _write(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content | {"seal": _hash_of(content)}) + "\n")


def _read(path: Path) -> dict[str, Any]:
    """Return what `_write` wrote; nothing where it is missing or was changed."""
    try:
        content = json.loads(path.read_text("utf-8"))
        seal = content.pop("seal")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return {}
    return content if seal == _hash_of(content) else {}
