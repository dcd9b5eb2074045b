"""Checks of plain arguments: sizes, fractions, rates and names, refused before any work.

Each function returns the value as a plain Python `int`, `float` or `str`, or raises
`UsageError` with the argument's name, the rule, what was found and what to do.  Nothing is
allocated and nothing beyond the standard library is imported.
"""

import difflib
import math
import operator
import os
import reprlib
from collections.abc import Iterable
from numbers import Real

from kseq.errors import UsageError

LARGEST_SIZE = 2**31 - 1


def positive_int(name: str, value: object, most: int = LARGEST_SIZE) -> int:
    """Return `value` as an `int` in 1..`most`; NumPy integers count, booleans and floats do not.

    Raises:
        UsageError: `value` is no whole number, or outside the range.

    Example:
        >>> positive_int("batch_size", 32)
        32
        >>> positive_int("units", 0)
        Traceback (most recent call last):
        ...
        kseq.errors.UsageError: units: must be a whole number, at least 1, found 0; choose 1 or more
    """
    return _whole_number(name, value, 1, most)


def non_negative_int(name: str, value: object, most: int = LARGEST_SIZE) -> int:
    """Return `value` as an `int` in 0..`most`; the rest is as in `positive_int`.

    Raises:
        UsageError: `value` is no whole number, or outside the range.

    Example:
        >>> non_negative_int("epochs", 0)
        0
    """
    return _whole_number(name, value, 0, most)


def unit_interval(name: str, value: object, open_right: bool = True) -> float:
    """Return `value` as a `float` with 0 <= value < 1, or <= 1 when `open_right` is false.

    Raises:
        UsageError: `value` is no number, NaN, or outside the interval.

    Example:
        >>> unit_interval("dropout", 0.5)
        0.5
        >>> unit_interval("dropout", 1.0)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        kseq.errors.UsageError: dropout: must be a number at least 0 and below 1, found 1.0; ...
    """
    rule = f"a number at least 0 and {'below' if open_right else 'at most'} 1"
    number = _number(name, value, rule, "choose one inside, such as 0.5")
    if 0 <= number < 1 or (number == 1 and not open_right):
        return number
    raise _refused(name, rule, value, "choose one inside, such as 0.5")


def fraction(name: str, value: object) -> float:
    """Return `value` as a `float` strictly between 0 and 1.

    Raises:
        UsageError: `value` is no number, NaN, 0, 1 or beyond.

    Example:
        >>> fraction("fraction", 0.9)
        0.9
    """
    rule, remedy = "a number above 0 and below 1", "choose one inside, such as 0.9"
    number = _number(name, value, rule, remedy)
    if 0 < number < 1:
        return number
    raise _refused(name, rule, value, remedy)


def positive_float(name: str, value: object) -> float:
    """Return `value` as a finite `float` above 0.

    Raises:
        UsageError: `value` is no number, zero, negative, NaN or infinite.

    Example:
        >>> positive_float("learning_rate", 2)
        2.0
    """
    rule, remedy = "a finite number above 0", "choose one above 0"
    number = _number(name, value, rule, remedy)
    if math.isfinite(number) and number > 0:
        return number
    raise _refused(name, rule, value, remedy)


def non_negative_float(name: str, value: object) -> float:
    """Return `value` as a finite `float`, 0 or more.

    Raises:
        UsageError: `value` is no number, negative, NaN or infinite.

    Example:
        >>> non_negative_float("activation_l2", 2)
        2.0
    """
    rule, remedy = "a finite number, 0 or more", "choose 0 or more"
    number = _number(name, value, rule, remedy)
    if math.isfinite(number) and number >= 0:
        return number
    raise _refused(name, rule, value, remedy)


def finite_float(name: str, value: object) -> float:
    """Return `value` as a finite `float`.

    Raises:
        UsageError: `value` is no number, NaN or infinite.

    Example:
        >>> finite_float("start", -1)
        -1.0
    """
    rule, remedy = "a finite number", "choose one"
    number = _number(name, value, rule, remedy)
    if math.isfinite(number):
        return number
    raise _refused(name, rule, value, remedy)


def one_of(name: str, value: object, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`.

    Raises:
        UsageError: it is not; the message lists the choices and names the nearest.

    Example:
        >>> one_of("cell", "gru", ("simple_rnn", "gru", "lstm"))
        'gru'
        >>> one_of("cell", "ltsm", ("gru", "lstm"))
        Traceback (most recent call last):
        ...
        kseq.errors.UsageError: cell: must be 'gru' or 'lstm', found 'ltsm'; did you mean 'lstm'?
    """
    words = tuple(choices)
    if isinstance(value, str) and value in words:
        return value
    close = nearest(value, words) if isinstance(value, str) else None
    remedy = f"did you mean {close!r}?" if close else "choose one of them"
    raise _refused(name, _listed(words), value, remedy)


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that `word` looks most like, or None when none is close.

    Example:
        >>> nearest("time_machin", ["story", "time_machine"])
        'time_machine'
        >>> nearest("xyz", ["story", "time_machine"]) is None
        True
    """
    by_folded = {candidate.casefold(): candidate for candidate in words}
    found = difflib.get_close_matches(word[:200].casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def shown(value: object, width: int = 60) -> str:
    """Return `repr(value)` on one line, cut in the middle to `width`, for an error message.

    Example:
        >>> shown("word")
        "'word'"
        >>> shown(10**30, width=20)
        '10000000...000000000'
    """
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = brief.maxlong = width
    try:
        return _cut(" ".join(brief.repr(value).split()), width)
    except ValueError:  # Python refuses to write out an integer of more than 4300 digits
        return f"a {type(value).__name__} too long to show"


def shown_path(path: str | os.PathLike[str], width: int = 100) -> str:
    """Return `path` on one line, cut in the middle to `width`, for an error message.

    Example:
        >>> shown_path("books/story.txt")
        'books/story.txt'
    """
    line = "".join(letter if letter.isprintable() else "?" for letter in os.fspath(path))
    return _cut(line, width) or "''"


def _cut(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    head = (width - 3) // 2
    return f"{line[:head]}...{line[head + 3 - width :]}"


def _whole_number(name: str, value: object, least: int, most: int) -> int:
    rule = f"a whole number, at least {least}"
    number = _index(value)
    if number is None or number < least:
        raise _refused(name, rule, value, f"choose {least} or more")
    if number > most:
        raise _refused(name, f"a whole number, at most {most:,}", value, "choose a smaller one")
    return number


def _index(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _number(name: str, value: object, rule: str, remedy: str) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:  # an int beyond the largest float
            pass
    raise _refused(name, rule, value, remedy)


def _listed(words: tuple[str, ...]) -> str:
    quoted = [repr(word) for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def _refused(name: str, rule: str, value: object, remedy: str) -> UsageError:
    return UsageError(f"{name}: must be {rule}, found {shown(value)}; {remedy}")
