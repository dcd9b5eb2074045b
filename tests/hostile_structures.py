"""Weights whose HDF5 parts overlap, so that few bytes would be read many times over."""

import struct

from good_model_file import WEIGHTS, good_members
from hostile_ways import with_members

ROOT_HEADER, END_OF_FILE = 64, 40
MESSAGES, SYMBOL_TABLE, CONTINUATION = 16, 0x11, 0x10
MOST = 2**16 - 1


def grown(make):
    """Give a file whose weights end in `make(where that is, what it may change)`."""
    content = bytearray(good_members()[WEIGHTS])
    content += bytes(-len(content) % 8)
    content += make(len(content), content)
    struct.pack_into("<Q", content, END_OF_FILE, len(content))
    return with_members(weights=bytes(content))


def root_of(content):
    """Give where the header of the root is, and where its message with the group's tree is."""
    header = struct.unpack_from("<Q", content, ROOT_HEADER)[0]
    at = header + MESSAGES
    while struct.unpack_from("<H", content, at)[0] != SYMBOL_TABLE:
        at += 8 + struct.unpack_from("<H", content, at + 2)[0]
    return header, at + 8


def tree(level, children, count=None):
    told = len(children) if count is None else count
    keys = b"".join(struct.pack("<2Q", child, 0) for child in children)
    return struct.pack("<4s2BH2Q", b"TREE", 0, level, told, 2**64 - 1, 2**64 - 1) + bytes(8) + keys


def overlapping_trees(at, content):
    """A tree of 300 nodes that say each to have 65,535 children, in the same megabyte."""
    struct.pack_into("<Q", content, root_of(content)[1], at)
    first = at + 32 + 16 * 300
    node = struct.pack("<4s2BH2Q", b"TREE", 0, 0, MOST, 0, 0)
    root = tree(1, [first + len(node) * index for index in range(300)])
    return root + node * 300 + bytes(16 * MOST + 8)


def overlapping_names(at, content):
    """A tree over 300 nodes that say each to have 65,535 names, in the same megabytes."""
    struct.pack_into("<Q", content, root_of(content)[1], at)
    first = at + 32 + 16 * 300 + 32
    name = 8  # where the heap of a group has its first name
    entry = struct.pack("<2Q2L8x4s2BH", name, 0, 0, 0, b"SNOD", 1, 0, MOST)
    root = tree(0, [first + len(entry) * index for index in range(300)])
    return root + (bytes(32) + struct.pack("<4s2BH", b"SNOD", 1, 0, MOST)) + entry * (MOST + 300)


def overlapping_continuations(at, content, count=MOST):
    """A header of `count` messages, continued in 100 blocks that are the same 4 MB of them."""
    header, _ = root_of(content)
    size, first = 8 * 500_000, at + 24 * 100
    blocks = [continuation(first + 8 * index, size - 8 * index) for index in range(100)]
    struct.pack_into("<H", content, header + 2, count)
    start = header + MESSAGES
    content[start : start + 24] = continuation(at, 24 * 100)
    return b"".join(blocks) + bytes(size)


def continuation(start, size):
    return struct.pack("<2HB3x2Q", CONTINUATION, 16, 0, start, size)


def structures():
    """Give every file with the words with which it is refused."""
    more = "more parts than the model"
    return {
        "overlapping-trees": (grown(overlapping_trees), more),
        "overlapping-names": (grown(overlapping_names), more),
        "overlapping-continuations": (grown(overlapping_continuations), "too long a one"),
        "overlapping-continuations-of-few": (
            grown(lambda at, content: overlapping_continuations(at, content, 200)),
            "another length than it says",
        ),
    }
