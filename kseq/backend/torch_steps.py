"""One step of training on PyTorch's own tensors: gradients, the update and running totals.

Keras's variables hand in their tensors; nothing of Keras is called between the loss and the new
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kseq.backend.torch_losses import linear_cross_entropy
from kseq.backend.torch_updates import Update

__all__ = [
    "Update",
    "absolute_error",
    "add_exactly",
    "add_mean",
    "are_below",
    "are_float32",
    "as_tensor",
    "dense",
    "feed",
    "gradients",
    "keep",
    "linear_cross_entropy",
    "lookup",
    "no_gradients",
    "one_hot",
    "squared_error",
]

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "tanh": torch.tanh,
}

no_gradients = torch.no_grad


def gradients(loss: Tensor, tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the gradient of a scalar by each tensor, None where it does not depend on one."""
    return list(torch.autograd.grad(loss, tensors, allow_unused=True))


def dense(x: Tensor, kernel: Tensor, bias: Tensor | None, activation: str = "linear") -> Tensor:
    """Return activation(x kernel + bias) for x (..., D), kernel (D, U) and bias (U,)."""
    rows = x.reshape(-1, x.shape[-1])
    out = rows @ kernel if bias is None else torch.addmm(bias, rows, kernel)
    return _ACTIVATIONS[activation](out).view(*x.shape[:-1], -1)


def lookup(ids: Tensor, table: Tensor, dtype: str) -> Tensor:
    """Return the rows (..., D) of a table (V, D) that ids name, in the dtype."""
    return functional.embedding(ids, table).to(getattr(torch, dtype))


def one_hot(ids: Tensor, size: int, dtype: str) -> Tensor:
    """Return ids (...) as vectors (..., size) with a one at the id."""
    out = torch.zeros((*ids.shape, size), dtype=getattr(torch, dtype), device=ids.device)
    return out.scatter_(-1, ids.unsqueeze(-1).long(), 1.0)


def squared_error(y: Tensor, y_pred: Tensor) -> Tensor:
    """Return the mean of the squared errors, ()."""
    return functional.mse_loss(y_pred, y)


def absolute_error(y: Tensor, y_pred: Tensor) -> Tensor:
    """Return the mean of the absolute errors, ()."""
    return functional.l1_loss(y_pred, y)


def are_below(bound: int, *ids: Tensor) -> bool:
    """Whether every tensor holds whole numbers from 0 to below the bound."""
    if any(tensor.is_floating_point() for tensor in ids):
        return False
    ends = [torch.aminmax(tensor) for tensor in ids]
    return all(int(least) >= 0 and int(most) < bound for least, most in ends)


def are_float32(*tensors: Tensor) -> bool:
    """Whether every tensor has that dtype."""
    return all(tensor.dtype == torch.float32 for tensor in tensors)


def as_tensor(values: Any) -> Tensor | None:
    """Return a tensor of an array, a tensor as it is, and None for anything else."""
    if isinstance(values, np.ndarray):
        from keras import ops

        return ops.convert_to_tensor(values)
    return values if isinstance(values, Tensor) else None


def feed(batches: Any) -> Any:
    """Return what `fit` may be given for batches of pairs; themselves where Keras has moved on."""
    try:
        from kseq.backend.torch_feeding import PairAdapter
    except ImportError:
        return batches
    return PairAdapter(batches)


def keep(state: list[list[Tensor]], places: list[list[Tensor]]) -> None:
    """Copy the states of the layers over those in `places`."""
    for layer, place in zip(state, places, strict=True):
        for tensor, old in zip(layer, place, strict=True):
            old.copy_(tensor)


def add_mean(total: Tensor, count: Tensor, mean: Tensor, weight: int) -> None:
    """Add a mean over `weight` samples to a running total and count, () each."""
    total.add_(mean.detach() * weight)
    count.add_(weight)


def add_exactly(high: Tensor, low: Tensor, term: Tensor | float) -> None:
    """Add `term` to the pair (high, low) by Knuth's TwoSum, losing nothing float32 rounds away."""
    both = high + term
    shadow = both - high
    low.add_((high - (both - shadow)) + (term - shadow))
    high.copy_(both)
