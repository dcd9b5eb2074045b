"""A study: a forecaster trained on the first part of a series and judged on the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseq.data.baselines import AutoRegression, Mean, standard_baselines
from kseq.data.intervals import LEVELS, Margins
from kseq.data.scores import coverage
from kseq.errors import DataError
from kseq.experiments.fitting import Record, compiled, fitted
from kseq.experiments.plan import Plan
from kseq.experiments.subjects import Subject
from kseq.forecasting import Backtest, KStep, backtest, errors_ahead, k_step
from kseq.nn.forecaster import Forecaster
from kseq.nn.rolling import forecast_at

_LONGEST_RIDGE = 20_000


@dataclass(eq=False)
class Study:
    """What came of a plan on a series.

    records: one dictionary an epoch: epoch (from 1), loss, val_loss, seconds, seconds_left.
    errors: root mean square error by steps ahead (horizon,) of each forecaster by its name, the
        model first, over the points nobody was trained on.
    squared: mean squared error one step ahead of each forecaster, training part and the rest.
    one_step: forecasts one step ahead of every point that has a window before it.
    ahead: the forecasts k steps ahead over the whole series.
    rolled: the forecast made at the end of training, (points that follow,).
    future: the forecast of what follows the series, (horizon,).
    backtest: rolling origins in the last part.
    coverage: share of the last part's points inside the intervals, by steps ahead (horizon,).
    """

    subject: Subject
    plan: Plan
    model: Forecaster
    records: list[Record]
    errors: dict[str, np.ndarray]
    squared: dict[str, tuple[float, float]]
    one_step: np.ndarray
    ahead: KStep
    rolled: np.ndarray
    future: np.ndarray
    backtest: Backtest
    coverage: np.ndarray | None
    seconds: float

    @property
    def name(self) -> str:
        """The model's name in the tables."""
        return self.model.name


def study(
    subject: Subject,
    plan: Plan,
    report: Callable[[Record], None] | None = None,
    beside: Mapping[str, Plan] | None = None,
) -> Study:
    """Train a forecaster as planned and judge it beside its floors.

    Args:
        subject: the series.
        plan: see `Plan`; its parts must fit into the series.
        report: called with the record of each epoch.
        beside: other plans, by the name their models get; trained too, and shown in the tables.

    Raises:
        DataError: the series is too short for the plan.
        NumericalError: the training diverged.
    """
    began = time.perf_counter()
    series = subject.values
    _require_parts(subject, plan)
    _require_calibration(plan)
    model = compiled(plan)
    records = fitted(model, series, plan, report)
    model.provenance.series = _facts(subject, plan)
    rivals = baselines(subject, plan)
    first = plan.first_judged
    judged = backtest(
        model, series, plan.horizon, start=_last_part(plan), baselines=rivals, season=subject.season
    )
    train = series[: plan.train]
    others = [_trained(series, other, name) for name, other in (beside or {}).items()]
    contenders = [model, *others, *(rival.fit(train) for rival in rivals)]
    one_step = {each.name: _one_step(each, series) for each in contenders}
    return Study(
        subject,
        plan,
        model,
        records,
        {each.name: errors_ahead(each, series, plan.horizon, first) for each in contenders},
        {name: _squared(forecast, series, plan) for name, forecast in one_step.items()},
        one_step[model.name],
        k_step(model, series, plan.steps),
        model.forecast(series[: plan.train], len(series) - plan.train),
        model.forecast(series, plan.horizon),
        judged,
        _calibrated(model, series, plan, judged),
        time.perf_counter() - began,
    )


def _facts(subject: Subject, plan: Plan) -> dict[str, Any]:
    """What the model's file says of the series."""
    return {
        "name": subject.name,
        "column": subject.ylabel,
        "time": None if subject.times is None else subject.xlabel,
        "points": len(subject.values),
        "train": plan.train,
        "valid": plan.valid,
        # Of a series that is computed; whoever forecasts with the model can compute it again.
        "seed": None if subject.from_file else plan.seed,
    }


def _trained(series: np.ndarray, plan: Plan, name: str) -> Forecaster:
    model = compiled(plan, name)
    fitted(model, series, plan, None)
    return model


def baselines(subject: Subject, plan: Plan) -> list[Any]:
    """Return what a model of this plan is shown beside, not yet fitted."""
    scaled = plan.scaling != "none"
    found: list[Any] = list(standard_baselines(subject.season))
    if scaled:
        found = [each for each in found if not isinstance(each, AutoRegression | Mean)]
        found += [Mean(4), AutoRegression(4, intercept=True)]
    lags, ridge = plan.window or plan.num_steps, _ridge(subject, plan)
    if ridge is not None and lags > 4:
        found.append(AutoRegression(lags, ridge, direct=True, intercept=scaled))
    return found


def _ridge(subject: Subject, plan: Plan) -> float | None:
    """The plan's penalty, or for a scaled series one of about its variance; None for no such row.

    Left out for long training parts: a fit for every step ahead would take longer than the model.
    """
    if plan.scaling == "none" or plan.train > _LONGEST_RIDGE:
        return plan.ridge
    return float(f"{np.var(subject.values[: plan.train], dtype='float64'):.0e}")


def _last_part(plan: Plan) -> int:
    return plan.train + plan.valid


def _require_parts(subject: Subject, plan: Plan) -> None:
    points = len(subject.values)
    # What the model or a baseline reads: the seasonal naive a season, AR(4) and the mean 4 points.
    needed = max(plan.window or 1, subject.season or 1, 4) + plan.horizon
    if plan.train < needed or points < _last_part(plan) + plan.horizon:
        raise DataError(
            f"series: must have at least {needed} points to train on and {plan.horizon} after "
            f"the first {_last_part(plan)} to judge, found {plan.train} of {points}: window or "
            "season longer than the series; lower --window, --season or --horizon"
        )


def _require_calibration(plan: Plan) -> None:
    """Refuse a valid part too short for the intervals, before it costs a training."""
    if plan.valid:
        Margins.of(np.zeros((max(0, plan.valid - plan.horizon + 1), 1)), _levels(plan))


def _levels(plan: Plan) -> list[float]:
    return sorted({*LEVELS, plan.level})


def _squared(one_step: np.ndarray, series: np.ndarray, plan: Plan) -> tuple[float, float]:
    """Return the mean squared error one step ahead in the training part and in the judged one.

    one_step: the forecasts of the last points of the series, as many as have a window before them.
    """
    origins = np.arange(len(series) - len(one_step), len(series))
    misses = one_step - series[origins].astype("float64")
    parts = origins < plan.train, origins >= plan.first_judged
    in_training, after = (float(np.mean(misses[part] ** 2)) for part in parts)
    return in_training, after


def _one_step(forecaster: Any, series: np.ndarray) -> np.ndarray:
    origins = np.arange(forecaster.window or 1, len(series))
    return forecast_at(forecaster, series, origins, 1)[:, 0]


def _calibrated(
    model: Forecaster, series: np.ndarray, plan: Plan, judged: Backtest
) -> np.ndarray | None:
    """Calibrate the intervals on the valid part; return what they cover in the last, by step."""
    if not plan.valid:
        return None
    known = series[: _last_part(plan)]
    model.calibrate(known, plan.horizon, plan.train, _levels(plan))
    assert model.margins is not None
    margin, forecast = model.margins.at(plan.level, plan.horizon), judged.forecasts[model.name]
    return np.asarray(coverage(judged.truth, forecast - margin, forecast + margin, axis=0))
