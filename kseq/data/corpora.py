"""Corpora: a text as token ids, with its vocabulary and with where it came from.

    load_corpus("time_machine")            bytes -> text -> lines -> tokens -> ids (N,)
    corpus.split(0.9)                      [0 ........ cut)[cut .. N)   both parts with the
                                            vocabulary of the first

A text is coded once, without a vocabulary (`kseq.data.coding`); ids come from the codes and the
vocabulary, so a part of a corpus, or another vocabulary, needs no second reading.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from kseq.checks import fraction as checked_fraction
from kseq.checks import non_negative_int, positive_int
from kseq.data.coding import CodedText, smallest_dtype
from kseq.data.preparation import Bounds, Preparation
from kseq.data.sources import Source, agreed_cleaning, chunks_of, chunks_of_string, find_sources
from kseq.data.vocab import Vocab
from kseq.errors import DataError

MOST_INT32_TOKENS = 2**26


@dataclass(frozen=True, eq=False, repr=False)
class Corpus:
    """A text as token ids; made by `load_corpus`, `Corpus.from_text` or `split`.

    Attributes:
        vocab: the vocabulary that `ids` refers to.
        name: the name of the text, or of its file; several are joined by "+".
        level: "char" or "word".
        cleaning: "d2l" or "none".
        separator: what stands between lines in a corpus by character.
        sha256: hash of the raw bytes of the text (of all its files, one after the other).
        edition: which edition of the text this is, where that is known.
        part: "whole", "training" or "validation".
        start, total: this corpus is the tokens from `start` on of a text of `total`.
        min_freq, max_vocab: the bounds given to its vocabulary, kept by `split`.

    Example:
        >>> corpus = Corpus.from_text("to be or not to be", level="word")
        >>> len(corpus), corpus.ids, corpus.vocab.idx_to_token
        (6, array([1, 2, 3, 4, 1, 2], dtype=int32), ['<unk>', 'to', 'be', 'or', 'not'])
    """

    coded: CodedText
    vocab: Vocab
    name: str
    level: str
    cleaning: str
    separator: str
    sha256: str
    edition: str = ""
    part: str = "whole"
    start: int = 0
    total: int = 0
    min_freq: int = 0
    max_vocab: int | None = None

    @classmethod
    def from_text(
        cls,
        text: str,
        level: str = "char",
        cleaning: str = "none",
        separator: str | None = None,
        max_tokens: int | None = None,
        min_freq: int = 0,
        max_vocab: int | None = None,
        name: str = "text",
    ) -> "Corpus":
        """Return the corpus of a text in memory; arguments and errors as in `load_corpus`."""
        bounds = Bounds.checked(max_tokens, min_freq, max_vocab)
        how = Preparation.checked(level, cleaning, separator)
        digest = hashlib.sha256()
        return _made(chunks_of_string(text, digest), digest, how, bounds, name)

    def __len__(self) -> int:
        return len(self.coded.codes)

    def __repr__(self) -> str:
        return f"Corpus({self.label}: {len(self):,} tokens by {self.level}, {self.vocab!r})"

    @cached_property
    def ids(self) -> np.ndarray:
        """Token ids; (N,) int32.

        Beyond 2**26 tokens they take the smallest of uint8, uint16 and int32 that holds the
        vocabulary, so that a text of 1 GB needs 1 GB: convert before arithmetic.
        """
        table = np.array([self.vocab[symbol] for symbol in self.coded.symbols], np.int32)
        if len(self) > MOST_INT32_TOKENS:
            table = table.astype(smallest_dtype(len(self.vocab)))
        return self.coded.mapped(table)

    @property
    def unk_count(self) -> int:
        """How many tokens the vocabulary lacks, so that their id is 0."""
        return sum(n for symbol, n in self.coded.counts.items() if symbol not in self.vocab)

    @property
    def tokens(self) -> list[str]:
        """The tokens, as they stand in the text whether the vocabulary has them or not."""
        return self.coded.tokens()

    @property
    def text(self) -> str:
        """The cleaned text; words are joined by a space."""
        return self.coded.characters() if self.level == "char" else " ".join(self.tokens)

    @property
    def label(self) -> str:
        """The name, with the part where this is not the whole: for messages and reports."""
        return self.name if self.part == "whole" else f"{self.name}, {self.part} part"

    @property
    def provenance(self) -> dict[str, Any]:
        """Where these ids came from, for files and reports: plain values only."""
        names = ("name", "sha256", "edition", "level", "cleaning", "separator", "part", "start")
        return {name: getattr(self, name) for name in (*names, "total")} | {
            "stop": self.start + len(self)
        }

    def encode(self, text: str) -> np.ndarray:
        """Return the ids of `text`, taken as it stands, without cleaning; (N,) int32.

        By word it is split at white space; what the vocabulary lacks becomes 0.
        """
        return self.vocab.encode(text if self.level == "char" else text.split())

    def decode(self, ids: Any) -> str:
        """Return the text of `ids`; words are joined by a space.

        Raises:
            DataError: an id the vocabulary does not have.
        """
        return ("" if self.level == "char" else " ").join(self.vocab.decode(ids))

    def with_vocab(self, vocab: Vocab) -> "Corpus":
        """Return the same text under another vocabulary, such as that of a trained model."""
        return replace(self, vocab=vocab)

    def split(self, fraction: float = 0.9) -> tuple["Corpus", "Corpus"]:
        """Return the first `fraction` of the tokens and the rest, contiguous.

        Both have a vocabulary made from the first part only, so nothing of the second leaks into
        training; symbols that only the second has become `<unk>`.

        Raises:
            UsageError: `fraction` is not above 0 and below 1.
            DataError: a part would have fewer than 2 tokens, one input and one target.

        Example:
            >>> train, valid = Corpus.from_text("banana band").split(0.6)
            >>> train.text, valid.text, valid.ids
            ('banana', ' band', array([0, 3, 1, 2, 0], dtype=int32))
        """
        # The tolerance makes 0.29 of 100 tokens 29, where the product in floats is 28.999...
        cut = int(len(self) * checked_fraction("fraction", fraction) + 1e-6)
        _require_two(cut, "training", self.label, "raise")
        _require_two(len(self) - cut, "validation", self.label, "lower")
        training = self._slice(0, cut, "training")
        validation = self._slice(cut, len(self), "validation")
        vocab = Vocab(training.coded.counts, min_freq=self.min_freq, max_size=self.max_vocab)
        return training.with_vocab(vocab), validation.with_vocab(vocab)

    def divide(self, training_tokens: int | None, held_out_tokens: int) -> tuple["Corpus", Any]:
        """Return the first tokens and those that follow, both under this corpus's vocabulary.

        It is Dive into Deep Learning's way: it trains on the first 10,000 characters under the
        vocabulary of the whole book; the tokens that follow show what was learnt.

        Args:
            training_tokens: None for all but the held-out ones.
            held_out_tokens: how many tokens follow; with 0 the second part is None.

        Raises:
            UsageError: a number that is negative, or training_tokens below 1.
            DataError: the text is shorter than both together.

        Example:
            >>> train, held_out = Corpus.from_text("banana band").divide(6, 3)
            >>> train.text, held_out.text, len(train.vocab) == len(held_out.vocab)
            ('banana', ' ba', True)
        """
        held_out_tokens = non_negative_int("held_out_tokens", held_out_tokens)
        if training_tokens is None:
            training_tokens = max(len(self) - held_out_tokens, 1)
        cut = positive_int("training_tokens", training_tokens)
        if cut + held_out_tokens > len(self):
            raise DataError(
                f"{self.label}: must have the {cut:,} tokens to train on and {held_out_tokens:,} "
                f"to hold out, found {len(self):,}; ask for fewer"
            )
        following = self._slice(cut, cut + held_out_tokens, "validation")
        return self._slice(0, cut, "training"), following if held_out_tokens else None

    def after(self, position: int) -> "Corpus":
        """Return the tokens from `position` on, under the same vocabulary.

        Example:
            >>> Corpus.from_text("banana band").after(7).text
            'band'
        """
        return self._slice(non_negative_int("position", position), len(self), "validation")

    def _slice(self, start: int, stop: int, part: str) -> "Corpus":
        return replace(
            self, coded=self.coded.part(start, stop), part=part, start=self.start + start
        )


def load_corpus(
    source: Source | Sequence[Source],
    level: str = "char",
    cleaning: str | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
    max_tokens: int | None = None,
    min_freq: int = 0,
    max_vocab: int | None = None,
    data_dir: Source | None = None,
) -> Corpus:
    """Return the corpus of a named text, a file, or several of them one after the other.

    Args:
        source: "story" (bundled), "time_machine", "tiny_shakespeare", the path of a text file,
            "-" for standard input, or a list of these; a line end is put between two texts where
            there is none.  A name wins over a file called so; "./story" is the file.
        level: "char" or "word".
        cleaning: "d2l" keeps only lower-case letters, "none" everything; None is "d2l" for the
            story and The Time Machine, "none" for Tiny Shakespeare and for files.
        separator: what stands between lines by character; None is a space after "d2l" cleaning,
            the line end after "none".  "" is the Chinese edition's way: it joins the last word of
            a line to the first of the next.
        encoding: of the files.
        max_tokens: keep only the first tokens, under the vocabulary of the whole text, as Dive
            into Deep Learning does; None for all.
        min_freq: tokens seen less often become `<unk>`.
        max_vocab: the most entries the vocabulary may have, see `Vocab`; None for no bound.
        data_dir: folder in which to look for named texts first.

    Raises:
        UsageError: an argument that cannot be used.
        DataError: a file that is no text, or a text without tokens.
        FileError: a file that is missing or unreadable, or a download that failed.

    Example:
        >>> corpus = load_corpus("story")
        >>> corpus.name, corpus.level, corpus.cleaning, len(corpus.vocab)
        ('story', 'char', 'd2l', 28)
    """
    bounds = Bounds.checked(max_tokens, min_freq, max_vocab)
    Preparation.checked(level, "none" if cleaning is None else cleaning, separator)
    texts = find_sources(source, data_dir)
    chosen = agreed_cleaning(texts) if cleaning is None else cleaning
    how = Preparation.checked(level, chosen, separator)
    digest = hashlib.sha256()
    edition = "; ".join(text.edition for text in texts if text.edition)
    name = "+".join(text.name for text in texts)
    return _made(chunks_of(texts, encoding, digest), digest, how, bounds, name, edition)


def _made(
    chunks: Iterable[str],
    digest: "hashlib._Hash",
    how: Preparation,
    bounds: Bounds,
    name: str,
    edition: str = "",
) -> Corpus:
    coded = how.coded(chunks, name)
    return Corpus(
        coded.part(0, bounds.max_tokens or len(coded.codes)),
        Vocab(coded.counts, min_freq=bounds.min_freq, max_size=bounds.max_vocab),
        name,
        how.level,
        how.cleaning,
        how.separator,
        digest.hexdigest(),
        edition,
        total=len(coded.codes),
        min_freq=bounds.min_freq,
        max_vocab=bounds.max_vocab,
    )


def _require_two(length: int, part: str, label: str, change: str) -> None:
    if length < 2:
        raise DataError(
            f"{label}: the {part} part must have at least 2 tokens, found {length}; "
            f"{change} the fraction or use a longer text"
        )
