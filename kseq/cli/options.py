"""Every command and option of the command line; nothing heavy is imported to describe them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from kseq.checks import one_of
from kseq.cli.benchmark_options import add_benchmark
from kseq.cli.forecast_options import add_figures, add_forecast
from kseq.cli.parser import Parser, choice, count, held_out, number, rate, share, size
from kseq.cli.shared_options import add_choice, add_common, add_device
from kseq.errors import UsageError
from kseq.experiments.recipes import RECIPES
from kseq.version import __version__

CELLS = ("simple_rnn", "gru", "lstm")
TEACHING_CELLS = ("scratch_simple_rnn", "scratch_gru", "scratch_lstm", "peephole_lstm")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "one_cycle", "cosine", "plateau")

_COMMANDS = {
    "demo": "train a small LSTM on the bundled story and let it speak",
    "train": "train a language model on a text",
    "evaluate": "measure a model on a text, beside the floors",
    "generate": "continue a prompt",
    "forecast": "forecast the noisy sine, another series or a column of a CSV, beside the floors",
    "figures": "draw the lesson on gradients",
    "inspect": "show what is in a model file, without building the model",
    "devices": "list what the engine can compute on",
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


def _add_reading(command: Any) -> None:
    command.add_argument("--encoding", default="utf-8", help="of the files (%(default)s)")
    command.add_argument(
        "--data-dir",
        default=os.environ.get("KSEQ_DATA_DIR"),
        help="folder of named texts (KSEQ_DATA_DIR)",
    )


def _add_batch(command: Any) -> None:
    sizes = {"type": size("batch_size", 2**20), "default": 32}
    command.add_argument("--batch-size", **sizes, help="rows of a batch (%(default)s)")
    sizes = {"type": size("num_steps", 2**20), "default": 35}
    command.add_argument("--num-steps", **sizes, help="tokens of a row (%(default)s)")


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


def _train(command: Parser) -> None:
    command.set_defaults(room="train")
    command.add_argument(
        "corpus", nargs="*", help="story (if left out), time_machine, tiny_shakespeare, files, or -"
    )
    command.add_argument(
        "--recipe",
        type=choice("recipe", tuple(RECIPES)),
        help=f"a named training whose choices are the defaults: {', '.join(RECIPES)}",
    )
    _add_text(command.add_argument_group("text"))
    _add_model(command.add_argument_group("model"))
    _add_fit(command.add_argument_group("training"))
    _add_run(command.add_argument_group("run"))


def _add_text(group: Any) -> None:
    add_choice(group, "--level", ("char", "word"), "char")
    group.add_argument(
        "--cleaning",
        type=choice("cleaning", ("d2l", "none")),
        help="d2l: lower-case letters alone; none: the text as it is (what suits the text)",
    )
    group.add_argument("--separator", help="between lines; '' joins them as d2l's first edition")
    _add_reading(group)
    group.add_argument("--max-tokens", type=size("max_tokens"), help="train on the first tokens")
    group.add_argument(
        "--min-freq", type=count("min_freq"), default=0, help="rarer tokens become <unk>"
    )
    group.add_argument("--max-vocab", type=size("max_vocab"), help="most entries of the vocabulary")
    group.add_argument(
        "--valid",
        type=held_out,
        default=0.1,
        help="held out: a share of the text, or a number of tokens; 0 for nothing (%(default)s)",
    )


def _add_model(group: Any) -> None:
    add_choice(group, "--cell", CELLS + TEACHING_CELLS, "lstm")
    group.add_argument(
        "--units", type=size("units", 2**16), default=256, help="of each layer (%(default)s)"
    )
    group.add_argument(
        "--num-layers",
        type=size("num_layers", 2**10),
        default=2,
        help="recurrent layers (%(default)s)",
    )
    group.add_argument(
        "--embedding-dim",
        type=size("embedding_dim", 2**16),
        help="of a learned embedding (none: one-hot vectors)",
    )
    group.add_argument("--tie-weights", action="store_true", help="read out through the embedding")
    group.add_argument(
        "--dropout", type=share("dropout"), default=0.0, help="between layers (%(default)s)"
    )
    add_choice(group, "--init", ("keras", "torch", "d2l"), "keras")
    add_choice(group, "--dtype", ("float32", "mixed_bfloat16"), "float32")


def _add_fit(group: Any) -> None:
    add_choice(group, "--batches", ("sequential", "random"), "sequential")
    _add_batch(group)
    group.add_argument(
        "--epochs", type=size("epochs"), default=50, help="times the text is read (%(default)s)"
    )
    add_choice(group, "--optimizer", OPTIMIZERS, "adam")
    group.add_argument(
        "--learning-rate",
        type=rate("learning_rate"),
        help="its peak (1 for sgd, 0.002 for the others)",
    )
    add_choice(group, "--schedule", SCHEDULES, "constant")
    group.add_argument(
        "--global-clipnorm", type=rate("global_clipnorm"), help="bound on all gradients (1)"
    )
    group.add_argument(
        "--clipnorm", type=rate("clipnorm"), help="bound on each variable's gradient instead"
    )
    group.add_argument("--patience", type=size("patience"), help="epochs without improvement")
    group.add_argument(
        "--keep",
        type=choice("keep", ("best", "last")),
        default="best",
        help="weights of which epoch, best (by the held-out loss) or last (%(default)s)",
    )
    group.add_argument(
        "--seed", type=count("seed"), default=0, help="of weights and batches (%(default)s)"
    )


def _add_run(group: Any) -> None:
    group.add_argument("--run-dir", help="where the results go (runs/CORPUS-CELL)")
    group.add_argument("--resume", action="store_true", help="go on where the run stopped")
    group.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    group.add_argument(
        "--checkpoint-seconds",
        type=rate("checkpoint_seconds"),
        default=30.0,
        help="least time between two checkpoints (%(default)g)",
    )
    group.add_argument(
        "--checkpoint-steps",
        type=size("checkpoint_steps"),
        help="take one after so many steps, too",
    )
    group.add_argument("--prompt", action="append", help="text to continue; may be repeated")
    group.add_argument(
        "--sample-every",
        type=count("sample_every"),
        default=0,
        help="continue the prompts after so many epochs; 0 for at the end alone (%(default)s)",
    )
    add_device(group)


def _evaluate(command: Parser) -> None:
    command.set_defaults(room="evaluate")
    command.add_argument("model", help="a .keras file")
    command.add_argument(
        "corpus", nargs="*", help="a text, or - (what the model's own text held out)"
    )
    _add_reading(command)
    _add_batch(command)
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


_OPTIONS = {
    "demo": _demo,
    "train": _train,
    "evaluate": _evaluate,
    "generate": _generate,
    "forecast": add_forecast,
    "figures": add_figures,
    "inspect": _inspect,
    "devices": _devices,
    "benchmark": add_benchmark,
}
