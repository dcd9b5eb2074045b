"""How a text becomes tokens and how much of it counts: the choices a corpus keeps."""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from kseq.checks import non_negative_int, one_of, positive_int, shown
from kseq.data.coding import CodedText, code_characters, code_words
from kseq.data.text import CLEANINGS, LEVELS, cleaned_chunks, default_separator, word_chunks
from kseq.data.vocab import UNKNOWN
from kseq.errors import DataError, UsageError

# Characters or words.
_Tokens = TypeVar("_Tokens", str, list[str])


@dataclass(frozen=True)
class Preparation:
    r"""What is done to a text before it is numbered.

    Attributes:
        level: "char" or "word".
        cleaning: "d2l" or "none".
        separator: what stands between lines by character.

    Example:
        >>> how = Preparation.checked("word", "d2l", None)
        >>> how.coded(["To be,\nor not to be"], "hamlet").symbols
        ('to', 'be', 'or', 'not')
    """

    level: str
    cleaning: str
    separator: str

    @classmethod
    def checked(cls, level: str, cleaning: str, separator: str | None) -> "Preparation":
        """Return the preparation, with the usual separator of `cleaning` in place of None.

        Raises:
            UsageError: a level or a cleaning that there is not, or a separator that is no string.
        """
        one_of("level", level, LEVELS)
        one_of("cleaning", cleaning, CLEANINGS)
        if separator is None:
            separator = default_separator(cleaning)
        if not isinstance(separator, str):
            raise UsageError(
                f"separator: must be a string, found {shown(separator)}; choose one, such as ' '"
            )
        return cls(level, cleaning, separator)

    def coded(self, chunks: Iterable[str], name: str) -> CodedText:
        """Return the tokens of a text that comes in pieces; the rest is as in `coded_documents`."""
        return self.coded_documents([chunks], name)[0]

    def coded_documents(
        self, texts: Iterable[Iterable[str]], name: str
    ) -> tuple[CodedText, list[int]]:
        """Return the tokens of texts that come in pieces, and how many there are after each text.

        `name` begins the messages.  Warns where all tokens are the same.

        Raises:
            DataError: there are no tokens, or one of them is spelled `<unk>`.

        Example:
            >>> coded, stops = Preparation.checked("word", "none", None).coded_documents(
            ...     [["to be"], ["or ", "not"]], "hamlet"
            ... )
            >>> coded.codes.tolist(), stops
            ([0, 1, 2, 3], [2, 4])
        """
        stops: list[int] = []
        if self.level == "word":
            text = code_words(_noting(stops, (word_chunks(each, self.cleaning) for each in texts)))
        else:
            cleaned = (cleaned_chunks(each, self.cleaning, self.separator) for each in texts)
            text = code_characters(_noting(stops, cleaned))
        self.check(text, name)
        return text, stops

    def check(self, text: CodedText, name: str) -> None:
        """Refuse a text without tokens, or with a token spelled `<unk>`; warn of a single symbol.

        Raises:
            DataError: as said; the message begins with `name`.
        """
        if not text.symbols:
            raise DataError(
                f"{name}: must have tokens at level {self.level!r} after cleaning "
                f"{self.cleaning!r}, found none; choose another text or cleaning"
            )
        if UNKNOWN in text.symbols:
            raise DataError(
                f"{name}: must not have the word {UNKNOWN}, which stands for unknown words, "
                f"found it {text.counts[UNKNOWN]} times; spell it differently"
            )
        if len(text.symbols) == 1:
            warnings.warn(
                f"{name}: has one distinct token, {shown(text.symbols[0])}; "
                "there is nothing to learn from it",
                stacklevel=5,
            )


def _noting(stops: list[int], texts: Iterable[Iterable[_Tokens]]) -> Iterator[_Tokens]:
    """Yield the tokens of each text in pieces, and append to `stops` how many came before its end.

    Nothing is held, so that a text may be of any size.
    """
    count = 0
    for text in texts:
        for piece in text:
            count += len(piece)
            yield piece
        stops.append(count)


@dataclass(frozen=True)
class Bounds:
    """How much of a text and of its symbols is kept.

    Attributes:
        max_tokens: how many tokens, from the first on; None for all.
        min_freq: symbols seen less often are left out of the vocabulary.
        max_vocab: the most entries of the vocabulary; None for no bound.
    """

    max_tokens: int | None
    min_freq: int
    max_vocab: int | None

    @classmethod
    def checked(cls, max_tokens: int | None, min_freq: int, max_vocab: int | None) -> "Bounds":
        """Return the bounds as plain integers.

        Raises:
            UsageError: one that is no whole number, or too small.
        """
        return cls(
            None if max_tokens is None else positive_int("max_tokens", max_tokens),
            non_negative_int("min_freq", min_freq),
            None if max_vocab is None else positive_int("max_vocab", max_vocab),
        )
