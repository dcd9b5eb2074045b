"""Gradients through time: how they vanish, explode and are cut short, in the layers themselves.

With the states s_t (the hidden state h_t, and for an LSTM the cell c_t beside it) of a layer that
reads x_1 .. x_T, and a loss L at the last step, the chain rule goes back one step at a time:

    dL/ds_{t-1} = J_t^T dL/ds_t,          J_t = ds_t/ds_{t-1}
    dL/dR = sum_t (ds_t/dR)^T dL/ds_t     R the recurrent kernel, seen as used at step t alone

What every step contributes comes from `kseq.nn.jacobians`.

Sources: Bengio, Simard and Frasconi, "Learning long-term dependencies with gradient descent is
difficult" (1994); Pascanu, Mikolov and Bengio, arXiv:1211.5063; Dive into Deep Learning 8.7.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kseq.checks import positive_int
from kseq.nn.jacobians import (
    MOST_UNITS,
    at_least_two,
    back_through_time,
    checked_gate_bias,
    drawn_layer,
    drawn_sequence,
    jacobians,
    kernel_terms,
)

MOST_DRAWS = 10_000


@dataclass(frozen=True)
class StateGradients:
    """Norms of the gradient of L = v . h_T, |v| = 1, by the states after each step, float64.

    cell, gain: of the layer.  gate_bias: of the gate that keeps the old state, None without one.
    norms: (T,), |dL/dh_t| for t = 1 .. T; the last is 1.
    cell_norms: (T,), |dL/dc_t| of an LSTM, with h_t held; the last is 0.  None for other cells.
    """

    cell: str
    gain: float
    gate_bias: float | None
    norms: np.ndarray
    cell_norms: np.ndarray | None


def state_gradients(
    cell: str = "simple_rnn",
    num_steps: int = 100,
    units: int = 32,
    gain: float = 1.0,
    gate_bias: float | None = None,
    seed: int = 0,
) -> StateGradients:
    """Return how large the gradient of a loss at the last step is at the state of every step.

    A plain RNN's J_t = diag(1 - h_t^2) R^T has no norm above `gain`, so that below 1 the
    gradient vanishes at least as fast as gain^(T-t); above 1 it may explode.  An LSTM's cell is
    a sum, c_t = f c_{t-1} + i g, through which the gradient comes back times f alone: where the
    gain is small it falls by sigmoid(gate_bias) a step, 0.27 with -1, 0.73 with 1, 0.95 with 3.
    A GRU's update gate does the same for h.

    Args:
        cell: "simple_rnn", "gru" or "lstm".
        num_steps: T, 2 to 500.
        units: H, at most 64.
        gain: each gate's recurrent matrix (H, H) is orthogonal times this, so that this is its
            spectral radius and its norm.
        gate_bias: of the gate that keeps the old state, the LSTM's forget gate (1 by default) or
            the GRU's update gate (0 by default); a plain RNN has none.
        seed: of the weights, of the inputs x_t ~ N(0, 0.3^2) and of v.

    Raises:
        UsageError: an unknown cell, a number outside its range, or a gate bias without a gate.

    Source: Pascanu et al., arXiv:1211.5063, section 2; Gers et al. (2000) for the forget gate;
    Jozefowicz et al. (2015) for its bias; Dive into Deep Learning 8.7, 9.2.

    Example:
        >>> found = state_gradients("simple_rnn", num_steps=11, units=4, gain=0.5)
        >>> bool(found.norms[0] < 0.5**10), float(found.norms[-1].round(6))
        (True, 1.0)
    """
    layer = drawn_layer(cell, units, gain, gate_bias, seed)
    inputs, direction = drawn_sequence(num_steps, units, seed)
    back = back_through_time(jacobians(layer, inputs), direction)
    norms = np.linalg.norm(back[:, :units], axis=1)
    cell_norms = np.linalg.norm(back[:, units:], axis=1) if cell == "lstm" else None
    return StateGradients(cell, float(gain), checked_gate_bias(cell, gate_bias), norms, cell_norms)


@dataclass(frozen=True)
class Estimate:
    """An estimate of a gradient beside the gradient itself, which is called full.

    cosine: of the angle to the full one, mean over the draws.
    relative_norm: its norm in units of the full one's, mean over the draws.
    bias: |mean of the draws - full| / |full|.
    deviation: the square root of the mean of |draw - mean|^2, divided by |full|.
    length: how many steps are gone through backwards, mean over the draws.
    """

    cosine: float
    relative_norm: float
    bias: float
    deviation: float
    length: float


@dataclass(frozen=True)
class Truncation:
    """Three ways to the gradient of the recurrent kernel of one sequence.

    tau: steps kept by the regular way.  keep: the probability with which the random way goes on.
    full, regular, random: their figures; the first two have one draw.
    errors: (draws,), |mean of the first n random draws - full| / |full|.
    """

    tau: int
    keep: float
    full: Estimate
    regular: Estimate
    random: Estimate
    errors: np.ndarray


def truncation(
    cell: str = "simple_rnn",
    num_steps: int = 64,
    units: int = 16,
    gain: float = 1.0,
    tau: int = 8,
    draws: int = 4000,
    seed: int = 0,
) -> Truncation:
    """Compare full, regularly and randomly truncated backpropagation through time.

        full      sum_t G_t,  G_t the gradient by R as used at step t = 1 .. T
        regular   sum_{t > T - tau} G_t
        random    sum_t G_t xi_{t+1} .. xi_T,   xi = 0 with probability 1 - keep, else 1/keep

    Since E[xi] = 1 the random way has no bias, and pays for it in variance.  With
    keep = 1 - 1/tau both truncations go back by about tau steps (the random one on average).

    Args:
        cell: "simple_rnn", "gru" or "lstm".
        num_steps: T, 2 to 500.
        units: H, at most 32.
        gain: of the recurrent matrices, as in `state_gradients`.
        tau: 2 to num_steps.
        draws: of the random way, at most 10,000.
        seed: of the weights, the sequence and the draws.

    Raises:
        UsageError: an unknown cell or a number outside its range.

    Source: Tallec and Ollivier, arXiv:1705.08209 (2017); Dive into Deep Learning 8.7.1.

    Example:
        >>> result = truncation(num_steps=6, units=3, tau=3, draws=10)
        >>> result.full.length, result.regular.length, result.errors.shape
        (6.0, 3.0, (10,))
    """
    layer = drawn_layer(cell, positive_int("units", units, MOST_UNITS // 2), gain, None, seed)
    draws = positive_int("draws", draws, MOST_DRAWS)
    tau = at_least_two("tau", tau, num_steps)
    keep = 1 - 1 / tau
    terms = kernel_terms(layer, *drawn_sequence(num_steps, units, seed))
    every, regular = np.ones((1, num_steps)), (np.arange(num_steps) >= num_steps - tau)[None]
    random = _random_factors(np.random.default_rng([seed, 3]), keep, draws, num_steps)
    full = terms.sum(0)
    ways = {"full": every, "regular": regular, "random": random}
    estimates = {name: _estimate(factors, terms, full) for name, factors in ways.items()}
    means = np.cumsum(random @ terms, axis=0) / np.arange(1, draws + 1)[:, None]
    errors = np.linalg.norm(means - full, axis=1) / np.linalg.norm(full)
    return Truncation(tau=tau, keep=keep, errors=errors, **estimates)


def _random_factors(
    rng: np.random.Generator, keep: float, draws: int, num_steps: int
) -> np.ndarray:
    """Return for each draw the product of xi_{t+1} .. xi_T for t = 1 .. T: (draws, T)."""
    xi = (rng.random((draws, num_steps)) < keep) / keep
    xi[:, -1] = 1  # no xi after the last step
    return np.cumprod(xi[:, ::-1], axis=1)[:, ::-1]


def _estimate(factors: np.ndarray, terms: np.ndarray, full: np.ndarray) -> Estimate:
    drawn, size = factors @ terms, np.linalg.norm(full)
    norms, mean = np.linalg.norm(drawn, axis=1), drawn.mean(0)
    return Estimate(
        cosine=float((drawn @ full / (norms * size)).mean()),
        relative_norm=float(norms.mean() / size),
        bias=float(np.linalg.norm(mean - full) / size),
        deviation=float(np.sqrt(((drawn - mean) ** 2).sum(1).mean()) / size),
        length=float((factors > 0).sum(1).mean()),
    )
