"""Bytes to text, a block at a time: files, pipes and standard input, checked as they are read.

What comes out is the same for every way of writing the same text: the byte order mark is
dropped, CRLF and lone CR become LF.  What is no text at all is refused by its first bytes.  A
NUL character is refused wherever it stands: it never belongs to a text, and it is the usual sign
of UTF-16 or of a binary file.

Nothing here holds more than one block of 1 MiB; `read_text` holds the text it returns.
"""

import codecs
import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import BinaryIO, TextIO

from kseq.checks import nearest, shown, shown_path
from kseq.errors import DataError, FileError, UsageError

BLOCK_BYTES = 2**20
LARGEST_TEXT_BYTES = 2**31
STANDARD_INPUT = "-"

_LOOKS_LIKE = {
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip archive",
    b"BZh91AY&SY": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF87a": "a GIF image",
    b"GIF89a": "a GIF image",
    b"\x7fELF": "an ELF program",
    b"%PDF-": "a PDF document",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3\x00": "an SQLite database",
}
_WIDE_MARKS = {  # UTF-32 first: its little-endian mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NUL_PATTERNS = {"x0x0": "utf-16-le", "0x0x": "utf-16-be", "x000": "utf-32-le", "000x": "utf-32-be"}
_COMMON_ENCODINGS = ("utf-8", "utf-16", "utf-32", "latin-1", "cp1252", "gb18030", "big5", "ascii")


@dataclass(frozen=True)
class HeldText:
    """A text in memory that is read like a file of that name."""

    name: str
    content: bytes

    def __fspath__(self) -> str:
        return self.name


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    r"""Return the text of a file, or of standard input for "-", with LF as its only line end.

    Raises:
        DataError: no text (empty, a folder, a known binary format, NUL characters), bytes that
            `encoding` does not allow, or more than 2 GiB.
        FileError: the file is missing or cannot be read.
        UsageError: Python has no text encoding of that name.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
        >>> _ = path.write_bytes(b"one\r\ntwo\rthree\n")
        >>> read_text(path)
        'one\ntwo\nthree\n'
    """
    return "".join(text_chunks(path, encoding))


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a file as they are.

    Raises:
        DataError: a folder, or more than 2 GiB.
        FileError: the file is missing or cannot be read.
    """
    with _opened(path) as stream:
        blocks = iter(lambda: _next_block(stream, path), b"")
        return b"".join(blocks)


def text_chunks(
    path: str | os.PathLike[str],
    encoding: str = "utf-8",
    digest: "hashlib._Hash | None" = None,
    any_size: bool = False,
) -> Iterator[str]:
    """Yield the text of `read_text` in pieces of at most 1 MiB, feeding the raw bytes to `digest`.

    any_size: allow more than 2 GiB.

    Raises: as `read_text`, when the offending piece is reached.
    """
    decoder = _decoder(encoding)
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    characters = 0
    for block, before in _blocks(path, encoding, digest, any_size):
        text = _decoded(decoder, block, before, path, encoding)
        if characters == 0:
            text = text.removeprefix("\ufeff")
        _refuse_nul(text, characters, path)
        characters += len(text)
        yield newlines.decode(text, final=not block)
    if characters == 0:
        raise _not_text(path, "found an empty file", "check that it is the right one")


def _blocks(
    path: str | os.PathLike[str],
    encoding: str,
    digest: "hashlib._Hash | None",
    any_size: bool,
) -> Iterator[tuple[bytes, int]]:
    """Yield (bytes, offset of their first) and at last (b"", size)."""
    before = 0
    with _opened(path, any_size) as stream:
        while True:
            block = _next_block(stream, path)
            if before == 0:
                _refuse_binary(block, encoding, path)
            if digest is not None:
                digest.update(block)
            yield block, before
            before += len(block)
            _refuse_large(before, path, any_size)
            if not block:
                return


def _opened(
    path: str | os.PathLike[str], any_size: bool = False
) -> AbstractContextManager[BinaryIO]:
    if path == STANDARD_INPUT:
        return nullcontext(_standard_input(sys.stdin))
    if isinstance(path, HeldText):
        return io.BytesIO(path.content)
    return _opened_file(path, any_size)


def _opened_file(path: str | os.PathLike[str], any_size: bool) -> BinaryIO:
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise _not_text(path, "found a folder", "name the files inside it")
        if stat.S_ISREG(found.st_mode):
            _refuse_large(found.st_size, path, any_size)
        return open(path, "rb")
    except FileNotFoundError as error:
        raise FileError(
            f"{shown_path(path)}: must be an existing text file, found it missing; check the path"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path, or one of our own
        if isinstance(error, DataError):
            raise
        raise _unreadable(path, error) from error


def _standard_input(stream: TextIO | None) -> BinaryIO:
    if stream is None or not hasattr(stream, "buffer"):
        raise FileError("standard input: must be open, found it closed; name a file instead of -")
    return stream.buffer  # type: ignore[return-value]


def _next_block(stream: BinaryIO, path: str | os.PathLike[str]) -> bytes:
    try:
        return stream.read(BLOCK_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _decoder(encoding: str) -> codecs.IncrementalDecoder:
    try:
        if codecs.lookup(encoding)._is_text_encoding:
            return codecs.getincrementaldecoder(encoding)()
    except (LookupError, TypeError, ValueError):
        pass
    close = nearest(encoding, _COMMON_ENCODINGS) if isinstance(encoding, str) else None
    raise UsageError(
        f"encoding: must be a text encoding Python knows, found {shown(encoding)}; "
        f"did you mean {close or 'utf-8'!r}?"
    )


def _decoded(
    decoder: codecs.IncrementalDecoder,
    block: bytes,
    before: int,
    path: str | os.PathLike[str],
    encoding: str,
) -> str:
    try:
        return decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        # error.object is what the decoder had kept back, followed by the block.
        offset = before + len(block) - len(error.object) + error.start
        raise _not_text(
            path,
            f"found byte 0x{error.object[error.start]:02x} at offset {offset}",
            "name its encoding with --encoding, such as latin-1",
            f"{encoding} text",
        ) from error
    except UnicodeError as error:  # what utf-16 raises without a byte order mark, for one
        raise _not_text(path, f"found {error}", "check --encoding", f"{encoding} text") from error


def _refuse_binary(block: bytes, encoding: str, path: str | os.PathLike[str]) -> None:
    for magic, name in _LOOKS_LIKE.items():
        if block.startswith(magic):
            raise _not_text(
                path, f"found what looks like {name}", "unpack it or choose a text file"
            )
    wide = _wide_encoding(block)
    if wide and not codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
        raise _not_text(
            path,
            f"found what looks like {wide.upper()}",
            f"read it with --encoding {wide}",
            f"{encoding} text",
        )


def _wide_encoding(block: bytes) -> str | None:
    """Name UTF-16 or UTF-32 by its byte order mark, or by where the NUL bytes of ASCII stand."""
    for mark, name in _WIDE_MARKS.items():
        if block.startswith(mark):
            return name
    pattern = "".join("0" if byte == 0 else "x" for byte in block[:4])
    return _NUL_PATTERNS.get(pattern)


def _refuse_nul(text: str, before: int, path: str | os.PathLike[str]) -> None:
    if "\0" in text:
        raise _not_text(
            path,
            f"found a NUL character at offset {before + text.index(chr(0))}",
            "remove it, or name the encoding with --encoding",
            "text without NUL characters",
        )


def _refuse_large(size: int, path: str | os.PathLike[str], any_size: bool) -> None:
    if not any_size and size > LARGEST_TEXT_BYTES:
        raise _not_text(
            path,
            f"found {size:,} or more",
            "keep its ids on the disk with --cache-dir (cache_dir), or train on a part of it",
            f"at most {LARGEST_TEXT_BYTES:,} bytes of text",
        )


def _not_text(
    path: str | os.PathLike[str], found: str, remedy: str, rule: str = "text"
) -> DataError:
    return DataError(f"{_named(path)}: must be {rule}, {found}; {remedy}")


def _unreadable(path: str | os.PathLike[str], error: Exception) -> FileError:
    reason = getattr(error, "strerror", None) or str(error)
    return FileError(
        f"{_named(path)}: must be a readable file, found {reason}; check the path and permissions"
    )


def _named(path: str | os.PathLike[str]) -> str:
    return "standard input" if path == STANDARD_INPUT else shown_path(path)
