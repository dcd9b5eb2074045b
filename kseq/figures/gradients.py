"""Gradients in pictures: back through time, clipped and free, and what truncation makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from kseq.figures.drawing import BLUE, GREY, ORANGE, legend_above, legend_beside, new_axes

if TYPE_CHECKING:  # a picture needs no engine
    from kseq.nn.clipping import Clipping
    from kseq.nn.through_time import StateGradients, Truncation

# Further decades would press together those that tell the cells apart; lines leave the picture.
LOWEST, HIGHEST = 1e-10, 1e4
NAMES = {"simple_rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


def plot_state_gradients(results: Sequence[StateGradients]) -> Figure:
    """Return the norms of the gradient by the hidden state, by steps back from the loss.

    What is below 1e-10 is out of the picture.

    results: as `state_gradients` gives them, one line each, and a dashed one in the same colour
        for the cell state of an LSTM.

    Example:
        >>> from kseq.nn.through_time import state_gradients
        >>> figure = plot_state_gradients([state_gradients("gru", num_steps=5, units=2)])
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['GRU, gain 1, bias 0']
    """
    figure, axes = new_axes("steps back from the loss", "norm of the gradient")
    for result in results:
        (line,) = axes.plot(result.norms[::-1], label=_described(result))
        if result.cell_norms is not None:
            # At the loss itself the cell has no gradient but through the hidden state.
            back = np.arange(1, len(result.cell_norms))
            (cell,) = axes.plot(back, result.cell_norms[-2::-1], "--", color=line.get_color())
            cell.set_label(f"{_described(result)}: c")
    _set_log(axes, lowest=LOWEST)
    legend_beside(axes)
    return figure


def plot_clipping(result: Clipping) -> Figure:
    """Return loss and global norm of the gradient by update, with clipping and without.

    What is above 10,000, or not finite, is out of the picture.

    Example:
        >>> from kseq.nn.clipping import clipping
        >>> figure = plot_clipping(clipping(num_updates=2, num_steps=3, units=2))
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['loss', 'norm of the gradient']
    """
    figure, losses = new_axes("update", "loss")
    losses.set_subplotspec(figure.add_gridspec(1, 2)[0])
    norms = figure.add_subplot(1, 2, 2, xlabel="update", ylabel="norm of the gradient")
    norms.grid(alpha=0.3, which="both")
    for axes, clipped, free in (
        (losses, result.clipped.loss, result.free.loss),
        (norms, result.clipped.before, result.free.before),
    ):
        axes.plot(_finite(free), color=ORANGE, label="without clipping")
        axes.plot(_finite(clipped), color=BLUE, label=f"clipped at {result.bound:g}")
    (left,) = norms.plot(_finite(result.clipped.after), "--", color=BLUE)
    left.set_label("what is left of it")
    _set_log(losses, highest=HIGHEST)
    _set_log(norms, highest=HIGHEST)
    lines = norms.get_legend_handles_labels()
    figure.legend(*lines, loc="outside upper center", ncols=3, fontsize="small", frameon=False)
    return figure


def plot_truncation(result: Truncation) -> Figure:
    """Return how far the mean of random truncations is from the full gradient, by draws.

    The regularly truncated gradient, which has no draws to average, is a dashed line; the
    dotted one falls as one over the square root of the draws from the measured deviation.

    Example:
        >>> from kseq.nn.through_time import truncation
        >>> figure = plot_truncation(truncation(num_steps=5, units=2, tau=2, draws=8))
        >>> figure.axes[0].get_xlabel()
        'random draws averaged'
    """
    figure, axes = new_axes("random draws averaged", "distance from the full gradient")
    draws = np.arange(1, len(result.errors) + 1)
    axes.plot(draws, result.errors, label="random, mean of the draws")
    expected = result.random.deviation / np.sqrt(draws)
    axes.plot(draws, expected, color=GREY, linestyle=":", label="deviation / \N{SQUARE ROOT}draws")
    last = axes.axhline(result.regular.bias, color=ORANGE, linestyle="--")
    last.set_label(f"last {result.tau} steps")
    axes.set(xscale="log", yscale="log")
    legend_above(axes)
    return figure


def _set_log(axes: Axes, lowest: float = 0.0, highest: float = np.inf) -> None:
    """Let the y axis be logarithmic and as high as its lines, within the limits."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    values = values[values > 0]  # which NaN is not
    axes.set_yscale("log")
    axes.set_ylim(max(lowest, values.min() / 2), min(highest, values.max() * 2))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(LogLocator(numticks=8))


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _described(result: StateGradients) -> str:
    gate = "" if result.gate_bias is None else f", bias {result.gate_bias:g}"
    return f"{NAMES[result.cell]}, gain {result.gain:g}{gate}"
