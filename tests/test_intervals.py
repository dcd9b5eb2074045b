"""Intervals: margins by hand, coverage, where they are measured, and the words of a refusal."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.data.intervals import Margins
from kseq.data.processes import noisy_sine
from kseq.data.scores import coverage
from kseq.data.series import windows
from kseq.errors import DataError, UsageError
from kseq.nn.forecaster import Forecaster
from kseq.nn.optimizers import clipped_optimizer
from kseq.nn.rolling import forecast_at
from kseq.nn.schedules import schedule

NOISE = np.random.default_rng(0).normal(size=400).astype("float32")


def silent(window=4, outputs=2):
    """Give a forecaster that always says zero: its errors are the series."""
    model = Forecaster("mlp", window, units=1, outputs=outputs)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    return model


# By hand.


def test_margins_by_hand():
    # Of 9 errors the ceil(10 x 0.5) = 5th smallest, and the ceil(10 x 0.9) = 9th.
    errors = np.array([[1, -10], [-2, 20], [3, 30], [-4, 40], [5, 50], [6, -60]])
    errors = np.concatenate([errors, [[7, 70], [-8, 80], [9, 90]]])
    margins = Margins.of(errors, [0.5, 0.9])
    assert margins.at(0.5, 2).tolist() == [5, 50]
    assert margins.at(0.9, 2).tolist() == [9, 90]
    assert margins.at(0.9, 1).tolist() == [9]
    assert margins.horizon == 2


def test_calibration_by_hand():
    """A model that says zero errs by the points themselves, from every origin that fits."""
    model, series = silent(), np.zeros(24)
    series[4:] = [*range(1, 20), 99]  # 19 origins: 1 .. 19 one ahead, 2 .. 19 and 99 two ahead
    model.calibrate(series, horizon=2, levels=[0.5, 0.9])
    assert model.margins.at(0.5, 2).tolist() == [10, 11]
    assert model.margins.at(0.9, 2).tolist() == [18, 19]
    lower, upper = model.interval(np.zeros((3, 4)), 2, level=0.5)
    assert lower.tolist() == [[-10, -11]] * 3
    assert upper.tolist() == [[10, 11]] * 3
    assert model.interval(np.zeros(4), 1)[1].tolist() == [18]


def test_an_interval_lies_about_the_forecast():
    model = Forecaster("gru", window=None, units=3)
    model.calibrate(NOISE[:120], horizon=3)
    lower, upper = model.interval(NOISE[:50], 3, level=0.8)
    assert lower.shape == upper.shape == (3,)
    np.testing.assert_allclose((lower + upper) / 2, model.forecast(NOISE[:50], 3), atol=1e-6)
    inner = model.interval(NOISE[:50], 3, level=0.5)
    assert (lower < inner[0]).all()
    assert (inner[1] < upper).all()


@given(st.integers(20, 200), st.floats(0.05, 0.95))
def test_margins_hold_at_least_their_share_of_what_they_were_measured_on(n, level):
    errors = np.random.default_rng(n).normal(size=(n, 3))
    within = np.abs(errors) <= Margins.of(errors, [level]).at(level, 3)
    assert (within.mean(0) >= level).all()


@given(st.dictionaries(st.floats(0.01, 0.99), st.lists(st.floats(0, 1e6), min_size=2, max_size=2)))
def test_margins_make_the_round_trip(widths):
    margins = Margins.from_dict(widths)
    assert Margins.from_dict(json.loads(json.dumps(margins.to_dict()))) == margins


# Coverage.


def test_coverage_of_exchangeable_noise():
    """Margins from 99 errors hold 90 % of fresh ones on average, exactly."""
    rng, model, shares = np.random.default_rng(1), silent(window=1, outputs=1), []
    for _ in range(200):
        model.calibrate(rng.normal(size=100), horizon=1, levels=[0.9])
        fresh = rng.normal(size=100)
        margin = model.margins.at(0.9, 1)[0]
        shares.append(coverage(fresh, np.full(100, -margin), np.full(100, margin)))
    assert np.mean(shares) == pytest.approx(0.9, abs=0.01)


STEPS, TRAIN, KNOWN = 64, 600, 800


@pytest.mark.slow
def test_nominal_90_percent_covers_87_to_93_on_200_fresh_sines():
    """Trained on one sine, calibrated on the fifth before the one it is judged on."""
    model = trained_on(noisy_sine(1000, seed=1000)[:TRAIN])
    origins = np.arange(KNOWN, 1000 - STEPS + 1)
    shares = []
    for seed in range(200):
        series = noisy_sine(1000, seed)
        model.calibrate(series[:KNOWN], STEPS, first=TRAIN)
        truth = series[origins[:, np.newaxis] + np.arange(STEPS)]
        ahead, margin = forecast_at(model, series, origins, STEPS), model.margins.at(0.9, STEPS)
        shares.append(coverage(truth, ahead - margin, ahead + margin, axis=0))
    assert 0.87 < np.mean(shares) < 0.93
    for k in (1, 16, 64):
        assert 0.87 < np.mean(shares, axis=0)[k - 1] < 0.93


def trained_on(train):
    """Give a direct forecaster of reduced rank: 64 steps from 192 points through 4 directions."""
    x, y = windows(train, 192, STEPS)
    model = Forecaster("mlp", 192, 4, outputs=STEPS, activation="linear", use_bias=False)
    rate = schedule("one_cycle", 0.02, 60 * -(-len(x) // 32))
    model.compile(clipped_optimizer("adamw", rate, weight_decay=0.3))
    model.fit(x, y, batch_size=32, epochs=60, verbose=0)
    return model


# Where they are measured.


def test_margins_come_from_the_part_given_alone():
    one, other = (Forecaster("mlp", 4, outputs=3) for _ in range(2))
    changed = NOISE.copy()
    changed[200:] *= 50
    one.calibrate(NOISE[:200], 3)
    other.calibrate(changed[:200], 3)
    assert one.margins == other.margins
    other.calibrate(changed, 3)
    assert other.margins.at(0.9, 1) > 5 * one.margins.at(0.9, 1)


def test_what_is_before_the_first_point_is_read_and_not_judged():
    one, other = silent(), silent()
    series = NOISE[:100].copy()
    one.calibrate(series, 2, first=40)
    series[:40] = 1e6
    other.calibrate(series, 2, first=40)
    assert one.margins == other.margins


@pytest.mark.parametrize("first", [3, 1])
def test_a_first_point_without_its_window_does_not_read_the_end(first):
    with pytest.raises(DataError, match=r"origins: must be from 4, the points a forecast reads"):
        silent(window=4).calibrate(NOISE, 2, first=first)


# Refusals.


def test_an_interval_needs_a_calibration():
    with pytest.raises(
        UsageError,
        match=r"^interval: the model must be calibrated, "
        r"found that it is not; call calibrate with a part",
    ):
        silent().interval(NOISE, 2)


@pytest.mark.parametrize(
    ("horizon", "level", "message"),
    [
        (2, 0.95, r"level: must be one that was calibrated \(0\.5, 0\.8, 0\.9\), found 0\.95; c"),
        (2, "0.9", r"level: must be one that was calibrated \(0\.5, 0\.8, 0\.9\), found 0\.9; c"),
        (3, 0.9, "horizon: must be at most the 2 steps that were calibrated, found 3; calibrate"),
        (0, 0.9, "horizon: must be a whole number, at least 1, found 0; choose 1 or more"),
        (-1, 0.9, "horizon: must be a whole number, at least 1, found -1; choose 1 or more"),
        (2.5, 0.9, "horizon: must be a whole number, at least 1, found 2.5; choose 1 or more"),
        (10**12, 0.9, "horizon: must be a whole number, at most"),
    ],
)
def test_an_interval_that_was_not_calibrated_is_refused(horizon, level, message):
    model = silent()
    model.calibrate(NOISE, 2)
    with pytest.raises(UsageError, match=message):
        model.interval(NOISE, horizon, level)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"horizon": 0}, UsageError, "horizon: must be a whole number, at least 1, found 0; cho"),
        ({"horizon": 2.5}, UsageError, "horizon: must be a whole number, at least 1, found 2.5"),
        ({"first": 0}, UsageError, "first: must be a whole number, at least 1, found 0; choose"),
        ({"levels": [1.0]}, UsageError, "level: must be a number above 0 and below 1, found 1"),
        ({"levels": []}, UsageError, "levels: must name at least one share, found none; pass so"),
        ({"horizon": 400}, DataError, "calibration: must have at least 404 points, found 400; h"),
        ({"first": 399}, DataError, "calibration: must have at least 401 points, found 400; hol"),
        ({"levels": [0.999]}, DataError, "residuals: must be at least 999 for a level of 0.999"),
        ({"series": [1.0, np.nan]}, DataError, "series: must be finite .* found nan at index 1"),
    ],
    ids=str,
)
def test_a_calibration_that_makes_no_sense_is_refused_and_leaves_the_old(wrong, error, message):
    model = silent()
    model.calibrate(NOISE, 2)
    before = model.margins
    with pytest.raises(error, match=message):
        model.calibrate(**{"series": NOISE, "horizon": 2, **wrong})
    assert model.margins is before
