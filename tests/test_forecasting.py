"""Judging forecasts: the book's table, plain loops, floors beside the model, and no future."""

import json

import numpy as np
import pytest

from kseq.data.baselines import AutoRegression, Mean, Persistence, SeasonalNaive
from kseq.data.processes import noisy_sine
from kseq.data.scores import mae, rmse, score
from kseq.errors import DataError, UsageError
from kseq.forecasting import backtest, errors_ahead, k_step
from kseq.nn.forecaster import Forecaster

SERIES = noisy_sine(60, seed=5, frequency=0.3)


@pytest.fixture(scope="module", params=["mlp", "direct", "gru", "running on"])
def model(request):
    """One of each way to forecast."""
    options = {
        "mlp": {"kind": "mlp", "window": 5},
        "direct": {"kind": "mlp", "window": 5, "outputs": 8},
        "gru": {"kind": "gru", "window": 5},
        "running on": {"kind": "lstm", "window": None},
    }[request.param]
    made = Forecaster(**options, units=4)
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(0, 0.4, w.shape) for w in made.get_weights()])
    return made


# k steps ahead.


def test_the_table_is_the_book_s():
    """933 x 68, filled by the book's loop: each column from the `tau` columns before it."""
    series = noisy_sine(1000, seed=0)
    net = Forecaster("mlp", window=4, units=10)
    T, tau, steps = 1000, 4, (1, 4, 16, 64)
    features = np.zeros((T - tau - 64 + 1, tau + 64), "float32")
    for i in range(tau):
        features[:, i] = series[i : i + T - tau - 64 + 1]
    for i in range(tau, tau + 64):
        features[:, i] = np.asarray(net.forecast(features[:, i - tau : i], 1))[:, 0]
    found = k_step(net, series, steps)
    assert found.table.shape == features.shape == (933, 68)
    np.testing.assert_allclose(found.table, features, rtol=1e-4, atol=1e-5)
    assert (list(found), len(found), found.steps) == ([1, 4, 16, 64], 4, steps)
    times = np.arange(1, T + 1)
    for k in steps:
        # The book draws column tau + k - 1 over time[tau + k - 1 : T - 64 + k].
        np.testing.assert_array_equal(found[k], found.table[:, tau + k - 1])
        np.testing.assert_array_equal(times[found.indices(k)], times[tau + k - 1 : T - 64 + k])
        expected = rmse(series[found.indices(k)], features[:, tau + k - 1])
        assert found.rmse(series)[k] == pytest.approx(expected, rel=1e-5)


def test_k_steps_are_forecasts_from_every_origin(model):
    found = k_step(model, SERIES, steps=(2, 6))
    first = model.window or 1
    assert found.origins.tolist() == list(range(first, 60 - 6 + 1))
    assert found.table.shape == (len(found.origins), first + 6)
    for i in (0, 7, len(found.origins) - 1):
        origin = found.origins[i]
        expected = model.forecast(SERIES[:origin], 6)
        np.testing.assert_allclose(found.table[i, first:], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(found.table[i, :first], SERIES[origin - first : origin])
    with pytest.raises(KeyError):
        found[3]


def test_k_steps_are_judged_from_an_index_on():
    series = np.arange(20.0)
    series[15:] += 5
    found = k_step(Persistence(), series, (1, 3))
    # From index 15 on: one step ahead is off by 6 once and by 1 four times.
    assert found.rmse(series, first=15)[1] == pytest.approx(np.sqrt((36 + 1 + 1) / 3))
    assert found.rmse(series, first=16) == pytest.approx({1: 1, 3: np.sqrt((64 + 64 + 9 + 9) / 4)})


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ((), UsageError, r"steps: must name at least one k, found none; pass some, such as \(1, 4"),
        ((1, 0), UsageError, "steps: must be a whole number, at least 1, found 0; choose 1 or m"),
        ((1, 10**12), UsageError, "steps: must be a whole number, at most"),
        ((1, 60), DataError, "at least 61 points, 1 read, the first .* and 60 ahead, found 60; u"),
    ],
)
def test_steps_that_are_none_are_refused(steps, error, message):
    with pytest.raises(error, match=message):
        k_step(Persistence(), SERIES, steps)


def test_a_window_longer_than_the_series_is_refused():
    far = Mean(100)
    for judge in (lambda: k_step(far, SERIES, (1,)), lambda: backtest(far, SERIES, 1)):
        with pytest.raises(
            DataError,
            match=r"series: must have at least 101 points, 100 read, .*, "
            "found 60; use a longer series, a smaller window or",
        ):
            judge()


# Errors ahead.


def test_errors_ahead_are_those_of_a_plain_loop(model):
    found = errors_ahead(model, SERIES, horizon=6, first=45)
    forecasts = {origin: model.forecast(SERIES[:origin], 6) for origin in range(40, 60)}
    for k in range(6):
        # Point i is forecast k + 1 steps ahead from the points before i - k.
        ahead = [forecasts[i - k][k] for i in range(45, 60)]
        assert found[k] == pytest.approx(rmse(SERIES[45:], ahead), rel=1e-4)


@pytest.mark.parametrize("first", [9, 0, -1, 60])
def test_errors_ahead_need_room_before_the_first_point(first):
    with pytest.raises(DataError, match=rf"first: must be at least 10, .* found {first} of 60 poi"):
        errors_ahead(Mean(5), SERIES, horizon=6, first=first)
    assert errors_ahead(Mean(5), SERIES, horizon=6, first=10).shape == (6,)


# Backtests.


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 7},
        {"start": 20, "stride": 3},
        {"start": 20, "history": 12},
        {"start": 8, "history": 12},
        {"start": 2, "stride": 5},
    ],
    ids=str,
)
def test_a_backtest_is_a_plain_loop(model, options):
    baselines = [Persistence(), Mean(), Mean(3), AutoRegression(2)]
    start, history = options.get("start", 36), options.get("history")
    start = max(start, model.window or 1, 5)
    options = {**options, "start": start} if "start" in options else options
    found = backtest(model, SERIES, 4, baselines=baselines, **options)
    origins = list(range(start, 60 - 4 + 1, options.get("stride", 1)))
    assert found.origins.tolist() == origins
    read = {i: SERIES[0 if history is None else max(0, i - history) : i] for i in origins}
    truth = np.stack([SERIES[i : i + 4] for i in origins])
    np.testing.assert_array_equal(found.truth, truth)
    assert list(found.forecasts) == [model.name, *(one.name for one in baselines)]
    for one in (model, *(each.fit(read[start]) for each in baselines)):
        expected = np.stack([one.forecast(read[i], 4) for i in origins])
        np.testing.assert_allclose(found.forecasts[one.name], expected, rtol=1e-5, atol=1e-5)
        judged = score(truth, expected, read[start])
        assert found.scores[one.name].mase == pytest.approx(judged.mase, rel=1e-4)


def test_the_figures_of_a_backtest():
    model, floor = Mean(3), Persistence()
    found = backtest(model, SERIES, 4, baselines=[floor], season=5)
    truth, ahead = found.truth, found.forecasts[model.name]
    assert found.mae == pytest.approx(mae(truth, ahead))
    assert found.rmse == pytest.approx(rmse(truth, ahead))
    naive = np.abs(SERIES[5:36] - SERIES[:31]).mean(dtype="float64")
    assert found.mase == pytest.approx(mae(truth, ahead) / naive, rel=1e-5)
    expected = 1 - found.rmse / rmse(truth, found.forecasts[floor.name])
    assert found.skill == pytest.approx({"persistence": expected})
    facts = json.loads(json.dumps(found.to_dict()))
    assert (facts["model"], facts["origins"], facts["first_origin"]) == ("mean of last 3", 21, 36)
    assert (facts["horizon"], set(facts["scores"])) == (4, {"mean of last 3", "persistence"})


def test_the_usual_baselines_stand_beside_the_model_and_none_twice():
    names = ["persistence", "seasonal naive (7)", "mean", "mean of last 4", "AR(4)"]
    assert list(backtest(Mean(2), SERIES, 2, season=7).scores) == ["mean of last 2", *names]
    found = backtest(Mean(4), SERIES, 2, season=7)
    assert (found.model, sorted(found.scores)) == ("mean of last 4", sorted(names))
    assert found.forecasts["mean of last 4"].shape == found.truth.shape


@pytest.mark.parametrize("history", [None, 15])
def test_refitting_sees_the_points_before_each_block_of_origins(history):
    given = []

    def refit(train):
        given.append(train)
        return AutoRegression(2).fit(train)

    options = {"start": 20, "stride": 4, "history": history, "baselines": [Mean()]}
    found = backtest(refit(SERIES[:20]), SERIES, 3, refit=refit, refit_every=3, **options)
    read = [SERIES[max(0, i - (history or i)) : i] for i in found.origins[::3]]
    assert len(given) == 1 + len(read)
    assert all(map(np.array_equal, given[1:], read))
    for j, origin in enumerate(found.origins):
        train = read[j // 3]
        for one in (AutoRegression(2).fit(train), Mean().fit(train)):
            expected = one.forecast(SERIES[:origin], 3)
            np.testing.assert_allclose(found.forecasts[one.name][j], expected, rtol=1e-9)


def test_a_refitted_model_keeps_the_name_of_the_first():
    found = backtest(
        Mean(3), SERIES, 2, baselines=[], refit=lambda train: Mean().fit(train), refit_every=5
    )
    assert (found.model, list(found.scores)) == ("mean of last 3", ["mean of last 3"])
    assert found.forecasts["mean of last 3"].shape == found.truth.shape


# The future.


class Watching:
    """A forecaster that notes the last point of every history it is shown."""

    name = "watching"

    def __init__(self, window):
        self.window, self.seen = window, []

    def forecast(self, history, horizon):
        rows = np.atleast_2d(history)
        self.seen += [row.tolist() for row in rows]
        last = rows[:, -1:].repeat(horizon, axis=1)
        return last if np.ndim(history) == 2 else last[0]


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("history", [None, 6, 50])
def test_a_forecaster_is_shown_the_points_before_its_origin_and_nothing_else(window, history):
    series, watching = np.arange(30.0), Watching(window)
    found = backtest(watching, series, 2, start=10, stride=3, history=history, baselines=[])
    assert [seen[-1] + 1 for seen in watching.seen] == found.origins.tolist()
    assert all(np.all(np.diff(seen) == 1) for seen in watching.seen)
    lengths = [window or min(history or 30, origin) for origin in found.origins]
    assert [len(seen) for seen in watching.seen] == lengths


def test_nothing_after_an_origin_changes_what_was_forecast_there(model):
    cut, changed = 45, SERIES.copy()
    changed[cut:] = 9 - 2 * changed[cut:]
    options = {"start": 20, "season": 5}
    plain, moved = (backtest(model, series, 4, **options) for series in (SERIES, changed))
    before = plain.origins <= cut
    for name, ahead in plain.forecasts.items():
        np.testing.assert_array_equal(moved.forecasts[name][before], ahead[before])
    table, other = (k_step(model, series, (1, 6)) for series in (SERIES, changed))
    before = table.origins <= cut
    np.testing.assert_array_equal(other.table[before], table.table[before])
    assert np.abs(other.table - table.table)[~before].max() > 0.1


def test_a_baseline_with_a_longer_window_than_the_first_origin_does_not_read_the_end():
    with pytest.raises(
        DataError,
        match=r"origins: must be from 30, the points a forecast reads, .* "
        r"found 20 to 58; begin later, or take a smaller window",
    ):
        backtest(Mean(2), SERIES, 2, start=20, baselines=[SeasonalNaive(30)])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"horizon": 0}, UsageError, "horizon: must be a whole number, at least 1, found 0; ch"),
        ({"horizon": 2.5}, UsageError, "horizon: must be a whole number, at least 1, found 2.5"),
        ({"horizon": 10**12}, UsageError, "horizon: must be a whole number, at most"),
        ({"horizon": 25}, DataError, "series: must have at least 61 points, 2 read, .* found 60"),
        ({"stride": 0}, UsageError, "stride: must be a whole number, at least 1, found 0; choose"),
        ({"start": -5}, UsageError, "start: must be a whole number, at least 1, found -5; choose"),
        ({"refit_every": -1}, UsageError, "refit_every: must be a whole number, at least 0, fou"),
        ({"history": 3}, UsageError, "history: must hold the longest window of 4 points, found 3"),
        ({"season": 0}, UsageError, "season: must be a whole number, at least 1, found 0; choose"),
        ({"series": [1.0, np.nan]}, DataError, "series: must be finite .* found nan at index 1"),
    ],
    ids=str,
)
def test_a_backtest_that_makes_no_sense_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        backtest(Mean(2), **{"series": SERIES, "horizon": 2, **wrong})


def test_refit_without_a_pace_is_refused():
    with pytest.raises(UsageError, match="refit: must go with refit_every, found 0"):
        backtest(Persistence(), np.arange(20.0), 2, refit=lambda train: Persistence().fit(train))
