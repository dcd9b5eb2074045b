"""Watching a training step by step: it ends where its numbers stop being numbers.

A guarded optimizer (`kseq.nn.optimizers`) skips a step whose gradient is not finite, which one bad
batch may cause.  A loss that is not finite, or nothing but skipped steps, is the end of learning.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import numpy as np
from keras import ops

from kseq.backend import require_engine
from kseq.errors import NumericalError
from kseq.nn.optimizers import inside

MOST_SKIPPED = 100  # in a row: a loss scale may begin with some forty
RARELY = 20  # steps between two looks that wait for the device
_REMEDY = "lower the learning rate, or look for infinite inputs"


class StepWatch:
    """Ends a training that has gone wrong, by its running loss and its optimizer's counter.

    For a callback: `start` at the beginning of an epoch, `check` at the end of a batch, and
    `check_weights` at the end of an epoch.  On PyTorch's CPU every step is looked at.  Elsewhere
    a look waits for the device: the loss is read from the logs where Keras made them, and all
    else every `RARELY` steps.

    model: compiled and built.

    Example:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> watch = StepWatch(model)
        >>> watch.start(epoch=0)
        >>> watch.check(0, {"loss": 0.5})
        >>> watch.check(1, {"loss": math.inf})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        kseq.errors.NumericalError: loss: must stay finite, found inf in step 2 of epoch 1; lower...
    """

    def __init__(self, model: Any) -> None:
        self.model, self.idle = model, 0
        self.start(0)

    def start(self, epoch: int, step: int = 0) -> None:
        """Begin an epoch at one of its steps, both counted from 0."""
        engine, counter = require_engine(), _counter(self.model.optimizer)
        self.epoch, self.next = epoch, step
        self.every = RARELY if engine.reading_waits(self.model) else 1
        # Keras's tracker of the loss comes first.
        self.read_total = engine.reader(self.model, self.model.metrics[0].total)
        self.read_count = _other if counter is None else engine.reader(self.model, counter)
        self.counted = self.read_count()

    def check(self, step: int, logs: Any = None) -> None:
        """Look at a step that is done, counted from 0 within the epoch.

        logs: what Keras hands to `on_train_batch_end`, or None where nobody has read the metrics.

        Raises:
            NumericalError: the loss is not finite, or `MOST_SKIPPED` steps in a row were skipped.
        """
        if logs and not math.isfinite(logs.get("loss", 0.0)):
            self._refuse_loss(logs["loss"], step, step)
        steps = step + 1 - self.next
        if steps < self.every:
            return
        first, self.next = self.next, step + 1
        if not logs and not math.isfinite(total := self.read_total()):
            self._refuse_loss(total, first, step)
        count = self.read_count()
        self.idle = self.idle + steps if count == self.counted else 0
        self.counted = count
        if self.idle >= MOST_SKIPPED:
            self._refuse_gradients(step)

    def check_weights(self) -> None:
        """Look at all weights: what the last step did to them no loss has shown yet.

        Raises:
            NumericalError: one of them is not finite; the first is named.
        """
        for variable in self.model.trainable_variables:
            if not np.isfinite(ops.convert_to_numpy(ops.cast(variable.value, "float32"))).all():
                raise NumericalError(
                    f"weights: must stay finite, found NaN or infinity in {variable.path} after "
                    f"epoch {self.epoch + 1}; {_REMEDY}"
                )

    def _refuse_loss(self, found: float, first: int, last: int) -> NoReturn:
        steps = f"step {last + 1}" if first == last else f"steps {first + 1} to {last + 1}"
        raise NumericalError(
            f"loss: must stay finite, found {found} in {steps} of epoch {self.epoch + 1}; {_REMEDY}"
        )

    def _refuse_gradients(self, step: int) -> NoReturn:
        raise NumericalError(
            f"gradients: must be finite, found {self.idle} steps in a row that were skipped, the "
            f"last of them step {step + 1} of epoch {self.epoch + 1}; {_REMEDY}"
        )


def _counter(optimizer: Any) -> Any:
    """Return the variable that counts the steps that were taken, or None."""
    # A scaled loss has an optimizer within, which a skipped step does not reach.
    inner = inside(optimizer)
    return None if inner.gradient_accumulation_steps else inner.iterations


def _other() -> float:
    """Return what equals nothing: where steps are not counted, none counts as skipped."""
    return math.nan
