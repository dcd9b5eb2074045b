"""Recurrent layers in C++ as differentiable functions of PyTorch (see `kseq.backend.compiled`).

The input product and the sums of the weights' gradients over all steps are PyTorch's; the loop
over time is one call forward and one backward.  The eager twin, which is the oracle of this one,
is `kseq.backend.torch_through_time`.
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
    assert tensors[0] is not None
    library = compiled.built(KEPT[tensors[0].dtype])
    sizes = _Sizes(*shape, torch.get_num_threads())
    addresses = [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]
    getattr(library, name)(sizes, *addresses)


def _project(inputs: Tensor, kernel: Tensor) -> Tensor:
    """Return inputs W for all steps at once, (T, B, G H)."""
    return (inputs.flatten(0, 1) @ kernel).view(*inputs.shape[:2], -1)


def _begun(first: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Return memory for the states (T + 1, B, H), of which the first is there."""
    states = first.new_empty(steps + 1, *first.shape, dtype=dtype)
    states[0] = first
    return states


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


def _recurrent_gradient(states: Tensor, d: Tensor) -> Tensor:
    """Sum h_{t-1}^T d_t over the steps, as one product: (H, G H)."""
    return states[:-1].flatten(0, 1).t() @ d.flatten(0, 1)


def _summed(d: Tensor, wanted: bool) -> Tensor | None:
    """Sum over steps and rows, in float32 at least: the gradient of a bias."""
    wide = torch.float32 if d.dtype == torch.bfloat16 else d.dtype
    return d.flatten(0, 1).sum(0, dtype=wide).to(d.dtype) if wanted else None


def _bias(bias: Tensor | None, recurrent: Tensor) -> Tensor:
    return recurrent.new_zeros(recurrent.shape[1]) if bias is None else bias.contiguous()


class _SimpleRNN(Function):
    """(inputs, h0, W, R, b, mask) -> all h (T, B, H), the last h (B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h0: Tensor, W: Tensor, R: Tensor, b: Tensor | None, mask: Any
    ) -> tuple[Tensor, Tensor]:
        x, R = _project(inputs, W), R.contiguous()
        states, h = _begun(h0, len(x), x.dtype), _computed(h0)
        _call("simple_rnn_forward", x.shape, x, _bias(b, R), states, h, R, mask)
        ctx.num_states = 1
        ctx.save_for_backward(inputs, W, R, mask, states)
        return states[1:], h.to(h0.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs, W, R, mask, states = ctx.saved_tensors
        d_x, d_h = torch.empty_like(states[1:]), _computed(grads[1])
        given = (states, R, mask, grads[0].contiguous())
        _call("simple_rnn_backward", d_x.shape, *given, d_x, d_h)
        d_inputs, d_W = _input_gradients(ctx, inputs, W, d_x)
        d_R, d_b = _recurrent_gradient(states, d_x), _summed(d_x, ctx.needs_input_grad[4])
        return d_inputs, d_h.to(grads[1].dtype), d_W, d_R, d_b, None


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
        gates, R = _project(inputs, W), R.contiguous()
        states, h = _begun(h0, len(gates), gates.dtype), _computed(h0)
        cells = _begun(c0, len(gates), h.dtype)
        shape = states[1:].shape
        _call("lstm_forward", shape, gates, _bias(b, R), states, h, cells, R, mask)
        ctx.num_states = 2
        ctx.save_for_backward(inputs, W, R, mask, gates, states, cells)
        return states[1:], h.to(h0.dtype), cells[-1].to(c0.dtype, copy=True)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs, W, R, mask, gates, states, cells = ctx.saved_tensors
        d_x, d_h, d_c = torch.empty_like(gates), _computed(grads[1]), _computed(grads[2])
        given = (gates, cells, R, mask, grads[0].contiguous())
        _call("lstm_backward", states[1:].shape, *given, d_x, d_h, d_c)
        d_inputs, d_W = _input_gradients(ctx, inputs, W, d_x)
        d_R, d_b = _recurrent_gradient(states, d_x), _summed(d_x, ctx.needs_input_grad[5])
        return d_inputs, d_h.to(grads[1].dtype), d_c.to(grads[2].dtype), d_W, d_R, d_b, None


class _GRU(Function):
    """(inputs, h0, W, R, b (2, 3 H), mask) -> all h (T, B, H), the last h (B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h0: Tensor, W: Tensor, R: Tensor, b: Tensor | None, mask: Any
    ) -> tuple[Tensor, Tensor]:
        gates, R, H = _project(inputs, W), R.contiguous(), len(R)
        states, h = _begun(h0, len(gates), gates.dtype), _computed(h0)
        products = torch.empty_like(states[1:])
        biases = R.new_zeros(4 * H) if b is None else _four_biases(b, H)
        _call("gru_forward", products.shape, gates, biases, states, h, R, mask, products)
        ctx.num_states = 1
        ctx.save_for_backward(inputs, W, R, mask, gates, states, products)
        return states[1:], h.to(h0.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs, W, R, mask, gates, states, products = ctx.saved_tensors
        H = len(R)
        d, d_h = gates.new_empty(*gates.shape[:2], 4 * H), _computed(grads[1])
        given = (gates, products, states, R, mask, grads[0].contiguous())
        _call("gru_backward", products.shape, *given, d, d_h)
        # d holds n, z, r and the candidate's product; Keras's order is z, r, n.
        candidate_first = torch.cat([W[:, 2 * H :], W[:, : 2 * H]], dim=1)
        d_inputs, d_W = _input_gradients(ctx, inputs, candidate_first, d[..., : 3 * H])
        d_W = None if d_W is None else torch.cat([d_W[:, H:], d_W[:, :H]], dim=1)
        d_b = _summed(d, ctx.needs_input_grad[4])
        if d_b is not None:
            d_b = torch.stack([torch.cat([d_b[H : 3 * H], d_b[:H]]), d_b[H:]])
        d_R = _recurrent_gradient(states, d[..., H:])
        return d_inputs, d_h.to(grads[1].dtype), d_W, d_R, d_b, None


def _four_biases(b: Tensor, H: int) -> Tensor:
    """Return those of z, r, the candidate and its product from Keras's (2, 3 H)."""
    return torch.cat([b[0, : 2 * H] + b[1, : 2 * H], b[0, 2 * H :], b[1, 2 * H :]])


class _GRUResetBefore(Function):
    """(inputs, h0, W, R, b (3 H), mask) -> all h (T, B, H), the last h (B, H)."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, h0: Tensor, W: Tensor, R: Tensor, b: Tensor | None, mask: Any
    ) -> tuple[Tensor, Tensor]:
        gates, R = _project(inputs, W), R.contiguous()
        states, h = _begun(h0, len(gates), gates.dtype), _computed(h0)
        resets = torch.empty_like(states[1:])
        given = (gates, _bias(b, R), states, h, R, mask)
        _call("gru_reset_before_forward", resets.shape, *given, resets)
        ctx.num_states = 1
        ctx.save_for_backward(inputs, W, R, mask, gates, states, resets)
        return states[1:], h.to(h0.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        inputs, W, R, mask, gates, states, resets = ctx.saved_tensors
        d_x, d_h, H = torch.empty_like(gates), _computed(grads[1]), len(R)
        given = (gates, states, R, mask, grads[0].contiguous())
        _call("gru_reset_before_backward", resets.shape, *given, d_x, d_h)
        d_inputs, d_W = _input_gradients(ctx, inputs, W, d_x)
        of_gates = _recurrent_gradient(states, d_x[..., : 2 * H])
        of_candidate = resets.flatten(0, 1).t() @ d_x[..., 2 * H :].flatten(0, 1)
        d_R = torch.cat([of_gates, of_candidate], dim=1)
        return (
            d_inputs,
            d_h.to(grads[1].dtype),
            d_W,
            d_R,
            _summed(d_x, ctx.needs_input_grad[4]),
            None,
        )


_FUNCTIONS: dict[str, Any] = {
    "simple_rnn": _SimpleRNN,
    "gru": _GRU,
    "gru_reset_before": _GRUResetBefore,
    "lstm": _LSTM,
}
