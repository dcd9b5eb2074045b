"""What a benchmark ran on: the processor, its cores, and the versions of what was measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kseq.backend import ENGINES
from kseq.version import __version__


def machine() -> dict[str, str | int]:
    """Return the processor's model, how many cores a process may use, and the system.

    Example:
        >>> sorted(machine())
        ['cores', 'processor', 'system']
    """
    return {"processor": _processor(), "cores": usable_cores(), "system": platform.system()}


def versions() -> dict[str, str]:
    """Return the versions of Python, kseq, Keras and the engines that are installed.

    Example:
        >>> versions()["python"] == platform.python_version()
        True
    """
    found = {"python": platform.python_version(), "kseq": __version__}
    for name in ("keras", *ENGINES):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def usable_cores() -> int:
    """Return how many cores this process may use.

    Example:
        >>> usable_cores() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    lines = table.read_text("utf-8").splitlines() if table.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
