"""From a history to a forecast: by hand, row by row, block by block, and never from the future."""

import functools

import keras
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseq.data.baselines import AutoRegression, Mean, Persistence, SeasonalNaive
from kseq.data.processes import clean_sine, noisy_sine
from kseq.errors import DataError, UsageError
from kseq.nn import rolling
from kseq.nn.forecaster import Forecaster
from kseq.nn.rolling import forecast_at

KINDS = ("mlp", "simple_rnn", "gru", "lstm")
RECURRENT = KINDS[1:]
SERIES = noisy_sine(60, seed=5, frequency=0.3)
# One of each way to forecast: recursive, block by block, direct; a window, or a state that runs on.
WAYS = [
    *({"kind": kind, "window": 5} for kind in KINDS),
    {"kind": "mlp", "window": 5, "outputs": 3},
    {"kind": "mlp", "window": 3, "outputs": 8, "scaling": "window"},
    {"kind": "lstm", "window": 5, "outputs": 3, "scaling": "standard"},
    {"kind": "gru", "window": 5, "every_step": True},
    *({"kind": kind, "window": None, "num_layers": 2} for kind in RECURRENT),
    {"kind": "gru", "window": None, "outputs": 3, "scaling": "standard"},
]
each_way = pytest.mark.parametrize("options", WAYS, ids=lambda o: "-".join(map(str, o.values())))


@functools.cache
def _made(items):
    model = Forecaster(**{"units": 6, **dict(items)})
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
    model.adapt(SERIES)
    return model


def made(options):
    return _made(tuple(options.items()))


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def by_hand(model, x):
    """Give the outputs at the last step for x (B, T), in float64 by the oracle."""
    weights = [w.astype("float64") for w in model.get_weights()]
    x = x[..., np.newaxis]
    for i in range(0, len(weights) - 2, 3):
        zeros = oracle.zero_states(model.kind, len(x), model.units)
        x, _ = oracle.forward(model.kind, x, zeros, weights[i : i + 3])
    return x[:, -1] @ weights[-2] + weights[-1]


# Worked by hand.


def test_a_perceptron_with_the_weights_of_a_sine_continues_it_exactly():
    model = Forecaster("mlp", window=2, units=2, activation="linear", use_bias=False)
    model.set_weights([np.eye(2), np.array([[-1.0], [2 * np.cos(0.1)]])])
    sine = clean_sine(100, step=0.1, start=0.3)
    np.testing.assert_allclose(model.forecast(sine[:36], 64), sine[36:], atol=1e-4)


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("window", [5, None])
def test_every_engine_forecasts_what_numpy_does(kind, window):
    """Each value from a zero state and the points before it, forecasts among them."""
    model = made({"kind": kind, "window": window, "num_layers": 2})
    points = np.stack([SERIES[:12], SERIES[20:32]]).astype("float64")
    for _ in range(10):
        read = points if window is None else points[:, -window:]
        points = np.concatenate([points, by_hand(model, read)], axis=1)
    found = model.forecast(points[:, :12], 10)
    np.testing.assert_allclose(found, points[:, 12:], rtol=1e-5, atol=1e-5)


# Equivalence.


@each_way
def test_rows_are_forecast_as_each_alone(options):
    model = made(options)
    rows = np.stack([SERIES[i : i + 20] for i in (0, 7, 30)])
    found = model.forecast(rows, 7)
    assert (found.shape, found.dtype) == ((3, 7), "float32")
    for row, forecast in zip(rows, found, strict=True):
        alone = model.forecast(row, 7)
        assert alone.shape == (7,)
        np.testing.assert_allclose(alone, forecast, rtol=1e-5, atol=1e-6)


@each_way
def test_a_longer_forecast_begins_with_the_shorter(options):
    model = made(options)
    longer = model.forecast(SERIES, 17)
    for horizon in (1, 2, 3, 8, 16):
        np.testing.assert_allclose(model.forecast(SERIES, horizon), longer[:horizon], atol=1e-5)


def test_a_direct_head_gives_64_steps_whose_first_16_are_those_of_16():
    model = Forecaster("mlp", 8, outputs=64)
    assert np.array_equal(model.forecast(SERIES, 64)[:16], model.forecast(SERIES, 16))


@each_way
def test_running_on_is_reading_the_grown_history_again(options):
    """Block by block, over its own output: from the last window, or all of it from a zero state."""
    model = made(options)
    grown = SERIES if model.window is None else SERIES[-model.window :]
    history = len(grown)
    for _ in range(4):
        read = grown if model.every_step else grown[-model.window :]
        block = to_numpy(model(read[np.newaxis].astype("float32")))[0]
        grown = np.concatenate([grown, block[-1] if model.every_step else block])
    found = model.forecast(SERIES, 4 * model.outputs)
    np.testing.assert_allclose(found, grown[history:], rtol=1e-5, atol=1e-5)


@each_way
@settings(max_examples=3)
@given(origins=st.lists(st.integers(5, 60), min_size=1, max_size=6, unique=True).map(sorted))
def test_forecasts_at_origins_are_those_of_the_points_before(options, origins):
    model = made(options)
    found = forecast_at(model, SERIES, origins, 7)
    expected = [model.forecast(SERIES[:origin], 7) for origin in origins]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("baseline", [Persistence(), SeasonalNaive(5), Mean(3), Mean()])
def test_baselines_are_judged_at_origins_like_models(baseline):
    fitted = baseline.fit(SERIES[:20])
    found = forecast_at(fitted, SERIES, [5, 9, 60], 4)
    expected = [fitted.forecast(SERIES[:origin], 4) for origin in (5, 9, 60)]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_many_histories_are_forecast_in_parts(monkeypatch, kind):
    model = made({"kind": kind, "window": 5})
    rows = np.stack([SERIES[i : i + 9] for i in range(10)])
    whole = model.forecast(rows, 4)
    monkeypatch.setattr(rolling, "_MOST_ROWS", 3)
    np.testing.assert_allclose(model.forecast(rows, 4), whole, rtol=1e-5, atol=1e-6)


def test_only_the_window_is_read():
    model = made({"kind": "gru", "window": 5})
    assert np.array_equal(model.forecast(SERIES, 4), model.forecast(SERIES[-5:], 4))


# The future.


@pytest.mark.parametrize(
    "forecaster",
    [*WAYS, Persistence(), SeasonalNaive(5), Mean(), Mean(4), AutoRegression(4)],
    ids=lambda each: getattr(each, "name", None) or "-".join(map(str, each.values())),
)
def test_a_forecast_never_sees_its_future(forecaster):
    one = made(forecaster) if isinstance(forecaster, dict) else forecaster.fit(SERIES[:30])
    cut, origins = 40, np.arange(30, 51)
    perturbed = SERIES.copy()
    perturbed[cut:] = 7 - 3 * perturbed[cut:]
    found, moved = (forecast_at(one, series, origins, 6) for series in (SERIES, perturbed))
    before = origins <= cut
    np.testing.assert_array_equal(moved[before], found[before])
    if one.window or isinstance(forecaster, dict):  # the mean of the training part moves never
        assert (np.abs(moved - found).max(1) > 0)[~before].all()


@pytest.mark.parametrize("forecaster", [{"kind": "mlp", "window": 5}, {"kind": "gru", "window": 5}])
@pytest.mark.parametrize("origins", [[4, 20], [0], [5, 61]])
def test_an_origin_without_its_window_is_refused_and_does_not_wrap_round(forecaster, origins):
    with pytest.raises(DataError, match=r"origins: must be from 5, .* to the series' 60, found "):
        forecast_at(made(forecaster), SERIES, origins, 2)
    with pytest.raises(DataError, match="origins: must be from 7, the points a forecast reads"):
        forecast_at(SeasonalNaive(7), SERIES, [6, 20], 2)


# Refusals.


@pytest.mark.parametrize("horizon", [0, -1, 2.5, 10**12, True, None])
def test_a_horizon_that_is_none_is_refused(horizon):
    with pytest.raises(UsageError, match=r"horizon: must be a whole number, at (least|most) .* f"):
        made(WAYS[0]).forecast(SERIES, horizon)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (SERIES[:4], "history: must have at least the model's window of 5 points, found 4; pass"),
        ([[1.0] * 4] * 3, "history: must have at least the model's window of 5 points, found 4"),
        ([0.0, 1, 2, np.nan, 4, 5], "history: must be finite and .*, found nan at index 3; fill"),
        (np.zeros((2, 3, 4)), r"history: must be .*, found shape \(2, 3, 4\); pass one series"),
        (3.0, r"history: must be \(N,\) or \(B, N\), found shape \(\); pass"),
        ([[1.0, 2.0], [3.0]], "history: must be .*, found rows of different lengths; pass one"),
        ([], r"history: must be at least one number, .*, found shape \(0,\)"),
        (["a"] * 6, "history: must be real numbers, found"),
    ],
    ids=["short", "short rows", "nan", "3-D", "0-D", "ragged", "empty", "words"],
)
def test_a_history_that_is_none_is_refused(history, message):
    with pytest.raises(DataError, match=message):
        made(WAYS[0]).forecast(history, 3)
