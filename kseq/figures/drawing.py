"""What every figure shares: the book's size, labelled axes, and no display.

Nothing here opens a window, and matplotlib's `rcParams` are neither changed nor relied upon for
size, colours or places.  An SVG file therefore carries matplotlib's random identifiers and the
date; for the same bytes each time, set `rcParams["svg.hashsalt"]` and save with
`metadata={"Date": None}`.

Source: colours that colour-blind readers can tell apart, Okabe and Ito (2008), "Color Universal
Design"; their yellow is too pale for a line on white, and grey stands in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from kseq.errors import DataError

SIZE = (6, 3)  # inches
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
AMBER, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#777777"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, AMBER, SKY, BLACK, GREY)
STYLES = ("-", "--", "-.", ":")

_LEGEND_ROOM = 380  # points: six inches less the y axis with its labels
_LETTER, _HANDLE = 0.56, 4.2  # widths of a letter, and of a line's sample with the gaps, in ems


def new_axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return an empty figure of 6 by 3 inches and its axes, named and with a faint grid.

    Example:
        >>> figure, axes = new_axes("time", "x")
        >>> axes.get_xlabel(), figure.get_size_inches().tolist()
        ('time', [6.0, 3.0])
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_prop_cycle(color=COLORS)
    axes.grid(alpha=0.3, which="both")
    return figure, axes


def as_column(values: Any, name: str) -> np.ndarray:
    """Return `values` as an array (N,) of numbers to draw; NaN and infinity leave a gap.

    Raises:
        DataError: they are no numbers, not in one dimension, or none.

    Example:
        >>> as_column([1, 2.5], "series")
        array([1. , 2.5])
    """
    column = np.asarray(values)
    if column.ndim != 1 or column.dtype.kind not in "iuf" or not column.size:
        raise DataError(
            f"{name}: must be numbers in one dimension, at least one, found {column.dtype} of "
            f"shape {column.shape}; pass an array (N,)"
        )
    return column


def as_times(times: Any, count: int, name: str = "times") -> np.ndarray:
    """Return the time of each of `count` points, 1 .. `count` where `times` is None; (count,).

    Raises:
        DataError: times that are neither finite numbers nor datetime64, or not one for each point.

    Example:
        >>> as_times(None, 3)
        array([1, 2, 3])
        >>> as_times(np.array(["2024-02-28", "2024-02-29"], "datetime64[D]"), 2)
        array(['2024-02-28', '2024-02-29'], dtype='datetime64[D]')
    """
    moments = np.arange(1, count + 1) if times is None else np.asarray(times)
    if moments.dtype.kind not in "iufM" or not np.isfinite(moments).all():
        raise DataError(
            f"{name}: must be finite numbers or datetime64, found {moments.dtype} of shape "
            f"{moments.shape}; convert them with NumPy and fill what is missing"
        )
    if moments.shape != (count,):
        raise DataError(
            f"{name}: must be one for each point, shape ({count},), found shape {moments.shape}; "
            "pass times and values of one length"
        )
    return moments


def as_points(points: tuple[Any, Any], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (times, values), checked as `as_times` and `as_column` do.

    Raises:
        DataError: as `as_times` and `as_column`; the message begins with `name`.

    Example:
        >>> as_points(([5, 6], [0.5, 0.25]), "1-step")
        (array([5, 6]), array([0.5 , 0.25]))
    """
    times, values = points
    column = as_column(values, name)
    return as_times(times, len(column), f"{name}, times"), column


def show_times(axes: Axes, *columns: np.ndarray) -> None:
    """Let the x axis begin and end with the data, and label dates so that they fit.

    Raises:
        DataError: some of `columns` are dates and some are numbers.

    Example:
        >>> figure, axes = new_axes("time", "x")
        >>> show_times(axes, np.array([1, 2]), np.array(["2024-02-28"], "datetime64[D]"))
        Traceback (most recent call last):
        ...
        kseq.errors.DataError: times: must be all numbers or all dates, found both; convert them
    """
    dated = {column.dtype.kind == "M" for column in columns}
    if len(dated) > 1:
        raise DataError("times: must be all numbers or all dates, found both; convert them")
    axes.margins(x=0)
    if True in dated:
        # More than eight labels as wide as "12:30" run into each other on six inches.
        locator = AutoDateLocator(minticks=3, maxticks=8)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def draw_borders(axes: Axes, borders: Mapping[str, Any] | None) -> list[np.ndarray]:
    """Draw a grey vertical line at each time of `borders`, named in the legend; give the times.

    Example:
        >>> figure, axes = new_axes("time", "x")
        >>> draw_borders(axes, {"training ends": 600})
        [array([600])]
    """
    drawn = []
    for (label, time), style in zip(
        (borders or {}).items(), cycle(("--", ":", "-.")), strict=False
    ):
        drawn.append(as_times([time], 1, f"borders, {label}"))
        axes.axvline(drawn[-1][0], color=GREY, linestyle=style, linewidth=1.5, label=label)
    return drawn


def name_log_ticks(axis: Axis) -> None:
    """Write the ticks of a logarithmic axis as plain numbers, where few as many as can be read.

    Example:
        >>> figure, axes = new_axes("epoch", "loss")
        >>> axes.set_yscale("log")
        >>> name_log_ticks(axes.yaxis)
        >>> axes.yaxis.get_major_formatter()(0.01, 0)
        '0.01'
    """
    axis.set_major_formatter("{x:g}")
    # All minor ticks are labelled within four tenths of a decade, some of them up to two decades.
    axis.set_minor_formatter(_PlainLogFormatter(minor_thresholds=(2, 0.4)))


def legend_above(axes: Axes, **options: Any) -> None:
    """Name the lines above the axes, where they cover no data, in as few rows as fit.

    Other `options` go to matplotlib's legend.

    Example:
        >>> figure, axes = new_axes("time", "x")
        >>> axes.set_xlim(0, 1), axes.plot([1, 2], label="data")[0].get_label()
        ((0.0, 1.0), 'data')
        >>> legend_above(axes)
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['data']
    """
    labels = axes.get_legend_handles_labels()[1]
    if labels:
        columns = _legend_columns([len(label) for label in labels])
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
        look = {"fontsize": "small", "frameon": False, "columnspacing": 1.2}
        axes.legend(ncols=columns, **place, **look, **options)


def legend_beside(axes: Axes) -> None:
    """Name the lines right of the axes in the order in which they end there, the highest first.

    For many lines, which a reader finds by where they end.

    Example:
        >>> figure, axes = new_axes("time", "x")
        >>> lines = axes.plot([1, 2], label="up") + axes.plot([1, 5], label="further up")
        >>> legend_beside(axes)
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['further up', 'up']
    """
    lines = sorted(axes.lines, key=_end, reverse=True)
    place = {"loc": "upper left", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    axes.legend(handles=lines, fontsize="small", frameon=False, handlelength=2.6, **place)


def marker_of(values: Sized) -> str | None:
    """Return the marker of a curve: a dot where a single point would make no line.

    Example:
        >>> marker_of([0.5]), marker_of([0.5, 0.25])
        ('o', None)
    """
    return "o" if len(values) < 2 else None


def _end(line: Line2D) -> float:
    return float(np.nan_to_num(np.asarray(line.get_ydata())[-1]))


def _legend_columns(lengths: list[int]) -> int:
    """Return how many columns fit side by side; matplotlib fills them one after the other."""
    ems = _LEGEND_ROOM / FontProperties(size="small").get_size_in_points()
    for rows in range(1, len(lengths)):
        columns = -(-len(lengths) // rows)
        widest = [part.max() for part in np.array_split(lengths, columns)]
        if sum(_LETTER * letters + _HANDLE for letters in widest) <= ems:
            return columns
    return 1


class _PlainLogFormatter(LogFormatter):
    """Labels the ticks that `LogFormatter` would, without the powers of ten it writes below 1."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""
