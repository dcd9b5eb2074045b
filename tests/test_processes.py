"""Computed series: exact solutions, orders of convergence, and the noise they promise."""

import math

import numpy as np
import pytest

from kseq.data import processes
from kseq.data.processes import (
    calendar_series,
    calendar_signal,
    clean_sine,
    logistic_map,
    mackey_glass,
    noisy_sine,
    sine_segment,
)
from kseq.errors import UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

DRAWN = {
    "noisy_sine": lambda seed: noisy_sine(50, seed),
    "sine_segment": lambda seed: sine_segment(seed, 3),
    "mackey_glass": lambda seed: mackey_glass(50, seed, noise=0.1),
    "logistic_map": lambda seed: logistic_map(50, seed),
    "calendar_series": lambda seed: calendar_series(50, seed)[0],
}


@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN)
def test_a_seed_decides_the_series(make):
    seeds = range(12)
    drawn = {make(seed).tobytes() for seed in seeds}

    assert make(5).dtype == np.float32
    assert make(5).ndim == 1
    assert make(np.int64(5)).tobytes() == make(5).tobytes()
    assert len(drawn) == (3 if make is DRAWN["sine_segment"] else 12)


@pytest.mark.parametrize("seed", [-1, 0.5, 2**32, None, True])
@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN)
def test_a_seed_that_is_none_is_refused(make, seed):
    with pytest.raises(UsageError, match="seed: must be a whole number"):
        make(seed)


@pytest.mark.parametrize("size", [0, -3, 2.5, 10**12])
@pytest.mark.parametrize(
    "make", [noisy_sine, mackey_glass, logistic_map, calendar_series, calendar_signal]
)
def test_a_size_that_is_none_is_refused(make, size):
    with pytest.raises(UsageError, match=r"(T|days): must be a whole number"):
        make(size)


@pytest.mark.parametrize("noise", [-0.1, math.nan, math.inf, "loud"])
@pytest.mark.parametrize("make", [noisy_sine, mackey_glass, calendar_series])
def test_noise_that_is_no_deviation_is_refused(make, noise):
    with pytest.raises(UsageError, match="noise: must be a finite number, at least 0, found"):
        make(10, noise=noise)


# Sines.


def test_noisy_sine_is_that_of_d2l():
    noise = np.random.default_rng(7).normal(0, 0.2, 1000)
    wanted = np.sin(0.01 * np.arange(1, 1001)) + noise

    assert noisy_sine(1000, seed=7).shape == (1000,)
    assert noisy_sine(1000, seed=7) == pytest.approx(wanted, abs=1e-6)


def test_the_floors_of_noisy_sine():
    """Means of 200 seeds: what is left after the sine, after the last point, after four points."""
    sine = np.sin(0.01 * np.arange(1, 1001))
    errors = []
    for seed in range(200):
        x = noisy_sine(seed=seed).astype("float64")
        four = np.convolve(x, np.ones(4) / 4, "valid")[:-1]
        residuals = (x - sine, np.diff(x)[:599], x[4:604] - four[:600])
        errors.append([np.mean(residual**2) for residual in residuals])

    assert np.mean(errors, axis=0) == pytest.approx([0.04, 0.0793, 0.0500], abs=5e-4)


def test_without_noise_two_lags_are_exact():
    x = noisy_sine(noise=0, frequency=0.3).astype("float64")

    assert x[2:] == pytest.approx(2 * math.cos(0.3) * x[1:-1] - x[:-2], abs=5e-7)
    assert x[0] == pytest.approx(math.sin(0.3))


def test_clean_sine_by_hand():
    found = clean_sine(5, step=math.pi / 2, start=math.pi)

    assert found.dtype == np.float32
    assert found == pytest.approx([0, -1, 0, 1, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.1), "num_steps: must be"),
        ((3, 0), "step: must be"),
        ((3, math.nan), "step: must be"),
        ((3, 0.1, math.inf), "start: must be"),
    ],
)
def test_clean_sine_refuses_what_makes_no_sense(arguments, message):
    with pytest.raises(UsageError, match=message):
        clean_sine(*arguments)


def test_a_segment_is_60_points_from_one_of_three_starts():
    wanted = {start: np.sin(np.linspace(start, start + 10, 60)) for start in range(3)}
    counts = dict.fromkeys(wanted, 0)
    for iteration in range(300):
        segment = sine_segment(0, iteration)
        assert segment.shape == (60,)
        (start,) = [s for s, sine in wanted.items() if np.allclose(segment, sine, atol=1e-6)]
        counts[start] += 1

    # 300 draws, a third each: 100 with a standard deviation of 8.
    assert all(abs(count - 100) < 35 for count in counts.values())


def test_a_segment_depends_on_nothing_but_its_arguments():
    first = [sine_segment(3, iteration).tobytes() for iteration in range(20)]
    again = [sine_segment(3, iteration).tobytes() for iteration in reversed(range(20))]

    assert first == again[::-1]
    with pytest.raises(UsageError, match="iteration: must be"):
        sine_segment(0, -1)


# Mackey and Glass.


def test_the_first_delay_is_the_exact_solution():
    """With a constant past the equation is linear: x = 10 g + (c - 10 g) exp(-t / 10)."""
    path = processes._delayed_path(1.2, delay=170, steps=170, step=0.1)
    growth = 0.2 * 1.2 / (1 + 1.2**10)
    exact = 10 * growth + (1.2 - 10 * growth) * np.exp(-np.arange(171) / 100)

    assert path == pytest.approx(exact, abs=1e-10)


def path_at_units(halvings):
    """The first 100 time units, which pass three times where the slope of the past jumps."""
    per_unit = 10 * 2**halvings
    path = processes._delayed_path(1.2, 17 * per_unit, 100 * per_unit, 1 / per_unit)
    return path[::per_unit]


def test_the_integration_is_of_fourth_order():
    finest = path_at_units(3)
    errors = [np.abs(path_at_units(halvings) - finest).max() for halvings in (0, 1)]

    assert errors[0] < 1e-8
    assert 12 < errors[0] / errors[1] < 20


def test_a_coarse_step_shows_the_order_of_the_interpolation_too():
    """Steps of 1/2 and 1/4: errors far above rounding still fall sixteen-fold."""
    exact = path_at_units(3)
    errors = []
    for per_unit in (2, 4, 8):
        path = processes._delayed_path(1.2, 17 * per_unit, 100 * per_unit, 1 / per_unit)
        errors.append(np.abs(path[::per_unit] - exact).max())

    assert np.log2(np.divide(errors[:-1], errors[1:])) == pytest.approx(4, abs=0.5)


def test_the_series_begins_after_the_transient():
    start = 1.2 + 0.1 * np.random.default_rng(4).uniform(-1, 1)
    path = processes._delayed_path(start, 170, 3090, 0.1)

    assert mackey_glass(10, seed=4) == pytest.approx(path[3000:3091:10], abs=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_mackey_glass_stays_in_its_band_and_keeps_moving(seed):
    x = mackey_glass(1500, seed)

    assert 0.2 < x.min() < 0.5
    assert 1.2 < x.max() < 1.5
    assert 0.2 < x.std() < 0.25
    # One swing takes about 50 time units.
    power = np.abs(np.fft.rfft(x - x.mean())) ** 2
    assert 40 < 1500 / power.argmax() < 60


def test_a_short_delay_settles_at_the_fixed_point():
    assert mackey_glass(50, tau=2) == pytest.approx(1, abs=1e-5)


def test_mackey_glass_has_the_noise_it_promises():
    noise = mackey_glass(4000, seed=1, noise=0.05) - mackey_glass(4000, seed=1)

    # A deviation from 4000 draws is good to 1.1 %.
    assert noise.std() == pytest.approx(0.05, rel=0.05)
    assert abs(noise.mean()) < 0.004


@pytest.mark.parametrize("tau", [0, -1, 0.05, 17.05, 1000.1, 1e300, math.nan])
def test_a_delay_that_is_no_multiple_of_the_step_is_refused(tau):
    with pytest.raises(UsageError, match="tau: must be"):
        mackey_glass(10, tau=tau)


# The logistic map.


def test_each_point_follows_from_the_one_before():
    x = logistic_map(500, seed=2, r=3.7).astype("float64")

    assert x[1:] == pytest.approx(3.7 * x[:-1] * (1 - x[:-1]), abs=5e-7)


def test_the_known_orbit_of_period_two():
    """At r = 3.2 the two points are the roots of r² x² - r (r + 1) x + r + 1."""
    roots = np.sort(np.roots([3.2**2, -3.2 * 4.2, 4.2]))

    assert np.sort(logistic_map(2, r=3.2)) == pytest.approx(roots, abs=1e-6)


def test_the_lyapunov_exponent_is_ln_2():
    x = logistic_map(20_000).astype("float64")
    exponent = np.log(np.abs(4 * (1 - 2 * x))).mean()

    assert exponent == pytest.approx(math.log(2), abs=0.02)
    assert x.var() == pytest.approx(1 / 8, abs=0.005)


@pytest.mark.parametrize("r", [0, -1, 4.01, math.nan])
def test_a_growth_that_leaves_the_interval_is_refused(r):
    with pytest.raises(UsageError, match="r: must be"):
        logistic_map(5, r=r)


# The calendar.


def test_dates_are_days_from_a_monday_on():
    values, dates = calendar_series(800)

    assert values.shape == dates.shape == (800,)
    assert dates.dtype == "datetime64[D]"
    assert dates[0].item().isoweekday() == 1
    assert np.diff(dates).astype(int).tolist() == [1] * 799


def test_the_noise_is_what_is_left_of_the_signal():
    noise = calendar_series(2000, seed=3, noise=4.0)[0] - calendar_signal(2000)

    # A deviation from 2000 draws is good to 1.6 %.
    assert noise.std() == pytest.approx(4, rel=0.06)
    assert abs(noise.mean()) < 0.4
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.08


def test_without_noise_it_is_the_signal():
    values = calendar_series(400, noise=0)[0]

    assert values == pytest.approx(calendar_signal(400), rel=1e-6)


def test_least_squares_finds_trend_week_and_year():
    day = np.arange(1461)
    angle = 2 * np.pi * day / 365.25
    waves = [wave(k * angle) for k in (1, 2) for wave in (np.cos, np.sin)]
    week = [day % 7 == weekday for weekday in range(7)]
    columns = np.array([day, *waves, *week], float).T
    found, residual = np.linalg.lstsq(columns, calendar_signal(1461), rcond=None)[:2]

    assert residual == pytest.approx(0, abs=1e-15)
    assert found[0] == pytest.approx(0.1)
    assert np.hypot(found[1], found[2]) == pytest.approx(30)
    assert np.hypot(found[3], found[4]) == pytest.approx(12)
    assert found[5:] == pytest.approx([188, 184, 186, 192, 206, 226, 218])
