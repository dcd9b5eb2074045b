"""Judging forecasters on a series: k steps ahead, rolling origins, floors beside the model.

A forecaster is a `Forecaster`, a baseline, or anything else with a `name`, a `window` (how many of
the last points it reads; None for all it is given) and `forecast(history, horizon)`.  A forecast
made at an origin reads the points before it and nothing else.

    series      x0 x1 x2 x3 x4 x5 x6 x7          window 3, horizon 2
    origin 3    [x0 x1 x2] -> x3 x4
    origin 4       [x1 x2 x3] -> x4 x5

Sources: Dive into Deep Learning 8.1.4 for k steps; Hyndman and Athanasopoulos, "Forecasting:
Principles and Practice" (3rd ed., 5.10), for rolling origins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseq.checks import non_negative_int, positive_int
from kseq.data.baselines import standard_baselines
from kseq.data.scores import Scores, rmse, score, skill
from kseq.data.series import as_series
from kseq.errors import DataError, UsageError
from kseq.nn.rolling import forecast_at

TRAIN_SHARE = 0.6


class KStep(Mapping[int, np.ndarray]):
    """Forecasts k steps ahead from every origin: `k_step[k]` is (M,), one value an origin.

    table: (M, window + max(steps)): row i holds the window before origin i, then its forecasts.
    origins: (M,), the index of the series the first forecast of each row is for.
    """

    def __init__(self, table: np.ndarray, origins: np.ndarray, steps: tuple[int, ...]) -> None:
        self.table, self.origins, self.steps = table, origins, steps
        self._window = table.shape[1] - max(steps)

    def __getitem__(self, k: int) -> np.ndarray:
        if k not in self.steps:
            raise KeyError(k)
        return self.table[:, self._window + k - 1]

    def __iter__(self) -> Iterator[int]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def indices(self, k: int) -> np.ndarray:
        """Return which points of the series the forecasts k steps ahead are for, (M,)."""
        return self.origins + k - 1

    def rmse(self, series: Any, first: int = 0) -> dict[int, float]:
        """Return for each k the root mean square error over the points from index `first` on."""
        series = as_series(series)
        judged = {k: self.indices(k) >= first for k in self.steps}
        return {
            k: float(rmse(series[self.indices(k)[seen]], self[k][seen]))
            for k, seen in judged.items()
        }


def k_step(forecaster: Any, series: Any, steps: Sequence[int] = (1, 4, 16, 64)) -> KStep:
    """Return the forecasts of a series k steps ahead, for each k of `steps`, from every origin.

    With a window of 4, 1000 points and 64 steps at most, the table is 933 x 68, as in the book.

    Raises:
        UsageError: no steps, or steps that are not positive whole numbers.
        DataError: the series is too short for the window and the longest step.

    Source: Dive into Deep Learning 8.1.4.

    Example:
        >>> from kseq.data.baselines import Persistence
        >>> ahead = k_step(Persistence(), np.arange(6.0), steps=(1, 3))
        >>> ahead.table.shape, ahead[3].tolist(), ahead.rmse(np.arange(6.0))
        ((3, 4), [0.0, 1.0, 2.0], {1: 1.0, 3: 3.0})
    """
    wanted = tuple(positive_int("steps", k) for k in steps)
    if not wanted:
        raise UsageError("steps: must name at least one k, found none; pass some, such as (1, 4)")
    series, window = as_series(series), forecaster.window or 1
    origins = _origins(series, forecaster, window, max(wanted), 1)
    before = series[origins[:, np.newaxis] + np.arange(-window, 0)]
    ahead = forecast_at(forecaster, series, origins, max(wanted))
    return KStep(np.concatenate([before, ahead], axis=1), origins, wanted)


def errors_ahead(forecaster: Any, series: Any, horizon: int, first: int) -> np.ndarray:
    """Return the root mean square error 1 .. `horizon` steps ahead, over the points from `first`.

    Every point from index `first` on is judged once for each number of steps, so that the numbers
    are comparable between steps; the forecasts far ahead are made before `first`.

    Raises:
        UsageError, DataError: as for `k_step`, or `first` leaves no room for the window.

    Example:
        >>> from kseq.data.baselines import Persistence
        >>> errors_ahead(Persistence(), np.arange(9.0), horizon=3, first=4)
        array([1., 2., 3.])
    """
    series, horizon = as_series(series), positive_int("horizon", horizon)
    needed = (forecaster.window or 1) + horizon - 1
    if not needed <= first < len(series):
        raise DataError(
            f"first: must be at least {needed}, the window and the steps before it, and inside "
            f"the series, found {first} of {len(series)} points; train on more or look less far"
        )
    origins = np.arange(first - horizon + 1, len(series))
    ahead = forecast_at(forecaster, series, origins, horizon)
    # Origin o forecasts point o + k: the rows in which that is first, first + 1 ... N - 1.
    rows = [ahead[horizon - 1 - k : len(ahead) - k, k] for k in range(horizon)]
    return np.array([rmse(series[first:], row) for row in rows])


@dataclass(frozen=True, eq=False)
class Backtest:
    """What rolling origins found: the model first, the baselines after it.

    origins: (M,), the index of the first point of each forecast.
    truth: (M, horizon).
    forecasts: of each forecaster by its name, (M, horizon).
    scores: of each by its name, see `kseq.data.scores.Scores`.
    """

    model: str
    origins: np.ndarray
    truth: np.ndarray
    forecasts: dict[str, np.ndarray]
    scores: dict[str, Scores]

    @property
    def mae(self) -> float:
        """The model's mean absolute error, in the series' unit."""
        return self.scores[self.model].mae

    @property
    def rmse(self) -> float:
        """The model's root mean square error, in the series' unit."""
        return self.scores[self.model].rmse

    @property
    def mase(self) -> float | None:
        """The model's mean absolute error in units of the seasonal naive's in training."""
        return self.scores[self.model].mase

    @property
    def skill(self) -> dict[str, float]:
        """1 - rmse / rmse of each baseline: above 0 the model is better, at 1 it is perfect."""
        others = {name: found.rmse for name, found in self.scores.items() if name != self.model}
        return {name: float(skill(self.rmse, other)) for name, other in others.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain JSON values."""
        return {
            "model": self.model,
            "origins": len(self.origins),
            "first_origin": int(self.origins[0]),
            "horizon": self.truth.shape[1],
            "scores": {name: found.to_dict() for name, found in self.scores.items()},
            "skill": self.skill,
        }


def backtest(
    forecaster: Any,
    series: Any,
    horizon: int = 16,
    *,
    start: int | None = None,
    stride: int = 1,
    history: int | None = None,
    baselines: Sequence[Any] | None = None,
    season: int | None = None,
    refit: Callable[[np.ndarray], Any] | None = None,
    refit_every: int = 0,
) -> Backtest:
    """Return the errors of forecasts made at rolling origins, beside those of the baselines.

    Args:
        forecaster: see the module's first lines.
        series: (N,), in the order of time.
        horizon: steps ahead of each forecast.
        start: index of the first origin; what is before it is the training part, which the
            baselines are fitted on.  By default the first 60 % are.
        stride: points from one origin to the next.
        history: how many points before an origin may be read and fitted on (a sliding history);
            None for all of them (an expanding one).
        baselines: fitted here; by default persistence, seasonal naive, means and AR(4).
        season: points in a season, for the seasonal naive and the scaled error.
        refit: returns a new forecaster from a history (n,); goes with `refit_every`.
        refit_every: origins after which the baselines are fitted anew, and the forecaster where
            `refit` says how; 0 for never.

    Raises:
        UsageError: a size that is not a positive whole number.
        DataError: no origin fits into the series, or a baseline reads more points than there are
            before the first.

    Example:
        >>> from kseq.data.baselines import Mean
        >>> found = backtest(Mean(2), np.arange(20.0), horizon=2, baselines=[])
        >>> found.rmse, len(found.origins)
        (2.0615528128088303, 7)
    """
    series, horizon = as_series(series), positive_int("horizon", horizon)
    stride = positive_int("stride", stride)
    refit_every = non_negative_int("refit_every", refit_every)
    if refit is not None and not refit_every:
        raise UsageError(
            "refit: must go with refit_every, found 0; say after how many origins to fit anew"
        )
    start = int(TRAIN_SHARE * len(series)) if start is None else positive_int("start", start)
    origins = _origins(series, forecaster, start, horizon, stride)
    contenders = list(standard_baselines(season) if baselines is None else baselines)
    # A baseline that is judged itself stands first and not twice.
    model = forecaster.name
    contenders = [one for one in contenders if one.name != model]
    reading = _Reading(series, horizon, _checked_history([forecaster, *contenders], history))
    forecasts: dict[str, list[np.ndarray]] = {}
    for block in _blocks(origins, refit_every):
        train = reading.before(int(block[0]))
        if refit is not None:
            forecaster = refit(train)
        fitted = {model: forecaster, **{one.name: one.fit(train) for one in contenders}}
        for name, each in fitted.items():
            forecasts.setdefault(name, []).append(reading.forecasts(each, block))
    joined = {name: np.concatenate(found) for name, found in forecasts.items()}
    truth = series[origins[:, np.newaxis] + np.arange(horizon)]
    train = reading.before(int(origins[0]))
    scores = {name: score(truth, found, train, season or 1) for name, found in joined.items()}
    return Backtest(model, origins, truth, joined, scores)


@dataclass(frozen=True)
class _Reading:
    """What forecasts and fits may read: what is before an origin, or its last `history` points."""

    series: np.ndarray
    horizon: int
    history: int | None

    def before(self, origin: int) -> np.ndarray:
        return self.series[0 if self.history is None else max(0, origin - self.history) : origin]

    def forecasts(self, forecaster: Any, origins: np.ndarray) -> np.ndarray:
        if self.history is None or forecaster.window is not None:
            return forecast_at(forecaster, self.series, origins, self.horizon)
        if origins[0] >= self.history:
            rows = self.series[origins[:, np.newaxis] + np.arange(-self.history, 0)]
            return np.asarray(forecaster.forecast(rows, self.horizon))
        # The first origins have fewer points before them.
        return np.stack([forecaster.forecast(self.before(i), self.horizon) for i in origins])


def _checked_history(forecasters: Sequence[Any], history: int | None) -> int | None:
    if history is None:
        return None
    history = positive_int("history", history)
    window = max(each.window or 1 for each in forecasters)
    if history < window:
        raise UsageError(
            f"history: must hold the longest window of {window} points, found {history}; "
            "raise it, or leave it out for all that came before"
        )
    return history


def _origins(
    series: np.ndarray, forecaster: Any, start: int, horizon: int, stride: int
) -> np.ndarray:
    """Return the origins from `start` on that have a window before and a horizon after them."""
    window = forecaster.window or 1
    origins = np.arange(max(start, window), len(series) - horizon + 1, stride)
    if not len(origins):
        raise DataError(
            f"series: must have at least {max(start, window) + horizon:,} points, {window:,} read, "
            f"the first forecast at {start:,} and {horizon:,} ahead, found {len(series):,}; use a "
            "longer series, a smaller window or a nearer horizon"
        )
    return origins


def _blocks(origins: np.ndarray, refit_every: int) -> list[np.ndarray]:
    """Return the origins in runs that share one fit."""
    size = refit_every or len(origins)
    return [origins[i : i + size] for i in range(0, len(origins), size)]
