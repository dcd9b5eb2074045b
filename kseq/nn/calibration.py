"""Intervals around a forecast, as wide as the model's own errors on a held-out part say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kseq.checks import positive_int
from kseq.data.intervals import LEVELS, Margins
from kseq.data.series import as_series
from kseq.errors import DataError, UsageError
from kseq.nn.rolling import forecast_at


class GivesIntervals:
    """Mixed into a forecaster: margins measured once, kept with the model, added to forecasts."""

    window: int | None
    margins: Margins | None

    def forecast(self, history: Any, horizon: int) -> np.ndarray:
        """Return what follows a history."""
        raise NotImplementedError

    def calibrate(
        self, series: Any, horizon: int, first: int | None = None, levels: Sequence[float] = LEVELS
    ) -> None:
        """Measure on a part that was not trained on how wide intervals must be, and keep it.

        Args:
            series: (N,), in the order of time.
            horizon: steps ahead the intervals will reach at most.
            first: index of the first point to be forecast; what is before it is read alone.  By
                default the first that has a whole window before it.
            levels: the shares of the future the intervals are to hold.

        Raises:
            UsageError: a horizon, first point or level that makes no sense.
            DataError: too few points for the horizon or for the highest level, or before `first`.

        Source: split-conformal prediction (Lei et al. 2018); see `kseq.data.intervals`.
        """
        series, horizon = as_series(series), positive_int("horizon", horizon)
        first = positive_int("first", self.window or 1 if first is None else first)
        origins = np.arange(first, len(series) - horizon + 1)
        if not len(origins):
            raise DataError(
                f"calibration: must have at least {first + horizon} points, found {len(series)}; "
                "hold out more, or lower the horizon"
            )
        truth = series[origins[:, np.newaxis] + np.arange(horizon)]
        self.margins = Margins.of(truth - forecast_at(self, series, origins, horizon), levels)

    def interval(
        self, history: Any, horizon: int, level: float = 0.9
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper end of what will follow, shapes as of `forecast`.

        Raises:
            UsageError: the model was not calibrated for that level or that far ahead.
        """
        if self.margins is None:
            raise UsageError(
                "interval: the model must be calibrated, found that it is not; call calibrate "
                "with a part of the series that was not trained on"
            )
        margin = self.margins.at(level, positive_int("horizon", horizon))
        forecast = self.forecast(history, horizon)
        return forecast - margin, forecast + margin
