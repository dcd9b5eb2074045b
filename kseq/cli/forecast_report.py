"""What a forecaster has reached: figures for a script, tables for a person."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseq import backend
from kseq.cli.progress import clock
from kseq.data.times import continued
from kseq.version import __version__

_SHOWN_AHEAD = 6


@dataclass(eq=False)
class Outlook:
    """What is forecast after the end of a series; times, lower and upper are None if unknown."""

    times: np.ndarray | None
    values: np.ndarray
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the columns as lists; times as text."""
        columns = {"values": self.values, "lower": self.lower, "upper": self.upper}
        found = {name: None if c is None else list(map(float, c)) for name, c in columns.items()}
        times = None if self.times is None else [str(time) for time in self.times]
        return {"times": times, **found}


def outlook(model: Any, subject: Any, horizon: int, level: float) -> Outlook:
    """Return what a forecaster says will follow a series, with intervals if it is calibrated."""
    values = model.forecast(subject.values, horizon)
    times = None if subject.times is None else continued(subject.times, horizon)
    if model.margins is None:
        return Outlook(times, values)
    margin = model.margins.at(level, horizon)
    return Outlook(times, values, values - margin, values + margin)


def report_of(found: Any, ahead: Outlook) -> dict[str, Any]:
    """Return every figure of a study."""
    plan, subject = found.plan, found.subject
    report = {
        "kseq": __version__,
        "engine": backend.engine(),
        "series": subject.name,
        "column": subject.ylabel,
        "points": len(subject.values),
        "noise": subject.noise,
        "plan": plan.to_dict(),
        "model": found.name,
        "parameters": found.model.count_params(),
        "loss": found.records[-1]["loss"],
        "epochs": len(found.records),
        "mse": _squared(found),
        "rmse_ahead": {
            name: {str(k): float(errors[k - 1]) for k in plan.steps}
            for name, errors in found.errors.items()
        },
        "judged_from": plan.first_judged,
        "multi_step": _multi_step(found),
        "backtest": found.backtest.to_dict(),
        "forecast": ahead.to_dict(),
        "seconds": round(found.seconds, 1),
    }
    if found.coverage is not None:
        report["intervals"] = {
            "level": plan.level,
            "coverage": float(found.coverage.mean()),
            "coverage_ahead": {str(k): float(found.coverage[k - 1]) for k in plan.steps},
        }
    return report


def _squared(found: Any) -> dict[str, dict[str, float]]:
    return {
        name: {"training": training, "test": test}
        for name, (training, test) in found.squared.items()
    }


def _multi_step(found: Any) -> dict[str, float]:
    """The one forecast from the end of training on, and where it comes to rest."""
    rolled = np.asarray(found.rolled, "float64")
    truth = found.subject.values[found.plan.train :].astype("float64")
    tail = rolled[-max(1, len(rolled) // 10) :]
    return {
        "from": found.plan.train,
        "rmse": float(np.sqrt(np.mean((rolled - truth) ** 2))),
        "last": float(rolled[-1]),
        "spread_of_last_tenth": float(np.ptp(tail)),
    }


def in_words(report: dict[str, Any]) -> str:
    """Return a report as tables."""
    lines = [
        f"{report['model']}: {report['parameters']:,} parameters, loss {report['loss']:.4g} after "
        f"{report['epochs']} epochs, {clock(report['seconds'])} in all",
        "",
        *_squared_in_words(report),
        "",
        *_ahead_in_words(report),
        "",
        *_backtest_in_words(report),
        *_intervals_in_words(report),
        "",
        *forecast_in_words(report),
        "",
    ]
    lines += [f"{name:10}{path}" for name, path in report["files"].items()]
    return "\n".join(lines)


def _squared_in_words(report: dict[str, Any]) -> list[str]:
    lines = [f"{'mean squared error, one step':42}{'training':>10}{'test':>10}"]
    for name, part in report["mse"].items():
        lines.append(f"{name:42}{part['training']:10.4g}{part['test']:10.4g}")
    if report["noise"]:
        floor = report["noise"] ** 2
        lines.append(f"{'noise, the floor':42}{floor:10.4g}{floor:10.4g}")
    return [*lines, *_verdict(report)]


def _verdict(report: dict[str, Any]) -> list[str]:
    """Say plainly where the model loses."""
    test = {name: part["test"] for name, part in report["mse"].items()}
    model = test.pop(report["model"])
    better = {name: error for name, error in test.items() if error < model}
    if not better:
        return []
    name = min(better, key=lambda each: better[each])
    return [f"the model loses to {name}: {model:.4g} against {better[name]:.4g}"]


def _ahead_in_words(report: dict[str, Any]) -> list[str]:
    steps = [str(k) for k in report["plan"]["steps"]]
    head = "".join(f"{k + (' step' if k == '1' else ' steps'):>10}" for k in steps)
    lines = [f"{'root mean square error ahead':42}{head}"]
    for name, errors in report["rmse_ahead"].items():
        lines.append(f"{name:42}" + "".join(f"{errors[k]:10.4g}" for k in steps))
    if report["noise"]:
        lines.append(f"{'noise, the floor':42}" + f"{report['noise']:10.4g}" * len(steps))
    rolled = report["multi_step"]
    rest = f"{rolled['last']:.4g} +- {rolled['spread_of_last_tenth'] / 2:.2g}"
    return [
        *lines,
        f"all of it from point {rolled['from']} on, fed on itself: {rolled['rmse']:.4g}; "
        f"ends at {rest}",
    ]


def _backtest_in_words(report: dict[str, Any]) -> list[str]:
    found = report["backtest"]
    lines = [
        f"backtest: {found['origins']} origins from point {found['first_origin']} on, "
        f"{found['horizon']} steps ahead",
        f"{'':42}{'MAE':>10}{'RMSE':>10}{'MASE':>10}{'skill':>10}",
    ]
    for name, scores in found["scores"].items():
        skill = found["skill"].get(name)
        cells = [scores["mae"], scores["rmse"], scores["mase"], skill]
        lines.append(f"{name:42}" + "".join(map(_cell, cells)))
    return [*lines, "skill: the share of that baseline's error the model takes away"]


def _cell(value: float | None) -> str:
    return f"{'':>10}" if value is None or math.isnan(value) else f"{value:10.4g}"


def _intervals_in_words(report: dict[str, Any]) -> list[str]:
    if "intervals" not in report:
        return []
    found = report["intervals"]
    return [
        f"{100 * found['level']:g} % intervals held {100 * found['coverage']:.1f} % of the points "
        "of the last part"
    ]


def forecast_in_words(report: dict[str, Any]) -> list[str]:
    """Return the first lines of what is forecast after the end of the series."""
    ahead = report["forecast"]
    count = len(ahead["values"])
    times = ahead["times"] or [f"+{step}" for step in range(1, count + 1)]
    lines = ["what follows"]
    for i in range(min(count, _SHOWN_AHEAD)):
        line = f"  {times[i]:<20}{ahead['values'][i]:12.5g}"
        if ahead["lower"]:
            line += f"   {ahead['lower'][i]:.5g} .. {ahead['upper'][i]:.5g}"
        lines.append(line)
    return [*lines, *([f"  ... {count - _SHOWN_AHEAD} more"] if count > _SHOWN_AHEAD else [])]
