"""A published result beside which ours is put, and how it is judged.

A row's command is what a user would type; what it reports is compared with what was published.
Lower is better in every row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

VERDICTS = ("reproduced", "better", "missed")


@dataclass(frozen=True)
class Row:
    """A published result.

    what: the model, in words.
    source: where it was published.
    published: as its source says it.
    measure: what is compared.
    band: own values from the first to the second reproduce it; why: where the band is from.
    command: the words after `kseq`, without --run-dir and --seed.
    value: where the report of the command has the own value.
    seconds: what it takes on two cores, about.
    quick: whether `kseq reproduce --quick` runs it.
    """

    what: str
    source: str
    published: str
    measure: str
    band: tuple[float, float]
    why: str
    command: str
    value: tuple[str, ...]
    seconds: int
    quick: bool = False

    def judge(self, value: float) -> str:
        """Return "reproduced", "better" or "missed".

        Example:
            >>> from kseq.experiments.published import ROWS
            >>> ROWS["d2l-9.2"].judge(1.05), ROWS["d2l-9.2"].judge(3.0)
            ('reproduced', 'missed')
        """
        low, high = self.band
        if not math.isfinite(value) or value > high:
            return "missed"
        return "better" if value < low else "reproduced"

    def value_in(self, report: Any) -> float:
        """Return the own value from the report of the command."""
        for name in self.value:
            report = report[name]
        return float(report)

    def to_dict(self) -> dict[str, Any]:
        """Return what was published, as plain JSON values."""
        names = ("what", "source", "published", "measure", "why", "seconds", "quick")
        plain = {name: getattr(self, name) for name in names}
        return plain | {"band": list(self.band), "command": f"kseq {self.command}"}
