"""Every command and option of the command line; nothing heavy is imported to describe them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from kseq.checks import one_of
from kseq.cli.benchmark_options import add_benchmark
from kseq.cli.forecast_options import add_figures, add_forecast
from kseq.cli.parser import Parser, choice, count, number, size
from kseq.cli.reproduce_options import add_reproduce
from kseq.cli.shared_options import add_batch, add_common, add_data_dir, add_device, add_reading
from kseq.cli.train_options import add_train
from kseq.errors import UsageError
from kseq.experiments.recipes import RECIPES
from kseq.version import __version__

_COMMANDS = {
    "demo": "train a small LSTM on the bundled story and let it speak",
    "train": "train a language model on a text",
    "evaluate": "measure a model on a text, beside the floors",
    "generate": "continue a prompt",
    "forecast": "forecast the noisy sine, another series or a column of a CSV, beside the floors",
    "figures": "draw the lessons on gradients and on the counts of words",
    "inspect": "show what is in a model file, without building the model",
    "corpora": "list the texts with a name, and which of them are here",
    "devices": "list what the engine can compute on",
    "reproduce": "run published results again, and say how ours compare",
    "benchmark": "measure how fast kseq is here, beside Keras and bare PyTorch",
}

_DEFAULTS = "What holds without an option stands in parentheses."


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of one command; `room` and `command` say what will run it.

    Raises:
        UsageError: an unknown command or option, or a value that cannot be used.
    """
    parser, commands = _parser()
    if arguments and not arguments[0].startswith("-"):
        one_of("command", arguments[0], _COMMANDS)
    options, left_over = parser.parse_known_args(list(arguments))
    commands.get(options.command, parser).refuse_unknown(left_over)
    if getattr(options, "recipe", None):
        return _with_recipe(parser, commands, options, arguments)
    if options.command is None:
        raise UsageError(
            f"kseq: must get a command, found none; choose {', '.join(_COMMANDS)}, or see "
            "kseq --help"
        )
    return options


def _with_recipe(
    parser: Parser,
    commands: dict[str, Parser],
    options: argparse.Namespace,
    arguments: Sequence[str],
) -> argparse.Namespace:
    """Return the options again, the recipe's choices in place of the defaults."""
    recipe = RECIPES[options.recipe]
    commands[options.command].set_defaults(**recipe.settings)
    chosen = parser.parse_args(list(arguments))
    chosen.corpus = chosen.corpus or [recipe.corpus]
    return chosen


def _parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(
        prog="kseq",
        description="Sequence models in Keras 3: language models and forecasters.",
        epilog="The engine is KERAS_BACKEND (torch, jax or tensorflow), torch if unset.",
    )
    parser.add_argument("--version", action="version", version=f"kseq {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands = {
        name: subparsers.add_parser(name, help=text, description=text, epilog=_DEFAULTS)
        for name, text in _COMMANDS.items()
    }
    for name, add_options in _OPTIONS.items():
        add_options(commands[name])
        add_common(commands[name])
    return parser, commands


def _demo(command: Parser) -> None:
    command.set_defaults(room="train")
    command.add_argument(
        "--run-dir", default="runs/demo", help="where the results go (%(default)s)"
    )
    command.add_argument("--epochs", type=size("epochs"), help="times the story is read")
    command.add_argument(
        "--seed", type=count("seed"), default=0, help="of weights and batches (%(default)s)"
    )
    add_device(command)


def _evaluate(command: Parser) -> None:
    command.set_defaults(room="evaluate")
    command.add_argument("model", help="a .keras file")
    command.add_argument(
        "corpus", nargs="*", help="a text, or - (what the model's own text held out)"
    )
    add_reading(command)
    add_batch(command)
    add_device(command)


def _generate(command: Parser) -> None:
    command.set_defaults(room="speak")
    command.add_argument("model", help="a .keras file")
    command.add_argument(
        "prompt", nargs="?", default="", help="the text to continue; begins afresh if left out"
    )
    command.add_argument(
        "--length", type=count("length"), default=200, help="tokens to add (%(default)s)"
    )
    command.add_argument(
        "--temperature",
        type=number("temperature"),
        default=0.0,
        help="0 takes the likeliest token, 1 samples from the model (%(default)s)",
    )
    command.add_argument("--top-k", type=size("top_k"), help="of the so many likeliest tokens")
    command.add_argument(
        "--top-p", type=number("top_p"), help="of the likeliest tokens of so much probability"
    )
    command.add_argument("--seed", type=count("seed"), help="the same seed gives the same text")
    command.add_argument("--stop", action="append", help="end before this text; may be repeated")
    command.add_argument(
        "--unknown",
        type=choice("unknown", ("error", "unk")),
        default="error",
        help="of symbols the model does not know: an error, or read them as <unk> (%(default)s)",
    )
    add_device(command)


def _inspect(command: Parser) -> None:
    command.set_defaults(room="speak")
    command.add_argument("model", help="a .keras file")


def _devices(command: Parser) -> None:
    command.set_defaults(room="engine")


def _corpora(command: Parser) -> None:
    command.set_defaults(room="corpora")
    add_data_dir(command)


_OPTIONS = {
    "demo": _demo,
    "train": add_train,
    "evaluate": _evaluate,
    "generate": _generate,
    "forecast": add_forecast,
    "figures": add_figures,
    "inspect": _inspect,
    "corpora": _corpora,
    "devices": _devices,
    "reproduce": add_reproduce,
    "benchmark": add_benchmark,
}
