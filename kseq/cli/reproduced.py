"""Results of `kseq reproduce`: read from their file, and shown beside what was published.

A row is never shown without what a reader has to know to believe it: where it was published, the
band, what was memorised and what holds on unseen text, and what simple counting reaches.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kseq.checks import shown, shown_path
from kseq.cli.progress import clock
from kseq.errors import DataError
from kseq.experiments.beside import beside
from kseq.experiments.rows import Row

Rows = Mapping[str, Row]
Results = dict[str, dict[str, Any]]


def read_results(path: Path, rows: Rows) -> Results:
    """Return the results of earlier runs of these rows, none where there is no file.

    Raises:
        DataError: the file holds something else.
    """
    try:
        results = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return {n: _checked(rows[n], result) for n, result in results.items() if n in rows}
    except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        raise DataError(
            f"{shown_path(path)}: must hold what kseq reproduce wrote, found {shown(str(error))}; "
            "move it away, or choose another --out"
        ) from error


def _checked(row: Row, result: dict[str, Any]) -> dict[str, Any]:
    """Return a result, judged by the band of today; what was not finite is null in the file."""
    value = float("nan") if result["value"] is None else float(result["value"])
    seconds = float(result["seconds"])
    if not math.isfinite(seconds):
        raise ValueError(f"seconds {seconds}")
    checked = {**result, "value": value, "seconds": seconds, "verdict": row.judge(value)}
    _table_row("", row, checked)  # what cannot be shown was not written by us
    return checked


def plain(rows: Rows, results: Results) -> dict[str, Any]:
    """Return the rows and our results as plain JSON values."""
    return {
        "rows": {
            name: row.to_dict() | {"ours": _kept(results.get(name))} for name, row in rows.items()
        }
    }


def _kept(ours: dict[str, Any] | None) -> dict[str, Any] | None:
    if ours is None:
        return None
    kept = ("value", "verdict", "seconds", "seed", "engine", "machine", "versions")
    return {key: ours.get(key) for key in kept} | {"beside": beside(ours.get("report", {}))}


def in_words(rows: Rows, results: Results, whole: bool = False) -> str:
    """Return the rows as text; `whole` ones with what stands beside them, machine and command."""
    lines = [_line("row", "published", "ours", "verdict", "time", "of")]
    for name, row in rows.items():
        ours = results.get(name)
        value, verdict, seconds = _own(ours) if ours else ("", "", f"~{clock(row.seconds)}")
        lines.append(_line(name, row.published, value, verdict, seconds, row.measure))
        lines += [_line(f"  {part}", "", own, "", "", "") for part, own in _parts(ours)]
        lines.append(f"  {row.source}; band {_band(row)}")
        lines += _details(row, ours) if whole and ours else []
    if not results:
        lines += ["", "kseq reproduce ROW ... runs rows, --quick those of ten minutes, --all all"]
    return "\n".join(lines)


def _details(row: Row, ours: dict[str, Any]) -> list[str]:
    said = (*beside(ours.get("report", {})), _circumstances(row, ours), f"kseq {row.command}")
    return [f"  {line}" for line in said]


def _circumstances(row: Row, ours: dict[str, Any]) -> str:
    """Return seed, engine, machine and the time that was expected."""
    machine = ours.get("machine", {})
    said = [f"seed {ours.get('seed')}", str(ours.get("engine", "")), machine.get("processor", "")]
    said += [f"{machine['cores']} cores"] if "cores" in machine else []
    return ", ".join(part for part in (*said, f"expected about {clock(row.seconds)}") if part)


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


def _band(row: Row) -> str:
    low, high = row.band
    band = f"at most {high:g}" if low == high else f"{low:g} - {high:g}"
    return f"{band} ({row.why})"


def _line(name: str, published: str, value: str, verdict: str, seconds: str, measure: str) -> str:
    start = (
        f"{name:22}{published and shown_path(published, 24):26}{value:>9}  {verdict:12}{seconds:>8}"
    )
    return f"{start}  {measure}".rstrip()


def as_table(rows: Rows, results: Results) -> str:
    """Return all results there are as a table in Markdown, in the order of the rows."""
    head = ("row", "model", "source", "published", "measure", "band", "ours", "verdict")
    head += ("beside it", "time", "circumstances", "command")
    lines = [_cells(head), "|---" * len(head) + "|"]
    lines += [_table_row(name, row, results[name]) for name, row in rows.items() if name in results]
    return "\n".join(lines) + "\n"


def _table_row(name: str, row: Row, ours: dict[str, Any]) -> str:
    value, verdict, seconds = _own(ours)
    parts = "; ".join(map(" ".join, _parts(ours)))
    value += f" ({parts})" if parts else ""
    known = (row.what, row.source, row.published, row.measure, _band(row), value, verdict)
    said = "; ".join(beside(ours.get("report", {}))).replace("|", "/")
    command = f"`kseq {row.command}`"
    return _cells((f"`{name}`", *known, said, seconds, _circumstances(row, ours), command))


def _cells(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
