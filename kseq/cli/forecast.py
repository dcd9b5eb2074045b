"""`kseq forecast`: from a series to a forecaster, its forecast, and its errors beside floors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kseq.cli.engine import on_device
from kseq.cli.folder import require_free
from kseq.cli.printing import print_report, say
from kseq.cli.progress import Progress, loss_line
from kseq.cli.series import FORMAT, read_table, sources
from kseq.errors import UsageError

SINES = ("sine-rnn", "sine-lstm")
HORIZON = 16
FIGURES = (
    "series",
    "one-step",
    "multi-step",
    "k-step",
    "errors",
    "training",
    "intervals",
    "forecast",
)
_OF_A_CSV = ("column", "time", "fill", *FORMAT)
_OF_A_PLAN = ("kind", "window", "units", "num_layers", "head", "scaling", "batch_size")
_OF_PARTS = ("learning_rate", "train", "valid")


def forecast(options: argparse.Namespace) -> None:
    """Train on a series and forecast it, or forecast with a model that is there already."""
    table, model_file = sources(options.source)
    _refuse_what_does_not_apply(options, table, model_file)
    if model_file is not None:
        from kseq.cli.continuing import forecast_with

        forecast_with(model_file, table, options)
    elif options.preset in SINES:
        from kseq.cli.sines import show_sine

        show_sine(options)
    else:
        print_report(*studied(table, options), options.json)


def studied(table: str | None, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Train and judge a forecaster, write its files; return the report, and the same in words."""
    from kseq.cli.forecast_files import write_files
    from kseq.cli.forecast_report import in_words, outlook, report_of

    name = Path(table).stem if table and table != "-" else "stdin" if table else None
    run_dir = Path(options.run_dir or f"runs/forecast-{name or _preset(options)}")
    require_free(run_dir, _outputs(), options.overwrite)
    with on_device(options.device):
        from kseq.experiments.study import study

        subject, plan = _subject_and_plan(table, options)
        with Progress(plan.epochs, options.quiet, line=loss_line) as progress:
            progress.note(f"series: {subject.name}, {len(subject.values):,} points")
            found = study(subject, plan, progress.show, _beside(subject, plan))
        ahead = outlook(found.model, subject, plan.horizon, plan.level)
        report = report_of(found, ahead)
        report["files"] = write_files(found, ahead, report, run_dir)
    return report, in_words(report)


def _subject_and_plan(table: str | None, options: argparse.Namespace) -> tuple[Any, Any]:
    """Return what is forecast and how: a column of a file, or what a preset names."""
    from kseq.experiments.plan import for_kind, plan_for, preset
    from kseq.experiments.subjects import of_table, subject

    if table is not None:
        found = of_table(read_table(table, options), options.season)
        horizon = options.horizon or HORIZON
        plan = plan_for(len(found.values), horizon, options.kind or "mlp", options.season)
    else:
        series, plan = preset(_preset(options))
        found = subject(series, options.seed)
        if options.kind not in (None, plan.kind):
            plan = for_kind(series, plan, options.kind)
    return found, plan.changed(**_changes(options, plan))


def _changes(options: argparse.Namespace, plan: Any) -> dict[str, Any]:
    from kseq.experiments.plan import shown_steps

    names = ("window", "units", "num_layers", "scaling", "epochs", "batch_size", "learning_rate")
    changes = {name: getattr(options, name) for name in (*names, "train", "valid", "seed")}
    horizon = options.horizon or plan.horizon
    if options.horizon:
        changes |= {"horizon": horizon, "steps": shown_steps(horizon)}
    head = options.head or ("direct" if plan.outputs > 1 else "recursive")
    # Without a valid part no epoch can be called the best.
    keep = "last" if options.valid == 0 else None
    outputs = horizon if head == "direct" else 1
    return changes | {"outputs": outputs, "keep": keep, "level": options.level}


def _beside(subject: Any, plan: Any) -> dict[str, Any]:
    """The book's perceptron on the same sine, where another model is shown."""
    from kseq.experiments.plan import SINE_MLP

    if (
        subject.from_file
        or subject.name != "noisy-sine"
        or (plan.kind, plan.window) == ("mlp", SINE_MLP.window)
    ):
        return {}
    return {"book-mlp": SINE_MLP.changed(seed=plan.seed)}


def _preset(options: argparse.Namespace) -> str:
    return options.preset or "sine-mlp"


def _outputs() -> list[str]:
    pictures = [f"{name}{suffix}" for name in FIGURES for suffix in (".png", ".svg")]
    return ["model.keras", "forecast.csv", "report.json", *pictures]


def _refuse_what_does_not_apply(
    options: argparse.Namespace, table: str | None, model_file: str | None
) -> None:
    if options.preset and (table or model_file):
        raise UsageError(
            f"--preset: must stand without a file, for it names a series of its own, found "
            f"{options.preset} and {table or model_file}; leave one of them out"
        )
    unused = () if table else _OF_A_CSV
    if options.preset in SINES:
        unused += (*_OF_A_PLAN, *_OF_PARTS, "horizon")
    if model_file:
        unused += (*_OF_A_PLAN, *_OF_PARTS, "epochs")
    for name in unused:
        if getattr(options, name) is not None:
            option = "--" + name.replace("_", "-")
            where = options.preset or model_file or "the noisy sine"
            raise UsageError(
                f"{option}: must have something to act on, found {where}, which fixes it; leave "
                "it out"
            )
    if not options.quiet and options.season and not table:
        say("kseq: note: --season acts on a CSV alone")
