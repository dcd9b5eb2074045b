"""Cells of a table: what is a number, what is missing, and how a fault is told.

missing     an empty cell, a dash, NaN, NA, N/A, null, none, in capitals or not
a number    what Python's `float` reads, with the table's decimal mark, but no underscores
a fault     anything else, infinity, and numbers beyond 1e30 in size
"""

import re

from kseq.checks import one_of, shown
from kseq.data.series import LARGEST_VALUE
from kseq.errors import DataError, UsageError

FILLS = ("previous", "linear")
DECIMALS = (".", ",")

_MISSING = frozenset(("", "nan", "na", "n/a", "#n/a", "null", "none"))
_DECIMAL_COMMA = re.compile(r"\s*[-+]?\d*,\d+([eE][-+]?\d+)?\s*", re.ASCII)
_TAB_NAMES = ("tab", r"\t")


class Cells:
    """How the cells of one table are written.

    Args:
        label: what a message calls the table.
        delimiter: what stands between cells: one character, or "tab".
        decimal: "." or ",".
        fill: "previous", "linear", or None where no cell may be missing.

    Raises:
        UsageError: an option that makes no sense.

    Example:
        >>> cells = Cells("weather.csv", delimiter=";", decimal=",", fill="linear")
        >>> cells.value("3,5", 2, "rain"), cells.value("NA", 3, "rain")
        (3.5, nan)
        >>> cells.value("dry", 4, "rain")
        Traceback (most recent call last):
        ...
        kseq.errors.DataError: weather.csv, row 4, column 'rain': must be a number, found 'dry'; \
correct it
    """

    def __init__(self, label: str, delimiter: str, decimal: str, fill: str | None) -> None:
        self.label = label
        self.decimal = one_of("decimal", decimal, DECIMALS)
        self.delimiter = _checked_delimiter(delimiter, decimal)
        self.fill = fill if fill is None else one_of("fill", fill, FILLS)

    def refused(self, rest: str, row: int | None = None, column: str | None = None) -> DataError:
        """Return the error that says what the table, its row or its cell must do."""
        row_name = "" if row is None else f", row {row}"
        column_name = "" if column is None else f", column {shown(column, 40)}"
        return DataError(f"{self.label}{row_name}{column_name}: must {rest}")

    def number(self, cell: str) -> float:
        """Return the number in `cell`, perhaps NaN or infinite.

        Raises:
            ValueError: there is none.
        """
        if self.decimal == ",":
            cell = cell.replace(".", "_").replace(",", ".")
        if "_" in cell:  # Python's own numbers may have them
            raise ValueError(cell)
        return float(cell)

    def looks_numeric(self, cell: str) -> bool:
        """Say whether `cell` is a number, even one with a decimal comma that nobody announced."""
        try:
            self.number(cell)
        except ValueError:
            return self._has_comma(cell)
        return True

    def value(self, cell: str, row: int, column: str) -> float:
        """Return the number in `cell`, or NaN where it is missing and will be filled.

        Raises:
            DataError: it is missing and will not be filled, or it is a fault.
        """
        try:
            number = self.number(cell)
        except ValueError:
            number = float("nan")
        if -LARGEST_VALUE <= number <= LARGEST_VALUE:
            return number
        if self.fill is not None and is_missing(cell):
            return number
        raise self.refused(self._fault(cell, number), row, column)

    def _fault(self, cell: str, number: float) -> str:
        found = f"found {shown(cell, 40)}" if cell.strip() else "found an empty cell"
        if is_missing(cell):
            return f"be a number, {found}; fill it with --fill previous or --fill linear"
        if number == number:
            return f"be finite and at most {LARGEST_VALUE:g} in size, {found}; correct it"
        hint = "read decimal commas with --decimal ," if self._has_comma(cell) else "correct it"
        return f"be a number, {found}; {hint}"

    def _has_comma(self, cell: str) -> bool:
        return self.decimal == "." and _DECIMAL_COMMA.fullmatch(cell) is not None


def is_missing(cell: str) -> bool:
    """Say whether a cell stands for a value that is not there.

    Example:
        >>> is_missing(" "), is_missing("-NaN"), is_missing("0")
        (True, True, False)
    """
    return cell.strip().lstrip("+-").casefold() in _MISSING


def _checked_delimiter(delimiter: str, decimal: str) -> str:
    if delimiter in _TAB_NAMES:
        return "\t"
    rule = None
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        rule = "one character, or 'tab'"
    elif delimiter == decimal:
        rule = "another character than the decimal mark"
    elif delimiter.isalnum() or delimiter in '"\r\n+-._':
        rule = "a character that no number or quoted cell needs"
    if rule is None:
        return delimiter
    raise UsageError(
        f"delimiter: must be {rule}, found {shown(delimiter)}; choose one such as ',' or ';'"
    )
