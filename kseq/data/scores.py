"""Errors of forecasts: MAE, RMSE, MASE, skill, pinball and coverage.

Truth and forecast are arrays of one shape whose last axis is the steps ahead: (horizon,) for one
forecast, (n, horizon) for those from n origins.  With `axis=None` a function returns one number
over everything, with `axis=0` of (n, horizon) one for each step ahead.  All of them compute in
float64; a forecast that has run to infinity has an infinite error, without a warning.  Percentage
errors are left out: they break down where the truth comes near zero.

Sources: Hyndman and Koehler, International Journal of Forecasting 22 (2006); Gneiting and Raftery,
Journal of the American Statistical Association 102 (2007); Lei et al., the same 113 (2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np

from kseq.checks import fraction, positive_int, shown
from kseq.data.series import as_series
from kseq.errors import DataError

Axis = int | tuple[int, ...] | None
Error = float | np.ndarray


@dataclass(frozen=True, eq=False)
class Scores:
    """The errors of forecasts, in all and for each step ahead.

    Attributes:
        forecasts: how many forecasts were judged.
        mae, rmse: over all steps ahead; `mae_by_step`, `rmse_by_step` (horizon,) for each.
        mase, mase_by_step: the same in units of the seasonal naive's; None without a training part.
    """

    forecasts: int
    mae: float
    rmse: float
    mase: float | None
    mae_by_step: np.ndarray
    rmse_by_step: np.ndarray
    mase_by_step: np.ndarray | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists by name; None for what is not finite, which JSON lacks."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def score(truth: Any, forecast: Any, train: Any = None, season: int = 1) -> Scores:
    """Return the errors of forecasts (..., horizon) of a truth of the same shape.

    The training part (N,) and the points in a season are for the scaled error.

    Raises:
        UsageError: `season` is not a positive whole number.
        DataError: as in `mase`.

    Example:
        >>> found = score([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [3.0, 1.0]], train=[0.0, 2.0, 4.0])
        >>> found.mae, found.mase, found.mae_by_step
        (1.0, 0.5, array([0., 2.]))
    """
    scale = None if train is None else _naive_error(train, season)
    truth, forecast = _pair(truth, forecast)
    origins = tuple(range(truth.ndim - 1))
    in_all, by_step = mae(truth, forecast), np.asarray(mae(truth, forecast, origins))
    return Scores(
        forecasts=truth.size // truth.shape[-1],
        mae=float(in_all),
        rmse=float(rmse(truth, forecast)),
        mase=None if scale is None else float(_scaled(in_all, scale)),
        mae_by_step=by_step,
        rmse_by_step=np.asarray(rmse(truth, forecast, origins)),
        mase_by_step=None if scale is None else np.asarray(_scaled(by_step, scale)),
    )


def mae(truth: Any, forecast: Any, axis: Axis = None) -> Error:
    """Return the mean absolute error, in units of the series.

    Raises:
        DataError: the shapes differ, there is nothing to judge, or the truth is not finite.

    Example:
        >>> mae([1.0, 2.0], [1.0, 4.0])
        1.0
    """
    truth, forecast = _pair(truth, forecast)
    return _mean(np.abs(truth - forecast), axis)


def rmse(truth: Any, forecast: Any, axis: Axis = None) -> Error:
    """Return the root of the mean squared error, in units of the series.

    Raises:
        DataError: as in `mae`.

    Example:
        >>> rmse([[1.0, 2.0], [1.0, 2.0]], [[1.0, 5.0], [3.0, 2.0]], axis=0).round(3)
        array([1.414, 2.121])
    """
    truth, forecast = _pair(truth, forecast)
    with np.errstate(over="ignore"):
        mean = _mean(np.square(truth - forecast), axis)
    return _unboxed(np.sqrt(mean))


def mase(truth: Any, forecast: Any, train: Any, season: int = 1, axis: Axis = None) -> Error:
    """Return the mean absolute error divided by that of the seasonal naive on the training part.

    Below 1 is better than looking `season` points back (1: persistence) was in training (N,).  NaN
    where the training part repeats itself exactly: there is no error to divide by.

    Raises:
        UsageError: `season` is not a positive whole number.
        DataError: as in `mae`, or the training part is no longer than a season.

    Source: Hyndman and Koehler (2006), and for seasons Hyndman and Athanasopoulos (2021), 5.8.

    Example:
        >>> mase([5.0, 6.0], [5.0, 5.0], train=[0.0, 2.0, 4.0])
        0.25
    """
    return _scaled(mae(truth, forecast, axis), _naive_error(train, season))


def skill(error: Any, reference: Any) -> Error:
    """Return 1 - error / reference: the share of a reference's error that a model takes away.

    Both are RMSEs, or any errors of one kind, of the same forecasts and of any shape.  1 is
    perfect, 0 no better than the reference, below 0 worse; NaN where the reference is 0.

    Source: Murphy, Monthly Weather Review 116 (1988).

    Example:
        >>> round(skill(0.2, 0.25), 3), skill([1.0, 3.0], [2.0, 2.0])
        (0.2, array([ 0.5, -0.5]))
    """
    error, reference = np.asarray(error, "float64"), np.asarray(reference, "float64")
    with np.errstate(divide="ignore", invalid="ignore"):
        return _unboxed(np.where(reference > 0, 1 - error / reference, math.nan))


def pinball(truth: Any, forecast: Any, quantile: float, axis: Axis = None) -> Error:
    """Return the mean pinball loss of a forecast of a quantile, in units of the series.

    A point above the forecast costs `quantile` times the distance, one below it 1 - `quantile`
    times; the forecast that costs least is the quantile.  At 0.5 it is half the MAE.

    Raises:
        UsageError: `quantile` is not between 0 and 1.
        DataError: as in `mae`.

    Source: Koenker and Bassett, Econometrica 46 (1978).

    Example:
        >>> pinball([3.0, 1.0], [1.0, 1.0], quantile=0.75)
        0.75
    """
    quantile = fraction("quantile", quantile)
    truth, forecast = _pair(truth, forecast)
    above = truth - forecast
    return _mean(np.maximum(quantile * above, (quantile - 1) * above), axis)


def coverage(truth: Any, lower: Any, upper: Any, axis: Axis = None) -> Error:
    """Return the share of the truth inside the intervals, ends included.

    Raises:
        DataError: as in `mae`, or an interval whose lower end is not below or at its upper end.

    Example:
        >>> coverage([1.0, 2.0, 3.0, 4.0], lower=[0.0] * 4, upper=[3.0] * 4)
        0.75
    """
    truth, lower, upper = _intervals(truth, lower, upper)
    return _mean((lower <= truth) & (truth <= upper), axis)


def interval_score(truth: Any, lower: Any, upper: Any, level: float, axis: Axis = None) -> Error:
    """Return the mean interval score (Winkler's) of intervals meant to cover a share `level`.

    It is the width, plus 2 / (1 - level) times the distance by which a point lies outside.

    Raises:
        UsageError: `level` is not between 0 and 1.
        DataError: as in `coverage`.

    Source: Winkler, JASA 67 (1972); Gneiting and Raftery (2007), equation 43.

    Example:
        >>> interval_score([1.0, 5.0], lower=[0.0, 0.0], upper=[4.0, 4.0], level=0.5)
        6.0
    """
    cost = 2 / (1 - fraction("level", level))
    truth, lower, upper = _intervals(truth, lower, upper)
    outside = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
    return _mean(upper - lower + cost * outside, axis)


def conformal_margins(residuals: Any, level: float) -> np.ndarray:
    """Return how far to go either side of a forecast to cover the truth with probability `level`.

    The margin for each step ahead is the ceil((n + 1) level)-th smallest absolute residual of n
    forecasts that the model was not fitted to.  Whatever the model and the distribution, a further
    residual lies within it with probability at least `level`, and less than `level` + 1 / (n + 1)
    without ties, provided that all n + 1 are exchangeable.  Residuals of a series that changes, or
    of forecasts that overlap, are so at best nearly: check the coverage.

    Args:
        residuals: (n, horizon), truth minus forecast.
        level: the share to cover.

    Returns:
        (horizon,), for each step ahead by itself, not for all at once.

    Raises:
        UsageError: `level` is not between 0 and 1.
        DataError: not (n, horizon) finite numbers, or n so small that no finite margin would do.

    Source: Vovk et al., Algorithmic Learning in a Random World (2005); Lei et al. (2018), 2.2.

    Example:
        >>> conformal_margins([[1.0], [-4.0], [2.0], [3.0]], level=0.6)
        array([3.])
    """
    # As it is written: in floats, 0.28 of 100 is more than 28.
    share = Fraction(repr(fraction("level", level)))
    sizes = np.abs(_numbers("residuals", residuals))
    if sizes.ndim != 2:
        raise DataError(f"residuals: must be (n, horizon), found {sizes.shape}; reshape them")
    needed = math.ceil(share / (1 - share))
    if len(sizes) < needed:
        rule = f"must be at least {needed} for a level of {level}"
        raise DataError(f"residuals: {rule}, found {len(sizes)}; hold out more or lower the level")
    rank = math.ceil((len(sizes) + 1) * share)
    return np.partition(sizes, rank - 1, axis=0)[rank - 1]


def _pair(truth: Any, forecast: Any, name: str = "forecast") -> tuple[np.ndarray, np.ndarray]:
    truth, forecast = _numbers("truth", truth), _numbers(name, forecast, finite=False)
    if truth.shape != forecast.shape:
        found = f"found {forecast.shape}; pass arrays (..., horizon) of one shape"
        raise DataError(f"{name}: must have the shape of the truth, {truth.shape}, {found}")
    return truth, forecast


def _intervals(truth: Any, lower: Any, upper: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth, lower = _pair(truth, lower, "lower")
    upper = _pair(truth, upper, "upper")[1]
    if not (lower <= upper).all():
        worst = (lower <= upper).argmin()
        found = f"found {lower.flat[worst]:g} and {upper.flat[worst]:g}; pass the lower end first"
        raise DataError(f"lower: must be at most upper, {found}")
    return truth, lower, upper


def _numbers(name: str, values: Any, finite: bool = True) -> np.ndarray:
    """Return an array (..., horizon) in float64 with something in it."""
    try:
        numbers = np.asarray(values, "float64")
    except (TypeError, ValueError):  # words, or rows of different lengths
        numbers = np.empty(0)
    if not numbers.size or not numbers.ndim:
        raise DataError(f"{name}: must be numbers (..., horizon), found {shown(values)}; pass some")
    odd = numbers[~np.isfinite(numbers)]
    if finite and odd.size:
        raise DataError(f"{name}: must be finite numbers, found {odd[0]}; fill or remove it")
    return numbers


def _mean(values: np.ndarray, axis: Axis) -> Error:
    return _unboxed(values.mean(axis=axis, dtype="float64"))


def _unboxed(values: Any) -> Error:
    return values if values.ndim else float(values)


def _naive_error(train: Any, season: int) -> float:
    """Return the mean absolute error of looking a season back over the training part."""
    train = as_series(train, "train").astype("float64")
    if len(train) <= positive_int("season", season):
        rule = f"must have more points than a season of {season}"
        raise DataError(f"train: {rule}, found {len(train)}; take a longer series")
    return float(np.abs(train[season:] - train[:-season]).mean())


def _scaled(error: Error, scale: float) -> Error:
    return error / scale if scale else error * math.nan


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(each) for each in value.tolist()]
    return None if isinstance(value, float) and not math.isfinite(value) else value
