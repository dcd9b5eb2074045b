"""Times of a series: how they are read, sorted, and looked over for repeats and gaps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.data.tables import read_series
from kseq.data.times import first_gap, first_repeat
from kseq.errors import DataError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")


def times_of(folder, *cells):
    path = folder / "rain.csv"
    rows = "".join(f"{cell},{value}\n" for value, cell in enumerate(cells))
    path.write_text("when,rain\n" + rows)
    return read_series(path, time="when")


def test_times_of_day(tmp_path):
    found = times_of(tmp_path, "2024-01-01 22:00", "2024-01-01T23:00:00.5", "2024-01-02")
    wanted = ["2024-01-01T22:00", "2024-01-01T23:00:00.5", "2024-01-02"]

    assert found.times.dtype == "datetime64[us]"
    assert np.array_equal(found.times, np.array(wanted, "datetime64[us]"))


def test_time_zones_are_told_in_utc(tmp_path):
    cells = ["2024-01-01T12:00Z", "2024-01-01T14:00+01:00", "2024-01-01T09:00-05:00"]
    wanted = ["2024-01-01T12:00", "2024-01-01T13:00", "2024-01-01T14:00"]

    assert np.array_equal(times_of(tmp_path, *cells).times, np.array(wanted, "datetime64[us]"))


def test_months_and_years_are_even(tmp_path):
    months = [f"{year}-{month:02}" for year in (2023, 2024) for month in range(1, 13)]
    found = times_of(tmp_path, *months)

    assert found.times.dtype == "datetime64[D]"
    assert found.times.astype("datetime64[M]").astype(str).tolist() == months
    assert times_of(tmp_path, 2019, 2020, 2021).times.tolist() == [2019, 2020, 2021]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["today", "2024"],
            "row 2, column 'when': must be a number or an ISO .* 'today'",
        ),
        (["", "2024"], "row 2, column 'when': must be a number or an ISO 8601 date"),
        (["nan", "1"], "row 2, column 'when': must be a finite number"),
        (["1", "1e31"], r"row 3, column 'when': must be a finite number, at most 1e\+30 in size"),
        (["1", "2024-01-01"], "row 3, column 'when': must be a finite number.* '2024-01-01'"),
        (["2024-01-01", "7"], "row 3, column 'when': must be an ISO 8601 date without a time zone"),
        (["2024-02-29", "2023-02-29"], "row 3, column 'when': must be .* found '2023-02-29'"),
        (["2024-01-01", "2024-01-02T00:00Z"], "row 3, .* date without a time zone, as above"),
        (["2024-01-01T00Z", "2024-01-02"], "row 3, .* date with a time zone, as above"),
        (["3", "4", "1", "4"], "must have each time once, found 4.0 in rows 3 and 5; keep one"),
        (["2024-01-01", "2024-01-01T00:00"], "each time once, found 2024-01-01 in rows 2 and 3"),
    ],
    ids=str,
)
def test_times_that_cannot_be_used_are_refused(tmp_path, cells, message):
    with pytest.raises(DataError, match=message):
        times_of(tmp_path, *cells)


@given(order=st.permutations(range(6)))
def test_rows_are_sorted_by_time_with_one_warning(tmp_path_factory, order):
    path = tmp_path_factory.mktemp("tables") / "rain.csv"
    path.write_text("when,rain\n" + "".join(f"{time},{time}.5\n" for time in order))
    if list(order) == sorted(order):
        found = read_series(path, time="when")
    else:
        with pytest.warns(UserWarning, match="times are not in order; its rows are sorted") as told:
            found = read_series(path, time="when")
        assert [warning.filename for warning in told] == [__file__]

    assert found.times.tolist() == list(range(6))
    assert found.values.tolist() == [time + 0.5 for time in range(6)]
    assert found.rows.tolist() == [2 + order.index(time) for time in range(6)]


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        ([1, 2, 3, 5, 6, 9], 5),
        (["2024-01-30", "2024-01-31", "2024-02-01", "2024-02-03"], 5),
        ([0, 10, 20, 35.1], 5),
    ],
)
def test_a_gap_is_warned_of(tmp_path, cells, row):
    with pytest.warns(UserWarning, match=f"gap in time before row {row}; .* evenly spaced") as told:
        found = times_of(tmp_path, *cells)

    assert [warning.filename for warning in told] == [__file__]
    assert found.values.tolist() == list(range(len(cells)))


def test_a_step_of_one_and_a_half_is_no_gap(tmp_path):
    assert times_of(tmp_path, 0, 10, 20, 35).times.tolist() == [0, 10, 20, 35]


@given(st.lists(st.integers(0, 30), min_size=2, max_size=12).map(sorted))
def test_repeats_and_gaps_are_the_first_ones_counted_one_by_one(times):
    steps = np.diff(times).tolist()
    repeats = [index for index, step in enumerate(steps) if step == 0]
    gaps = [index for index, step in enumerate(steps) if step > 1.5 * np.median(steps)]

    assert first_repeat(np.array(times)) == (repeats[0] if repeats else None)
    assert first_gap(np.array(times)) == (gaps[0] if gaps else None)
    assert first_gap(np.array(times, "datetime64[D]")) == first_gap(np.array(times))
