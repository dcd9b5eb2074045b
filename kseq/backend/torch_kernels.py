"""PyTorch's own recurrent kernels (cuDNN, oneDNN) in Keras's layout, with masks of any form.

The kernels know no masks.  Steps that are passed over leave the state what it was, so the steps
that are not can be moved together to the front, run, and moved back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Weights = tuple[Tensor, Tensor, Tensor | None]

# sigmoid(1e4) is 1 and sigmoid(-1e4) is 0 in every dtype, and float16 still holds it.
_WIDE_OPEN = 1e4


def run(
    kind: str, inputs: Tensor, states: Sequence[Tensor], weights: Weights, mask: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Run `kind` over inputs (B, T, D); give all h (B, T, H), held where `mask` is False.

    weights: kernel, recurrent kernel and bias as in `torch_recurrences.recurrence`.
    """
    if mask is None:
        return KERNELS[kind](inputs, states, *weights)
    return _run_masked(kind, inputs, states, weights, mask)


def _run_masked(
    kind: str, inputs: Tensor, states: Sequence[Tensor], weights: Weights, mask: Tensor
) -> tuple[Tensor, list[Tensor]]:
    done = mask.cumsum(1)
    order = (~mask).byte().argsort(dim=1, stable=True)
    left = torch.arange(mask.shape[1], device=mask.device) >= done[:, -1:]
    moved = torch.take_along_dim(inputs, order.unsqueeze(2), 1).masked_fill(left.unsqueeze(2), 0.0)
    if kind == "lstm":
        # The last h can be found among the outputs, the last c has to be held to the end.
        moved, weights = _with_hold(moved, left, weights)
    outputs, last = KERNELS[kind](moved, states, *weights)
    known = torch.cat([states[0].unsqueeze(1), outputs], 1)
    outputs = torch.take_along_dim(known, done.unsqueeze(2), 1)
    return outputs, [outputs[:, -1], *last[1:]]


def _with_hold(inputs: Tensor, left: Tensor, weights: Weights) -> tuple[Tensor, Weights]:
    """Add an input that shuts an LSTM's input gate and opens its forget gate where it is one."""
    kernel, recurrent, bias = weights
    inputs = torch.cat([inputs, left.unsqueeze(2).to(inputs.dtype)], 2)
    hold = kernel.new_tensor([-_WIDE_OPEN, _WIDE_OPEN, 0.0, 0.0])
    row = hold.repeat_interleave(recurrent.shape[0]).unsqueeze(0)
    return inputs, (torch.cat([kernel, row]), recurrent, bias)


def _simple_rnn(
    inputs: Tensor, states: Sequence[Tensor], kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    bias = torch.zeros_like(recurrent[0]) if bias is None else bias
    weights = [kernel.t(), recurrent.t(), bias, torch.zeros_like(bias)]
    first = states[0].unsqueeze(0).contiguous()
    outputs, h = torch._VF.rnn_tanh(inputs, first, weights, True, 1, 0.0, True, False, True)
    return outputs, [h[0]]


def _gru(
    inputs: Tensor, states: Sequence[Tensor], kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    bias = recurrent.new_zeros(2, recurrent.shape[1]) if bias is None else bias
    biases = [_z_r_h_to_r_z_n(row) for row in bias.unbind(0)]
    weights = [_z_r_h_to_r_z_n(kernel).t(), _z_r_h_to_r_z_n(recurrent).t(), *biases]
    first = states[0].unsqueeze(0).contiguous()
    outputs, h = torch._VF.gru(inputs, first, weights, True, 1, 0.0, True, False, True)
    return outputs, [h[0]]


def _lstm(
    inputs: Tensor, states: Sequence[Tensor], kernel: Tensor, recurrent: Tensor, bias: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    bias = torch.zeros_like(recurrent[0]) if bias is None else bias
    # Keras's gate order i, f, c, o is PyTorch's i, f, g, o; PyTorch's second bias stays zero.
    weights = [kernel.t(), recurrent.t(), bias, torch.zeros_like(bias)]
    first = [state.unsqueeze(0).contiguous() for state in states]
    outputs, h, c = torch._VF.lstm(inputs, first, weights, True, 1, 0.0, True, False, True)
    return outputs, [h[0], c[0]]


def _z_r_h_to_r_z_n(weight: Tensor) -> Tensor:
    """Reorder Keras's GRU gates (last axis) to PyTorch's, where n is Keras's h."""
    z, r, h = weight.chunk(3, dim=-1)
    return torch.cat([r, z, h], dim=-1)


KERNELS = {"simple_rnn": _simple_rnn, "gru": _gru, "lstm": _lstm}
