"""The options of `kseq reproduce`."""

from __future__ import annotations

from kseq.cli.parser import Parser, count
from kseq.cli.shared_options import add_data_dir, add_device


def add_reproduce(command: Parser) -> None:
    """Which rows, and where their results go."""
    command.set_defaults(room="reproduce")
    command.add_argument("rows", nargs="*", help="published results by name (shows all of them)")
    command.add_argument("--quick", action="store_true", help="the rows that fit in ten minutes")
    command.add_argument("--all", action="store_true", help="every row, about two hours")
    command.add_argument("--resume", action="store_true", help="go on with rows that were stopped")
    command.add_argument(
        "--out", default="runs/reproduce", help="folder of the results (%(default)s)"
    )
    command.add_argument(
        "--seed", type=count("seed"), default=0, help="of weights and batches (%(default)s)"
    )
    add_data_dir(command)
    add_device(command)
