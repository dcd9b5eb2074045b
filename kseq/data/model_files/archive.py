"""The archive a `.keras` file is: three members stored one after another, and nothing else.

A reader of zip archives that takes only what Keras writes: each member once, not compressed, not
encrypted, its size and checksum the same in the directory, in its own header and in the bytes
that are there, and no byte of the file outside a member, a header or the directory.  What
Python's `zipfile` accepts beyond that (prefixes, gaps, overlaps, comments, several directories)
is how a small file becomes a large one, or two readers see two files.

Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from kseq.data.model_files.refusing import DamageError, FlawError, refusal
from kseq.errors import FileError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MEMBERS = (CONFIG, METADATA, WEIGHTS)
LARGEST_FILE = 16 * 2**30
OTHER_FORMATS = {
    ".h5": "Keras 2 files must be converted first",
    ".hdf5": "Keras 2 files must be converted first",
    ".pt": "PyTorch's own files hold no model kseq could build",
    ".pth": "PyTorch's own files hold no model kseq could build",
    ".safetensors": "these files hold weights only",
}
# As a path has it, where two slashes are one.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA64 = struct.Struct("<2H2Q")
_BEYOND = 0xFFFFFFFF  # a size of 32 bits that says: see the one of 64
_CHUNK = 2**20
_LARGEST_DIRECTORY = 4096


@dataclass(frozen=True)
class Member:
    """Where the bytes of a member are, and their checksum."""

    name: str
    header: int  # where its own header begins
    start: int
    size: int
    crc: int


class Archive:
    """The members of an open `.keras` file; everything is read from one file descriptor.

    Raises:
        FileError: there is no such file, or it cannot be read.
        ModelFileError: it is no regular file of at most 16 GiB on this machine.
        DamageError: it is no archive of the three members.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = _open(path)
        try:
            self.size = os.fstat(self._descriptor).st_size
            self.members = self._read_members()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file descriptor back."""
        os.close(self._descriptor)

    def size_of(self, name: str) -> int:
        """Return how many bytes a member has."""
        return self.members[name].size

    def read(self, name: str) -> memoryview:
        """Return the bytes of a member, read once and checked.

        Raises:
            DamageError: they do not match their checksum.
        """
        member = self.members[name]
        content, crc = memoryview(bytearray(member.size)), 0
        for at in range(0, member.size, _CHUNK):
            piece = content[at : at + _CHUNK]
            if os.preadv(self._descriptor, [piece], member.start + at) != len(piece):
                raise DamageError("it became shorter while it was read")
            crc = zlib.crc32(piece, crc)
        if crc != member.crc:
            raise DamageError(f"{name} does not match its checksum")
        return content.toreadonly()

    def _read_members(self) -> dict[str, Member]:
        start, count, size = self._directory()
        content, at, members = self._bytes(start, size), 0, {}
        for _ in range(count):
            member, at = self._entry(content, at)
            if member.name in members:
                raise DamageError(f"{member.name} is in it twice")
            members[member.name] = self._with_start(member)
        if at != size:
            raise DamageError("its directory is longer than its entries")
        _check_names(members)
        _check_cover(list(members.values()), start)
        return members

    def _directory(self) -> tuple[int, int, int]:
        """Return where the directory begins, how many entries it has and how long it is."""
        end = self.size - _END.size
        signature, disk, first, here, count, size, start, comment = self._unpack(_END, end)
        if signature != b"PK\5\6" or comment or disk or first or here != count:
            raise DamageError("it does not end as a .keras file does")
        end, count, size, start = self._directory64(end, (count, size, start))
        if start + size != end or size > _LARGEST_DIRECTORY:
            raise DamageError("its directory is not where it must be")
        return start, count, size

    def _directory64(self, end: int, told: tuple[int, int, int]) -> tuple[int, int, int, int]:
        """As `_directory`, with the second end that files beyond 2 GiB have."""
        at = end - _LOCATOR.size - _END64.size
        if at < 0:
            return (end, *told)
        signature, disk, where, disks = self._unpack(_LOCATOR, at + _END64.size)
        if signature != b"PK\6\7":
            return (end, *told)
        record = self._unpack(_END64, at)
        signature, length, _, _, on, first, here, count, size, start = record
        sound = (signature, where, length, here) == (b"PK\6\6", at, _END64.size - 12, count)
        if not sound or disk or disks != 1 or on or first:
            raise DamageError("its second directory end is wrong")
        same = zip(told, (count, size, start), strict=True)
        if any(one not in (_BEYOND, other) for one, other in same):
            raise DamageError("its two directory ends disagree")
        return at, count, size, start

    def _entry(self, content: bytes, at: int) -> tuple[Member, int]:
        """Return what the directory says of one member, and where its next entry begins."""
        if at + _ENTRY.size > len(content):
            raise DamageError("its directory is cut off")
        entry = _ENTRY.unpack_from(content, at)
        signature, _, _, flags, method, _, _, crc, packed, size = entry[:10]
        name_size, extra_size, comment, disk, _, _, header = entry[10:]
        at += _ENTRY.size
        name, extra = content[at:][:name_size], content[at + name_size :][:extra_size]
        if signature != b"PK\1\2" or comment or disk:
            raise DamageError("an entry of its directory is wrong")
        _check_stored(name, flags, method)
        packed, size = _sizes(extra, packed, size)
        if packed != size:
            raise DamageError("a member has two sizes")
        return Member(_as_text(name), header, 0, size, crc), at + name_size + extra_size

    def _with_start(self, member: Member) -> Member:
        """Compare a member's own header with its entry; return the member with its first byte."""
        header = self._unpack(_LOCAL, member.header)
        signature, _, flags, method, _, _, crc, packed, size, name_size, extra_size = header
        at = member.header + _LOCAL.size
        names = self._bytes(at, name_size + extra_size)
        packed, size = _sizes(names[name_size:], packed, size)
        _check_stored(names[:name_size], flags, method)
        found = (signature, _as_text(names[:name_size]), crc, packed, size)
        if found != (b"PK\3\4", member.name, member.crc, member.size, member.size):
            raise DamageError(f"{member.name} is told of in two ways")
        start = at + name_size + extra_size
        return Member(member.name, member.header, start, member.size, member.crc)

    def _unpack(self, layout: struct.Struct, at: int) -> tuple:
        return layout.unpack(self._bytes(at, layout.size))

    def _bytes(self, at: int, size: int) -> bytes:
        if at < 0 or at + size > self.size:
            raise DamageError("it is cut off")
        content = os.pread(self._descriptor, size, at)
        if len(content) != size:
            raise DamageError("it became shorter while it was read")
        return content


def _check_stored(name: bytes, flags: int, method: int) -> None:
    if flags or method:
        raise DamageError(f"{_as_text(name)} is compressed, encrypted or marked otherwise")


def _sizes(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """Return both sizes of a member, from the field for large ones where there is one."""
    if not extra:
        return packed, size
    if len(extra) != _EXTRA64.size or (packed, size) != (_BEYOND, _BEYOND):
        raise DamageError("a member has fields beside its name")
    kind, length, size, packed = _EXTRA64.unpack(extra)
    if (kind, length) != (1, 16):
        raise DamageError("a member has fields beside its name")
    return packed, size


def _as_text(name: bytes) -> str:
    return name.decode("ascii", "backslashreplace")


def _check_names(members: dict[str, Member]) -> None:
    missing = sorted(set(MEMBERS) - set(members))
    if missing:
        raise DamageError(f"{', '.join(missing)} missing")
    strange = sorted(set(members) - set(MEMBERS))
    if strange:
        raise DamageError(f"a member that does not belong: {strange[0]!r:.60}")


def _check_cover(members: list[Member], end: int) -> None:
    """Refuse members that overlap, and bytes that belong to none."""
    at = 0
    for member in sorted(members, key=lambda member: member.header):
        if member.header != at:
            raise DamageError("its members overlap or leave gaps")
        at = member.start + member.size
    if at != end:
        raise DamageError("its members overlap or leave gaps")


def _open(path: Path) -> int:
    """Open a regular file; nothing else is ever opened, since a pipe or a device may not end."""
    check_regular(path)
    hint = OTHER_FORMATS.get(path.suffix.lower())
    if hint:
        raise refusal(
            path, FlawError("must be a .keras file", f"'{path.suffix}'", f"{hint}, use model.save")
        )
    return open_regular(path)


def open_regular(path: Path) -> int:
    """Return a file descriptor of a regular file.

    Raises:
        FileError: it may not be read.
        ModelFileError: it was replaced by something else after it was looked at.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise FileError(f"{path}: must be readable, found {error.strerror}; change it") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _irregular(path)
    return descriptor


def check_regular(path: Path) -> None:
    """Refuse what is no regular file below 16 GiB on this machine; nothing is opened.

    Raises:
        FileError, ModelFileError
    """
    try:
        facts = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if _URL.match(str(path)):
            flaw = FlawError("must be a local file", "a URL", "download it, or name its path")
            raise refusal(path, flaw) from None
        raise FileError(f"{path}: the model file must exist, found none; check the path") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: must be readable, found {error}; check the path") from error
    if stat.S_ISDIR(facts.st_mode):
        raise refusal(path, FlawError("must be a .keras file", "a folder", "name the file in it"))
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > LARGEST_FILE:
        raise _irregular(path)
    if not os.access(path, os.R_OK):
        raise FileError(f"{path}: must be readable, found no permission; change its mode")


def _irregular(path: Path) -> Exception:
    found = "something else" if not path.is_file() else "a larger one"
    return refusal(path, FlawError("must be a regular file below 16 GiB", found, "choose another"))
