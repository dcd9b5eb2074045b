"""The options of `kseq forecast` and `kseq figures`."""

from __future__ import annotations

from typing import Any

from kseq.cli.parser import Parser, choice, count, level, rate, size
from kseq.cli.shared_options import add_choice, add_device, add_reading

KINDS = ("mlp", "simple_rnn", "gru", "lstm")
PRESETS = (
    "sine-mlp",
    "sine-direct",
    "sine-rnn",
    "sine-lstm",
    "mackey-glass",
    "logistic-map",
    "calendar",
)
LESSONS = ("gradients", "clipping", "truncation", "ngrams")
# Minutes long, so drawn only by name.
LONG_LESSONS = ("seeing-ahead",)


def add_forecast(command: Parser) -> None:
    """What is forecast, by which model, and where the results go."""
    command.set_defaults(room="forecast")
    command.add_argument(
        "source",
        nargs="*",
        help="a CSV file or - (if left out, the noisy sine), and a .keras file to forecast with",
    )
    _add_series(command.add_argument_group("series"))
    _add_model(command.add_argument_group("model"))
    _add_training(command.add_argument_group("training"))
    _add_judging(command.add_argument_group("judging"))
    _add_run(command.add_argument_group("run"))


def _add_series(group: Any) -> None:
    group.add_argument("--column", help="the column to forecast (the only one with numbers)")
    group.add_argument("--time", help="the column with the times (none: rows in order)")
    group.add_argument(
        "--fill",
        type=choice("fill", ("previous", "linear")),
        help="empty cells: with the previous value, or on a line between neighbours (refuse them)",
    )
    group.add_argument("--delimiter", help="between cells (,)")
    group.add_argument("--decimal", help="the decimal mark (.)")
    group.add_argument("--encoding", help="of the file (utf-8)")
    group.add_argument("--season", type=size("season", 2**20), help="points in a season")


def _add_model(group: Any) -> None:
    add_choice(group, "--preset", PRESETS, None)
    add_choice(group, "--kind", KINDS, None)
    group.add_argument("--window", type=size("window", 2**20), help="points a forecast reads")
    group.add_argument("--units", type=size("units", 2**16), help="of each hidden layer")
    group.add_argument("--num-layers", type=size("num_layers", 2**10), help="hidden layers")
    group.add_argument(
        "--head",
        type=choice("head", ("direct", "recursive")),
        help="direct: the whole horizon at once; recursive: step by step on its own forecasts",
    )
    add_choice(group, "--scaling", ("none", "standard", "window"), None)


def _add_training(group: Any) -> None:
    group.add_argument("--epochs", type=size("epochs"), help="times the training part is read")
    group.add_argument("--batch-size", type=size("batch_size", 2**20), help="windows of a batch")
    group.add_argument("--learning-rate", type=rate("learning_rate"), help="its peak")
    group.add_argument("--train", type=size("train"), help="points to train on (60 %% of a CSV)")
    group.add_argument(
        "--valid", type=count("valid"), help="points after them to calibrate on (20 %% of a CSV)"
    )
    group.add_argument(
        "--seed", type=count("seed"), default=0, help="of series, weights, order (%(default)s)"
    )


def _add_judging(group: Any) -> None:
    group.add_argument(
        "--horizon", type=size("horizon", 2**20), help="steps ahead (16 for a CSV, 64 for a sine)"
    )
    group.add_argument(
        "--level",
        type=level("level"),
        default=0.9,
        help="share of the future an interval is to hold (%(default)s)",
    )


def _add_run(group: Any) -> None:
    group.add_argument("--run-dir", help="where the results go (runs/forecast-NAME)")
    group.add_argument("--overwrite", action="store_true", help="replace earlier results")
    add_device(group)


def add_figures(command: Parser) -> None:
    """Which pictures, and where they go."""
    command.set_defaults(room="figures")
    command.add_argument(
        "names",
        nargs="*",
        help=f"{', '.join(LESSONS)} (all of these), {', '.join(LONG_LESSONS)} (minutes)",
    )
    command.add_argument("--out", default="figures", help="the folder (%(default)s)")
    command.add_argument(
        "--seed", type=count("seed"), default=0, help="of weights and inputs (%(default)s)"
    )
    command.add_argument("--overwrite", action="store_true", help="replace earlier pictures")
    command.add_argument("--epochs", type=size("epochs"), help="of seeing-ahead (500)")
    add_device(command)
    _add_ngrams(command.add_argument_group("ngrams"))


def _add_ngrams(group: Any) -> None:
    group.add_argument("--corpus", default="story", help="the text whose runs are counted (story)")
    add_choice(group, "--level", ("char", "word"), "word")
    add_choice(group, "--cleaning", ("d2l", "none"), None)
    group.add_argument(
        "--min-freq", type=count("min_freq"), default=0, help="rarer tokens become <unk>"
    )
    add_reading(group)
