"""What kseq asks of JAX: devices, a skipped update inside a compiled step, compiled decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kseq.backend import Device


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
    kind: str, inputs: Any, states: Sequence[Any], kernel: Any, recurrent_kernel: Any, bias: Any
) -> None:
    """Return None: Keras's own loop is a compiled `lax.scan` here."""
    del kind, inputs, states, kernel, recurrent_kernel, bias


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


def compile_step(model: Any) -> Callable[..., tuple[Any, Any]]:
    """Return step(ids (B, T), state) -> (logits (B, T, V) as NumPy, state), compiled once."""

    @jax.jit
    def compiled(trainable: Any, others: Any, ids: Any, state: Any) -> Any:
        (logits, state), _ = model.stateless_call(
            trainable, others, ids, initial_state=state, return_state=True, training=False
        )
        return logits, state

    def step(ids: Any, state: Any) -> tuple[Any, Any]:
        trainable = [v.value for v in model.trainable_variables]
        others = [v.value for v in model.non_trainable_variables]
        logits, state = compiled(trainable, others, ids, state)
        return np.asarray(logits, dtype="float32"), state

    return step


@partial(jax.jit, static_argnums=0)
def gradient(function: Callable[[list[Any]], Any], tensors: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Return the value of `function` and its gradients by each of `tensors`, compiled once."""
    return jax.value_and_grad(function)(list(tensors))


def _describe(device: Any) -> Device:
    kind = device.platform
    memory = (device.memory_stats() or {}).get("bytes_limit") if kind != "cpu" else None
    name = "cpu" if kind == "cpu" else f"{kind}:{device.id}"
    return Device(name, kind, memory, "" if kind == "cpu" else device.device_kind)
