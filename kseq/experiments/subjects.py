"""The series of the experiments, each with its times, its season and its noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kseq.checks import one_of
from kseq.data.processes import calendar_series, logistic_map, mackey_glass, noisy_sine
from kseq.data.tables import TableSeries


@dataclass(frozen=True, eq=False)
class Subject:
    """A series to be forecast.

    values: (N,).
    times: (N,), numbers or dates, for the axes; None counts 1 .. N.
    season: points in a season, for the seasonal naive; None where there is none.
    noise: the root mean square error no forecast can beat one step ahead, or None if unknown.
    from_file: whether it is a user's own, and not one that can be computed again.
    """

    name: str
    values: np.ndarray
    times: np.ndarray | None = None
    ylabel: str = "x"
    xlabel: str = "time"
    season: int | None = None
    noise: float | None = None
    from_file: bool = False


def subject(name: str, seed: int = 0) -> Subject:
    """Return a series the project computes itself, by its name.

    Raises:
        UsageError: an unknown name, or a seed that is not a whole number from 0 on.

    Example:
        >>> subject("noisy-sine").values.shape
        (1000,)
    """
    return _SUBJECTS[one_of("series", name, SUBJECTS)](seed)


def of_table(table: TableSeries, season: int | None = None) -> Subject:
    """Return a column of a CSV as the subject of a study."""
    return Subject(
        table.name,
        table.values,
        table.times,
        table.column,
        table.time or "row",
        season=season,
        from_file=True,
    )


def _noisy_sine(seed: int) -> Subject:
    return Subject("noisy-sine", noisy_sine(1000, seed), noise=0.2)


def _mackey_glass(seed: int) -> Subject:
    values = mackey_glass(2000, seed)
    return Subject("mackey-glass", values, xlabel="time (units of the equation)", noise=0.0)


def _logistic_map(seed: int) -> Subject:
    return Subject("logistic-map", logistic_map(2000, seed), xlabel="iteration", noise=0.0)


def _calendar(seed: int) -> Subject:
    values, dates = calendar_series(4 * 365, seed)
    return Subject("calendar", values, dates, "visitors a day", "date", season=7, noise=10.0)


_SUBJECTS: dict[str, Callable[[int], Subject]] = {
    "noisy-sine": _noisy_sine,
    "mackey-glass": _mackey_glass,
    "logistic-map": _logistic_map,
    "calendar": _calendar,
}
SUBJECTS = tuple(_SUBJECTS)
