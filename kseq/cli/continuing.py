"""`kseq forecast MODEL`: what follows a series, by a forecaster that was trained before."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from kseq.checks import shown_path
from kseq.cli.engine import on_device
from kseq.cli.folder import require_free
from kseq.cli.forecast_files import as_csv
from kseq.cli.forecast_report import Outlook, forecast_in_words, outlook
from kseq.cli.printing import print_report
from kseq.cli.series import read_table
from kseq.data.files import made_folder, write_text
from kseq.errors import NumericalError, UsageError
from kseq.saving import check_model_file


def forecast_with(model_file: str, table: str | None, options: argparse.Namespace) -> None:
    """Print what a saved forecaster says will follow a column of a CSV, or the series it knows.

    Raises:
        ModelFileError: the file holds no forecaster.
        UsageError: it was trained on a file, and none is named.
        NumericalError: it says what is no number.
    """
    import kseq

    if options.run_dir:
        require_free(Path(options.run_dir), ["forecast.csv"], options.overwrite)
    check_model_file(model_file, kind="Forecaster")
    with on_device(options.device):
        model = kseq.load_model(model_file, kind="Forecaster")
        subject = _subject(model, model_file, table, options)
        known_ahead = model.margins.horizon if model.margins else max(16, model.outputs)
        ahead = outlook(model, subject, options.horizon or known_ahead, options.level)
    _check_finite(model_file, ahead.values)
    report = {"model": model_file, "series": subject.name, "forecast": ahead.to_dict()}
    if options.run_dir:
        report["files"] = {"forecast": _written(ahead, subject, options)}
    print_report(report, "\n".join(forecast_in_words(report)), options.json)


def _check_finite(model_file: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        step = int(np.argmin(np.isfinite(values)))
        raise NumericalError(
            f"{shown_path(model_file)}: must forecast finite numbers, found {values[step]} at "
            f"step {step + 1}; ask for a shorter --horizon, or train it with a lower learning rate"
        )


def _subject(model: Any, model_file: str, table: str | None, options: argparse.Namespace) -> Any:
    from kseq.experiments.subjects import of_table, subject

    known = model.provenance.series or {}
    computed = known.get("seed") is not None
    if table is not None:
        column, time = (None, None) if computed else (known.get("column"), known.get("time"))
        return of_table(read_table(table, options, column, time))
    if computed:
        return subject(known["name"], known["seed"])
    raise UsageError(
        f"{model_file}: must get a series to forecast, found none and a model trained on "
        f"{known.get('name', 'an unknown one')}; name a CSV file after it"
    )


def _written(ahead: Outlook, subject: Any, options: argparse.Namespace) -> str:
    path = Path(options.run_dir) / "forecast.csv"
    with made_folder(path.parent):
        write_text(path, as_csv(ahead, subject.xlabel, subject.ylabel))
    return str(path)
