"""What kseq asks of JAX: devices, a skipped update inside a compiled step, compiled decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kseq.backend import Device
from kseq.data.token_ids import check_ids


def devices() -> list[Device]:
    """List the devices of every platform JAX was installed for, accelerators first."""
    found = [_describe(device) for device in jax.devices()]
    if all(device.kind != "cpu" for device in found):
        found += [_describe(device) for device in jax.devices("cpu")]
    return found


def place(name: str) -> AbstractContextManager[None]:
    """Make Keras build and compute on the device called `name`."""
    import keras

    return keras.device(name if ":" in name else f"{name}:0")


def out_of_memory_errors() -> tuple[type[BaseException], ...]:
    """The exceptions that say a device's memory is full."""
    return ()


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
    """Return None: Keras's own loop is a compiled `lax.scan` here."""
    del kind, inputs, states, kernel, recurrent_kernel, bias, mask, reset_after


def steps() -> None:
    """Return None: JAX compiles a step as a whole, Keras's own."""
    return


def feed_lengths(batches: Any) -> Any:
    """Return what `fit` may be given for batches of several lengths: themselves."""
    return batches


def apply_if_finite(norm: Any, apply: Callable[[], None], variables: Sequence[Any]) -> Any:
    """Call `apply`, then undo it if `norm` is not finite; return 1 if undone, else 0.

    Inside a compiled step there is no branch on a value, so both outcomes are computed and
    one is selected.
    """
    finite = jnp.isfinite(norm)
    before = [variable.value for variable in variables]
    apply()
    for variable, old in zip(variables, before, strict=True):
        variable.assign(jnp.where(finite, variable.value, old))
    return jnp.where(finite, 0, 1).astype("int32")


def averaged(grads: Sequence[Any]) -> Sequence[Any]:
    """Return the gradients as they are: on JAX kseq trains in one process."""
    return grads


def reader(model: Any, variable: Any) -> Callable[[], float]:
    """Return a function that reads a scalar variable, in the middle of `fit` too."""
    return lambda: np.asarray(_newest(model, variable)).item()


def _newest(model: Any, variable: Any) -> Any:
    """Return a variable's value; while `fit` runs Keras keeps those that change elsewhere."""
    state = getattr(model, "_jax_state", None)
    if not state or model._jax_state_synced:
        return variable.value
    variables = [*model.optimizer.variables, *model.metrics_variables]
    values = [*state["optimizer_variables"], *state["metrics_variables"]]
    pairs = zip(variables, values, strict=True)
    return next(value for each, value in pairs if each is variable)


def reading_waits(model: Any) -> bool:
    """Whether reading a value waits for a device: JAX always computes behind the scenes."""
    del model
    return True


def compile_step(model: Any, weights: Any = None) -> _Decoder:
    """Return step(ids (B, T), state) -> (logits (B, T, V) as NumPy, state), compiled once.

    Its method `read` reads prompts of any lengths with one compiled program.
    """
    del weights
    return _Decoder(model)


class _Decoder:
    def __init__(self, model: Any) -> None:
        self.model = model
        self.variables: list[list[Any]] = []
        self.compiled = jax.jit(self._advance)
        self.compiled_read = jax.jit(self._read)

    def __call__(self, ids: Any, state: Any) -> tuple[np.ndarray, Any]:
        if state is None:  # a text begins; those drawn later are from the vocabulary
            self._check(ids)
        logits, state = self.compiled(*self._values(state), ids, state)
        return np.asarray(logits, dtype="float32"), state

    def read(self, ids: np.ndarray, counts: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Read of each row of ids (B, T) its first tokens: logits (B, V) after them, and state."""
        self._check(ids)
        values = self._values(state)
        state = self.model.zero_state(len(ids)) if state is None else state
        logits, state = self.compiled_read(*values, ids, counts, state)
        return np.asarray(logits, dtype="float32"), state

    def _check(self, ids: Any) -> None:
        vocab = getattr(self.model, "vocab", None)
        if vocab is not None:  # a forecaster reads numbers
            check_ids("ids", ids, len(vocab))

    def _values(self, state: Any) -> list[list[Any]]:
        if state is None or not self.variables:
            # Walking through the layers costs more than a step: once a text is often enough.
            self.variables = [self.model.trainable_variables, self.model.non_trainable_variables]
        return [[variable.value for variable in part] for part in self.variables]

    def _advance(self, trainable: Any, others: Any, ids: Any, state: Any) -> Any:
        (logits, state), _ = self.model.stateless_call(
            trainable, others, ids, initial_state=state, return_state=True, training=False
        )
        return logits, state

    def _read(self, trainable: Any, others: Any, ids: Any, counts: Any, state: Any) -> Any:
        def advance(t: Any, before: Any) -> Any:
            token = jax.lax.dynamic_slice_in_dim(ids, t, 1, axis=1)
            logits, state = self._advance(trainable, others, token, before[1])
            going = (t < counts)[:, None]
            after = (logits[:, 0], state)
            return jax.tree.map(lambda new, old: jnp.where(going, new, old), after, before)

        start = (jnp.zeros((len(ids), len(self.model.vocab)), "float32"), state)
        return jax.lax.fori_loop(0, counts.max(), advance, start)


def random_state() -> dict[str, Any]:
    """Return nothing: JAX has no generator of its own: seeds are variables."""
    return {}


def set_random_state(states: Mapping[str, Any]) -> None:
    """Do nothing, for there is nothing to put back."""


@partial(jax.jit, static_argnums=0)
def gradient(function: Callable[[list[Any]], Any], tensors: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Return the value of `function` and its gradients by each of `tensors`, compiled once."""
    return jax.value_and_grad(function)(list(tensors))


def _describe(device: Any) -> Device:
    kind = device.platform
    memory = (device.memory_stats() or {}).get("bytes_limit") if kind != "cpu" else None
    name = "cpu" if kind == "cpu" else f"{kind}:{device.id}"
    return Device(name, kind, memory, "" if kind == "cpu" else device.device_kind)
