"""The series group of bad inputs: what `kseq forecast` says of a table and of its arguments."""

from pathlib import Path

import numpy as np
import pytest
from command_line import kseq as run_kseq
from command_line import refused, snapshot, works

import kseq

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

ROWS = 300
SEMICOLONS = ["--column", "y", "--delimiter", ";"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The file of a forecaster that reads four points."""
    path = tmp_path_factory.mktemp("model") / "four.keras"
    kseq.Forecaster("mlp", window=4, units=2).save(path)
    return path


def table(*rows, header="t,y", name="a.csv"):
    """Write rows under a header; a single cell gets the number of its row before it."""
    cells = [
        row if set(",;") & set(str(row)) else f"{i},{row}" for i, row in enumerate(rows, start=2)
    ]
    Path(name).write_text("\n".join([header, *cells, ""]))
    return name


def waves(count=ROWS):
    return [round((i * 37 % 11) / 3, 3) for i in range(count)]


def forecast(*rows, code=3, options=("--column", "y"), **how):
    return refused(code, "forecast", table(*rows, **how), *options)


# Cells


def test_a_forecast_that_is_no_number_is_exit_6():
    model = kseq.Forecaster("mlp", window=4, units=2)
    model.set_weights([np.full_like(weights, 1e30) for weights in model.get_weights()])
    model.save("huge.keras")
    Path("b.csv").write_text("y\n" + "".join(f"{1 + i % 7}\n" for i in range(60)))
    line = refused(6, "forecast", "huge.keras", "b.csv")
    assert "huge.keras: must forecast finite numbers, found " in line


@pytest.mark.parametrize("cell", ["", "NaN", "n/a"])
def test_a_missing_cell_is_named_and_can_be_filled(cell, model):
    line = forecast(1, 2, cell, 4, 5, 6)
    assert "a.csv, row 4, column 'y': must " in line
    assert "--fill" in line

    for fill in ("previous", "linear"):
        words = ["a.csv", "--column", "y", "--fill", fill, "--json"]
        assert len(works("forecast", model, *words).report["forecast"]["values"]) == 16


def test_text_among_numbers_is_named_by_row_and_column():
    line = forecast(1, 2, 3, "dry", 5)
    assert "a.csv, row 5, column 'y': must be a number, found 'dry'" in line


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e31", "-1e300"])
def test_infinite_and_absurd_values_are_named(cell):
    assert "a.csv, row 3, column 'y': must " in forecast(1, cell, 3)


def test_a_wrong_column_lists_those_there_are():
    line = forecast(1, 2, 3, options=["--column", "z"])
    assert "must have column 'z' for --column, found 't', 'y'" in line
    line = forecast(1, 2, 3, options=["--column", "y", "--time", "tt"])
    assert "must have column 'tt' for --time, found 't', 'y'; did you mean 't'?" in line


def test_two_columns_of_numbers_ask_which():
    assert "found 2 among 't', 'y'; choose one with --column" in forecast(1, 2, 3, options=())


def test_a_ragged_row_is_named():
    line = forecast(1, 2, "4,5,6", 4)
    assert "a.csv, row 4: must have as many cells as the first row, 2, found 3" in line


def test_semicolons_get_a_hint():
    line = forecast("1;2,5", "2;3,5", header="t;y")
    assert "use --delimiter ';', with --decimal , for decimal commas" in line


def test_decimal_commas_get_a_hint():
    assert "--decimal ," in forecast("1;2,5", "2;3,5", header="t;y", options=SEMICOLONS)


def test_one_row_is_too_few():
    assert "must have at least 2 values, found 1; add rows" in forecast(1)


def test_an_empty_table_and_a_header_alone_are_refused():
    Path("a.csv").write_text("")
    assert "a.csv: must " in refused(3, "forecast", "a.csv")
    assert "must have rows under its header, found none" in forecast()


def test_a_folder_is_no_table_and_a_missing_file_is_missing():
    Path("folder").mkdir()

    assert "folder: must " in refused(3, "forecast", "folder")
    assert "nowhere.csv: must be an existing" in refused(5, "forecast", "nowhere.csv")


# Times


def after(model, *rows):
    words = ["--column", "y", "--time", "t", "--horizon", "2", "--json"]
    return works("forecast", model, table(*rows), *words)


@pytest.mark.filterwarnings("default:.*times are not in order")
def test_times_out_of_order_are_sorted_with_a_note(model):
    plain = after(model, "1,1", "2,2", "3,3", "4,4", "5,5")
    mixed = after(model, "3,3", "1,1", "2,2", "5,5", "4,4")

    assert mixed.report["forecast"] == plain.report["forecast"]
    assert plain.notes == []
    assert len(mixed.notes) == 1
    assert "the times are not in order; its rows are sorted by them" in mixed.notes[0]


@pytest.mark.filterwarnings("default:.*a gap in time")
def test_a_gap_in_time_is_noted_and_the_times_go_on_by_the_usual_step(model):
    said = after(model, "1,1", "2,2", "3,3", "7,4", "8,5")

    assert len(said.notes) == 1
    assert "a gap in time before row 5; the values are taken as evenly spaced" in said.notes[0]
    assert [float(time) for time in said.report["forecast"]["times"]] == [9.0, 10.0]


def test_a_time_that_stands_twice_is_refused():
    line = forecast("1,1", "2,2", "2,3", options=["--column", "y", "--time", "t"])
    assert "must have each time once, found 2.0 in rows 3 and 4; keep one of them" in line


# Lengths


def test_a_window_longer_than_the_series_tells_both_numbers():
    line = forecast(*waves(), options=["--column", "y", "--window", "500"])
    assert "must have at least 516 points to train on" in line
    assert f"found 180 of {ROWS}: window or season longer than the series" in line


def test_a_history_shorter_than_a_model_s_window_tells_both_numbers(model):
    line = refused(3, "forecast", model, table(1, 2, 3), "--column", "y")
    assert "must have at least the model's window of 4 points, found 3" in line


def test_a_horizon_too_far_for_the_series_tells_how_many_it_takes():
    line = forecast(*waves(), options=["--column", "y", "--horizon", "60"])
    assert "must have at least 350 points to train on, calibrate and judge 60 steps ahead" in line
    assert f"found {ROWS}; lower the horizon" in line
    assert "found 604 of 1000" in refused(3, "forecast", "--horizon", "500")


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--season", "200", "season longer than the series; lower --window, --season"),
        ("--valid", "20", "must be at least 9 for a level of 0.9, found 5; hold out more"),
        ("--level", "0.999", "must be at least 999 for a level of 0.999, found 45"),
        ("--train", "290", "found 290 of 300"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_a_training(option, value, says):
    line = forecast(*waves(), options=["--column", "y", "--epochs", "999999", option, value])
    assert says in line


# Constant and diverging


@pytest.mark.filterwarnings("default:.*all 180 values are 5")
def test_a_constant_column_is_forecast_with_one_note(monkeypatch):
    monkeypatch.setattr("kseq.cli.pictures.DPI", 30)
    rows = "\n".join(["y", *["5"] * ROWS, ""]).encode()
    said = works("forecast", "-", "--horizon", "4", "--epochs", "1", "--json", stdin=rows)

    assert len(said.notes) == 1
    assert "all 180 values are 5; scaled by 1, not by 0" in said.notes[0]
    assert said.report["forecast"]["values"] == pytest.approx([5] * 4, abs=0.01)
    scores = said.report["backtest"]["scores"]
    assert scores["persistence"]["rmse"] == 0
    assert scores["persistence"]["mase"] is None
    assert said.report["backtest"]["skill"]["persistence"] is None
    assert Path("runs/forecast-stdin/model.keras").is_file()


def test_a_training_that_diverges_leaves_nothing():
    table(*waves())
    before = snapshot(Path.cwd())
    words = ["--column", "y", "--learning-rate", "1e30", "--epochs", "3", "--quiet"]
    said = run_kseq("forecast", "a.csv", *words)

    assert (said.code, said.out) == (6, "")
    assert "kseq: error: training: the loss must stay finite, found " in said.err
    assert snapshot(Path.cwd()) == before


# Arguments


@pytest.mark.parametrize("name", ["horizon", "window", "units", "season", "epochs", "batch-size"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "1000000000000", "many"])
def test_sizes_are_positive_whole_numbers(name, value):
    line = refused(2, "forecast", f"--{name}={value}")
    assert f"--{name}: must be a whole number, " in line
    assert f"found {value!r};" in line or f"found {value};" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--level", "0"),
        ("--level", "1"),
        ("--level", "nan"),
        ("--learning-rate", "0"),
        ("--learning-rate", "-1"),
        ("--learning-rate", "nan"),
        ("--seed", "-1"),
        ("--valid", "-1"),
        ("--train", "0"),
    ],
)
def test_numbers_out_of_range_are_refused(option, value):
    assert f"{option}: must be " in refused(2, "forecast", f"{option}={value}")


@pytest.mark.parametrize(
    ("option", "value", "nearest"),
    [
        ("--kind", "lstmm", "lstm"),
        ("--preset", "sine-mpl", "sine-mlp"),
        ("--fill", "previus", "previous"),
        ("--head", "directt", "direct"),
        ("--scaling", "standart", "standard"),
    ],
)
def test_the_nearest_word_is_named(option, value, nearest):
    assert f"did you mean '{nearest}'?" in refused(2, "forecast", option, value)


def test_the_nearest_option_is_named():
    assert "did you mean --horizon?" in refused(2, "forecast", "--horizn", "3")


def test_a_preset_has_a_series_of_its_own(model):
    line = refused(2, "forecast", "a.csv", "--preset", "calendar")
    assert "--preset: must stand without a file" in line
    assert "found calendar and a.csv" in line
    refused(2, "forecast", model, "--preset", "calendar")


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (["--preset", "sine-rnn", "--kind", "gru"], "--kind"),
        (["--preset", "sine-rnn", "--horizon", "3"], "--horizon"),
        (["--preset", "sine-lstm", "--learning-rate", "0.1"], "--learning-rate"),
        (["--preset", "calendar", "--column", "x"], "--column"),
        (["--time", "day"], "--time"),
        (["--fill", "linear"], "--fill"),
        (["m.keras", "--units", "3"], "--units"),
        (["m.keras", "--epochs", "3"], "--epochs"),
    ],
)
def test_an_option_that_is_fixed_or_has_nothing_to_act_on_is_refused(options, option):
    assert f"{option}: must have something to act on" in refused(2, "forecast", *options)


def test_two_tables_or_two_models_are_too_many():
    line = refused(2, "forecast", "a.csv", "b.csv")
    assert "must be one CSV file and at most one .keras file, found 2 and 0" in line
    refused(2, "forecast", "a.keras", "b.keras")


def test_settings_that_do_not_go_together_are_refused():
    assert "choose 'standard'" in refused(2, "forecast", "--kind", "lstm", "--scaling", "window")


def test_a_run_folder_that_cannot_be_one_is_refused_before_anything_is_read():
    Path("taken").write_text("")
    assert "taken: must " in refused(5, "forecast", "nowhere.csv", "--run-dir", "taken")
