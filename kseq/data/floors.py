"""What a model must beat: uniform, unigram and bigram guessing, in perplexity.

On the training text the counts judge themselves (maximum likelihood), the hardest floor there is;
on held-out text they are smoothed: unigrams by adding one (Laplace), bigrams by Witten and Bell
(1991), which gives the unseen as much room as there were different followers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kseq.errors import DataError


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
        return Floors(float(size), _unigram_of_itself(ids), _bigram_of_itself(ids, size))
    return _held_out_floors(ids, _ids(held_out), size)


def _held_out_floors(train: np.ndarray, held_out: np.ndarray, size: int) -> Floors:
    unigrams = (np.bincount(train, minlength=size) + 1) / (len(train) + size)
    unigram = math.exp(-float(np.log(unigrams[held_out]).mean()))
    return Floors(float(size), unigram, _witten_bell(train, held_out, unigrams, size))


def _witten_bell(train: np.ndarray, held_out: np.ndarray, unigrams: np.ndarray, size: int) -> float:
    """P(b|a) = (count(ab) + kinds(a) P(b)) / (count(a) + kinds(a)); kinds(a) followers of a."""
    pairs, counts = np.unique(_pairs(train, size), return_counts=True)
    kinds = np.bincount(pairs // size, minlength=size)
    totals = np.bincount(train[:-1], minlength=size)
    seen = _lookup(pairs, counts, _pairs(held_out, size))
    before, after = held_out[:-1], held_out[1:]
    # A token that never had a follower in training falls back to the unigrams alone.
    room = np.maximum(kinds[before], 1)
    probabilities = (seen + room * unigrams[after]) / (totals[before] + room)
    return math.exp(-float(np.log(probabilities).mean()))


def _unigram_of_itself(ids: np.ndarray) -> float:
    counts = np.unique(ids, return_counts=True)[1]
    return math.exp(-float((counts * np.log(counts / len(ids))).sum() / len(ids)))


def _bigram_of_itself(ids: np.ndarray, size: int) -> float:
    pairs, counts = np.unique(_pairs(ids, size), return_counts=True)
    totals = np.bincount(ids[:-1], minlength=size)
    nats = -(counts * np.log(counts / totals[pairs // size])).sum()
    return math.exp(float(nats) / (len(ids) - 1))


def _pairs(ids: np.ndarray, size: int) -> np.ndarray:
    """Number each pair of neighbours: first * V + second."""
    return ids[:-1].astype("int64") * size + ids[1:]


def _lookup(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def _ids(source: Any) -> np.ndarray:
    ids = np.asarray(getattr(source, "ids", source))
    if len(ids) < 2:
        raise DataError(f"floors: a text must have at least 2 tokens, found {len(ids)}; add text")
    return ids


def _vocab_size(train: Any, held_out: Any) -> int:
    if hasattr(train, "vocab"):
        return len(train.vocab)
    parts = [_ids(train)] + ([] if held_out is None else [_ids(held_out)])
    return 1 + max(int(part.max()) for part in parts)
