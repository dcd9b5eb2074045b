"""Learning rates that change with the step: values worked by hand, laws, and the round trip."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_cases import to_numpy

import kseq
from kseq.errors import UsageError
from kseq.nn.schedules import SCHEDULES, OneCycle


def rates(schedule, steps):
    return np.array([float(to_numpy(schedule(step))) for step in steps])


def test_one_cycle_worked_by_hand():
    """From 1/25 to 1 on half a cosine in 30 steps, then to 1/10,000 on another in 70."""
    found = rates(OneCycle(1.0, 100), [0, 15, 30, 65, 100, 1000])
    middle = (1 + 1e-4) / 2
    assert found == pytest.approx([0.04, 0.52, 1, middle, 1e-4, 1e-4], rel=1e-4)


def test_cosine_falls_to_zero():
    found = rates(kseq.schedule("cosine", 0.5, 60), [0, 20, 30, 40, 60, 70])
    assert found == pytest.approx([0.5, 0.375, 0.25, 0.125, 0, 0], abs=1e-7)


@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_constant_and_plateau_are_the_number(name):
    assert kseq.schedule(name, 1, total_steps=5) == 1.0
    assert type(kseq.schedule(name, 1, total_steps=5)) is float


@settings(max_examples=20)
@given(st.floats(1e-4, 10), st.integers(1, 300), st.floats(0, 0.99))
def test_one_cycle_rises_then_falls(peak, total, rise):
    found = rates(OneCycle(peak, total, rise), np.linspace(0, total, 25))
    top = int(found.argmax())
    slack = peak * 1e-6
    assert (np.diff(found[: top + 1]) >= -slack).all()
    assert (np.diff(found[top:]) <= slack).all()
    assert found.max() <= peak + slack
    assert found.min() >= peak / 1e4 - slack
    assert found[-1] == pytest.approx(peak / 1e4, rel=1e-2)


@pytest.mark.parametrize("rise", [0.0, 0.3, 0.9])
def test_one_cycle_reaches_the_peak_where_the_rise_ends(rise):
    assert rates(OneCycle(2.0, 50, rise), [round(50 * rise)]) == pytest.approx([2.0])


def test_the_optimizer_follows_the_schedule():
    weight = keras.Variable(np.zeros(1))
    optimizer = kseq.clipped_optimizer("sgd", kseq.schedule("one_cycle", 0.5, 10))
    expected = 0.0
    for step in range(12):
        optimizer.apply([keras.ops.ones(1)], [weight])
        expected -= rates(OneCycle(0.5, 10), [step])[0]
        assert to_numpy(weight)[0] == pytest.approx(expected, rel=1e-5)


def test_configuration_makes_the_round_trip():
    schedule = OneCycle(0.25, 10, 0.4)
    config = keras.optimizers.schedules.serialize(schedule)
    copy = keras.optimizers.schedules.deserialize(config)
    assert type(copy) is OneCycle
    assert copy.get_config() == {"peak": 0.25, "total_steps": 10, "rise": 0.4}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"name": "onecycle"},
            r"schedule: must be .* found 'onecycle'; did you mean 'one_cycle'\?",
        ),
        ({"name": None}, "schedule: must be .* found None; choose one of them"),
        ({"learning_rate": 0}, "learning_rate: must be a finite number above 0, found 0; choose"),
        ({"learning_rate": math.nan}, "learning_rate: must be a finite number above 0, found nan"),
        ({"total_steps": 0}, "total_steps: must be a whole number, at least 1, found 0; choose"),
        ({"total_steps": 2.5}, "total_steps: must be a whole number, at least 1, found 2.5"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", SCHEDULES)
def test_what_makes_no_sense_is_refused(name, wrong, message):
    with pytest.raises(UsageError, match=message):
        kseq.schedule(**{"name": name, "learning_rate": 0.1, "total_steps": 10, **wrong})


@pytest.mark.parametrize("rise", [-0.1, 1.0, math.nan])
def test_a_rise_outside_the_unit_interval_is_refused(rise):
    with pytest.raises(UsageError, match="rise: must be a number at least 0 and below 1, found"):
        OneCycle(0.1, 10, rise)
