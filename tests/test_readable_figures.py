"""Figures of series and forecasts can be read at the book's size, and written."""

import io
import struct
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from figure_cases import DAYS, FIGURES, RECORDS, SERIES, TIMES, axes_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kseq.figures import (
    plot_errors,
    plot_free_run,
    plot_intervals,
    plot_k_step,
    plot_losses,
    plot_series,
)
from kseq.figures.drawing import legend_above, new_axes

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

every_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


def overlapping(boxes):
    """Give the pairs that touch, with a twentieth of an inch between them or less."""
    wide = [box.padded(2.5) for box in boxes]
    return [pair for pair in combinations(wide, 2) if pair[0].overlaps(pair[1])]


def tick_labels(axis):
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    shown = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
    return [label for label in shown if label.get_text()]


@every_figure
def test_a_figure_can_be_read(draw):
    figure = draw()
    axes = axes_of(figure)
    figure.draw_without_rendering()

    assert figure.get_size_inches().tolist() == [6, 3]
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    for axis in (axes.xaxis, axes.yaxis):
        labels = tick_labels(axis)
        assert len(labels) >= 2
        assert not overlapping([label.get_window_extent() for label in labels])
    area = axes.get_window_extent()
    assert area.width > 0.5 * figure.bbox.width
    assert area.height > 0.6 * figure.bbox.height


@every_figure
def test_a_legend_covers_no_data_and_stays_inside(draw):
    figure = draw()
    figure.draw_without_rendering()
    legend, area = axes_of(figure).get_legend(), axes_of(figure).get_window_extent()
    if legend is None:
        return
    box = legend.get_window_extent()

    assert box.y0 >= area.y1 or box.x0 >= area.x1
    assert box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.bbox.y1
    assert not overlapping([t.get_window_extent().padded(-2.5) for t in legend.get_texts()])
    assert min(text.get_fontsize() for text in legend.get_texts()) > 8


@settings(max_examples=15, deadline=None)
@given(st.lists(st.text("aegimnst1 (", min_size=1, max_size=30), min_size=1, max_size=9))
def test_a_legend_fits_whatever_the_names(names):
    figure, axes = new_axes("time", "x")
    for name in names:
        axes.plot(TIMES, SERIES, label=name)
    legend_above(axes)
    figure.draw_without_rendering()

    assert axes.get_legend().get_window_extent().x1 <= figure.bbox.x1
    assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1


def test_dates_are_written_as_dates():
    figure = FIGURES["days"]()
    figure.draw_without_rendering()
    labels = [label.get_text() for label in tick_labels(axes_of(figure).xaxis)]

    assert {"2021", "2022", "2023"} <= set(labels)


@every_figure
def test_a_figure_can_be_written(draw, tmp_path):
    before = dict(matplotlib.rcParams)
    figure = draw()
    figure.savefig(tmp_path / "a.png", dpi=50)
    figure.savefig(tmp_path / "a.svg")
    content = (tmp_path / "a.png").read_bytes()

    # Width and height stand at a fixed place (PNG specification, section 11.2.2).
    assert struct.unpack(">II", content[16:24]) == (300, 150)
    assert "<svg" in (tmp_path / "a.svg").read_text("utf-8")
    assert dict(matplotlib.rcParams) == before
    # Figures made by pyplot have a manager, which keeps them alive and may open a window.
    assert figure.canvas.manager is None


@every_figure
def test_a_figure_is_the_same_bytes_each_time(draw):
    with matplotlib.rc_context({"svg.hashsalt": "kseq"}):
        first, second = io.BytesIO(), io.BytesIO()
        draw().savefig(first, format="svg", metadata={"Date": None})
        draw().savefig(second, format="svg", metadata={"Date": None})

    assert first.getvalue() == second.getvalue()


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot_series([1.0]),
        lambda: plot_series([1.0], DAYS[:1]),
        lambda: plot_series([1.0, 1.0, 1.0]),
        lambda: plot_series([1.0, np.nan, np.inf, 2.0]),
        lambda: plot_k_step({1: ([5], [0.5])}),
        lambda: plot_errors({"mlp": [0.3]}, noise=0.2),
        lambda: plot_free_run([1.0, 2.0], [1.0]),
        lambda: plot_intervals([1.0], [2.0], [1.0], [3.0]),
        lambda: plot_losses(RECORDS[:1]),
    ],
)
def test_a_little_data_is_no_trouble(draw):
    figure = draw()
    figure.savefig(io.BytesIO(), format="png")

    for line in axes_of(figure).lines:
        assert len(line.get_xdata()) > 1 or line.get_marker() != "None"
