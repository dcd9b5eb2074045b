"""An argument parser whose errors have three parts, and types that check before any work."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from kseq.checks import (
    LARGEST_SIZE,
    fraction,
    nearest,
    non_negative_float,
    non_negative_int,
    one_of,
    positive_float,
    positive_int,
    shown,
    unit_interval,
)
from kseq.errors import UsageError

# argparse puts "argument --units: " before what a check said: "units: must be ...".
_OWN_MESSAGE = re.compile(r"argument (?P<option>\S+): \w+: (?P<rest>must .*)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """argparse, raising `UsageError` with the nearest match instead of printing usage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found as a `UsageError`."""
        own = _OWN_MESSAGE.fullmatch(message)
        if own:
            raise UsageError(f"{own['option']}: {own['rest']}")
        found = message.replace("argument ", "", 1).replace(": ", " ")
        raise UsageError(
            f"{self.prog}: must get arguments that fit, found {found}; see {self.prog} --help"
        )

    def refuse_unknown(self, left_over: Sequence[str]) -> None:
        """Refuse what no option or argument took."""
        if not left_over:
            return
        found = shown(left_over[0])
        if left_over[0].startswith("-"):
            remedy = self._remedy_for(left_over[0].partition("=")[0])
            raise UsageError(f"{self.prog}: must get options it knows, found {found}; {remedy}")
        raise UsageError(
            f"{self.prog}: must get the arguments it takes, side by side, found {found} too many; "
            f"quote one that has spaces, or see {self.prog} --help"
        )

    def _remedy_for(self, option: str) -> str:
        known = [name for action in self._actions for name in action.option_strings]
        if option in known:
            return f"write it after {self.prog}"
        close = nearest(option, known)
        return f"did you mean {close}?" if close else f"see {self.prog} --help"


def checked(check: Callable[[Any], Any], read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return an argparse type: read the word, then check it, keeping the check's message."""

    def convert(word: str) -> Any:
        try:
            return check(read(word))
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def size(name: str, most: int = LARGEST_SIZE) -> Callable[[str], Any]:
    """A whole number, at least 1."""
    return checked(lambda value: positive_int(name, value, most), _int_or_word)


def count(name: str, most: int = LARGEST_SIZE) -> Callable[[str], Any]:
    """A whole number, at least 0."""
    return checked(lambda value: non_negative_int(name, value, most), _int_or_word)


def rate(name: str) -> Callable[[str], Any]:
    """A finite number above 0."""
    return checked(lambda value: positive_float(name, value), _float_or_word)


def weight(name: str) -> Callable[[str], Any]:
    """A finite number, 0 or more."""
    return checked(lambda value: non_negative_float(name, value), _float_or_word)


def share(name: str) -> Callable[[str], Any]:
    """A number at least 0 and below 1."""
    return checked(lambda value: unit_interval(name, value), _float_or_word)


def level(name: str) -> Callable[[str], Any]:
    """A number strictly between 0 and 1."""
    return checked(lambda value: fraction(name, value), _float_or_word)


def number(name: str) -> Callable[[str], Any]:
    """A number; which are allowed is checked where it is used, before any work."""

    def is_number(value: Any) -> float:
        if isinstance(value, float):
            return value
        raise UsageError(f"{name}: must be a number, found {shown(value)}; write one, such as 0.8")

    return checked(is_number, _float_or_word)


def choice(name: str, choices: Sequence[str]) -> Callable[[str], Any]:
    """One of a few words."""
    return checked(lambda value: one_of(name, value, choices), str)


def weights(word: str) -> list[float]:
    """Numbers with commas between them, such as 2,1; how many and how large is checked later."""
    return [number("mix")(each) for each in word.split(",")]


def held_out(word: str) -> Any:
    """A share of the text below 1, or a whole number of tokens that follow the training text."""
    is_whole = isinstance(_int_or_word(word), int)
    return count("valid")(word) if is_whole else share("valid")(word)


def _int_or_word(word: str) -> Any:
    try:
        return int(word)
    except ValueError:
        return _float_or_word(word)


def _float_or_word(word: str) -> Any:
    try:
        return float(word)
    except ValueError:
        return word
