"""Tokenize a text of any size in a stream, into a file that is mapped and not loaded.

    bytes -> texts -> segments -> tokens -> codes -> file        a block of 1 MiB at a time
                        |
                        after each segment the file is forced to disk, and where it ends is noted

Of several texts each has segments of its own, so that it is tokenized as it would be alone.

A run that was stopped in whatever way is gone on with: what was read is read and hashed again,
which makes sure that it is still the same text and takes a small part of the time, and tokenizing
begins where the last whole segment ended.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from kseq.data.coding import CharacterCodes, WordCodes
from kseq.data.files import disk_errors_told, held_alone, made_folder
from kseq.data.id_cache import IdCache, IndexedText
from kseq.data.id_files import CodeFile
from kseq.data.preparation import Preparation
from kseq.data.segments import Segments, segment_tokens
from kseq.data.sources import FoundText, chunks_of, documents_of

Progress = Callable[[int, int | None], None]


def indexed_text(
    texts: Sequence[FoundText],
    encoding: str,
    how: Preparation,
    cache_dir: str | os.PathLike[str],
    name: str,
    progress: Progress | None = None,
) -> IndexedText:
    """Return texts whose codes stay on the disk.

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
            found = cache.opened(cache.remembered())
            if found is None:
                found = _found_or_made(cache, texts, encoding, how, progress)
                cache.remember(found.sha256)
    how.check(found.coded, name)
    return found


def _found_or_made(
    cache: IdCache,
    texts: Sequence[FoundText],
    encoding: str,
    how: Preparation,
    progress: Progress | None,
) -> IndexedText:
    if cache.might_have():
        digest = _Digest(cache.size, progress)
        for _ in chunks_of(texts, encoding, digest.as_hash(), any_size=True):
            pass
        digest.tell_end()
        found = cache.opened(digest.hexdigest())
        if found is not None:
            return found
    sha256 = _Indexing(cache, texts, encoding, how, progress).run()
    return cast(IndexedText, cache.opened(sha256))


class _Indexing:
    """Texts on their way into a cache."""

    def __init__(
        self,
        cache: IdCache,
        texts: Sequence[FoundText],
        encoding: str,
        how: Preparation,
        progress: Progress | None,
    ) -> None:
        self.cache, self.how = cache, how
        self._read = lambda digest: documents_of(texts, encoding, digest.as_hash(), any_size=True)
        self._digest_of = lambda: _Digest(cache.size, progress)
        self.kept, self._not_noted = False, 0

    def run(self) -> str:
        """Write the index; return the hash of the text."""
        try:
            with disk_errors_told(self.cache.folder, self.cache.folder):
                path, sha256 = self._codes_written()
            self.cache.add(path, sha256, self._found())
        except BaseException:
            if not (self.kept and self.cache.can_be_read_again):
                self.cache.remove_partial()
            raise
        self.cache.remove_partial()
        return sha256

    def _codes_written(self) -> tuple[Path, str]:
        digest, texts, state = self._begun()
        self.codes = (WordCodes if self.how.level == "word" else CharacterCodes)(
            state.get("symbols", ())
        )
        self.counts = np.array(state.get("counts", ()), np.int64)
        self.stops = list(state.get("stops", ()))
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
            for segments in texts:
                self._code(file, segments, digest)
                self.stops.append(file.count)
            file.force()
        digest.tell_end()
        return file.path, digest.hexdigest()

    def _begun(self) -> tuple["_Digest", Iterator[Segments], dict[str, Any]]:
        """Return the texts from where an earlier run ended, or from their beginning."""
        state = self.cache.partial()
        self.kept = bool(state)
        digest, position = self._digest_of(), state.get("position", 0)
        texts = self._read(digest)
        for text in islice(texts, len(state.get("stops", ()))):
            deque(text, maxlen=0)
        segments = Segments(next(texts), self.how.cleaning, position)
        if not state or (segments.position, digest.hexdigest()) == (position, state["sha256"]):
            others = (Segments(text, self.how.cleaning) for text in texts)
            return digest, chain([segments], others), state
        self.cache.remove_partial()
        return self._begun()

    def _code(self, file: CodeFile, segments: Segments, digest: "_Digest") -> None:
        """Append the tokens of one text; note how far it is, but not of many short ones each."""
        for segment in segments:
            before, first = segments.position, segments.position == 0
            for tokens in segment_tokens(segment, self.how, first):
                self._append(file, self.codes.of(cast(Any, tokens)))
            self._not_noted += segments.position - before
            if self._not_noted >= segments.size:
                file.force()
                self._note(file, segments.position, digest)

    def _append(self, file: CodeFile, codes: np.ndarray) -> None:
        known = len(self.codes.symbols())
        file.append(codes, known)
        self.counts = np.pad(self.counts, (0, known - len(self.counts)))
        self.counts += np.bincount(codes, minlength=known)

    def _note(self, file: CodeFile, position: int, digest: "_Digest") -> None:
        state = {"position": position, "sha256": digest.hexdigest(), "count": file.count}
        self.cache.write_partial(state | {"itemsize": file.dtype.itemsize} | self._found())
        file.remove_others()
        self.kept, self._not_noted = True, 0

    def _found(self) -> dict[str, list[Any]]:
        symbols, counts = list(self.codes.symbols()), self.counts.tolist()
        return {"symbols": symbols, "counts": counts, "stops": self.stops}


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
        if self._progress is not None and self._bytes != self._size:
            self._progress(self._bytes, self._bytes)
