"""Series that are computed, not read: sines, chaos, a calendar, each with its noise floor.

    noisy_sine         what a model must filter         floor: the noise
    clean_sine         two lags predict it exactly      floor: 0
    sine_segment       short pieces, one per iteration  floor: 0
    mackey_glass       chaos with a memory              floor: the noise
    logistic_map       chaos without one                floor: 0, for a few steps only
    calendar_series    trend, weeks and years           floor: the noise

The floor is the root mean square error, in the series's own units, of a forecast one step ahead
by whoever knows the process: no model can do better on average.  A seed is a whole number for
NumPy's `default_rng`; the same arguments give the same series everywhere.
"""

import math
from numbers import Real

import numpy as np

from kseq.checks import finite_float, non_negative_int, positive_float, positive_int, shown
from kseq.data.windows import LARGEST_SEED
from kseq.errors import UsageError

FIRST_DAY = np.datetime64("2024-01-01", "D")  # a Monday

_STEPS_PER_UNIT = 10
_TRANSIENT_UNITS = 300
_LONGEST_DELAY = 1000
_LOGISTIC_TRANSIENT = 100
_WEEK = np.array([-12.0, -16.0, -14.0, -8.0, 6.0, 26.0, 18.0])  # Monday to Sunday; their sum is 0
_DAYS_A_YEAR = 365.25


def noisy_sine(
    T: int = 1000, seed: int = 0, noise: float = 0.2, frequency: float = 0.01
) -> np.ndarray:
    """Return sin(frequency * time) + N(0, noise²) at the times 1 .. T; (T,) float32.

    Floor: `noise` (a mean squared error of 0.04 at 0.2).

    Args:
        T: how many points.
        seed: draws the noise.
        noise: its standard deviation.
        frequency: radians per time step.

    Raises:
        UsageError: T below 1, a seed that is no whole number, a negative noise, a frequency
            that is not above 0.

    Source: Dive into Deep Learning 8.1.

    Example:
        >>> noisy_sine(3, noise=0.0)
        array([0.00999983, 0.01999867, 0.0299955 ], dtype=float32)
    """
    times = np.arange(1, positive_int("T", T) + 1)
    signal = np.sin(positive_float("frequency", frequency) * times)
    return _observed(signal, noise, _generator(seed))


def clean_sine(num_steps: int, step: float, start: float = 0.0) -> np.ndarray:
    """Return sin(start + step * i) for i = 0 .. num_steps - 1; (num_steps,) float32.

    Floor: 0, since x[i] = 2 cos(step) x[i - 1] - x[i - 2].

    Args:
        num_steps: how many points.
        step: radians from one to the next.
        start: where the first one is, in radians.

    Raises:
        UsageError: `num_steps` below 1, a `step` that is not above 0, a `start` not finite.

    Example:
        >>> clean_sine(3, step=0.5)
        array([0.        , 0.47942555, 0.84147096], dtype=float32)
    """
    start, step = finite_float("start", start), positive_float("step", step)
    times = start + step * np.arange(positive_int("num_steps", num_steps))
    return np.sin(times).astype(np.float32)


def sine_segment(seed: int, iteration: int) -> np.ndarray:
    """Return the sine at 60 points evenly on [start, start + 10]; (60,) float32.

    The start is 0, 1 or 2 radians, drawn anew for each iteration of a training; the segment is a
    pure function of its arguments.
    The first 59 points are the inputs of a recurrent network, the last 59 its targets.  Floor: 0.

    Raises:
        UsageError: a seed or an iteration that is negative or no whole number.

    Example:
        >>> sine_segment(seed=0, iteration=0).shape
        (60,)
    """
    start = int(_generator(seed, non_negative_int("iteration", iteration)).integers(3))
    return clean_sine(60, step=10 / 59, start=start)


def mackey_glass(T: int, seed: int = 0, tau: float = 17.0, noise: float = 0.0) -> np.ndarray:
    """Return the Mackey-Glass series, a population that answers late, at every unit; (T,) float32.

    dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t), without units, by Runge and Kutta's
    method of fourth order with step 0.1; the first 300 time units are left out.  At tau = 17 it
    is weakly chaotic, between 0.2 and 1.4.  Floor: `noise`, for few steps ahead.

    Args:
        T: how many points, one time unit apart.
        seed: draws the constant history before the start, from 1.1 to 1.3, and the noise.
        tau: the delay in time units, a multiple of 0.1.
        noise: standard deviation of what is added to the finished series.

    Raises:
        UsageError: T below 1, a seed that is no whole number, a negative noise, a delay that is
            not a multiple of 0.1 up to 1000.

    Source: Mackey and Glass, Science 197 (1977).

    Example:
        >>> mackey_glass(1000).shape
        (1000,)
    """
    T, delay = positive_int("T", T), _delay_steps(tau)
    rng = _generator(seed)
    start = 1.2 + 0.1 * rng.uniform(-1, 1)
    steps = (_TRANSIENT_UNITS + T - 1) * _STEPS_PER_UNIT
    path = _delayed_path(start, delay, steps, 1 / _STEPS_PER_UNIT)
    return _observed(path[_TRANSIENT_UNITS * _STEPS_PER_UNIT :: _STEPS_PER_UNIT], noise, rng)


def logistic_map(T: int, seed: int = 0, r: float = 4.0) -> np.ndarray:
    """Return x -> r x (1 - x) from a random start, after 100 steps; (T,) float32.

    Without units, in 0 .. 1, counted in float64.  At r = 4 it is chaotic: a small error doubles at
    each step on average (Lyapunov exponent ln 2), so that float32 inputs, good to 6e-8, foretell
    some 20 steps.  Floor: 0 one step ahead; far ahead, the standard deviation of the series
    (sqrt(1/8) at r = 4).

    Args:
        T: how many points.
        seed: draws the start, between 0.1 and 0.9.
        r: the growth rate, above 0 and at most 4.

    Raises:
        UsageError: T below 1, a seed that is no whole number, or r outside its range.

    Source: May, Nature 261 (1976).

    Example:
        >>> x = logistic_map(5)
        >>> bool(np.allclose(x[1:], 4 * x[:-1] * (1 - x[:-1]), atol=1e-6))
        True
    """
    T, r = positive_int("T", T), positive_float("r", r)
    if r > 4:
        raise UsageError(f"r: must be at most 4, found {r:g}; choose less, the map leaves 0 .. 1")
    value = _generator(seed).uniform(0.1, 0.9)
    values = np.empty(_LOGISTIC_TRANSIENT + T)
    for step in range(len(values)):
        values[step] = value = r * value * (1 - value)
    return values[_LOGISTIC_TRANSIENT:].astype(np.float32)


def calendar_series(days: int, seed: int = 0, noise: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    """Return daily visitors and their dates: trend, week and year of `calendar_signal`, and noise.

    Floor: `noise`, in visitors a day.

    Args:
        days: how many, from Monday 2024-01-01 on.
        seed: draws the noise.
        noise: its standard deviation.

    Returns:
        values (N,) float32 and dates (N,) datetime64[D].

    Raises:
        UsageError: `days` below 1, a seed that is no whole number, a negative noise.

    Example:
        >>> values, dates = calendar_series(366)
        >>> dates[[0, -1]]
        array(['2024-01-01', '2024-12-31'], dtype='datetime64[D]')
    """
    signal = calendar_signal(days)
    return _observed(signal, noise, _generator(seed)), FIRST_DAY + np.arange(len(signal))


def calendar_signal(days: int) -> np.ndarray:
    """Return what `calendar_series` has without its noise; (N,) float64, in visitors a day.

    200 at the start, 0.1 more each day; -16 on Tuesdays to +26 on Saturdays; and two waves a
    year of 365.25 days: 30 once, 12 twice.

    Raises:
        UsageError: `days` below 1.

    Example:
        >>> calendar_signal(8).round(1).tolist()
        [161.7, 157.9, 160.2, 166.5, 180.8, 201.1, 193.4, 163.7]
    """
    day = np.arange(positive_int("days", days))
    angle = 2 * math.pi * day / _DAYS_A_YEAR
    year = -30 * np.cos(angle - 0.5) + 12 * np.sin(2 * angle)
    return 200 + 0.1 * day + _WEEK[day % 7] + year


def _delayed_path(start: float, delay: int, steps: int, step: float) -> np.ndarray:
    """Return x at 0, step, 2 step ...; (steps + 1,), for a delay of so many steps.

    The delayed value half-way through a step is the cubic through the values and slopes at its
    ends (Hermite), whose error is of fourth order like the method's own.
    """
    nodes, middles = [start] * (delay + 1), [start] * delay  # from -delay on
    for past in range(steps):
        before, between, after = map(_growth, (nodes[past], middles[past], nodes[past + 1]))
        now = nodes[-1]
        k1 = before - 0.1 * now
        k2 = between - 0.1 * (now + step / 2 * k1)
        k3 = between - 0.1 * (now + step / 2 * k2)
        k4 = after - 0.1 * (now + step * k3)
        following = now + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        nodes.append(following)
        middles.append((now + following) / 2 + step / 8 * (k1 - (after - 0.1 * following)))
    return np.array(nodes[delay:])


def _growth(delayed: float) -> float:
    return 0.2 * delayed / (1 + delayed**10)


def _delay_steps(tau: float) -> int:
    steps = positive_float("tau", tau) * _STEPS_PER_UNIT
    whole = min(round(steps), _LONGEST_DELAY * _STEPS_PER_UNIT)
    if abs(steps - whole) > 1e-6 or whole < 1:
        raise UsageError(
            f"tau: must be a multiple of 0.1, at most {_LONGEST_DELAY}, found {shown(tau)}; "
            "choose one such as 17"
        )
    return whole


def _observed(signal: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    if not isinstance(noise, Real) or not 0 <= noise < math.inf:
        raise UsageError(
            f"noise: must be a finite number, at least 0, found {shown(noise)}; choose one such "
            "as 0.2"
        )
    return (signal + noise * rng.standard_normal(len(signal))).astype(np.float32)


def _generator(seed: int, *stream: int) -> np.random.Generator:
    seed = non_negative_int("seed", seed, LARGEST_SEED)
    return np.random.default_rng([seed, *stream] if stream else seed)
