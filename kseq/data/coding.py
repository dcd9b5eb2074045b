"""A text as one small integer a token: the compact form a corpus keeps.

Codes are given in order of first appearance, before any vocabulary exists, so a text is coded in
one pass however long it is.  The vocabulary and the ids are made from codes, and can be made anew
from any part of them; that is how a split gets a vocabulary of its training part only.

    to be or not to be        codes   0 1 2 3 0 1
                              symbols to be or not
                              counts  2  2  1  1

Codes take one byte each up to 256 symbols, two up to 65,536, else four.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_BLOCK_TOKENS = 2**20
_CODE_POINTS = 0x110000


@dataclass(frozen=True, eq=False)
class CodedText:
    """`codes` (N,), unsigned integers; `symbols[code]` is the token a code stands for."""

    codes: np.ndarray
    symbols: tuple[str, ...]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How often each symbol occurs, those that occur, in order of first appearance here."""
        first = np.full(len(self.symbols), len(self.codes), np.int64)
        counts = np.zeros(len(self.symbols), np.int64)
        for start, block in _blocks(self.codes):
            counts += np.bincount(block, minlength=len(self.symbols))
            _note_first(first, block, start)
        order = [code for code in np.argsort(first, kind="stable") if counts[code]]
        return {self.symbols[code]: int(counts[code]) for code in order}

    def part(self, start: int, stop: int) -> "CodedText":
        """Return the tokens `start` to `stop`, sharing memory."""
        return CodedText(self.codes[start:stop], self.symbols)

    def parts(self, ranges: Sequence[tuple[int, int]]) -> "CodedText":
        """Return the tokens of several ranges, one after the other; one alone shares memory."""
        if len(ranges) == 1:
            return self.part(*ranges[0])
        return CodedText(
            np.concatenate([self.codes[slice(*each)] for each in ranges]), self.symbols
        )

    def mapped(self, table: np.ndarray) -> np.ndarray:
        """Return `table[code]` for every code, in the dtype of `table`; (N,)."""
        out = np.empty(len(self.codes), table.dtype)
        for start, block in _blocks(self.codes):
            np.take(table, block, out=out[start : start + len(block)])
        return out

    def tokens(self) -> list[str]:
        """Return the tokens themselves, one `str` each."""
        return [self.symbols[code] for code in self.codes.tolist()]

    def characters(self) -> str:
        """Return the text of a coding by character."""
        points = np.array([ord(symbol) for symbol in self.symbols], "<u4")
        return "".join(
            points[block].tobytes().decode("utf-32-le", "surrogatepass")
            for _, block in _blocks(self.codes)
        )


def code_characters(chunks: Iterable[str]) -> CodedText:
    """Code a text by its characters, Unicode code points.

    Example:
        >>> coded = code_characters(["abra", "ca"])
        >>> coded.codes.tolist(), coded.symbols
        ([0, 1, 2, 0, 3, 0], ('a', 'b', 'r', 'c'))
    """
    table = np.full(_CODE_POINTS, -1, np.int32)
    points: list[int] = []
    kept = _Kept()
    for chunk in chunks:
        block = code_points(chunk)
        codes = table[block]
        if codes.min(initial=0) < 0:
            found = _in_order(block[codes < 0])
            table[found] = np.arange(len(points), len(points) + len(found), dtype=np.int32)
            points.extend(found.tolist())
            codes = table[block]
        kept.append(codes, len(points))
    return CodedText(kept.array(), tuple(map(chr, points)))


def code_words(chunks: Iterable[list[str]]) -> CodedText:
    """Code a text by its words.

    Example:
        >>> code_words([["to", "be"], ["or", "to"]]).codes.tolist()
        [0, 1, 2, 0]
    """
    codes = _Codes()
    kept = _Kept()
    for words in chunks:
        kept.append(np.fromiter(map(codes.__getitem__, words), np.int32, len(words)), len(codes))
    return CodedText(kept.array(), tuple(codes))


def code_points(text: str) -> np.ndarray:
    """Return the Unicode code points of `text`; (N,) unsigned integers, one byte each for ASCII."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def smallest_dtype(values: int) -> np.dtype:
    """Return the smallest of uint8, uint16 and int32 that holds 0 .. `values` - 1.

    Example:
        >>> smallest_dtype(256), smallest_dtype(257)
        (dtype('uint8'), dtype('uint16'))
    """
    return np.dtype(np.uint8 if values <= 2**8 else np.uint16 if values <= 2**16 else np.int32)


class _Codes(dict[str, int]):
    """A new word gets the next code."""

    def __missing__(self, word: str) -> int:
        self[word] = len(self)
        return self[word]


class _Kept:
    """Codes appended block by block to one buffer, which widens in place when they outgrow it.

    A bytearray grows by moving pages and not by copying them, so the codes never lie in memory
    twice, as they would in a list of arrays on its way to one array.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._dtype = smallest_dtype(1)

    def append(self, codes: np.ndarray, num_symbols: int) -> None:
        dtype = smallest_dtype(num_symbols)
        if dtype != self._dtype:
            self._widen(dtype)
        self._buffer += codes.astype(dtype).tobytes()

    def array(self) -> np.ndarray:
        return np.frombuffer(self._buffer, self._dtype)

    def _widen(self, dtype: np.dtype) -> None:
        count = len(self._buffer) // self._dtype.itemsize
        self._buffer.extend(bytes(count * dtype.itemsize - len(self._buffer)))
        narrow = np.frombuffer(self._buffer, self._dtype, count)
        wide = np.frombuffer(self._buffer, dtype, count)
        # From the end, so that no code is overwritten before it has moved.
        for start in reversed(range(0, count, _BLOCK_TOKENS)):
            block = slice(start, start + _BLOCK_TOKENS)
            wide[block] = narrow[block].copy()
        self._dtype = dtype


def _blocks(codes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    # NumPy turns small integers into 8-byte ones to index and to count: a block at a time.
    for start in range(0, len(codes), _BLOCK_TOKENS):
        yield start, codes[start : start + _BLOCK_TOKENS]


def _note_first(first: np.ndarray, block: np.ndarray, start: int) -> None:
    new = np.flatnonzero(first[block] >= start)
    if len(new):
        found, where = np.unique(block[new], return_index=True)
        first[found] = start + new[where]


def _in_order(values: np.ndarray) -> np.ndarray:
    found, where = np.unique(values, return_index=True)
    return found[np.argsort(where)]
