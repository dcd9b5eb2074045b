"""From a history to a forecast: a window rolled over its own output, or a state that runs on.

A model that gives fewer steps than are asked for feeds on its own forecasts, block by block.

    window     x1 x2 x3 x4 -> y5      x2 x3 x4 y5 -> y6      x3 x4 y5 y6 -> y7
    state      x1 x2 x3 x4, 0 -> y5, s      y5, s -> y6, s'      y6, s' -> y7, s''
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kseq.errors import DataError

# Rows forecast at once, so that memory stays bounded for any number of histories.
_MOST_ROWS = 4096

Step = Callable[[Any, Any], tuple[Any, Any]]


def roll(model: Any, histories: np.ndarray, horizon: int) -> np.ndarray:
    """Return what follows each of `histories` (B, N), N at least the model's window: (B, horizon).

    A pure function of the last `window` points of each row, or of all of them where the model's
    window is None.
    """
    read = histories if model.window is None else histories[:, -model.window :]
    run = _run_on if model.every_step else _roll_window
    starts = range(0, len(read), _MOST_ROWS)
    parts = [run(model.decoder(), _column(read[i : i + _MOST_ROWS]), horizon) for i in starts]
    return np.concatenate(parts)


def forecast_at(
    forecaster: Any, series: np.ndarray, origins: Sequence[int] | np.ndarray, horizon: int
) -> np.ndarray:
    """Return the forecasts made before each of `origins`: (number of origins, horizon).

    origins: indices of the series in rising order; the forecast at origin i reads series[:i] and
        its first value is for series[i].
    forecaster: a `Forecaster`, or anything with `window` and `forecast`.

    Raises:
        DataError: an origin with too few points before it, or beyond the end of the series.

    Example:
        >>> from kseq.data.baselines import Persistence
        >>> forecast_at(Persistence(), np.arange(10.0), [4, 7], horizon=2).tolist()
        [[3.0, 3.0], [6.0, 6.0]]
    """
    origins, window = np.asarray(origins), forecaster.window
    _check_room(series, origins, window or 1)
    if window is not None:
        rows = origins[:, np.newaxis] + np.arange(-window, 0)
        return np.asarray(forecaster.forecast(series[rows], horizon))
    if getattr(forecaster, "every_step", False):
        return _from_states(forecaster.decoder(), series, origins, horizon)
    return np.stack([forecaster.forecast(series[:origin], horizon) for origin in origins])


def _check_room(series: np.ndarray, origins: np.ndarray, needed: int) -> None:
    first, last = (int(origin) for origin in (origins.min(), origins.max()))
    if first < needed or last > len(series):
        # A negative index would read from the end of the series: the future.
        raise DataError(
            f"origins: must be from {needed}, the points a forecast reads, to the series' "
            f"{len(series)}, found {first} to {last}; begin later, or take a smaller window"
        )


def _roll_window(step: Step, window: np.ndarray, horizon: int) -> np.ndarray:
    forecast = window[:, :0, 0]
    width = window.shape[1]
    while forecast.shape[1] < horizon:
        block, _ = step(window, None)
        forecast = np.concatenate([forecast, block], axis=1)
        window = np.concatenate([window, _column(block)], axis=1)[:, -width:]
    return forecast[:, :horizon]


def _run_on(step: Step, sequence: np.ndarray, horizon: int) -> np.ndarray:
    blocks, state = step(sequence, None)
    return _continue(step, blocks[:, -1], state, horizon)


def _continue(step: Step, block: np.ndarray, state: Any, horizon: int) -> np.ndarray:
    """Return the forecast that begins with `block` (B, outputs) and feeds on itself."""
    forecast = block
    while forecast.shape[1] < horizon:
        blocks, state = step(_column(block), state)
        block = blocks[:, -1]
        forecast = np.concatenate([forecast, block], axis=1)
    return forecast[:, :horizon]


def _from_states(step: Step, series: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Read the series once, from origin to origin, then run on from all of them side by side."""
    from keras import ops  # only here, so that baselines are judged without an engine

    blocks, states, state, read_to = [], [], None, 0
    for origin in origins:
        block, state = step(_column(series[np.newaxis, read_to:origin]), state)
        blocks.append(block[:, -1])
        states.append([list(map(ops.convert_to_numpy, layer)) for layer in state])
        read_to = origin
    return _continue(step, np.concatenate(blocks), _side_by_side(states), horizon)


def _side_by_side(states: list[Any]) -> list[list[np.ndarray]]:
    layers = zip(*states, strict=True)
    return [[np.concatenate(rows) for rows in zip(*layer, strict=True)] for layer in layers]


def _column(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows, "float32")[..., np.newaxis]
