"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kseq.cli.parser import choice


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
