"""Series as arrays: pairs worked by hand, d2l's own loop, parts and scaling by their laws."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.data.series import Parts, Scaling, as_series, sequence_windows, split_by_time, windows
from kseq.errors import DataError, UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

VALUES = st.floats(-1e6, 1e6, width=32)
SERIES = st.lists(VALUES, min_size=2, max_size=40).map(lambda values: np.array(values, "float32"))


WIDTHS = {"float32": 4, ">f4": 4, "float64": 8, "float16": 8, "int64": 8, "uint8": 8}


@pytest.mark.parametrize(("given_dtype", "width"), WIDTHS.items())
def test_float32_stays_and_everything_else_becomes_float64(given_dtype, width):
    found = as_series(np.array([1, 2, 3], given_dtype))

    assert found.dtype == f"=f{width}"
    assert found.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, 2.0]], r"history: must be at least one number, .* found shape \(1, 2\)"),
        (3.0, r"history: must be at least one number, .* found shape \(\)"),
        ([], r"history: must be at least one number, .* found shape \(0,\)"),
        (["1", "2"], r"history: must be real numbers, found \['1', '2'\]"),
        ([1.0, None], r"history: must be real numbers, found \[1.0, None\]"),
        ([[1.0], [1.0, 2.0]], "history: must be real numbers"),
        ([1j], "history: must be real numbers"),
        ([True, False], "history: must be real numbers"),
        ([1.0, 2.0, math.nan], "history: must be finite .* found nan at index 2"),
        ([1.0, -math.inf, math.nan], "history: must be finite .* found -inf at index 1"),
        ([0, 1.1e30], r"history: must be .* at most 1e\+30 in size, found 1.1e\+30 at index 1"),
        ([-(10**31)], "history: must be"),
    ],
    ids=str,
)
def test_what_is_no_series_is_refused(values, message):
    with pytest.raises(DataError, match=message) as caught:
        as_series(values, "history")
    assert len(str(caught.value)) <= 300


def test_a_usable_series_comes_back_as_it_is():
    series = np.array([1e30, -1e30])
    assert as_series(series) is series


def test_windows_by_hand():
    x, y = windows([1, 2, 3, 4, 5, 6], window=3)

    assert x.tolist() == [[1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert y.tolist() == [[4], [5], [6]]
    x, y = windows([1, 2, 3, 4, 5, 6], window=3, outputs=2)
    assert x.tolist() == [[1, 2, 3], [2, 3, 4]]
    assert y.tolist() == [[4, 5], [5, 6]]


def test_padded_windows_by_hand():
    x, y = windows([1, 2, 3, 4], window=2, outputs=2, padded=True)

    assert x.tolist() == [[0, 0], [0, 1], [1, 2]]
    assert y.tolist() == [[1, 2], [2, 3], [3, 4]]


def test_the_windows_of_d2l():
    """T = 1000 and tau = 4, filled column by column as in section 8.1."""
    series = np.sin(0.01 * np.arange(1, 1001)).astype("float32")
    features = np.zeros((1000 - 4, 4), "float32")
    for i in range(4):
        features[:, i] = series[i : 1000 - 4 + i]
    x, y = windows(series, window=4)

    assert (x.shape, y.shape) == ((996, 4), (996, 1))
    assert np.array_equal(x, features)
    assert np.array_equal(y, series[4:].reshape(-1, 1))


@given(SERIES, st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_each_row_is_a_stretch_of_the_series(series, window, outputs, padded):
    front = window if padded else 0
    pairs = len(series) + front - window - outputs + 1
    if pairs < 1:
        with pytest.raises(DataError, match="window longer than the series"):
            windows(series, window, outputs, padded)
        return
    x, y = windows(series, window, outputs, padded)
    longer = [0.0] * front + series.tolist()

    assert (x.shape, y.shape) == ((pairs, window), (pairs, outputs))
    assert x.dtype == y.dtype == series.dtype
    for i in range(pairs):
        assert x[i].tolist() + y[i].tolist() == longer[i : i + window + outputs]


def test_windows_can_be_written_to_without_touching_the_series():
    series = np.arange(6.0)
    for made in (*windows(series, 2), *sequence_windows(series, 2)):
        assert made.flags.owndata
        assert made.flags.c_contiguous
        made[:] = -1
    assert series.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("window", [0, -1, 1.5, 10**12, True])
def test_windows_of_no_size_are_refused(window):
    with pytest.raises(UsageError, match="window: must be a whole number"):
        windows([1.0, 2.0], window)
    with pytest.raises(UsageError, match="outputs: must be a whole number"):
        windows([1.0, 2.0], 1, window)
    with pytest.raises(UsageError, match="num_steps: must be a whole number"):
        sequence_windows([1.0, 2.0], window)


def test_a_window_longer_than_the_series_names_both_numbers():
    message = "at least 2,064 points, a window of 2,000 and 64 after it, found 1,000: window longer"
    with pytest.raises(DataError, match=message) as caught:
        windows(np.zeros(1000), 2000, 64)
    assert len(str(caught.value)) <= 300


def test_sequence_windows_by_hand():
    x, y = sequence_windows([1, 2, 3, 4, 5], num_steps=3)

    assert (x.shape, y.shape) == ((2, 3, 1), (2, 3, 1))
    assert x[..., 0].tolist() == [[1, 2, 3], [2, 3, 4]]
    assert y[..., 0].tolist() == [[2, 3, 4], [3, 4, 5]]


def test_sine_lesson_has_890_pairs():
    x, y = sequence_windows(np.sin(np.arange(1, 10, 0.01)), num_steps=10)

    assert (x.shape, y.shape) == ((890, 10, 1), (890, 10, 1))


@given(SERIES, st.integers(1, 8))
def test_targets_are_the_inputs_one_step_later(series, num_steps):
    if len(series) <= num_steps:
        with pytest.raises(DataError, match=f"window of {num_steps} and 1 after it, found"):
            sequence_windows(series, num_steps)
        return
    x, y = sequence_windows(series, num_steps)
    singles, following = windows(series, num_steps)

    assert x.dtype == y.dtype == series.dtype
    assert np.array_equal(x[..., 0], singles)
    assert np.array_equal(y[:, :-1], x[:, 1:])
    assert np.array_equal(y[:, -1], following)


def test_d2l_trains_on_600_of_1000():
    parts = split_by_time(np.arange(1000.0))

    assert [len(part) for part in parts] == [600, 0, 400]
    assert isinstance(parts, Parts)
    assert (parts.train[-1], parts.test[0]) == (599, 600)


@pytest.mark.parametrize(
    ("train", "valid", "sizes"),
    [
        (0.6, 0.2, (60, 20, 20)),
        (0.29, 0.57, (29, 57, 14)),
        (7, 3, (7, 3, 90)),
        (0.5, 1, (50, 1, 49)),
        (np.int64(5), 0.0, (5, 0, 95)),
        (1, 98, (1, 98, 1)),
    ],
)
def test_shares_and_numbers_of_points(train, valid, sizes):
    assert tuple(len(part) for part in split_by_time(np.arange(100), train, valid)) == sizes


@given(SERIES, st.one_of(st.integers(1, 40), st.floats(0.01, 0.99)), st.floats(0, 0.99))
def test_the_parts_are_the_series_again(series, train, valid):
    try:
        parts = split_by_time(series, train, valid)
    except DataError as error:
        assert "part: must have at least 1" in str(error)  # noqa: PT017
        return
    assert np.concatenate(parts).tolist() == series.tolist()
    assert parts.train.dtype == series.dtype
    assert len(parts.train) > 0
    assert len(parts.test) > 0
    if isinstance(train, float):
        assert len(parts.train) == pytest.approx(train * len(series), abs=1)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": 0.05}, "train part: must have at least 1 of the series's 10 points, found 0"),
        ({"train": 0}, "train part: must have at least 1"),
        ({"train": 10}, "test part: must have at least 1 .* found 0; lower train or valid"),
        ({"train": 11}, "test part: must have at least 1 .* found 0"),
        ({"train": 0.6, "valid": 4}, "test part: must have at least 1"),
        ({"train": 0.6, "valid": 0.05}, "valid part: must have at least 1 .* found 0"),
    ],
    ids=str,
)
def test_an_empty_part_is_named(sizes, message):
    with pytest.raises(DataError, match=message):
        split_by_time(np.arange(10.0), **sizes)


@pytest.mark.parametrize("size", [1.0, -0.1, math.nan, -1, "half", None, True])
def test_parts_of_no_size_are_refused(size):
    with pytest.raises(UsageError, match="train: must be"):
        split_by_time(np.arange(10.0), train=size)
    with pytest.raises(UsageError, match="valid: must be"):
        split_by_time(np.arange(10.0), valid=size)


def test_scaling_by_hand():
    scaling = Scaling.of(np.array([2, 4, 4, 4, 5, 5, 7, 9]))

    assert scaling == Scaling(mean=5.0, scale=2.0)
    assert scaling.apply([[5, 9], [1, 6]]).tolist() == [[0, 2], [-2, 0.5]]
    assert scaling.invert([[0, 2], [-2, 0.5]]).tolist() == [[5, 9], [1, 6]]


def test_the_identity_changes_nothing():
    values = np.array([1.5, -2.0])
    assert Scaling().apply(values).tolist() == values.tolist() == Scaling().invert(values).tolist()


@given(SERIES)
def test_scaled_values_have_mean_0_and_deviation_1_and_come_back(series):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scaling = Scaling.of(series)
    except (UserWarning, DataError):
        spread = np.std(series.astype("float64"))
        assert np.ptp(series) == 0 or spread < 1e-5 * abs(series.mean(dtype="float64")) + 1e-100
        return
    scaled = scaling.apply(series)
    assert scaled.dtype == np.float64
    assert scaled.mean() == pytest.approx(0, abs=1e-9)
    assert scaled.std() == pytest.approx(1)
    assert scaling.invert(scaled) == pytest.approx(series, rel=1e-12, abs=1e-9 * scaling.scale)


@given(VALUES, st.floats(0.01, 1e6))
def test_the_dictionary_makes_the_round_trip(mean, scale):
    scaling = Scaling(mean, scale)

    assert Scaling(**json.loads(json.dumps(scaling.to_dict()))) == scaling
    assert json.dumps(Scaling(np.float32(0.5), np.int64(2)).to_dict()) == (
        '{"mean": 0.5, "scale": 2.0}'
    )


def test_a_float32_mean_is_taken_in_float64():
    """A float32 sum of 0.1 over 100,000 values is off in the sixth digit; float64 is not."""
    series = np.tile(np.array([0.1, 0.3], "float32"), 50_000)
    exact = (float(series[0]) + float(series[1])) / 2

    assert Scaling.of(series).mean == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("value", [0.0, 7.25, -1e30, 1e9])
def test_a_constant_series_warns_once_and_does_not_divide_by_zero(value):
    with pytest.warns(UserWarning, match="scaled by 1, not by 0") as caught:
        scaling = Scaling.of(np.full(7, value))

    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert scaling == Scaling(value, 1.0)
    assert scaling.apply([value, value]).tolist() == [0, 0]


def test_a_spread_that_underflows_counts_as_constant():
    with pytest.warns(UserWarning, match="scaled by 1"):
        assert Scaling.of([0.0, 1e-200]).scale == 1


def test_a_spread_float32_cannot_tell_apart_is_refused():
    with pytest.raises(DataError, match=r"deviation of at least 1e-05 .* found 0.5 around"):
        Scaling.of([1e6, 1e6 + 1])
    assert Scaling.of([1e4, 1e4 + 1]) == Scaling(10_000.5, 0.5)


NO_SCALINGS = [("scale", 0), ("scale", math.nan), ("mean", math.inf), ("mean", "0")]


@pytest.mark.parametrize("wrong", NO_SCALINGS)
def test_a_scaling_that_cannot_be_undone_is_refused(wrong):
    with pytest.raises(UsageError, match=f"{wrong[0]}: must be a finite number"):
        Scaling(**dict([wrong]))
