"""How good forecasts are: errors by steps ahead, the free run, the interval.

Times are numbers or NumPy datetime64, and 1 .. N where they are not given.  Legends stand beside
the axes, so that they cover no data.

Source: Dive into Deep Learning 8.1 for errors that grow with the steps ahead.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kseq.checks import fraction, non_negative_int, one_of
from kseq.errors import DataError, UsageError
from kseq.figures.drawing import (
    BLACK,
    BLUE,
    COLORS,
    GREY,
    ORANGE,
    SKY,
    STYLES,
    as_column,
    as_times,
    legend_above,
    legend_beside,
    marker_of,
    new_axes,
    show_times,
)

_LEAST_HISTORY, _HORIZONS_OF_HISTORY = 32, 2
_FEW = 200  # points that can be told apart at the larger size


def plot_errors(
    errors: Mapping[str, Any],
    noise: float | None = None,
    ylabel: str = "root mean square error",
    bold: Collection[str] = (),
) -> Figure:
    """Return a picture of the errors by steps ahead, a line for each model.

    The legend beside the axes lists the models as their lines end, the largest error first.

    Args:
        errors: by model, (horizon,) errors 1 .. horizon steps ahead.
        noise: the error no model can go below, drawn as a dashed line "noise floor".
        ylabel: what the error is, with its unit where there is one.
        bold: names of `errors` to be drawn thicker, such as those of neural models.

    Raises:
        UsageError: there are no errors, or a name in `bold` is not among them.
        DataError: errors that are no numbers in one dimension.

    Example:
        >>> figure = plot_errors({"persistence": [0.3, 0.4], "mlp": [0.2, 0.5]}, noise=0.2)
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['mlp', 'persistence', 'noise floor']
    """
    if not errors:
        raise UsageError("errors: must be at least one, found none; pass errors (horizon,) by name")
    thick = {one_of("bold", name, errors) for name in bold}
    columns = {name: as_column(values, f"errors, {name}") for name, values in errors.items()}
    figure, axes = new_axes("steps ahead", ylabel)
    for name, column, color, style in zip(
        columns, columns.values(), cycle(COLORS), cycle(STYLES), strict=False
    ):
        width = {"linewidth": 2.5, "zorder": 2.5} if name in thick else {"linewidth": 1.2}
        steps = np.arange(1, len(column) + 1)
        _curve(axes, steps, column, name, color=color, linestyle=style, **width)
    if noise is not None:
        axes.axhline(noise, color=GREY, linestyle=(0, (8, 4)), linewidth=1, label="noise floor")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(x=0)
    legend_beside(axes)
    return figure


def plot_free_run(
    truth: Any,
    forecast: Any,
    times: Any = None,
    start: int = 1,
    xlabel: str = "time",
    ylabel: str = "x",
) -> Figure:
    """Return a picture of a model that runs on its own output, point by point beside the truth.

    Args:
        truth: (N,) numbers.
        forecast: (N - start,) numbers, for the points after the first `start`.
        times: (N,) times of the truth; 1 .. N by default.
        start: how many points of the truth the model was given; they are marked.
        xlabel: what the times are, with their unit.
        ylabel: what the values are, with their unit.

    Raises:
        UsageError: `start` is no whole number in 0 .. N - 1.
        DataError: as `plot_series`, or a forecast of another length.

    Example:
        >>> figure = plot_free_run([0.0, 0.8, 0.9], [0.7, 1.0])
        >>> {line.get_label(): line.get_xdata().tolist() for line in figure.axes[0].lines}
        {'truth': [1, 2, 3], 'given': [1], 'free run': [2, 3]}
    """
    actual, free = as_column(truth, "truth"), as_column(forecast, "forecast")
    given = non_negative_int("start", start, len(actual) - 1)
    moments = as_times(times, len(actual))
    if len(free) != len(actual) - given:
        raise DataError(
            f"forecast: must be {len(actual) - given} numbers, for the {len(actual)} of truth less "
            f"the {given} given, found {len(free)}; pass the free run alone, or another start"
        )
    figure, axes = new_axes(xlabel, ylabel)
    axes.plot(moments, actual, "o", color=BLUE, label="truth")
    axes.plot(moments[:given], actual[:given], "s", color=BLACK, label="given")
    axes.plot(moments[given:], free, "x", color=ORANGE, label="free run")
    size = 4 if len(actual) <= _FEW else 1.5
    for line in axes.lines:
        line.set_markersize(size)
    show_times(axes, moments)
    axes.margins(x=0.02)
    legend_above(axes, markerscale=4 / size)
    return figure


def plot_intervals(
    history: Any,
    forecast: Any,
    lower: Any,
    upper: Any,
    truth: Any = None,
    level: float = 0.9,
    times: Any = None,
    xlabel: str = "time",
    ylabel: str = "x",
) -> Figure:
    """Return a picture of a forecast with its interval, after the end of the history.

    Of the history its last 2 * horizon points are drawn, and at least 32 where there are as many.

    Args:
        history: (N,) numbers.
        forecast: (horizon,) numbers, for the steps after the history.
        lower: (horizon,) lower ends of the interval.
        upper: (horizon,) upper ends of the interval.
        truth: (horizon,) what came true, where it is known.
        level: share of the truth the interval is made for, between 0 and 1.
        times: (N + horizon,) times of the history and the forecast; 1 .. N + horizon by default.
        xlabel: what the times are, with their unit.
        ylabel: what the values are, with their unit.

    Raises:
        UsageError: `level` is not between 0 and 1.
        DataError: as `plot_series`, or lengths that differ.

    Example:
        >>> figure = plot_intervals([0.1, 0.3], [0.2], [0.0], [0.4])
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['history', '90 % interval', 'forecast']
    """
    past, ahead = as_column(history, "history"), as_column(forecast, "forecast")
    horizon, percent = len(ahead), f"{100 * fraction('level', level):g} % interval"
    moments = as_times(times, len(past) + horizon)
    low, high = _ahead(lower, horizon, "lower"), _ahead(upper, horizon, "upper")
    known = None if truth is None else _ahead(truth, horizon, "truth")
    first = max(0, len(past) - max(_HORIZONS_OF_HISTORY * horizon, _LEAST_HISTORY))
    before, future = moments[first : len(past)], moments[len(past) :]
    figure, axes = new_axes(xlabel, ylabel)
    _curve(axes, before, past[first:], "history", color=BLUE, linewidth=1)
    edge = 1 if horizon > 1 else 5  # the band of a single step is all edge
    axes.fill_between(future, low, high, color=SKY, alpha=0.4, linewidth=edge, label=percent)
    if known is not None:
        _curve(axes, future, known, "truth", color=BLACK, linewidth=0.8)
    _curve(axes, future, ahead, "forecast", color=ORANGE, linestyle="--")
    show_times(axes, moments)
    axes.margins(x=0.02)
    legend_above(axes)
    return figure


def _curve(axes: Axes, times: np.ndarray, values: np.ndarray, label: str, **look: Any) -> None:
    axes.plot(times, values, label=label, marker=marker_of(values), **look)


def _ahead(values: Any, horizon: int, name: str) -> np.ndarray:
    """Return `values` as an array (horizon,)."""
    column = as_column(values, name)
    if len(column) != horizon:
        raise DataError(
            f"{name}: must be {horizon} numbers, one for each step of the forecast, found "
            f"{len(column)}; pass arrays of one length"
        )
    return column
