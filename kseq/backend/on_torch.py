"""What kseq asks of PyTorch: devices, fused recurrences with their gradients, decoding.

The input product, the gradients of the weights and the gradient of the input are taken once
over all steps; inside the time loop stays the recurrent product alone.  On a GPU, and for the
LSTM everywhere, PyTorch's own kernels (cuDNN, oneDNN) do the same work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from kseq.backend import Device


def devices() -> list[Device]:
    """List CUDA, XPU and MPS devices and the CPU."""
    return [*_cuda_devices(), *_xpu_devices(), *_mps_devices(), Device("cpu", "cpu")]


def place(name: str) -> AbstractContextManager[None]:
    """Make Keras build and compute on the device called `name`."""
    import keras

    return keras.device(name)


def out_of_memory_errors() -> tuple[type[BaseException], ...]:
    """The exceptions that say a device's memory is full."""
    return (torch.OutOfMemoryError,)


def recurrence(
    kind: str,
    inputs: Tensor,
    states: Sequence[Tensor],
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
) -> tuple[Tensor, list[Tensor]] | None:
    """Run a whole recurrent layer with tanh and sigmoid, or return None if it cannot be fused.

    kind: "simple_rnn", "gru" (reset gate after the product) or "lstm".
    inputs (B, T, D); states one or two of (B, H); kernel (D, G H), recurrent_kernel (H, G H)
    and bias in Keras's layout and gate order.  Returns outputs (B, T, H) and the last states.
    """
    if inputs.shape[1] == 0 or inputs.device.type == "meta":
        return None
    run = _ON_ACCELERATOR if inputs.device.type != "cpu" else _ON_CPU
    return run[kind](inputs, states, kernel, recurrent_kernel, bias)


def apply_if_finite(norm: Tensor, apply: Callable[[], None], variables: Sequence[Any]) -> Tensor:
    """Call `apply` only if `norm` is finite; return 1 if it was skipped, else 0."""
    del variables
    finite = bool(torch.isfinite(norm))
    if finite:
        apply()
    return torch.tensor(0 if finite else 1, dtype=torch.int32)


def compile_step(model: Any) -> Callable[..., tuple[Any, Any]]:
    """Return step(ids (B, T), state) -> (logits (B, T, V) as NumPy, state) without gradients."""

    def step(ids: Any, state: Any) -> tuple[Any, Any]:
        with torch.no_grad():
            logits, state = model(ids, initial_state=state, return_state=True, training=False)
        return logits.float().cpu().numpy(), state

    return step


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
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [Device(f"cuda:{i}", "gpu", p.total_memory, p.name) for i, p in enumerate(found)]


def _xpu_devices() -> list[Device]:
    if not (hasattr(torch, "xpu") and torch.xpu.is_available()):
        return []
    found = [torch.xpu.get_device_properties(i) for i in range(torch.xpu.device_count())]
    return [Device(f"xpu:{i}", "xpu", p.total_memory, p.name) for i, p in enumerate(found)]


def _mps_devices() -> list[Device]:
    return [Device("mps", "mps")] if torch.backends.mps.is_available() else []


def _simple_rnn(
    inputs: Tensor, states: Sequence[Tensor], kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    projected = _project(inputs, kernel, bias)
    outputs = _SimpleRNN.apply(projected, states[0], recurrent)
    return outputs.transpose(0, 1), [outputs[-1]]


def _gru(
    inputs: Tensor, states: Sequence[Tensor], kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    input_bias, recurrent_bias = (None, None) if bias is None else bias.unbind(0)
    if recurrent_bias is None:
        recurrent_bias = torch.zeros_like(recurrent[0])
    projected = _project(inputs, kernel, input_bias)
    outputs = _GRU.apply(projected, states[0], recurrent, recurrent_bias)
    return outputs.transpose(0, 1), [outputs[-1]]


def _lstm(
    inputs: Tensor, states: Sequence[Tensor], kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    bias = torch.zeros_like(recurrent[0]) if bias is None else bias
    # Keras's gate order i, f, c, o is PyTorch's i, f, g, o; PyTorch's second bias stays zero.
    weights = [kernel.t(), recurrent.t(), bias, torch.zeros_like(bias)]
    first = [state.unsqueeze(0).contiguous() for state in states]
    outputs, h, c = torch._VF.lstm(inputs, first, weights, True, 1, 0.0, True, False, True)
    return outputs, [h[0], c[0]]


def _cudnn_simple_rnn(
    inputs: Tensor, states: Sequence[Tensor], kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    bias = torch.zeros_like(recurrent[0]) if bias is None else bias
    weights = [kernel.t(), recurrent.t(), bias, torch.zeros_like(bias)]
    first = states[0].unsqueeze(0).contiguous()
    outputs, h = torch._VF.rnn_tanh(inputs, first, weights, True, 1, 0.0, True, False, True)
    return outputs, [h[0]]


def _cudnn_gru(
    inputs: Tensor, states: Sequence[Tensor], kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    bias = recurrent.new_zeros(2, recurrent.shape[1]) if bias is None else bias
    biases = [_z_r_h_to_r_z_n(row) for row in bias.unbind(0)]
    weights = [_z_r_h_to_r_z_n(kernel).t(), _z_r_h_to_r_z_n(recurrent).t(), *biases]
    first = states[0].unsqueeze(0).contiguous()
    outputs, h = torch._VF.gru(inputs, first, weights, True, 1, 0.0, True, False, True)
    return outputs, [h[0]]


def _z_r_h_to_r_z_n(weight: Tensor) -> Tensor:
    """Reorder Keras's GRU gates (last axis) to PyTorch's, where n is Keras's h."""
    z, r, h = weight.chunk(3, dim=-1)
    return torch.cat([r, z, h], dim=-1)


def _project(inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Return inputs @ kernel + bias for all steps at once, time first: (T, B, G H)."""
    flat = inputs.transpose(0, 1).reshape(-1, inputs.shape[2])
    projected = flat @ kernel if bias is None else torch.addmm(bias, flat, kernel)
    return projected.view(inputs.shape[1], inputs.shape[0], -1)


class _SimpleRNN(Function):
    """h_t = tanh(x_t + h_{t-1} R), with x (T, B, H) already projected; gives all h (T, B, H)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, R: Tensor) -> Tensor:
        outputs = torch.empty_like(x)
        h = h0
        for x_t, out in zip(x.unbind(0), outputs.unbind(0), strict=True):
            h = torch.addmm(x_t, h, R, out=out).tanh_()
        ctx.save_for_backward(outputs, h0, R)
        return outputs

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        outputs, h0, R = ctx.saved_tensors
        slope = 1 - outputs * outputs
        R_t = R.t().contiguous()
        d_x = torch.empty_like(outputs)
        d_h = torch.zeros_like(h0)
        for g_t, s_t, d_t in _backwards(*grads, slope, d_x):
            torch.add(g_t, d_h, out=d_t).mul_(s_t)
            d_h = d_t @ R_t
        return d_x, d_h, _recurrent_gradient(h0, outputs, d_x)


class _GRU(Function):
    """z, r gates and candidate n from x (T, B, 3H) already projected; gives all h (T, B, H).

    p = h_{t-1} R + b;  z = s(x_z + p_z);  r = s(x_r + p_r);  n = tanh(x_n + r p_n);
    h_t = z h_{t-1} + (1 - z) n.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, R: Tensor, b: Tensor) -> Tensor:
        T, B, H = x.shape[0], x.shape[1], R.shape[0]
        outputs, gates, p_n = x.new_empty(T, B, H), torch.empty_like(x), x.new_empty(T, B, H)
        h = h0
        for x_t, gate, p_t, out in zip(
            x.unbind(0), gates.unbind(0), p_n.unbind(0), outputs.unbind(0), strict=True
        ):
            p = torch.addmm(b, h, R)
            zr, n = gate[:, : 2 * H], gate[:, 2 * H :]
            torch.add(x_t[:, : 2 * H], p[:, : 2 * H], out=zr).sigmoid_()
            p_t.copy_(p[:, 2 * H :])
            torch.addcmul(x_t[:, 2 * H :], zr[:, H:], p_t, out=n).tanh_()
            h = torch.lerp(n, h, zr[:, :H], out=out)
        ctx.save_for_backward(outputs, gates, p_n, h0, R)
        return outputs

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        outputs, gates, p_n, h0, R = ctx.saved_tensors
        z, r, n = gates.chunk(3, dim=2)
        before = torch.cat([h0.unsqueeze(0), outputs[:-1]])
        to_z = (before - n) * z * (1 - z)
        to_n = (1 - z) * (1 - n * n)
        to_r = p_n * r * (1 - r)
        R_t = R.t().contiguous()
        d_p = torch.empty_like(gates)
        d_n = torch.empty_like(outputs)
        d_h = torch.zeros_like(h0)
        H = h0.shape[1]
        for g_t, z_t, r_t, to_z_t, to_r_t, to_n_t, d_t, d_n_t in _backwards(
            *grads, z, r, to_z, to_r, to_n, d_p, d_n
        ):
            d_h = g_t + d_h
            torch.mul(d_h, to_z_t, out=d_t[:, :H])
            torch.mul(d_h, to_n_t, out=d_n_t)
            torch.mul(d_n_t, to_r_t, out=d_t[:, H : 2 * H])
            torch.mul(d_n_t, r_t, out=d_t[:, 2 * H :])
            d_h = torch.addmm(d_h.mul_(z_t), d_t, R_t)
        d_x = torch.cat([d_p[:, :, : 2 * H], d_n], dim=2)
        return d_x, d_h, _recurrent_gradient(h0, outputs, d_p), d_p.sum((0, 1))


def _backwards(*tensors: Tensor) -> Any:
    """Step through time from the last step to the first, one slice of each tensor a step."""
    return zip(*(reversed(tensor.unbind(0)) for tensor in tensors), strict=True)


def _recurrent_gradient(h0: Tensor, outputs: Tensor, d_x: Tensor) -> Tensor:
    """Sum over steps of h_{t-1}^T d_x_t, as one product: (H, G H)."""
    later = outputs[:-1].flatten(0, 1).t() @ d_x[1:].flatten(0, 1)
    return torch.addmm(later, h0.t(), d_x[0])


_ON_CPU = {"simple_rnn": _simple_rnn, "gru": _gru, "lstm": _lstm}
_ON_ACCELERATOR = {"simple_rnn": _cudnn_simple_rnn, "gru": _cudnn_gru, "lstm": _lstm}
