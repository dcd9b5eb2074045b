"""What kseq asks of PyTorch: devices, fused recurrences, a skipped update, decoding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kseq.backend import Device, torch_processes, torch_steps
from kseq.backend.processes import place as place_of_process
from kseq.backend.torch_decoding import compile_step as compile_step
from kseq.backend.torch_processes import averaged as averaged
from kseq.backend.torch_processes import team as team
from kseq.backend.torch_recurrences import recurrence as recurrence

# A model is put on the device that is current when it is made.
torch_processes.take_device(place_of_process())


def devices() -> list[Device]:
    """List CUDA, XPU and MPS devices and the CPU; of several GPUs this process's own first."""
    return [*_cuda_devices(), *_xpu_devices(), *_mps_devices(), Device("cpu", "cpu")]


def place(name: str) -> AbstractContextManager[None]:
    """Make Keras build and compute on the device called `name`."""
    import keras

    return keras.device(name)


def out_of_memory_errors() -> tuple[type[BaseException], ...]:
    """The exceptions that say a device's memory is full."""
    return (torch.OutOfMemoryError,)


def steps() -> ModuleType:
    """Return the parts of a step that is planned (`kseq.nn.stepping`)."""
    return torch_steps


def feed_lengths(batches: Any) -> Any:
    """Return what `fit` may be given for batches of several lengths: themselves."""
    return batches


def apply_if_finite(norm: Tensor, apply: Callable[[], None], variables: Sequence[Any]) -> Tensor:
    """Call `apply` only if `norm` is finite; return 1 if it was skipped, else 0."""
    del variables
    finite = bool(torch.isfinite(norm))
    if finite:
        apply()
    return torch.tensor(0 if finite else 1, dtype=torch.int32)


def random_state() -> dict[str, np.ndarray]:
    """Return the states of PyTorch's own generators, by device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states |= {f"cuda:{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return {name: state.numpy() for name, state in states.items()}


def set_random_state(states: Mapping[str, np.ndarray]) -> None:
    """Put back what `random_state` returned, on the devices that are here."""
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(torch.from_numpy(state))
        elif torch.cuda.is_available():
            torch.cuda.set_rng_state(torch.from_numpy(state), name)


def reader(model: Any, variable: Any) -> Callable[[], float]:
    """Return a function that reads a scalar variable, in the middle of `fit` too."""
    del model
    # Keras writes to the same tensor as long as the variable lives.
    return variable.value.item


def reading_waits(model: Any) -> bool:
    """Whether reading a value waits for a device."""
    return any(variable.value.device.type != "cpu" for variable in model.trainable_variables)


def gradient(
    function: Callable[[list[Tensor]], Tensor], tensors: Sequence[Any]
) -> tuple[Tensor, list[Tensor]]:
    """Return the value of `function` and its gradients by each of `tensors`."""
    from keras import ops

    leaves = [ops.convert_to_tensor(t).detach().clone().requires_grad_() for t in tensors]
    with torch.enable_grad():
        value = function(leaves)
    found = torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)
    return value.detach(), list(found)


def _cuda_devices() -> list[Device]:
    if not torch.cuda.is_available():
        return []
    own = torch.cuda.current_device()
    numbers = sorted(range(torch.cuda.device_count()), key=lambda i: (i != own, i))
    found = {i: torch.cuda.get_device_properties(i) for i in numbers}
    return [Device(f"cuda:{i}", "gpu", p.total_memory, p.name) for i, p in found.items()]


def _xpu_devices() -> list[Device]:
    if not (hasattr(torch, "xpu") and torch.xpu.is_available()):
        return []
    found = [torch.xpu.get_device_properties(i) for i in range(torch.xpu.device_count())]
    return [Device(f"xpu:{i}", "xpu", p.total_memory, p.name) for i, p in enumerate(found)]


def _mps_devices() -> list[Device]:
    return [Device("mps", "mps")] if torch.backends.mps.is_available() else []
