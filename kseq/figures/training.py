"""The curve of a training: what it learnt, epoch by epoch, beside the floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from kseq.figures.drawing import new_axes


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
    figure, axes = new_axes("epoch", "perplexity")
    epochs = [record["epoch"] for record in records]
    marker = "o" if len(epochs) < 2 else None
    axes.plot(epochs, [record["perplexity"] for record in records], label="training", marker=marker)
    if records and "val_perplexity" in records[0]:
        held_out = [record["val_perplexity"] for record in records]
        axes.plot(epochs, held_out, label="held-out", marker=marker)
    for number, (name, value) in enumerate((floors or {}).items()):
        grey = str(0.7 - 0.2 * (number % 3))
        axes.axhline(value, color=grey, linestyle="--", linewidth=1, label=f"{name} guessing")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter("{x:g}")
    # All minor ticks are labelled within four tenths of a decade, some of them up to two decades.
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)))
    # Perplexity falls, so there is room; "best" may take a second to look for it, and warns then.
    axes.legend(fontsize="small", loc="upper right")
    return figure
