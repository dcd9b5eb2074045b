"""What a file says of a vocabulary, checked before one is made of it."""

import errno
import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

from kseq.checks import shown, shown_path
from kseq.errors import FileError, ModelFileError

UNKNOWN = "<unk>"
LARGEST_FILE_BYTES = 2**30


def read_json(path: str | os.PathLike[str]) -> Any:
    """Return what is in a JSON file.

    Raises:
        FileError: it is missing, no plain file, beyond 1 GiB, or cannot be read.
        ModelFileError: it is no JSON.
    """
    try:
        _require_plain_file(Path(path))
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise FileError(
            f"{shown_path(path)}: must be a readable vocabulary file, found "
            f"{error.strerror or error}; check the path"
        ) from error
    # ValueError: no JSON, no text, or a number too long for Python.
    except (ValueError, RecursionError) as error:
        raise _no_vocabulary(f"{shown_path(path)}: no JSON") from error


def _require_plain_file(path: Path) -> None:
    """Refuse what has no end, such as a device, or does not fit in memory."""
    found = path.stat()
    if stat.S_ISREG(found.st_mode) and found.st_size > LARGEST_FILE_BYTES:
        raise OSError(errno.EFBIG, f"{found.st_size:,} bytes")
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "a device or a pipe")


def checked_content(content: Any) -> tuple[list[str], list[int]]:
    """Return the tokens and the counts of a vocabulary, both (V,); the counts may be missing.

    Raises:
        ModelFileError: no list of different strings that starts with `<unk>`, or counts that do
            not match.

    Example:
        >>> checked_content({"tokens": ["<unk>", "a"]})
        (['<unk>', 'a'], [0, 0])
    """
    tokens = content.get("tokens") if isinstance(content, dict) else None
    if not isinstance(tokens, list) or tokens[:1] != [UNKNOWN]:
        raise _no_vocabulary(f"no tokens starting with {UNKNOWN}")
    for token in tokens:
        if not isinstance(token, str):
            raise _no_vocabulary(f"the token {shown(token)}")
    if len(set(tokens)) < len(tokens):
        raise _no_vocabulary(f"{shown(Counter(tokens).most_common(1)[0][0])} twice")
    return tokens, _checked_counts(content.get("counts", [0] * len(tokens)), len(tokens))


def _checked_counts(counts: Any, length: int) -> list[int]:
    if not isinstance(counts, list) or len(counts) != length:
        raise _no_vocabulary("counts that do not match the tokens")
    for count in counts:
        if type(count) is not int or count < 0:
            raise _no_vocabulary(f"the count {shown(count)}")
    return counts


def _no_vocabulary(found: str) -> ModelFileError:
    return ModelFileError(
        f"vocabulary: must be a list of different strings, {UNKNOWN} first, found {found}; "
        "save it again with Vocab.save or model.save"
    )
