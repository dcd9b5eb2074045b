"""A series, and what was foretold of it one, several or k steps ahead.

Times are numbers or NumPy datetime64, and 1 .. N where they are not given, as in the book.
Legends stand beside the axes, so that they cover no data.  What is drawn is what is passed: no
smoothing, no thinning, no scaling.

Source: Dive into Deep Learning 8.1, its four figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kseq.errors import UsageError
from kseq.figures.drawing import (
    BLACK,
    BLUE,
    COLORS,
    GREEN,
    ORANGE,
    PURPLE,
    STYLES,
    as_column,
    as_points,
    as_times,
    draw_borders,
    legend_above,
    marker_of,
    new_axes,
    show_times,
)

_FORECAST_COLORS = (ORANGE, GREEN, BLACK, PURPLE)  # beside the blue of the data


def plot_series(
    series: Any,
    times: Any = None,
    xlabel: str = "time",
    ylabel: str = "x",
    borders: Mapping[str, Any] | None = None,
) -> Figure:
    """Return a picture of a series (N,) as a line.

    Args:
        series: (N,) numbers; NaN leaves a gap.
        times: (N,) numbers or datetime64; 1 .. N by default.
        xlabel: what the times are, with their unit.
        ylabel: what the values are, with their unit.
        borders: times of vertical lines by label, such as {"training ends": 600}.

    Raises:
        DataError: no numbers in one dimension, or times that do not go with them.

    Example:
        >>> figure = plot_series([0.1, 0.3, 0.2], borders={"training ends": 2})
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['data', 'training ends']
    """
    return plot_forecasts(series, {}, times, xlabel, ylabel, borders)


def plot_forecasts(
    series: Any,
    forecasts: Mapping[str, tuple[Any, Any]],
    times: Any = None,
    xlabel: str = "time",
    ylabel: str = "x",
    borders: Mapping[str, Any] | None = None,
) -> Figure:
    """Return a picture of forecasts over the data.

    Args:
        series: (N,) numbers.
        forecasts: (times, values) by label, such as {"1-step": (times, values)}.
        times: (N,) times of the series; 1 .. N by default.
        xlabel: what the times are, with their unit.
        ylabel: what the values are, with their unit.
        borders: times of vertical lines by label.

    Raises:
        DataError: as `plot_series`, for the series or a forecast; the message names it.

    Example:
        >>> figure = plot_forecasts([0.1, 0.3, 0.2], {"1-step": ([3, 4], [0.25, 0.3])})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['data', '1-step']
    """
    column = as_column(series, "series")
    moments = as_times(times, len(column))
    figure, axes = new_axes(xlabel, ylabel)
    axes.plot(moments, column, color=BLUE, linewidth=1, label="data", marker=marker_of(column))
    drawn = _draw_curves(axes, forecasts, _FORECAST_COLORS, STYLES[1:])
    show_times(axes, moments, *drawn, *draw_borders(axes, borders))
    if forecasts or borders:
        legend_above(axes)
    return figure


def plot_k_step(
    forecasts: Mapping[int, tuple[Any, Any]], xlabel: str = "time", ylabel: str = "x"
) -> Figure:
    """Return a picture of the forecasts k steps ahead, a curve for each k.

    Args:
        forecasts: (times, values) by k, such as those for 1, 4, 16 and 64 steps.
        xlabel: what the times are, with their unit.
        ylabel: what the values are, with their unit.

    Raises:
        UsageError: there is no forecast.
        DataError: as `plot_forecasts`.

    Example:
        >>> figure = plot_k_step({1: ([5, 6], [0.1, 0.2]), 4: ([8, 9], [0.3, 0.2])})
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['1-step preds', '4-step preds']
    """
    if not forecasts:
        raise UsageError("forecasts: must be at least one, found none; pass (times, values) by k")
    figure, axes = new_axes(xlabel, ylabel)
    named = {f"{k}-step preds": points for k, points in forecasts.items()}
    show_times(axes, *_draw_curves(axes, named, COLORS, STYLES))
    legend_above(axes)
    return figure


def _draw_curves(
    axes: Axes,
    curves: Mapping[str, tuple[Any, Any]],
    colors: Sequence[str],
    styles: Sequence[str],
) -> list[np.ndarray]:
    """Draw each curve in a look of its own; give the times of each."""
    drawn = []
    for (label, points), color, style in zip(
        curves.items(), cycle(colors), cycle(styles), strict=False
    ):
        times, values = as_points(points, label)
        marker = marker_of(values)
        axes.plot(times, values, label=label, color=color, linestyle=style, marker=marker)
        drawn.append(times)
    return drawn
