"""Figures show what the records say, at the size of the book's."""

import struct

import numpy as np
import pytest

from kseq import plot_training

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

RECORDS = [
    {"epoch": 1, "perplexity": 12.0, "val_perplexity": 11.0},
    {"epoch": 2, "perplexity": 6.0, "val_perplexity": 7.5},
    {"epoch": 3, "perplexity": 3.0, "val_perplexity": 8.0},
]
FLOORS = {"uniform": 28.0, "unigram": 17.0, "bigram": 9.9}


def lines_of(figure):
    (axes,) = figure.axes
    return {line.get_label(): np.asarray(line.get_ydata(), float) for line in axes.lines}


def test_the_curves_are_the_records():
    lines = lines_of(plot_training(RECORDS, FLOORS))

    assert lines["training"].tolist() == [12, 6, 3]
    assert lines["held-out"].tolist() == [11, 7.5, 8]
    assert {name: lines[f"{name} guessing"][0] for name in FLOORS} == FLOORS


def test_axes_have_names_and_the_size_is_the_books():
    figure = plot_training(RECORDS)
    (axes,) = figure.axes

    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "perplexity")
    assert figure.get_size_inches().tolist() == [6, 3]


def test_without_held_out_text_there_is_one_curve():
    assert set(lines_of(plot_training([{"epoch": 1, "perplexity": 9.0}]))) == {"training"}


def test_floors_are_dashed_lines_across_the_picture():
    (axes,) = plot_training(RECORDS, FLOORS).axes
    dashed = {line.get_label() for line in axes.lines if line.get_linestyle() == "--"}

    assert dashed == {f"{name} guessing" for name in FLOORS}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "training",
        "held-out",
        *(f"{name} guessing" for name in FLOORS),
    ]
    assert axes.get_yscale() == "log"


def labels_of(axis):
    """Give the labels that are drawn, with the height or place each is drawn at."""
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    low, high = sorted(axis.get_view_interval())
    shown = {
        tick.get_loc(): tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high
    }
    return {place: text for place, text in shown.items() if text}


@pytest.mark.parametrize(
    "perplexities",
    [[20.0], [28.0, 6.0, 1.02], [7.9, 7.5, 7.2], [4000.0, 300.0, 40.0]],
    ids=["one epoch", "to 1", "hardly falling", "words"],
)
def test_ticks_can_be_read(perplexities):
    records = [{"epoch": i, "perplexity": p} for i, p in enumerate(perplexities, start=1)]
    figure = plot_training(records)
    figure.draw_without_rendering()
    (axes,) = figure.axes

    heights = labels_of(axes.yaxis)
    places = np.sort(axes.transData.transform([(1, value) for value in heights])[:, 1])
    assert len(heights) >= 2
    # A label is a tenth of an inch high.
    assert np.diff(places).min() > 0.1 * figure.dpi
    assert all(float(text) == pytest.approx(value) for value, text in heights.items())
    epochs = labels_of(axes.xaxis)
    assert epochs
    assert all(value == int(value) for value in epochs)


def test_a_picture_can_be_written(tmp_path):
    plot_training(RECORDS, FLOORS).savefig(tmp_path / "curve.png", dpi=50)
    content = (tmp_path / "curve.png").read_bytes()

    assert content.startswith(b"\x89PNG")
    # Width and height stand at a fixed place (PNG specification, section 11.2.2).
    assert struct.unpack(">II", content[16:24]) == (300, 150)
    assert len(content) > 3000
