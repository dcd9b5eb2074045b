"""A benchmark in pictures: who trains how fast, and how the cost grows with the sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from kseq.errors import DataError
from kseq.figures.drawing import (
    AMBER,
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SIZE,
    SKY,
    name_log_ticks,
)

# In the order of the bars, from the top; a contender has its colour in every picture.
CONTENDERS = {
    "torch: kseq": BLUE,
    "torch: kseq, eager": SKY,
    "jax: kseq": GREEN,
    "tensorflow: kseq": AMBER,
    "torch: d2l loop": ORANGE,
    "torch: expert loop": PURPLE,
    "torch: keras": "#999999",
    "jax: keras": "#AAAAAA",
    "tensorflow: keras": "#BBBBBB",
    "torch: products alone": BLACK,
}
AXES = {
    "units": "units",
    "num_layers": "layers",
    "batch_size": "rows of a batch",
    "num_steps": "steps of a row",
    "vocab_size": "entries of the vocabulary",
}
_BAR = 0.19  # inches
_ROOM = 0.9  # inches above and below the bars: title, axis, and what it ran on
Row = Mapping[str, Any]


def plot_benchmark(result: Mapping[str, Any]) -> Figure:
    """Return training tokens per second as bars, one part for each cell; the line is the spread.

    Beneath stand the machine and the versions.

    Args:
        result: as `kseq benchmark --json` prints it.

    Raises:
        DataError: it holds no training.

    Example:
        >>> row = {"subject": "training", "case": "training, gru", "cell": "gru"}
        >>> row |= {"engine": "torch", "contender": "kseq", "median": 3.0, "min": 2.0, "max": 4.0}
        >>> about = {"machine": {"processor": "P"}, "versions": {"torch": "2"}, "threads": 2}
        >>> figure = plot_benchmark({"rows": [row], **about})
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['torch: kseq']
    """
    parts = _training(result["rows"])
    if not parts:
        raise DataError("rows: must hold training by cell, found none; measure the training too")
    heights = [len(rows) for rows in parts.values()]
    inches = sum(heights) * _BAR + _ROOM + 0.3 * len(parts)
    figure = Figure(figsize=(SIZE[0], inches), layout="constrained")
    all_axes = figure.subplots(
        len(parts), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for axes, (cell, rows) in zip(all_axes, parts.items(), strict=True):
        _bars(axes, cell, rows)
    all_axes[-1].set_xlabel("training, tokens/s")
    _say_what_it_ran_on(figure, result)
    return figure


def plot_scaling(result: Mapping[str, Any]) -> Figure:
    """Return tokens per second along each size, the others held; both axes are logarithmic.

    Args:
        result: as `kseq benchmark --json` prints it.

    Raises:
        DataError: it holds no curve.

    Example:
        >>> row = {"subject": "scaling", "axis": "units", "cell": "lstm", "min": 2.0, "max": 4.0}
        >>> rows = [{**row, "size": 64 * k, "median": 3.0} for k in (1, 2)]
        >>> about = {"machine": {"processor": "P"}, "versions": {"torch": "2"}, "threads": 2}
        >>> plot_scaling({"rows": rows, **about}).axes[0].get_xlabel()
        'units'
    """
    curves = _curves(result["rows"])
    if not curves:
        raise DataError("rows: must hold scaling, found none; measure the subject scaling too")
    figure = Figure(figsize=(SIZE[0], 2.4 * -(-len(curves) // 2) + 0.4), layout="constrained")
    grid = figure.subplots(-(-len(curves) // 2), 2, sharey=True, squeeze=False).ravel()
    for axes, (axis, rows) in zip(grid, curves.items(), strict=False):
        _curve(axes, AXES[axis], rows)
    for axes in grid[len(curves) :]:
        axes.set_axis_off()
    grid[0].set_ylabel("tokens/s")
    _say_what_it_ran_on(figure, result)
    return figure


def _training(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each cell's plain training, in the order of the bars."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["subject"] == "training" and row["case"] == f"training, {row['cell']}":
            found.setdefault(row["cell"], []).append(row)
    order = list(CONTENDERS)
    for cell, part in found.items():
        known = [row for row in part if _name(row) in CONTENDERS]
        found[cell] = sorted(known, key=lambda row: order.index(_name(row)))
    return found


def _bars(axes: Axes, cell: str, rows: Sequence[Row]) -> None:
    names = [_name(row) for row in rows]
    medians = [row["median"] for row in rows]
    below = [row["median"] - row["min"] for row in rows]
    above = [row["max"] - row["median"] for row in rows]
    look = {"ecolor": GREY, "error_kw": {"linewidth": 1}}
    colors = [CONTENDERS[name] for name in names]
    axes.barh(names, medians, xerr=[below, above], color=colors, **look)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize="small")
    axes.set_title(cell, fontsize="medium", loc="left")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(alpha=0.3, axis="x")


def _curves(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row["subject"] == "scaling" and row["axis"] in AXES:
            found.setdefault(row["axis"], []).append(row)
    return found


def _curve(axes: Axes, label: str, rows: Sequence[Row]) -> None:
    sizes = [row["size"] for row in rows]
    axes.plot(sizes, [row["median"] for row in rows], color=BLUE, marker="o", markersize=3)
    low, high = [row["min"] for row in rows], [row["max"] for row in rows]
    axes.fill_between(sizes, low, high, color=BLUE, alpha=0.2, linewidth=0)
    axes.set(xlabel=label, xscale="log", yscale="log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    name_log_ticks(axes.yaxis)
    axes.grid(alpha=0.3)


def _name(row: Row) -> str:
    return f"{row['engine']}: {row['contender']}"


def _say_what_it_ran_on(figure: Figure, result: Mapping[str, Any]) -> None:
    about = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    words = f"{result['machine']['processor']}, {result['threads']} threads\n{about}"
    figure.supxlabel(words, fontsize="x-small", color=GREY, x=0.01, ha="left")
