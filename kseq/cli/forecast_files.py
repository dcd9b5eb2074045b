"""The files of `kseq forecast`: model, forecast, report and pictures, each whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from kseq.cli.forecast_report import Outlook
from kseq.cli.pictures import picture_files, write_pictures
from kseq.cli.printing import finite
from kseq.data.files import made_folder, write_text

# Only a calibrated model has these.
_OF_INTERVALS = ("intervals", "forecast")


def write_files(
    found: Any, ahead: Outlook, report: dict[str, Any], run_dir: Path
) -> dict[str, str]:
    """Write everything a study has found; return where it is."""
    with made_folder(run_dir):
        return _written(found, ahead, report, run_dir)


def _written(found: Any, ahead: Outlook, report: dict[str, Any], run_dir: Path) -> dict[str, str]:
    subject = found.subject
    found.model.save(run_dir / "model.keras")
    write_text(run_dir / "forecast.csv", as_csv(ahead, subject.xlabel, subject.ylabel))
    pictures = write_pictures(pictures_of(found, ahead), run_dir)
    _remove_pictures(run_dir, [name for name in _OF_INTERVALS if name not in pictures])
    files = {"model": "model.keras", "forecast": "forecast.csv", "report": "report.json"}
    paths = {name: str(run_dir / file) for name, file in files.items()}
    paths["pictures"] = f"{run_dir}/ {', '.join(pictures)} (.png, .svg)"
    write_text(run_dir / "report.json", json.dumps(finite({**report, "files": paths}), indent=1))
    return paths


def as_csv(ahead: Outlook, xlabel: str, ylabel: str) -> str:
    """Return a forecast as a table: time (or steps ahead), value, and the interval if there is."""
    times = np.arange(1, len(ahead.values) + 1) if ahead.times is None else ahead.times
    header = ["step" if ahead.times is None else xlabel, ylabel]
    columns = [times, ahead.values]
    if ahead.lower is not None and ahead.upper is not None:
        header += ["lower", "upper"]
        columns += [ahead.lower, ahead.upper]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([str(time), *map(float, rest)] for time, *rest in zip(*columns, strict=True))
    return text.getvalue()


def _remove_pictures(folder: Path, names: list[str]) -> None:
    """Take away what an earlier run drew and this one does not: it would be of another model."""
    for path in (path for name in names for path in picture_files(folder, name)):
        path.unlink(missing_ok=True)


def pictures_of(found: Any, ahead: Outlook) -> dict[str, Any]:
    """Return the figures of a study by name."""
    from kseq import figures

    subject, plan = found.subject, found.plan
    series, times = subject.values, _times(subject)
    labels = {"xlabel": subject.xlabel, "ylabel": _escaped(subject.ylabel)}
    one = (times[-len(found.one_step) :], found.one_step)
    rolled = (times[plan.train :], found.rolled)
    by_k = {k: (times[found.ahead.indices(k)], found.ahead[k]) for k in plan.steps}
    pictures = {
        "series": figures.plot_series(series, times, borders=_borders(subject, plan), **labels),
        "one-step": figures.plot_forecasts(series, {"1-step preds": one}, times, **labels),
        "multi-step": figures.plot_forecasts(
            series, {"1-step preds": one, "multi-step preds": rolled}, times, **labels
        ),
        "k-step": figures.plot_k_step(by_k, **labels),
        "errors": figures.plot_errors(
            found.errors,
            subject.noise or None,
            f"RMSE ({labels['ylabel']})",
            bold=(found.name,),
        ),
        "training": figures.plot_losses(found.records, ylabel="loss"),
    }
    if ahead.lower is not None:
        pictures |= {
            "intervals": _last_known(found, labels),
            "forecast": _next(found, ahead, labels),
        }
    return pictures


def _last_known(found: Any, labels: dict[str, str]) -> Any:
    """The forecast of the last stretch that is known, with what came."""
    from kseq.figures import plot_intervals

    series, horizon, level = found.subject.values, found.plan.horizon, found.plan.level
    history, truth = series[:-horizon], series[-horizon:]
    forecast = found.model.forecast(history, horizon)
    lower, upper = found.model.interval(history, horizon, level)
    times = _times(found.subject)
    return plot_intervals(history, forecast, lower, upper, truth, level, times, **labels)


def _next(found: Any, ahead: Outlook, labels: dict[str, str]) -> Any:
    from kseq.figures import plot_intervals

    times = None
    if ahead.times is not None:
        times = np.concatenate([found.subject.times, ahead.times])
    return plot_intervals(
        found.subject.values,
        ahead.values,
        ahead.lower,
        ahead.upper,
        level=found.plan.level,
        times=times,
        **labels,
    )


def _times(subject: Any) -> np.ndarray:
    return np.arange(1, len(subject.values) + 1) if subject.times is None else subject.times


def _borders(subject: Any, plan: Any) -> dict[str, Any]:
    times = _times(subject)
    borders = {"training ends": times[plan.train - 1]}
    if plan.valid:
        borders["calibration ends"] = times[plan.train + plan.valid - 1]
    return borders


def _escaped(name: str) -> str:
    # Between two dollar signs matplotlib reads mathematics.
    return name.replace("$", r"\$")
