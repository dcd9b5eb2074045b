"""The documents of a corpus: where each stands in it, and which parts of each to take.

A corpus of two books, A with 1000 tokens and B with 500:

    split(0.9, each=True)     training     A[0:900] B[0:450]      validation  A[900:] B[450:]
    training.mixed([1.5, 2])  an epoch     A[0:900] B[0:450]  A[0:450] B[0:450]

Batches know nothing of documents: a row may go over a border, and a carried state goes with it,
so that the first tokens of a document are read with the memory of the one before.  What
`Corpus.by_document` gives is judged alone, from a state of zero.

A document is told by its place in the corpus at hand and by its origin, the place of its first
token in the whole text that was read: through every cut the second says where the tokens are from.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from kseq.checks import fraction as checked_fraction
from kseq.checks import shown
from kseq.errors import DataError, UsageError

Range = tuple[int, int]

# Every one is listed in the file of a model trained on them.
MOST_DOCUMENTS = 10_000
MOST_TIMES = 100
# Makes 0.29 of 100 tokens 29, where the product in floats is 28.999...
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Document:
    """Tokens `start` to `stop` of a corpus are from one text.

    Attributes:
        name: of the text, or of its file.
        start, stop: its place in the corpus; corpus.ids[start:stop] are its ids.
        origin: the place of its first token in the whole text.

    Example:
        >>> from kseq.data.corpora import Corpus
        >>> Corpus.from_text("banana", name="fruit").documents
        (Document(name='fruit', start=0, stop=6, origin=0),)
    """

    name: str
    start: int
    stop: int
    origin: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def piece(self) -> Range:
        """Where its tokens stand in the whole text, from the first to before the second place."""
        return self.origin, self.origin + len(self)


def require_few(count: int) -> None:
    """Refuse more documents than a file can list.

    Raises:
        DataError: there are more than 10,000.
    """
    if count > MOST_DOCUMENTS:
        raise DataError(
            f"texts: must be at most {MOST_DOCUMENTS:,} documents, found {count:,}; "
            "join short ones into one file, or lower the weights"
        )


def listed(names: Sequence[str], stops: Sequence[int]) -> tuple[Document, ...]:
    """Return the documents of a whole text from the place where each ends.

    Raises:
        DataError: there are more than 10,000.

    Example:
        >>> [len(document) for document in listed(["a", "b"], [10, 14])]
        [10, 4]
    """
    require_few(len(names))
    starts = [0, *stops[:-1]]
    return tuple(
        Document(name, start, stop, start)
        for name, start, stop in zip(names, starts, stops, strict=True)
    )


def gathered(documents: Sequence[Document], ranges: Iterable[Range]) -> tuple[Document, ...]:
    """Return the documents of a corpus made of the `ranges` of another, one after the other.

    `documents` are in the order of their places.

    Example:
        >>> both = listed(["a", "b"], [10, 14])
        >>> gathered(both, [(8, 12)])  # doctest: +NORMALIZE_WHITESPACE
        (Document(name='a', start=0, stop=2, origin=8),
         Document(name='b', start=2, stop=4, origin=10))
    """
    found, at = [], 0
    for start, stop in ranges:
        for document in _between(documents, start, stop):
            first, last = max(start, document.start), min(stop, document.stop)
            place = at + first - start
            origin = document.origin + first - document.start
            found.append(Document(document.name, place, place + last - first, origin))
        at += stop - start
    return tuple(found)


def _between(documents: Sequence[Document], start: int, stop: int) -> Sequence[Document]:
    """Return those that have tokens from `start` to `stop`."""
    first = bisect_right(documents, start, key=lambda document: document.stop)
    last = bisect_left(documents, stop, key=lambda document: document.start)
    return documents[first:last] if start < stop else ()


def flat(ranges: Iterable[Range]) -> list[int]:
    """Return start, stop, start, stop ...: in a file brackets are dear.

    Example:
        >>> flat([(0, 5), (10, 12)]), in_pairs([0, 5, 10, 12])
        ([0, 5, 10, 12], [(0, 5), (10, 12)])
    """
    return list(chain.from_iterable(ranges))


def in_pairs(places: Sequence[int]) -> list[Range]:
    """Return the ranges that `flat` has made flat."""
    return list(zip(places[::2], places[1::2], strict=True))


def are_within(ranges: Sequence[Range], length: int) -> bool:
    """Whether `ranges` are of tokens that a text of `length` has, no more than can be mixed of it.

    Example:
        >>> are_within([(0, 5), (0, 5)], 10), are_within([(5, 11)], 10), are_within([], 10)
        (True, False, False)
    """
    total = sum(stop - start for start, stop in ranges)
    inside = all(0 <= start < stop <= length for start, stop in ranges)
    return inside and 0 < total <= MOST_TIMES * length


def cut_of(length: int, fraction: float) -> int:
    """Return how many of `length` tokens the first part has."""
    return int(length * checked_fraction("fraction", fraction) + _ROUNDING)


def cut_each(documents: Sequence[Document], fraction: float) -> tuple[list[Range], list[Range]]:
    """Return the ranges of the first `fraction` of each document, and those of the rest.

    Raises:
        UsageError: `fraction` is not above 0 and below 1.
        DataError: a part of a document would have fewer than 2 tokens.

    Example:
        >>> cut_each(listed(["a", "b"], [10, 14]), 0.5)
        ([(0, 5), (10, 12)], [(5, 10), (12, 14)])
    """
    cuts = [document.start + cut_of(len(document), fraction) for document in documents]
    first = [(each.start, cut) for each, cut in zip(documents, cuts, strict=True)]
    rest = [(cut, each.stop) for each, cut in zip(documents, cuts, strict=True)]
    for document, *ranges in zip(documents, first, rest, strict=True):
        _require_two(document, ranges)
    return first, rest


def _require_two(document: Document, ranges: Iterable[Range]) -> None:
    if min(stop - start for start, stop in ranges) < 2:
        raise DataError(
            f"{document.name}: each part must have at least 2 tokens of every document, found "
            f"{len(document)} in all; leave it out, join it to another, or choose another share"
        )


def mixed_ranges(documents: Sequence[Document], weights: Sequence[float]) -> list[Range]:
    """Return the ranges of one epoch in which document i is read `weights[i]` times.

    The documents are read in turns, each as often as its weight says, one whose weight ends with
    a fraction by its first tokens alone in its last turn.

    Raises:
        UsageError: not one weight for each document, a weight that is no number from 0 to 100,
            or none above 0.

    Example:
        >>> mixed_ranges(listed(["a", "b"], [10, 14]), [2.5, 1])
        [(0, 10), (10, 14), (0, 10), (0, 5)]
    """
    checked = _checked(documents, weights)
    turns = range(math.ceil(max(checked)))
    return [piece for turn in turns for piece in _turn(documents, checked, turn)]


def _turn(documents: Sequence[Document], weights: Sequence[float], turn: int) -> Iterator[Range]:
    for document, weight in zip(documents, weights, strict=True):
        share = min(max(weight - turn, 0.0), 1.0)
        tokens = int(len(document) * share + _ROUNDING)
        if tokens:
            yield document.start, document.start + tokens


def _checked(documents: Sequence[Document], weights: Sequence[float]) -> list[float]:
    if len(weights) != len(documents):
        raise UsageError(
            f"weights: must be one for each of the {len(documents):,} documents, found "
            f"{len(weights):,}; give as many as texts"
        )
    numbers = [_number(weight) for weight in weights]
    if not any(numbers):
        raise UsageError(
            f"weights: must have one above 0, found {shown(list(weights))}; raise one of them"
        )
    return numbers


def _number(weight: Any) -> float:
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if is_number and 0 <= weight <= MOST_TIMES:
        return float(weight)
    raise UsageError(
        f"weights: must be numbers from 0 to {MOST_TIMES}, found {shown(weight)}; 2 reads a "
        "document twice in an epoch, 0.5 its first half, 0 nothing"
    )
