"""How counts fall with rank: Zipf's law for words, and for runs of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kseq.data.ngrams import NgramStatistics, ngram_statistics
from kseq.errors import DataError
from kseq.figures.drawing import COLORS, legend_above, marker_of, name_log_ticks, new_axes

_NAMES = {1: "unigrams", 2: "bigrams", 3: "trigrams"}
_MOST_POINTS = 500


def plot_ngrams(source: Any) -> Figure:
    """Return counts over ranks, both logarithmic, with the fitted lines thin and dashed.

    source: a Corpus or a sequence of tokens, of which unigrams, bigrams and trigrams are drawn; or
    what `ngram_statistics` returns.

    Of many ranks 500 are drawn, evenly spaced on the axis.

    Raises:
        DataError: an empty list, or a text of fewer than 3 tokens.

    Example:
        >>> figure = plot_ngrams("to be or not to be".split())
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['unigrams', 'bigrams', 'trigrams']
    """
    figure, axes = new_axes("rank", "count")
    for statistics, color in zip(_all_of(source), cycle(COLORS), strict=False):
        _draw(axes, statistics, color)
    axes.set(xscale="log", yscale="log")
    name_log_ticks(axes.xaxis)
    name_log_ticks(axes.yaxis)
    legend_above(axes)
    return figure


def _all_of(source: Any) -> Sequence[NgramStatistics]:
    if isinstance(source, list | tuple) and not source:
        raise DataError("source: must have tokens or statistics to draw, found none; pass a text")
    if isinstance(source, list | tuple) and isinstance(source[0], NgramStatistics):
        return source
    return ngram_statistics(source)


def _draw(axes: Axes, statistics: NgramStatistics, color: str) -> None:
    counts, fit = statistics.counts, statistics.fit
    ranks = np.unique(np.geomspace(1, len(counts), _MOST_POINTS).round().astype(int))
    label = _NAMES.get(statistics.n, f"{statistics.n}-grams")
    if fit is not None:
        label += f", exponent {fit.exponent:.2f}"
        ends = np.array([fit.first, fit.last])
        axes.plot(ends, fit.scale * ends**-fit.exponent, "--", color=color, linewidth=1)
    axes.plot(ranks, counts[ranks - 1], color=color, label=label, marker=marker_of(ranks))
