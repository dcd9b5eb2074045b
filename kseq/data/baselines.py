"""What a forecaster must beat: persistence, seasonal naive, means, linear autoregression.

Each baseline is a small frozen value with the face of a neural forecaster: `name`, `window`, `fit`
and `forecast`.  All of them compute in float64.  Moving averages of errors, differencing and
exponential smoothing (the rest of ARIMA and ETS) are left out.

Source: Hyndman and Athanasopoulos, Forecasting: Principles and Practice (3rd edition), 5.2 and 9.3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from kseq.checks import positive_float, positive_int
from kseq.data.series import as_series, windows
from kseq.errors import DataError, UsageError

Weights = tuple[np.ndarray, float]  # (lags,) and a constant


class Baseline(ABC):
    """The face every baseline shares with a neural forecaster.

    Attributes:
        name: a few words for a table, such as "persistence" or "AR(4)".
        window: how many of the last points a forecast reads; None: all it is given.
    """

    name: Any
    window: Any

    def fit(self, train: Any) -> Self:  # noqa: ARG002 - some have nothing to fit
        """Return a baseline fitted to the training part (N,); this one stays as it is.

        Raises:
            DataError: the training part is too short, or not made of finite numbers.
        """
        return self

    def forecast(self, history: Any, horizon: int) -> np.ndarray:
        """Return what follows a history (N,) as (horizon,), or several (B, N) as (B, horizon).

        Raises:
            UsageError: `horizon` is not a positive whole number, or there is no fit to use.
            DataError: the history is shorter than the window, or not made of finite numbers; for a
                direct autoregression also a horizon that the training part is too short for.
        """
        horizon = positive_int("horizon", horizon)
        return self._follow(_last(history, self.window, self.name), horizon)

    @abstractmethod
    def _follow(self, last: np.ndarray, horizon: int) -> np.ndarray:
        """Return what follows the last points (..., window) as (..., horizon)."""


@dataclass(frozen=True)
class Persistence(Baseline):
    """The last point, again and again.

    Example:
        >>> Persistence().forecast([1.0, 2.0, 5.0], horizon=3)
        array([5., 5., 5.])
    """

    name = "persistence"
    window = 1

    def _follow(self, last: np.ndarray, horizon: int) -> np.ndarray:
        return np.repeat(last, horizon, axis=-1)


@dataclass(frozen=True)
class SeasonalNaive(Baseline):
    """What was there one season before, round and round: 7 points for the days of the week.

    Raises:
        UsageError: `season` is not a positive whole number.

    Example:
        >>> SeasonalNaive(3).forecast([9.0, 1.0, 2.0, 3.0], horizon=5)
        array([1., 2., 3., 1., 2.])
    """

    season: int

    def __post_init__(self) -> None:
        positive_int("season", self.season)

    @property
    def name(self) -> str:
        """Such as "seasonal naive (7)"."""
        return f"seasonal naive ({self.season})"

    @property
    def window(self) -> int:
        """One season."""
        return self.season

    def _follow(self, last: np.ndarray, horizon: int) -> np.ndarray:
        return last[..., np.arange(horizon) % self.season]


@dataclass(frozen=True)
class Mean(Baseline):
    """The mean of the last points, or of the whole training part.

    Args:
        window: how many of the last points; None: the mean of what `fit` was given, whatever the
            history.
        value: that mean, once fitted.

    Raises:
        UsageError: `window` is not a positive whole number.

    Example:
        >>> Mean(2).forecast([9.0, 1.0, 2.0], horizon=2)
        array([1.5, 1.5])
        >>> Mean().fit([1.0, 2.0, 6.0]).forecast([0.0], horizon=2)
        array([3., 3.])
    """

    window: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        if self.window is not None:
            positive_int("window", self.window)

    @property
    def name(self) -> str:
        """Such as "mean" or "mean of last 4"."""
        return "mean" if self.window is None else f"mean of last {self.window}"

    def fit(self, train: Any) -> Mean:
        """Return a baseline that knows the mean of the training part (N,), if it needs it.

        Raises:
            DataError: the training part is empty, or not made of finite numbers.
        """
        mean = None if self.window else float(as_series(train, "train").mean(dtype="float64"))
        return replace(self, value=mean)

    def _follow(self, last: np.ndarray, horizon: int) -> np.ndarray:
        if self.window is not None:
            return np.repeat(last.mean(axis=-1, keepdims=True), horizon, axis=-1)
        if self.value is None:
            raise _unfitted(self.name)
        return np.full((*last.shape[:-1], horizon), self.value)


@dataclass(frozen=True)
class AutoRegression(Baseline):
    """A weighted sum of the last points, by least squares over the pairs of the training part.

    The weights w minimise |y - X w|² + ridge |w|²; where many are equally good, the smallest.  A
    direct autoregression has weights of its own for each step ahead, computed when a forecast
    first needs them and kept; any other feeds its one-step weights on their own forecasts, which
    can grow without bound, to infinity in the end, where the fit is unstable.

    Args:
        lags: points in a window.
        ridge: penalty on the squares of the weights, in squared units of the series; 0 for none.
        direct: fit each step ahead by itself.
        intercept: add a constant, which the penalty leaves alone.
        train: the training part, once fitted.

    Raises:
        UsageError: `lags` is not a positive whole number, or `ridge` negative or not finite.

    Source: Hoerl and Kennard, Technometrics 12 (1970), for the ridge; Marcellino, Stock and Watson,
    J. Econometrics 135 (2006), for direct against iterated.

    Example:
        >>> AutoRegression(1).fit([1.0, 2.0, 4.0, 8.0]).forecast([3.0], horizon=3).round(6)
        array([ 6., 12., 24.])
    """

    lags: int
    ridge: float = 0.0
    direct: bool = False
    intercept: bool = False
    train: np.ndarray | None = field(default=None, repr=False, compare=False)
    _fits: dict[int, Weights] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        positive_int("lags", self.lags)
        if self.ridge != 0:
            positive_float("ridge", self.ridge)

    @property
    def name(self) -> str:
        """Such as "AR(4)", "AR(4) with intercept" or "direct AR(64), ridge 10"."""
        kind = f"{'direct ' if self.direct else ''}AR({self.lags})"
        constant = " with intercept" if self.intercept else ""
        return kind + constant + (f", ridge {self.ridge:g}" if self.ridge else "")

    @property
    def window(self) -> int:
        """The lags."""
        return self.lags

    def fit(self, train: Any) -> AutoRegression:
        """Return an autoregression fitted to the training part (N,), of which it keeps a copy.

        Raises:
            DataError: there are no more points than lags, or they are not finite numbers.
        """
        fitted = replace(self, train=np.array(as_series(train, "train"), "float64"))
        fitted.weights()  # refuse now
        return fitted

    def weights(self, step: int = 1) -> Weights:
        """Return the weights (lags,), oldest point first, and the constant for `step` steps ahead.

        Raises:
            UsageError: there is no fit to use, or `step` is not a positive whole number.
            DataError: the training part is too short to look that far ahead.
        """
        train = self._training_part(positive_int("step", step))
        if step not in self._fits:
            x, _ = windows(train[: len(train) - step + 1], self.lags)
            y = train[self.lags + step - 1 :]
            self._fits[step] = _least_squares(x, y, self.ridge, self.intercept)
        return self._fits[step]

    def _follow(self, last: np.ndarray, horizon: int) -> np.ndarray:
        if not self.direct:
            return self._fed_back(last, horizon)
        self._training_part(horizon)  # refuse before any work
        weights, constants = zip(*map(self.weights, range(1, horizon + 1)), strict=True)
        return last @ np.stack(weights, axis=-1) + constants

    def _fed_back(self, last: np.ndarray, horizon: int) -> np.ndarray:
        weights, constant = self.weights()
        points = np.empty((*last.shape[:-1], self.lags + horizon))
        points[..., : self.lags] = last
        with np.errstate(over="ignore", invalid="ignore"):
            for i in range(horizon):
                points[..., i + self.lags] = points[..., i : i + self.lags] @ weights + constant
        return points[..., self.lags :]

    def _training_part(self, step: int) -> np.ndarray:
        """Return the training part (N,), if it has a pair `step` steps apart."""
        if self.train is None:
            raise _unfitted(self.name)
        if len(self.train) < self.lags + step:
            rule = f"must have {self.lags + step} points or more to look {step} ahead"
            found = f"found {len(self.train)}; take fewer lags or a longer series"
            raise DataError(f"{self.name}: the training part {rule}, {found}")
        return self.train


def standard_baselines(season: int | None = None) -> list[Baseline]:
    """Return the baselines a report shows, not yet fitted.

    Raises:
        UsageError: `season` is not a positive whole number.

    Example:
        >>> [baseline.name for baseline in standard_baselines(season=7)]
        ['persistence', 'seasonal naive (7)', 'mean', 'mean of last 4', 'AR(4)']
    """
    seasonal = [] if season is None else [SeasonalNaive(season)]
    # A season of one point is persistence under another name.
    seasonal = [naive for naive in seasonal if naive.season > 1]
    return [Persistence(), *seasonal, Mean(), Mean(4), AutoRegression(4)]


def _least_squares(x: np.ndarray, y: np.ndarray, ridge: float, intercept: bool) -> Weights:
    """Return what fits x (M, lags) to y (M,)."""
    x_mean = x.mean(axis=0) if intercept else np.zeros(x.shape[1])
    y_mean = float(y.mean()) if intercept else 0.0
    x, y = x - x_mean, y - y_mean
    if ridge:
        x, y = x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    weights.setflags(write=False)
    return weights, y_mean - float(x_mean @ weights)


def _last(history: Any, window: int | None, name: str) -> np.ndarray:
    """Return the last points (window,) or (B, window) of a history, in float64."""
    shape: tuple[int, ...] = ()
    with suppress(ValueError):  # rows of different lengths, which `as_series` refuses
        shape = np.shape(history)
    points = as_series(np.ravel(history) if len(shape) == 2 else history, "history").reshape(shape)
    length = points.shape[-1]
    if window and length < window:
        found = f"found {length}; give a longer one"
        raise DataError(f"{name}: the history must have {window} points or more, {found}")
    return points[..., length - window if window else 0 :].astype("float64")


def _unfitted(name: str) -> UsageError:
    return UsageError(f"{name}: must be fitted first, found no fit; call fit(train) and use that")
