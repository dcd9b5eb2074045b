"""`kseq benchmark`: how fast kseq is beside what else there is, on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from kseq.cli.folder import require_free
from kseq.cli.pictures import SUFFIXES, write_picture
from kseq.cli.printing import print_report
from kseq.cli.progress import Progress, clock
from kseq.data.files import made_folder
from kseq.errors import UsageError


def benchmark(options: argparse.Namespace) -> None:
    """Measure every contender in turn, and print medians, spreads and ratios.

    Raises:
        UsageError: an unknown engine, subject or cell, none of the engines installed, or a
            picture that cannot be written.
    """
    from kseq.benchmark import running

    plan = _plan(options)
    pictures = _pictures(options)
    result = running.empty_result(plan)
    told = Progress(1, options.quiet or not (sys.stderr and sys.stderr.isatty()))
    try:
        with told:
            told.note(f"about {clock(plan.expected_seconds())}")
            running.benchmark(
                plan, lambda name, left: told.note(f"{name}  {clock(left)} left"), result
            )
    except BaseException:
        # Stopped on the way: what has been measured is shown all the same.
        if result.rows:
            _show(result, pictures, options)
        raise
    _show(result, pictures, options)


def _show(result: Any, pictures: dict[str, Path], options: argparse.Namespace) -> None:
    from kseq.benchmark.table import in_words

    files = _draw(result, pictures)
    report: dict[str, Any] = {**_command(options), **result.to_dict(), "files": files}
    words = [*in_words(result), *(f"  {file}" for file in files)]
    print_report(report, "\n".join(words), options.json)


def _plan(options: argparse.Namespace) -> Any:
    from kseq.benchmark.running import Plan

    names = {name: _words(getattr(options, name)) for name in ("engines", "subjects", "cells")}
    given = {name: words for name, words in names.items() if words is not None}
    sizes = {"quick": options.quick, "rounds": options.rounds, "threads": options.threads}
    return Plan(**given, **sizes, seconds=options.seconds)


def _words(given: str | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    return tuple(dict.fromkeys(word.strip() for word in given.split(",")))


def _pictures(options: argparse.Namespace) -> dict[str, Path]:
    """Return where each picture goes, checked before any work."""
    if options.figure is None:
        return {}
    path = Path(options.figure)
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"--figure: must end in {' or '.join(SUFFIXES)}, found {options.figure!r}; write such "
            "as benchmark.png"
        )
    curves = path.with_stem(f"{path.stem}-scaling")
    names = [path.name, curves.name]
    require_free(path.parent, names, options.overwrite, option="--figure")
    return {"training": path, "scaling": curves}


def _draw(result: Any, pictures: dict[str, Path]) -> list[str]:
    from kseq.figures.benchmark import plot_benchmark, plot_scaling

    draw = {"training": plot_benchmark, "scaling": plot_scaling}
    measured = {row.subject for row in result.rows}
    files = [(name, path) for name, path in pictures.items() if name in measured]
    for name, path in files:
        with made_folder(path.parent):
            write_picture(draw[name](result.to_dict()), path)
    return [str(path) for _, path in files]


def _command(options: argparse.Namespace) -> dict[str, Any]:
    names = ("quick", "engines", "subjects", "cells")
    return {"command": {name: getattr(options, name) for name in names}}
