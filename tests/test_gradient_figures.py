"""Pictures of gradients show what was measured; `kseq figures` writes them and their numbers."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from kseq.cli import figures as command
from kseq.errors import FileError, UsageError
from kseq.figures.gradients import plot_clipping, plot_state_gradients, plot_truncation
from kseq.nn.clipping import Clipping, Descent
from kseq.nn.through_time import Estimate, StateGradients, Truncation, state_gradients, truncation

PLAIN = StateGradients("simple_rnn", 0.5, None, np.array([1e-12, 1e-6, 1.0]), None)
LSTM = StateGradients("lstm", 1.0, 3.0, np.array([0.25, 0.5, 1.0]), np.array([2.0, 4.0, 0.0]))
FREE = Descent(np.array([2.0, 9e9, np.inf]), np.array([5.0, 7e9, np.inf]), np.ones(3), 1)
CLIPPED = Descent(np.array([2.0, 1.0, 0.5]), np.array([5.0, 3.0, 0.8]), np.array([1, 1, 0.8]), 0)
EXACT, KEPT = Estimate(1, 1, 0, 0, 9), Estimate(0.9, 0.8, 0.4, 0, 3)
CUT = Truncation(3, 2 / 3, EXACT, KEPT, Estimate(0.7, 1.2, 0.1, 2, 3), np.array([0.9, 0.3, 0.1]))


def lines_of(axes):
    return {line.get_label(): np.asarray(line.get_ydata(), float).tolist() for line in axes.lines}


def test_norms_are_drawn_by_steps_back_from_the_loss():
    figure = plot_state_gradients([PLAIN, LSTM])
    (axes,) = figure.axes
    plain, hidden, cell = axes.lines

    assert lines_of(axes) == {
        "RNN, gain 0.5": [1, 1e-6, 1e-12],
        "LSTM, gain 1, bias 3": [1, 0.5, 0.25],
        "LSTM, gain 1, bias 3: c": [4, 2],
    }
    assert np.asarray(plain.get_xdata()).tolist() == [0, 1, 2]
    assert np.asarray(cell.get_xdata()).tolist() == [1, 2]
    assert (cell.get_linestyle(), cell.get_color()) == ("--", hidden.get_color())
    assert hidden.get_color() != plain.get_color()
    assert axes.get_ylim()[0] == pytest.approx(1e-10)
    assert axes.get_ylim()[1] > 4


def test_lines_of_a_clipping_end_where_the_numbers_do():
    figure = plot_clipping(Clipping(1.0, CLIPPED, FREE))
    loss, norm = figure.axes
    ends = [2, 9e9, np.nan], [5, 7e9, np.nan]

    for axes, end in zip((loss, norm), ends, strict=True):
        np.testing.assert_array_equal(lines_of(axes)["without clipping"], end)
        assert axes.get_ylim()[1] == pytest.approx(1e4)
    assert lines_of(loss)["clipped at 1"] == [2, 1, 0.5]
    assert lines_of(norm)["clipped at 1"] == [5, 3, 0.8]
    assert lines_of(norm)["what is left of it"] == [1, 1, 0.8]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(lines_of(norm))


def test_a_truncation_is_drawn_by_draws():
    (axes,) = plot_truncation(CUT).axes
    lines = lines_of(axes)

    assert lines["random, mean of the draws"] == [0.9, 0.3, 0.1]
    assert lines["deviation / \N{SQUARE ROOT}draws"] == pytest.approx([2, 2**0.5, 2 / 3**0.5])
    assert lines["last 3 steps"][0] == 0.4
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines[:2]] == 2 * [[1, 2, 3]]


@pytest.mark.parametrize(
    ("figure", "names"),
    [
        (plot_state_gradients([PLAIN]), [("steps back from the loss", "norm of the gradient")]),
        (
            plot_clipping(Clipping(1.0, CLIPPED, CLIPPED)),
            [("update", "loss"), ("update", "norm of the gradient")],
        ),
        (plot_truncation(CUT), [("random draws averaged", "distance from the full gradient")]),
    ],
    ids=["gradients", "clipping", "truncation"],
)
def test_axes_are_named_and_logarithmic_at_the_size_of_the_books(figure, names):
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == names
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    assert figure.get_size_inches().tolist() == [6, 3]


# kseq figures


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*names, **options):
    defaults = {"out": "pictures", "seed": 0, "overwrite": False, "json": False}
    quiet = {"quiet": True, "device": None}
    quiet |= {"corpus": "story", "level": "word", "cleaning": None, "min_freq": 0}
    quiet |= {"encoding": "utf-8", "data_dir": None, "cache_dir": None}
    command.figures(Namespace(names=list(names), **{**defaults, **quiet, **options}))


def written():
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def test_all_pictures_are_written_with_their_numbers(monkeypatch, capsys):
    monkeypatch.setattr(command, "CASES", (("simple_rnn", 0.5, None), ("lstm", 0.5, 3.0)))
    run(quiet=False)
    said = capsys.readouterr()

    assert written() == [
        f"pictures/{n}.{s}" for n in sorted(command.LESSONS) for s in ("png", "svg")
    ]
    assert Path("pictures/clipping.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path("pictures/gradients.svg").read_text()
    rows = [line.split() for line in said.out.splitlines()]
    norms = state_gradients("simple_rnn", gain=0.5).norms
    assert ["simple_rnn", "0.5", *(f"{norms[-1 - k]:.3g}" for k in (1, 10, 50, 99))] in rows
    assert ["full", "1", "1", "0", "0", "64"] in [row[:6] for row in rows]
    assert all(path in said.out for path in written())
    notes = [line for line in said.err.splitlines() if line.startswith("kseq: note: ")]
    assert len(notes) == 4


def test_json_is_one_object_with_the_numbers(capsys):
    run("truncation", json=True, seed=3, out="here")
    said = capsys.readouterr()
    report, expected = json.loads(said.out), truncation(seed=3)

    assert report["truncation"]["files"] == ["here/truncation.png", "here/truncation.svg"]
    assert report["truncation"]["numbers"]["random"]["bias"] == expected.random.bias
    assert report["truncation"]["numbers"]["draws"] == 4000
    assert (report["seed"], "gradients" in report, said.err) == (3, False, "")


def test_the_same_seed_gives_the_same_files():
    run("truncation", out="one")
    run("truncation", out="two")

    for suffix in ("png", "svg"):
        one, two = (Path(out, f"truncation.{suffix}").read_bytes() for out in ("one", "two"))
        assert one == two


def test_files_that_exist_are_refused_before_any_work(monkeypatch):
    Path("pictures").mkdir()
    Path("pictures/clipping.svg").write_text("mine")
    monkeypatch.setattr(command, "_DRAW", {})

    with pytest.raises(UsageError, match=r"must hold no earlier results, found clipping.svg; pass"):
        run("truncation", "clipping")
    assert written() == ["pictures/clipping.svg"]


def test_files_that_exist_are_replaced_on_request():
    Path("pictures").mkdir()
    Path("pictures/truncation.svg").write_text("old")
    run("truncation", overwrite=True)

    assert "<svg" in Path("pictures/truncation.svg").read_text()
    assert written() == ["pictures/truncation.png", "pictures/truncation.svg"]


def test_a_name_given_twice_is_drawn_once(capsys):
    run("truncation", "truncation")

    assert capsys.readouterr().out.count("truncation.png") == 1


def test_unknown_pictures_are_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"figures: must be .*, found 'cliping'; did you mean 'cl"):
        run("gradients", "cliping")
    assert written() == []


def test_a_folder_that_cannot_be_made_is_refused():
    Path("pictures").write_text("a file")

    with pytest.raises(FileError, match="pictures: must be a folder that can be written to, found"):
        run("truncation")
    assert Path("pictures").read_text() == "a file"
