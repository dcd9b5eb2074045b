"""Corpora: a text as token ids, with its vocabulary and with where it came from.

    load_corpus("time_machine")            bytes -> text -> lines -> tokens -> ids (N,)
    corpus.split(0.9)                      [0 ........ cut)[cut .. N)   both parts with the
                                            vocabulary of the first

A text is coded once, without a vocabulary (`kseq.data.coding`); ids come from codes and vocabulary,
so a part of a corpus, or another vocabulary, needs no second reading.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from kseq.data.coding import CodedText, smallest_dtype
from kseq.data.documents import Document, Range, flat, listed
from kseq.data.indexing import Progress, indexed_text
from kseq.data.parts import Parts
from kseq.data.preparation import Bounds, Preparation
from kseq.data.sources import (
    Source,
    agreed_cleaning,
    chunks_of_string,
    documents_of,
    find_sources,
)
from kseq.data.vocab import Vocab
from kseq.errors import DataError

MOST_INT32_TOKENS = 2**26
# What a model file takes for a name.
LONGEST_NAME = 1000


@dataclass(frozen=True, eq=False, repr=False)
class Corpus(Parts):
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
        start, total: this corpus begins with token `start` of a text of `total`.
        documents: its texts, and where each stands; see `kseq.data.documents.Document`.
        held_out: where in the whole text the tokens lie that `split(each=True)` held out, or that
            follow the part of which this is a mixture.
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
    documents: tuple[Document, ...] = ()
    held_out: tuple[Range, ...] = ()

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
        return _made([name], [chunks_of_string(text, digest)], digest, how, bounds)

    def __len__(self) -> int:
        return len(self.coded.codes)

    def __repr__(self) -> str:
        return f"Corpus({self.label}: {len(self):,} tokens by {self.level}, {self.vocab!r})"

    @cached_property
    def ids(self) -> np.ndarray:
        """Token ids; (N,) int32.

        Beyond 2**26 tokens the smallest of uint8, uint16 and int32 that holds the vocabulary:
        convert before arithmetic.  With a `cache_dir` a `kseq.data.mapped.MappedIds`.
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
        """Where these ids came from, for files and reports: plain values only.

        start and stop are the first token and the one after the last in the whole text.  Of each
        document in turn, "documents" has the name and "pieces" where its first token and the one
        after its last stand in the whole text; "held_out" has the same of what is in `held_out`.
        """
        names = ("sha256", "edition", "level", "cleaning", "separator", "part", "start", "total")
        pieces = [document.piece for document in self.documents]
        return (
            {"name": self.name[:LONGEST_NAME]}
            | {name: getattr(self, name) for name in names}
            | {
                "stop": max((stop for _, stop in pieces), default=self.start + len(self)),
                "documents": [document.name[:LONGEST_NAME] for document in self.documents],
                "pieces": flat(pieces),
                "held_out": flat(self.held_out),
            }
        )

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


def load_corpus(
    source: Any,
    level: str = "char",
    cleaning: str | None = None,
    separator: str | None = None,
    encoding: str = "utf-8",
    max_tokens: int | None = None,
    min_freq: int = 0,
    max_vocab: int | None = None,
    data_dir: Source | None = None,
    cache_dir: Source | None = None,
    progress: Progress | None = None,
) -> Corpus:
    """Return the corpus of a named text, a file, or several of them one after the other.

    Args:
        source: "story" (bundled), "time_machine", "war_of_the_worlds", "tiny_shakespeare", the path
            of a text file, "-" for standard input, a TFDS builder or data source whose records have
            a "text" (see `kseq.corpus_builder`), or a list of these; a line end is put between two
            texts where there is none.  A name wins over a file called so; "./story" is the file.
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
        cache_dir: folder to keep the ids in, of texts of any size; see `kseq.data.id_cache`.
        progress: called with the bytes read and those of all files (or None) meanwhile.

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
    edition = "; ".join(text.edition for text in texts if text.edition)
    names = [text.name for text in texts]
    if cache_dir is not None:
        found = indexed_text(texts, encoding, how, cache_dir, "+".join(names), progress)
        _require_tokens(names, found.stops, how)
        return _corpus_of(found.coded, names, found.stops, found.sha256, how, bounds, edition)
    digest = hashlib.sha256()
    return _made(names, documents_of(texts, encoding, digest), digest, how, bounds, edition)


def _made(
    names: Sequence[str],
    texts: Iterable[Iterable[str]],
    digest: "hashlib._Hash",
    how: Preparation,
    bounds: Bounds,
    edition: str = "",
) -> Corpus:
    """Read texts that come in pieces, one after the other, feeding their bytes to `digest`."""
    coded, stops = how.coded_documents(texts, "+".join(names))
    _require_tokens(names, stops, how)
    return _corpus_of(coded, names, stops, digest.hexdigest(), how, bounds, edition)


def _require_tokens(names: Sequence[str], stops: Sequence[int], how: Preparation) -> None:
    """Refuse a text of several that has none: alone it would be refused too."""
    for name, start, stop in zip(names, [0, *stops], stops, strict=False):
        if start == stop:
            raise DataError(
                f"{name}: must have tokens at level {how.level!r} after cleaning "
                f"{how.cleaning!r}, found none; leave it out, or choose another cleaning"
            )


def _corpus_of(
    coded: CodedText,
    names: Sequence[str],
    stops: Sequence[int],
    sha256: str,
    how: Preparation,
    bounds: Bounds,
    edition: str,
) -> Corpus:
    """Return the corpus of coded documents, each with a name and a place where it ends."""
    name = "+".join(names)
    corpus = Corpus(
        coded,
        Vocab(coded.counts, min_freq=bounds.min_freq, max_size=bounds.max_vocab),
        name,
        *(how.level, how.cleaning, how.separator),
        sha256,
        edition,
        total=len(coded.codes),
        min_freq=bounds.min_freq,
        max_vocab=bounds.max_vocab,
        documents=listed(names, stops),
    )
    most = bounds.max_tokens
    return corpus if most is None else corpus.pieces([(0, min(most, len(corpus)))], "whole")
