"""`kseq reproduce`: published results, run again here, beside what was published."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from kseq.checks import one_of
from kseq.cli.folder import require_writable
from kseq.cli.printing import finite, print_report, say
from kseq.cli.progress import clock
from kseq.cli.reproduced import as_table, in_words, plain, read_results
from kseq.data.files import made_folder, write_text
from kseq.data.sources import find_sources
from kseq.errors import UsageError
from kseq.experiments.published import ROWS
from kseq.runs.earlier import can_resume
from kseq.version import __version__

RESULTS, TABLE = "results.json", "results.md"


def reproduce(options: argparse.Namespace) -> None:
    """Run the rows that are asked for and judge each; without any, show what there is.

    Results go to results.json and results.md after every row, beside those of earlier runs.

    Raises:
        UsageError: an unknown row.
        DataError: the results there are not ours to add to.
        FileError: the folder cannot be written to, or a text cannot be had.
    """
    out, names = Path(options.out), chosen(options)
    results = read_results(out / RESULTS, ROWS)
    if not names:
        print_report(plain(ROWS, results), in_words(ROWS, results), options.json)
        return
    commands = {name: _parsed(name, options, out) for name in names}
    require_writable(out, "--out")
    _require_texts(commands)
    with made_folder(out):
        for number, name in enumerate(names):
            if options.resume and _is_done(results.get(name), options.seed):
                continue
            _say(options, number, names)
            results[name] = _result(name, commands[name], options.seed)
            write_text(out / RESULTS, json.dumps(finite(results), indent=1) + "\n")
            write_text(out / TABLE, as_table(ROWS, results))
    run = {name: ROWS[name] for name in names}
    print_report(plain(run, results), in_words(run, results, whole=True), options.json)


def chosen(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the names of the rows to run, in the order given.

    Raises:
        UsageError: an unknown row, or more than one way to say which.
    """
    if sum(map(bool, (options.rows, options.quick, options.all))) > 1:
        raise UsageError(
            "rows: must be named, or chosen by --quick or by --all, found more than one of these; "
            "leave the others out"
        )
    if options.quick:
        return tuple(name for name, row in ROWS.items() if row.quick)
    if options.all:
        return tuple(ROWS)
    return tuple(one_of("row", name, ROWS) for name in dict.fromkeys(options.rows))


def _parsed(name: str, options: argparse.Namespace, out: Path) -> argparse.Namespace:
    """Return the options of a row's command; its files go to a folder of its own."""
    from kseq.cli.options import parse

    words = ROWS[name].command.split()
    folder = "--out" if words[0] == "figures" else "--run-dir"
    parsed = parse([*words, f"{folder}={out / name}", f"--seed={options.seed}"])
    parsed.resume = options.resume and words[0] == "train"
    parsed.overwrite = not parsed.resume
    parsed.json, parsed.quiet, parsed.device = options.json, options.quiet, options.device
    if hasattr(parsed, "data_dir"):
        parsed.data_dir = options.data_dir
    return parsed


def _require_texts(commands: dict[str, argparse.Namespace]) -> None:
    """Find, or fetch, every text before the first row starts."""
    for parsed in commands.values():
        if parsed.command == "train":
            find_sources(parsed.corpus, parsed.data_dir)
        elif parsed.command == "figures":
            find_sources("time_machine", parsed.data_dir)


def _is_done(result: dict[str, Any] | None, seed: int) -> bool:
    from kseq import backend

    known = result or {}
    here = {"kseq": __version__, "seed": seed, "engine": backend.engine()}
    return all(known.get("versions", {}).get(n, known.get(n)) == v for n, v in here.items())


def _say(options: argparse.Namespace, number: int, names: tuple[str, ...]) -> None:
    if options.quiet:
        return
    row, left = ROWS[names[number]], sum(ROWS[name].seconds for name in names[number:])
    say(
        f"{names[number]}: {row.what} ({row.source}), about {clock(row.seconds)}; "
        f"row {number + 1} of {len(names)}, {clock(left)} left\n"
        f"kseq {row.command} --seed {options.seed}"
    )


def _result(name: str, parsed: argparse.Namespace, seed: int) -> dict[str, Any]:
    from kseq import backend
    from kseq.benchmark.machine import machine, versions

    began = time.perf_counter()
    goes_on = bool(getattr(parsed, "resume", False) and can_resume(Path(parsed.run_dir)))
    report = _run(parsed)
    value = ROWS[name].value_in(report)
    return {
        "value": value,
        "verdict": ROWS[name].judge(value),
        "seconds": round(time.perf_counter() - began, 1),
        # The time is then that since it was stopped.
        "resumed": goes_on,
        "seed": seed,
        "engine": backend.engine(),
        "machine": machine(),
        "versions": versions(),
        "report": report,
    }


def _run(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the report of a command, as it prints it with --json."""
    if parsed.command == "train":
        from kseq.cli.train import trained

        return trained(parsed)[0]
    if parsed.command == "figures":
        from kseq.cli.figures import drawn

        return drawn(parsed)[0]
    from kseq.cli.forecast import SINES, studied
    from kseq.cli.sines import sine_studied

    return sine_studied(parsed)[0] if parsed.preset in SINES else studied(None, parsed)[0]
