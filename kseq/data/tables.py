"""A column of a CSV file as a series, checked cell by cell.

One rule for each way a table can be odd:

    first row all numbers or dates    no header: the columns are called "1", "2" ...
    blank lines                       at the end nothing; further up an empty cell, or a ragged row
    a missing cell                    refused, unless `fill` says what to put there
    text, infinity, beyond 1e30       refused, with the row and the column
    times not in order                the rows are sorted, with a warning
    a time that stands twice          refused, with both rows
    steps of unequal length           a warning; the values are taken as evenly spaced

Rows are counted like the lines of an editor, so that the header is row 1.  The table is read a
block at a time; what is held is the series, its times and its row numbers.
"""

import csv
import os
import warnings
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np

from kseq.checks import nearest, shown, shown_path
from kseq.data.reading import STANDARD_INPUT, text_chunks
from kseq.data.table_cells import Cells, is_missing
from kseq.data.times import Clock, first_gap, first_repeat, is_date
from kseq.errors import UsageError

_LONGEST_LINE = 2**24
_ROWS_LOOKED_AT = 100  # to see which columns hold numbers
_SEPARATORS = {";": "';'", "\t": "tab", "|": "'|'", ",": ","}

Rows = Iterator[tuple[int, list[str]]]


@dataclass(frozen=True, eq=False)
class TableSeries:
    """A series and where it is from.

    Attributes:
        values: (N,) float64, in the order of time.
        times: (N,) float64, datetime64[D] or datetime64[us] (UTC where zones are given), or None.
        column: the name of the column the values are from.
        time: the name of the column the times are from, or None.
        name: the file's name without its suffix, or "stdin".
        rows: (N,) int64, the row of the table each value stands in.
    """

    values: np.ndarray
    times: np.ndarray | None
    column: str
    time: str | None
    name: str
    rows: np.ndarray


def read_series(
    source: str | os.PathLike[str],
    column: str | None = None,
    time: str | None = None,
    fill: str | None = None,
    delimiter: str = ",",
    decimal: str = ".",
    encoding: str = "utf-8",
) -> TableSeries:
    r"""Return one column of numbers of a CSV file, with the times beside it if they are named.

    Args:
        source: a path, or "-" for standard input.
        column: the column to read; by default the only one that holds numbers besides `time`.
        time: a column of numbers or of ISO 8601 dates, whose order is the order of the series.
        fill: what a missing cell becomes: "previous" repeats the value before it; "linear" lies
            on a line between its neighbours, and repeats the nearest value at the ends.
        delimiter: what stands between cells: one character, or "tab".
        decimal: "." or ",".
        encoding: how the bytes are to be read.

    Raises:
        UsageError: an option that makes no sense.
        DataError: no text (see `read_text`), no such column, ragged rows, a cell that is no finite
            number up to 1e30, a time that cannot be read or stands twice, fewer than 2 values.
        FileError: the file is missing or cannot be read.

    Warns:
        UserWarning: the times are not in order, or not evenly spaced.

    Example:
        >>> path = Path("visitors.csv")
        >>> _ = path.write_text("day,visitors\n2024-01-01,160\n2024-01-02,158\n")
        >>> table = read_series(path, time="day")
        >>> table.column, table.values, table.times[0]
        ('visitors', array([160., 158.]), np.datetime64('2024-01-01'))
    """
    label = "standard input" if source == STANDARD_INPUT else shown_path(source)
    cells = Cells(label, delimiter, decimal, fill)
    if column is not None and column == time:
        raise UsageError(
            f"time: must be another column than the values', found {shown(time)} for both; "
            "leave it out, or choose another"
        )
    names, rows = _with_header(_rows(_lines(text_chunks(source, encoding), cells), cells), cells)
    head = list(islice(rows, _ROWS_LOOKED_AT))
    times_at = None if time is None else _place(names, time, "time", cells)
    if column is None:
        column = names[_only_numbers(names, times_at, head, cells)]
    values_at = _place(names, column, "column", cells)
    values, times, lines = _read(chain(head, rows), names, values_at, times_at, cells)
    if times is not None:
        values, times, lines = _in_order(values, times, lines, cells)
    values = _filled(values, lines, column, cells)
    name = "stdin" if source == STANDARD_INPUT else Path(source).stem
    return TableSeries(values, times, column, time, name, lines)


def _lines(chunks: Iterable[str], cells: Cells) -> Iterator[str]:
    held = ""
    for chunk in chunks:
        *lines, held = (held + chunk).split("\n")
        if len(held) > _LONGEST_LINE:
            raise cells.refused(
                f"have lines of at most {_LONGEST_LINE:,} characters, found a longer one; "
                "check that it is a table"
            )
        yield from lines
    yield held


def _rows(lines: Iterator[str], cells: Cells) -> Rows:
    """Yield each row and its number, without the blank lines at the start and at the end."""
    reader = csv.reader(lines, delimiter=cells.delimiter, strict=True)
    blank: list[int] | None = None
    while True:
        row = reader.line_num + 1
        try:
            found = next(reader, None)
        except csv.Error as error:
            raise cells.refused(f"be CSV, found {error}; check its quotes", row) from error
        if found is None:
            return
        if not found or (len(found) == 1 and not found[0].strip()):
            if blank is not None:
                blank.append(row)
            continue
        yield from ((number, []) for number in blank or ())
        blank = []
        yield row, found


def _with_header(rows: Rows, cells: Cells) -> tuple[list[str], Rows]:
    """Return the names of the columns, and the rows under them, each as long as the first."""
    first, second = next(rows, None), next(rows, None)
    if first is None:
        raise cells.refused("have a header and rows, found only blank lines; check the file")
    _refuse_other_separator(first[1], second[1] if second else [], cells)
    width = len(first[1])
    if all(cells.looks_numeric(cell) or is_date(cell) for cell in first[1]):
        names = [str(number) for number in range(1, width + 1)]
        under = chain([first], [second] if second else [], rows)
    elif second is None:
        raise cells.refused("have rows under its header, found none; check the file")
    else:
        names = [cell.strip() or str(number) for number, cell in enumerate(first[1], 1)]
        under = chain([second], rows)
    return names, _even(under, width, cells)


def _refuse_other_separator(first: list[str], second: list[str], cells: Cells) -> None:
    for mark, option in _SEPARATORS.items():
        counts = [sum(cell.count(mark) for cell in row) for row in (first, second or first)]
        if counts[0] and counts[0] == counts[1] and (mark != "," or _alone(first, cells)):
            raise cells.refused(
                f"have {shown(cells.delimiter)} between its cells, found {shown(mark)} in its "
                f"first rows; use --delimiter {option}, with --decimal , for decimal commas"
            )


def _alone(first: list[str], cells: Cells) -> bool:
    """Say whether a comma in the only cell cannot be a decimal one."""
    return len(first) == 1 and cells.decimal != ","


def _even(rows: Rows, width: int, cells: Cells) -> Rows:
    for row, found in rows:
        if len(found) == width:
            yield row, found
        elif not found and width == 1:
            yield row, [""]
        else:
            raise cells.refused(
                f"have as many cells as the first row, {width}, found {len(found)}; correct it, "
                "or see --delimiter and --decimal",
                row,
            )


def _place(names: list[str], wanted: str, option: str, cells: Cells) -> int:
    if names.count(wanted) == 1:
        return names.index(wanted)
    if wanted in names:
        raise cells.refused(
            f"have one column {shown(wanted, 30)}, found {names.count(wanted)}; rename the others"
        )
    close = nearest(str(wanted), names)
    remedy = f"did you mean {shown(close, 30)}?" if close else f"name one with --{option}"
    raise cells.refused(
        f"have column {shown(wanted, 30)} for --{option}, found {_listed(names)}; {remedy}"
    )


def _only_numbers(
    names: list[str], times_at: int | None, head: Sequence[tuple[int, list[str]]], cells: Cells
) -> int:
    others = [place for place in range(len(names)) if place != times_at]
    numeric = [place for place in others if _starts_with_number(head, place, cells)]
    for places in (others, numeric):
        if len(places) == 1:
            return places[0]
    raise cells.refused(
        f"have a single column of numbers, found {len(numeric)} among "
        f"{_listed([names[place] for place in others])}; choose one with --column"
    )


def _starts_with_number(head: Sequence[tuple[int, list[str]]], place: int, cells: Cells) -> bool:
    present = (found[place] for _, found in head if not is_missing(found[place]))
    return cells.looks_numeric(next(present, "none"))


def _listed(names: list[str]) -> str:
    line = ", ".join(shown(name, 40) for name in names)
    return f"{line[:77]}..." if len(line) > 80 else line or "no column"


def _read(
    rows: Iterable[tuple[int, list[str]]],
    names: list[str],
    values_at: int,
    times_at: int | None,
    cells: Cells,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    values, lines, clock = array("d"), array("q"), Clock(cells.number)
    for row, found in rows:
        values.append(cells.value(found[values_at], row, names[values_at]))
        lines.append(row)
        if times_at is not None:
            _add_time(clock, found[times_at], row, names[times_at], cells)
    if len(values) < 2:
        raise cells.refused(f"have at least 2 values, found {len(values)}; add rows")
    return np.array(values), None if times_at is None else clock.times(), np.array(lines)


def _add_time(clock: Clock, cell: str, row: int, column: str, cells: Cells) -> None:
    try:
        clock.add(cell)
    except ValueError as error:
        raise cells.refused(
            f"be {clock.rule}, found {shown(cell, 40)}; correct it", row, column
        ) from error


def _in_order(
    values: np.ndarray, times: np.ndarray, lines: np.ndarray, cells: Cells
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = np.argsort(times, kind="stable")
    values, times, lines = values[order], times[order], lines[order]
    repeat, gap = first_repeat(times), first_gap(times)
    if repeat is not None:
        raise cells.refused(
            f"have each time once, found {times[repeat]} in rows {lines[repeat]} and "
            f"{lines[repeat + 1]}; keep one of them"
        )
    if (np.diff(order) < 0).any():
        text = f"{cells.label}: the times are not in order; its rows are sorted by them"
        warnings.warn(text, stacklevel=3)
    if gap is not None:
        row, rest = lines[gap + 1], "the values are taken as evenly spaced"
        warnings.warn(f"{cells.label}: a gap in time before row {row}; {rest}", stacklevel=3)
    return values, times, lines


def _filled(values: np.ndarray, lines: np.ndarray, column: str, cells: Cells) -> np.ndarray:
    missing = np.isnan(values)
    if not missing.any():
        return values
    known = np.flatnonzero(~missing)
    if not len(known) or (cells.fill == "previous" and missing[0]):
        start = "start with a value to repeat, found a missing cell; use --fill linear"
        nothing = "have a value to fill from, found only missing cells; choose another column"
        raise cells.refused(start if len(known) else nothing, int(lines[0]), column)
    if cells.fill == "linear":
        return np.interp(np.arange(len(values)), known, values[known])
    before = np.maximum.accumulate(np.where(missing, 0, np.arange(len(values))))
    return values[before]
