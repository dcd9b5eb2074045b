# pyright: reportPrivateImportUsage=false
"""Updates of weights on PyTorch: clipping and an optimizer's formula over lists of tensors.

The formulas are those of Keras's optimizers, whose state is read and written in place.  A factor
that clips is multiplied into them, so that no gradient is written a second time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kseq.backend.torch_processes import averaged

FUSED_FROM = 2**16  # weights from which one pass over memory is worth the start of the threads


class Update:
    """A Keras optimizer's step on lists of tensors, or Keras's own where it is unusual.

    optimizer: built on `variables`.
    guarded: whether the optimizer itself skips a step whose norm is not finite.
    variables: Keras's, in the order of the gradients.
    """

    def __init__(self, kind: str | None, optimizer: Any, guarded: bool, variables: list[Any]):
        self.optimizer, self.guarded, self.variables = optimizer, guarded, variables
        self.weights = [v.value for v in variables]
        self.step = self._step_of(kind)
        if self.step is not None:
            self._read_settings()

    @torch.no_grad()
    def __call__(self, grads: list[Any]) -> None:
        """Update the weights, the optimizer's state and its counters."""
        if self.step is None or any(g is None for g in grads):
            self.optimizer.apply(grads, self.variables)
            return
        grads = averaged(grads)
        try:
            scaled = self._clipped(grads)
        except _NotFiniteError:
            # Keras's way of it, or the guard that counts the step.
            self.optimizer.apply(grads, self.variables)
            return
        rate = self._learning_rate()
        if self.decayed:
            torch._foreach_mul_(self.decayed, 1 - self.decay * rate)
        self.step(*scaled, rate)
        self.iterations.add_(1)

    def _step_of(self, kind: str | None) -> Callable[..., None] | None:
        if kind is None or not _is_plain(self.optimizer, self.variables):
            return None
        return getattr(self, f"_{kind}", None)

    def _read_settings(self) -> None:
        optimizer, weights = self.optimizer, self.weights
        self.iterations = optimizer.iterations.value
        self.clipnorm = _positive(optimizer.clipnorm)
        self.global_clipnorm = _positive(optimizer.global_clipnorm)
        self.clipvalue = _positive(optimizer.clipvalue)
        self.needs_norm = self.guarded or self.clipnorm or self.global_clipnorm
        self.decay = optimizer.weight_decay or 0.0
        decays = [optimizer._use_weight_decay(v) for v in self.variables] if self.decay else []
        self.decayed = [w for w, does in zip(weights, decays, strict=False) if does]
        self.first, self.second = (self._state_of(n) for n in ("_momentums", "_velocities"))
        self.momentums, self.averages = (self._state_of(n) for n in ("momentums", "averages"))
        # The fused kernel reads memory front to back, whatever the strides.
        lie_straight = all(t.is_contiguous() for t in (*weights, *self.first, *self.second))
        self.fuses = lie_straight and sum(w.numel() for w in weights) >= FUSED_FROM
        # An infinite count makes the kernel's own correction of Adam's bias one.
        self.counts = [w.new_tensor(math.inf) for w in weights] if self.fuses else []

    def _state_of(self, name: str) -> list[Tensor]:
        state = getattr(self.optimizer, name, None)
        if not state:
            return []
        return [state[self.optimizer._get_variable_index(v)].value for v in self.variables]

    def _learning_rate(self) -> float:
        rate = self.optimizer.learning_rate
        return float(getattr(rate, "value", rate)) * getattr(self.optimizer, "rate_scale", 1.0)

    def _clipped(self, grads: list[Tensor]) -> tuple[list[Tensor], float]:
        """Return gradients and what each is to be multiplied by."""
        if not self.needs_norm:
            return _clipped_by_value(grads, self.clipvalue), 1.0
        norms = torch._foreach_norm(grads)
        norm = float(torch.linalg.vector_norm(torch.stack(norms)))
        if not math.isfinite(norm):
            raise _NotFiniteError
        if self.clipnorm:
            return _clipped_each(grads, norms, self.clipnorm), 1.0
        if self.global_clipnorm:
            return grads, min(1.0, self.global_clipnorm / max(norm, 1e-38))
        return _clipped_by_value(grads, self.clipvalue), 1.0

    def _sgd(self, grads: list[Tensor], scale: float, rate: float) -> None:
        optimizer, weights, momentums = self.optimizer, self.weights, self.momentums
        step = -rate * scale
        if not momentums:
            torch._foreach_add_(weights, grads, alpha=step)
            return
        torch._foreach_mul_(momentums, optimizer.momentum)
        torch._foreach_add_(momentums, grads, alpha=step)
        if optimizer.nesterov:
            torch._foreach_add_(weights, grads, alpha=step)
            torch._foreach_add_(weights, momentums, alpha=optimizer.momentum)
        else:
            torch._foreach_add_(weights, momentums)

    def _asgd(self, grads: list[Tensor], scale: float, rate: float) -> None:
        self._sgd(grads, scale, rate)
        averaged = self.optimizer.averaged_steps.value
        if int(averaged) >= 0:
            averaged.add_(1)
            torch._foreach_lerp_(self.averages, self.weights, 1 / int(averaged))

    def _adam(self, grads: list[Tensor], scale: float, rate: float) -> None:
        optimizer = self.optimizer
        b1, b2, epsilon = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
        alpha = _adam_rate(rate, b1, b2, int(self.iterations) + 1)
        if self.fuses and len({g.data_ptr() for g in grads}) == len(grads):
            torch._fused_adam_(
                self.weights,
                [g.contiguous() for g in grads],
                self.first,
                self.second,
                [],
                self.counts,
                lr=alpha,
                beta1=b1,
                beta2=b2,
                weight_decay=0.0,
                eps=epsilon,
                amsgrad=False,
                maximize=False,
                grad_scale=None if scale == 1.0 else self.counts[0].new_tensor(1.0 / scale),
            )
            return
        torch._foreach_mul_(self.first, b1)
        torch._foreach_add_(self.first, grads, alpha=(1 - b1) * scale)
        torch._foreach_mul_(self.second, b2)
        torch._foreach_addcmul_(self.second, grads, grads, value=(1 - b2) * scale**2)
        below = torch._foreach_sqrt(self.second)
        torch._foreach_add_(below, epsilon)
        torch._foreach_addcdiv_(self.weights, self.first, below, value=-alpha)

    _adamw = _adam

    def _rmsprop(self, grads: list[Tensor], scale: float, rate: float) -> None:
        rho = self.optimizer.rho
        torch._foreach_mul_(self.second, rho)
        torch._foreach_addcmul_(self.second, grads, grads, value=(1 - rho) * scale**2)
        below = torch._foreach_add(self.second, self.optimizer.epsilon)
        torch._foreach_sqrt_(below)
        torch._foreach_addcdiv_(self.weights, grads, below, value=-rate * scale)


class _NotFiniteError(ArithmeticError):
    """The norm of the gradients is NaN or infinite."""


def _is_plain(optimizer: Any, variables: list[Any]) -> bool:
    """Whether no option of the optimizer and no variable asks for more than the formula."""
    asked = (
        not optimizer.built,
        optimizer.use_ema,
        optimizer.gradient_accumulation_steps,
        optimizer.loss_scale_factor,
        getattr(optimizer, "amsgrad", False),
        getattr(optimizer, "centered", False),
        hasattr(optimizer, "rho") and optimizer.momentum,
    )
    odd = (
        v.constraint is not None
        or getattr(v, "overwrite_with_gradient", False)
        or v.value.dtype != torch.float32
        or v.value.is_sparse
        for v in variables
    )
    return bool(variables) and not any(asked) and not any(odd)


def _positive(bound: float | None) -> float | None:
    # Keras takes zero and less for no clipping.
    return bound if bound and bound > 0 else None


def _clipped_each(grads: list[Tensor], norms: Sequence[Tensor], bound: float) -> list[Tensor]:
    scales = [bound / max(float(norm), bound) for norm in norms]
    return list(torch._foreach_mul(grads, scales))


def _clipped_by_value(grads: list[Tensor], bound: float | None) -> list[Tensor]:
    if bound is None:
        return grads
    return list(torch._foreach_clamp_min(torch._foreach_clamp_max(grads, bound), -bound))


def _adam_rate(rate: float, beta_1: float, beta_2: float, step: int) -> float:
    # Keras takes the powers in float32; near the first step others would differ from its own.
    one, step_ = np.float32(1), np.float32(step)
    first, second = np.float32(beta_1) ** step_, np.float32(beta_2) ** step_
    return float(np.float32(rate) * np.sqrt(one - second) / (one - first))
