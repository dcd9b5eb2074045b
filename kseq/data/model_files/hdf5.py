"""A reader of the few parts of HDF5 that h5py writes for Keras, for files from strangers.

Taken: superblock 0, groups as symbol tables (a version 1 B-tree over nodes of names), version 1
object headers, contiguous little-endian arrays of numbers.  Everything else is refused: filters,
chunks, virtual and external storage, soft and external links, types of variable length.  The
HDF5 library itself is not used, because crafted bytes are known to crash it or to hang it.

Every address is checked against the file, every object is visited once, and an array is a view
of bytes that are there.  What overlaps could still be read many times over: so every message,
child and name that is read is counted, and the work and the memory are bounded by how many
objects there may be.

Source: HDF5 File Format Specification 3.0, sections II.A, III.A-D and IV.A.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import numpy as np

from kseq.data.model_files.refusing import DamageError

_SUPERBLOCK = struct.Struct("<8s8B2HL4Q")
_ROOT = struct.Struct("<2Q2L16x")  # a symbol table entry: name, header, kind of cache
_TREE = struct.Struct("<4s2BH2Q")
_HEAP = struct.Struct("<4sB3x3Q")
_NODE = struct.Struct("<4s2BH")
_HEADER = struct.Struct("<2BH2L4x")
_MESSAGE = struct.Struct("<2HB3x")
_PAIR = struct.Struct("<2Q")
_UNDEFINED = 2**64 - 1
_LONGEST_NAME = 255
_MOST_DIMENSIONS = 4
_DEEPEST_TREE = 16
_DEEPEST_PATH = 16
_MOST_MESSAGES = 256
# Messages, children and names together; h5py writes some 5 for each object.
_STEPS_OF_AN_OBJECT = 32

_NIL, _DATASPACE, _DATATYPE, _LAYOUT, _ATTRIBUTE = 0x0, 0x1, 0x3, 0x8, 0xC
_CONTINUATION, _SYMBOL_TABLE = 0x10, 0x11
_OLD_FILL, _FILL, _MODIFIED = 0x4, 0x5, 0x12
_PASSED_OVER = {_NIL, _OLD_FILL, _FILL, _ATTRIBUTE, _MODIFIED}
_TAKEN = {_DATASPACE, _DATATYPE, _LAYOUT, _SYMBOL_TABLE}
_OTHER_LENGTH = "its weights have a header of another length than it says"


def _float_type(size: int, *layout: int) -> bytes:
    sign, exponent_at, exponent, mantissa_at, mantissa, bias = layout
    bits = (0x11, 0x20, sign, 0, size, 0, 8 * size)
    return struct.pack("<4BL2H4BL", *bits, exponent_at, exponent, mantissa_at, mantissa, bias)


def _int_type(size: int, signed: bool) -> bytes:
    return struct.pack("<4BL2H", 0x10, 8 * signed, 0, 0, size, 0, 8 * size)


# The datatype message of each kind of number, to the byte.
_TYPES = {
    _float_type(2, 15, 10, 5, 0, 10, 15): np.dtype("<f2"),
    _float_type(4, 31, 23, 8, 0, 23, 127): np.dtype("<f4"),
    _float_type(8, 63, 52, 11, 0, 52, 1023): np.dtype("<f8"),
    **{_int_type(size, True): np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{_int_type(size, False): np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    # Two bytes without a meaning: so h5py writes what Keras says is bfloat16.
    struct.pack("<4BL", 0x15, 0, 0, 0, 2): np.dtype("V2"),
}


def read_arrays(content: memoryview, most: int) -> dict[str, np.ndarray]:
    """Return every array of an HDF5 file by its path, as views of `content`.

    Args:
        content: the whole file.
        most: how many objects (groups and arrays) it may have.

    Raises:
        DamageError: it is not whole, or holds anything but groups and plain arrays of numbers.
    """
    try:
        return _Reader(content, most).read()
    except struct.error as error:
        raise DamageError("its weights lead to a place outside of them") from error
    except (IndexError, OverflowError, ValueError, MemoryError) as error:
        raise DamageError(f"its weights cannot be read: {error}") from error


class _Reader:
    def __init__(self, content: memoryview, most: int) -> None:
        self.content, self.most = content, most
        self.objects = 0
        self.steps_left = _STEPS_OF_AN_OBJECT * most
        self.visited: set[int] = set()
        self.extents: list[tuple[int, int]] = []
        self.arrays: dict[str, np.ndarray] = {}

    def read(self) -> dict[str, np.ndarray]:
        waiting = [("", self._root())]
        while waiting:
            path, header = waiting.pop()
            self._count()
            found = self._messages(header)
            if _SYMBOL_TABLE in found:
                waiting += self._inside(path, found[_SYMBOL_TABLE])
            else:
                self.arrays[path] = self._array(found)
        self._check_extents()
        return self.arrays

    def _root(self) -> int:
        block = _SUPERBLOCK.unpack_from(self.content, 0)
        sizes, base, end = block[6:8], block[12], block[14]
        if block[0] != b"\x89HDF\r\n\x1a\n" or any(block[1:5]) or tuple(sizes) != (8, 8):
            raise DamageError("its weights are not in the format Keras writes")
        if base or end != len(self.content) or block[13] != _UNDEFINED or block[15] != _UNDEFINED:
            raise DamageError("its weights have another size than they say")
        _, header, cache, _ = _ROOT.unpack_from(self.content, _SUPERBLOCK.size)
        if cache > 1:
            raise DamageError("its weights begin with a link")
        return header

    def _inside(self, path: str, table: memoryview) -> list[tuple[str, int]]:
        """Return the paths of what is in a group, and where the header of each is."""
        if path.count("/") > _DEEPEST_PATH:
            raise DamageError("its weights are nested too much")
        entries = self._entries(table)
        return [(f"{path}/{name}" if path else name, at) for name, at in entries]

    def _count(self) -> None:
        self.objects += 1
        if self.objects > self.most:
            raise DamageError("its weights have more parts than the model")

    def _spend(self, steps: int = 1) -> None:
        self.steps_left -= steps
        if self.steps_left < 0:
            raise DamageError("its weights have more parts than the model")

    def _visit(self, at: int) -> int:
        if at in self.visited:
            raise DamageError("its weights lead back to themselves")
        self.visited.add(at)
        return at

    def _take(self, at: int, size: int) -> memoryview:
        if at + size > len(self.content):
            raise DamageError("its weights are cut off")
        return self.content[at : at + size]

    def _messages(self, header: int) -> dict[int, memoryview]:
        """Return the messages of an object that are taken, by their kind."""
        version, _, count, _, size = _HEADER.unpack_from(self.content, self._visit(header))
        if version != 1 or count > _MOST_MESSAGES:
            raise DamageError("its weights have a part of another version or too long a one")
        found: dict[int, memoryview] = {}
        blocks, seen = [(header + _HEADER.size, size)], 0
        while blocks:
            for kind, flags, body in _messages_in(self._take(*blocks.pop())):
                seen += 1
                self._spend()
                if seen > count:
                    raise DamageError(_OTHER_LENGTH)
                if kind == _CONTINUATION:
                    start, more = _PAIR.unpack(body)
                    blocks.append((self._visit(start), more))
                else:
                    _note(found, kind, flags, body)
        if seen != count:
            raise DamageError(_OTHER_LENGTH)
        return found

    def _entries(self, table: memoryview) -> list[tuple[str, int]]:
        """Return the names in a group and where the header of each is."""
        tree, heap = _PAIR.unpack(table)
        names = self._names(heap)
        entries: list[tuple[str, int]] = []
        for node in self._nodes(tree):
            signature, version, _, count = _NODE.unpack_from(self.content, self._visit(node))
            if signature != b"SNOD" or version != 1:
                raise DamageError("its weights have a group without names")
            self._spend(count)
            for index in range(count):
                at = node + _NODE.size + index * _ROOT.size
                name, header, cache, _ = _ROOT.unpack_from(self.content, at)
                if cache > 1:
                    raise DamageError("its weights lead elsewhere by a link")
                entries.append((_name(names, name), header))
        if len({name for name, _ in entries}) < len(entries):
            raise DamageError("its weights have a name twice")
        return entries

    def _names(self, heap: int) -> memoryview:
        signature, version, size, _, at = _HEAP.unpack_from(self.content, self._visit(heap))
        if signature != b"HEAP" or version:
            raise DamageError("its weights have a group without names")
        return self._take(at, size)

    def _nodes(self, tree: int) -> list[int]:
        """Return the leaves of a B-tree: where the nodes of names are, in order."""
        level = self._level(tree)
        places = [tree]
        for depth in range(level, -1, -1):
            places = [child for place in places for child in self._children(place, depth)]
        return places

    def _level(self, tree: int) -> int:
        level = _TREE.unpack_from(self.content, tree)[2]
        if level > _DEEPEST_TREE:
            raise DamageError("its weights are nested too much")
        return level

    def _children(self, place: int, depth: int) -> list[int]:
        signature, kind, level, count, _, _ = _TREE.unpack_from(self.content, self._visit(place))
        if signature != b"TREE" or kind or level != depth:
            raise DamageError("its weights have a group without a tree")
        self._spend(count)
        # A key, then a child and a key for each.
        body = self._take(place + _TREE.size, 8 + 16 * count)
        return [struct.unpack_from("<Q", body, 8 + 16 * index)[0] for index in range(count)]

    def _array(self, found: dict[int, memoryview]) -> np.ndarray:
        if not found.keys() >= {_DATASPACE, _DATATYPE, _LAYOUT}:
            raise DamageError("its weights have a part that is no array")
        shape, dtype = _shape(found[_DATASPACE]), _dtype(found[_DATATYPE])
        version, storage = found[_LAYOUT][0], found[_LAYOUT][1]
        if version != 3 or storage != 1:
            raise DamageError("its weights are stored in pieces or elsewhere")
        start, size = struct.unpack_from("<2Q", found[_LAYOUT], 2)
        if size != math.prod(shape) * dtype.itemsize or not size:
            raise DamageError("its weights have an array of another size than it says")
        self.extents.append((start, start + size))
        return np.frombuffer(self._take(start, size), dtype).reshape(shape)

    def _check_extents(self) -> None:
        end = _SUPERBLOCK.size + _ROOT.size
        for start, stop in sorted(self.extents):
            if start < end:
                raise DamageError("its weights overlap each other")
            end = stop


def _messages_in(block: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield kind, flags and content of each message of a part of an object's header."""
    at = 0
    while at + _MESSAGE.size <= len(block):
        kind, length, flags = _MESSAGE.unpack_from(block, at)
        at += _MESSAGE.size + length
        if at > len(block):
            raise DamageError("its weights are cut off")
        yield kind, flags, block[at - length : at]


def _note(found: dict[int, memoryview], kind: int, flags: int, body: memoryview) -> None:
    if kind in _PASSED_OVER:
        return
    # Bit 1: the message is stored in another place.
    if kind not in _TAKEN or flags & 2 or kind in found:
        raise DamageError("its weights have a part that Keras does not write")
    found[kind] = body


def _name(names: memoryview, at: int) -> str:
    raw = bytes(names[at : at + _LONGEST_NAME + 1])
    name, ended, _ = raw.partition(b"\0")
    if not ended or not name or b"/" in name or name in (b".", b".."):
        raise DamageError("its weights have a part without a name")
    return name.decode("ascii", "backslashreplace")


def _shape(message: memoryview) -> tuple[int, ...]:
    version, rank, flags = message[0], message[1], message[2]
    if version != 1 or rank > _MOST_DIMENSIONS or flags > 1:
        raise DamageError("its weights have an array of another kind")
    sizes = struct.unpack_from(f"<{rank * (1 + flags)}Q", message, 8)
    shape = sizes[:rank]
    if flags and sizes[rank:] != shape:
        raise DamageError("its weights have an array without a fixed size")
    return shape


def _dtype(message: memoryview) -> np.dtype:
    raw = bytes(message)
    for known, dtype in _TYPES.items():
        # Messages are padded to a multiple of eight bytes.
        if raw[: len(known)] == known and not any(raw[len(known) :]):
            return dtype
    raise DamageError("its weights have an array of another type")
