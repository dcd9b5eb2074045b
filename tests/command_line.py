"""The command line in this process: what it says, and what it may not do when it refuses."""

import contextlib
import hashlib
import io
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from kseq.cli import main

LONGEST_LINE = 300
THREE_PARTS = re.compile(r"kseq: error: .+?: .*\bmust .+ found .+; .+")

FOX = "the quick brown fox jumps over the lazy dog and runs away. "
# Enough for every test that trains, and little enough to take no time.
TINY = ["--units", "8", "--num-layers", "1", "--batch-size", "4", "--num-steps", "10"]
QUICK = [*TINY, "--epochs", "1", "--quiet"]


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def report(self):
        return json.loads(self.out)

    @property
    def notes(self):
        return [line for line in self.err.splitlines() if line.startswith("kseq: note: ")]


def kseq(*words, stdin=b""):
    """Run one command with bytes on its standard input."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        code = main([str(word) for word in words])
    return Said(code, *(written(stream) for stream in (out, err)))


def written(stream):
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8")


def works(*words, stdin=b""):
    """Run a command that succeeds."""
    said = kseq(*words, stdin=stdin)
    assert (said.code, "kseq: error" in said.err) == (0, False), said.err
    return said


def refused(code, *words, stdin=b""):
    """Run a command that must fail with `code` and touch nothing here; return its one line."""
    before = snapshot(Path.cwd())
    said = kseq(*words, stdin=stdin)
    line = error_line(said)
    assert said.code == code, line
    assert said.out == ""
    assert snapshot(Path.cwd()) == before
    return line


def error_line(said):
    """The one line of standard error that is neither a note nor progress."""
    lines = [line for line in said.err.splitlines() if not line.startswith("kseq: note: ")]
    assert lines, said
    assert [line for line in lines if line.startswith("kseq: error")] == [lines[-1]], said.err
    assert len(lines[-1]) <= LONGEST_LINE
    assert THREE_PARTS.fullmatch(lines[-1]), lines[-1]
    assert "Traceback" not in said.err
    return lines[-1]


def snapshot(folder):
    """Every path below `folder` with a hash of what is in it; links and devices are not read."""
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file() and path.stat().st_size < 2**24
        else path.stat().st_size
        for path in folder.rglob("*")
    }
