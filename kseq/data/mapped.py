"""Token ids that stay on the disk: a text larger than memory, read where it is needed.

    codes on disk   0 1 2 3 0 1 ...      one small integer a token, without a vocabulary
    table           1 2 4 3              the id of each code, in the vocabulary of this part
    ids[2:5]        4 3 1                looked up when they are asked for

The file holds codes and not ids because a split has a vocabulary of its training part: another
part or another vocabulary is another table of a few entries, and no second file.

Pages that were read count as resident memory for as long as they are mapped, so they are given
back after every 64 MiB of them; the system keeps them in its cache, where they can be read again.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kseq.data.coding import CodedText, blocks_of
from kseq.errors import FileError

_MOST_RESIDENT_BYTES = 2**26
# What Linux maps around a page that is asked for (fault_around_bytes).
_BYTES_AROUND = 2**16


class _Pages:
    """A memory-mapped array whose pages are given back before they are too many."""

    def __init__(self, mapped: np.memmap, origin: str | None) -> None:
        self.origin = origin
        self.memory: Any = getattr(mapped, "_mmap", None)
        self.array = np.asarray(mapped)
        self._resident = 0

    def read(self, where: Any) -> np.ndarray:
        """Return a copy of a slice, or of the elements at an array of places."""
        found = np.array(self.array[where])
        places = where.shape[0] if isinstance(where, np.ndarray) and where.ndim else 1
        self._resident += found.nbytes + places * _BYTES_AROUND
        if self._resident > _MOST_RESIDENT_BYTES:
            self._give_back()
        return found

    def _give_back(self) -> None:
        self._resident = 0
        if hasattr(mmap, "MADV_DONTNEED") and self.memory is not None:
            self.memory.madvise(mmap.MADV_DONTNEED)


class MappedIds:
    """Token ids in a file; (N,) integers, looked up when they are indexed.

    It has the length, shape, dtype and indexing of an array, by a number, a slice that goes up or
    an array of places, all at or above 0; what comes out is a new array.  `np.asarray` reads all
    of them.

    Args:
        codes: a memory-mapped array of codes, (M,) unsigned.
        table: the id of each code; None leaves the codes as they are.
        ranges: which of the codes these are (start, stop), one range after the other; all by
            default.
        origin: what tells the codes of this file from all others, where that is known.

    Example:
        >>> table = np.array([5, 6, 7], np.int32)
        >>> ids = MappedIds(np.array([0, 1, 2, 0], np.uint8), table, [(1, 4), (0, 1)])
        >>> len(ids), int(ids[0]), ids[1:], ids[np.array([[2, 1]])]
        (4, 6, array([7, 5, 5], dtype=int32), array([[5, 7]], dtype=int32))
    """

    ndim = 1

    def __init__(
        self,
        codes: Any,
        table: np.ndarray | None = None,
        ranges: Sequence[tuple[int, int]] | None = None,
        origin: str | None = None,
    ) -> None:
        self.pages = codes if isinstance(codes, _Pages) else _Pages(codes, origin)
        self._table = table
        self.ranges = [(0, len(self.pages.array))] if ranges is None else list(ranges)
        lengths = [stop - start for start, stop in self.ranges]
        # Place p of range r is p + _shifts[r] in the file, and _ends[r] is after its last place.
        self._ends = np.cumsum(lengths, dtype=np.int64)
        self._shifts = np.array([stop for _, stop in self.ranges], np.int64) - self._ends
        self.dtype = self.pages.array.dtype if table is None else table.dtype
        self._largest: int | None = None

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int]:
        """As an array's: (N,)."""
        return (len(self),)

    @property
    def size(self) -> int:
        """As an array's: N."""
        return len(self)

    def max(self) -> int:
        """Return the largest id; the first time all are read, as far as the largest there can be.

        Raises:
            ValueError: there are none.
        """
        if self._largest is None:
            most = None if self._table is None else int(self._table.max())
            self._largest = _largest(self, most)
        return self._largest

    def parts(self, ranges: Sequence[tuple[int, int]]) -> "MappedIds":
        """Return the ids of `ranges` (start, stop), one after the other, none of them read."""
        found = [each for start, stop in ranges for each in self._in_file(start, stop)]
        return MappedIds(self.pages, self._table, found or [(0, 0)])

    def under(self, table: np.ndarray) -> "MappedIds":
        """Return the same tokens with the ids of `table`, (codes,), none of them read."""
        return MappedIds(self.pages, table, self.ranges)

    def identity(self) -> bytes | None:
        """Return what tells these ids from others, none of them read; None where it is not known.

        The same ids in the memory, or from another file, have another identity.
        """
        if self.pages.origin is None:
            return None
        table = b"" if self._table is None else self._table.astype("<i4").tobytes()
        return f"{self.pages.origin} {self.ranges} ".encode() + table

    def __getitem__(self, where: Any) -> Any:
        if isinstance(where, slice):
            start, stop, step = where.indices(len(self))
            found = [self._looked_up(slice(*each)) for each in self._in_file(start, stop)]
            return (found[0] if len(found) == 1 else self._joined(found))[::step]
        places = np.asarray(where)
        if places.ndim == 0:
            return self[int(places) : int(places) + 1][0]
        if places.size and not 0 <= places.min() <= places.max() < len(self):
            raise IndexError(f"places from 0 to {len(self) - 1}")
        if places.dtype.kind not in "iu":
            raise IndexError(f"places as integers, found {places.dtype}")
        places = places.astype(np.int64, copy=False)
        return self._looked_up(places + self._shifts[self._ends.searchsorted(places, "right")])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        out = np.empty(len(self), self.dtype if dtype is None else dtype)
        for start, block in blocks_of(self):
            out[start : start + len(block)] = block
        return out

    def _in_file(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield where in the file the places from `start` to `stop` are."""
        number = int(self._ends.searchsorted(start, "right"))
        while start < stop:
            end, shift = min(stop, int(self._ends[number])), int(self._shifts[number])
            if start < end:
                yield start + shift, end + shift
            start, number = end, number + 1

    def _joined(self, found: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(found) if found else np.empty(0, self.dtype)

    def _looked_up(self, where: Any) -> np.ndarray:
        codes = self.pages.read(where)
        if self._table is None:
            return codes
        try:
            return self._table[codes]
        except IndexError as error:
            raise FileError(
                f"ids: must be codes below {len(self._table)}, found {codes.max()}: the file was "
                "changed; index the text again, in another cache_dir"
            ) from error


@dataclass(frozen=True, eq=False)
class MappedText(CodedText):
    """A coded text whose codes stay on the disk.

    whole_counts: how often each symbol occurs in the whole file, in the order of the codes.
    """

    codes: Any
    whole_counts: np.ndarray

    @cached_property
    def counts(self) -> dict[str, int]:
        """How often each symbol occurs, those that occur, in order of first appearance here."""
        if len(self.codes.ranges) > 1 or self.codes.ranges[0][0]:
            return super().counts
        # Codes are numbered by first appearance, which is that of every beginning of the text.
        counts = self._counts_of_beginning()
        return {self.symbols[code]: int(counts[code]) for code in np.flatnonzero(counts)}

    def part(self, start: int, stop: int) -> "MappedText":
        """Return the tokens `start` to `stop`, none of them read."""
        return self.parts([(start, stop)])

    def parts(self, ranges: Sequence[tuple[int, int]]) -> "MappedText":
        """Return the tokens of several ranges, one after the other, none of them read."""
        within = [slice(*each).indices(len(self.codes))[:2] for each in ranges]
        return MappedText(self.codes.parts(within), self.symbols, self.whole_counts)

    def mapped(self, table: np.ndarray) -> Any:
        """Return `table[code]` for every code, looked up when it is asked for."""
        return self.codes.under(table)

    def _counts_of_beginning(self) -> np.ndarray:
        total, kept = int(self.whole_counts.sum()), len(self.codes)
        if kept <= total - kept:
            return self._counted(0, kept)
        return self.whole_counts - self._counted(kept, total)

    def _counted(self, start: int, stop: int) -> np.ndarray:
        counts = np.zeros(len(self.symbols), np.int64)
        # Of a beginning the rest is in the same range of the file.
        rest = MappedIds(self.codes.pages, None, [(start, stop)])
        for _, block in blocks_of(rest):
            counts += np.bincount(block, minlength=len(counts))
        return counts


def _largest(ids: MappedIds, most: int | None) -> int:
    found = []
    for _, block in blocks_of(ids):
        found.append(int(block.max()))
        if found[-1] == most:
            break
    return max(found)
