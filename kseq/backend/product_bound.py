"""The bound of a processor: nothing but the matrix products of one training step.

No program that computes these products at this rate, one after another where one needs the
result of another, trains faster, however little it does between them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

GATES = {"simple_rnn": 1, "gru": 3, "lstm": 4}


def product_shapes(
    cell: str, B: int, T: int, V: int, H: int, num_layers: int, tied: bool = False
) -> list[tuple[int, int, int, int]]:
    """Return the products of one training step, (times, rows, inner, columns) each.

    Over all steps at once: input projections, gradients of weights and of inputs, and the
    read-out; step by step: the recurrent products, forwards and backwards, of B rows.  A one-hot
    input needs no gradient, an embedding's is no product.

    Example:
        >>> product_shapes("simple_rnn", B=2, T=3, V=5, H=4, num_layers=1)[:2]
        [(1, 6, 5, 4), (3, 2, 4, 4)]
    """
    found = []
    for layer in range(num_layers):
        D = V if layer == 0 and not tied else H
        found += _of_layer(B, T, D, H, GATES[cell] * H, reads_gradient=layer > 0 or tied)
    return [*found, (1, B * T, H, V), (1, H, B * T, V), (1, B * T, V, H)]


def _of_layer(
    B: int, T: int, D: int, H: int, width: int, reads_gradient: bool
) -> list[tuple[int, int, int, int]]:
    products = [
        (1, B * T, D, width),
        (T, B, H, width),
        (T, B, width, H),
        (1, D, B * T, width),
        (1, H, B * T, width),
    ]
    return products + ([(1, B * T, width, D)] if reads_gradient else [])


def flops(shapes: list[tuple[int, int, int, int]]) -> int:
    """Return the floating-point operations of these products.

    Example:
        >>> flops([(3, 2, 4, 4)])
        192
    """
    return sum(2 * times * m * k * n for times, m, k, n in shapes)


def products(shapes: list[tuple[int, int, int, int]]) -> Callable[[], None]:
    """Return a function that computes all of these products once, in float32, by `torch.mm`."""
    work = [(times, *_operands(*sizes)) for times, *sizes in shapes]

    @torch.inference_mode()
    def run() -> None:
        for times, a, b, out in work:
            for _ in range(times):
                torch.mm(a, b, out=out)

    return run


def _operands(rows: int, inner: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)
