"""Measuring one contender: what it does in about half a second, and the spread over rounds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kseq.backend import compiled


class Contender(Protocol):
    """Something that can be measured again and again, and ended."""

    def measure(self, seconds: float) -> tuple[float, float]:
        """Work for at least `seconds`; return how much was done, and in how many seconds."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class Repeated:
    """A function called over and over; each call does `amount`: of tokens, or of steps.

    Example:
        >>> done, seconds = Repeated(lambda: None, amount=3).measure(0.0)
        >>> done, seconds < 1
        (3.0, True)
    """

    def __init__(self, function: Callable[[], object], amount: float = 1) -> None:
        self.function, self.amount = function, amount

    def measure(self, seconds: float) -> tuple[float, float]:
        """Call the function until the time is up."""
        done, began = 0.0, time.perf_counter()
        while True:
            self.function()
            done += self.amount
            passed = time.perf_counter() - began
            if passed >= seconds:
                return done, passed

    def close(self) -> None:
        """Nothing is held."""


class Uncompiled:
    """A contender of kseq's, kept from the recurrences that a compiler has made."""

    def __init__(self, make: Callable[[], Contender]) -> None:
        with compiled.disabled():
            self.contender = make()

    def measure(self, seconds: float) -> tuple[float, float]:
        """Measure without the compiled path."""
        with compiled.disabled():
            return self.contender.measure(seconds)

    def close(self) -> None:
        """Let go of the contender."""
        self.contender.close()


@dataclass(frozen=True)
class Spread:
    """What came of several rounds: the middle one, the lowest and the highest."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarize at least one value.

        Example:
            >>> Spread.of([3.0, 1.0, 2.0])
            Spread(median=2.0, min=1.0, max=3.0)
        """
        return cls(statistics.median(values), min(values), max(values))


def in_unit(amount: float, seconds: float, unit: str) -> float:
    """Return a measurement as "tokens/s", or as "ms" for each of the amount.

    Example:
        >>> in_unit(100, 2.0, "tokens/s"), in_unit(100, 2.0, "ms")
        (50.0, 20.0)
    """
    return 1000 * seconds / amount if unit == "ms" else amount / seconds
