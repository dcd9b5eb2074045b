r"""The file a stream of codes is written to: NumPy's own format, growing and widening as it must.

    \x93NUMPY 1.0, 118, {'descr': '|u1', 'fortran_order': False, 'shape': (N,), }    128 bytes
    code, code, code ...                                                             N * itemsize

Up to 256 symbols a code takes one byte, up to 65,536 two, else four.  A code that needs more than
those before it begins a wider file, into which they are copied a block at a time; the narrow one
is as it was, so that a writer killed on the way can go on from it.

Source: numpy.lib.format, version 1.0; `numpy.load` reads the file.
"""

import io
import os
from pathlib import Path

import numpy as np

_HEADER_BYTES = 128
_BLOCK_CODES = 2**20
_WIDTHS = (np.dtype("u1"), np.dtype("<u2"), np.dtype("<u4"))


class CodeFile:
    """Codes appended to a file of their own.

    Args:
        stem: path of the file less its ending, which tells the width: -1, -2 or -4.
        count, itemsize: how many codes it has, of how many bytes; what follows is cut off.

    Raises:
        OSError: the file cannot be opened or written, or has fewer codes.

    Example:
        >>> import tempfile
        >>> with CodeFile(Path(tempfile.mkdtemp()) / "codes") as file:
        ...     file.append(np.array([0, 1, 0]), num_symbols=2)
        ...     file.append(np.array([300]), num_symbols=301)
        ...     file.force()
        >>> file.path.name, np.load(file.path)
        ('codes-2', array([  0,   1,   0, 300], dtype=uint16))
    """

    def __init__(self, stem: Path, count: int = 0, itemsize: int = 1) -> None:
        self.stem, self.count = stem, count
        self.dtype = next(width for width in _WIDTHS if width.itemsize == itemsize)
        self._file = self._opened()
        if count and self.path.stat().st_size < self._end():
            self._file.close()
            raise OSError(f"{self.path}: has fewer codes than were written")
        self._file.truncate(self._end())
        self._file.seek(self._end())

    @property
    def path(self) -> Path:
        """Where the file of this width is."""
        return self.stem.with_name(f"{self.stem.name}-{self.dtype.itemsize}")

    def remove_others(self) -> None:
        """Remove the files of other widths."""
        for width in _WIDTHS:
            if width != self.dtype:
                self.stem.with_name(f"{self.stem.name}-{width.itemsize}").unlink(missing_ok=True)

    def _opened(self) -> io.FileIO:
        # Unbuffered: what is appended comes in blocks of a million.
        return io.FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+")

    def __enter__(self) -> "CodeFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, codes: np.ndarray, num_symbols: int) -> None:
        """Write `codes` at the end; all codes so far are below `num_symbols`."""
        dtype = width_of(num_symbols)
        if dtype.itemsize > self.dtype.itemsize:
            self._widen(dtype)
        self._write(np.ascontiguousarray(codes, self.dtype))
        self.count += len(codes)

    def force(self) -> None:
        """Write the header and force the file to disk: up to here it is whole."""
        self._file.seek(0)
        self._write_all(memoryview(self._header()))
        self._file.seek(self._end())
        os.fsync(self._file.fileno())

    def _end(self) -> int:
        return _HEADER_BYTES + self.count * self.dtype.itemsize

    def _header(self) -> bytes:
        facts = (
            f"{{'descr': '{self.dtype.str}', 'fortran_order': False, 'shape': ({self.count},), }}"
        )
        length = _HEADER_BYTES - 10
        return (
            b"\x93NUMPY\x01\x00"
            + length.to_bytes(2, "little")
            + (facts.ljust(length - 1).encode("latin-1") + b"\n")
        )

    def _widen(self, dtype: np.dtype) -> None:
        narrow, before = self._file, self.dtype
        self.dtype = dtype
        self._file = self._opened()
        self._file.truncate(_HEADER_BYTES)
        self._file.seek(_HEADER_BYTES)
        narrow.seek(_HEADER_BYTES)
        with narrow:
            for start in range(0, self.count, _BLOCK_CODES):
                length = min(_BLOCK_CODES, self.count - start)
                self._write(_read(narrow, length, before).astype(dtype))

    def _write(self, codes: np.ndarray) -> None:
        if len(codes):
            self._write_all(codes.data.cast("B"))

    def _write_all(self, content: memoryview) -> None:
        while content:
            content = content[self._file.write(content) :]


def width_of(num_symbols: int) -> np.dtype:
    """Return the smallest of uint8, uint16 and uint32 that holds 0 .. `num_symbols` - 1.

    Example:
        >>> width_of(256), width_of(257), width_of(65_537)
        (dtype('uint8'), dtype('uint16'), dtype('uint32'))
    """
    return next(
        width
        for width in _WIDTHS
        if width == _WIDTHS[-1] or num_symbols <= 2 ** (8 * width.itemsize)
    )


def _read(file: io.FileIO, count: int, dtype: np.dtype) -> np.ndarray:
    content = bytearray()
    while len(content) < count * dtype.itemsize:
        piece = file.read(count * dtype.itemsize - len(content))
        if not piece:
            raise OSError(f"{file.name}: has fewer codes than were written")
        content += piece
    return np.frombuffer(content, dtype)
