"""The two experiments on a clean sine: true losses, carried state, free run, what they reach."""

import math

import numpy as np
import pytest

from kseq.data.processes import sine_segment
from kseq.errors import UsageError
from kseq.experiments.sines import GIVEN, LSTM_EPOCHS, PUBLISHED_RNN, sine_lstm, sine_rnn
from kseq.nn.forecaster import Forecaster

SEED = 2


@pytest.fixture(scope="module")
def rnn():
    """The weights after 0, 1 and 2 iterations, and the run of 3."""
    told = []
    runs = [sine_rnn(SEED, iterations) for iterations in (1, 2)]
    last = sine_rnn(SEED, 3, lambda iteration, loss: told.append((iteration, loss)))
    untrained = Forecaster("simple_rnn", None, units=10, num_layers=2, init="torch", seed=SEED)
    return [untrained, *(run.model for run in runs)], last, told


def numpy(tensor):
    from keras import ops

    return np.asarray(ops.convert_to_numpy(tensor))


def loss_and_state(model, iteration, state):
    """The loss of one piece before its step, read from `state` on, and the state it ends with."""
    piece = sine_segment(SEED, iteration)
    y, state = model(piece[np.newaxis, :-1, np.newaxis], initial_state=state, return_state=True)
    return float(np.mean((numpy(y)[0, :, 0] - piece[1:]) ** 2)), state


def test_losses_are_those_before_each_step_with_the_state_carried(rnn):
    models, found, _ = rnn
    expected, state = [], None
    for iteration, model in enumerate(models):
        loss, state = loss_and_state(model, iteration, state)
        expected.append(loss)

    np.testing.assert_allclose(found.losses, expected, rtol=1e-4)


def test_the_state_makes_a_difference(rnn):
    models, found, _ = rnn
    from_zero = [loss_and_state(model, i, None)[0] for i, model in enumerate(models)]

    assert found.losses[0] == pytest.approx(from_zero[0], rel=1e-4)
    assert all(abs(a - b) > 1e-3 * a for a, b in zip(found.losses[1:], from_zero[1:], strict=True))


def test_every_iteration_is_told_as_it_comes(rnn):
    assert rnn[2] == list(enumerate(rnn[1].losses))


def test_the_free_run_feeds_on_the_first_value_and_a_zero_state(rnn):
    found = rnn[1]
    run = found.free_run
    read = np.concatenate([found.truth[:1], run[:-1]])
    # Read in one go from a zero state, what it has said leads to what it said next.
    y, _ = found.model(read[np.newaxis, :, np.newaxis], return_state=True)

    np.testing.assert_allclose(run, numpy(y)[0, :, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.truth, np.sin(np.linspace(0, 10, 60)), atol=1e-6)
    expected = math.sqrt(np.mean((run - found.truth[1:].astype("float64")) ** 2))
    assert found.errors()[1] == pytest.approx(expected, rel=1e-4)


def test_free_runs_from_more_values_read_them_all(rnn):
    found = rnn[1]

    assert list(found.runs) == list(found.errors()) == list(GIVEN)
    for given, run in found.runs.items():
        y = numpy(found.model(found.truth[np.newaxis, :given, np.newaxis], return_state=True)[0])
        assert run.shape == (60 - given,)
        assert run[0] == pytest.approx(float(y[0, -1, 0]), abs=1e-5)


def test_the_network_is_the_published_one_with_one_bias_a_layer(rnn):
    # PyTorch has two: 361.
    assert rnn[1].model.count_params() == 361 - 2 * 10
    assert len(PUBLISHED_RNN) == 9


def test_iterations_are_a_positive_whole_number():
    with pytest.raises(UsageError, match=r"iterations: must be a whole number, at least 1, found"):
        sine_rnn(iterations=0)


@pytest.mark.slow
def test_the_rnn_is_below_the_published_loss_at_iteration_800():
    losses = [sine_rnn(seed, 801).losses[800] for seed in range(5)]

    assert np.median(losses) < 1.1e-3


@pytest.fixture(scope="module")
def lstm():
    told = []
    return sine_lstm(SEED, 1, told.append), told


def test_the_lstm_reads_700_of_890_windows(lstm):
    found, told = lstm

    assert (found.forecast.shape, found.num_train) == ((890,), 700)
    np.testing.assert_allclose(found.series, np.sin(1 + 0.01 * np.arange(900)), atol=1e-6)
    # PyTorch has two biases: 223.
    assert found.model.count_params() == 223 - 24
    assert told == [{"epoch": 1, "loss": found.losses[0]}]


def test_the_forecast_of_a_point_reads_the_ten_before_it(lstm):
    found = lstm[0]
    for point in (10, 500, 899):
        window = found.series[point - 10 : point]
        expected = numpy(found.model(window.reshape(1, 10, 1)))[0, -1, 0]
        assert found.forecast[point - 10] == pytest.approx(expected, abs=1e-5)


def test_the_lstm_is_judged_after_its_pairs_and_beside_persistence(lstm):
    found = lstm[0]
    truth = found.series[710:].astype("float64")
    errors = found.mse()

    assert list(errors) == ["lstm", "persistence", "two exact lags"]
    assert errors["lstm"] == pytest.approx(np.mean((found.forecast[700:] - truth) ** 2), rel=1e-5)
    steps = np.diff(found.series[709:].astype("float64"))
    assert errors["persistence"] == pytest.approx(np.mean(steps**2), rel=1e-3)
    lags = 2 * math.cos(0.01) * found.series[709:-1] - found.series[708:-2]
    assert np.mean((lags - truth) ** 2) < 1e-12


@pytest.mark.slow
def test_the_lstm_learns_in_its_ten_epochs():
    found = sine_lstm(0, LSTM_EPOCHS)

    assert found.losses[-1] < 0.1 * found.losses[0]
    assert found.mse()["lstm"] < 0.1 * found.series[710:].var()
