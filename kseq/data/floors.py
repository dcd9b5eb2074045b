"""What a model must beat: uniform, unigram and bigram guessing, in perplexity.

On the training text the counts judge themselves (maximum likelihood), the hardest floor there is;
on held-out text they are smoothed: unigrams by adding one (Laplace), bigrams by Witten and Bell
(1991), which gives the unseen as much room as there were different followers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kseq.data.coding import blocks_of
from kseq.data.mapped import MappedIds
from kseq.errors import DataError

_BLOCK_TOKENS = 2**20
_MOST_DENSE_PAIRS = 2**20


@dataclass(frozen=True)
class Floors:
    """Perplexities of guessing without a model; `to_dict` gives them by name."""

    uniform: float
    unigram: float
    bigram: float

    def to_dict(self) -> dict[str, float]:
        """Return the three perplexities by name."""
        return asdict(self)


def ngram_floors(train: Any, held_out: Any = None, vocab_size: int | None = None) -> Floors:
    """Return the floors on the training text, or on held-out text by training counts.

    Args:
        train: a Corpus or an array of ids (N,), at least 2.
        held_out: the same, to be judged by the counts of `train`; None judges `train` itself.
        vocab_size: V; by default that of the corpus, or the largest id plus one.

    Raises:
        DataError: fewer than 2 tokens.

    Example:
        >>> floors = ngram_floors(np.array([0, 1, 0, 1, 0, 1]))
        >>> floors.uniform, round(floors.unigram, 6), floors.bigram
        (2.0, 2.0, 1.0)
    """
    size = vocab_size or _vocab_size(train, held_out)
    ids = _ids(train)
    if held_out is None:
        return Floors(float(size), _unigram_of_itself(ids, size), _bigram_of_itself(ids, size))
    return _held_out_floors(ids, _ids(held_out), size)


def _held_out_floors(train: Any, held_out: Any, size: int) -> Floors:
    unigrams = (_token_counts(train, size) + 1) / (len(train) + size)
    nats = sum(-np.log(unigrams[block]).sum() for _, block in blocks_of(held_out))
    unigram = math.exp(float(nats) / len(held_out))
    return Floors(float(size), unigram, _witten_bell(train, held_out, unigrams, size))


def _witten_bell(train: Any, held_out: Any, unigrams: np.ndarray, size: int) -> float:
    """P(b|a) = (count(ab) + kinds(a) P(b)) / (count(a) + kinds(a)); kinds(a) followers of a."""
    pairs, counts = _pair_counts(train, size)
    kinds = np.bincount(pairs // size, minlength=size)
    totals = _pair_totals(pairs, counts, size)
    # Each pair once, times how often it comes: a text of any length has few pairs.
    wanted, times = _pair_counts(held_out, size)
    seen = _lookup(pairs, counts, wanted)
    before, after = wanted // size, wanted % size
    # A token that never had a follower in training falls back to the unigrams alone.
    room = np.maximum(kinds[before], 1)
    probabilities = (seen + room * unigrams[after]) / (totals[before] + room)
    return math.exp(-float((times * np.log(probabilities)).sum()) / (len(held_out) - 1))


def _unigram_of_itself(ids: Any, size: int) -> float:
    counts = _token_counts(ids, size)
    counts = counts[counts > 0]
    return math.exp(-float((counts * np.log(counts / len(ids))).sum() / len(ids)))


def _bigram_of_itself(ids: Any, size: int) -> float:
    pairs, counts = _pair_counts(ids, size)
    totals = _pair_totals(pairs, counts, size)
    nats = -(counts * np.log(counts / totals[pairs // size])).sum()
    return math.exp(float(nats) / (len(ids) - 1))


def _token_counts(ids: Any, size: int) -> np.ndarray:
    counts = np.zeros(size, np.int64)
    for _, block in blocks_of(ids):
        counts += np.bincount(block, minlength=size)
    return counts


def _pair_counts(ids: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each pair of neighbours that occurs, first * V + second in order, and its count.

    A block at a time, so that a text on the disk never lies in memory as a whole.
    """
    if size * size <= _MOST_DENSE_PAIRS:
        table = sum(np.bincount(pairs, minlength=size * size) for pairs in _pairs(ids, size))
        found = np.flatnonzero(table)
        return found, np.asarray(table)[found]
    found, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for pairs in _pairs(ids, size):
        new, times = np.unique(pairs, return_counts=True)
        found, counts = _merged(np.append(found, new), np.append(counts, times))
    return found, counts


def _pairs(ids: Any, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(ids) - 1, _BLOCK_TOKENS):
        block = ids[start : start + _BLOCK_TOKENS + 1].astype(np.int64)
        yield block[:-1] * size + block[1:]


def _merged(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, places = np.unique(keys, return_inverse=True)
    return found, np.bincount(places, counts, len(found)).astype(np.int64)


def _pair_totals(pairs: np.ndarray, counts: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(pairs // size, counts, size).astype(np.int64)


def _lookup(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def _ids(source: Any) -> Any:
    ids = getattr(source, "ids", source)
    ids = ids if isinstance(ids, MappedIds) else np.asarray(ids)
    if len(ids) < 2:
        raise DataError(f"floors: a text must have at least 2 tokens, found {len(ids)}; add text")
    return ids


def _vocab_size(train: Any, held_out: Any) -> int:
    if hasattr(train, "vocab"):
        return len(train.vocab)
    parts = [_ids(train)] + ([] if held_out is None else [_ids(held_out)])
    return 1 + max(int(part.max()) for part in parts)
