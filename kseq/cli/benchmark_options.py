"""The options of `kseq benchmark`."""

from __future__ import annotations

from typing import Any

from kseq.cli.parser import Parser, rate, size

ENGINES = ("torch", "jax", "tensorflow")
SUBJECTS = ("training", "generation", "overhead", "start-up", "scaling")
CELLS = ("lstm", "gru", "simple_rnn")


def add_benchmark(command: Parser) -> None:
    """What is measured, how long, and where the picture goes."""
    command.set_defaults(room="benchmark")
    command.add_argument(
        "--quick", action="store_true", help="what matters most, in about a minute and a half"
    )
    _add_list(command, "--engines", ENGINES)
    _add_list(command, "--subjects", SUBJECTS)
    _add_list(command, "--cells", CELLS)
    command.add_argument(
        "--rounds",
        type=size("rounds", 1000),
        help="how often everything is measured (7, quick 3)",
    )
    command.add_argument(
        "--seconds", type=rate("seconds"), help="how long a measurement lasts (0.7, quick 0.2)"
    )
    command.add_argument(
        "--threads", type=size("threads", 1000), help="cores an engine may use (all)"
    )
    command.add_argument("--figure", help="draw the result: a .png or .svg file")
    command.add_argument("--overwrite", action="store_true", help="replace an earlier picture")


def _add_list(command: Any, option: str, known: tuple[str, ...]) -> None:
    command.add_argument(option, help=f"some of {','.join(known)} (all)")
