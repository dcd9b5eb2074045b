"""A text as one small integer a token: the compact form a corpus keeps.

Codes are given in order of first appearance, before any vocabulary exists, so a text is coded in
one pass however long it is.  The vocabulary and the ids are made from codes, and can be made anew
from any part of them; that is how a split gets a vocabulary of its training part only.

    to be or not to be        codes   0 1 2 3 0 1
                              symbols to be or not
                              counts  2  2  1  1

Codes take one byte each up to 256 symbols, two up to 65,536, else four.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

_BLOCK_TOKENS = 2**20
_CODE_POINTS = 0x110000
_NO_CODE = 255


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
        for start, block in blocks_of(self.codes):
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
        for start, block in blocks_of(self.codes):
            np.take(table, block, out=out[start : start + len(block)])
        return out

    def tokens(self) -> list[str]:
        """Return the tokens themselves, one `str` each."""
        return [self.symbols[code] for code in np.asarray(self.codes).tolist()]

    def characters(self) -> str:
        """Return the text of a coding by character."""
        points = np.array([ord(symbol) for symbol in self.symbols], "<u4")
        return "".join(
            points[block].tobytes().decode("utf-32-le", "surrogatepass")
            for _, block in blocks_of(self.codes)
        )


def code_characters(chunks: Iterable[str]) -> CodedText:
    """Code a text by its characters, Unicode code points.

    Example:
        >>> coded = code_characters(["abra", "ca"])
        >>> coded.codes.tolist(), coded.symbols
        ([0, 1, 2, 0, 3, 0], ('a', 'b', 'r', 'c'))
    """
    codes, kept = CharacterCodes(), _Kept()
    for chunk in chunks:
        block = codes.of(chunk)
        kept.append(block, len(codes.symbols()))
    return CodedText(kept.array(), tuple(codes.symbols()))


def code_words(chunks: Iterable[list[str]]) -> CodedText:
    """Code a text by its words.

    Example:
        >>> code_words([["to", "be"], ["or", "to"]]).codes.tolist()
        [0, 1, 2, 0]
    """
    codes, kept = WordCodes(), _Kept()
    for words in chunks:
        block = codes.of(words)
        kept.append(block, len(codes.symbols()))
    return CodedText(kept.array(), tuple(codes.symbols()))


class CharacterCodes:
    """Codes of characters, given as they come.

    Args:
        symbols: those that have a code already, in the order of their codes.

    Example:
        >>> codes = CharacterCodes("ab")
        >>> codes.of("cab").tolist(), codes.symbols()
        ([2, 0, 1], ['a', 'b', 'c'])
    """

    def __init__(self, symbols: Iterable[str] = ()) -> None:
        self._symbols = list(symbols)
        self._table = np.full(_CODE_POINTS, -1, np.int32)
        self._table[[ord(symbol) for symbol in self._symbols]] = np.arange(len(self._symbols))
        self._note_ascii()

    def of(self, text: str) -> np.ndarray:
        """Return the code of every character; (N,) uint8 for ASCII, else int32."""
        if text.isascii():
            codes = np.frombuffer(text.encode("ascii").translate(self._ascii), np.uint8)
            if codes.max(initial=0) < _NO_CODE:
                return codes
        points = code_points(text)
        codes = self._table[points]
        if codes.min(initial=0) < 0:
            self._add(_in_order(points[codes < 0]))
            codes = self._table[points]
        return codes

    def symbols(self) -> list[str]:
        """Return the characters that have a code, in its order."""
        return self._symbols

    def _add(self, points: np.ndarray) -> None:
        first = len(self._symbols)
        self._symbols += map(chr, points.tolist())
        self._table[points] = np.arange(first, len(self._symbols), dtype=np.int32)
        self._note_ascii()

    def _note_ascii(self) -> None:
        """Keep the codes of ASCII as bytes: `bytes.translate` is many times as fast as a look-up.

        What has no code, or one that is no byte, is 255.
        """
        codes = self._table[:128]
        narrow = np.where((codes >= 0) & (codes < _NO_CODE), codes, _NO_CODE).astype(np.uint8)
        self._ascii = narrow.tobytes() + bytes([_NO_CODE]) * 128


class WordCodes:
    """Codes of words, given as they come; `symbols` have one already.

    Example:
        >>> codes = WordCodes(["to", "be"])
        >>> codes.of(["or", "to"]).tolist(), list(codes.symbols())
        ([2, 0], ['to', 'be', 'or'])
    """

    def __init__(self, symbols: Iterable[str] = ()) -> None:
        self._codes = _Codes({word: code for code, word in enumerate(symbols)})

    def of(self, words: list[str]) -> np.ndarray:
        """Return the code of every word; (N,) int32."""
        return np.fromiter(map(self._codes.__getitem__, words), np.int32, len(words))

    def symbols(self) -> Collection[str]:
        """Return the words that have a code, in its order."""
        return self._codes.keys()


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
        self._buffer += codes.astype(dtype, copy=False).data

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


def blocks_of(codes: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yield where each block of a million begins, and the block; of an array, or of `MappedIds`."""
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
