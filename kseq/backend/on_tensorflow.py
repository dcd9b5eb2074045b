"""What kseq asks of TensorFlow: devices, a skipped update, compiled decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

from kseq.backend import Device
from kseq.data.token_ids import check_ids


def devices() -> list[Device]:
    """List TensorFlow's GPUs and TPUs, then the CPU."""
    found = [_describe(device) for device in tf.config.list_physical_devices()]
    return sorted(found, key=lambda device: device.kind == "cpu")


def place(name: str) -> AbstractContextManager[None]:
    """Make Keras build and compute on the device called `name`."""
    import keras

    return keras.device(name if ":" in name else f"{name}:0")


def out_of_memory_errors() -> tuple[type[BaseException], ...]:
    """The exceptions that say a device's memory is full."""
    return (tf.errors.ResourceExhaustedError,)


def recurrence(
    kind: str,
    inputs: Any,
    states: Sequence[Any],
    kernel: Any,
    recurrent_kernel: Any,
    bias: Any,
    mask: Any = None,
    reset_after: bool = True,
) -> None:
    """Return None: Keras's own loop is a compiled `while_loop`, or cuDNN on a GPU."""
    del kind, inputs, states, kernel, recurrent_kernel, bias, mask, reset_after


def steps() -> None:
    """Return None: TensorFlow traces a step as a whole, Keras's own."""
    return


def feed_lengths(batches: Any) -> Any:
    """Return what `fit` may be given for pairs of ids (B, T) of several lengths.

    Keras takes the lengths of the first two batches, where they are equal, for those of all.
    """
    from kseq.backend.tensorflow_feeding import PairAdapter

    return PairAdapter(batches)


def apply_if_finite(norm: Any, apply: Callable[[], None], variables: Sequence[Any]) -> Any:
    """Call `apply` only if `norm` is finite; return 1 if it was skipped, else 0."""
    del variables

    def applied() -> Any:
        apply()
        return tf.constant(0, tf.int32)

    return tf.cond(tf.math.is_finite(norm), applied, lambda: tf.constant(1, tf.int32))


def averaged(grads: Sequence[Any]) -> Sequence[Any]:
    """Return the gradients as they are: on TensorFlow kseq trains in one process."""
    return grads


def reader(model: Any, variable: Any) -> Callable[[], float]:
    """Return a function that reads a scalar variable, in the middle of `fit` too."""
    del model
    return lambda: variable.numpy().item()


def reading_waits(model: Any) -> bool:
    """Whether reading a value may wait for a device."""
    del model
    return True


def compile_step(model: Any, weights: Any = None) -> _Decoder:
    """Return step(ids (B, T), state) -> (logits (B, T, V) as NumPy, state), traced once a shape.

    Its method `read` reads prompts of any lengths with one trace.
    """
    del weights
    return _Decoder(model)


class _Decoder:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.traced = tf.function(self._advance)
        self.traced_read = tf.function(self._read)

    def __call__(self, ids: Any, state: Any) -> tuple[np.ndarray, Any]:
        if state is None:  # a text begins; those drawn later are from the vocabulary
            self._check(ids)
        logits, state = self.traced(tf.constant(ids), state)
        return tf.cast(logits, tf.float32).numpy(), state

    def read(self, ids: np.ndarray, counts: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Read of each row of ids (B, T) its first tokens: logits (B, V) after them, and state."""
        self._check(ids)
        state = self.model.zero_state(len(ids)) if state is None else state
        logits, state = self.traced_read(tf.constant(ids), tf.constant(counts), state)
        return logits.numpy(), state

    def _check(self, ids: Any) -> None:
        vocab = getattr(self.model, "vocab", None)
        if vocab is not None:  # a forecaster reads numbers
            check_ids("ids", ids, len(vocab))

    def _advance(self, ids: Any, state: Any) -> Any:
        return self.model(ids, initial_state=state, return_state=True, training=False)

    def _read(self, ids: Any, counts: Any, state: Any) -> Any:
        def advance(t: Any, *before: Any) -> Any:
            logits, state = self._advance(ids[:, t : t + 1], before[1])
            going = (t < counts)[:, None]
            after = (logits[:, 0], state)
            kept = tf.nest.map_structure(lambda a, b: tf.where(going, a, b), after, before)
            return t + 1, *kept

        last = tf.reduce_max(counts)
        logits = tf.zeros((len(ids), len(self.model.vocab)))
        start = (tf.zeros((), last.dtype), logits, state)
        return tf.while_loop(lambda t, *_: t < last, advance, start)[1:]


def random_state() -> dict[str, Any]:
    """Return nothing: Keras draws from seeds that are variables."""
    return {}


def set_random_state(states: Mapping[str, Any]) -> None:
    """Do nothing, for there is nothing to put back."""


def gradient(function: Callable[[list[Any]], Any], tensors: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Return the value of `function` and its gradients by each of `tensors`, traced once."""
    leaves = [tf.convert_to_tensor(tensor) for tensor in tensors]
    # Called directly it would warn of tracing often, which a new function has to be.
    return _with_gradients(function).get_concrete_function(leaves)(leaves)


@lru_cache(maxsize=4)
def _with_gradients(function: Callable[[list[Any]], Any]) -> Any:
    @tf.function
    def traced(leaves: list[Any]) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(leaves)
            value = function(leaves)
        unconnected = tf.UnconnectedGradients.ZERO
        found = tape.gradient(value, leaves, unconnected_gradients=unconnected)
        # The gradient of a look-up comes as slices.
        return value, [tf.convert_to_tensor(each) for each in found]

    return traced


def _describe(device: Any) -> Device:
    kind = device.device_type.lower()
    index = device.name.rpartition(":")[2]
    details = {} if kind == "cpu" else tf.config.experimental.get_device_details(device)
    name = "cpu" if kind == "cpu" else f"{kind}:{index}"
    return Device(name, kind, None, details.get("device_name", ""))
