"""Pictures of a benchmark show its medians, its spreads, and what it ran on."""

import pytest

from kseq.errors import DataError
from kseq.figures import plot_benchmark, plot_scaling
from kseq.figures.benchmark import CONTENDERS

pytestmark = pytest.mark.engine("torch")

ABOUT = {"machine": {"processor": "A processor"}, "versions": {"torch": "2.13"}, "threads": 2}


def row(cell, engine, contender, median, case=None, subject="training"):
    spread = {"median": median, "min": 0.9 * median, "max": 1.2 * median}
    case = case or f"training, {cell}"
    names = {"engine": engine, "contender": contender, "axis": "", "size": None}
    return {"subject": subject, "case": case, "cell": cell, **names, **spread}


def curve(axis, **medians):
    rows = [
        row("lstm", "torch", "kseq", median, f"{axis} {size}", "scaling")
        for size, median in medians.items()
    ]
    sizes = [int(size.lstrip("n")) for size in medians]
    return [{**each, "axis": axis, "size": size} for each, size in zip(rows, sizes, strict=True)]


ROWS = [
    row("lstm", "torch", "products alone", 40000.0),
    row("lstm", "jax", "keras", 16000.0),
    row("lstm", "torch", "kseq", 31000.0),
    row("gru", "torch", "d2l loop", 20000.0),
    row("gru", "torch", "kseq", 30000.0),
    row("lstm", "torch", "kseq", 9.0, case="training, lstm, bfloat16"),
    *curve("units", n64=300.0, n128=150.0, n256=60.0),
    *curve("num_layers", n1=100.0, n2=50.0),
    *curve("batch_size", n1=10.0, n32=100.0),
]
RESULT = {"rows": ROWS, **ABOUT}


def bars_of(axes):
    names = [text.get_text() for text in axes.get_yticklabels()]
    return dict(zip(names, [bar.get_width() for bar in axes.patches], strict=True))


def test_bars_are_the_medians_of_plain_training_by_cell():
    axes = plot_benchmark(RESULT).axes

    assert [each.get_title(loc="left") for each in axes] == ["lstm", "gru"]
    assert list(bars_of(axes[0]).items()) == [
        ("torch: kseq", 31000.0),
        ("jax: keras", 16000.0),
        ("torch: products alone", 40000.0),
    ]
    assert bars_of(axes[1]) == {"torch: kseq": 30000.0, "torch: d2l loop": 20000.0}
    assert axes[-1].get_xlabel() == "training, tokens/s"


def test_a_contender_has_its_colour_in_every_part():
    parts = plot_benchmark(RESULT).axes
    assert parts[0].patches[0].get_facecolor() == parts[1].patches[0].get_facecolor()
    assert len({CONTENDERS[name] for name in CONTENDERS}) == len(CONTENDERS)


def test_lines_reach_from_the_lowest_to_the_highest():
    axes = plot_benchmark(RESULT).axes[0]
    (lines,) = axes.collections
    first = lines.get_segments()[0]
    assert first[:, 0].tolist() == pytest.approx([0.9 * 31000, 1.2 * 31000])


def test_curves_go_through_the_medians():
    figure = plot_scaling(RESULT)
    shown = {axes.get_xlabel(): axes for axes in figure.axes if axes.lines}

    assert list(shown) == ["units", "layers", "rows of a batch"]
    assert shown["units"].lines[0].get_xydata().tolist() == [[64, 300], [128, 150], [256, 60]]
    assert shown["units"].get_xscale() == shown["units"].get_yscale() == "log"


@pytest.mark.parametrize("plot", [plot_benchmark, plot_scaling])
def test_the_caption_says_what_it_ran_on(plot):
    caption = plot(RESULT).get_supxlabel()
    assert caption == "A processor, 2 threads\ntorch 2.13"


@pytest.mark.parametrize("plot", [plot_benchmark, plot_scaling])
def test_without_rows_there_is_no_picture(plot):
    with pytest.raises(DataError, match=r"rows: must hold .* found none; measure"):
        plot({"rows": [], **ABOUT})


@pytest.mark.parametrize("plot", [plot_benchmark, plot_scaling])
def test_nothing_is_cut_off(plot):
    figure = plot(RESULT)
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is None or (box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width + 1)
        assert box is None or box.y1 <= height + 1
