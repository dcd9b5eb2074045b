"""`kseq corpora`: the texts with a name, where they come from, and whether they are here."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from kseq.cli.printing import print_report
from kseq.data.inventory import Entry, inventory


def corpora(options: argparse.Namespace) -> None:
    """Print names, sizes, licences, hashes, sources, and where each text is; download nothing."""
    found = inventory(options.data_dir)
    report = {"corpora": [asdict(entry) for entry in found]}
    lines = [f"{'name':18}{'bytes':>10}  {'licence':15}{'sha256':18}where", *map(_row, found)]
    lines += ["", *(f"{entry.name:18}{entry.edition}, from {entry.source}" for entry in found)]
    print_report(report, "\n".join(lines), options.json)


def _row(entry: Entry) -> str:
    start = f"{entry.name:18}{entry.bytes:>10,}  {entry.licence:15}{entry.sha256[:16]:18}"
    return (
        start
        + {
            "here": str(entry.path),
            "missing": "not here: downloaded when it is first used",
            "unreadable": f"{entry.path} cannot be read: see its permissions",
            "wrong": f"{entry.path} has other contents: remove it, or load it by its path",
        }[entry.state]
    )
