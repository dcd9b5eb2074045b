"""What a forecaster may be fed: histories and pairs, checked before Keras sees them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kseq.data.series import as_series
from kseq.errors import DataError


def histories(history: Any, window: int | None) -> np.ndarray:
    """Return one history (N,) or several (B, N) as rows (B, N) of floats.

    Raises:
        DataError: fewer points than the window, values that are not finite, another shape.
    """
    values = np.asarray(history)
    if values.ndim not in (1, 2):
        raise DataError(
            f"history: must be (N,) or (B, N), found shape {values.shape}; pass one series, or "
            "several of the same length as rows"
        )
    rows = as_series(values.ravel(), "history").reshape(-1, values.shape[-1])
    needed = window or 1
    if rows.shape[1] < needed:
        raise DataError(
            f"history: must have at least the model's window of {needed} points, found "
            f"{rows.shape[1]}; pass more of the past"
        )
    return rows


def check_pairs(x: Any, y: Any, window: int | None, every_step: bool) -> None:
    """Refuse windows of another length than the model's, and values that are not finite.

    Only arrays can be checked; data sets are Keras's to refuse.

    Raises:
        DataError: as said.
    """
    if not isinstance(x, np.ndarray):
        return
    if not every_step and x.shape[1:2] != (window,):
        raise DataError(
            f"x: must hold windows of {window} points, found shape {x.shape}; make them with "
            f"kseq.windows(series, window={window})"
        )
    for name, values in (("x", x), ("y", y)):
        if isinstance(values, np.ndarray) and not np.isfinite(values).all():
            raise DataError(
                f"{name}: must be finite numbers, found NaN or infinity in "
                f"{np.count_nonzero(~np.isfinite(values))} places; fill or drop them"
            )
