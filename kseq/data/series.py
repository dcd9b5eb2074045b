"""Series as arrays: windows, pairs one step apart, parts by time, scaling.

The points 1 2 3 4 5 6, a window of 3 and 1 output:

    windows              1 2 3 -> 4    2 3 4 -> 5    3 4 5 -> 6
    windows, padded      0 0 0 -> 1    0 0 1 -> 2    ...   3 4 5 -> 6
    sequence_windows     1 2 3 -> 2 3 4    2 3 4 -> 3 4 5    3 4 5 -> 4 5 6

Sources: Dive into Deep Learning 8.1 for the windows; time always runs from the first index to the
last, and nothing here shuffles.  Where series come from is in `processes` and `tables`.
"""

import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kseq.checks import (
    finite_float,
    non_negative_int,
    positive_float,
    positive_int,
    shown,
    unit_interval,
)
from kseq.errors import DataError

LARGEST_VALUE = 1e30
_SMALLEST_SPREAD = 1e-100  # below it, squares of differences underflow in float64
_SMALLEST_RELATIVE_SPREAD = 1e-5
_ROUNDING = 1e-6  # of float32, in which series may come


def as_series(values: Any, name: str = "series") -> np.ndarray:
    """Return `values` as a series (N,): float32 if they came as float32, else float64.

    An array that is one already comes back as it is, without a copy.

    Raises:
        DataError: not one-dimensional, not real numbers, empty, or a value that is NaN, infinite
            or beyond 1e30 in size; the message begins with `name` and gives the index.

    Example:
        >>> as_series([1, 2, 3])
        array([1., 2., 3.])
        >>> as_series([1.0, float("nan")], "history")
        Traceback (most recent call last):
        ...
        kseq.errors.DataError: history: must be finite and at most 1e+30 in size, found nan at \
index 1; fill or remove it
    """
    array = _real_array(values, name)
    if array.ndim != 1 or not array.size:
        raise DataError(
            f"{name}: must be at least one number, in one dimension, found shape {array.shape}; "
            "pass an array (N,)"
        )
    series = array.astype(_float_type(array.dtype), copy=False)
    _refuse_unusable(series, name)
    return series


def windows(
    series: Any, window: int, outputs: int = 1, padded: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return every window of a series and the points that follow it, in the order of time.

    Args:
        series: (N,).
        window: how many points a pair reads.
        outputs: how many points follow.
        padded: put `window` zeros in front, so that the first points are targets too.

    Returns:
        (M, window) and (M, outputs), copies in the series's dtype, with M = N - window - outputs
        + 1, or N - outputs + 1 when padded.  Row i reads `series[i : i + window]`.

    Raises:
        UsageError: a size that is not a positive whole number.
        DataError: no series (see `as_series`), or one too short for a single pair.

    Source: Dive into Deep Learning 8.1.

    Example:
        >>> x, y = windows([1, 2, 3, 4, 5], window=2)
        >>> x.tolist(), y.tolist()
        ([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]], [[3.0], [4.0], [5.0]])
    """
    window, outputs = positive_int("window", window), positive_int("outputs", outputs)
    series = as_series(series)
    _require_points(len(series), 0 if padded else window, outputs)
    if padded:
        series = np.concatenate([np.zeros(window, series.dtype), series])
    rows = np.lib.stride_tricks.sliding_window_view(series, window + outputs)
    return rows[:, :window].copy(), rows[:, window:].copy()


def sequence_windows(series: Any, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every sequence of `num_steps` points and the same sequence one step later.

    For models that give an output at every step: pair i reads `series[i : i + num_steps]` and its
    targets are `series[i + 1 : i + 1 + num_steps]`.

    Returns:
        (N - T, T, 1) twice, copies in the series's dtype, in the order of time.

    Raises:
        UsageError: `num_steps` is not a positive whole number.
        DataError: no series (see `as_series`), or fewer than T + 1 points.

    Example:
        >>> x, y = sequence_windows([1, 2, 3, 4], num_steps=2)
        >>> x[..., 0].tolist(), y[..., 0].tolist()
        ([[1.0, 2.0], [2.0, 3.0]], [[2.0, 3.0], [3.0, 4.0]])
    """
    num_steps = positive_int("num_steps", num_steps)
    series = as_series(series)
    _require_points(len(series), num_steps, 1)
    rows = np.lib.stride_tricks.sliding_window_view(series, num_steps + 1)
    return rows[:, :-1, np.newaxis].copy(), rows[:, 1:, np.newaxis].copy()


class Parts(NamedTuple):
    """Three stretches of one series that follow each other: (N1,), (N2,) and (N3,)."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def split_by_time(series: Any, train: float = 0.6, valid: float = 0) -> Parts:
    """Return the first points to train on, the next to validate on, and the rest to test on.

    Args:
        series: (N,).
        train: a share of the points (a float below 1), or how many (an int).
        valid: the same for the second part; with 0 it is empty.

    Returns:
        Views of the series, in the order of time; a share is rounded down.

    Raises:
        UsageError: a float outside 0 <= share < 1, or a negative number of points.
        DataError: no series (see `as_series`), or one of the parts asked for would be empty.

    Example:
        >>> parts = split_by_time([1, 2, 3, 4, 5], train=0.6, valid=1)
        >>> [part.tolist() for part in parts]
        [[1.0, 2.0, 3.0], [4.0], [5.0]]
    """
    sizes = {"train": train, "valid": valid}
    checked = {name: _checked_size(name, size) for name, size in sizes.items()}
    series = as_series(series)
    first, second = (_points(size, len(series)) for size in checked.values())
    _require_part("train", first, len(series), "raise train")
    if checked["valid"]:
        _require_part("valid", second, len(series), "raise valid, or leave it out")
    _require_part("test", len(series) - first - second, len(series), "lower train or valid")
    return Parts(series[:first], series[first : first + second], series[first + second :])


@dataclass(frozen=True)
class Scaling:
    """What is subtracted from a series and what it is divided by; `Scaling()` changes nothing.

    Args:
        mean: any finite number.
        scale: any finite number above 0.

    Raises:
        UsageError: anything else.

    Example:
        >>> scaling = Scaling.of([1.0, 3.0])
        >>> scaling
        Scaling(mean=2.0, scale=1.0)
        >>> scaling.apply([1.0, 5.0]), scaling.invert([-1.0, 3.0])
        (array([-1.,  3.]), array([1., 5.]))
    """

    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        positive_float("scale", self.scale)
        finite_float("mean", self.mean)

    @classmethod
    def of(cls, train: Any) -> "Scaling":
        """Return the mean and standard deviation of `train` (N,), taken in float64.

        A series whose values are all equal gets the scale 1, with a warning.

        Raises:
            DataError: no series (see `as_series`), or values that differ by less than 1e-5 of
                their mean: float32, in which models count, could hardly tell them apart.
        """
        series = as_series(train).astype(np.float64)
        mean, spread = float(series.mean()), float(series.std())
        if series.min() == series.max() or spread < _SMALLEST_SPREAD:
            text = f"series: all {len(series)} values are {series[0]:g}; scaled by 1, not by 0"
            warnings.warn(text, stacklevel=2)
            return cls(float(series[0]), 1.0)
        if spread < _SMALLEST_RELATIVE_SPREAD * abs(mean):
            raise DataError(
                f"series: must have a standard deviation of at least 1e-05 of its mean, found "
                f"{spread:.3g} around {mean:.9g}; subtract a constant such as {mean:.3g} first"
            )
        return cls(mean, spread)

    def apply(self, values: Any) -> np.ndarray:
        """Return (values - mean) / scale in float64, for values of any shape."""
        return (np.asarray(values, np.float64) - self.mean) / self.scale

    def invert(self, values: Any) -> np.ndarray:
        """Return values * scale + mean in float64: what `apply` was given."""
        return np.asarray(values, np.float64) * self.scale + self.mean

    def to_dict(self) -> dict[str, float]:
        """Return the two numbers by name; `Scaling(**scaling.to_dict())` is `scaling`."""
        return {"mean": float(self.mean), "scale": float(self.scale)}


def scaling_in_windows(x: np.ndarray, y: np.ndarray, otherwise: float) -> Scaling:
    """Return as scale the deviation of what follows windows from each window's mean.

    Args:
        x: (M, W).
        y: (M, outputs).
        otherwise: the scale where there is no deviation beyond rounding, as on a straight line.

    Example:
        >>> scaling_in_windows(np.array([[0.0, 0.0], [4.0, 6.0]]), np.array([[1.0], [2.0]]), 1.0)
        Scaling(mean=0.0, scale=2.0)
    """
    means = x.reshape(len(x), -1).mean(1, keepdims=True, dtype="float64")
    spread = float(np.std(y.reshape(len(y), -1) - means))
    return Scaling(0.0, spread if spread > _ROUNDING * np.abs(x).max() else otherwise)


def _real_array(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        raise DataError(
            f"{name}: must be real numbers, found {shown(values)} ({array.dtype}); "
            "pass an array (N,) of integers or floats"
        )
    return array


def _float_type(dtype: np.dtype) -> type:
    return np.float32 if dtype.kind == "f" and dtype.itemsize == 4 else np.float64


def _refuse_unusable(series: np.ndarray, name: str) -> None:
    usable = np.abs(series) <= LARGEST_VALUE  # false for NaN
    if not usable.all():
        index = int(usable.argmin())
        raise DataError(
            f"{name}: must be finite and at most {LARGEST_VALUE:g} in size, found "
            f"{series[index]:g} at index {index}; fill or remove it"
        )


def _require_points(points: int, window: int, outputs: int) -> None:
    if points < window + outputs:
        raise DataError(
            f"series: must have at least {window + outputs:,} points, a window of {window:,} and "
            f"{outputs:,} after it, found {points:,}: window longer than the series; "
            "use a smaller window, fewer outputs or a longer series"
        )


def _checked_size(name: str, size: Any) -> int | float:
    if isinstance(size, float):
        return unit_interval(name, size)
    return non_negative_int(name, size)


def _points(size: int | float, points: int) -> int:
    # The tolerance makes 0.29 of 100 points 29, where the product in floats is 28.999...
    return int(size * points + 1e-6) if isinstance(size, float) else size


def _require_part(part: str, points: int, of: int, remedy: str) -> None:
    if points < 1:
        raise DataError(
            f"{part} part: must have at least 1 of the series's {of:,} points, found "
            f"{max(points, 0)}; {remedy}"
        )
