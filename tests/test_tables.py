"""A column of a CSV file: what is read, what is refused and in which words."""

import csv
import gzip
import io
import os
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.checks import shown_path
from kseq.data.tables import read_series
from kseq.errors import DataError, FileError, UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

FINITE = st.floats(-1e30, 1e30)
DAYS = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]


@pytest.fixture
def table(tmp_path):
    """Write a table, text or bytes, and return its path."""

    def written(content):
        path = tmp_path / "rain.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


def dated(*values):
    rows = zip(DAYS, values, strict=False)
    return "day,rain\n" + "".join(f"{day},{value}\n" for day, value in rows)


def test_a_table_worked_by_hand(table):
    found = read_series(
        table("day,rain,place\n2024-01-01,1.5,A\n2024-01-02,-2e3,B\n"), "rain", "day"
    )

    assert found.values.tolist() == [1.5, -2000]
    assert found.values.dtype == np.float64
    assert found.times.dtype == "datetime64[D]"
    assert found.times.astype(str).tolist() == DAYS[:2]
    assert (found.column, found.time, found.name) == ("rain", "day", "rain")
    assert found.rows.tolist() == [2, 3]


@given(st.lists(FINITE, min_size=2, max_size=30), st.sampled_from([",", ";", "\t", "|", " "]))
def test_any_numbers_come_back_the_same(tmp_path_factory, values, delimiter):
    path = tmp_path_factory.mktemp("tables") / "numbers.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter)
        writer.writerow(["step", 'a "quoted" name, of;all'])
        writer.writerows(enumerate(values))
    found = read_series(path, time="step", delimiter=delimiter)

    assert found.values.tolist() == values
    assert found.times.tolist() == list(range(len(values)))


@given(st.lists(FINITE, min_size=2, max_size=30))
def test_decimal_commas_come_back_the_same(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("tables") / "numbers.csv"
    path.write_text("\n".join(["rain", *map(repr, values)]).replace(".", ","))

    assert read_series(path, delimiter=";", decimal=",").values.tolist() == values


def test_numpy_reads_the_same(table):
    values = np.random.default_rng(0).normal(size=(2000, 3)) * 10.0 ** np.arange(-5, 4, 3)
    stream = io.StringIO()
    np.savetxt(stream, values, delimiter=",", header="a,b,c", comments="")
    path = table(stream.getvalue())
    wanted = np.genfromtxt(path, delimiter=",", names=True)

    for name in "abc":
        assert np.array_equal(read_series(path, name).values, wanted[name])


SAME = {
    "byte order mark": b"\xef\xbb\xbfday,rain\n1,5\n2,6\n",
    "CRLF": b"day,rain\r\n1,5\r\n2,6\r\n",
    "lone CR": b"day,rain\r1,5\r2,6\r",
    "no line end at the end": b"day,rain\n1,5\n2,6",
    "blank lines at the end": b"day,rain\n1,5\n2,6\n\n  \n\n",
    "spaces": b"day , rain\n 1 , 5 \n2, 6\n",
    "quotes": b'"day","rain"\n"1","5"\n"2","6"\n',
    "blank lines at the start": b"\n\nday,rain\n1,5\n2,6\n",
    "an unnamed column": b"day,rain,\n1,5,x\n2,6,y\n",
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
def test_ways_to_write_the_same_table(table, content):
    found = read_series(table(content), time="day")

    assert (found.column, found.values.tolist(), found.times.tolist()) == ("rain", [5, 6], [1, 2])


def test_rows_are_the_lines_an_editor_shows(table):
    content = '\nrain,note\n1,"two\nlines"\n2,x\n3,"three\n\nlines"\n4,\n'

    assert read_series(table(content)).rows.tolist() == [3, 5, 6, 9]
    with pytest.raises(DataError, match=r"row 9, column 'rain': must be a number, found 'four'"):
        read_series(table(content.replace("4", "four")))


def test_without_a_header_columns_are_numbered(table):
    assert read_series(table("1,5\n2,6\n"), "2", time="1").values.tolist() == [5, 6]
    found = read_series(table("2024-01-01,5\n2024-01-02,6\n"), time="1")
    assert (found.column, found.values.tolist(), found.rows.tolist()) == ("2", [5, 6], [1, 2])
    assert read_series(table("5\n6\n")).column == "1"
    commas = read_series(table("3,5\n4,5\n"), delimiter=";", decimal=",")
    assert commas.values.tolist() == [3.5, 4.5]


def test_standard_input_is_read(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"rain\n1\nx\n")))
    with pytest.raises(DataError, match=r"^standard input, row 3, column 'rain': must be a number"):
        read_series("-")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"rain\n1\n2\n")))
    assert read_series("-").name == "stdin"


def test_a_table_longer_than_a_block_is_whole(table):
    """Rows across the blocks of 1 MiB in which a file is read are not cut."""
    values = np.arange(250_000) / 7
    found = read_series(table("rain\n" + "\n".join(map(repr, values.tolist()))))

    assert np.array_equal(found.values, values)
    assert np.array_equal(found.rows, np.arange(2, 250_002))


def test_another_encoding_is_read_when_named(table):
    content = "größe\n1\n2\n".encode("latin-1")

    assert read_series(table(content), encoding="latin-1").column == "größe"


@pytest.mark.parametrize("cell", ["", " ", "NaN", "nan", "-nan", "NA", "n/a", "null", "None", "-"])
def test_a_missing_cell_is_refused_or_filled(table, cell):
    path = table(dated(1, cell, 4))
    message = r"row 3, column 'rain': must be a number, found .*; fill it with --fill previous"
    with pytest.raises(DataError, match=message):
        read_series(path, "rain")

    assert read_series(path, "rain", fill="previous").values.tolist() == [1, 1, 4]
    assert read_series(path, "rain", fill="linear").values.tolist() == [1, 2.5, 4]


def test_linear_fills_hold_the_nearest_value_at_the_ends(table):
    path = table(dated("", 1, 3, ""))

    assert read_series(path, "rain", fill="linear").values.tolist() == [1, 1, 3, 3]
    with pytest.raises(DataError, match=r"row 2, column 'rain': must start with a value .* linear"):
        read_series(path, "rain", fill="previous")
    with pytest.raises(DataError, match="must have a value to fill from, found only missing cells"):
        read_series(table(dated("", "")), "rain", fill="linear")


def test_fills_follow_the_order_of_time(table):
    path = table("day,rain\n3,9\n2,\n1,5\n")
    with pytest.warns(UserWarning, match="not in order"):
        assert read_series(path, time="day", fill="previous").values.tolist() == [5, 5, 9]


def test_a_blank_line_inside_one_column_is_a_missing_cell(table):
    assert read_series(table("rain\n1\n\n3\n\n"), fill="linear").values.tolist() == [1, 2, 3]
    with pytest.raises(DataError, match=r"row 3, column 'rain': .* found an empty cell"):
        read_series(table("rain\n1\n\n3\n"))


UNEVEN = "must have as many cells as the first row"
REFUSED = {
    "text": ("rain\n1\nwet\n", "row 3, column 'rain': must be a number, found 'wet'; correct it"),
    "infinite": ("rain\n1\ninf\n", "row 3, column 'rain': must be finite .* found 'inf'"),
    "overflow": ("rain\n1\n1e999\n", "row 3, column 'rain': must be finite .* found '1e999'"),
    "absurd": ("rain\n1\n-1.1e30\n", r"row 3, column 'rain': must be .* at most 1e\+30 in size"),
    "underscore": ("rain\n1\n1_0\n", "row 3, column 'rain': must be a number, found '1_0'"),
    "too short": (
        "a,rain\n1,2\n3\n",
        f"row 3: {UNEVEN}, 2, found 1",
    ),
    "too long": (
        "a,rain\n1,2\n1,2,3\n",
        f"row 3: {UNEVEN}, 2, found 3",
    ),
    "blank": (
        "a,rain\n1,2\n\n3,4\n",
        f"row 3: {UNEVEN}, 2, found 0",
    ),
    "one row": ("rain\n1\n", "must have at least 2 values, found 1; add rows"),
    "one number": ("1\n", "must have at least 2 values, found 1"),
    "header only": ("a,rain\n", "must have rows under its header, found none"),
    "empty": ("", "must be text, found an empty file"),
    "blank lines": ("\n\n", "must have a header and rows, found only blank lines"),
    "semicolons": ("a;rain\n1;2\n", r"between its cells, found ';' .* use --delimiter ';', with"),
    "decimals too": ("a;rain\n1;2,5\n", "use --delimiter ';', with --decimal , for decimal commas"),
    "tabs": ("a\train\n1\t2\n", r"between its cells, found '\\t' .* use --delimiter tab"),
    "decimal comma": ('rain\n"2,5"\n3\n', "found '2,5'; read decimal commas with --decimal ,"),
    "bare decimal commas": (
        "rain\n2,5\n",
        f"row 2: {UNEVEN}, 1, found 2; .* --decimal",
    ),
    "open quote": ('rain\n1\n"2\n3\n', "row 3: must be CSV, found unexpected end of data"),
    "long field": ("rain\n1\n" + "9" * 140_000, r"row 3: must be CSV, found field larger than"),
    "long line": ("rain\n1\n" + "9," * 2**24, "must have lines of at most 16,777,216 characters"),
    "nothing there": ("rain\nNA\nNA\n", "row 2, column 'rain': must be a number, found 'NA'; fill"),
    "no numbers": ("a,b\nx,y\n", "a single column of numbers, found 0 among 'a', 'b'; choose"),
    "two columns": ("a,b,c\n1,x,3\n", "a single column of numbers, found 2 among 'a', 'b', 'c'"),
    "gzip": (gzip.compress(b"rain\n1\n", mtime=0), "found what looks like a gzip file"),
    "PNG": (b"\x89PNG\r\n\x1a\n", "found what looks like a PNG image"),
    "latin-1": ("größe\n1\n2\n".encode("latin-1"), "found byte 0xf6 at offset 2; .* --encoding"),
    "UTF-16": ("rain\n1\n2\n".encode("utf-16"), "found what looks like UTF-16"),
    "NUL": ("rain\n1\n\0\n", "found a NUL character at offset 7"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_table_of_numbers_is_refused(table, content, message):
    path = table(content)
    with pytest.raises(DataError, match=message) as caught:
        read_series(path)
    text = str(caught.value)
    assert text.startswith(shown_path(path))
    assert "must" in text
    assert "found" in text
    assert "\n" not in text
    assert len(text) <= 300


def test_a_missing_column_is_told_with_those_there_are(table):
    path = table("time,rainfall,wind\n1,2,3\n2,3,4\n")
    there = "found 'time', 'rainfall', 'wind'"
    close = f"must have column 'rainfal' for --column, {there}; did you mean 'rainfall'"
    with pytest.raises(DataError, match=close):
        read_series(path, "rainfal")
    with pytest.raises(DataError, match=f"column 'xyz' for --time, {there}; name one with --time"):
        read_series(path, "wind", time="xyz")
    with pytest.raises(DataError, match="must have one column 'a', found 2; rename"):
        read_series(table("a,a\n1,2\n2,3\n"), "a")
    with pytest.raises(DataError, match="single column of numbers, found 0 among no column"):
        read_series(table("when\n1\n2\n"), time="when")


def test_a_message_stays_short_however_long_the_names(tmp_path):
    path = tmp_path / ("f" * 120) / ("g" * 120 + ".csv")
    path.parent.mkdir()
    names = [f"{'n' * 90}{number}" for number in range(50)]
    path.write_text(",".join(names) + "\n" + ",".join(["x" * 900] * 50) + "\n")
    for wanted in (None, "m" * 900, "n" * 90, names[0]):
        with pytest.raises(DataError, match=r"must .* found .*; ") as caught:
            read_series(path, wanted)
        assert len(str(caught.value)) <= 300


def test_semicolons_and_decimal_commas_are_read_when_named(table):
    path = table("day;rain\n2024-01-01;1,5\n2024-01-02;-2,5e1\n")

    found = read_series(path, time="day", delimiter=";", decimal=",")
    assert found.values.tolist() == [1.5, -25]
    assert read_series(table("a\train\nx\t1\nx\t2\n"), delimiter="tab").column == "rain"
    with pytest.raises(DataError, match=r"row 2, column 'rain': .* found '1.234,5'; correct it"):
        read_series(table("a;rain\nx;1.234,5\nx;1\n"), "rain", delimiter=";", decimal=",")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill": "next"}, "fill: must be 'previous' or 'linear', found 'next'"),
        ({"decimal": ";"}, "decimal: must be '.' or ',', found ';'"),
        ({"decimal": ","}, "delimiter: must be another character than the decimal mark"),
        ({"delimiter": ";;"}, "delimiter: must be one character, or 'tab', found ';;'"),
        ({"delimiter": ""}, "delimiter: must be one character"),
        ({"delimiter": "x"}, "delimiter: must be a character that no number"),
        ({"delimiter": "\n"}, "delimiter: must be a character that no number"),
        ({"encoding": "utf8000"}, "encoding: must be a text encoding"),
        ({"column": "rain", "time": "rain"}, "time: must be another column"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(table, options, message):
    with pytest.raises(UsageError, match=message):
        read_series(table("rain\n1\n2\n"), **options)


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(FileError, match=r"none.csv: must be an existing text file, found it miss"):
        read_series(tmp_path / "none.csv")
    with pytest.raises(DataError, match="must be text, found a folder"):
        read_series(tmp_path)
    (tmp_path / "locked.csv").write_text("rain\n1\n2\n")
    (tmp_path / "locked.csv").chmod(0)
    if os.geteuid():  # root reads everything
        with pytest.raises(FileError, match="must be a readable file"):
            read_series(tmp_path / "locked.csv")
