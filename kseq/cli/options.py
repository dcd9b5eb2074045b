"""Every command and option of the command line; nothing heavy is imported to describe them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from kseq.checks import one_of
from kseq.cli.parser import Parser, choice, count, held_out, number, rate, share, size
from kseq.errors import UsageError
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
    "inspect": "show what is in a model file, without building the model",
    "devices": "list what the engine can compute on",
}


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
    if options.command is None:
        raise UsageError(
            f"kseq: must get a command, found none; choose {', '.join(_COMMANDS)}, or see "
            "kseq --help"
        )
    return options


def _parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(
        prog="kseq",
        description="Sequence models in Keras 3: language models from text to a saved file.",
        epilog="The engine is KERAS_BACKEND (torch, jax or tensorflow), torch if unset.",
    )
    parser.add_argument("--version", action="version", version=f"kseq {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    commands = {
        name: subparsers.add_parser(name, help=text, description=text)
        for name, text in _COMMANDS.items()
    }
    for name, add_options in _OPTIONS.items():
        add_options(commands[name])
        _add_common(commands[name])
    return parser, commands


def _add_common(command: Parser) -> None:
    group = command.add_argument_group("reports")
    group.add_argument("--json", action="store_true", help="print one JSON object")
    group.add_argument("--quiet", action="store_true", help="no progress")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_device(command: Any) -> None:
    command.add_argument("--device", help="cpu, gpu, cuda:1, mps ...: what the engine sees")


def _demo(command: Parser) -> None:
    command.set_defaults(room="train")
    command.add_argument("--run-dir", default="runs/demo", help="where the results go")
    command.add_argument("--epochs", type=size("epochs"))
    command.add_argument("--seed", type=count("seed"), default=0)
    _add_device(command)


def _train(command: Parser) -> None:
    command.set_defaults(room="train")
    command.add_argument(
        "corpus", nargs="*", help="story, time_machine, tiny_shakespeare, files, or -"
    )
    _add_text(command)
    _add_model(command)
    _add_fit(command)
    _add_run(command)


def _add_text(command: Parser) -> None:
    group = command.add_argument_group("text")
    group.add_argument("--level", type=choice("level", ("char", "word")), default="char")
    group.add_argument("--cleaning", type=choice("cleaning", ("d2l", "none")))
    group.add_argument("--separator", help="between lines; '' joins them as d2l's first edition")
    group.add_argument("--encoding", default="utf-8")
    group.add_argument("--max-tokens", type=size("max_tokens"), help="train on the first tokens")
    group.add_argument("--min-freq", type=count("min_freq"), default=0)
    group.add_argument("--max-vocab", type=size("max_vocab"))
    group.add_argument(
        "--data-dir", default=os.environ.get("KSEQ_DATA_DIR"), help="folder of named texts"
    )
    group.add_argument(
        "--valid", type=held_out, default=0.1, help="share, or tokens after --max-tokens, held out"
    )


def _add_model(command: Parser) -> None:
    group = command.add_argument_group("model")
    group.add_argument("--cell", type=choice("cell", CELLS + TEACHING_CELLS), default="lstm")
    group.add_argument("--units", type=size("units", 2**16), default=256)
    group.add_argument("--num-layers", type=size("num_layers", 2**10), default=2)
    group.add_argument("--embedding-dim", type=size("embedding_dim", 2**16))
    group.add_argument("--tie-weights", action="store_true")
    group.add_argument("--dropout", type=share("dropout"), default=0.0)
    group.add_argument("--init", type=choice("init", ("keras", "torch", "d2l")), default="keras")


def _add_fit(command: Parser) -> None:
    group = command.add_argument_group("training")
    kinds = ("sequential", "random")
    group.add_argument("--batches", type=choice("batches", kinds), default="sequential")
    group.add_argument("--batch-size", type=size("batch_size", 2**20), default=32)
    group.add_argument("--num-steps", type=size("num_steps", 2**20), default=35)
    group.add_argument("--epochs", type=size("epochs"), default=50)
    group.add_argument("--optimizer", type=choice("optimizer", OPTIMIZERS), default="adam")
    group.add_argument("--learning-rate", type=rate("learning_rate"))
    group.add_argument("--schedule", type=choice("schedule", SCHEDULES), default="constant")
    group.add_argument("--global-clipnorm", type=rate("global_clipnorm"))
    group.add_argument("--clipnorm", type=rate("clipnorm"))
    group.add_argument("--patience", type=size("patience"), help="epochs without improvement")
    group.add_argument(
        "--keep",
        type=choice("keep", ("best", "last")),
        default="best",
        help="weights of which epoch; best is by the held-out loss",
    )
    group.add_argument("--seed", type=count("seed"), default=0)


def _add_run(command: Parser) -> None:
    group = command.add_argument_group("run")
    group.add_argument("--run-dir", help="where the results go; runs/CORPUS-CELL by default")
    group.add_argument("--resume", action="store_true", help="go on where the run stopped")
    group.add_argument("--overwrite", action="store_true", help="replace an earlier run")
    group.add_argument("--prompt", action="append", help="text to continue; may be repeated")
    group.add_argument("--sample-every", type=count("sample_every"), default=0)
    _add_device(group)


def _evaluate(command: Parser) -> None:
    command.set_defaults(room="evaluate")
    command.add_argument("model", help="a .keras file")
    command.add_argument(
        "corpus", nargs="*", help="a text; by default the model's own held-out part"
    )
    command.add_argument("--encoding", default="utf-8")
    command.add_argument("--data-dir", default=os.environ.get("KSEQ_DATA_DIR"))
    command.add_argument("--batch-size", type=size("batch_size", 2**20), default=32)
    command.add_argument("--num-steps", type=size("num_steps", 2**20), default=35)
    _add_device(command)


def _generate(command: Parser) -> None:
    command.set_defaults(room="speak")
    command.add_argument("model", help="a .keras file")
    command.add_argument("prompt", nargs="?", default="", help="the text to continue")
    command.add_argument("--length", type=count("length"), default=200, help="tokens to add")
    command.add_argument("--temperature", type=number("temperature"), default=0.0)
    command.add_argument("--top-k", type=size("top_k"))
    command.add_argument("--top-p", type=number("top_p"))
    command.add_argument("--seed", type=count("seed"))
    command.add_argument("--stop", action="append", help="end before this text; may be repeated")
    command.add_argument("--unknown", type=choice("unknown", ("error", "unk")), default="error")
    _add_device(command)


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
    "inspect": _inspect,
    "devices": _devices,
}
