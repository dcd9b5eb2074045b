"""Plans, subjects and studies: what is trained on which part, and whether the numbers are true."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.data.baselines import AutoRegression
from kseq.data.processes import noisy_sine
from kseq.data.series import windows
from kseq.data.tables import TableSeries
from kseq.errors import DataError, NumericalError
from kseq.experiments.plan import (
    PRESETS,
    SINE_DIRECT,
    SINE_MLP,
    Plan,
    plan_for,
    preset,
)
from kseq.experiments.study import baselines, study
from kseq.experiments.subjects import SUBJECTS, Subject, of_table, subject
from kseq.forecasting import errors_ahead

HORIZON = 8
LITTLE = Plan(
    units=4,
    epochs=2,
    keep="best",
    train=120,
    valid=60,
    horizon=HORIZON,
    steps=(1, HORIZON),
    ridge=1.0,
    window=6,
)
JUDGED = LITTLE.train + LITTLE.valid
SINE = noisy_sine(260, seed=3)


@pytest.fixture(scope="module")
def found():
    return study(Subject("sine", SINE), LITTLE)


# Plans and subjects


@given(points=st.integers(100, 10_000), horizon=st.integers(1, 8), season=st.integers(1, 400))
def test_a_plan_for_a_series_always_fits_into_it(points, horizon, season):
    plan = plan_for(points, horizon, "gru", season)

    assert plan.train + plan.valid + plan.horizon <= points
    assert plan.window + plan.horizon <= plan.train
    assert (plan.horizon, plan.outputs, plan.kind) == (horizon, horizon, "gru")
    assert plan.window == min(max(2 * horizon, 2 * season, 8), plan.train - 2 * horizon)


def test_too_few_points_for_a_horizon_say_how_many_it_takes():
    with pytest.raises(DataError, match=r"at least 170 points .* judge 24 steps ahead, found 169;"):
        plan_for(169, 24)
    assert plan_for(170, 24).train == 102


def test_a_change_leaves_out_what_is_none_and_keeps_what_is_zero():
    assert SINE_MLP.changed(window=None, valid=0, units=3) == SINE_MLP.changed(units=3)
    assert SINE_DIRECT.changed(valid=0).valid == 0


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_subject_is_its_seeds_alone(name):
    first, again, other = subject(name, 1), subject(name, 1), subject(name, 2)

    np.testing.assert_array_equal(first.values, again.values)
    assert (first.values != other.values).any()
    assert not first.from_file
    assert first.times is None or first.times.shape == first.values.shape


def test_a_column_of_a_table_is_named_after_it():
    table = TableSeries(SINE, None, "visitors", None, "noisy-sine", np.arange(len(SINE)))
    found = of_table(table, season=7)

    assert (found.name, found.ylabel, found.xlabel, found.season) == (
        "noisy-sine",
        "visitors",
        "row",
        7,
    )
    assert found.from_file
    assert found.noise is None


# What a study may read


def trained(values, **changes):
    plan = LITTLE.changed(**changes)
    result = study(Subject("sine", values), plan)
    records = [{k: v for k, v in r.items() if "seconds" not in k} for r in result.records]
    return result, result.model.get_weights(), records


@pytest.mark.parametrize(
    "changes",
    [{"scaling": "window", "outputs": HORIZON}, {"kind": "gru", "scaling": "standard"}],
    ids=["mlp", "gru"],
)
def test_the_judged_part_leaves_no_trace_in_the_model(changes):
    future = SINE.copy()
    future[JUDGED:] = 50 - 3 * future[JUDGED:]
    one, weights, records = trained(SINE, **changes)
    other, same_weights, same_records = trained(future, **changes)

    for w, same in zip(weights, same_weights, strict=True):
        np.testing.assert_array_equal(w, same)
    assert records == same_records
    assert one.model.margins == other.model.margins
    assert one.model.fitted == other.model.fitted
    assert one.model.provenance.to_dict() == other.model.provenance.to_dict()
    assert (
        other.backtest.rmse > 4 * one.backtest.rmse
    )  # it did see another future when it was judged


def test_the_valid_part_leaves_no_trace_where_it_chooses_nothing():
    changed = SINE.copy()
    changed[LITTLE.train :] += 5
    _, weights, records = trained(SINE, keep="last")
    _, same_weights, same_records = trained(changed, keep="last")

    assert records == same_records
    for w, same in zip(weights, same_weights, strict=True):
        np.testing.assert_array_equal(w, same)


def test_the_best_epoch_comes_back_and_the_file_says_which():
    # What the training part teaches, that signs alternate, is wrong ever after.
    values = np.where(np.arange(260) % 2, 1.0, -1.0) + 0.01 * SINE
    values[LITTLE.train :] = np.where(np.arange(260 - LITTLE.train) // 30 % 2, 1.0, -1.0)
    result, _, records = trained(values, epochs=6, learning_rate=0.02)
    x, y = windows(values[LITTLE.train - LITTLE.window : JUDGED], LITTLE.window)
    losses = [record["val_loss"] for record in records]
    best = int(np.argmin(losses))

    assert best < len(losses) - 1
    assert result.model.evaluate(x, y, verbose=0) == pytest.approx(losses[best], rel=1e-5)
    assert losses[-1] > 1.01 * losses[best]
    results = result.model.provenance.results
    assert (results["epoch"], results["val_loss"]) == (best + 1, losses[best])
    assert result.model.provenance.epochs == 6


def test_the_last_epoch_is_told_by_the_loss_of_the_training_pairs_and_nothing_held_out():
    result, _, records = trained(SINE, keep="last")
    x, y = windows(SINE[: LITTLE.train], LITTLE.window)

    assert set(records[-1]) == {"epoch", "loss"}
    assert records[-1]["loss"] == pytest.approx(result.model.evaluate(x, y, verbose=0), rel=1e-5)
    assert result.model.provenance.results == {"epoch": 2, "loss": records[-1]["loss"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window": 113}, r"at least 121 points to train on .* found 120 of 260.*lower --window"),
        ({"train": 193}, r"8 after the first 253 to judge, found 193 of 260"),
        ({"train": 9, "window": 2, "valid": 0}, r"at least 12 points to train on"),
        ({"valid": 15}, r"residuals: must be at least 9 .*found 8; hold out more"),
        ({"level": 0.99}, r"at least 99 for a level of 0.99, found 53;"),
    ],
)
def test_parts_too_short_are_refused_before_a_training(changes, message):
    told = []
    with pytest.raises(DataError, match=message):
        study(Subject("sine", SINE), LITTLE.changed(**changes), told.append)
    assert told == []


def test_a_season_longer_than_the_training_part_is_refused_before_a_training():
    told = []
    with pytest.raises(DataError, match=r"at least 208 points .* lower --window, --season"):
        study(Subject("sine", SINE, season=200), LITTLE, told.append)
    assert told == []


def test_parts_that_just_fit_are_judged():
    plan = LITTLE.changed(window=112, valid=16, train=120, epochs=1)
    result = study(Subject("sine", SINE[:144]), plan)

    assert result.backtest.truth.shape == (1, HORIZON)
    assert result.coverage.shape == (HORIZON,)


def test_a_training_that_diverges_is_a_numerical_error():
    with pytest.raises(NumericalError, match=r"loss must stay finite, found .* lower the learning"):
        study(Subject("sine", SINE), LITTLE.changed(learning_rate=1e30, clip=1e30))


# What a study says


def by_hand(model, first, step):
    """The errors `step` steps ahead of every point from `first` on."""
    rows = [
        SINE[target - step + 1 - LITTLE.window : target - step + 1] for target in range(first, 260)
    ]
    return model.forecast(np.stack(rows), step)[:, -1] - SINE[first:].astype("float64")


def test_errors_ahead_are_those_of_a_plain_loop(found):
    for step in (1, 3, HORIZON):
        expected = np.sqrt(np.mean(by_hand(found.model, JUDGED, step) ** 2))
        assert found.errors["mlp"][step - 1] == pytest.approx(expected, rel=1e-5)


def test_squared_errors_are_those_of_a_plain_loop(found):
    misses = by_hand(found.model, LITTLE.window, 1) ** 2
    training = misses[: LITTLE.train - LITTLE.window].mean()

    assert found.squared["mlp"][0] == pytest.approx(training, rel=1e-5)
    assert found.squared["mlp"][1] == pytest.approx(
        misses[JUDGED - LITTLE.window :].mean(), rel=1e-5
    )


def test_baselines_know_the_training_part_alone(found):
    mean = SINE[: LITTLE.train].mean(dtype="float64")
    expected = np.mean((SINE[JUDGED:].astype("float64") - mean) ** 2)

    assert found.squared["mean"][1] == pytest.approx(expected, rel=1e-5)
    direct = AutoRegression(6, 1.0, direct=True).fit(SINE[: LITTLE.train])
    np.testing.assert_allclose(
        found.errors[direct.name], errors_ahead(direct, SINE, HORIZON, JUDGED), rtol=1e-12
    )


def test_the_model_stands_before_its_baselines_everywhere(found):
    names = ["mlp", "persistence", "mean", "mean of last 4", "AR(4)", "direct AR(6), ridge 1"]

    assert list(found.errors) == list(found.squared) == list(found.backtest.scores) == names
    assert found.name == "mlp"


def test_baselines_of_a_scaled_model_may_have_a_constant():
    series = 30 * SINE  # of a variance of about 300
    names = [each.name for each in baselines(Subject("x", series, season=7), plan_for(300, 8))]

    assert names[:4] == [
        "persistence",
        "seasonal naive (7)",
        "mean of last 4",
        "AR(4) with intercept",
    ]
    assert names[4].startswith("direct AR(16) with intercept, ridge ")
    penalty = float(names[4].split()[-1])
    assert penalty == pytest.approx(series[:180].var(), rel=0.4)


def test_a_long_series_is_spared_a_fit_for_every_step_ahead():
    long = np.arange(40_000.0)
    names = [each.name for each in baselines(Subject("x", long), plan_for(40_000, 8))]

    assert not any("ridge" in name for name in names)


def test_forecasts_begin_where_they_say(found):
    assert len(found.one_step) == 260 - LITTLE.window
    np.testing.assert_allclose(found.future, found.model.forecast(SINE, HORIZON), rtol=1e-6)
    np.testing.assert_allclose(
        found.rolled, found.model.forecast(SINE[: LITTLE.train], 260 - LITTLE.train), rtol=1e-6
    )
    assert found.backtest.origins[0] == JUDGED


def test_coverage_is_counted_in_the_last_part_with_margins_of_the_valid_one(found):
    margin = found.model.margins.at(0.9, HORIZON)
    inside = np.abs(found.backtest.truth - found.backtest.forecasts["mlp"]) <= margin
    np.testing.assert_allclose(found.coverage, inside.mean(axis=0))

    origins = range(LITTLE.train, JUDGED - HORIZON + 1)
    sizes = sorted(
        abs(float(found.model.forecast(SINE[:o], 1)[0]) - float(SINE[o])) for o in origins
    )
    rank = int(np.ceil((len(sizes) + 1) * 0.9))
    assert margin[0] == pytest.approx(sizes[rank - 1], rel=1e-4)


def test_a_model_beside_is_trained_by_its_own_plan_and_shown_under_its_name():
    told = []
    beside = {"smaller": LITTLE.changed(units=1, epochs=1)}
    result = study(Subject("sine", SINE), LITTLE, told.append, beside)

    assert list(result.errors)[:2] == ["mlp", "smaller"]
    assert (result.errors["smaller"] != result.errors["mlp"]).all()
    assert told == result.records
    assert [record["epoch"] for record in told] == [1, 2]


@pytest.mark.parametrize(
    "name",
    [
        name if name == "sine-mlp" else pytest.param(name, marks=pytest.mark.slow)
        for name in PRESETS
    ],
)
def test_every_preset_runs(name):
    series, plan = preset(name)
    result = study(subject(series), plan.changed(epochs=1))

    assert all(np.isfinite(errors).all() for errors in result.errors.values())
    assert result.future.shape == (plan.horizon,)
    assert len(result.records) == 1
