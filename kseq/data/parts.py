"""Parts of a corpus: splits, what follows a place, single documents, and mixtures of them.

A part has the tokens of one or several ranges of another corpus, one range after the other, and
keeps the documents they are from.  One range shares the memory of the corpus; several are copied,
unless they are on the disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kseq.checks import non_negative_int, positive_int, shown
from kseq.data.documents import Range, cut_each, cut_of, gathered, mixed_ranges, require_few
from kseq.data.vocab import Vocab
from kseq.errors import DataError, UsageError

if TYPE_CHECKING:
    from kseq.data.coding import CodedText
    from kseq.data.documents import Document


class Parts:
    """What a `Corpus` can be cut into."""

    if TYPE_CHECKING:  # what the corpus has that these are parts of
        __dataclass_fields__: ClassVar[dict[str, Any]]
        coded: CodedText
        documents: tuple[Document, ...]
        held_out: tuple[Range, ...]
        part: str
        start: int
        total: int
        min_freq: int
        max_vocab: int | None

        @property
        def label(self) -> str: ...  # noqa: D102
        def __len__(self) -> int: ...
        def with_vocab(self, vocab: Vocab) -> Self: ...  # noqa: D102

    def split(self, fraction: float = 0.9, each: bool = False) -> tuple[Self, Self]:
        """Return the first `fraction` of the tokens and the rest.

        Both have a vocabulary made from the first part only, so nothing of the second leaks into
        training; symbols that only the second has become `<unk>`.

        Args:
            fraction: how much goes into the first part.
            each: cut every document there, so that each is in both parts; otherwise the whole is
                cut in one place, and the second part has the end of the last document alone.

        Raises:
            UsageError: `fraction` is not above 0 and below 1, or some tokens are here twice (as in
                a mixture), so that they would be in both parts.
            DataError: a part, with `each` that of a document, would have fewer than 2 tokens, one
                input and one target.

        Example:
            >>> from kseq.data.corpora import Corpus
            >>> train, valid = Corpus.from_text("banana band").split(0.6)
            >>> train.text, valid.text, valid.ids
            ('banana', ' band', array([0, 3, 1, 2, 0], dtype=int32))
        """
        _require_once(self.documents, self.label)
        training, validation = self._split_each(fraction) if each else self._split_once(fraction)
        vocab = Vocab(training.coded.counts, min_freq=self.min_freq, max_size=self.max_vocab)
        return training.with_vocab(vocab), validation.with_vocab(vocab)

    def _split_once(self, fraction: float) -> tuple[Self, Self]:
        cut = cut_of(len(self), fraction)
        _require_two(cut, "training", self.label, "raise")
        _require_two(len(self) - cut, "validation", self.label, "lower")
        training = self.pieces([(0, cut)], "training")
        return training, self.pieces([(cut, len(self))], "validation")

    def _split_each(self, fraction: float) -> tuple[Self, Self]:
        first, rest = cut_each(self.documents, fraction)
        validation = self.pieces(rest, "validation")
        held_out = tuple(document.piece for document in validation.documents)
        training = replace(self.pieces(first, "training"), held_out=held_out)
        return training, replace(validation, held_out=held_out)

    def divide(self, training_tokens: int | None, held_out_tokens: int) -> tuple[Self, Any]:
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
            >>> from kseq.data.corpora import Corpus
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
        following = self.pieces([(cut, cut + held_out_tokens)], "validation")
        return self.pieces([(0, cut)], "training"), following if held_out_tokens else None

    def after(self, position: int) -> Self:
        """Return the tokens from `position` on, under the same vocabulary.

        Example:
            >>> from kseq.data.corpora import Corpus
            >>> Corpus.from_text("banana band").after(7).text
            'band'
        """
        first = non_negative_int("position", position)
        return self.pieces([(first, max(first, len(self)))], "validation")

    def mixed(self, weights: Sequence[float]) -> Self:
        """Return what an epoch reads when document i is read `weights[i]` times in it.

        It is meant for the training part of a split with `each`: what is held out is not touched,
        and the vocabulary stays, so perplexities under different weights can be compared.  The
        documents are read in turns; a weight of 2.5 reads a document twice and then its first
        half, 0 leaves it out.

        Raises:
            UsageError: not one weight for each document, a weight that is no number from 0 to
                100, or none that leaves a token.
            DataError: the turns have more than 10,000 documents together.

        Example:
            >>> from kseq.data.corpora import load_corpus
            >>> train, valid = load_corpus(["story", "story"]).split(0.9, each=True)
            >>> [len(document) for document in train.mixed([1.5, 1]).documents]
            [25896, 25896, 12948]
        """
        ranges = mixed_ranges(self.documents, weights)
        if not ranges:
            raise UsageError(
                f"weights: must leave a token to read, found {shown(list(weights))} of "
                f"{len(self):,} tokens; raise one of them"
            )
        mixture = self.pieces(ranges, "training")
        return replace(mixture, held_out=self.held_out or self._following())

    def _following(self) -> tuple[Range, ...]:
        """Return where the tokens after this part stand in the whole text, if there are any."""
        stop = max(document.piece[1] for document in self.documents)
        return ((stop, self.total),) if stop < self.total else ()

    def by_document(self) -> list[Self]:
        """Return a corpus for each document, called as it is, under the same vocabulary.

        Example:
            >>> from kseq.data.corpora import load_corpus
            >>> [part.label for part in load_corpus(["story", "story"]).by_document()]
            ['story', 'story']
        """
        return [
            replace(self.pieces([(each.start, each.stop)]), name=each.name)
            for each in self.documents
        ]

    def pieces(self, ranges: Sequence[Range], part: str | None = None) -> Self:
        """Return the tokens of `ranges` (start, stop), one range after the other.

        Args:
            ranges: places in this corpus, at least one.
            part: what to call it, "training" or "validation"; None for what this one is called.

        Raises:
            DataError: none, or they have more than 10,000 documents together.

        Example:
            >>> from kseq.data.corpora import Corpus
            >>> Corpus.from_text("banana band").pieces([(7, 11), (0, 3)]).text
            'bandban'
        """
        if not ranges:
            raise DataError(
                f"{self.label}: must be asked for at least one range, found none; pass one"
            )
        require_few(len(ranges))
        documents = gathered(self.documents, ranges)
        require_few(len(documents))
        start = documents[0].origin if documents else self.start + ranges[0][0]
        return replace(
            self,
            coded=self.coded.parts(ranges),
            part=part or self.part,
            start=start,
            documents=documents,
        )


def _require_once(documents: Sequence[Document], label: str) -> None:
    pieces = sorted(document.piece for document in documents)
    if any(start < stop for (_, stop), (start, _) in pairwise(pieces)):
        raise UsageError(
            f"{label}: must have each token once to be split, found a mixture with some of them "
            "twice; split first, then mix"
        )


def _require_two(length: int, part: str, label: str, change: str) -> None:
    if length < 2:
        raise DataError(
            f"{label}: the {part} part must have at least 2 tokens, found {length}; "
            f"{change} the fraction or use a longer text"
        )
