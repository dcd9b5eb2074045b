"""The series of a command: which file, which column, which model file beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from kseq.data.model_files.archive import OTHER_FORMATS
from kseq.data.tables import TableSeries, read_series
from kseq.errors import UsageError

FORMAT = ("delimiter", "decimal", "encoding")


def sources(named: list[str]) -> tuple[str | None, str | None]:
    """Return the table and the model file among what was named, each if there is one.

    Raises:
        UsageError: more than one of either.
    """
    models = [source for source in named if _is_model(source)]
    tables = [source for source in named if source not in models]
    if len(models) > 1 or len(tables) > 1:
        raise UsageError(
            f"source: must be one CSV file and at most one .keras file, found {len(tables)} and "
            f"{len(models)}; name one series at a time"
        )
    return (tables[0] if tables else None), (models[0] if models else None)


def _is_model(source: str) -> bool:
    """Whether a source must be meant for a model, be it one that can be read or not."""
    return Path(source).suffix.lower() in (".keras", *OTHER_FORMATS)


def read_table(
    table: str, options: argparse.Namespace, column: str | None = None, time: str | None = None
) -> TableSeries:
    """Return the column the options name, or `column`, or the only one with numbers."""
    return read_series(
        table,
        column=column if options.column is None else options.column,
        time=time if options.time is None else options.time,
        fill=options.fill,
        **{name: value for name, value in _format(options) if value is not None},
    )


def _format(options: argparse.Namespace) -> list[tuple[str, str | None]]:
    """Return what the options say of how the file is written; None is `read_series`'s own way."""
    return [(name, getattr(options, name)) for name in FORMAT]
