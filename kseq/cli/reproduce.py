"""`kseq reproduce`: published results, run again here, beside what was published."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from kseq.checks import one_of, shown, shown_path
from kseq.cli.folder import require_writable
from kseq.cli.printing import finite, print_report
from kseq.cli.progress import clock
from kseq.data.files import made_folder, write_text
from kseq.data.sources import find_sources
from kseq.errors import DataError, UsageError
from kseq.experiments.published import ROWS
from kseq.experiments.rows import Row
from kseq.runs.checkpoints import checkpoint_files
from kseq.version import __version__

RESULTS, TABLE = "results.json", "results.md"
Results = dict[str, dict[str, Any]]


def reproduce(options: argparse.Namespace) -> None:
    """Run the rows that are asked for and judge each; without any, show what there is.

    Results go to results.json and results.md after every row, beside those of earlier runs.

    Raises:
        UsageError: an unknown row.
        DataError: the results there are not ours to add to.
        FileError: the folder cannot be written to, or a text cannot be had.
    """
    out, names = Path(options.out), chosen(options)
    results = read_results(out / RESULTS)
    if not names:
        print_report(_report(tuple(ROWS), results), _in_words(tuple(ROWS), results), options.json)
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
            write_text(out / TABLE, as_table(results))
    print_report(_report(names, results), _in_words(names, results), options.json)


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


def read_results(path: Path) -> Results:
    """Return the results of earlier runs, none where there is no file.

    Raises:
        DataError: the file holds something else.
    """
    try:
        results = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return {name: _checked(name, result) for name, result in results.items() if name in ROWS}
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise DataError(
            f"{shown_path(path)}: must hold what kseq reproduce wrote, found {shown(str(error))}; "
            "move it away, or choose another --out"
        ) from error


def _checked(name: str, result: dict[str, Any]) -> dict[str, Any]:
    """Return a result, judged by the bands of today; what was not finite is null in the file."""
    value = float("nan") if result["value"] is None else float(result["value"])
    seconds = float(result["seconds"])
    if not math.isfinite(seconds):
        raise ValueError(f"seconds {seconds}")
    _parts(result)
    return {**result, "value": value, "seconds": seconds, "verdict": ROWS[name].judge(value)}


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
    if options.quiet or sys.stderr is None:
        return
    row, left = ROWS[names[number]], sum(ROWS[name].seconds for name in names[number:])
    print(
        f"{names[number]}: {row.what} ({row.source}), about {clock(row.seconds)}; "
        f"row {number + 1} of {len(names)}, {clock(left)} left\n"
        f"kseq {row.command} --seed {options.seed}",
        file=sys.stderr,
        flush=True,
    )


def _result(name: str, parsed: argparse.Namespace, seed: int) -> dict[str, Any]:
    from kseq import backend
    from kseq.benchmark.machine import machine, versions

    began = time.perf_counter()
    goes_on = bool(getattr(parsed, "resume", False) and checkpoint_files(Path(parsed.run_dir)))
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


def _report(names: tuple[str, ...], results: Results) -> dict[str, Any]:
    kept = ("value", "verdict", "seconds", "seed", "engine", "machine", "versions")
    return {
        "rows": {
            name: ROWS[name].to_dict()
            | {"ours": {key: results[name].get(key) for key in kept} if name in results else None}
            for name in names
        }
    }


def _in_words(names: tuple[str, ...], results: Results) -> str:
    lines = [_line("row", "published", "ours", "verdict", "time", "of")]
    for name in names:
        row, ours = ROWS[name], results.get(name)
        value, verdict, seconds = _own(ours) if ours else ("", "", f"~{clock(row.seconds)}")
        lines.append(_line(name, row.published, value, verdict, seconds, row.measure))
        lines += [_line(f"  {part}", "", own, "", "", "") for part, own in _parts(ours)]
    if not results:
        lines += ["", "kseq reproduce ROW ... runs rows, --quick those of ten minutes, --all all"]
    return "\n".join(lines)


def _own(ours: dict[str, Any]) -> tuple[str, str, str]:
    time_it_took = "resumed" if ours.get("resumed") else clock(ours["seconds"])
    return f"{ours['value']:.4g}", ours["verdict"], time_it_took


def _parts(ours: dict[str, Any] | None) -> list[tuple[str, str]]:
    """Return the held-out perplexity of each document, where a row is of several."""
    held_out = (ours or {}).get("report", {}).get("held_out") or {}
    return [_part(each) for each in held_out.get("documents", ())]


def _part(document: dict[str, Any]) -> tuple[str, str]:
    name, value = document["name"], document["perplexity"]
    own = "nan" if value is None else f"{float(value):.4g}"
    return shown_path(name, 18).replace("|", "/"), own


def _line(name: str, published: str, value: str, verdict: str, seconds: str, measure: str) -> str:
    start = (
        f"{name:22}{published and shown_path(published, 24):26}{value:>9}  {verdict:12}{seconds:>8}"
    )
    return f"{start}  {measure}".rstrip()


def as_table(results: Results) -> str:
    """Return all results there are as a table in Markdown, in the order of the rows."""
    lines = [
        "| row | model | source | published | measure | band | ours | verdict | time, seed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_table_row(name, row, results[name]) for name, row in ROWS.items() if name in results]
    return "\n".join(lines) + "\n"


def _table_row(name: str, row: Row, ours: dict[str, Any]) -> str:
    value, verdict, seconds = _own(ours)
    low, high = row.band
    band = f"at most {high:g}" if low == high else f"{low:g} - {high:g}"
    parts = "; ".join(map(" ".join, _parts(ours)))
    value += f" ({parts})" if parts else ""
    cells = (row.what, row.source, row.published, row.measure, f"{band} ({row.why})", value)
    return f"| `{name}` | {' | '.join(cells)} | {verdict} | {seconds}, {ours.get('seed')} |"
