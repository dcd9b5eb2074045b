"""What every figure shares: the book's size, labelled axes, and no display."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIZE = (6, 3)  # inches


def new_axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """Return an empty figure of 6 by 3 inches and its axes, named and with a faint grid.

    Example:
        >>> figure, axes = new_axes("time", "x")
        >>> axes.get_xlabel(), figure.get_size_inches().tolist()
        ('time', [6.0, 3.0])
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.grid(alpha=0.3, which="both")
    return figure, axes
