"""What a training reads, in a few letters each: ids, vocabularies and held-out text.

Hashes are the first 16 letters of a SHA-256: they are against accidents.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kseq.data.coding import blocks_of
from kseq.data.corpora import Corpus
from kseq.data.mapped import MappedIds

_LETTERS = 16


def text_of(corpus: Corpus) -> dict[str, Any]:
    """Return what a corpus was made from: the hash of its text, how it was read, and which part."""
    names = ("sha256", "level", "cleaning", "separator", "start")
    # Weights may mix the same documents into as many tokens in another order.
    names += ("pieces", "held_out") if corpus.held_out or len(corpus.documents) > 1 else ()
    return {name: corpus.provenance[name] for name in names}


def ids_hash(ids: Any) -> str:
    """Return a hash of token ids (N,), the same for every integer dtype.

    Those of an indexed text, which may be larger than memory, are not read: the index knows them.

    Example:
        >>> import numpy as np
        >>> ids_hash(np.array([1, 2], "int32")) == ids_hash(np.array([1, 2], "uint8"))
        True
    """
    known = ids.identity() if isinstance(ids, MappedIds) else None
    if known is not None:
        return hashlib.sha256(known).hexdigest()[:_LETTERS]
    digest = hashlib.sha256()
    for _, block in blocks_of(ids):
        digest.update(block.astype("<i4").tobytes())
    return digest.hexdigest()[:_LETTERS]


def vocabulary_hash(*vocabularies: Any) -> str:
    """Return a hash of the tokens of vocabularies, in the order of their ids; equals count once."""
    lists = [vocab.idx_to_token for vocab in vocabularies]
    return _hash_of([each for number, each in enumerate(lists) if each not in lists[:number]])


def held_out_of(held_out: Any) -> dict[str, Any]:
    """Return how many tokens judge a training, and a hash of what they are and how they are cut.

    held_out: a Corpus, batches, or None; of batches of another kind nothing is known.
    """
    if held_out is None:
        return {"tokens": 0, "sha256": None}
    ids = getattr(held_out, "ids", None)
    if ids is None:
        return {"tokens": None, "sha256": None}
    corpus = held_out if isinstance(held_out, Corpus) else getattr(held_out, "corpus", None)
    read = ids_hash(ids) if corpus is None else [text_of(corpus), vocabulary_hash(corpus.vocab)]
    sizes = [getattr(held_out, name, None) for name in ("batch_size", "num_steps")]
    return {"tokens": len(ids), "sha256": _hash_of([read, sizes, type(held_out).__name__])}


def _hash_of(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, default=repr).encode()).hexdigest()[:_LETTERS]
