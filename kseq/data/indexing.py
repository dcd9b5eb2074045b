"""Tokenize a text of any size in a stream, into a file that is mapped and not loaded.

    bytes -> text -> segments -> tokens -> codes -> file         a block of 1 MiB at a time
                        |
                        after each segment the file is forced to disk, and where it ends is noted

A run that was stopped in whatever way is gone on with: what was read is read and hashed again,
which makes sure that it is still the same text and takes a small part of the time, and tokenizing
begins where the last whole segment ended.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from kseq.data.coding import CharacterCodes, WordCodes
from kseq.data.files import disk_errors_told, held_alone, made_folder
from kseq.data.id_cache import IdCache
from kseq.data.id_files import CodeFile
from kseq.data.mapped import MappedText
from kseq.data.preparation import Preparation
from kseq.data.segments import Segments, segment_tokens
from kseq.data.sources import FoundText, chunks_of

Progress = Callable[[int, int | None], None]


def indexed_text(
    texts: Sequence[FoundText],
    encoding: str,
    how: Preparation,
    cache_dir: str | os.PathLike[str],
    name: str,
    progress: Progress | None = None,
) -> tuple[MappedText, str]:
    """Return a text whose codes stay on the disk, and the SHA-256 of its bytes.

    Args:
        texts: the files.
        encoding: of the files.
        how: how they are tokenized.
        cache_dir: folder of such files, made if missing; see `kseq.data.id_cache`.
        name: begins the messages.
        progress: called with the bytes read so far and those of all files, or None.

    Processes that index the same text at once wait for the first.

    Raises:
        DataError: no text, or no tokens in it.
        FileError: a file cannot be read, or the folder cannot be written to.
    """
    with made_folder(cache_dir) as folder:
        cache = IdCache(folder, texts, encoding, how)
        with held_alone(cache.place.with_suffix(".lock")):
            sha256 = cache.remembered()
            coded = cache.opened(sha256)
            if coded is None:
                sha256, coded = _found_or_made(cache, texts, encoding, how, progress)
                cache.remember(sha256)
    how.check(coded, name)
    return coded, str(sha256)


def _found_or_made(
    cache: IdCache,
    texts: Sequence[FoundText],
    encoding: str,
    how: Preparation,
    progress: Progress | None,
) -> tuple[str, MappedText]:
    if cache.might_have():
        digest = _Digest(cache.size, progress)
        for _ in chunks_of(texts, encoding, digest.as_hash(), any_size=True):
            pass
        digest.tell_end()
        coded = cache.opened(digest.hexdigest())
        if coded is not None:
            return digest.hexdigest(), coded
    sha256 = _Indexing(cache, texts, encoding, how, progress).run()
    return sha256, cast(MappedText, cache.opened(sha256))


class _Indexing:
    """One text on its way into a cache."""

    def __init__(
        self,
        cache: IdCache,
        texts: Sequence[FoundText],
        encoding: str,
        how: Preparation,
        progress: Progress | None,
    ) -> None:
        self.cache, self.how = cache, how
        self._read = lambda digest: chunks_of(texts, encoding, digest.as_hash(), any_size=True)
        self._digest_of = lambda: _Digest(cache.size, progress)
        self.kept = False

    def run(self) -> str:
        """Write the index; return the hash of the text."""
        try:
            with disk_errors_told(self.cache.folder, self.cache.folder):
                path, sha256 = self._codes_written()
            symbols = list(self.codes.symbols())
            self.cache.add(path, sha256, symbols, self.counts.tolist())
        except BaseException:
            if not (self.kept and self.cache.can_be_read_again):
                self.cache.remove_partial()
            raise
        self.cache.remove_partial()
        return sha256

    def _codes_written(self) -> tuple[Path, str]:
        digest, segments, state = self._begun()
        self.codes = (WordCodes if self.how.level == "word" else CharacterCodes)(
            state.get("symbols", ())
        )
        self.counts = np.array(state.get("counts", ()), np.int64)
        stem, place = self.cache.codes_stem, (state.get("count", 0), state.get("itemsize", 1))
        try:
            codes = CodeFile(stem, *place)
        except OSError as error:
            if not state or error.errno is not None:
                raise
            # What an earlier run wrote is not all there.
            self.cache.remove_partial()
            return self._codes_written()
        with codes as file:
            for segment in segments:
                first = segments.position == 0
                for tokens in segment_tokens(segment, self.how, first):
                    self._append(file, self.codes.of(cast(Any, tokens)))
                file.force()
                self._note(file, segments.position, digest)
        digest.tell_end()
        return file.path, digest.hexdigest()

    def _begun(self) -> tuple["_Digest", Segments, dict[str, Any]]:
        """Return the text from where an earlier run ended, or from its beginning."""
        state = self.cache.partial()
        digest, position = self._digest_of(), state.get("position", 0)
        segments = Segments(self._read(digest), self.how.cleaning, position)
        self.kept = bool(state)
        if not state or (segments.position, digest.hexdigest()) == (position, state["sha256"]):
            return digest, segments, state
        self.cache.remove_partial()
        return self._begun()

    def _append(self, file: CodeFile, codes: np.ndarray) -> None:
        known = len(self.codes.symbols())
        file.append(codes, known)
        self.counts = np.pad(self.counts, (0, known - len(self.counts)))
        self.counts += np.bincount(codes, minlength=known)

    def _note(self, file: CodeFile, position: int, digest: "_Digest") -> None:
        state = {"position": position, "sha256": digest.hexdigest(), "count": file.count}
        state |= {"itemsize": file.dtype.itemsize, "symbols": list(self.codes.symbols())}
        self.cache.write_partial(state | {"counts": self.counts.tolist()})
        file.remove_others()
        self.kept = True


class _Digest:
    """SHA-256 of what is read, which tells how much that is."""

    def __init__(self, size: int | None, progress: Progress | None) -> None:
        self._hash, self._bytes = hashlib.sha256(), 0
        self._size, self._progress = size, progress
        self.hexdigest = self._hash.hexdigest

    def as_hash(self) -> "hashlib._Hash":
        return cast("hashlib._Hash", self)

    def update(self, block: bytes) -> None:
        self._hash.update(block)
        self._bytes += len(block)
        if self._progress is not None and block:
            self._progress(self._bytes, self._size)

    def tell_end(self) -> None:
        """Say that all has been read, however much there was said to be."""
        if self._progress is not None:
            self._progress(self._bytes, self._bytes)
