r"""Clean text and cut it into tokens.

    "The Time\n\nMachine, 1895\n"
        clean, "d2l"             "the time", "", "machine"          lines
        tokenize, "char"         t h e _ t i m e _ m a c h i n e _   a separator (here a space)
                                                                     after each line with text
        tokenize, "word"         the time machine

Lines with nothing in them get no separator, so that no two spaces meet; where the separator is
itself a line end they keep theirs, so that a text left as it is comes back letter for letter.
With a space, The Time Machine has 173,428 characters, as in the English edition of Dive into Deep
Learning; with the empty separator it has the 170,580 of the Chinese edition, whose models
therefore write "himwas".

The functions on lines show the rules; the ones on chunks apply the same rules to texts of any
size while holding a chunk at a time.

Source: Dive into Deep Learning 8.2 (`read_time_machine`, `tokenize`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from kseq.checks import one_of
from kseq.data.reading import read_text

__all__ = [
    "CLEANINGS",
    "LEVELS",
    "clean",
    "cleaned_chunks",
    "default_separator",
    "read_text",
    "tokenize",
    "word_chunks",
]

CLEANINGS = ("d2l", "none")
LEVELS = ("char", "word")

_LINE_END = ord("\n")
_TO_LETTERS = bytes(
    byte if byte == _LINE_END else ord(chr(byte).lower()) if chr(byte).isalpha() else ord(" ")
    for byte in range(128)
) + b" " * 128  # fmt: skip


def clean(text: str, cleaning: str) -> list[str]:
    r"""Return the lines of `text`, without their ends.

    "d2l" makes one space of every run of characters other than A-Z and a-z, strips each line and
    lowers it; accents and other alphabets are lost.  "none" leaves the lines as they are.

    Raises:
        UsageError: `cleaning` is neither.

    Example:
        >>> clean("The Time Machine, by H. G. Wells [1898]\n", "d2l")
        ['the time machine by h g wells']
    """
    one_of("cleaning", cleaning, CLEANINGS)
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [_squeezed(_letters(line)) for line in lines] if cleaning == "d2l" else lines


def tokenize(lines: Sequence[str], level: str, separator: str = " ") -> list[str]:
    r"""Return the tokens of `lines`: their words, or their characters with a separator after each.

    Words are what white space separates, line by line; `separator` plays no part.  For characters
    it stands after every line that is not empty, or after every line where it is "\n".

    Raises:
        UsageError: `level` is neither "char" nor "word".

    Example:
        >>> tokenize(["to be", "", "or"], "word")
        ['to', 'be', 'or']
        >>> "".join(tokenize(["to be", "", "or"], "char"))
        'to be or '
        >>> "".join(tokenize(["to be", "", "or"], "char", separator=""))
        'to beor'
    """
    if one_of("level", level, LEVELS) == "word":
        return [word for line in lines for word in line.split()]
    kept = lines if separator == "\n" else [line for line in lines if line]
    return list("".join(line + separator for line in kept))


def default_separator(cleaning: str) -> str:
    """Return what stands between lines unless the user says otherwise.

    A space after d2l's cleaning, which knows no other white space; the line end itself where the
    text is left as it is.
    """
    return " " if cleaning == "d2l" else "\n"


def cleaned_chunks(chunks: Iterable[str], cleaning: str, separator: str) -> Iterator[str]:
    r"""Yield the characters of `clean` and `tokenize` for a text that comes in pieces.

    The one difference: where the text does not end with a line end, its last line gets no
    separator, because nothing was separated.

    Example:
        >>> "".join(cleaned_chunks(["Time, ", " Machine\n", "\n1895 by", " H"], "d2l", " "))
        'time machine by h'
    """
    if cleaning == "d2l":
        rule = partial(_narrowed, keep_blank_lines=separator == "\n")
        joined = _joined(map(_letters, chunks), " \n", rule, separator == "\n")
    elif separator == "\n":
        return iter(chunks)
    else:
        joined = _joined(chunks, "\n", _without_blank_lines, False)
    return joined if separator == "\n" else (piece.replace("\n", separator) for piece in joined)


def word_chunks(chunks: Iterable[str], cleaning: str) -> Iterator[list[str]]:
    r"""Yield the words of a text that comes in pieces, whole even where a piece ends inside one.

    Example:
        >>> list(word_chunks(["to b", "e or\nnot"], "none"))
        [['to'], ['be', 'or'], ['not']]
    """
    held = ""
    for chunk in map(_letters, chunks) if cleaning == "d2l" else chunks:
        words = (held + chunk).split()
        held = words.pop() if words and not chunk[-1:].isspace() else ""
        yield words
    yield [held] if held else []


def _letters(text: str) -> str:
    """Return `text` character by character: a lower-case letter, a line end, or a space."""
    return text.encode("ascii", "replace").translate(_TO_LETTERS).decode("ascii")


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def _without_blank_lines(text: str) -> str:
    return "\n".join(filter(None, text.split("\n")))


def _narrowed(text: str, keep_blank_lines: bool) -> str:
    """Apply `_squeezed` to every line at once, and drop empty ones unless they are kept.

    `text` has ASCII letters, spaces and line ends alone, and begins and ends with a letter.
    """
    letters = np.frombuffer(text.encode("ascii"), np.uint8)
    kept = letters > ord(" ")
    runs = np.flatnonzero(kept[:-1] & ~kept[1:]) + 1  # where each run of blanks begins
    ends = np.flatnonzero(letters == _LINE_END)
    run_of_end = np.searchsorted(runs, ends, "right") - 1
    kept[runs] = True
    kept[runs[run_of_end]] = False
    kept[ends if keep_blank_lines else ends[np.diff(run_of_end, prepend=-1) > 0]] = True
    return letters[kept].tobytes().decode("ascii")


def _joined(
    chunks: Iterable[str], blank: str, rule: Callable[[str], str], keep_blank_lines: bool
) -> Iterator[str]:
    """Apply `rule` to the lines of each piece; `rule` makes one line end of several, or keeps them.

    A run of `blank` characters may go on in the next chunk, so it is held back until it ends.
    """
    held, started = "", False
    for chunk in chunks:
        inside = chunk.strip(blank)
        if not inside:
            held = _gap(held + chunk, keep_blank_lines)
            continue
        first = len(chunk) - len(chunk.lstrip(blank))
        gap = _gap(held + chunk[:first], keep_blank_lines)
        yield gap if started else gap.strip(" ") if keep_blank_lines else ""
        yield rule(inside)
        held, started = _gap(chunk[first + len(inside) :], keep_blank_lines), True
    if started or keep_blank_lines:
        yield held.strip(" ")


def _gap(run: str, keep_blank_lines: bool) -> str:
    if keep_blank_lines and "\n" in run:
        return "\n" * run.count("\n")
    return "\n" if "\n" in run else run[:1]
