"""The one product left inside the time loop on PyTorch: a state times a recurrent weight."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

Product = Callable[[Tensor, Tensor | None], Tensor]
HALVES = (torch.bfloat16, torch.float16)


def product_with(weight: Tensor, steps: int, batch: int) -> Product:
    """Return f(h, addend) = h @ weight + addend, made for `steps` products of `batch` rows.

    weight: (H, W).  h (batch, H) and the addend (batch, W), or None for zero, are in one dtype:
    the weight's, or float32 with a weight in half precision.  Then h is rounded, the product is
    taken and rounded in the weight's dtype, and the result is float32.

    Example:
        >>> product = product_with(torch.eye(2), steps=1, batch=1)
        >>> product(torch.tensor([[1.0, 2.0]]), torch.ones(1, 2))
        tensor([[2., 3.]])
    """
    if not _pays(weight, steps, batch):
        return _half(weight) if weight.dtype in HALVES else _plain(weight)
    ordered = torch.ops.mkldnn._reorder_linear_weight(weight.t().contiguous(), batch)
    return _half_reordered(ordered) if weight.dtype in HALVES else _reordered(ordered)


def _pays(weight: Tensor, steps: int, batch: int) -> bool:
    # Putting the weight in order costs two to four products; one thread gains nothing by it, and
    # square weights little.
    least, most = sorted(weight.shape)
    large = least >= 64 and most >= 3 * least and batch >= 8
    enough = large and steps >= 16 and torch.get_num_threads() > 1
    return enough and weight.device.type == "cpu" and _can_reorder(weight.dtype)


@lru_cache
def _can_reorder(dtype: torch.dtype) -> bool:
    """Tell whether this build of PyTorch has oneDNN's products, which no document promises."""
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    if not torch.backends.mkldnn.is_available():
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    bfloat16 = dtype is torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype is torch.float32 or bfloat16


def _plain(weight: Tensor) -> Product:
    def product(h: Tensor, addend: Tensor | None) -> Tensor:
        return h @ weight if addend is None else torch.addmm(addend, h, weight)

    return product


def _half(weight: Tensor) -> Product:
    def product(h: Tensor, addend: Tensor | None) -> Tensor:
        found = h.to(weight.dtype) @ weight
        return found.float() if addend is None else addend + found

    return product


def _reordered(ordered: Tensor) -> Product:
    alone = torch.ops.mkldnn._linear_pointwise.default
    added = torch.ops.mkldnn._linear_pointwise.binary

    def product(h: Tensor, addend: Tensor | None) -> Tensor:
        if addend is None:
            return alone(h, ordered, None, "none", [], "")
        return added(h, addend, ordered, None, "add")

    return product


def _half_reordered(ordered: Tensor) -> Product:
    alone = torch.ops.mkldnn._linear_pointwise.default

    def product(h: Tensor, addend: Tensor | None) -> Tensor:
        found = alone(h.to(torch.bfloat16), ordered, None, "none", [], "")
        return found.float() if addend is None else addend + found

    return product
