"""Carrying a recurrent state from batch to batch inside `fit` and `evaluate`.

The state lives in variables the trainer tracks, one set for training and one for evaluation, so
that validation never disturbs training.  They belong to a running `fit` or `evaluate`: they have
its batch size, start at zero with each epoch, and are no part of the saved model.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


class CarriedState:
    """A state in variables: for each layer a list of (B, H), read as copies without gradient."""

    def __init__(self, widths: list[list[int]], batch_size: int, dtype: str) -> None:
        self.batch_size = batch_size
        self.dtype = dtype
        self.layers = [[self._zeros(width) for width in layer] for layer in widths]

    @property
    def variables(self) -> list[keras.Variable]:
        return [variable for layer in self.layers for variable in layer]

    def read(self) -> list[list[Any]]:
        """Return the state as tensors; a copy, for the variables are overwritten in the step."""
        return [[ops.copy(ops.stop_gradient(v.value)) for v in layer] for layer in self.layers]

    def write(self, state: Any) -> None:
        """Keep `state` for the next batch, cut off from the graph that made it."""
        for layer, new in zip(self.layers, state, strict=True):
            for variable, tensor in zip(layer, new, strict=True):
                variable.assign(ops.cast(ops.stop_gradient(tensor), variable.dtype))

    def reset(self) -> None:
        """Set the state to zero."""
        for variable in self.variables:
            # A NumPy array: inside `fit` on JAX the variable holds no tensor to be shaped like.
            variable.assign(np.zeros(variable.shape, "float32"))

    def _zeros(self, width: int) -> keras.Variable:
        shape = (self.batch_size, width)
        return keras.Variable(
            np.zeros(shape, "float32"), dtype=self.dtype, trainable=False, name="carried_state"
        )


class CarryDuringFit(keras.callbacks.Callback):
    """Switch carrying on when the training or the evaluation proper begins, and reset it.

    Keras tries the model on a symbolic batch before; that must not touch the state.
    """

    def __init__(self, carry: Carry, batches: Any = None, first_epoch: int = 0) -> None:
        super().__init__()
        self.carry, self.batches, self.first_epoch = carry, batches, first_epoch

    def on_train_begin(self, logs: Any = None) -> None:
        self.carry.active.add("training")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.carry.reset("training")
        if self.batches is not None:
            self.batches.set_epoch(self.first_epoch + epoch)

    def on_test_begin(self, logs: Any = None) -> None:
        self.carry.active.add("evaluation")
        self.carry.reset("evaluation")

    def on_test_end(self, logs: Any = None) -> None:
        self.carry.active.discard("evaluation")


class NoteResults(keras.callbacks.Callback):
    """Write the figures of each epoch into the model's provenance."""

    def __init__(self, provenance: Any) -> None:
        super().__init__()
        self.provenance = provenance

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.provenance.note_epoch({"epoch": epoch + 1, **(logs or {})})


class Carry:
    """The carried states of one model: which exist, and which are in use right now."""

    def __init__(self) -> None:
        self.states: dict[str, CarriedState] = {}
        self.active: set[str] = set()

    @property
    def variables(self) -> list[keras.Variable]:
        return [v for state in self.states.values() for v in state.variables]

    def current(self, training: bool) -> CarriedState | None:
        """Return the state to use in this call, or None when nothing is being carried."""
        use = "training" if training else "evaluation"
        return self.states.get(use) if use in self.active else None

    def reset(self, use: str) -> None:
        if use in self.states:
            self.states[use].reset()

    def prepare(self, batch_sizes: dict[str, int], widths: list[list[int]], dtype: str) -> None:
        """Make a state at zero for each use, "training" or "evaluation", with its batch size."""
        self.clear()
        for use, batch_size in batch_sizes.items():
            self.states[use] = CarriedState(widths, batch_size, dtype)

    def clear(self) -> None:
        """Forget every state, as after a `fit`."""
        self.states, self.active = {}, set()
