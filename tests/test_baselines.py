"""Baselines: worked by hand, against plain least squares, laws, and the book's noisy sine."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseq.data.baselines import (
    AutoRegression,
    Mean,
    Persistence,
    SeasonalNaive,
    standard_baselines,
)
from kseq.errors import DataError, UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

ALL = [
    Persistence(),
    SeasonalNaive(5),
    Mean(),
    Mean(4),
    AutoRegression(4),
    AutoRegression(3, intercept=True),
    AutoRegression(3, ridge=2.0),
    AutoRegression(6, direct=True),
    AutoRegression(6, ridge=0.5, direct=True, intercept=True),
]
every_baseline = pytest.mark.parametrize("baseline", ALL, ids=lambda each: each.name)


def noise(size, seed=0):
    return np.random.default_rng(seed).normal(size=size)


def noisy_sine(seed):
    return np.sin(0.01 * np.arange(1, 1001)) + np.random.default_rng(seed).normal(0, 0.2, 1000)


def test_forecasts_worked_by_hand():
    history = [4.0, 1.0, 2.0, 3.0, 6.0]

    assert Persistence().forecast(history, 2).tolist() == [6, 6]
    assert SeasonalNaive(3).forecast(history, 4).tolist() == [2, 3, 6, 2]
    assert Mean(4).forecast(history, 2).tolist() == [3, 3]
    assert Mean().fit([1.0, 5.0, 9.0]).forecast(history, 2).tolist() == [5, 5]


def test_an_autoregression_worked_by_hand():
    """Through (1, 2), (2, 0), (0, 4): 5 w = 2 without a constant, y = 4 - 2 x with one."""
    train = [1.0, 2.0, 0.0, 4.0]
    weights, constant = AutoRegression(1).fit(train).weights()
    assert (weights.tolist(), constant) == (pytest.approx([2 / 5]), 0)

    fitted = AutoRegression(1, intercept=True).fit(train)
    assert fitted.weights()[0] == pytest.approx([-2])
    assert fitted.weights()[1] == pytest.approx(4)
    assert fitted.forecast([7.0, 3.0], 3) == pytest.approx([-2, 8, -12])


def test_ridge_worked_by_hand():
    """(5 + 5) w = 2; with a constant (2 + 2) w = -4 about the means 1 and 2."""
    train = [1.0, 2.0, 0.0, 4.0]
    assert AutoRegression(1, ridge=5).fit(train).weights()[0] == pytest.approx([0.2])

    weights, constant = AutoRegression(1, ridge=2, intercept=True).fit(train).weights()
    assert weights == pytest.approx([-1])
    assert constant == pytest.approx(3)


def test_two_lags_are_exact_without_noise():
    sine = np.sin(0.01 * np.arange(1, 1001))
    fitted = AutoRegression(2).fit(sine[:600])

    assert fitted.weights()[0] == pytest.approx([-1, 2 * math.cos(0.01)], abs=1e-8)
    assert fitted.forecast(sine[:600], 400) == pytest.approx(sine[600:], abs=1e-5)


def test_a_season_that_repeats_is_forecast_exactly():
    series = np.tile(noise(7), 6)

    assert SeasonalNaive(7).forecast(series[:23], 19).tolist() == series[23:].tolist()


@pytest.mark.parametrize("step", [1, 2, 9])
@pytest.mark.parametrize("ridge", [0.0, 3.0])
@pytest.mark.parametrize("intercept", [False, True])
def test_weights_are_those_of_the_normal_equations(step, ridge, intercept):
    """Pairs gathered one by one, with a column of ones that no penalty touches."""
    train, lags = noise(60) + 5, 4
    starts = range(len(train) - lags - step + 1)
    X = np.array([[*train[i : i + lags], float(intercept)] for i in starts])
    y = np.array([train[i + lags + step - 1] for i in starts])
    penalty = ridge * np.eye(lags + 1)
    penalty[-1, -1] = not intercept
    expected = np.linalg.solve(X.T @ X + penalty, X.T @ y)

    fitted = AutoRegression(lags, ridge=ridge, direct=True, intercept=intercept).fit(train)
    weights, constant = fitted.weights(step)
    assert [*weights, constant] == pytest.approx(expected.tolist(), rel=1e-8, abs=1e-10)
    ahead = fitted.forecast(train, step)[-1]
    assert ahead == pytest.approx(train[-lags:] @ weights + constant)


def test_fed_back_forecasts_are_one_step_forecasts_in_a_row():
    train = noise(50)
    fitted = AutoRegression(3, intercept=True).fit(train)

    points = train.tolist()
    for _ in range(6):
        points.append(float(fitted.forecast(points, 1)[0]))
    assert fitted.forecast(train, 6) == pytest.approx(points[50:])


@every_baseline
@settings(max_examples=15)
@given(rows=st.integers(1, 4), horizon=st.integers(1, 8), seed=st.integers(0, 99))
def test_many_histories_are_forecast_as_each_alone(baseline, rows, horizon, seed):
    fitted = baseline.fit(noise(40))
    histories = noise((rows, 11), seed)
    together = fitted.forecast(histories, horizon)

    assert together.shape == (rows, horizon)
    assert together.dtype == np.float64
    for history, forecast in zip(histories, together, strict=True):
        assert fitted.forecast(history, horizon) == pytest.approx(forecast)


@every_baseline
@settings(max_examples=15)
@given(near=st.integers(1, 8), more=st.integers(0, 8), seed=st.integers(0, 99))
def test_looking_farther_does_not_change_what_is_near(baseline, near, more, seed):
    fitted, history = baseline.fit(noise(40)), noise(12, seed)

    far = fitted.forecast(history, near + more)
    assert far[:near] == pytest.approx(fitted.forecast(history, near))


@every_baseline
def test_no_more_than_the_window_is_read(baseline):
    fitted, history = baseline.fit(noise(40)), noise(30, seed=1)
    if fitted.window is None:
        assert fitted.forecast(noise(3), 2).tolist() == fitted.forecast(history, 2).tolist()
        return

    expected = fitted.forecast(history, 5)
    assert fitted.forecast(history[-fitted.window :], 5) == pytest.approx(expected)
    changed = history.copy()
    changed[-fitted.window :] += 1
    assert (fitted.forecast(changed, 5) != expected).any()


@pytest.mark.parametrize("baseline", [each for each in ALL if not getattr(each, "ridge", 0)])
@settings(max_examples=15)
@given(factor=st.floats(0.01, 100), shift=st.floats(-5, 5))
def test_other_units_change_only_the_units(baseline, factor, shift):
    """Without a constant, an autoregression follows a change of scale but no shift."""
    shift = 0 if getattr(baseline, "intercept", True) is False else shift
    train, history = noise(40), noise(12, seed=1)
    expected = baseline.fit(train).forecast(history, 4) * factor + shift

    found = baseline.fit(train * factor + shift).forecast(history * factor + shift, 4)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6 * factor)


@every_baseline
@pytest.mark.parametrize("value", [0.0, 3.0, -1e9])
def test_a_constant_series_stays_constant(baseline, value):
    series = np.full(40, value)

    found = baseline.fit(series).forecast(series[:20], 12)
    loss = 0.05 if getattr(baseline, "ridge", 0) else 1e-9
    assert found == pytest.approx(np.full(12, value), rel=loss)


def test_more_lags_than_pairs_still_give_weights():
    train = noise(12)
    fitted = AutoRegression(9, direct=True).fit(train)

    assert fitted.forecast(train[:-1], 1) == pytest.approx(train[-1:])
    assert np.isfinite(fitted.forecast(train, 3)).all()


def test_an_unstable_fit_runs_to_infinity_without_a_warning():
    fitted = AutoRegression(1).fit(2.0 ** np.arange(20))

    assert fitted.forecast([1.0], 3) == pytest.approx([2, 4, 8])
    assert fitted.forecast([1.0], 3000)[-1] == math.inf


@every_baseline
def test_integers_and_float32_are_counted_in_float64(baseline):
    whole = np.arange(40) % 7

    expected = baseline.fit(whole.astype("float64")).forecast(whole.astype("float64"), 3)
    for dtype in ("int64", "float32"):
        found = baseline.fit(whole.astype(dtype)).forecast(whole.astype(dtype), 3)
        assert found.dtype == np.float64
        assert found.tolist() == expected.tolist()


def test_fitting_leaves_the_baseline_and_the_series_as_they_were():
    train = noise(40)
    before, baseline = train.copy(), AutoRegression(3, direct=True)
    fitted = baseline.fit(train)
    expected = baseline.fit(train).forecast(before, 4).tolist()
    train[:] = 0

    assert baseline.train is None
    assert fitted.forecast(before, 4).tolist() == expected
    assert Mean().fit(before) != Mean()
    with pytest.raises(ValueError, match="read-only"):
        fitted.weights()[0][0] = 1


def test_one_step_ahead_on_the_noisy_sine():
    """Mean squared errors, the mean of 200 seeds: on the first 600 points and after them."""
    baselines = {each.name: each for each in (Persistence(), Mean(4), AutoRegression(4))}
    errors = {name: [] for name in baselines}
    for seed in range(200):
        x = noisy_sine(seed)
        rows = np.lib.stride_tricks.sliding_window_view(x, 4)[:-1]
        for name, baseline in baselines.items():
            squares = (baseline.fit(x[:600]).forecast(rows, 1)[:, 0] - x[4:]) ** 2
            errors[name].append((squares[:596].mean(), squares[596:].mean()))

    found = {name: np.mean(pairs, axis=0) for name, pairs in errors.items()}
    assert found["persistence"] == pytest.approx([0.0793, 0.0800], abs=5e-4)
    assert found["mean of last 4"] == pytest.approx([0.0500, 0.0502], abs=3e-4)
    assert found["AR(4)"] == pytest.approx([0.0495, 0.0502], abs=3e-4)


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (AutoRegression(4, direct=True), [0.224, 0.260, 0.507]),
        (AutoRegression(4, direct=True, intercept=True), [0.224, 0.260, 0.539]),
        (AutoRegression(64, ridge=10, direct=True), [0.211, 0.216, 0.235]),
        (AutoRegression(128, ridge=10, direct=True), [0.212, 0.213, 0.216]),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_far_ahead_on_the_noisy_sine(baseline, expected):
    """Root mean squared errors beyond time 600, at 1, 16 and 64 steps; the noise alone is 0.2."""
    found = []
    for seed in range(30):
        x = noisy_sine(seed)
        fitted = baseline.fit(x[:600])
        rows = np.lib.stride_tricks.sliding_window_view(x, baseline.lags)
        for step in (1, 16, 64):
            last = 600 - step - baseline.lags + 1
            weights, constant = fitted.weights(step)
            misses = rows[last:-step] @ weights + constant - x[600:]
            found.append(math.sqrt((misses**2).mean()))

    rows = np.reshape(found, (30, 3))
    assert rows.mean(axis=0) == pytest.approx(expected, abs=0.005)


def test_a_report_shows_few_baselines():
    names = [each.name for each in standard_baselines()]

    assert names == ["persistence", "mean", "mean of last 4", "AR(4)"]
    assert [each.name for each in standard_baselines(1)] == names
    assert [each.name for each in standard_baselines(12)][1] == "seasonal naive (12)"
    for each in standard_baselines(12):
        assert each.fit(noise(20)).forecast(noise(12), 2).shape == (2,)


@pytest.mark.parametrize(
    ("baseline", "name", "window"),
    [
        (Persistence(), "persistence", 1),
        (SeasonalNaive(7), "seasonal naive (7)", 7),
        (Mean(), "mean", None),
        (Mean(4), "mean of last 4", 4),
        (AutoRegression(64, ridge=10), "AR(64), ridge 10", 64),
        (AutoRegression(4, direct=True), "direct AR(4)", 4),
        (AutoRegression(2, 0.5, intercept=True), "AR(2) with intercept, ridge 0.5", 2),
        (AutoRegression(128, 10, direct=True), "direct AR(128), ridge 10", 128),
    ],
    ids=str,
)
def test_a_table_names_them_and_a_caller_sees_the_window(baseline, name, window):
    assert (baseline.name, baseline.window) == (name, window)


@pytest.mark.parametrize(
    ("baseline", "needed"), [(SeasonalNaive(7), 7), (Mean(4), 4), (AutoRegression(5), 5)]
)
@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_a_history_shorter_than_the_window_is_refused(baseline, needed, shape):
    message = rf"the history must have {needed} points or more, found 3; give a longer one"
    with pytest.raises(DataError, match=message):
        baseline.fit(noise(20)).forecast(np.zeros(shape), 1)


def test_a_training_part_that_is_too_short_is_refused():
    assert AutoRegression(4).fit(noise(5)).forecast(noise(4), 9).shape == (9,)
    with pytest.raises(DataError, match=r"AR\(4\): .* must have 5 points or more .*, found 4;"):
        AutoRegression(4).fit(noise(4))


def test_direct_forecasts_farther_than_the_training_part_reaches_are_refused():
    fitted = AutoRegression(4, direct=True).fit(noise(20))

    assert fitted.forecast(noise(4), 16).shape == (16,)
    message = r"direct AR\(4\): .* must have 21 points or more to look 17 ahead, found 20; take"
    with pytest.raises(DataError, match=message):
        fitted.forecast(noise(4), 17)
    with pytest.raises(DataError, match="1000000004 points"):
        fitted.forecast(noise(4), 10**9)


@pytest.mark.parametrize("baseline", [Mean(), AutoRegression(2), AutoRegression(2, direct=True)])
def test_what_was_not_fitted_does_not_forecast(baseline):
    with pytest.raises(UsageError, match=r"must be fitted first, found no fit; call fit\(train\)"):
        baseline.forecast([1.0, 2.0], 1)


@every_baseline
@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([1.0, math.nan] + [0.0] * 9, "history: must be finite .* found nan at index 1"),
        ([[0.0] * 9, [0.0] * 8 + [math.inf]], "history: must be finite .* found inf at index 17"),
        ([], "history: must be at least one number"),
        ([[0.0] * 9, [0.0] * 8], "history: must be real numbers"),
        (["a"] * 9, "history: must be real numbers"),
        (np.zeros((2, 9, 1)), r"history: must be .* found shape \(2, 9, 1\)"),
        (5.0, "history: must be at least one number"),
    ],
    ids=["nan", "inf", "empty", "ragged", "words", "three axes", "a number"],
)
def test_a_history_of_anything_but_numbers_is_refused(baseline, history, message):
    with pytest.raises(DataError, match=message):
        baseline.fit(noise(40)).forecast(history, 2)


@every_baseline
@pytest.mark.parametrize("horizon", [0, -1, 2.0, True, 10**12])
def test_a_horizon_that_makes_no_sense_is_refused(baseline, horizon):
    with pytest.raises(UsageError, match="horizon: must be a whole number"):
        baseline.fit(noise(40)).forecast(noise(10), horizon)


@pytest.mark.parametrize("baseline", [Mean(), AutoRegression(2)])
@pytest.mark.parametrize("train", [[], [1.0, math.nan, 2.0, 3.0], "words"])
def test_a_training_part_of_anything_but_numbers_is_refused(baseline, train):
    with pytest.raises(DataError, match="train: must be"):
        baseline.fit(train)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SeasonalNaive(0), "season: must be a whole number, at least 1, found 0"),
        (lambda: Mean(0), "window: must be a whole number, at least 1, found 0"),
        (lambda: AutoRegression(2.5), "lags: must be a whole number, at least 1, found 2.5"),
        (lambda: AutoRegression(2, ridge=-1), "ridge: must be a finite number .* found -1"),
        (lambda: AutoRegression(2, ridge=math.nan), "ridge: must be a finite number .* found nan"),
        (lambda: AutoRegression(2, ridge="10"), "ridge: must be a finite number .* found '10'"),
        (lambda: AutoRegression(2).fit(noise(9)).weights(0), "step: must be a whole number"),
        (lambda: standard_baselines(0), "season: must be a whole number, at least 1, found 0"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
