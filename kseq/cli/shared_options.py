"""Options that several commands have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from kseq.cli.parser import choice, size


def add_common(command: Any) -> None:
    """How a command reports."""
    group = command.add_argument_group("reports")
    group.add_argument("--json", action="store_true", help="print one JSON object")
    group.add_argument("--quiet", action="store_true", help="no progress")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_device(command: Any) -> None:
    """What a command computes on."""
    command.add_argument("--device", help="cpu, gpu, cuda:1, mps ...: what the engine sees")


def add_choice(group: Any, option: str, choices: Sequence[str], default: str | None) -> None:
    """An option that takes one of a few words."""
    name = option.removeprefix("--")
    shown = ", ".join(choices) + (f" ({default})" if default else "")
    group.add_argument(option, type=choice(name, choices), default=default, help=shown)


def add_reading(command: Any) -> None:
    """How texts are found and read."""
    command.add_argument("--encoding", default="utf-8", help="of the files (%(default)s)")
    add_data_dir(command)
    command.add_argument(
        "--cache-dir",
        default=os.environ.get("KSEQ_CACHE_DIR"),
        help="keep the ids on the disk, for texts of any size (KSEQ_CACHE_DIR; in memory)",
    )


def add_data_dir(command: Any) -> None:
    """Where named texts are looked for first."""
    command.add_argument(
        "--data-dir",
        default=os.environ.get("KSEQ_DATA_DIR"),
        help="folder of named texts (KSEQ_DATA_DIR)",
    )


def add_batch(command: Any) -> None:
    """The shape of a batch."""
    sizes = {"type": size("batch_size", 2**20), "default": 32}
    command.add_argument("--batch-size", **sizes, help="rows of a batch (%(default)s)")
    sizes = {"type": size("num_steps", 2**20), "default": 35}
    command.add_argument("--num-steps", **sizes, help="tokens of a row (%(default)s)")
