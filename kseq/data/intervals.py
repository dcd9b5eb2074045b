"""How wide an interval must be: margins around a forecast, measured on a part not trained on.

Split-conformal prediction: the margin for a level is the ceil((n + 1) level)-th smallest of the n
absolute errors the forecaster made, at each step ahead, where it was not trained.  Were the errors
exchangeable, an interval would hold the truth with at least that probability; errors of a series
are only nearly so, which is why coverage is measured and reported.

Source: Vovk, Gammerman and Shafer (2005); Lei et al., "Distribution-free predictive inference for
regression" (2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseq.checks import fraction
from kseq.data.scores import conformal_margins
from kseq.errors import UsageError

LEVELS = (0.5, 0.8, 0.9)


@dataclass(frozen=True)
class Margins:
    """Half-widths of intervals: `widths[level]` is a tuple of one number for each step ahead."""

    widths: Mapping[float, tuple[float, ...]]

    @classmethod
    def of(cls, errors: np.ndarray, levels: Sequence[float] = LEVELS) -> Margins:
        """Return the margins that errors (n, horizon) call for.

        Raises:
            UsageError: no level, or one that is not between 0 and 1.
            DataError: too few errors for the highest level.

        Example:
            >>> errors = np.linspace(-1, 1, 99)[:, np.newaxis]
            >>> [round(float(width), 2) for width in Margins.of(errors, [0.9]).at(0.9, 1)]
            [0.92]
        """
        if not len(levels):
            raise UsageError(
                "levels: must name at least one share, found none; pass some, such as (0.9,)"
            )
        widths = {fraction("level", p): conformal_margins(errors, p) for p in levels}
        return cls({level: tuple(map(float, width)) for level, width in widths.items()})

    @property
    def horizon(self) -> int:
        """How far ahead there are margins."""
        return min(map(len, self.widths.values()))

    def at(self, level: float, horizon: int) -> np.ndarray:
        """Return the half-widths (horizon,) of intervals that are to hold a share `level`.

        Raises:
            UsageError: nothing was measured for that level, or so far ahead.
        """
        if level not in self.widths:
            raise UsageError(
                f"level: must be one that was calibrated ({_listed(self.widths)}), found {level}; "
                "choose one of these or calibrate for it"
            )
        if horizon > self.horizon:
            raise UsageError(
                f"horizon: must be at most the {self.horizon} steps that were calibrated, found "
                f"{horizon}; calibrate for as many"
            )
        return np.asarray(self.widths[level][:horizon])

    def to_dict(self) -> dict[str, Any]:
        """Return the margins as plain JSON values."""
        return {str(level): list(width) for level, width in self.widths.items()}

    @classmethod
    def from_dict(cls, margins: Mapping[str, Sequence[float]]) -> Margins:
        """Return the margins that `to_dict` gave."""
        return cls({float(level): tuple(width) for level, width in margins.items()})


def _listed(levels: Mapping[float, Any]) -> str:
    return ", ".join(f"{level:g}" for level in sorted(levels))
