"""`kseq forecast` when all is well: every figure, every file, and the model used again."""

import csv
import datetime
import io
import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from command_line import kseq as run_kseq
from command_line import refused, works

from kseq.cli import forecast_options
from kseq.cli.forecast import SINES
from kseq.experiments.plan import PRESETS
from kseq.nn.forecaster import KINDS
from kseq.version import __version__

HORIZON = 24
PICTURES = ("series", "one-step", "multi-step", "k-step", "errors", "training")
RESULTS = ["model.keras", "forecast.csv", "report.json"]
TOLD = ["--column", "visitors", "--time", "day", "--season", "7", "--kind", "lstm"]


def days(count=300):
    """Visitors of each day: a trend, a week, and a little noise."""
    noise = np.random.default_rng(0).normal(0, 1, count)
    first = datetime.date(2024, 1, 1)
    week = [10 * math.sin(2 * math.pi * day / 7) for day in range(7)]
    rows = [
        f"{first + datetime.timedelta(i)},{100 + 0.1 * i + week[i % 7] + e:.3f}"
        for i, e in enumerate(noise)
    ]
    return "\n".join(["day,visitors", *rows, ""])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the results of two trainings, and what each said."""
    folder = tmp_path_factory.mktemp("forecast")
    # The name of a series the project computes: a user's own must not be taken for it.
    (folder / "calendar.csv").write_text(days())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("kseq.cli.pictures.DPI", 30)
        sine = works("forecast", "--epochs", "1", "--json", "--run-dir", "sine")
        words = [*TOLD, "--horizon", HORIZON, "--epochs", "2", "--quiet", "--json"]
        daily = works("forecast", "calendar.csv", *words)
    return folder, sine, daily


@pytest.fixture
def sine(runs):
    return runs[1].report


@pytest.fixture
def daily(runs):
    return runs[2].report


@pytest.fixture(autouse=True)
def folder(runs, monkeypatch):
    monkeypatch.chdir(runs[0])


# The noisy sine


def test_the_report_is_one_object_with_every_figure(runs, sine, engine):
    assert runs[1].out.count("\n") == 1
    assert (sine["kseq"], sine["engine"], sine["series"]) == (__version__, engine, "noisy-sine")
    assert (sine["model"], sine["parameters"], sine["epochs"]) == ("mlp", 61, 1)
    names = ["mlp", "persistence", "mean", "mean of last 4", "AR(4)"]
    assert list(sine["mse"]) == list(sine["rmse_ahead"]) == names
    assert list(sine["backtest"]["scores"]) == names
    for name in names:
        assert list(sine["rmse_ahead"][name]) == ["1", "4", "16", "64"]
        assert sine["mse"][name]["test"] > 0.03
    assert sine["mse"]["mean of last 4"]["test"] == pytest.approx(0.0435, abs=0.0001)
    assert sine["loss"] == pytest.approx(sine["mse"]["mlp"]["training"], rel=1e-5)
    assert (sine["noise"], sine["judged_from"], sine["multi_step"]["from"]) == (0.2, 604, 604)
    assert sine["multi_step"]["rmse"] > 0.2
    assert sine["backtest"]["horizon"] == 64
    assert len(sine["forecast"]["values"]) == 64
    assert [sine["forecast"][name] for name in ("times", "lower", "upper")] == [None] * 3
    assert "intervals" not in sine


def test_the_files_are_there_and_whole(runs, sine):
    pictures = [f"{name}{end}" for name in PICTURES for end in (".png", ".svg")]

    assert sorted(path.name for path in Path("sine").iterdir()) == sorted([*RESULTS, *pictures])
    for name in PICTURES:
        assert Path(f"sine/{name}.png").read_bytes().startswith(b"\x89PNG\r\n")
        assert ET.parse(f"sine/{name}.svg").getroot().tag.endswith("svg")
    assert sine["files"]["model"] == "sine/model.keras"


def test_the_report_s_file_is_the_report(runs, sine):
    assert json.loads(Path("sine/report.json").read_text()) == sine


def test_without_intervals_the_forecast_s_file_has_steps_and_values(sine):
    rows = list(csv.reader(io.StringIO(Path("sine/forecast.csv").read_text())))

    assert rows[0] == ["step", "x"]
    assert [int(row[0]) for row in rows[1:]] == list(range(1, 65))
    assert [float(row[1]) for row in rows[1:]] == pytest.approx(sine["forecast"]["values"])


def test_progress_is_a_line_an_epoch_on_standard_error(runs):
    lines = runs[1].err.splitlines()

    assert lines[0] == "series: noisy-sine, 1,000 points"
    assert lines[1].startswith("epoch 1/1  loss 0.")
    assert len(lines) == 2
    assert runs[2].err == ""


def test_words_say_plainly_where_the_model_loses(sine):
    from kseq.cli.forecast_report import in_words

    test = {name: part["test"] for name, part in sine["mse"].items()}
    best = min(set(test) - {"mlp"}, key=test.__getitem__)
    told = f"the model loses to {best}: {test['mlp']:.4g} against {test[best]:.4g}"
    assert told in in_words(sine).splitlines()
    assert "noise, the floor" in in_words(sine)

    sine["mse"]["mlp"]["test"] = 0.9 * test[best]
    assert "loses" not in in_words(sine)


def test_earlier_results_stay_unless_they_may_be_replaced(runs, monkeypatch):
    line = refused(2, "forecast", "--run-dir", "sine", "--epochs", "1")
    assert "sine: must hold no earlier results, found model.keras; pass --overwrite" in line

    monkeypatch.setattr("kseq.cli.pictures.DPI", 30)
    Path("again").mkdir()
    for name in ("model.keras", "intervals.png", "notes.txt"):
        Path(f"again/{name}").write_text("of before")
    words = ["--run-dir", "again", "--seed", "1", "--epochs", "1", "--quiet", "--overwrite"]
    said = works("forecast", *words)

    assert said.err == ""
    assert said.out.startswith("mlp: 61 parameters, loss 0.")
    assert "the model loses to mean of last 4: " in said.out
    assert Path("again/model.keras").stat().st_size > 1000
    assert not Path("again/intervals.png").exists()
    assert Path("again/notes.txt").read_text() == "of before"


# A user's own series


def test_a_csv_is_forecast_with_times_that_go_on_and_intervals(daily):
    ahead = daily["forecast"]

    last = datetime.date(2024, 1, 1) + datetime.timedelta(299)
    expected = [str(last + datetime.timedelta(step)) for step in range(1, HORIZON + 1)]
    assert ahead["times"] == expected
    assert len(ahead["values"]) == HORIZON
    for lower, value, upper in zip(ahead["lower"], ahead["values"], ahead["upper"], strict=True):
        assert lower < value < upper
        assert value - lower == pytest.approx(upper - value, rel=1e-3)


def test_a_csv_is_judged_beside_the_same_day_a_week_before(daily):
    assert (daily["series"], daily["column"], daily["points"]) == ("calendar", "visitors", 300)
    assert (daily["plan"]["kind"], daily["plan"]["outputs"]) == ("lstm", HORIZON)
    assert (daily["plan"]["train"], daily["plan"]["valid"], daily["judged_from"]) == (180, 60, 240)
    assert daily["noise"] is None
    scores = daily["backtest"]["scores"]
    assert "seasonal naive (7)" in scores
    assert scores["seasonal naive (7)"]["rmse"] < scores["persistence"]["rmse"]
    assert daily["backtest"]["origins"] == 300 - 240 - HORIZON + 1
    assert set(daily["backtest"]["skill"]) == set(scores) - {"lstm"}
    assert list(daily["rmse_ahead"]["lstm"]) == ["1", "6", "12", "24"]


def test_coverage_is_told_for_the_level(daily):
    found = daily["intervals"]

    assert found["level"] == 0.9
    assert 0 <= found["coverage"] <= 1
    assert list(found["coverage_ahead"]) == ["1", "6", "12", "24"]


def test_a_csv_has_pictures_of_its_intervals_too():
    names = {path.name for path in Path("runs/forecast-calendar").iterdir()}
    pictures = {
        f"{n}{end}" for n in (*PICTURES, "intervals", "forecast") for end in (".png", ".svg")
    }

    assert names == {*RESULTS, *pictures}


# The model again

MODEL = "runs/forecast-calendar/model.keras"


def test_the_saved_model_gives_the_report_s_forecast(daily):
    later = works("forecast", MODEL, "calendar.csv", "--json").report

    assert later["forecast"]["times"] == daily["forecast"]["times"]
    for name in ("values", "lower", "upper"):
        assert later["forecast"][name] == pytest.approx(daily["forecast"][name], rel=1e-5)
    shorter = works("forecast", MODEL, "calendar.csv", "--horizon", "3", "--json").report
    assert shorter["forecast"]["values"] == pytest.approx(later["forecast"]["values"][:3])


def test_the_saved_model_writes_its_forecast_where_it_is_told(runs):
    works("forecast", MODEL, "calendar.csv", "--run-dir", "later")

    written, first = (
        list(csv.reader(io.StringIO(Path(f"{place}/forecast.csv").read_text())))
        for place in ("later", "runs/forecast-calendar")
    )
    assert written[0] == first[0] == ["day", "visitors", "lower", "upper"]
    assert [row[0] for row in written] == [row[0] for row in first]
    refused(2, "forecast", MODEL, "calendar.csv", "--run-dir", "later")


def test_the_saved_model_reads_standard_input(daily):
    said = works("forecast", MODEL, "-", "--json", stdin=days().encode())

    assert said.report["series"] == "stdin"
    assert said.report["forecast"]["values"] == pytest.approx(daily["forecast"]["values"], rel=1e-5)


def test_a_model_of_the_sine_knows_its_series_and_takes_any_other(sine):
    known = works("forecast", "sine/model.keras", "--horizon", "64", "--json").report
    assert known["forecast"]["values"] == pytest.approx(sine["forecast"]["values"], rel=1e-5)

    other = works("forecast", "sine/model.keras", "calendar.csv", "--time", "day", "--json").report
    assert (other["series"], len(other["forecast"]["values"])) == ("calendar", 16)


def test_a_forecast_in_words_has_times_and_intervals():
    lines = works("forecast", MODEL, "calendar.csv").out.splitlines()

    assert lines[0] == "what follows"
    assert lines[1].split()[0] == "2024-10-27"
    assert " .. " in lines[1]
    assert lines[-1] == f"  ... {HORIZON - 6} more"


def test_a_model_trained_on_a_file_needs_one():
    line = refused(2, "forecast", MODEL)

    assert "must get a series to forecast, found none" in line
    assert "name a CSV file after it" in line


def test_a_model_promises_no_more_than_was_calibrated():
    line = refused(2, "forecast", MODEL, "calendar.csv", "--horizon", "25")
    assert "must be at most the 24 steps that were calibrated, found 25" in line
    line = refused(2, "forecast", MODEL, "calendar.csv", "--level", "0.7")
    assert "must be one that was calibrated (0.5, 0.8, 0.9), found 0.7" in line


def test_inspecting_a_forecaster_tells_its_series_and_its_loss(sine):
    facts = works("inspect", "sine/model.keras", "--json").report
    assert (facts["kind"], facts["vocab_size"], facts["parameters"]) == ("Forecaster", None, 61)
    assert facts["provenance"]["series"]["name"] == "noisy-sine"
    assert facts["provenance"]["results"] == {"epoch": 1, "loss": sine["loss"]}

    words = works("inspect", MODEL).out
    assert "calendar, column visitors, points 0 to 180 of 300" in words
    assert "weights of epoch" in words


def test_each_kind_of_model_has_its_own_commands(runs):
    import kseq

    kseq.LanguageModel(kseq.Vocab(list("abc")), units=4, num_layers=1).save("words.keras")
    Path("a.txt").write_text("abcabcabc")

    assert "Forecaster" in refused(4, "forecast", "words.keras", "calendar.csv")
    assert "LanguageModel" in refused(4, "generate", "sine/model.keras", "ab")
    assert "LanguageModel" in refused(4, "evaluate", "sine/model.keras", "a.txt")


@pytest.mark.parametrize("name", ["sine-rnn", pytest.param("sine-lstm", marks=pytest.mark.slow)])
def test_the_clean_sines_report_their_losses_and_write_their_model(name, monkeypatch):
    monkeypatch.setattr("kseq.cli.pictures.DPI", 30)
    said = works("forecast", "--preset", name, "--epochs", "1", "--json", "--quiet")
    report = said.report

    assert (report["preset"], said.err) == (name, "")
    assert Path(report["files"]["model"]).is_file()
    assert report["losses"]
    assert run_kseq("forecast", "--preset", name).code == 2


def test_the_words_of_the_command_line_are_those_of_the_library():
    """They stand there again because describing the options may import nothing heavy."""
    assert set(forecast_options.PRESETS) == {*PRESETS, *SINES}
    assert set(forecast_options.KINDS) <= set(KINDS)
