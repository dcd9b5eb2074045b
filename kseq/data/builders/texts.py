"""The TFDS builders themselves: one for each named text, and one for files."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from kseq.checks import shown_path
from kseq.data.downloads import NAMED_TEXTS, NamedText, find_text
from kseq.data.reading import STANDARD_INPUT, read_bytes
from kseq.data.sources import FoundText, Source, find_sources
from kseq.errors import DataError, UsageError

SPLIT = "texts"
# A record is a message of Protocol Buffers, which has at most 2 GiB, and is held in memory.
MOST_BYTES = 2**30
_HASH_LETTERS = 16

Record = dict[str, bytes]
# Makes a builder anew: one that has read a broken folder remembers it.
Maker = Callable[[], "TextBuilder"]


class BrokenError(Exception):
    """A folder that no builder can be made on; `found` is what was said of it."""

    def __init__(self, place: Path, found: Exception) -> None:
        super().__init__(f"{place}: {found}")
        self.place, self.found = place, found


class TextBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """One split, one document per record, in order; `content_hash` is that of the records."""

    VERSION = tfds.core.Version("1.0.0")
    homepage, citation, licence = "", "", ""
    checksums: tuple[Any, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # Made by `corpus_builder` alone: tfds.builder would not know what they need.
        super().__init_subclass__(skip_registration=True, **kwargs)  # type: ignore[call-arg]

    def __init__(self, data_dir: Path, content_hash: str) -> None:
        self.content_hash = content_hash
        config = tfds.core.BuilderConfig(
            name=content_hash[:_HASH_LETTERS], version=version_of(content_hash)
        )
        self.place = Path(data_dir) / self.name / config.name / str(config.version)
        try:
            super().__init__(data_dir=data_dir, config=config, file_format="array_record")
        except Exception as error:  # what TFDS says of a folder it cannot read is of many kinds
            raise BrokenError(self.place, error) from error

    def records(self) -> Iterator[Record]:
        """Yield the documents in order, found and verified."""
        raise NotImplementedError

    def hash_of(self, records: Iterable[Record]) -> str:
        """Return the hash that `content_hash` is of these documents."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict({"name": text, "text": text}),
            disable_shuffling=True,
            homepage=self.homepage,
            license=self.licence,
            metadata=tfds.core.MetadataDict(content_hash=self.content_hash, files=self.checksums),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:  # noqa: ARG002 - TFDS's own
        return {SPLIT: self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, Record]]:
        yield from enumerate(self.records())


class NamedTextBuilder(TextBuilder):
    """A named text; its hash is that of the text."""

    text: NamedText

    def __init__(self, data_dir: Path, manual_dir: str | os.PathLike[str] | None = None) -> None:
        self.manual_dir = manual_dir
        self.homepage, self.licence = self.text.url, self.text.licence
        self.checksums = (
            {"url": self.text.url, "size": self.text.size, "sha256": self.text.sha256},
        )
        super().__init__(data_dir, self.text.sha256)

    def records(self) -> Iterator[Record]:  # noqa: D102
        found = find_text(self.text, self.manual_dir)
        yield {"name": self.text.name.encode(), "text": read_bytes(found)}

    def hash_of(self, records: Iterable[Record]) -> str:  # noqa: D102
        return hashlib.sha256(b"".join(record["text"] for record in records)).hexdigest()


class TimeMachine(NamedTextBuilder):
    """H. G. Wells, The Time Machine, as Dive into Deep Learning ships it."""

    text = NAMED_TEXTS["time_machine"]


class TinyShakespeare(NamedTextBuilder):
    """40,000 lines of Shakespeare, as char-rnn ships them."""

    text = NAMED_TEXTS["tiny_shakespeare"]


class WarOfTheWorlds(NamedTextBuilder):
    """H. G. Wells, The War of the Worlds, the body of Project Gutenberg's ebook 36."""

    text = NAMED_TEXTS["war_of_the_worlds"]


class TextFiles(TextBuilder):
    """Text files, one record each; the hash is over their names, sizes and contents."""

    def __init__(self, data_dir: Path, files: Sequence[FoundText]) -> None:
        self.files = files
        digests = [(found.name, *_size_and_hash(found.path)) for found in files]
        self.checksums = tuple(
            {"name": name, "size": size, "sha256": sha256} for name, size, sha256 in digests
        )
        super().__init__(data_dir, _hash_of_all(digests))

    def records(self) -> Iterator[Record]:  # noqa: D102
        for found in self.files:
            yield {"name": os.fsencode(found.name), "text": read_bytes(found.path)}

    def hash_of(self, records: Iterable[Record]) -> str:  # noqa: D102
        return _hash_of_all(
            (os.fsdecode(each["name"]), len(each["text"]), hashlib.sha256(each["text"]).hexdigest())
            for each in records
        )


_NAMED = {each.text.name: each for each in (TimeMachine, TinyShakespeare, WarOfTheWorlds)}


def version_of(content_hash: str) -> tfds.core.Version:
    """Return the version of a data set: that of its form, and of the hash the first 32 bits.

    Example:
        >>> str(version_of("0000002a8f"))
        '1.0.42'
    """
    form = TextBuilder.VERSION
    return tfds.core.Version(f"{form.major}.{form.minor}.{int(content_hash[:8], 16)}")


def named(name: str, data_dir: Path, manual_dir: str | os.PathLike[str] | None) -> Maker:
    """Return what makes the builder of a named text."""
    return functools.partial(_NAMED[name], data_dir, manual_dir)


def of_files(source: Source | Sequence[Source], data_dir: Path) -> Maker:
    """Return what makes the builder of a folder of text files, a file, or a list of files.

    Raises:
        UsageError, FileError: as `kseq.data.sources.find_sources`.
        DataError: a folder without texts.
    """
    is_folder = isinstance(source, str | os.PathLike) and Path(source).is_dir()
    several: Any = files_in(Path(source)) if is_folder else source  # type: ignore[arg-type]
    files = find_sources(several)
    for found in files:
        if found.path == STANDARD_INPUT:
            raise UsageError("source: must be files that stay, found standard input; name a file")
    return functools.partial(TextFiles, data_dir, files)


def files_in(folder: Path) -> list[Path]:
    """Return the files of `folder` ending in .txt, in the order of their names.

    Raises:
        DataError: there are none.
    """
    found = sorted(path for path in folder.glob("*.txt") if path.is_file())
    if not found:
        raise DataError(
            f"{shown_path(folder)}: must be a folder of text files ending in .txt, found none; "
            "check the folder, or name the files"
        )
    return found


def _hash_of_all(digests: Iterable[tuple[str, int, str]]) -> str:
    digest = hashlib.sha256()
    for name, size, sha256 in digests:
        digest.update(f"{name}\0{size}\0{sha256}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _size_and_hash(path: Source) -> tuple[int, str]:
    content = read_bytes(path)
    if len(content) > MOST_BYTES:
        raise DataError(
            f"{shown_path(path)}: must have at most {MOST_BYTES:,} bytes, found {len(content):,}; "
            "cut it into several files"
        )
    return len(content), hashlib.sha256(content).hexdigest()
