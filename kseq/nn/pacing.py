"""The learning rate of a step in proportion to the steps of its batch, where batches differ.

A batch of fewer steps gives a gradient of as large a norm from fewer tokens; at the same rate those
tokens would count for more.

Source: Merity, Keskar and Socher, arXiv:1708.02182, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keras import ops

from kseq.nn.optimizers import check_scales, inside


class PacesSteps:
    """Mixed into a Keras model, which calls `note_steps` in every step of training."""

    optimizer: Any
    _base_steps: int | None = None

    def note_steps(self, x: Any) -> None:
        """Fit the learning rate of the step underway to the steps of its inputs (B, T, ...)."""
        if not self._base_steps:
            return
        scale = ops.shape(x)[1] / self._base_steps
        # On TensorFlow the steps may be a tensor, and their quotient a double.
        scale = scale if isinstance(scale, float) else ops.cast(scale, "float32")
        inside(self.optimizer).rate_scale = scale

    @contextmanager
    def paced_by(self, batches: Any) -> Iterator[None]:
        """Fit the learning rate to the steps of batches that differ in them, in the block.

        Raises:
            UsageError: the optimizer is not one of `kseq.clipped_optimizer`.
        """
        self._base_steps = getattr(batches, "base_steps", None)
        try:
            if self._base_steps:
                check_scales(self.optimizer)
            yield
        finally:
            if self._base_steps:
                inside(self.optimizer).rate_scale = 1.0
            self._base_steps = None
