"""What a training did: one record an epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]


@dataclass
class Run:
    """What a training did.

    records: one dictionary an epoch: epoch (from 1), loss (nats per token), perplexity,
        learning_rate, tokens_per_second, seconds, seconds_left, skipped_steps, with held-out text
        val_loss and val_perplexity, with averaged SGD averaged (whether the mean was judged), and
        at times samples.
    stopped_early: whether patience ran out before the last epoch.

    Example:
        >>> Run([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}]).best_epoch
        2
    """

    records: list[Record] = field(default_factory=list)
    stopped_early: bool = False

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest held-out loss (training loss without one), or 0."""
        finite = [record for record in self.records if math.isfinite(judged(record))]
        return min(finite, key=judged)["epoch"] if finite else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the run as plain values, for history.json."""
        return {
            "epochs": self.records,
            "best_epoch": self.best_epoch,
            "stopped_early": self.stopped_early,
        }


def judged(record: Record) -> float:
    """The loss an epoch is judged by: held-out where there is one."""
    return record.get("val_loss", record["loss"])
