"""JSON from a stranger: bounded before it is parsed, and without what JSON leaves open.

A few megabytes of brackets or commas become gigabytes of Python objects; two readers of a key that
is there twice see two values.  NaN and infinity, which Python reads, are left to whoever knows
where a number may be one: the loss of a training that failed.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from kseq.data.model_files.archive import CONFIG, METADATA, WEIGHTS, Archive
from kseq.data.model_files.refusing import DamageError

LEAST_CAP = 4 * 2**20
MOST_CAP = 64 * 2**20
METADATA_CAP = 2**16
_LARGEST_INT = 2**53
# Of each mark of JSON's that makes a Python object: how many there may be.
_MOST_MARKS = {"[": 10_000, "{": 10_000, ":": 10_000, ",": 250_000}
# Half a million items, each a string of its own, and 16 MiB of text stay below 100 MB.
_MOST_ITEMS = 2**19
# In a small model a token, which has two items, may have a row of 16 bytes.
_FEWEST_BYTES_OF_AN_ITEM, _BYTES_OF_AN_ITEM = 8, 128
_PIECE = 2**20


def read_config(archive: Archive) -> dict[str, Any]:
    """Return the configuration in a model file, which may be longer beside more weights.

    Raises:
        DamageError: it is too long, or as `parse`.
    """
    weights = archive.size_of(WEIGHTS)
    return _read(archive, CONFIG, config_cap(weights), most_items(weights))


def read_metadata(archive: Archive) -> dict[str, Any]:
    """Return what a model file says of itself.

    Raises:
        DamageError: it is too long, or as `parse`.
    """
    return _read(archive, METADATA, METADATA_CAP, 0)


def _read(archive: Archive, member: str, most: int, items: int) -> dict[str, Any]:
    if archive.size_of(member) > most:
        raise DamageError(f"{member} is too long")
    return parse(bytes(archive.read(member)), member, items)


def config_cap(weights: int) -> int:
    """Return how long the configuration of a file with that many bytes of weights may be.

    The tokens of a vocabulary may take more bytes than their rows in a small model.
    """
    return min(MOST_CAP, max(LEAST_CAP, min(weights, 4 * LEAST_CAP), weights // 4))


def most_items(weights: int) -> int:
    """Return how many commas the configuration of a file with that many bytes of weights may have.

    A vocabulary has two for each token, and a token has a row of weights.
    """
    few = min(weights // _FEWEST_BYTES_OF_AN_ITEM, _MOST_ITEMS)
    return max(_MOST_MARKS[","], few, weights // _BYTES_OF_AN_ITEM)


def parse(content: bytes, member: str, items: int = 0) -> dict[str, Any]:
    """Return the JSON object that `content`, UTF-8, is.

    Args:
        content: the text.
        member: what to call it in a message.
        items: how many commas it may have, if more than 250,000.

    Raises:
        DamageError: it is none, has too many brackets, colons or commas, or a key twice.
    """
    _check_marks(content, member, {**_MOST_MARKS, ",": max(items, _MOST_MARKS[","])})
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise DamageError(f"{member} is no JSON: {str(error)[:60]}") from error
    if not isinstance(value, dict):
        raise DamageError(f"{member} is no JSON object")
    return value


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number that every reader reads alike."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _LARGEST_INT if isinstance(value, int) else math.isfinite(value)


def _check_marks(content: bytes, member: str, most: dict[str, int]) -> None:
    """Refuse more marks than there may be; those in strings, such as tokens, do not count."""
    if not _exceeded({mark: content.count(mark.encode()) for mark in most}, most):
        return
    mark = _exceeded(_marks_outside_strings(content, most), most)
    if mark:
        wrong = "is nested too much" if mark in "[{" else "has too many parts"
        raise DamageError(f"{member} {wrong}")


def _exceeded(found: dict[str, int], most: dict[str, int]) -> str | None:
    return next((mark for mark in most if found[mark] > most[mark]), None)


def _marks_outside_strings(content: bytes, marks: dict[str, int]) -> dict[str, int]:
    """Count each mark in one pass, until one is exceeded; an open string reaches to the end."""
    found = dict.fromkeys(marks, 0)
    # What is left of quotes begins or ends a string.
    content = content.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = 0
    for at in range(0, len(content), _PIECE):
        piece = np.frombuffer(content, np.uint8, min(_PIECE, len(content) - at), at)
        counts = np.cumsum(piece == ord('"'), dtype=np.int32)
        outside = piece[(counts + quotes) & 1 == 0]
        quotes += int(counts[-1])
        for mark in found:
            found[mark] += int(np.count_nonzero(outside == ord(mark)))
        if _exceeded(found, marks):
            break
    return found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is there twice")
    return members
