"""Recurrent layers in C++ as differentiable functions of PyTorch (see `kseq.backend.compiled`).

The input product and the sums of the weights' gradients over all steps are PyTorch's; the loop
over time is one call forward and one backward.  The eager twin, which is the oracle of this one,
is `kseq.backend.torch_recurrences`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from kseq.backend import compiled

KEPT = {torch.float32: "float", torch.float64: "double", torch.bfloat16: "Half"}


class _Sizes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("T", "B", "H", "threads")]


def recurrence(
    kind: str,
    inputs: Tensor,
    states: Sequence[Tensor],
    kernel: Tensor,
    recurrent: Tensor,
    bias: Tensor | None,
    mask: Tensor | None = None,
) -> tuple[Tensor, list[Tensor]] | None:
    """Run a layer as `kseq.backend.torch_recurrences` does, or return None where C++ cannot.

    kind: "simple_rnn", "gru", "gru_reset_before" or "lstm".
    inputs (T, B, D) time first; mask (T, B) bool, where False holds the state.  Returns the states
    after each step (T, B, H) and the last ones.
    """
    if not _suits(inputs, recurrent):
        return None
    hold = None if mask is None else mask.to(torch.uint8).contiguous()
    arguments = (inputs.contiguous(), *states, kernel, recurrent, bias, hold)
    outputs, *last = _FUNCTIONS[kind].apply(*arguments)
    return outputs, last


def _suits(inputs: Tensor, recurrent: Tensor) -> bool:
    kept = KEPT.get(inputs.dtype)
    is_plain = type(inputs) in (Tensor, torch.nn.Parameter) and inputs.device.type == "cpu"
    if kept is None or not is_plain or inputs.numel() == 0 or torch.compiler.is_compiling():
        return False
    # Pairs of bfloat16 are multiplied together, so a row must not end in half a pair.
    return not (kept == "Half" and recurrent.shape[0] % 2) and compiled.library(kept) is not None


def _call(name: str, shape: Sequence[int], *tensors: Tensor | None) -> None:
    """Call a C++ function with (T, B, H) and the addresses of contiguous tensors."""
    library = compiled.library(KEPT[_dtype_of(tensors)])
    sizes = _Sizes(*shape, torch.get_num_threads())
    addresses = [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]
    getattr(library, name)(sizes, *addresses)


def _dtype_of(tensors: Sequence[Tensor | None]) -> torch.dtype:
    assert tensors[0] is not None
    return tensors[0].dtype


def _project(inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Return inputs W + b for all steps at once, (T, B, G H)."""
    flat = inputs.flatten(0, 1)
    projected = flat @ kernel if bias is None else torch.addmm(bias, flat, kernel)
    return projected.view(*inputs.shape[:2], -1)


def _computed(state: Tensor) -> Tensor:
    """Return a copy of a state or its gradient in the precision it is computed in."""
    wide = torch.float32 if state.dtype == torch.bfloat16 else state.dtype
    return state.detach().to(wide, copy=True).contiguous()


def _input_gradients(
    ctx: Any, inputs: Tensor, kernel: Tensor, d_x: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of the inputs and of the kernel, where they are asked for."""
    flat = d_x.flatten(0, 1)
    needs_inputs, needs_kernel = ctx.needs_input_grad[0], ctx.needs_input_grad[ctx.num_states + 1]
    d_inputs = (flat @ kernel.t()).view_as(inputs) if needs_inputs else None
    d_kernel = inputs.flatten(0, 1).t() @ flat if needs_kernel else None
    return d_inputs, d_kernel


def _recurrent_gradient(h0: Tensor, outputs: Tensor, d: Tensor) -> Tensor:
    """Sum h_{t-1}^T d_t over the steps, as one product: (H, G H)."""
    first = h0.t() @ d[0]
    if len(outputs) == 1:
        return first
    return first.addmm_(outputs[:-1].flatten(0, 1).t(), d[1:].flatten(0, 1))


def _summed(d: Tensor, wanted: bool) -> Tensor | None:
    """Sum over steps and rows, in float32 at least: the gradient of a bias."""
    wide = torch.float32 if d.dtype == torch.bfloat16 else d.dtype
    return d.flatten(0, 1).sum(0, dtype=wide).to(d.dtype) if wanted else None


class _SimpleRNN(Function):
    """(inputs, h0, W, R, b, mask) -> all h (T, B, H), the last h (B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h0: Tensor, W: Tensor, R: Tensor, b: Tensor | None, mask: Any
    ) -> tuple[Tensor, Tensor]:
        outputs, h0, R = _project(inputs, W, b), h0.contiguous(), R.contiguous()
        h = _computed(h0)
        _call("simple_rnn_forward", outputs.shape, outputs, h0, h, R, mask)
        ctx.num_states = 1
        ctx.save_for_backward(inputs, h0, W, R, mask, outputs)
        return outputs, h.to(h0.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs, h0, W, R, mask, outputs = ctx.saved_tensors
        d_x, d_h = torch.empty_like(outputs), _computed(grads[1])
        _call(
            "simple_rnn_backward", outputs.shape, outputs, R, mask, grads[0].contiguous(), d_x, d_h
        )
        d_inputs, d_W = _input_gradients(ctx, inputs, W, d_x)
        d_R = _recurrent_gradient(h0, outputs, d_x)
        return d_inputs, d_h.to(h0.dtype), d_W, d_R, _summed(d_x, ctx.needs_input_grad[4]), None


class _LSTM(Function):
    """(inputs, h0, c0, W, R, b, mask) -> all h (T, B, H), the last h and c (B, H)."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        h0: Tensor,
        c0: Tensor,
        W: Tensor,
        R: Tensor,
        b: Tensor | None,
        mask: Any,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gates, h0, R = _project(inputs, W, b), h0.contiguous(), R.contiguous()
        outputs = gates.new_empty(*gates.shape[:2], len(R))
        h, c, first_c = _computed(h0), _computed(c0), _computed(c0)
        cells = outputs.new_empty(outputs.shape, dtype=c.dtype)
        _call("lstm_forward", outputs.shape, gates, h0, h, c, R, mask, outputs, cells)
        ctx.num_states = 2
        ctx.save_for_backward(inputs, h0, first_c, W, R, mask, gates, outputs, cells)
        return outputs, h.to(h0.dtype), c.to(c0.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs, h0, c0, W, R, mask, gates, outputs, cells = ctx.saved_tensors
        d_x, d_h, d_c = torch.empty_like(gates), _computed(grads[1]), _computed(grads[2])
        given = (gates, cells, c0, R, mask, grads[0].contiguous())
        _call("lstm_backward", outputs.shape, *given, d_x, d_h, d_c)
        d_inputs, d_W = _input_gradients(ctx, inputs, W, d_x)
        d_R, d_b = _recurrent_gradient(h0, outputs, d_x), _summed(d_x, ctx.needs_input_grad[5])
        return d_inputs, d_h.to(h0.dtype), d_c.to(grads[2].dtype), d_W, d_R, d_b, None


class _GRU(Function):
    """(inputs, h0, W, R, b (2, 3 H), mask) -> all h (T, B, H), the last h (B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h0: Tensor, W: Tensor, R: Tensor, b: Tensor | None, mask: Any
    ) -> tuple[Tensor, Tensor]:
        input_bias, product_bias = (None, torch.zeros_like(R[0])) if b is None else b.unbind(0)
        gates, h0, R = _project(inputs, W, input_bias), h0.contiguous(), R.contiguous()
        outputs = gates.new_empty(*gates.shape[:2], len(R))
        h, products = _computed(h0), torch.empty_like(outputs)
        given = (gates, h0, h, R, product_bias.contiguous(), mask)
        _call("gru_forward", outputs.shape, *given, outputs, products)
        ctx.num_states = 1
        ctx.save_for_backward(inputs, h0, W, R, mask, gates, outputs, products)
        return outputs, h.to(h0.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs, h0, W, R, mask, gates, outputs, products = ctx.saved_tensors
        H = len(R)
        d, d_h = gates.new_empty(*gates.shape[:2], 4 * H), _computed(grads[1])
        given = (gates, products, outputs, h0, R, mask, grads[0].contiguous())
        _call("gru_backward", outputs.shape, *given, d, d_h)
        # d holds n, z, r and the candidate's product; Keras's order is z, r, n.
        candidate_first = torch.cat([W[:, 2 * H :], W[:, : 2 * H]], dim=1)
        d_inputs, d_W = _input_gradients(ctx, inputs, candidate_first, d[..., : 3 * H])
        d_W = None if d_W is None else torch.cat([d_W[:, H:], d_W[:, :H]], dim=1)
        d_b = _summed(d, ctx.needs_input_grad[4])
        if d_b is not None:
            d_b = torch.stack([torch.cat([d_b[H : 3 * H], d_b[:H]]), d_b[H:]])
        d_R = _recurrent_gradient(h0, outputs, d[..., H:])
        return d_inputs, d_h.to(h0.dtype), d_W, d_R, d_b, None


class _GRUResetBefore(Function):
    """(inputs, h0, W, R, b (3 H), mask) -> all h (T, B, H), the last h (B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h0: Tensor, W: Tensor, R: Tensor, b: Tensor | None, mask: Any
    ) -> tuple[Tensor, Tensor]:
        gates, h0, R = _project(inputs, W, b), h0.contiguous(), R.contiguous()
        outputs = gates.new_empty(*gates.shape[:2], len(R))
        h, resets = _computed(h0), torch.empty_like(outputs)
        given = (gates, h0, h, R, mask, outputs, resets)
        _call("gru_reset_before_forward", outputs.shape, *given)
        ctx.num_states = 1
        ctx.save_for_backward(inputs, h0, W, R, mask, gates, outputs, resets)
        return outputs, h.to(h0.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs, h0, W, R, mask, gates, outputs, resets = ctx.saved_tensors
        d_x, d_h, H = torch.empty_like(gates), _computed(grads[1]), len(R)
        given = (gates, outputs, h0, R, mask, grads[0].contiguous())
        _call("gru_reset_before_backward", outputs.shape, *given, d_x, d_h)
        d_inputs, d_W = _input_gradients(ctx, inputs, W, d_x)
        of_gates = _recurrent_gradient(h0, outputs, d_x[..., : 2 * H])
        of_candidate = resets.flatten(0, 1).t() @ d_x[..., 2 * H :].flatten(0, 1)
        d_R = torch.cat([of_gates, of_candidate], dim=1)
        return d_inputs, d_h.to(h0.dtype), d_W, d_R, _summed(d_x, ctx.needs_input_grad[4]), None


_FUNCTIONS: dict[str, Any] = {
    "simple_rnn": _SimpleRNN,
    "gru": _GRU,
    "gru_reset_before": _GRUResetBefore,
    "lstm": _LSTM,
}
