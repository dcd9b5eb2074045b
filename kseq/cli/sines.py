"""`kseq forecast --preset sine-rnn` and `sine-lstm`: the published experiments on a clean sine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from kseq.cli.engine import on_device
from kseq.cli.folder import require_free
from kseq.cli.pictures import write_pictures
from kseq.cli.printing import print_report
from kseq.cli.progress import Progress, loss_line

ITERATIONS_AN_EPOCH = 100
_PICTURES = {
    "sine-rnn": ("free-run", "free-run-from-5", "training"),
    "sine-lstm": ("one-step", "training"),
}


def show_sine(options: argparse.Namespace) -> None:
    """Run one of the two experiments; write its model and pictures; report."""
    print_report(*sine_studied(options), options.json)


def sine_studied(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Run one of the two experiments, write its files; return the report, and it in words."""
    name = options.preset
    run_dir = Path(options.run_dir or f"runs/forecast-{name}")
    outputs = [f"{each}{end}" for each in _PICTURES[name] for end in (".png", ".svg")]
    require_free(run_dir, ["model.keras", *outputs], options.overwrite)
    with on_device(options.device):
        run = _rnn if name == "sine-rnn" else _lstm
        model, report, words, pictures = run(options)
        run_dir.mkdir(parents=True, exist_ok=True)
        model.save(run_dir / "model.keras")
        names = write_pictures(pictures, run_dir)
    report["files"] = {
        "model": str(run_dir / "model.keras"),
        "pictures": f"{run_dir}/ {', '.join(names)} (.png, .svg)",
    }
    words += ["", *(f"{name:10}{path}" for name, path in report["files"].items())]
    return {"preset": name, "seed": options.seed} | report, "\n".join(words)


def _rnn(options: argparse.Namespace) -> tuple[Any, dict[str, Any], list[str], dict[str, Any]]:
    from kseq.experiments.sines import PUBLISHED_RNN, RNN_ITERATIONS, sine_rnn
    from kseq.figures import plot_free_run, plot_losses

    epochs = options.epochs or RNN_ITERATIONS // ITERATIONS_AN_EPOCH
    with Progress(epochs, options.quiet, line=loss_line) as progress:
        told = _EachHundred(progress, epochs)
        found = sine_rnn(options.seed, epochs * ITERATIONS_AN_EPOCH, told)
    losses = dict(enumerate(found.losses))
    marks = list(range(0, len(losses), ITERATIONS_AN_EPOCH))
    published = dict(zip(range(0, 900, 100), PUBLISHED_RNN, strict=True))
    report = {
        "parameters": found.model.count_params(),
        "iterations": len(losses),
        "losses": {str(i): losses[i] for i in marks},
        "published": {str(i): loss for i, loss in published.items()},
        "free_run_rmse": {str(given): error for given, error in found.errors().items()},
        "free_run": list(map(float, found.free_run)),
    }
    words = [f"{'iteration':>10}{'loss':>12}{'published':>12}"]
    words += [
        f"{i:10}{losses[i]:12.5f}" + (f"{published[i]:12.5f}" if i in published else "")
        for i in marks
        if i in published or i % 1000 == 0
    ]
    words += ["", f"{'values given':>14}{'root mean square error of the free run':>42}"]
    words += [f"{given:14}{error:42.3f}" for given, error in found.errors().items()]
    words.append("one value does not tell whether the sine rises or falls; its own spread is 0.7")
    records = [{"epoch": i, "loss": loss} for i, loss in losses.items()]
    times, told = np.linspace(0, 10, 60), 5
    xlabel = "time (radians)"
    pictures = {
        "free-run": plot_free_run(found.truth, found.free_run, times, xlabel=xlabel),
        "free-run-from-5": plot_free_run(found.truth, found.runs[told], times, told, xlabel=xlabel),
        "training": plot_losses(records[:: max(1, len(records) // 600)], xlabel="iteration"),
    }
    return found.model, report, words, pictures


class _EachHundred:
    """Shows one iteration in a hundred."""

    def __init__(self, progress: Progress, epochs: int) -> None:
        self.progress, self.epochs = progress, epochs

    def __call__(self, iteration: int, loss: float) -> None:
        epoch, within = divmod(iteration + 1, ITERATIONS_AN_EPOCH)
        if within == 0:
            self.progress.show({"epoch": epoch, "loss": loss})


def _lstm(options: argparse.Namespace) -> tuple[Any, dict[str, Any], list[str], dict[str, Any]]:
    from kseq.experiments.sines import LSTM_EPOCHS, sine_lstm
    from kseq.figures import plot_forecasts, plot_losses

    epochs = options.epochs or LSTM_EPOCHS
    with Progress(epochs, options.quiet, line=loss_line) as progress:
        found = sine_lstm(options.seed, epochs, progress.show)
    errors = found.mse()
    report = {
        "parameters": found.model.count_params(),
        "pairs_trained_on": found.num_train,
        "losses": found.losses,
        "mse_after": errors,
    }
    words = [f"{'mean squared error, one step':34}{'after pair 700':>16}"]
    words += [f"{name:34}{error:16.3g}" for name, error in errors.items()]
    times = 1.0 + 0.01 * np.arange(900)
    records = [{"epoch": i, "loss": loss} for i, loss in enumerate(found.losses, start=1)]
    pictures = {
        "one-step": plot_forecasts(
            found.series,
            {"1-step preds": (times[10:], found.forecast)},
            times,
            borders={"training ends": times[10 + found.num_train]},
            xlabel="time (radians)",
        ),
        "training": plot_losses(records),
    }
    return found.model, report, words, pictures
