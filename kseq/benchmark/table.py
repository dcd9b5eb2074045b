"""A benchmark in words: a table for each case, what it ran on, and what failed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from kseq.benchmark.result import Result, Row

_NAME, _MEDIAN, _SPREAD, _UNIT, _RATIO = 38, 10, 22, 10, 9  # widths in characters
# Each of their cases is one number: they make one table together.
_LISTS = ("start-up", "scaling")
_RATIOS = (
    ("d2l loop", "d2l"),
    ("expert loop", "expert"),
    ("products alone", "bound"),
    ("best of Keras", "Keras"),
    ("plain", "plain"),
)


def in_words(result: Result) -> list[str]:
    """Return the lines of a result: medians, spreads, and how many times as good as what.

    Example:
        >>> result = Result({"processor": "P", "cores": 2}, {"kseq": "1"}, 2, 3, 0.3)
        >>> result.add_values("start-up", "import kseq", "torch", "kseq", "ms", [9.0, 8.0, 10.0])
        >>> in_words(result)[-1]
        'import kseq                                 9.00         (8.00 - 10.0) ms'
    """
    lines = [ran_on(result), protocol(result)]
    for name, rows in groupby(result.rows, key=_title):
        lines += ["", *_table(name, list(rows))]
    if result.skipped:
        lines += ["", f"not installed: {', '.join(result.skipped)}"]
    if result.failures:
        lines += ["", "not measured"]
    for failure in result.failures:
        lines.append(f"{failure.case}, {failure.engine}: {failure.contender}: {failure.cause}")
    return lines


def ran_on(result: Result) -> str:
    """Return machine and versions on one line."""
    about = [f"{name} {number}" for name, number in result.versions.items()]
    return f"{result.machine['processor']}, {result.threads} threads; {', '.join(about)}"


def protocol(result: Result) -> str:
    """Return how it was measured, on one line."""
    return (
        f"median (lowest - highest) of {result.rounds} rounds of at least {result.seconds:g} s; "
        "ratios above 1 are better"
    )


def _title(row: Row) -> str:
    return f"{row.subject}, {row.engine}" if row.subject in _LISTS else row.case


def _table(title: str, rows: Sequence[Row]) -> list[str]:
    held = [(key, word) for key, word in _RATIOS if any(key in row.ratios for row in rows)]
    width = _NAME + _MEDIAN + _SPREAD + _UNIT
    head = f"{title:{width}}" + "".join(f"{f'x {word}':>{_RATIO}}" for _, word in held)
    return [head.rstrip(), *(_line(row, [key for key, _ in held]) for row in rows)]


def _line(row: Row, held: Sequence[str]) -> str:
    name = row.case if row.subject in _LISTS else f"{row.engine}: {row.contender}"
    spread = f"({_short(row.min)} - {_short(row.max)})"
    found = [f"{row.ratios[key]:.2f}" if key in row.ratios else "" for key in held]
    line = (
        f"{name:{_NAME}}{_short(row.median):>{_MEDIAN}}{spread:>{_SPREAD}} {row.unit:{_UNIT - 1}}"
    )
    return (line + "".join(f"{ratio:>{_RATIO}}" for ratio in found)).rstrip()


def _short(value: float) -> str:
    """Return a number of three digits or more, as a person writes it.

    Example:
        >>> _short(21342.2), _short(12.345), _short(0.01234)
        ('21,342', '12.3', '0.0123')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")
