"""What one step of a recurrent layer passes back: Jacobians of its states, terms of its gradient.

Each is the engine's gradient of one step of the layer itself, so that the fused recurrences are
what is shown.  Only the product over the steps is taken here, in float64: it may be far below
the smallest float32.

The layers are small, of one input, with weights drawn by NumPy: the same on every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from kseq.backend import gradient
from kseq.checks import finite_float, non_negative_int, one_of, positive_float, positive_int, shown
from kseq.errors import UsageError
from kseq.nn.initializers import SeededInitializer
from kseq.nn.recurrent import GRU, LSTM, SimpleRNN

CELLS: dict[str, Any] = {"simple_rnn": SimpleRNN, "gru": GRU, "lstm": LSTM}
# A Jacobian of every step is held at once.
MOST_STEPS, MOST_UNITS = 500, 64
# Noise so small that tanh is nearly straight, where the gain alone decides.
DEVIATION = 0.3


def drawn_layer(
    cell: str, units: int, gain: float = 1.0, gate_bias: float | None = None, seed: int = 0
) -> Any:
    """Return a layer of one input whose weights NumPy drew; it gives its states with its output.

    The kernel is Glorot uniform, each gate's recurrent matrix orthogonal times `gain`, the bias
    zero but for `gate_bias`.  Arguments and errors are those of `state_gradients`.

    Example:
        >>> R = drawn_layer("simple_rnn", units=4, gain=0.5).get_weights()[1]
        >>> bool(np.allclose(R @ R.T, np.eye(4) / 4, atol=1e-6))
        True
    """
    cell = one_of("cell", cell, CELLS)
    units = positive_int("units", units, MOST_UNITS)
    gain = positive_float("gain", gain)
    bias = checked_gate_bias(cell, gate_bias)
    seed = non_negative_int("seed", seed)
    layer = CELLS[cell](
        units, return_state=True, kernel_initializer="zeros", recurrent_initializer="zeros"
    )
    layer.build((None, None, 1))
    kernel, _, zeros = layer.get_weights()
    gates = range(kernel.shape[1] // units)
    recurrent = [drawn_weight("recurrent_kernel", (units, units), seed, 1, g) for g in gates]
    weights = [drawn_weight("kernel", kernel.shape, seed, 0), gain * np.hstack(recurrent)]
    layer.set_weights([*weights, _biases(zeros, cell, units, bias)])
    return layer


def drawn_sequence(num_steps: int, units: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs x (T, 1), noise of deviation 0.3, and a direction v (H,) of norm 1; float32."""
    rng = np.random.default_rng([non_negative_int("seed", seed), 2])
    inputs = rng.normal(0.0, DEVIATION, (at_least_two("num_steps", num_steps), 1))
    direction = rng.normal(size=units)
    return inputs.astype("float32"), (direction / np.linalg.norm(direction)).astype("float32")


def drawn_weight(role: str, shape: Sequence[int], *stream: int) -> np.ndarray:
    """Return a weight as `SeededInitializer("keras", role, stream)` draws it, as NumPy float32."""
    return ops.convert_to_numpy(SeededInitializer("keras", role, stream)(shape))


def at_least_two(name: str, value: int, most: int = MOST_STEPS) -> int:
    """Return `value` as an `int` in 2..`most`: there must be something to go back to.

    Raises:
        UsageError: it is no whole number, or outside the range.
    """
    number = positive_int(name, value, most)
    if number < 2:
        raise UsageError(
            f"{name}: must be a whole number, at least 2, found {number}; choose 2 or more"
        )
    return number


def jacobians(layer: Any, inputs: np.ndarray) -> np.ndarray:
    """Return J_t = ds_t/ds_{t-1} for t = 2 .. T, from a state of zeros: (T - 1, S, S) float64.

    layer: a built SimpleRNN, GRU or LSTM with `return_state`.  inputs: (T, D).  S is H, or 2 H
    for an LSTM, whose states are h and c side by side.  Row i of J_t is the engine's gradient of
    component i of the state after one step of the layer; all rows and steps are one batch.

    Example:
        >>> layer = drawn_layer("simple_rnn", units=3, gain=0.5)
        >>> J = jacobians(layer, np.zeros((2, 1), "float32"))
        >>> bool(np.allclose(J[0], layer.get_weights()[1].T))
        True
    """
    return _jacobians(layer, inputs, states_before(layer, inputs))


def _jacobians(layer: Any, inputs: np.ndarray, before: list[np.ndarray]) -> np.ndarray:
    T, S = len(inputs), sum(state.shape[1] for state in before)
    rows = [np.repeat(values[1:], S, axis=0) for values in (inputs, *before)]
    picks = np.tile(np.eye(S, dtype="float32"), (T - 1, 1))
    _, found = gradient(_one_step(layer), [layer.get_weights()[1], picks, *rows])
    return _joined(found[3:]).reshape(T - 1, S, S)


def kernel_terms(layer: Any, inputs: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return G_t, the gradient of L = v . h_T by the recurrent kernel as used at step t = 1 .. T.

    (T, P) float64, P the entries of the kernel; their sum over t is the gradient.  `layer` and
    `inputs` are those of `jacobians`; direction is v (H,).
    """
    before = states_before(layer, inputs)
    back = back_through_time(_jacobians(layer, inputs, before), direction).astype("float32")
    kernel, one_step = layer.get_weights()[1], _one_step(layer)
    found = [
        gradient(one_step, [kernel, *(values[t : t + 1] for values in (back, inputs, *before))])
        for t in range(len(inputs))
    ]
    return np.stack([_joined(by_all[:1]).ravel() for _, by_all in found])


def states_before(layer: Any, inputs: np.ndarray) -> list[np.ndarray]:
    """Return the states before each step, one or two (T, H); the first are zero."""
    T = len(inputs)
    # Row t reads t steps; a masked step leaves the state as it was.
    mask = np.tril(np.ones((T, T), bool), -1)
    _, *states = layer(np.broadcast_to(inputs, (T, *inputs.shape)), mask=mask)
    return [ops.convert_to_numpy(state) for state in states]


def _one_step(layer: Any) -> Callable[[list[Any]], Any]:
    """Return the function of R, directions (B, S), x (B, D) and states: sum of directions * s_t."""
    kernel, _, bias = (ops.convert_to_tensor(w) for w in layer.get_weights())
    others = [variable.value for variable in layer.non_trainable_variables]

    def directed(tensors: list[Any]) -> Any:
        recurrent, directions, x, *states = tensors
        weights = [kernel, recurrent, bias]
        (_, *states), _ = layer.stateless_call(weights, others, x[:, None, :], initial_state=states)
        return ops.sum(ops.concatenate(states, axis=-1) * directions)

    return directed


def back_through_time(steps: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Return dL/ds_t (T, S) for L = v . h_T from the Jacobians of the steps (T - 1, S, S).

    Example:
        >>> back_through_time(np.array([[[0.5]], [[3.0]]]), np.array([1.0])).ravel().tolist()
        [1.5, 3.0, 1.0]
    """
    last = np.zeros(steps.shape[1])
    last[: len(direction)] = direction
    back = [last]
    for jacobian in steps[::-1]:
        back.append(jacobian.T @ back[-1])
    return np.stack(back[::-1])


def checked_gate_bias(cell: str, bias: float | None) -> float | None:
    """Return the bias of the gate that keeps the old state, by default the layer's; None without.

    Raises:
        UsageError: it is no finite number, or the cell has no gate.
    """
    if cell == "simple_rnn":
        if bias is not None:
            raise UsageError(
                f"gate_bias: must be left out of a simple_rnn, found {shown(bias)}; it has no "
                "gate, leave it out or choose another cell"
            )
        return None
    if bias is None:
        return _DEFAULT_BIASES[cell]
    return finite_float("gate_bias", bias)


def _biases(zeros: np.ndarray, cell: str, units: int, gate_bias: float | None) -> np.ndarray:
    """Return the bias of a layer, zero but for the gate that keeps the old state."""
    biases = np.zeros_like(zeros)
    if cell == "lstm":
        biases[units : 2 * units] = gate_bias
    if cell == "gru":
        biases[0, :units] = gate_bias
    return biases


def _joined(parts: Sequence[Any]) -> np.ndarray:
    return np.concatenate([ops.convert_to_numpy(p) for p in parts], -1).astype("float64")


_DEFAULT_BIASES = {"gru": 0.0, "lstm": 1.0}
