"""Progress of a text on its way into a file of ids: one living line, or one in ten seconds."""

from __future__ import annotations

import argparse
import time
from typing import Any, TextIO

from kseq.cli.progress import Progress, clock

_SECONDS_ON_A_TERMINAL, _SECONDS_ELSEWHERE = 0.2, 10.0


def kept_ids(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `load_corpus` that keep the ids on the disk, as the options say."""
    if options.cache_dir is None:
        return {}
    return {"cache_dir": options.cache_dir, "progress": IndexProgress(options.quiet)}


class IndexProgress:
    """Called with the bytes read and those there are; speaks on standard error.

    A text that is read within the first interval is read in silence.
    """

    def __init__(self, quiet: bool, stream: TextIO | None = None) -> None:
        self._shown = Progress(1, quiet, stream)
        alive = self._shown.alive
        self._interval = _SECONDS_ON_A_TERMINAL if alive else _SECONDS_ELSEWHERE
        self._began = self._last = time.monotonic()

    def __call__(self, done: int, total: int | None) -> None:
        """Show how far the text is, where the last time is long enough ago."""
        now = time.monotonic()
        if done == total:
            self._shown.__exit__()
        if done == total or now - self._last < self._interval:
            return
        self._last = now
        self._shown.rewrite(index_line(done, total, now - self._began))


def index_line(done: int, total: int | None, seconds: float) -> str:
    """Return in words how far a text is.

    Example:
        >>> index_line(500_000_000, 2_000_000_000, 5.0)
        'indexing: 500 of 2,000 MB, 100 MB/s, 0:15 left'
        >>> index_line(500_000_000, None, 5.0)
        'indexing: 500 MB, 100 MB/s'
    """
    rate = done / max(seconds, 1e-9)
    speed = f"{rate / 1e6:,.0f} MB/s"
    if total is None:
        return f"indexing: {done / 1e6:,.0f} MB, {speed}"
    left = clock(max(total - done, 0) / max(rate, 1e-9))
    return f"indexing: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB, {speed}, {left} left"
