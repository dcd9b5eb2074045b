"""What a forecaster may be fed: histories and pairs, checked before Keras sees them."""

from __future__ import annotations

from typing import Any

import numpy as np

from kseq.data.series import as_series
from kseq.errors import DataError, UsageError
from kseq.nn.batches import EpochBatches
from kseq.nn.series_batches import PairBatches


def histories(history: Any, window: int | None) -> np.ndarray:
    """Return one history (N,) or several (B, N) as rows (B, N) of floats.

    Raises:
        DataError: fewer points than the window, values that are not finite, another shape.
    """
    try:
        values = np.asarray(history)
    except ValueError as error:
        raise _misshapen("rows of different lengths") from error
    if values.ndim not in (1, 2):
        raise _misshapen(f"shape {values.shape}")
    rows = as_series(values.ravel(), "history").reshape(-1, values.shape[-1])
    needed = window or 1
    if rows.shape[1] < needed:
        raise DataError(
            f"history: must have at least the model's window of {needed} points, found "
            f"{rows.shape[1]}; pass more of the past"
        )
    return rows


def check_pairs(x: Any, y: Any, window: int | None, outputs: int, every_step: bool) -> None:
    """Refuse windows or targets of another length than the model's, and values not finite.

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
    steps = x.shape[:2] if every_step else x.shape[:1]
    # Keras would stretch targets of another shape, and learn something else without a word.
    if (
        isinstance(y, np.ndarray)
        and y.shape != (*steps, outputs)
        and (outputs > 1 or y.shape != steps)
    ):
        raise DataError(
            f"y: must hold {outputs} values for each {'step' if every_step else 'window'}, "
            f"{(*steps, outputs)}, found shape {y.shape}; make them with outputs={outputs}"
        )
    for name, values in (("x", x), ("y", y)):
        if isinstance(values, np.ndarray) and not np.isfinite(values).all():
            raise DataError(
                f"{name}: must be finite numbers, found NaN or infinity in "
                f"{np.count_nonzero(~np.isfinite(values))} places; fill or drop them"
            )


def drawn_pairs(x: Any, y: Any, options: dict[str, Any], seed: int, epoch: int) -> Any:
    """Return what `fit` is to read: arrays in an order of ours, anything else as it came.

    Keras would draw the order by the engine's own generator; with weights, a validation split or
    `shuffle=False` it still takes the arrays as they are.  `batch_size` is taken out of `options`.
    """
    keras_alone = ("validation_split", "sample_weight", "class_weight", "steps_per_epoch")
    if not (isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
        return x, y
    left_to_keras = any(options.get(name) is not None for name in keras_alone)
    if left_to_keras or not options.get("shuffle", True):
        return x, y
    return PairBatches(x, y, options.pop("batch_size", None) or 32, seed, epoch), None


def check_batches(batches: Any, outputs: int, every_step: bool) -> None:
    """Refuse batches of a sequence that Keras would stretch to the model's outputs.

    Only those of kseq can be checked.

    Raises:
        UsageError: the model does not learn at every step, or gives another number of steps ahead.
    """
    if not isinstance(batches, EpochBatches) or isinstance(batches, PairBatches):
        return
    if not every_step:
        raise UsageError(
            f"{type(batches).__name__}: must go to a model that learns at every step, found "
            "every_step=False; make the model with every_step=True, or fit it on windows"
        )
    found = getattr(batches, "outputs", 1)
    if found != outputs:
        raise UsageError(
            f"{type(batches).__name__}: must look as far ahead as the model's outputs={outputs}, "
            f"found outputs={found}; make them with outputs={outputs}"
        )


def _misshapen(found: str) -> DataError:
    return DataError(
        f"history: must be (N,) or (B, N), found {found}; pass one series, or several of the same "
        "length as rows"
    )
