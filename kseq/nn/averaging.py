"""Averaged weights in a training: when their mean is begun, and that it is what is judged and kept.

The optimizer (`kseq.nn.optimizers.ClippedASGD`) computes the mean; with any other nothing here does
anything.

Source: Merity, Keskar and Socher, arXiv:1708.02182, algorithm 1 (NT-ASGD).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.nn.optimizers import ClippedASGD, inside


def is_stuck(losses: Sequence[float], nonmonotone: int) -> bool:
    """Whether the last loss is not below the best of all before it but the `nonmonotone` last.

    Example:
        >>> is_stuck([3.0, 2.0, 2.5, 2.1], nonmonotone=1), is_stuck([3.0, 2.0, 1.9], nonmonotone=1)
        (True, False)
    """
    *before, last = losses
    early = before[:-nonmonotone]
    # A loss that is no number is not below any.
    return bool(early) and not last < min(early)


def start_when_stuck(optimizer: Any, losses: Sequence[float]) -> None:
    """Begin the mean after the epoch whose loss is the last of `losses`, if it is time."""
    if not _is_averaged(optimizer) or _as_int(inside(optimizer).averaged_steps) >= 0:
        return
    if is_stuck(losses, inside(optimizer).nonmonotone):
        inside(optimizer).start_averaging()


def averaged_weights(model: Any) -> list[np.ndarray]:
    """Return a model's weights as `get_weights` does, the mean of those that are averaged."""
    means = {} if _is_exchanged(model) else {id(w): mean for w, mean in _pairs(model)}
    return [_as_array(means.get(id(weight), weight)) for weight in model.weights]


def averaging_of(model: Any) -> dict[str, bool]:
    """Return {"averaged": whether it is the mean that is judged}; {} where nothing is averaged."""
    return {"averaged": bool(_pairs(model))} if _is_averaged(model.optimizer) else {}


@contextmanager
def mean_in_model(model: Any) -> Iterator[None]:
    """Give a model the mean of its weights while the block runs, if there is one."""
    JudgeAverage.exchanged(model)
    try:
        yield
    finally:
        JudgeAverage.restored(model)


def begin_anew(model: Any) -> None:
    """Forget the mean of an earlier training; one that is asked for but not begun stays so."""
    if _pairs(model):
        JudgeAverage.restored(model)
        inside(model.optimizer).averaged_steps.assign(-1)


def take_average(model: Any) -> None:
    """Give a model the mean of its weights for good, at the end of a training."""
    model.set_weights(averaged_weights(model))


class JudgeAverage(keras.callbacks.Callback):
    """Lets an evaluation judge the mean: weights and means change places while it runs.

    That they have is in the optimizer's state, so that a checkpoint taken meanwhile knows it.
    To be called before the callbacks that look at the weights.
    """

    # `kseq.nn.listening` then reads no metrics for it.
    reads_logs = False

    def on_train_begin(self, logs: Any = None) -> None:
        # A training that was stopped while it judged has left them exchanged.
        self.restored(self.model)

    def on_test_begin(self, logs: Any = None) -> None:
        self.exchanged(self.model)

    def on_test_end(self, logs: Any = None) -> None:
        self.restored(self.model)

    @staticmethod
    def exchanged(model: Any) -> None:
        """Give a model the means, unless it has them."""
        if not _is_exchanged(model):
            _exchange(model)

    @staticmethod
    def restored(model: Any) -> None:
        """Give a model its own weights back, if it has the means."""
        if _is_exchanged(model):
            _exchange(model)


def _is_averaged(optimizer: Any) -> bool:
    return isinstance(inside(optimizer), ClippedASGD)


def _pairs(model: Any) -> list[tuple[Any, Any]]:
    """Return each averaged weight with its mean; none before there is a mean."""
    optimizer = inside(model.optimizer)
    if not _is_averaged(optimizer) or not optimizer.built:
        return []
    begun = _as_int(optimizer.averaged_steps) > 0
    variables, averages = optimizer._trainable_variables, optimizer.averages
    return list(zip(variables, averages, strict=True)) if begun else []


def _is_exchanged(model: Any) -> bool:
    return bool(_pairs(model)) and _as_int(inside(model.optimizer).holds_average) == 1


def _exchange(model: Any) -> None:
    pairs = _pairs(model)
    for weight, average in pairs:
        mean = _as_array(average)
        average.assign(_as_array(weight))
        weight.assign(mean)
    if pairs:
        place = inside(model.optimizer).holds_average
        place.assign(1 - _as_int(place))


def _as_array(variable: Any) -> np.ndarray:
    # A copy: on PyTorch the array would share the memory that is written to.
    return np.array(ops.convert_to_numpy(variable.value))


def _as_int(variable: Any) -> int:
    return int(ops.convert_to_numpy(variable.value))
