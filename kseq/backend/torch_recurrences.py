"""Fused recurrent layers on PyTorch: whichever of three ways is the fastest for the case.

On a CPU that is C++, where the user's compiler could build it.  PyTorch's own kernels run
everything that cuDNN knows on an accelerator, and without C++ the LSTM in float32; the recurrences
of `torch_through_time` run the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kseq.backend import torch_compiled, torch_kernels, torch_through_time
from kseq.backend.torch_kernels import Weights

# On projected inputs x (T, B, G H), `apply(x, h0, [c0,] R, [b,] mask)`, with b for "gru" alone and
# a mask (T, B) or None, gives all h (T, B, H), for "lstm" also the last c (B, H).
FUNCTIONS: dict[str, Any] = {
    "simple_rnn": torch_through_time.SimpleRNN,
    "gru": torch_through_time.GRU,
    "gru_reset_before": torch_through_time.GRUResetBefore,
    "lstm": torch_through_time.LSTM,
}


def recurrence(
    kind: str,
    inputs: Tensor,
    states: Sequence[Tensor],
    kernel: Tensor,
    recurrent_kernel: Tensor,
    bias: Tensor | None,
    mask: Tensor | None = None,
    reset_after: bool = True,
) -> tuple[Tensor, list[Tensor]] | None:
    """Run a whole recurrent layer with tanh and sigmoid, or return None if it cannot be fused.

    kind: "simple_rnn", "gru" or "lstm"; `reset_after` says where a GRU's reset gate stands.
    inputs (B, T, D); states one or two of (B, H); kernel (D, G H), recurrent_kernel (H, G H)
    and bias in Keras's layout and gate order.  mask: (B, T) booleans, False where a step is to
    be passed over: the states stay, and the output is the one before, or zero where there is
    none.  Returns outputs (B, T, H) and the last states, in the kernel's dtype.
    """
    if inputs.device.type == "meta":
        return None
    kind = "gru_reset_before" if kind == "gru" and not reset_after else kind
    inputs, *states = (tensor.to(kernel.dtype) for tensor in (inputs, *states))
    if inputs.shape[1] == 0:
        return inputs.new_empty(len(inputs), 0, len(recurrent_kernel)), list(states)
    outputs, last = _run(kind, inputs, states, (kernel, recurrent_kernel, bias), mask)
    return _zero_before_the_first(outputs, mask), last


def _run(
    kind: str, inputs: Tensor, states: Sequence[Tensor], weights: Weights, mask: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """Give all h (B, T, H), held where `mask` is False, by the fastest way there is."""
    steps, mask_of_steps = inputs.transpose(0, 1), None if mask is None else mask.t()
    found = torch_compiled.recurrence(kind, steps, states, *weights, mask_of_steps)
    if found is not None:
        return found[0].transpose(0, 1), found[1]
    run = torch_kernels.run if _has_kernel(kind, inputs) else _run_function
    return run(kind, inputs, states, weights, mask)


def _has_kernel(kind: str, inputs: Tensor) -> bool:
    """Tell whether PyTorch's own kernel is the fastest way."""
    if inputs.device.type != "cpu":
        return kind in torch_kernels.KERNELS
    mkldnn = torch.backends.mkldnn.is_available()
    return kind == "lstm" and inputs.dtype is torch.float32 and mkldnn


def _run_function(
    kind: str,
    inputs: Tensor,
    states: Sequence[Tensor],
    weights: Weights,
    mask: Tensor | None,
) -> tuple[Tensor, list[Tensor]]:
    kernel, recurrent, bias = weights
    extra = []
    if kind == "gru":
        first, second = (None, recurrent.new_zeros(recurrent.shape[1]))
        first, second = (first, second) if bias is None else bias.unbind(0)
        bias, extra = first, [second]
    x = _project(inputs, kernel, bias)
    arguments: list[Any] = [x, *states, recurrent, *extra, None if mask is None else mask.t()]
    if not torch.is_grad_enabled():
        # The functions keep nothing for the gradient when no argument asks for one.
        arguments = [None if each is None else each.detach() for each in arguments]
    outputs = FUNCTIONS[kind].apply(*arguments)
    outputs, *cells = outputs if isinstance(outputs, tuple) else [outputs]
    return outputs.transpose(0, 1), [outputs[-1], *cells]


def _project(inputs: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Return inputs @ kernel + bias for all steps at once, time first: (T, B, G H)."""
    flat = inputs.transpose(0, 1).reshape(-1, inputs.shape[2])
    projected = flat @ kernel if bias is None else torch.addmm(bias, flat, kernel)
    return projected.view(inputs.shape[1], inputs.shape[0], kernel.shape[1])


def _zero_before_the_first(outputs: Tensor, mask: Tensor | None) -> Tensor:
    """Put zeros before each sequence's first step: the states there are no output yet."""
    if mask is None or bool(mask[:, 0].all()):
        return outputs
    return outputs.masked_fill(mask.cumsum(1).eq(0).unsqueeze(2), 0.0)
