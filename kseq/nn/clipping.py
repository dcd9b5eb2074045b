"""What clipping does to a training whose gradients explode.

Source: Pascanu, Mikolov and Bengio, arXiv:1211.5063, section 3.2; Dive into Deep Learning 8.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.backend import gradient
from kseq.checks import positive_float, positive_int
from kseq.nn.guarding import global_norm
from kseq.nn.jacobians import CELLS, at_least_two, drawn_layer, drawn_weight
from kseq.nn.optimizers import NEVER, clipped_optimizer, skipped_steps

BATCH, MOST_UPDATES = 32, 10_000


@dataclass(frozen=True)
class Descent:
    """What each update of a training began with, (updates,) float64, and how many were skipped.

    loss: the mean squared error.  before: the global norm of the gradient.  after: that of what
    the optimizer took off the weights, divided by the learning rate.  skipped: updates that the
    optimizer refused, because the norm was not finite.
    """

    loss: np.ndarray
    before: np.ndarray
    after: np.ndarray
    skipped: int


@dataclass(frozen=True)
class Clipping:
    """The same training twice: with the global norm clipped at `bound`, and free of it."""

    bound: float
    clipped: Descent
    free: Descent


def clipping(
    num_updates: int = 60,
    num_steps: int = 10,
    units: int = 16,
    gain: float = 1.5,
    learning_rate: float = 0.5,
    bound: float = 1.0,
    seed: int = 0,
) -> Clipping:
    """Train a plain RNN that explodes to remember its first input, with clipping and without.

        g <- min(1, bound / |g|) g,           |g| over all gradients together

    32 sequences of noise x_t ~ N(0, 1); the target is x_1, the prediction a linear read-out of
    h_T, the loss the mean squared error.  Both trainings start at the same weights and take the
    steps of `clipped_optimizer("sgd")`, the second with a bound that is never reached: it
    overshoots, which makes the next gradient larger, until float32 ends.

    Args:
        num_updates: steps of gradient descent, each on all sequences, at most 10,000.
        num_steps: T, 2 to 500.
        units: H, at most 64.
        gain: the recurrent matrix is orthogonal times this.
        learning_rate: of SGD.
        bound: on the global norm.
        seed: of the weights and the sequences.

    Raises:
        UsageError: a number outside its range.

    Source: Pascanu et al., arXiv:1211.5063, section 3.2; Dive into Deep Learning 8.5.

    Example:
        >>> result = clipping(num_updates=2, num_steps=5)
        >>> bool(result.clipped.after.max() < 1.001), result.clipped.loss[0] == result.free.loss[0]
        (True, np.True_)
    """
    num_updates = positive_int("num_updates", num_updates, MOST_UPDATES)
    num_steps = at_least_two("num_steps", num_steps)
    rate, bound = positive_float("learning_rate", learning_rate), positive_float("bound", bound)
    layer = drawn_layer("simple_rnn", units, gain, seed=seed)
    readout = [drawn_weight("kernel", (units, 1), seed, 3), np.zeros(1, "float32")]
    x = np.random.default_rng([seed, 4]).normal(size=(BATCH, num_steps, 1)).astype("float32")
    weights = [*layer.get_weights(), *readout]
    clipped = _descend(weights, x, num_updates, rate, bound)
    return Clipping(bound, clipped, free=_descend(weights, x, num_updates, rate, NEVER))


def _descend(
    weights: Sequence[np.ndarray], x: np.ndarray, num_updates: int, rate: float, bound: float
) -> Descent:
    # Drawing weights that are set below would cost JAX a compilation.
    zeros = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}
    recurrent = CELLS["simple_rnn"](len(weights[1]), **zeros)
    dense = keras.layers.Dense(1, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input(x.shape[1:]), recurrent, dense])
    model.set_weights(weights)
    loss, optimizer = _loss(model, x), clipped_optimizer("sgd", rate, bound)
    rows = [_update(model, loss, optimizer) for _ in range(num_updates)]
    losses, before, steps = np.array(rows).T
    return Descent(losses, before, steps / rate, skipped_steps(optimizer))


def _loss(model: Any, x: np.ndarray) -> Callable[[list[Any]], Any]:
    """Return the function of the model's weights that is the mean squared error by x_1."""
    inputs, others = ops.convert_to_tensor(x), [v.value for v in model.non_trainable_variables]

    def loss(weights: list[Any]) -> Any:
        outputs, _ = model.stateless_call(weights, others, inputs)
        return ops.mean(ops.square(outputs - inputs[:, 0]))

    return loss


def _update(model: Any, loss: Callable[[list[Any]], Any], optimizer: Any) -> list[float]:
    """Take one step; return the loss and gradient's norm before it, and how far it went."""
    old = model.get_weights()
    value, gradients = gradient(loss, old)
    optimizer.apply(gradients, model.trainable_variables)
    moved = [new.astype("float64") - w for new, w in zip(model.get_weights(), old, strict=True)]
    length = np.sqrt(sum((m**2).sum() for m in moved))
    return [float(ops.convert_to_numpy(v)) for v in (value, global_norm(gradients))] + [length]
