"""Cross-entropy of a linear read-out on PyTorch, without ever holding all its logits.

    logits = h W + b,   nats = logsumexp(logits) - logits[target],   loss = mean nats

The rows are taken in chunks that stay in the cache.  In training the gradients come with the
values, while a chunk's logits are at hand: d_logits = (softmax(logits) - onehot(target)) / N.

Source: the chunks of Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models"
(arXiv:2411.09009), and of Hsu et al., "Liger Kernel" (arXiv:2410.10989).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kseq.backend import torch_read_out

CHUNK = 2**20  # logits in a chunk: 4 MiB of float32
FEWEST_ROWS = 64  # below, a matrix product does not reach its speed
SMALLEST = 1e-30  # below, float32 loses digits of a probability


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy (), with gradients, and the nats of each token, without.

    hidden (..., H); weight (H, V) and bias (V,), which are taken in hidden's dtype; targets (...)
    ids below V, and nats of their shape.  Both results are float32: logits of a smaller dtype
    are widened before anything is taken of them.

    Example:
        >>> loss, nats = linear_cross_entropy(
        ...     torch.zeros(3, 2), torch.zeros(2, 4), torch.zeros(4), torch.tensor([0, 1, 3])
        ... )
        >>> round(float(loss.exp()), 4), tuple(nats.shape)
        (4.0, (3,))
    """
    if hidden.ndim == 3 and not hidden.is_contiguous() and hidden.transpose(0, 1).is_contiguous():
        # Time lies first in memory: rows in that order are no copy.
        loss, nats = linear_cross_entropy(hidden.transpose(0, 1), weight, bias, targets.t())
        return loss, nats.t()
    rows, ids = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1).long()
    weight, bias = weight.to(rows.dtype), bias.to(rows.dtype)
    if torch_read_out.suits(rows, weight):
        loss, nats = torch_read_out.linear_cross_entropy(rows, weight, bias, ids)
        return loss, nats.view(targets.shape)
    loss, nats = _LinearCrossEntropy.apply(rows, weight, bias, ids, torch.is_grad_enabled())
    return loss, nats.view(targets.shape)


class _LinearCrossEntropy(torch_read_out.MeanWithGradients):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, learns: bool
    ) -> tuple[Tensor, Tensor]:
        nats = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        slopes = _Slopes(hidden, weight, bias) if learns else None
        rows = min(len(hidden), max(FEWEST_ROWS, CHUNK // len(bias)))
        # Memory that is new costs the system more than the products do their cache.
        logits, p = hidden.new_empty(rows, len(bias)), nats.new_empty(rows, len(bias))
        for place in range(0, len(hidden), rows):
            h, target = hidden[place : place + rows], targets[place : place + rows]
            x = torch.addmm(bias, h, weight, out=logits[: len(h)])
            chances = torch.softmax(x, 1, dtype=torch.float32, out=p[: len(h)])
            nats[place : place + rows] = _nats(x, chances, target)
            if slopes is not None:
                slopes.add(chances, target, place)
        if slopes is not None:
            ctx.save_for_backward(slopes.hidden, slopes.weight, slopes.bias)
        ctx.mark_non_differentiable(nats)
        return nats.mean(), nats


def _nats(logits: Tensor, p: Tensor, target: Tensor) -> Tensor:
    """Return -log p[target] of each row, from the logits where float32 has no such p."""
    target = target.unsqueeze(1)
    chance = p.gather(1, target)
    nats = chance.log().neg_()
    if float(chance.min()) < SMALLEST:
        rare = chance.squeeze(1) < SMALLEST
        log_p = logits[rare].log_softmax(1, dtype=torch.float32)
        nats[rare] = log_p.gather(1, target[rare]).neg_()
    return nats.squeeze(1)


class _Slopes:
    """Gradients of the mean, gathered chunk by chunk."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor) -> None:
        self.inputs, self.read_out, self.mean = hidden, weight, 1.0 / len(hidden)
        self.hidden = torch.empty_like(hidden)
        # A transposed embedding gets its gradient in the embedding's own layout.
        self.weight = torch.empty_like(weight)
        self.bias = torch.zeros_like(bias)

    def add(self, p: Tensor, target: Tensor, place: int) -> None:
        """Add what a chunk gives, whose first row is at `place`; p is overwritten."""
        p.scatter_add_(1, target.unsqueeze(1), p.new_full((len(p), 1), -1.0))
        d, rows = p.to(self.bias.dtype), slice(place, place + len(p))
        nothing = d.new_zeros(())
        torch.addmm(nothing, d, self.read_out.t(), beta=0, alpha=self.mean, out=self.hidden[rows])
        self._add_to_weight(self.inputs[rows], d, beta=1.0 if place else 0.0)
        self.bias.add_(d.sum(0), alpha=self.mean)

    def _add_to_weight(self, h: Tensor, d: Tensor, beta: float) -> None:
        if self.weight.is_contiguous():
            self.weight.addmm_(h.t(), d, beta=beta, alpha=self.mean)
        else:
            self.weight.t().addmm_(d.t(), h, beta=beta, alpha=self.mean)
