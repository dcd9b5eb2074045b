"""Progress on standard error: one line an epoch, or one living line on a terminal."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

LINES_ON_A_TERMINAL = 20


class Progress:
    """Shows the records of a training as they come.

    Into a file or a pipe goes one line an epoch.  On a terminal one line is rewritten, and about
    twenty over the whole training stay.
    """

    def __init__(self, epochs: int, quiet: bool) -> None:
        self.epochs, self.quiet = epochs, quiet
        self.alive = sys.stderr.isatty()

    def note(self, text: str) -> None:
        """Say something that is no record."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def show(self, record: dict[str, Any]) -> None:
        """Show the record of one epoch; `kseq.train` calls this."""
        if self.quiet:
            return
        line = epoch_line(record, self.epochs)
        stays = not self.alive or self._is_milestone(record["epoch"]) or "samples" in record
        start = "\r\x1b[K" if self.alive else ""
        print(start + line, end="\n" if stays else "", file=sys.stderr, flush=True)
        for sample in record.get("samples", ()):
            print(f"  | {sample}", file=sys.stderr)

    def _is_milestone(self, epoch: int) -> bool:
        return epoch in (1, self.epochs) or epoch % max(1, self.epochs // LINES_ON_A_TERMINAL) == 0


def epoch_line(record: dict[str, Any], epochs: int) -> str:
    """Return one epoch in words: loss, perplexities, speed and time left.

    Example:
        >>> record = {"epoch": 3, "loss": 1.5, "perplexity": 4.4817, "val_perplexity": 6.1,
        ...           "tokens_per_second": 24310.0, "seconds_left": 75.0, "skipped_steps": 0}
        >>> epoch_line(record, 50)
        'epoch  3/50  loss 1.500  perplexity 4.48  held-out 6.10  24,310 tokens/s  1:15 left'
    """
    parts = [
        f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}",
        f"loss {record['loss']:.3f}",
        f"perplexity {record.get('perplexity', np.exp(record['loss'])):.2f}",
    ]
    if "val_perplexity" in record:
        parts.append(f"held-out {record['val_perplexity']:.2f}")
    parts.append(f"{record['tokens_per_second']:,.0f} tokens/s")
    parts.append(f"{clock(record['seconds_left'])} left")
    if record["skipped_steps"]:
        parts.append(f"{record['skipped_steps']} steps skipped (gradient not finite)")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """Return a duration as minutes:seconds, with hours where there are some.

    Example:
        >>> clock(75), clock(3700)
        ('1:15', '1:01:40')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
