"""Times of a series: read from cells, put in order, looked over for repeats and gaps.

Numbers, or ISO 8601 dates and times of day: all with a time zone, and then told in UTC, or all
without.  `2024-01` is the first of the month.  What comes after the microsecond is left out, and
dates from the year 9000 on, which stand for "never", are refused.
"""

from array import array
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from kseq.data.series import LARGEST_VALUE

LARGEST_GAP = 1.5  # times the median step; the 31 days of a month are 1.02 of theirs

_MICROSECOND, _MICROSECONDS_A_DAY = timedelta(microseconds=1), 86_400_000_000
_EPOCH = datetime(1970, 1, 1)
# What follows has its dates too, and nothing draws those after 9999.
_LAST_YEAR = 9000


class Clock:
    """Takes the cells of one column of times, and gives them back as an array.

    Args:
        number: turns a cell into a float, or raises ValueError.

    Example:
        >>> clock = Clock(float)
        >>> clock.add("2024-01-31")
        >>> clock.add("2024-02-29 12:00")
        >>> clock.times()
        array(['2024-01-31T00:00:00.000000', '2024-02-29T12:00:00.000000'],
              dtype='datetime64[us]')
    """

    def __init__(self, number: Callable[[str], float]) -> None:
        self.rule = "a number or an ISO 8601 date such as 2024-01-31"
        self._number = number
        self._read: Callable[[str], float] | None = None
        self._kept: array = array("d")
        self._epoch = _EPOCH

    def add(self, cell: str) -> None:
        """Take one more time, written like the first.

        Raises:
            ValueError: it is none; `rule` says what it must be.
        """
        if self._read is None:
            self._read = self._begin(cell)
        self._kept.append(self._read(cell))

    def times(self) -> np.ndarray:
        """Return (N,) float64, datetime64[D] if all are midnights, or datetime64[us]."""
        times = np.array(self._kept)
        if self._kept.typecode == "d":
            return times
        days = not (times % _MICROSECONDS_A_DAY).any()
        return times.astype("datetime64[us]").astype(f"datetime64[{'D' if days else 'us'}]")

    def _begin(self, first: str) -> Callable[[str], float]:
        try:
            self._number(first)
        except ValueError:
            zoned = _moment(first).tzinfo is not None
            zone = "with" if zoned else "without"
            self.rule = f"an ISO 8601 date {zone} a time zone, as above, before year {_LAST_YEAR}"
            self._kept = array("q")
            self._epoch = _EPOCH.replace(tzinfo=UTC) if zoned else _EPOCH
            return self._date
        self.rule = f"a finite number, at most {LARGEST_VALUE:g} in size"
        return self._finite

    def _date(self, cell: str) -> int:
        moment = _moment(cell)
        if moment.year >= _LAST_YEAR:
            raise ValueError(cell)
        try:
            return (moment - self._epoch) // _MICROSECOND
        except TypeError as error:  # one of the two has a time zone and the other has none
            raise ValueError(cell) from error

    def _finite(self, cell: str) -> float:
        number = self._number(cell)
        if abs(number) <= LARGEST_VALUE:
            return number
        raise ValueError(cell)


def is_date(cell: str) -> bool:
    """Say whether a cell holds an ISO 8601 date or date and time.

    Example:
        >>> is_date("2024-01"), is_date("2024-01-31T09:00Z"), is_date("January")
        (True, True, False)
    """
    try:
        _moment(cell)
    except ValueError:
        return False
    return True


def first_repeat(times: np.ndarray) -> int | None:
    """Return the first index whose time is also that of the next; `times` (N,) is in order.

    Example:
        >>> first_repeat(np.array([1, 2, 2, 3])), first_repeat(np.array([1, 2, 3]))
        (1, None)
    """
    return _first(times[1:] == times[:-1])


def first_gap(times: np.ndarray) -> int | None:
    """Return the first index that is more than 1.5 median steps before the next.

    Example:
        >>> first_gap(np.array([1, 2, 3, 5, 6])), first_gap(np.array([0, 31, 59, 90]))
        (2, None)
    """
    steps = np.diff(times).astype(np.float64)
    return _first(steps > LARGEST_GAP * np.median(steps))


def _moment(cell: str) -> datetime:
    text = cell.strip()
    is_month = len(text) == len("2024-01") and text[4] == "-"
    return datetime.fromisoformat(text + "-01" if is_month else text)


def _first(found: np.ndarray) -> int | None:
    return int(found.argmax()) if found.any() else None


def continued(times: np.ndarray, horizon: int) -> np.ndarray:
    """Return the `horizon` times that follow, in steps of the usual length, dtype of `times`.

    Where every time is the same moment of its month, whole months follow; else the median step.

    Example:
        >>> continued(np.array(["2024-01-01", "2024-02-01", "2024-03-01"], "datetime64[D]"), 2)
        array(['2024-04-01', '2024-05-01'], dtype='datetime64[D]')
        >>> continued(np.array([0.0, 0.5, 1.0]), 2)
        array([1.5, 2. ])
    """
    ahead = np.arange(1, horizon + 1)
    if times.dtype.kind == "M":
        months = times.astype("datetime64[M]")
        unit = np.datetime_data(times.dtype)[0]
        within = times - months
        by_month = np.diff(months)
        if len(times) > 1 and (within == within[0]).all() and (by_month == by_month[0]).all():
            return (months[-1] + ahead * by_month[0]).astype(times.dtype) + within[0]
        steps = np.diff(times.astype("int64"))
        return times[-1] + ahead * int(np.median(steps)) * np.timedelta64(1, unit)
    return times[-1] + ahead * np.median(np.diff(times))
