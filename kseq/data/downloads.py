"""Named texts: found in a local folder or downloaded, and used only with the right hash.

The order is: `data_dir`, the folder in KSEQ_DATA_DIR, the cache folder (XDG_CACHE_HOME or
~/.cache, then kseq), and at last the network, into the cache folder.  A file with the wrong
SHA-256 is an error wherever it lies; it is neither used nor removed, for it may be somebody's.
A download takes its name only after its size and hash are found right.

Of a book of Project Gutenberg the hash is that of its body: with the edition's header and footer
around it, it is as good, and stripped when it is read or downloaded.
"""

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kseq.checks import shown_path
from kseq.data.connections import Patience, RefusedError, received
from kseq.data.files import NotWrittenError, atomic_path
from kseq.data.gutenberg import body_of
from kseq.data.reading import HeldText
from kseq.errors import FileError


@dataclass(frozen=True)
class NamedText:
    """A text with a name of its own, and all that is needed to find and to check it."""

    name: str
    file_name: str
    size: int
    sha256: str
    url: str
    cleaning: str
    edition: str
    licence: str = "public domain"
    wrapped: bool = False  # in Project Gutenberg's header and footer, at its address


NAMED_TEXTS: Mapping[str, NamedText] = {
    text.name: text
    for text in (
        NamedText(
            name="time_machine",
            file_name="timemachine.txt",
            size=178_979,
            sha256="8424dbd9532ac81f7e5f0b6add90e6952baea29158309d7d1bf3884f4e12c516",
            url="http://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt",
            cleaning="d2l",
            edition="H. G. Wells, The Time Machine, as Dive into Deep Learning ships it",
        ),
        NamedText(
            name="tiny_shakespeare",
            file_name="tinyshakespeare.txt",
            size=1_115_394,
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
            "input.txt",
            cleaning="none",
            edition="40,000 lines of Shakespeare, as char-rnn ships them",
        ),
        NamedText(
            name="war_of_the_worlds",
            file_name="waroftheworlds.txt",
            size=340_513,
            sha256="688a853d09b4840487686c24ba62ad25eb947437786c2067265dae531eb51eed",
            url="https://www.gutenberg.org/cache/epub/36/pg36.txt",
            cleaning="d2l",
            edition="H. G. Wells, The War of the Worlds, the body of Project Gutenberg's ebook 36",
            wrapped=True,
        ),
    )
}


def find_text(text: NamedText, data_dir: str | os.PathLike[str] | None = None) -> os.PathLike[str]:
    """Return the path of a verified copy of `text`, downloading it where there is none.

    What lies in a header and a footer is returned as a `HeldText`, which reads like a file.

    Raises:
        FileError: a copy with the wrong hash, a folder that is missing, or a download that failed;
            the message names the path at which to place the file by hand.
    """
    path = look_for(text, data_dir)
    return verified(path, text) if path else download(text, cache_folder() / text.file_name)


def download(text: NamedText, path: Path, patience: Patience | None = None) -> Path:
    """Fetch `text` from its address to `path`, checked before it takes that name; return `path`.

    Raises:
        FileError: no connection, an answer that is not the file, a stalled or broken transfer,
            the wrong hash, or a folder that cannot be written to.
    """
    _make_folder(path.parent)
    try:
        with atomic_path(path) as part, part.open("wb") as file:
            for block in _checked(_answer(text, patience or Patience()), text):
                file.write(block)
    except RefusedError as error:
        raise _failed(text, path, str(error)) from error.__cause__
    except NotWrittenError as error:
        raise _failed(text, path, f"found {error.found} while writing it") from error
    return path


def _answer(text: NamedText, patience: Patience) -> Iterator[bytes]:
    """Yield the bytes at the address of `text`, those of its body alone where it is wrapped."""
    blocks = received(text.url, patience)
    return iter([_unwrapped(blocks, text)]) if text.wrapped else blocks


def _unwrapped(blocks: Iterator[bytes], text: NamedText) -> bytes:
    # A line end may be two bytes, and the licence has some 20,000.
    most = text.size + text.size // 10 + 2**16
    edition = bytearray()
    for block in blocks:
        edition += block
        if len(edition) > most:
            raise RefusedError(f"found more than {most:,} bytes")
    return body_of(bytes(edition))


def look_for(text: NamedText, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Return where a copy of `text` lies, right or wrong, or None; nothing is downloaded.

    Raises:
        FileError: `data_dir` is missing, or a folder cannot be looked into.
    """
    paths = (folder / text.file_name for folder in _folders(data_dir))
    return next((path for path in paths if _is_there(path)), None)


def cache_folder() -> Path:
    """Return the folder for downloads: kseq in XDG_CACHE_HOME, or in ~/.cache.

    Raises:
        FileError: neither is known.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():  # the XDG specification has relative paths ignored
        return base / "kseq"
    try:
        return Path("~/.cache/kseq").expanduser()
    except RuntimeError as error:
        raise FileError(
            "cache folder: must be known, found no home folder; set XDG_CACHE_HOME or --data-dir"
        ) from error


def _is_folder(path: Path) -> bool:
    with suppress(OSError):  # in a folder that cannot be looked into
        return path.is_dir()
    return False


def _folders(data_dir: str | os.PathLike[str] | None) -> Iterator[Path]:
    if data_dir is not None:
        if not _is_folder(Path(data_dir)):
            raise FileError(
                f"{shown_path(data_dir)}: must be a folder with texts, found none there; "
                "check --data-dir"
            )
        yield Path(data_dir)
    if os.environ.get("KSEQ_DATA_DIR"):
        yield Path(os.environ["KSEQ_DATA_DIR"])
    yield cache_folder()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise _unreadable(path, error) from error


def verified(path: Path, text: NamedText) -> os.PathLike[str]:
    """Return what to read `text` from, once its hash is found right.

    Raises:
        FileError: it is another, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == text.sha256:
            return path
        body = _body_in(path, text)
    except OSError as error:
        raise _unreadable(path, error) from error
    if body is not None:
        return body
    raise FileError(
        f"{shown_path(path)}: must have SHA-256 {text.sha256[:16]}..., found {found[:16]}...; "
        f"remove it to get {text.name} anew, or load it by its path"
    )


def _body_in(path: Path, text: NamedText) -> HeldText | None:
    """Return the text without the header and the footer of its edition, if that is in the file."""
    if not text.wrapped:
        return None
    body = body_of(path.read_bytes())
    right = hashlib.sha256(body).hexdigest() == text.sha256
    return HeldText(os.fspath(path), body) if right else None


def _unreadable(path: Path, error: OSError) -> FileError:
    return FileError(
        f"{shown_path(path)}: must be readable, found {error.strerror}; check its permissions"
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise FileError(
            f"{shown_path(folder)}: must be a folder for downloads, found {error.strerror}; "
            "make it writable, or set XDG_CACHE_HOME or --data-dir"
        ) from error


def _checked(blocks: Iterator[bytes], text: NamedText) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        if size == 0 and block.lstrip()[:5].lower() in (b"<!doc", b"<html"):
            raise RefusedError("found an HTML page, perhaps a login page")
        size += len(block)
        if size > text.size:
            raise RefusedError(f"found more than {text.size:,} bytes")
        digest.update(block)
        yield block
    if size < text.size:
        raise RefusedError(f"found {size:,} of {text.size:,} bytes")
    if digest.hexdigest() != text.sha256:
        raise RefusedError(f"found SHA-256 {digest.hexdigest()[:16]}...")


def _failed(text: NamedText, path: Path, found: str) -> FileError:
    host = text.url.split("/")[2]
    return FileError(
        f"{text.name}: the download from {host} must give the right file, {found}; "
        f"place it by hand at {shown_path(path, 110)}"
    )
