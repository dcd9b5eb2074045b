"""Cross-entropy of a read-out over few tokens in C++, as a differentiable function of PyTorch.

Its eager twin, and the way for many tokens, is `kseq.backend.torch_losses`: there the products
are large enough to be PyTorch's.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from kseq.backend import compiled

MOST_TOKENS = 512


def suits(hidden: Tensor, weight: Tensor) -> bool:
    """Whether C++ can take the rows hidden (N, H) and a weight (H, V)."""
    is_float = hidden.dtype == weight.dtype == torch.float32 and hidden.device.type == "cpu"
    fits = is_float and weight.shape[1] <= MOST_TOKENS and hidden.numel() > 0
    return fits and not torch.compiler.is_compiling() and compiled.library() is not None


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean of the nats, with gradients, and the nats (N,), for hidden (N, H).

    weight (H, V), of any strides, bias (V,), targets (N,) int64 below V.
    """
    learns = torch.is_grad_enabled()
    return _LinearCrossEntropy.apply(hidden.contiguous(), weight, bias, targets, learns)


class MeanWithGradients(Function):
    """A mean whose forward part saves its gradients by hidden, weight and bias."""

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Return what was saved, times the gradient of the mean."""
        found = ctx.saved_tensors
        if float(grads[0]) != 1.0:
            found = [grads[0].to(slope.dtype) * slope for slope in found]
        return (*found, None, None)


class _LinearCrossEntropy(MeanWithGradients):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, learns: bool
    ) -> tuple[Tensor, Tensor]:
        N, V = len(hidden), weight.shape[1]
        nats = hidden.new_empty(N)
        d = hidden.new_empty(N, V) if learns else None
        d_hidden = torch.empty_like(hidden) if learns else None
        _run(hidden, weight, bias.contiguous(), targets.contiguous(), nats, d, d_hidden)
        if d is not None:
            # In the weight's own layout: a transposed embedding gets a transposed gradient.
            straight = weight.is_contiguous()
            d_weight = hidden.t() @ d if straight else (d.t() @ hidden).t()
            ctx.save_for_backward(d_hidden, d_weight, d.sum(0))
        ctx.mark_non_differentiable(nats)
        return nats.mean(), nats


def _run(hidden: Tensor, weight: Tensor, *others: Tensor | None) -> None:
    bias, targets, nats, d, d_hidden = (_address(each) for each in others)
    sizes = (*hidden.shape, weight.shape[1], torch.get_num_threads())
    compiled.built().linear_cross_entropy(
        *(ctypes.c_int64(size) for size in sizes),
        *(_address(hidden), _address(weight), *(ctypes.c_int64(n) for n in weight.stride())),
        *(bias, targets, nats, d, d_hidden),
    )


def _address(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
