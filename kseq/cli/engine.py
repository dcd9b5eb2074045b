"""The engine and its devices: `kseq devices`, and `--device` for the other commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

from kseq import backend
from kseq.backend import compiled
from kseq.cli.printing import print_report


def devices(options: argparse.Namespace) -> None:
    """Print the devices the engine sees, the one used by default first."""
    found = backend.devices()
    report: dict[str, Any] = {"engine": backend.engine()}
    report["devices"] = [asdict(device) for device in found]
    lines = [f"engine {backend.engine()}", *map(_in_words, found)]
    if backend.engine() == "torch":
        report["recurrences"] = compiled.describe()
        lines.append(f"recurrences on the CPU: {compiled.describe()}")
    print_report(report, "\n".join(lines), options.json)


@contextmanager
def on_device(name: str | None) -> Iterator[None]:
    """Make models and tensors on the device the user named; with None, where the engine does.

    Raises:
        UsageError: the engine is unknown or not installed, or sees no such device.
    """
    backend.require_engine()
    device = None if name is None else backend.find_device(name)
    with backend.alone(), nullcontext() if device is None else backend.on_device(device):
        yield


def _in_words(device: backend.Device) -> str:
    memory = f"{device.memory / 2**20:,.0f} MiB" if device.memory else ""
    return f"{device.name:8} {device.kind:4} {memory:>12} {device.model}".rstrip()
