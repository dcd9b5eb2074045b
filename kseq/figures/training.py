"""The curve of a training: what it learnt, epoch by epoch, beside the floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kseq.figures.drawing import legend_above, marker_of, name_log_ticks, new_axes

_DASHES = ((6, 2), (2, 2), (9, 2, 2, 2), (1, 1))  # line and gap, in line widths


def plot_training(
    records: Sequence[Mapping[str, Any]], floors: Mapping[str, float] | None = None
) -> Figure:
    """Return the curve of a training: perplexity by epoch, with floors as dashed lines.

    Args:
        records: as `kseq.train` returns them; perplexity and, if held out, val_perplexity.
        floors: perplexities of guessing by name, such as those of `ngram_floors`.

    Example:
        >>> figure = plot_training([{"epoch": 1, "perplexity": 9.0}], {"unigram": 17.0})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['training', 'unigram guessing']
    """
    named = {f"{name} guessing": value for name, value in (floors or {}).items()}
    return _curves(records, "perplexity", named, "perplexity")


def plot_losses(
    records: Sequence[Mapping[str, Any]],
    floors: Mapping[str, float] | None = None,
    ylabel: str = "mean squared error",
    xlabel: str = "epoch",
) -> Figure:
    """Return the curve of a training: loss by epoch, with floors as dashed lines.

    The axis is logarithmic, unless no loss is above 0; a floor of 0 is left out.

    Args:
        records: as `kseq.train` returns them; loss and, if held out, val_loss.
        floors: losses by name of what needs no model, such as "noise" or "persistence".
        ylabel: what the loss is, with its unit where there is one.
        xlabel: what the records count.

    Example:
        >>> figure = plot_losses([{"epoch": 1, "loss": 0.107}], {"noise": 0.04})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['training', 'noise']
    """
    above = {name: value for name, value in (floors or {}).items() if value > 0}
    return _curves(records, "loss", above, ylabel, xlabel)


def _curves(
    records: Sequence[Mapping[str, Any]],
    key: str,
    floors: Mapping[str, float],
    ylabel: str,
    xlabel: str = "epoch",
) -> Figure:
    figure, axes = new_axes(xlabel, ylabel)
    _draw(axes, records, key, "training")
    if records and f"val_{key}" in records[0]:
        _draw(axes, records, f"val_{key}", "held-out")
    for number, (name, value) in enumerate(floors.items()):
        look = {"color": str(0.6 - 0.2 * (number % 3)), "linestyle": (0, _DASHES[number % 4])}
        axes.axhline(value, label=name, linewidth=1, **look)
    if any(np.max(line.get_ydata()) > 0 for line in axes.lines):
        axes.set_yscale("log")
        name_log_ticks(axes.yaxis)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend_above(axes)
    return figure


def _draw(axes: Axes, records: Sequence[Mapping[str, Any]], key: str, label: str) -> None:
    epochs = [record["epoch"] for record in records]
    axes.plot(epochs, [record[key] for record in records], label=label, marker=marker_of(epochs))
