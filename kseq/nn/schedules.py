"""Learning rates that change with the step: constant, one-cycle and cosine.

The plateau schedule depends on held-out results rather than on the step: `kseq.train` lowers the
rate itself when asked for it (`plateau`), from its records, so that a resumed run does the same.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kseq.checks import one_of, positive_float, positive_int, unit_interval

SCHEDULES = ("constant", "one_cycle", "cosine", "plateau")


@keras.saving.register_keras_serializable(package="kseq")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Rise on a cosine from peak/25 to the peak, then fall on a cosine to peak/10,000.

    Args:
        peak: the highest learning rate.
        total_steps: optimizer steps of the whole training; beyond them the rate stays low.
        rise: the fraction of the steps spent rising.

    Source: Smith and Topin, arXiv:1708.07120 (2017).

    Example:
        >>> rate = OneCycle(0.01, total_steps=100)
        >>> [round(float(rate(step)), 6) for step in (0, 30, 100)]
        [0.0004, 0.01, 1e-06]
    """

    def __init__(self, peak: float, total_steps: int, rise: float = 0.3) -> None:
        self.peak = positive_float("peak", peak)
        self.total_steps = positive_int("total_steps", total_steps)
        self.rise = unit_interval("rise", rise)

    def __call__(self, step: Any) -> Any:
        step = ops.minimum(ops.cast(step, "float32"), self.total_steps)
        top = self.rise * self.total_steps
        rising = _cosine(self.peak / 25, self.peak, step / max(top, 1e-6))
        falling = _cosine(self.peak, self.peak / 1e4, (step - top) / (self.total_steps - top))
        return ops.where(step < top, rising, falling)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "total_steps": self.total_steps, "rise": self.rise}


def schedule(name: str, learning_rate: float, total_steps: int) -> Any:
    """Return the learning rate an optimizer takes: a number or a schedule over `total_steps`.

    Args:
        name: "constant" and "plateau" give the number itself (for "plateau" `kseq.train`
            quarters it later, as PyTorch's example word_language_model does); "one_cycle" peaks
            at it; "cosine" falls from it to zero (Loshchilov and Hutter, arXiv:1608.03983).
        learning_rate: the highest rate.
        total_steps: batches per epoch times epochs.

    Raises:
        UsageError: an unknown name, or a rate or number of steps that is not positive.

    Example:
        >>> schedule("constant", 0.5, total_steps=10)
        0.5
    """
    one_of("schedule", name, SCHEDULES)
    learning_rate = positive_float("learning_rate", learning_rate)
    total_steps = positive_int("total_steps", total_steps)
    if name == "one_cycle":
        return OneCycle(learning_rate, total_steps)
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(learning_rate, total_steps)
    return learning_rate


def _cosine(start: float, end: float, progress: Any) -> Any:
    return end + (start - end) * 0.5 * (1 + ops.cos(math.pi * ops.clip(progress, 0.0, 1.0)))
