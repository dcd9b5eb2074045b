"""Progress on standard error: one line an epoch, or one living line on a terminal."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Callable
from typing import Any, TextIO

LINES_ON_A_TERMINAL = 20
_REWRITE = "\r\x1b[K"


class Progress:
    """Shows the records of a training as they come; to be used in a `with` statement.

    Into a file or a pipe goes one line an epoch.  On a terminal one line is rewritten, and about
    twenty over the whole training stay.  A stream that cannot be written to stops no training.
    """

    def __init__(
        self,
        epochs: int,
        quiet: bool,
        stream: TextIO | None = None,
        line: Callable[[dict[str, Any], int], str] | None = None,
    ) -> None:
        self.epochs = epochs
        self.line = line or epoch_line
        # Python has no standard error where the program was started without one.
        self.stream: TextIO | None = stream or sys.stderr
        self.quiet = quiet
        self.alive = self.stream is not None and self.stream.isatty()
        self.line_waits = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cursor on a fresh line."""
        if self.line_waits:
            self._write("\n")
        self.line_waits = False

    def note(self, text: str) -> None:
        """Say something that is no record."""
        self._write(f"{self._start()}{text}\n")

    def show(self, record: dict[str, Any]) -> None:
        """Show the record of one epoch; `kseq.train` calls this."""
        line = self.line(record, self.epochs)
        samples = [_indented(sample) for sample in record.get("samples", ())]
        if not self.alive:
            self._write("\n".join([line, *samples, ""]))
            return
        line = _fitted(line, shutil.get_terminal_size().columns - 1)
        stays = bool(samples) or self._is_milestone(record["epoch"])
        rest = "\n".join(["", *samples, ""]) if stays else ""
        self._write(self._start() + line + rest)
        self.line_waits = not stays

    def rewrite(self, line: str) -> None:
        """Show a line that the next one replaces on a terminal, and that stays elsewhere."""
        if not self.alive:
            self.note(line)
            return
        self._write(self._start() + _fitted(line, shutil.get_terminal_size().columns - 1))
        self.line_waits = True

    def _start(self) -> str:
        start = _REWRITE if self.line_waits else ""
        self.line_waits = False
        return start

    def _is_milestone(self, epoch: int) -> bool:
        every = math.ceil(self.epochs / LINES_ON_A_TERMINAL)
        return epoch in (1, self.epochs) or epoch % every == 0

    def _write(self, text: str) -> None:
        if self.quiet or self.stream is None:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            self.quiet = True


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
        f"perplexity {record['perplexity']:.2f}",
    ]
    if "val_perplexity" in record:
        parts.append(f"held-out {record['val_perplexity']:.2f}")
    parts.append(f"{record['tokens_per_second']:,.0f} tokens/s")
    parts.append(f"{clock(record['seconds_left'])} left")
    if record["skipped_steps"]:
        parts.append(f"{record['skipped_steps']} steps skipped (gradient not finite)")
    return "  ".join(parts)


def loss_line(record: dict[str, Any], epochs: int) -> str:
    """Return one epoch of a forecaster in words.

    Example:
        >>> loss_line({"epoch": 3, "loss": 0.05674, "seconds_left": 1.2}, 5)
        'epoch 3/5  loss 0.05674  0:01 left'
    """
    parts = [f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}", f"loss {record['loss']:.5f}"]
    if "val_loss" in record:
        parts.append(f"held-out {record['val_loss']:.5f}")
    if "seconds_left" in record:
        parts.append(f"{clock(record['seconds_left'])} left")
    return "  ".join(parts)


def perplexity_line(record: dict[str, Any], epochs: int) -> str:
    """Return one epoch of a model that is no `LanguageModel` in words.

    Example:
        >>> perplexity_line({"epoch": 3, "perplexity": 17.031}, 500)
        'epoch   3/500  perplexity 17.03'
    """
    number = f"{record['epoch']:>{len(str(epochs))}}"
    return f"epoch {number}/{epochs}  perplexity {record['perplexity']:.2f}"


def clock(seconds: float) -> str:
    """Return a duration as minutes:seconds, with hours where there are some.

    Example:
        >>> clock(75), clock(3700)
        ('1:15', '1:01:40')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _fitted(line: str, width: int) -> str:
    """Return `line` no wider than a terminal, for one that wraps could not be rewritten."""
    if len(line) > width:
        line = line.replace("  ", " ").replace("tokens/s", "tok/s")
    return line[:width]


def _indented(sample: str) -> str:
    return "  | " + sample.replace("\n", "\n  | ")
