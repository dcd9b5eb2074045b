import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.checks import (
    fraction,
    nearest,
    non_negative_int,
    one_of,
    positive_float,
    positive_int,
    shown,
    shown_path,
    unit_interval,
)
from kseq.errors import UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

NOT_WHOLE = [True, np.True_, 1.0, np.float32(2), "3", None, [1], float("nan")]


@pytest.mark.parametrize(
    "value", [*NOT_WHOLE, 0, -1, 10**12, 2**31, pytest.param(10**5000, id="huge")]
)
def test_positive_int_refuses(value):
    with pytest.raises(UsageError, match=r"^units: must be a whole number, at (least|most) .*; "):
        positive_int("units", value)


@pytest.mark.parametrize("value", [1, 2**31 - 1, np.int64(7), np.uint8(7)])
def test_positive_int_returns_plain_ints(value):
    assert type(positive_int("units", value)) is int
    assert positive_int("units", value) == value


def test_bounds_of_whole_numbers():
    assert non_negative_int("epochs", 0) == 0
    assert positive_int("layers", 9, most=9) == 9
    with pytest.raises(UsageError, match=r"at most 9, found 10"):
        positive_int("layers", 10, most=9)
    with pytest.raises(UsageError, match=r"at least 0, found -1; choose 0 or more"):
        non_negative_int("epochs", -1)


@pytest.mark.parametrize(
    "value",
    [-0.1, 1.0, 2, float("nan"), float("inf"), "0.5", True, pytest.param(10**400, id="huge")],
)
def test_unit_interval_refuses(value):
    with pytest.raises(UsageError, match=r"^dropout: must be a number at least 0 and below 1"):
        unit_interval("dropout", value)


def test_unit_interval_can_be_closed():
    assert unit_interval("top_p", 1, open_right=False) == 1.0
    assert unit_interval("dropout", np.float64(0)) == 0.0
    with pytest.raises(UsageError, match=r"at most 1, found 1.5"):
        unit_interval("top_p", 1.5, open_right=False)


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, -1, float("nan"), None])
def test_fraction_excludes_both_ends(value):
    with pytest.raises(UsageError, match=r"above 0 and below 1"):
        fraction("valid", value)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "1", False, 1j])
def test_positive_float_refuses(value):
    with pytest.raises(UsageError, match=r"^learning_rate: must be a finite number above 0"):
        positive_float("learning_rate", value)


def test_positive_float_returns_plain_floats():
    assert type(positive_float("learning_rate", np.float32(0.5))) is float


@pytest.mark.parametrize(
    ("value", "ending"),
    [("ltsm", "did you mean 'lstm'?"), ("xyz", "choose one of them"), (3, "choose one of them")],
)
def test_one_of_lists_the_choices_and_the_nearest(value, ending):
    with pytest.raises(UsageError) as raised:
        one_of("cell", value, ("simple_rnn", "gru", "lstm"))
    assert str(raised.value).startswith("cell: must be 'simple_rnn', 'gru' or 'lstm', found ")
    assert str(raised.value).endswith(ending)


def test_nearest_ignores_case():
    assert nearest("Time Machine", ["story", "time_machine"]) == "time_machine"


@given(st.one_of(st.text(), st.lists(st.text()), st.integers()), st.integers(20, 80))
def test_shown_is_one_short_line(value, width):
    line = shown(value, width)
    assert len(line) <= width
    assert len(line.splitlines()) <= 1


def test_shown_path_keeps_both_ends():
    assert shown_path("a\nb") == "a?b"
    long = shown_path("/home/" + "x" * 300 + "/book.txt")
    assert len(long) == 100
    assert long.startswith("/home/")
    assert long.endswith("/book.txt")
