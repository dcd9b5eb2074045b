"""Figures show what the records say, at the size of the book's."""

import numpy as np

from kseq import plot_training

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


def test_a_picture_can_be_written(tmp_path):
    plot_training(RECORDS, FLOORS).savefig(tmp_path / "curve.png")

    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
