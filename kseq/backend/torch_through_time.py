"""The recurrences written by hand on PyTorch, each with its gradient through time.

Inside the time loop stay the recurrent product and a few calls on one step; the gradient of the
recurrent weight is taken once over all steps, and so are the slopes of the gates.

All take x (T, B, G H), the projected input with time first, the first states (B, H), R
(H, G H) in Keras's gate order, for `GRU` its second bias (3H,), and a mask (T, B) or None; they
give all h (T, B, H), the LSTM also its last c (B, H).  Where the mask is False, h and c stay what
they were and x is not read.  In half precision the products are taken in x's dtype, and states,
gates and their gradients in float32.
"""

# ruff: noqa: D102 - autograd calls these methods; the classes say what they do

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from kseq.backend.torch_products import HALVES, product_with

_sigmoid_slope = torch.ops.aten.sigmoid_backward  # (d, s) -> d s (1 - s)
_tanh_slope = torch.ops.aten.tanh_backward  # (d, y) -> d (1 - y^2)


class SimpleRNN(Function):
    """h_t = tanh(x_t + h_{t-1} R); apply(x, h0, R, mask)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, R: Tensor, mask: Tensor | None) -> Tensor:
        x = _in_state_dtype(x)
        outputs = torch.empty_like(x)
        product = product_with(R, *x.shape[:2])
        h = first = h0.to(x.dtype)
        for x_t, m_t, out in _steps(x, _columns(mask), outputs):
            torch.tanh(product(h, x_t), out=out)
            h = out if m_t is None else torch.where(m_t, out, h, out=out)
        ctx.dtypes = _keep(ctx, outputs, first, R, mask, h0=h0)
        return outputs.to(R.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        outputs, h0, R, mask = ctx.saved_tensors
        d_h, befores = _gradients_of_outputs(grads[0], outputs)
        product = product_with(R.t(), *outputs.shape[:2])
        d_x = torch.empty_like(outputs)
        for before, out, m_t, d_t in _back(befores, outputs, _columns(mask), d_x):
            _tanh_slope.grad_input(d_h, out, grad_input=d_t)
            if m_t is not None:
                d_t.mul_(m_t)
                before = torch.addcmul(before, d_h, ~m_t)
            d_h = product(d_t, before)
        d_x = d_x.to(R.dtype)
        return d_x, d_h.to(ctx.dtypes[0]), _weight_gradient(_before(h0, outputs), d_x), None


class GRU(Function):
    """The reset gate after the product; apply(x, h0, R, b, mask).

    p = h_{t-1} R + b;  z = s(x_z + p_z);  r = s(x_r + p_r);  n = tanh(x_n + r p_n);
    h_t = z h_{t-1} + (1 - z) n.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h0: Tensor, R: Tensor, b: Tensor, mask: Tensor | None
    ) -> Tensor:
        (T, B, _), H = x.shape, R.shape[0]
        x = _held(_in_state_dtype(x), mask, H, {0: torch.inf})
        outputs, (z, r, n, p_n) = x.new_empty(T, B, H), (_room(ctx, x, H) for _ in range(4))
        product, bias = product_with(R, T, B), b.to(x.dtype).repeat(B, 1)
        h = first = h0.to(x.dtype)
        for x_zr, x_n, z_t, r_t, n_t, p_t, out in _steps(
            *x.split([2 * H, H], 2), z, r, n, p_n, outputs
        ):
            p_zr, p = product(h, bias).split([2 * H, H], 1)
            a_z, a_r = p_zr.add_(x_zr).chunk(2, 1)
            torch.sigmoid(a_z, out=z_t)
            torch.addcmul(x_n, torch.sigmoid(a_r, out=r_t), p_t.copy_(p), out=n_t).tanh_()
            h = torch.lerp(n_t, h, z_t, out=out)
        ctx.dtypes = _keep(ctx, outputs, z, r, n, p_n, first, R, h0=h0, b=b)
        return outputs.to(R.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        outputs, z, r, n, p_n, h0, R = ctx.saved_tensors
        (T, B, H), earlier = outputs.shape, _before(h0, outputs)
        to_n = _tanh_slope(1 - z, n)
        d_p = outputs.new_empty(T, B, 3, H)  # the slopes of z, r and p_n, then the gradients
        torch.mul(_sigmoid_slope(p_n, r), to_n, out=d_p[:, :, 1])
        torch.mul(to_n, r, out=d_p[:, :, 2])
        _sigmoid_slope.grad_input(earlier - n, z, grad_input=d_p[:, :, 0])
        d_h, befores = _gradients_of_outputs(grads[0], outputs)
        product, d_all = product_with(R.t(), T, B), []
        for before, z_t, d_t in _back(befores, z, d_p):
            d_all.append(d_h)
            torch.mul(d_h.unsqueeze(1), d_t, out=d_t)
            d_h = product(d_t.flatten(1), torch.addcmul(before, z_t, d_h))
        low = d_p.flatten(2).to(R.dtype)
        d_R, d_b = _weight_gradient(earlier, low), d_p.flatten(2).sum((0, 1))
        low[:, :, 2 * H :] = torch.stack(d_all[::-1]) * to_n  # from here on the gradient of x
        return low, d_h.to(ctx.dtypes[0]), d_R, d_b.to(ctx.dtypes[1]), None


class GRUResetBefore(Function):
    """The reset gate before the product; apply(x, h0, R, mask).

    z = s(x_z + h_{t-1} R_z);  r = s(x_r + h_{t-1} R_r);  n = tanh(x_n + (r h_{t-1}) R_n);
    h_t = z h_{t-1} + (1 - z) n.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, h0: Tensor, R: Tensor, mask: Tensor | None) -> Tensor:
        (T, B, _), H = x.shape, R.shape[0]
        x = _held(_in_state_dtype(x), mask, H, {0: torch.inf})
        outputs, (z, r, n) = x.new_empty(T, B, H), (_room(ctx, x, H) for _ in range(3))
        to_zr, to_n = (product_with(part, T, B) for part in R.split([2 * H, H], 1))
        h = first = h0.to(x.dtype)
        for x_zr, x_n, z_t, r_t, n_t, out in _steps(*x.split([2 * H, H], 2), z, r, n, outputs):
            a_z, a_r = to_zr(h, x_zr).chunk(2, 1)
            torch.sigmoid(a_z, out=z_t)
            torch.tanh(to_n(torch.sigmoid(a_r, out=r_t).mul(h), x_n), out=n_t)
            h = torch.lerp(n_t, h, z_t, out=out)
        ctx.dtypes = _keep(ctx, outputs, z, r, n, first, R, h0=h0)
        return outputs.to(R.dtype)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        outputs, z, r, n, h0, R = ctx.saved_tensors
        (T, B, H), earlier = outputs.shape, _before(h0, outputs)
        d_x = outputs.new_empty(T, B, 3 * H)  # the slopes of z, r and n, then the gradients
        for slope, d, value, out in zip(
            (_sigmoid_slope, _sigmoid_slope, _tanh_slope),
            (earlier - n, earlier, 1 - z),
            (z, r, n),
            d_x.chunk(3, 2),
            strict=True,
        ):
            slope.grad_input(d, value, grad_input=out)
        by_zr, by_n = (product_with(part.t(), T, B) for part in R.split([2 * H, H], 1))
        d_h, befores = _gradients_of_outputs(grads[0], outputs)
        for before, z_t, r_t, d_z, d_r, d_n, d_zr in _back(
            befores, z, r, *d_x.chunk(3, 2), d_x[:, :, : 2 * H]
        ):
            d_z.mul_(d_h)
            d_kept = by_n(d_n.mul_(d_h), None)  # of r h
            d_r.mul_(d_kept)
            d_h = by_zr(d_zr, torch.addcmul(before, z_t, d_h).addcmul_(d_kept, r_t))
        low = d_x.to(R.dtype)
        d_zr, d_n = low.split([2 * H, H], 2)
        d_R = [_weight_gradient(earlier, d_zr), _weight_gradient(r * earlier, d_n)]
        return low, d_h.to(ctx.dtypes[0]), torch.cat(d_R, 1), None


class LSTM(Function):
    """c_t = f c_{t-1} + i g;  h_t = o tanh(c_t); apply(x, h0, c0, R, mask).

    a = x + h_{t-1} R;  i = s(a_i);  f = s(a_f);  g = tanh(a_g);  o = s(a_o).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h0: Tensor, c0: Tensor, R: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        (T, B, _), H = x.shape, R.shape[0]
        x = _held(_in_state_dtype(x), mask, H, {0: -torch.inf, 1: torch.inf})
        outputs, gates = x.new_empty(T, B, H), [_room(ctx, x, H) for _ in range(4)]
        cells, squashed = _room(ctx, x, H), _room(ctx, x, H)
        product = product_with(R, T, B)
        h, c = firsts = [state.to(x.dtype) for state in (h0, c0)]
        for x_t, i, f, g, o, c_t, s_t, m_t, out in _steps(
            x, *gates, cells, squashed, _columns(mask), outputs
        ):
            for a, gate in zip(product(h, x_t).chunk(4, 1), (i, f, g, o), strict=True):
                (torch.tanh if gate is g else torch.sigmoid)(a, out=gate)
            c = torch.mul(f, c, out=c_t).addcmul_(i, g)
            torch.mul(o, torch.tanh(c, out=s_t), out=out)
            h = out if m_t is None else torch.where(m_t, out, h, out=out)
        ctx.dtypes = _keep(ctx, outputs, *gates, cells, squashed, *firsts, R, mask, h0=h0, c0=c0)
        return outputs.to(R.dtype), c.to(c0.dtype, copy=True)

    @staticmethod
    @once_differentiable  # which hides the names of the arguments
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        outputs, *gates, cells, squashed, h0, c0, R, mask = ctx.saved_tensors
        T, B, _ = outputs.shape
        to_c, d_x = _lstm_slopes(gates, _before(c0, cells), squashed, mask)
        d_h, befores = _gradients_of_outputs(grads[0], outputs)
        d_c, product = grads[1].to(d_h.dtype), product_with(R.t(), T, B)
        for before, to_t, f_t, d_ifg, d_o, d_t, m_t in _back(
            befores, to_c, gates[1], d_x[:, :, :3], d_x[:, :, 3], d_x, _columns(mask)
        ):
            d_c = torch.addcmul(d_c, d_h, to_t)
            torch.mul(d_c.unsqueeze(1), d_ifg, out=d_ifg)
            d_o.mul_(d_h)
            d_c.mul_(f_t)
            held = before if m_t is None else torch.addcmul(before, d_h, ~m_t)
            d_h = product(d_t.flatten(1), held)
        low = d_x.flatten(2).to(R.dtype)
        d_R = _weight_gradient(_before(h0, outputs), low)
        return low, d_h.to(ctx.dtypes[0]), d_c.to(ctx.dtypes[1]), d_R, None


def _lstm_slopes(
    gates: Sequence[Tensor], earlier: Tensor, squashed: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Give the slopes of c_t by h_t (T, B, H) and of the four gates (T, B, 4, H)."""
    i, f, g, o = gates
    slopes = i.new_empty(*earlier.shape[:2], 4, earlier.shape[2])
    _sigmoid_slope.grad_input(g, i, grad_input=slopes[:, :, 0])
    _sigmoid_slope.grad_input(earlier, f, grad_input=slopes[:, :, 1])
    _tanh_slope.grad_input(i, g, grad_input=slopes[:, :, 2])
    _sigmoid_slope.grad_input(squashed, o, grad_input=slopes[:, :, 3])
    to_c = _tanh_slope(o, squashed)
    if mask is not None:
        to_c.mul_(mask.unsqueeze(2))
        slopes[:, :, 3].mul_(mask.unsqueeze(2))
    return to_c, slopes


def _in_state_dtype(x: Tensor) -> Tensor:
    return x.float() if x.dtype in HALVES else x


def _held(x: Tensor, mask: Tensor | None, H: int, fills: dict[int, float]) -> Tensor:
    """Give x with gates wide open or shut where `mask` is False, so that they hold the state."""
    if mask is None:
        return x
    hidden = ~mask.unsqueeze(2)
    x = x.masked_fill(hidden, 0.0)
    for gate, value in fills.items():
        x[:, :, gate * H : (gate + 1) * H].masked_fill_(hidden, value)
    return x


def _room(ctx: Any, x: Tensor, width: int) -> Tensor:
    """Give room for (T, B, width); without a gradient to come, all steps share that of one."""
    T, B, _ = x.shape
    steps = T if any(ctx.needs_input_grad) else 1
    return x.new_empty(steps, B, width).expand(T, B, width)


def _keep(ctx: Any, *tensors: Tensor | None, **states: Tensor) -> list[torch.dtype]:
    """Save `tensors` for the gradient, if one can come; give the dtypes its parts go back in."""
    if any(ctx.needs_input_grad):
        ctx.save_for_backward(*tensors)
    return [state.dtype for state in states.values()]


def _columns(mask: Tensor | None) -> Any:
    return None if mask is None else mask.unsqueeze(2)


def _steps(*tensors: Tensor | None) -> Iterable[Any]:
    """Step through time, one slice of each tensor a step; None gives None at every step."""
    slices = (repeat(None) if tensor is None else tensor.unbind(0) for tensor in tensors)
    return zip(*slices, strict=False)


def _back(befores: list[Tensor], *tensors: Tensor | None) -> Iterable[Any]:
    """As `_steps`, from the last step to the first, beside a list already in that order."""
    slices = (repeat(None) if tensor is None else tensor.unbind(0)[::-1] for tensor in tensors)
    return zip(befores, *slices, strict=False)


def _gradients_of_outputs(grad: Tensor, outputs: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Give the gradient of the last output, and from there back those of the output before."""
    steps = grad.to(outputs.dtype).contiguous().unbind(0)
    return steps[-1], [*reversed(steps[:-1]), torch.zeros_like(steps[0])]


def _before(first: Tensor, states: Tensor) -> Tensor:
    """Give each step the state it started from: (T, B, H)."""
    return torch.cat([first.unsqueeze(0), states[:-1]])


def _weight_gradient(earlier: Tensor, d_x: Tensor) -> Tensor:
    """Sum over steps of h_{t-1}^T d_x_t, as one product: (H, G H)."""
    return earlier.to(d_x.dtype).flatten(0, 1).t() @ d_x.flatten(0, 1)
