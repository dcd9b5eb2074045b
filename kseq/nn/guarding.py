"""What guards the weights from gradients that are not finite, whatever the optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kseq.backend import require_engine


class GuardedOptimizer:
    """Mixed into a Keras optimizer: apply a step only if the norm of its gradients is finite.

    rate_scale: what the learning rate of the step underway is multiplied by; not part of
        `learning_rate` as others read it.
    """

    skipped_steps: Any
    rate_scale: Any = 1.0
    _is_stepping = False

    def build(self, variables: list[Any]) -> None:
        if self.built:  # type: ignore[has-type]
            return
        super().build(variables)  # type: ignore[misc]
        self.skipped_steps = counter(0, "skipped_steps")

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        grads = require_engine().averaged([_dense(g) for g in grads])
        if trainable_variables is not None and not self.built:  # type: ignore[has-type]
            self.build(list(trainable_variables))
        if all(g is None for g in grads):
            # Keras says that there are no gradients.
            super().apply(grads, trainable_variables)  # type: ignore[misc]
            return
        norm = global_norm(grads)
        self._is_stepping = True
        try:
            skipped = require_engine().apply_if_finite(
                norm, self._apply_of(grads, trainable_variables), self._touched()
            )
        finally:
            self._is_stepping = False
        self.skipped_steps.assign_add(ops.cast(skipped, "int32"))

    def _get_current_learning_rate(self) -> Any:
        # What Keras takes the step and the decay of weights with.
        rate = super()._get_current_learning_rate()  # type: ignore[misc]
        return rate * self.rate_scale if self._is_stepping else rate

    def _apply_of(self, grads: Any, trainable_variables: Any) -> Callable[[], None]:
        apply = super().apply  # type: ignore[misc]
        return lambda: apply(grads, trainable_variables)

    def _touched(self) -> list[Any]:
        return [*self.variables, *self._trainable_variables]  # type: ignore[attr-defined]


def _dense(grad: Any) -> Any:
    # TensorFlow gives an embedding's gradient as slices, one for each use of a row; the norm of
    # slices is not that of their sums.
    return None if grad is None else ops.reshape(grad, ops.shape(grad))


def global_norm(grads: Any) -> Any:
    """Return the square root of the sum of squares over all gradients, a scalar."""
    squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in grads if g is not None]
    return ops.sqrt(ops.sum(ops.stack(squares)))


def counter(start: int, name: str) -> Any:
    """Return a whole number in an optimizer's state."""
    return keras.Variable(start, dtype="int32", trainable=False, name=name)
