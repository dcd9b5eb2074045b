"""Scores: worked by hand, laws, intervals that cover what they promise, and refusals."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from kseq.data.scores import (
    conformal_margins,
    coverage,
    interval_score,
    mae,
    mase,
    pinball,
    rmse,
    score,
    skill,
)
from kseq.errors import DataError, UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

TRUTH = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
FORECAST = np.array([[1.0, 4.0, 0.0], [2.0, 5.0, 10.0]])  # off by 0, 2, 3 and 2, 0, 4
TRAIN = [0.0, 2.0, 1.0, 5.0]  # steps of 2, 1, 4; over two points 1 and 3

numbers = st.integers(-(10**6), 10**6).map(lambda whole: whole / 1000)
pairs = array_shapes(min_dims=1, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(*[arrays(float, shape, elements=numbers)] * 2)
)


def test_mean_absolute_errors_by_hand():
    assert mae(TRUTH, FORECAST) == pytest.approx(11 / 6)
    assert mae(TRUTH, FORECAST, axis=0).tolist() == [1, 1, 3.5]
    assert mae(TRUTH[0], FORECAST[0]) == pytest.approx(5 / 3)


def test_root_mean_squared_errors_by_hand():
    assert rmse(TRUTH, FORECAST) == pytest.approx(math.sqrt(33 / 6))
    assert rmse(TRUTH, FORECAST, axis=0) == pytest.approx(np.sqrt([2, 2, 12.5]))


def test_scaled_errors_by_hand():
    assert mase(TRUTH, FORECAST, TRAIN) == pytest.approx(11 / 6 / (7 / 3))
    assert mase(TRUTH, FORECAST, TRAIN, season=2) == pytest.approx(11 / 6 / 2)
    assert mase(TRUTH, FORECAST, TRAIN, season=3, axis=0) == pytest.approx([0.2, 0.2, 0.7])


def test_persistence_over_the_training_part_scores_one():
    train = np.random.default_rng(0).normal(size=50)

    assert mase(train[1:], train[:-1], train) == pytest.approx(1)
    assert mase(train[7:], train[:-7], train, season=7) == pytest.approx(1)


@pytest.mark.parametrize(("train", "season"), [([3.0] * 9, 1), ([1.0, 2.0] * 5, 2)])
def test_a_training_part_that_repeats_itself_has_no_scale(train, season):
    assert math.isnan(mase(TRUTH, FORECAST, train, season))
    assert np.isnan(score(TRUTH, FORECAST, train, season).mase_by_step).all()
    assert score(TRUTH, FORECAST, train, season).to_dict()["mase"] is None


def test_skill_by_hand():
    assert skill(0.2, 0.8) == pytest.approx(0.75)
    assert type(skill(0.2, 0.8)) is float
    assert skill([0.0, 2.0, 3.0], 2.0).tolist() == [1, 0, -0.5]
    assert math.isnan(skill(1.0, 0.0))
    assert np.isnan(skill([0.0, 1.0], [0.0, 2.0])).tolist() == [True, False]
    assert skill(math.inf, 1.0) == -math.inf


def test_pinball_loss_by_hand():
    assert pinball([5.0], [1.0], quantile=0.9) == pytest.approx(3.6)
    assert pinball([1.0], [5.0], quantile=0.9) == pytest.approx(0.4)
    assert pinball(TRUTH, FORECAST, 0.5, axis=0) == pytest.approx([0.5, 0.5, 1.75])


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.85])
def test_the_quantile_costs_least(quantile):
    points = np.random.default_rng(0).normal(size=1001)
    best = np.quantile(points, quantile)

    def cost(forecast):
        return pinball(points, np.full(1001, forecast), quantile)

    assert cost(best) < min(cost(best - 0.1), cost(best + 0.1))


def test_coverage_by_hand():
    lower, upper = TRUTH * 0 + 2, TRUTH * 0 + 5

    assert coverage(TRUTH, lower, upper) == pytest.approx(4 / 6)
    assert coverage(TRUTH, lower, upper, axis=0).tolist() == [0.5, 1, 0.5]
    assert coverage(TRUTH, lower * -math.inf, upper * math.inf) == 1


def test_interval_scores_by_hand():
    """Width 3 everywhere; 1 and 6 lie outside by 1, which costs 2 / 0.2 at a level of 0.8."""
    lower, upper = TRUTH * 0 + 2, TRUTH * 0 + 5

    assert interval_score(TRUTH, lower, upper, level=0.8) == pytest.approx(3 + 20 / 6)
    assert interval_score(TRUTH, lower, upper, 0.8, axis=0) == pytest.approx([8, 3, 8])


@given(pair=pairs, level=st.floats(0.01, 0.99))
def test_an_interval_score_is_two_pinball_losses(pair, level):
    """Gneiting and Raftery (2007): the ends are quantiles at (1 - level) / 2 and 1 minus that."""
    truth, lower = pair
    upper, tail = lower + 3, (1 - level) / 2
    losses = pinball(truth, lower, tail) + pinball(truth, upper, 1 - tail)

    assert interval_score(truth, lower, upper, level) == pytest.approx(losses / tail, rel=1e-6)


@given(pair=pairs, factor=st.floats(0.01, 100))
def test_laws_of_errors(pair, factor):
    truth, forecast = pair
    absolute, squared = mae(truth, forecast), rmse(truth, forecast)

    assert mae(truth, truth) == rmse(truth, truth) == 0
    assert mae(forecast, truth) == absolute
    assert absolute <= squared * (1 + 1e-12) <= np.abs(truth - forecast).max() * (1 + 1e-9)
    assert mae(truth * factor, forecast * factor) == pytest.approx(absolute * factor)
    assert rmse(truth * factor, forecast * factor) == pytest.approx(squared * factor)
    assert pinball(truth, forecast, 0.5) == pytest.approx(absolute / 2)


@given(pair=pairs)
def test_scores_are_the_errors_of_each_step_and_of_all(pair):
    truth, forecast = pair
    found = score(truth, forecast, TRAIN, season=2)
    flat = [each.reshape(-1, truth.shape[-1]) for each in pair]

    assert found.forecasts == len(flat[0])
    assert found.mae == mae(truth, forecast)
    assert found.rmse == rmse(truth, forecast)
    assert found.mase == pytest.approx(mase(truth, forecast, TRAIN, 2))
    assert found.mae_by_step == pytest.approx(mae(*flat, axis=0))
    assert found.rmse_by_step == pytest.approx(rmse(*flat, axis=0))
    assert found.mase_by_step == pytest.approx(mae(*flat, axis=0) / 2)
    assert found.mae == pytest.approx(found.mae_by_step.mean())
    assert found.rmse**2 == pytest.approx((found.rmse_by_step**2).mean())


def test_scores_go_into_json():
    found = score(TRUTH, FORECAST).to_dict()

    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "forecasts": 2,
        "mae": pytest.approx(11 / 6),
        "rmse": pytest.approx(math.sqrt(5.5)),
        "mase": None,
        "mae_by_step": [1.0, 1.0, 3.5],
        "rmse_by_step": pytest.approx([math.sqrt(2), math.sqrt(2), math.sqrt(12.5)]),
        "mase_by_step": None,
    }


def test_a_forecast_that_ran_away_has_an_infinite_error():
    found = score([[1.0, 2.0]], [[1.0, math.inf]], TRAIN)

    assert (found.mae, found.rmse, found.mase) == (math.inf, math.inf, math.inf)
    assert found.mae_by_step.tolist() == [0, math.inf]
    assert found.to_dict()["rmse_by_step"] == [0, None]
    assert rmse([0.0], [1e200]) == math.inf
    assert math.isnan(mae([1.0], [math.nan]))


def test_float32_is_summed_in_float64():
    """In float32 the mean of 0.1 over ten million points drifts."""
    truth = np.zeros(100_000, "float32")

    assert mae(truth, truth + np.float32(0.1)) == float(np.float32(0.1))


def test_margins_by_hand():
    """Of 9 residuals the 9th covers 0.9, the 8th 0.8: ceil(10 level)."""
    sizes = np.array([5, 1, 4, 9, 2, 6, 8, 3, 7.0])
    residuals = np.stack([sizes, -10 * sizes], axis=1)

    assert conformal_margins(residuals, 0.9).tolist() == [9, 90]
    assert conformal_margins(residuals, 0.8).tolist() == [8, 80]
    assert conformal_margins(residuals, 0.75).tolist() == [8, 80]
    assert conformal_margins(residuals, 0.05).tolist() == [1, 10]


def test_a_level_means_what_its_decimals_say():
    """In floats 0.28 * 100 is above 28, and the 29th would be taken."""
    assert conformal_margins(np.arange(1.0, 100)[:, np.newaxis], 0.28).tolist() == [28]


distinct = st.lists(st.integers(-1000, 1000), min_size=20, max_size=40, unique_by=abs)


@given(residuals=distinct, percent=st.integers(1, 95))
def test_of_n_plus_one_residuals_just_enough_lie_within_the_margin_of_the_rest(residuals, percent):
    """The argument behind conformal prediction, exactly: each in turn is the one to come."""
    level, n = percent / 100, len(residuals) - 1
    inside = 0
    for i, coming in enumerate(residuals):
        others = np.array(residuals[:i] + residuals[i + 1 :], float)[:, np.newaxis]
        inside += abs(coming) <= conformal_margins(others, level)[0]

    assert inside == -(-(n + 1) * percent // 100)
    assert level <= inside / (n + 1) + 1e-12
    assert inside / (n + 1) < level + 1 / (n + 1) + 1e-12


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_margins_cover_the_share_they_promise(level):
    """4000 draws of 19 residuals and one to come; the deviation of the share is below 0.008."""
    draws = np.random.default_rng(0).standard_t(3, size=(20, 4000))
    margins = conformal_margins(draws[:-1], level)

    found = coverage(draws[-1], -margins, margins)
    assert level - 0.024 < found < level + 1 / 20 + 0.024


@given(
    residuals=arrays(float, (25, 3), elements=st.floats(-100, 100)),
    low=st.floats(0.01, 0.95),
    high=st.floats(0.01, 0.95),
    factor=st.floats(-50, 50),
)
def test_laws_of_margins(residuals, low, high, factor):
    low, high = sorted([low, high])
    margins = conformal_margins(residuals, low)

    assert (margins <= conformal_margins(residuals, high)).all()
    assert conformal_margins(residuals[::-1], low).tolist() == margins.tolist()
    assert conformal_margins(residuals * factor, low) == pytest.approx(margins * abs(factor))
    assert conformal_margins(residuals[:, 1:2], low).tolist() == [margins[1]]


@pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.99, 99)])
def test_too_few_residuals_for_a_level_are_refused(level, needed):
    assert conformal_margins(np.ones((needed, 2)), level).tolist() == [1, 1]
    if needed > 1:
        message = f"must be at least {needed} for a level of {level}, found {needed - 1}; hold"
        with pytest.raises(DataError, match=message):
            conformal_margins(np.ones((needed - 1, 2)), level)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mae(TRUTH, TRUTH.T), r"forecast: must have the shape .*\(2, 3\), found \(3, 2\);"),
        (lambda: rmse(TRUTH, 1.0), r"forecast: must be numbers \(..., horizon\), found 1.0;"),
        (lambda: mae([], []), r"truth: must be numbers \(..., horizon\), found \[\];"),
        (lambda: mae([[1.0], [1.0, 2.0]], TRUTH), r"truth: must be numbers .*found \[\[1.0\],"),
        (lambda: score(["a"], ["b"]), r"truth: must be numbers .*found \['a'\];"),
        (lambda: mae([math.nan], [1.0]), "truth: must be finite numbers, found nan; fill"),
        (lambda: mase([1.0], [1.0], [1.0, 2.0], 2), "train: must have more .* of 2, found 2;"),
        (lambda: score([1.0], [1.0], [1.0, math.nan]), "train: must be finite .*found nan"),
        (lambda: coverage([1.0], [2.0], [1.0]), "lower: must be at most upper, found 2 and 1;"),
        (lambda: coverage([1.0], [math.nan], [1.0]), "lower: must be at most upper, found nan"),
        (lambda: coverage([1.0], [1.0, 2.0], [3.0]), "lower: must have the shape"),
        (lambda: interval_score([1.0], [0.0], [1.0, 2.0], 0.5), "upper: must have the shape"),
        (lambda: conformal_margins([1.0] * 9, 0.5), r"must be \(n, horizon\), found \(9,\);"),
        (lambda: conformal_margins([[math.inf]] * 9, 0.5), "residuals: must be finite"),
    ],
)
def test_arrays_that_cannot_be_judged_are_refused(call, message):
    with pytest.raises(DataError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pinball([1.0], [1.0], 1.0), "quantile: must be a number above 0 and below 1"),
        (lambda: interval_score([1.0], [0.0], [2.0], 90), "level: must be a number above 0 and"),
        (lambda: conformal_margins([[1.0]], 0), "level: must be a number above 0 and below 1"),
        (lambda: mase([1.0], [1.0], TRAIN, 0), "season: must be a whole number, at least 1"),
        (lambda: score([1.0], [1.0], TRAIN, 1.5), "season: must be a whole number, at least 1"),
    ],
)
def test_levels_and_seasons_that_make_no_sense_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()
