"""The only room that names torch, jax or tensorflow.

Rules of the room:
  1. No other module imports an engine; what differs between engines is a function here.
  2. Each engine's module offers the same functions: `devices`, `place`, `recurrence`,
     `steps`, `feed_lengths`, `apply_if_finite`, `reader`, `reading_waits`, `compile_step`,
     `gradient`, `random_state`, `set_random_state`, `out_of_memory_errors`, `averaged`.
  3. An engine is imported when it is first needed, never on `import kseq`.

The engine is chosen once, by `KERAS_BACKEND` before Keras is imported; it cannot change
afterwards, because Keras binds its functions to the engine on import.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from kseq.checks import shown
from kseq.errors import UsageError

ENGINES = ("torch", "jax", "tensorflow")


@dataclass(frozen=True)
class Device:
    """A processor the engine can compute on.

    name: how the engine and `--device` call it, such as "cpu", "cuda:0" or "gpu:1".
    kind: "cpu", "gpu", "mps", "xpu" or "tpu".
    memory: bytes of memory, or None where the engine does not say.
    model: what the maker calls it, or "".
    """

    name: str
    kind: str
    memory: int | None = None
    model: str = ""


def engine() -> str:
    """Return the name of the engine in use: "torch", "jax" or "tensorflow".

    Raises:
        UsageError: the engine is unknown, is not installed, or was changed after Keras had
            been imported with another.

    Example:
        >>> engine() in ENGINES
        True
    """
    loaded = _loaded_engine()
    name = os.environ.get("KERAS_BACKEND") or loaded or "torch"
    _check_known(name)
    if loaded and loaded != name:
        raise UsageError(
            f"KERAS_BACKEND: the engine must be chosen before Keras is imported, found {name!r} "
            f"while {loaded!r} is running; set it before Python starts"
        )
    return name


def require_engine() -> ModuleType:
    """Return this room's module for the engine in use, importing the engine.

    Raises:
        UsageError: as for `engine`, or the engine's package is missing.
    """
    name = engine()
    if find_spec(name) is None:
        raise UsageError(
            f"KERAS_BACKEND: the engine must be installed, found no package {name!r} "
            f"(installed: {', '.join(_installed()) or 'none'}); pip install {_pip_name(name)}"
        )
    return import_module(f"kseq.backend.on_{name}")


def devices() -> list[Device]:
    """List the devices the engine sees, best first; the last one is always a CPU.

    Example:
        >>> devices()[-1].kind
        'cpu'
    """
    return require_engine().devices()


def best_device() -> Device:
    """Return the first of `devices()`: an accelerator if there is one, else the CPU.

    It serves the habit of `try_gpu()` in Dive into Deep Learning, section 5.6.
    """
    return devices()[0]


def find_device(name: str) -> Device:
    """Return the device that `name` means: "cpu", "gpu" (any accelerator), "cuda:1", "mps" ...

    Of several processes on a machine, "gpu" and "cuda" mean to each a GPU of its own.

    Raises:
        UsageError: the engine sees no such device.
    """
    seen = devices()
    for device in seen:
        if name.lower() in (device.name, device.kind, device.name.partition(":")[0]):
            return device
        if name.lower() == "gpu" and device.kind != "cpu":
            return device
    raise UsageError(
        f"--device: must be a device the engine sees ({', '.join(d.name for d in seen)}), "
        f"found {name!r}; choose one of these or leave the option out"
    )


def on_device(device: Device) -> AbstractContextManager[None]:
    """Return a context in which tensors are made and models are built on `device`."""
    return require_engine().place(device.name)


@contextmanager
def alone() -> Iterator[None]:
    """Keep TensorFlow from being imported beside another engine.

    Where it is installed, Keras imports it under every engine to ask whether a value is one of
    its own, which takes seconds and prints lines nobody asked for.  For programs that own their
    process: Keras takes TensorFlow for missing from then on.
    """
    keeps_out = engine() != "tensorflow" and "tensorflow" not in sys.modules
    if keeps_out:
        # Python takes a module that is None for one that is not installed.
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if keeps_out:
            del sys.modules["tensorflow"]


def gradient(function: Callable[[list[Any]], Any], tensors: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Return a scalar function's value and its gradients by each of `tensors`.

    function: takes the list of tensors, gives a scalar tensor; computes with them and constants
        alone, because JAX compiles it once for all tensors of the same shapes.
    tensors: float tensors or arrays; the gradients have their shapes, zero where the function
        does not depend on one.

    Example:
        >>> import numpy as np
        >>> from keras import ops
        >>> value, (slope,) = gradient(lambda x: ops.sum(x[0] ** 2), [np.array([3.0], "float32")])
        >>> float(value), float(slope[0])
        (9.0, 6.0)
    """
    return require_engine().gradient(function, tensors)


def out_of_memory_errors() -> tuple[type[BaseException], ...]:
    """The exceptions the engine raises when a device's memory is full."""
    return (MemoryError, *require_engine().out_of_memory_errors())


def _check_known(name: str) -> None:
    if name not in ENGINES:
        raise UsageError(
            f"KERAS_BACKEND: must be one of {', '.join(ENGINES)}, found {shown(name)} "
            f"(installed: {', '.join(_installed()) or 'none'}); set it to one of these"
        )


def _loaded_engine() -> str | None:
    keras = sys.modules.get("keras")
    config = getattr(keras, "config", None)
    return config.backend() if config is not None else None


def _installed() -> list[str]:
    return [name for name in ENGINES if find_spec(name)]


def _pip_name(name: str) -> str:
    return name if name == "torch" else f"'kseq[{name}]'"
