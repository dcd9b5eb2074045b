r"""A long text in segments that are tokenized one by one, with the tokens of the whole.

    ... the end of a word|, and the next ...      a cut: after a letter that a space follows
                         ^ position                the next segment begins with the space

After such a cut nothing of the text before changes what comes next: no line is open but for the
letter, no word, no run of blanks.  By character the next segment is given the letter "a" before it
and its first token is dropped, so that it does not count as the beginning of a text, whose blanks
are stripped.  A text without such places is one segment.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from kseq.data.preparation import Preparation
from kseq.data.text import cleaned_chunks, word_chunks

SEGMENT_CHARACTERS = 2**26

_CUTS = {"d2l": re.compile(r"[A-Za-z](?=[ \n])"), "none": re.compile(r"\S(?=[ \n])")}


class Segments:
    """The segments of a text that comes in pieces; each is to be read before the next.

    Args:
        chunks: the text.
        cleaning: "d2l" or "none", which decides where a text may be cut.
        position: how many characters to skip, an earlier `position`.
        size: how many characters a segment has at least, but for the last.

    Attributes:
        position: how many characters lie before the next segment.
        size: as above.

    Example:
        >>> segments = Segments(["one two", " three"], "none", size=3)
        >>> ["".join(segment) for segment in segments]
        ['one', ' two three']
    """

    def __init__(
        self, chunks: Iterable[str], cleaning: str, position: int = 0, size: int | None = None
    ) -> None:
        self.position = 0
        self.size = SEGMENT_CHARACTERS if size is None else size
        self._cut = _CUTS[cleaning]
        self._chunks = iter(chunks)
        self._held = ""
        self._skip(position)

    def __iter__(self) -> Iterator[Iterator[str]]:
        more = True
        while more:
            yield self._segment()
            more = bool(self._held)

    def _skip(self, position: int) -> None:
        while self.position < position:
            chunk = next(self._chunks, None)
            if chunk is None:
                return
            self.position += len(chunk)
            if self.position > position:
                self._held = chunk[position - self.position :]
                self.position = position

    def _segment(self) -> Iterator[str]:
        length = 0
        for chunk in chain([self._held] if self._held else [], self._chunks):
            self._held = ""
            cut = self._cut.search(chunk, max(0, self.size - length - 1))
            head = chunk[: cut.end()] if cut and length + cut.end() >= self.size else chunk
            self._held = chunk[len(head) :]
            length += len(head)
            self.position += len(head)
            yield head
            if self._held:
                return


def segment_tokens(
    segment: Iterable[str], how: Preparation, first: bool
) -> Iterator[str] | Iterator[list[str]]:
    """Yield the characters (a string) or the words (a list) of one segment, piece by piece.

    Example:
        >>> how = Preparation.checked("char", "d2l", None)
        >>> "".join(segment_tokens([" 2 b"], how, first=False))
        ' b'
        >>> "".join(segment_tokens([" 2 b"], how, first=True))
        'b'
    """
    if how.level == "word":
        return word_chunks(segment, how.cleaning)
    if first:
        return cleaned_chunks(segment, how.cleaning, how.separator)
    return _without_first(cleaned_chunks(chain("a", segment), how.cleaning, how.separator))


def _without_first(pieces: Iterator[str]) -> Iterator[str]:
    for piece in pieces:
        if piece:
            yield piece[1:]
            break
    yield from pieces
