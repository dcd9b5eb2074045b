"""The vocabulary: which token has which id.

    id 0       `<unk>`, for every token the vocabulary lacks
    then       the reserved tokens, as given
    then       the tokens of the text by falling frequency, first seen first among equals

Source: Dive into Deep Learning 8.2, class `Vocab`, to the letter; `encode`, `decode`, `max_size`
and files are ours.  Left out: subword tokens.
"""

import json
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kseq.checks import non_negative_int, positive_int, shown
from kseq.data.coding import code_points
from kseq.data.files import write_text
from kseq.data.vocab_files import UNKNOWN, checked_content, read_json
from kseq.errors import DataError, UsageError


class Vocab:
    """Tokens and their ids.

    Args:
        tokens: a list of tokens, a list of such lists, a string (its characters), or a mapping
            from token to count.  Tokens are strings; other hashable values work too, but cannot
            be saved.
        min_freq: tokens seen less often are left out.
        reserved_tokens: tokens that get the ids after 0 whether they occur or not.
        max_size: keep only the most frequent tokens, so that `len` is at most this, `<unk>` and
            the reserved tokens included; None for no bound.

    Raises:
        UsageError: a size that cannot be used, or reserved tokens that repeat or do not fit.

    Example:
        >>> vocab = Vocab(["to", "be", "or", "not", "to", "be"])
        >>> vocab.idx_to_token
        ['<unk>', 'to', 'be', 'or', 'not']
        >>> vocab["be"], vocab[["not", ["to", "see"]]], vocab.to_tokens([1, 2])
        (2, [4, [1, 0]], ['to', 'be'])
        >>> vocab.token_freqs[:2]
        [('to', 2), ('be', 2)]
    """

    def __init__(
        self,
        tokens: Iterable[Any] | Mapping[Any, int] | None = None,
        min_freq: int = 0,
        reserved_tokens: Sequence[str] = (),
        max_size: int | None = None,
    ) -> None:
        min_freq = non_negative_int("min_freq", min_freq)
        start = [UNKNOWN, *(reserved_tokens or ())]
        most = _room_beside(start, max_size)
        self.token_freqs: list[tuple[Any, int]] = _counted(tokens).most_common()
        known = set(start)
        kept = [
            token for token, freq in self.token_freqs if freq >= min_freq and token not in known
        ]
        self._set_tokens(start + kept[:most])

    def _set_tokens(self, tokens: list[Any]) -> None:
        self.idx_to_token = tokens
        self.token_to_idx = {token: index for index, token in enumerate(tokens)}
        self._code_point_table: np.ndarray | None = None

    @property
    def unk(self) -> int:
        """The id of `<unk>`: 0."""
        return 0

    def __len__(self) -> int:
        return len(self.idx_to_token)

    def __contains__(self, token: Hashable) -> bool:
        return token in self.token_to_idx

    def __eq__(self, other: object) -> bool:
        """Whether both give the same ids to the same tokens."""
        return isinstance(other, Vocab) and self.idx_to_token == other.idx_to_token

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Vocab({len(self)} tokens: {shown(' '.join(map(str, self.idx_to_token[:12])))})"

    def __getitem__(self, tokens: Any) -> Any:
        """Return the id of a token, or a list of ids for a list or tuple, nested as it is."""
        if isinstance(tokens, list | tuple):
            return [self[token] for token in tokens]
        return self.token_to_idx.get(tokens, self.unk)

    def to_tokens(self, ids: Any) -> Any:
        """Return the token of an id, or a list of tokens for a list or array, nested as it is.

        Raises:
            DataError: an id below 0 or not below `len(self)`.
        """
        if isinstance(ids, np.ndarray):
            ids = ids.tolist()
        if isinstance(ids, list | tuple):
            return [self.to_tokens(index) for index in ids]
        if not 0 <= ids < len(self):
            raise DataError(
                f"ids: must be from 0 to {len(self) - 1}, found {shown(ids)}; "
                "check that they were made with this vocabulary"
            )
        return self.idx_to_token[ids]

    def encode(self, tokens: Iterable[Any]) -> np.ndarray:
        """Return the ids of `tokens`, or of the characters of a string; (N,) int32.

        What the vocabulary lacks becomes 0, `<unk>`.

        Example:
            >>> Vocab("banana").encode("nab!")
            array([2, 1, 3, 0], dtype=int32)
        """
        if isinstance(tokens, str):
            table = self._character_ids()
            return table[np.minimum(code_points(tokens), np.uint32(len(table) - 1))]
        tokens = list(tokens)
        return np.fromiter((self.token_to_idx.get(t, 0) for t in tokens), np.int32, len(tokens))

    def decode(self, ids: Any) -> list[Any]:
        """Return the tokens of an array, a list or a single id, as one flat list.

        Raises:
            DataError: as `to_tokens`.

        Example:
            >>> Vocab("banana").decode(np.array([2, 1, 3, 0]))
            ['n', 'a', 'b', '<unk>']
        """
        return self.to_tokens(np.asarray(ids).ravel())

    def to_dict(self) -> dict[str, Any]:
        """Return {"tokens": [...], "counts": [...]}, both in the order of the ids, for JSON.

        Counts are those of the text the vocabulary was made from, 0 where unknown.

        Raises:
            DataError: a token is not a string.
        """
        for token in self.idx_to_token:
            if not isinstance(token, str):
                raise DataError(
                    f"vocabulary: must hold only strings to be saved, found {shown(token)}; "
                    "make it from words or characters"
                )
        counts = dict(self.token_freqs)
        return {
            "tokens": list(self.idx_to_token),
            "counts": [0, *(counts.get(token, 0) for token in self.idx_to_token[1:])],
        }

    @classmethod
    def from_dict(cls, content: Any) -> "Vocab":
        """Return the vocabulary `to_dict` described; its `token_freqs` has only its own tokens.

        Raises:
            ModelFileError: no list of different strings that starts with `<unk>`, or counts that
                do not match.
        """
        tokens, counts = checked_content(content)
        vocab = cls()
        vocab.token_freqs = Counter(
            {token: count for token, count in zip(tokens[1:], counts[1:], strict=True) if count}
        ).most_common()
        vocab._set_tokens(tokens)
        return vocab

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the vocabulary to `path` as JSON, whole or not at all.

        Raises:
            FileError: the folder is missing or cannot be written to.
            DataError: as `to_dict`.
        """
        write_text(path, json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Vocab":
        """Return the vocabulary that `save` wrote.

        Raises:
            FileError: the file is missing or cannot be read.
            ModelFileError: it is no vocabulary.
        """
        return cls.from_dict(read_json(path))

    def _character_ids(self) -> np.ndarray:
        """Return the ids by code point; the last entry, 0, serves all code points beyond."""
        if self._code_point_table is None:
            ids = {ord(t): i for t, i in self.token_to_idx.items() if i and _is_character(t)}
            self._code_point_table = np.zeros(max(ids, default=0) + 2, np.int32)
            self._code_point_table[list(ids)] = list(ids.values())
        return self._code_point_table


def _counted(tokens: Iterable[Any] | Mapping[Any, int] | None) -> Counter[Any]:
    if tokens is None or isinstance(tokens, str | Mapping):
        return Counter(tokens)
    tokens = list(tokens)
    if tokens and isinstance(tokens[0], list):
        return Counter(token for line in tokens for token in line)
    return Counter(tokens)


def _room_beside(start: list[str], max_size: int | None) -> int | None:
    if len(set(start)) < len(start):
        raise UsageError(
            f"reserved_tokens: must differ from each other and from {UNKNOWN}, "
            f"found {shown(start[1:])}; name each once"
        )
    if max_size is None:
        return None
    room = positive_int("max_size", max_size) - len(start)
    if room < 0:
        raise UsageError(
            f"max_size: must leave room for {UNKNOWN} and the reserved tokens, found {max_size}; "
            f"choose {len(start)} or more"
        )
    return room


def _is_character(token: Any) -> bool:
    return isinstance(token, str) and len(token) == 1
