"""Figures of series and forecasts draw what they are given, and refuse what they cannot draw."""

from itertools import combinations

import numpy as np
import pytest
from figure_cases import (
    DAILY,
    DAYS,
    ERRORS,
    FLOORS,
    HOURS,
    K_STEP,
    MULTI_STEP,
    ONE_STEP,
    RECORDS,
    SERIES,
    SINE,
    STEPS,
    TIMES,
    axes_of,
    intervals,
)
from matplotlib.colors import to_hex

from kseq.errors import DataError, UsageError
from kseq.figures import (
    plot_errors,
    plot_forecasts,
    plot_free_run,
    plot_intervals,
    plot_k_step,
    plot_losses,
    plot_series,
)
from kseq.figures.drawing import COLORS

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")


def points_of(figure):
    """Give what was drawn by label, as it was handed to matplotlib."""
    return {line.get_label(): line.get_data(orig=True) for line in axes_of(figure).lines}


def named(figure):
    return [text.get_text() for text in axes_of(figure).get_legend().get_texts()]


def same(found, times, values):
    np.testing.assert_array_equal(found[0], times, strict=True)
    np.testing.assert_array_equal(found[1], values, strict=True)


@pytest.mark.parametrize(
    ("times", "values"),
    [(TIMES, SERIES), (DAYS, DAILY), (TIMES / 10, SERIES), (HOURS, SERIES)],
    ids=["numbers", "days", "fractions", "minutes"],
)
def test_a_series_is_drawn_as_it_is(times, values):
    figure = plot_series(values, times, "day", "bicycles")

    same(points_of(figure)["data"], times, values)
    assert (axes_of(figure).get_xlabel(), axes_of(figure).get_ylabel()) == ("day", "bicycles")
    assert axes_of(figure).get_legend() is None


def test_times_are_counted_from_one():
    figure = plot_series(SERIES)

    same(points_of(figure)["data"], TIMES, SERIES)
    assert axes_of(figure).get_xlim() == (1, 1000)
    assert (axes_of(figure).get_xlabel(), axes_of(figure).get_ylabel()) == ("time", "x")


def test_borders_are_vertical_lines_of_different_dashes():
    figure = plot_series(DAILY, DAYS, borders={"training ends": DAYS[700], "end": DAYS[900]})
    lines = axes_of(figure).lines[1:]

    assert [list(line.get_xdata()) for line in lines] == [[DAYS[700]] * 2, [DAYS[900]] * 2]
    assert [list(line.get_ydata()) for line in lines] == [[0, 1]] * 2
    assert named(figure) == ["data", "training ends", "end"]
    assert [line.get_linestyle() for line in lines] == ["--", ":"]


def test_forecasts_are_dashed_over_the_data():
    figure = plot_forecasts(SERIES, {"1-step": ONE_STEP, "multi-step": MULTI_STEP})
    drawn = points_of(figure)

    same(drawn["data"], TIMES, SERIES)
    same(drawn["1-step"], *ONE_STEP)
    same(drawn["multi-step"], *MULTI_STEP)
    assert [line.get_linestyle() for line in axes_of(figure).lines] == ["-", "--", "-."]
    assert named(figure) == ["data", "1-step", "multi-step"]


def test_k_step_curves_are_those_of_the_book():
    figure = plot_k_step(K_STEP, "time", "x")
    drawn = points_of(figure)

    assert named(figure) == [f"{k}-step preds" for k in (1, 4, 16, 64)]
    for k, curve in K_STEP.items():
        same(drawn[f"{k}-step preds"], *curve)
    assert [line.get_linestyle() for line in axes_of(figure).lines] == ["-", "--", "-.", ":"]
    assert axes_of(figure).get_xlim() == (5, 1000)


def test_errors_stand_over_the_steps_ahead():
    figure = plot_errors(ERRORS, noise=0.19)
    drawn = points_of(figure)

    for name, errors in ERRORS.items():
        same(drawn[name], STEPS, errors)
    assert list(drawn["noise floor"][1]) == [0.19, 0.19]
    assert axes_of(figure).lines[-1].get_linestyle() == "--"
    assert (axes_of(figure).get_xlabel(), axes_of(figure).get_ylabel()) == (
        "steps ahead",
        "root mean square error",
    )


def test_the_legend_lists_errors_as_the_lines_end():
    errors = {"low": [0.9, 0.1], "high": [0.1, 0.9], "lost": [0.5, np.nan], "short": [0.5]}
    assert named(plot_errors(errors, noise=0.3)) == ["high", "short", "noise floor", "low", "lost"]


def test_bold_lines_are_thicker_than_all_others():
    lines = axes_of(plot_errors(ERRORS, noise=0.2, bold=("mlp", "lstm"))).lines
    thick = [line.get_linewidth() for line in lines if line.get_label() in ("mlp", "lstm")]
    thin = [line.get_linewidth() for line in lines if line.get_label() not in ("mlp", "lstm")]

    assert len(thick) == 2
    assert min(thick) > 1.5 * max(thin)


@pytest.mark.parametrize("draw", [lambda: plot_errors(ERRORS), lambda: plot_k_step(K_STEP)])
def test_lines_differ_in_color_and_come_from_the_palette(draw):
    looks = [(to_hex(li.get_color()).upper(), li.get_linestyle()) for li in axes_of(draw()).lines]

    assert {color for color, _ in looks} <= set(COLORS)
    assert all(one[0] != other[0] for one, other in combinations(looks, 2))
    assert len({style for _, style in looks}) == 4


@pytest.mark.parametrize("start", [0, 1, 3, 59])
def test_a_free_run_follows_the_points_given(start):
    moments, free = np.linspace(1, 11, 60), SINE[start:] + 0.1
    figure = plot_free_run(SINE, free, moments, start)
    drawn = points_of(figure)

    same(drawn["truth"], moments, SINE)
    same(drawn["given"], moments[:start], SINE[:start])
    same(drawn["free run"], moments[start:], free)
    assert {line.get_linestyle() for line in axes_of(figure).lines} == {"None"}
    assert len({line.get_marker() for line in axes_of(figure).lines}) == 3


def test_intervals_are_a_band_after_the_end_of_the_history():
    history, forecast = np.arange(100.0), np.array([100.0, 102.0])
    lower, upper = forecast - np.array([1, 2]), forecast + np.array([3, 4])
    figure = plot_intervals(history, forecast, lower, upper, truth=[99.0, 98.0], level=0.8)
    drawn = points_of(figure)
    (band,) = axes_of(figure).collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}

    same(drawn["history"], np.arange(69, 101), history[-32:])
    same(drawn["forecast"], np.array([101, 102]), forecast)
    same(drawn["truth"], np.array([101, 102]), np.array([99.0, 98.0]))
    assert corners == {(101, 99), (102, 100), (101, 103), (102, 106)}
    assert named(figure) == ["history", "80 % interval", "truth", "forecast"]


def test_intervals_leave_out_a_truth_that_is_unknown():
    figure = intervals(truth=None)
    assert named(figure) == ["history", "90 % interval", "forecast"]
    assert len(points_of(figure)["history"][0]) == 128


@pytest.mark.parametrize(("level", "label"), [(0.95, "95"), (0.999, "99.9"), (0.07, "7")])
def test_the_level_is_named_in_percent(level, label):
    figure = plot_intervals([1.0, 2.0], [2.0], [1.0], [3.0], level=level)
    assert f"{label} % interval" in named(figure)


def test_losses_are_the_records():
    figure = plot_losses(RECORDS, FLOORS, ylabel="loss")
    drawn = points_of(figure)

    assert list(drawn["training"][1]) == [0.107, 0.07, 0.058]
    assert list(drawn["held-out"][1]) == [0.09, 0.06, 0.055]
    assert {name: drawn[name][1][0] for name in FLOORS} == FLOORS
    assert named(figure) == ["training", "held-out", *FLOORS]
    assert (axes_of(figure).get_xlabel(), axes_of(figure).get_ylabel()) == ("epoch", "loss")
    assert axes_of(figure).get_yscale() == "log"


def test_a_loss_or_a_floor_of_zero_is_no_trouble():
    figure = plot_losses([{"epoch": 1, "loss": 0.0}], {"noise": 0.0})
    figure.draw_without_rendering()

    assert list(points_of(figure)) == ["training"]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot_series([]), r"^series: must be numbers .* found float64 of shape \(0,\); "),
        (lambda: plot_series([[1.0]]), r"^series: must be numbers .* shape \(1, 1\); pass"),
        (lambda: plot_series(["a"]), "^series: must be numbers in one dimension.* found <U1"),
        (
            lambda: plot_series([1, 2], [1, 2, 3]),
            r"^times: must be one for each point, shape \(2,\), found shape \(3,\); pass",
        ),
        (
            lambda: plot_series([1, 2], ["2024", "2025"]),
            "^times: must be finite numbers or datetime64, found <U4",
        ),
        (
            lambda: plot_series([1, 2], np.array(["2024", "NaT"], "datetime64[D]")),
            "^times: must be finite",
        ),
        (lambda: plot_series([1, 2], borders={"end": "x"}), "^borders, end: must be finite"),
        (lambda: plot_series([1, 2], borders={"end": DAYS[0]}), "^times: must be all numbers or"),
        (
            lambda: plot_forecasts([1, 2], {"1-step": ([1], [1, 2])}),
            r"^1-step, times: must be one for each point, shape \(2,\), found shape \(1,\)",
        ),
        (
            lambda: plot_forecasts(DAILY, {"1-step": ([1], [1])}, DAYS),
            "^times: must be all numbers or all dates, found both; convert them$",
        ),
        (lambda: plot_k_step({4: ([1], ["a"])}), "^4-step preds: must be numbers"),
        (lambda: plot_errors({"mlp": [[1.0]]}), "^errors, mlp: must be numbers"),
        (
            lambda: plot_free_run(SINE, SINE),
            "^forecast: must be 59 numbers, .* 60 of truth less the 1 given, found 60; pass",
        ),
        (
            lambda: plot_intervals(SERIES, [1, 2], [1], [1, 2]),
            "^lower: must be 2 numbers, one for each step of the forecast, found 1; pass",
        ),
        (lambda: plot_intervals(SERIES, [1], [1], [1, 2]), "^upper: must be 1 numbers"),
        (lambda: plot_intervals(SERIES, [1], [1], [1], [1, 2]), "^truth: must be 1 numbers"),
    ],
)
def test_data_that_cannot_be_drawn_are_refused(draw, message):
    with pytest.raises(DataError, match=message):
        draw()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot_k_step({}), "^forecasts: must be at least one, found none; pass"),
        (lambda: plot_errors({}), "^errors: must be at least one, found none; pass"),
        (
            lambda: plot_errors(ERRORS, bold=("lstn",)),
            "^bold: must be .* found 'lstn'; did you mean 'lstm'",
        ),
        (lambda: plot_free_run(SINE, SINE, start=-1), "^start: must be a whole number, at least 0"),
        (
            lambda: plot_free_run(SINE, [1.0], start=60),
            "^start: must be a whole number, at most 59",
        ),
        (
            lambda: plot_intervals(SERIES, [1], [1], [1], level=90),
            "^level: must be a number above 0 and below 1, found 90;",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_refused(draw, message):
    with pytest.raises(UsageError, match=message):
        draw()


def test_the_records_of_a_training_may_be_iterations():
    (axes,) = plot_losses(RECORDS, xlabel="iteration").axes

    assert axes.get_xlabel() == "iteration"
