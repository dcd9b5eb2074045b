"""Batches of a series: where they start, what they hold, and the state that `fit` carries."""

import keras
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from language_cases import StepLosses

from kseq.data.processes import noisy_sine, sine_segment
from kseq.data.series import windows
from kseq.errors import DataError, UsageError
from kseq.nn.forecaster import Forecaster
from kseq.nn.optimizers import clipped_optimizer
from kseq.nn.series_batches import PairBatches, SeriesBatches, SineSegments

SERIES = noisy_sine(70, seed=2, frequency=0.3)
RECURRENT = ("simple_rnn", "gru", "lstm")
RATE, CLIP = 0.3, 0.5


# Which points.


def test_the_drawing():
    batches = SeriesBatches(np.arange(1.0, 14), batch_size=2, num_steps=3, seed=None)
    found = [(x[..., 0].tolist(), y[..., 0].tolist()) for x, y in batches]
    assert found == [
        ([[1, 2, 3], [7, 8, 9]], [[2, 3, 4], [8, 9, 10]]),
        ([[4, 5, 6], [10, 11, 12]], [[5, 6, 7], [11, 12, 13]]),
    ]


def test_several_outputs_follow_every_step():
    x, y = SeriesBatches(np.arange(9.0), batch_size=2, num_steps=3, outputs=3, seed=None)[0]
    assert (x.shape, y.shape) == ((2, 3, 1), (2, 3, 3))
    assert x[..., 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert y[1].tolist() == [[4, 5, 6], [5, 6, 7], [6, 7, 8]]


@settings(max_examples=40)
@given(
    batch_size=st.integers(1, 4),
    num_steps=st.integers(1, 6),
    outputs=st.integers(1, 5),
    more=st.integers(0, 40),
    epoch=st.integers(0, 5),
)
def test_rows_go_on_in_the_next_batch_and_targets_follow(
    batch_size, num_steps, outputs, more, epoch
):
    points = batch_size * num_steps + outputs + more
    batches = SeriesBatches(np.arange(float(points)), batch_size, num_steps, outputs, seed=1)
    batches.set_epoch(epoch)
    pairs = [batches[i] for i in range(len(batches))]
    inputs = np.concatenate([x[..., 0] for x, _ in pairs], axis=1)
    assert len(pairs) == (points - outputs) // (batch_size * num_steps)
    assert (np.diff(inputs, axis=1) == 1).all()
    assert len(np.unique(inputs)) == inputs.size
    for x, y in pairs:
        assert np.array_equal(y, x + np.arange(1, outputs + 1))
        assert y.max() < points


def test_epochs_start_at_offsets_of_their_own_the_same_each_time():
    batches = SeriesBatches(np.arange(70.0), 2, 8)
    firsts = [[x[0, 0, 0] for x, _ in batches] for _ in range(12)]
    firsts = [first for first, *_ in firsts]
    assert batches.epoch == 12
    assert len(set(firsts)) > 3
    assert set(firsts) <= set(range(8))
    batches.set_epoch(5)
    assert batches[0][0][0, 0, 0] == firsts[5]
    judged = batches.from_first_token()
    assert [x[0, 0, 0] for _ in range(3) for x in [judged[0][0]]] == [0, 0, 0]
    assert (judged.batch_size, judged.num_steps, judged.outputs) == (2, 8, 1)


def test_batches_have_the_series_dtype_and_leave_the_series_alone():
    series = SERIES.copy()
    x, y = SeriesBatches(series, 1, 4)[0]
    assert x.dtype == y.dtype == "float32"
    x[:], y[:] = 9, 9
    assert np.array_equal(series, SERIES)
    assert SeriesBatches(range(9), 1, 4)[0][0].dtype == "float64"


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"batch_size": 0}, UsageError, "batch_size: must be a whole number, at least 1, found 0"),
        ({"num_steps": 1.5}, UsageError, "num_steps: must be a whole number, at least 1, found 1"),
        ({"outputs": 10**12}, UsageError, "outputs: must be a whole number, at most"),
        ({"seed": -1}, UsageError, "seed: must be a whole number, at least 0, found -1"),
        ({"num_steps": 70}, DataError, "at least 71 points for 1 rows of 70 steps .* found 70; u"),
        ({"batch_size": 7, "num_steps": 10}, DataError, "series: must have at least 71 points"),
        ({"series": [1.0, np.nan, 2.0]}, DataError, "series: must be finite .* nan at index 1"),
        ({"series": np.ones((9, 1))}, DataError, r"in one dimension, found shape \(9, 1\)"),
    ],
    ids=str,
)
def test_what_makes_no_batch_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        SeriesBatches(**{"series": SERIES, **wrong})
    assert len(SeriesBatches(SERIES, 1, 69)) == 1
    with pytest.raises(IndexError, match="batch 1 of 1"):
        SeriesBatches(SERIES, 1, 69)[1]


# Pieces of a sine.


def test_pieces_of_a_sine_are_drawn_anew_each_epoch_and_the_same_each_time():
    pieces = SineSegments(iterations=20, seed=4)
    epochs = [[x[0, 0, 0].item() for x, _ in pieces] for _ in range(2)]
    starts = np.sin(np.arange(3, dtype="float64")).astype("float32").tolist()
    assert set(epochs[0]) == set(epochs[1]) == set(starts)
    assert epochs[0] != epochs[1]
    assert [x[0, 0, 0].item() for x, _ in SineSegments(20, seed=4)] == epochs[0]
    x, y = pieces.from_first_token()[3]
    assert np.array_equal(np.append(x[0, :1, 0], y[0, :, 0]), sine_segment(4, 3))
    judged = pieces.from_first_token()
    assert [[x[0, 0, 0].item() for x, _ in judged] for _ in range(2)] == 2 * [epochs[0]]
    with pytest.raises(IndexError, match="batch 20 of 20"):
        pieces[20]
    with pytest.raises(UsageError, match="iterations: must be a whole number, at least 1, found"):
        SineSegments(0)


# The state that is carried.


def forecaster(kind, outputs=1, units=5):
    model = Forecaster(kind, window=None, units=units, outputs=outputs)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.get_weights()])
    model.compile(clipped_optimizer("sgd", RATE, global_clipnorm=CLIP))
    return model


def step_by_hand(kind, weights, x, y, state):
    """Give the mean squared error of one batch, its gradients and the last state, in NumPy."""
    *layer, kernel, bias = weights
    hidden, last = oracle.forward(kind, x, state, layer)
    misses = hidden @ kernel + bias - y
    d_outputs = 2 * misses / misses.size
    read_out = [np.einsum("bth,bto->ho", hidden, d_outputs), d_outputs.sum((0, 1))]
    d_last = [np.zeros_like(s) for s in state]
    _, _, d_layer = oracle.backward(kind, x, state, layer, d_outputs @ kernel.T, d_last)
    return np.mean(misses**2), [*d_layer, *read_out], last


def trained_by_hand(model, batches, epochs, carry=True):
    """Give the losses of truncated backpropagation through time over `batches`."""
    weights, losses = [w.astype("float64") for w in model.get_weights()], []
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        state = zero = oracle.zero_states(model.kind, batches.batch_size, model.units)
        for x, y in (batches[i] for i in range(len(batches))):
            first = state if carry else zero
            loss, gradients, state = step_by_hand(model.kind, weights, x, y, first)
            gradients = oracle.clip_by_global_norm(gradients, CLIP)
            weights = [w - RATE * g for w, g in zip(weights, gradients, strict=True)]
            losses.append(loss)
    batches.set_epoch(0)
    return np.array(losses)


def fit_losses(model, batches, **options):
    steps = StepLosses()
    history = model.fit(batches, verbose=0, callbacks=[steps], **options).history
    return np.array(steps.losses), history


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("outputs", [1, 3])
def test_fit_takes_the_steps_of_truncated_backpropagation_by_hand(kind, outputs):
    batches = SeriesBatches(SERIES.astype("float64"), 2, 6, outputs)
    model = forecaster(kind, outputs)
    expected = trained_by_hand(model, batches, epochs=2)
    forgotten = trained_by_hand(model, batches, epochs=2, carry=False)
    found, _ = fit_losses(model, batches, epochs=2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # A state forgotten at each batch would show.
    assert np.abs(found - forgotten).max() > 1e-3


def test_validation_does_not_disturb_what_is_carried():
    held_out = SeriesBatches(noisy_sine(40, seed=9), 1, 7)
    alone, _ = fit_losses(forecaster("gru"), SeriesBatches(SERIES, 2, 6), epochs=2)
    model = forecaster("gru")
    found, history = fit_losses(
        model, SeriesBatches(SERIES, 2, 6), epochs=2, validation_data=held_out
    )
    np.testing.assert_allclose(found, alone, rtol=1e-6)
    judged = model.evaluate(held_out, verbose=0)
    assert judged == pytest.approx(history["val_loss"][-1], rel=1e-5)
    assert judged == pytest.approx(error_of_one_run(model, held_out), rel=1e-4)


def error_of_one_run(model, batches):
    """Give the mean squared error of reading the series once, from a zero state."""
    used = len(batches) * batches.num_steps
    x, y = batches.series[np.newaxis, :used, np.newaxis], batches.series[1 : used + 1]
    return np.mean((keras.ops.convert_to_numpy(model(x))[0, :, 0] - y) ** 2)


def test_explicit_states_give_what_one_long_run_gives():
    model = forecaster("lstm")
    x = SERIES[np.newaxis, :, np.newaxis]
    whole, last = model(x, return_state=True)
    first, state = model(x[:, :30], return_state=True)
    second, found = model(x[:, 30:], initial_state=state, return_state=True)
    joined = keras.ops.concatenate([first, second], axis=1)
    for one, other in ((joined, whole), *zip(found[0], last[0], strict=True)):
        pair = map(keras.ops.convert_to_numpy, (one, other))
        np.testing.assert_allclose(*pair, rtol=1e-5, atol=1e-6)


def test_nothing_is_carried_into_a_forecast():
    model = forecaster("gru")
    model.compile(clipped_optimizer("sgd", 1e-12))
    before = model.forecast(SERIES, 5)
    model.fit(SeriesBatches(SERIES, 1, 10), verbose=0)
    np.testing.assert_allclose(model.forecast(SERIES, 5), before, atol=1e-6)


# Pairs in an order of ours.


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
def test_an_epoch_of_pairs_holds_each_pair_once(pairs, batch_size, epoch):
    x = np.arange(pairs)
    batches = PairBatches(x, -x, batch_size, seed=3, epoch=epoch)
    read = [batches[i] for i in range(len(batches))]

    assert sorted(np.concatenate([x for x, _ in read])) == list(range(pairs))
    assert all((x == -y).all() for x, y in read)
    assert [len(x) for x, _ in read[:-1]] == [batch_size] * (len(read) - 1)


def test_the_order_of_pairs_is_a_function_of_seed_and_epoch():
    x = np.arange(100)
    order = lambda seed, epoch: PairBatches(x, x, 100, seed, epoch)[0][0].tolist()  # noqa: E731

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def trained(*epochs, **options):
    x, y = windows(noisy_sine(60), 4)
    model = Forecaster("mlp", 4, seed=1)
    model.compile()
    for count in epochs:
        model.fit(x, y, batch_size=8, epochs=count, verbose=0, **options)
    return model


def test_two_fits_of_one_epoch_are_one_of_two():
    for one, two in zip(trained(2).get_weights(), trained(1, 1).get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_training_is_the_same_on_every_engine():
    """The numbers are torch's; the other engines must find them too."""
    found = trained(3).forecast(noisy_sine(60), 3)

    np.testing.assert_allclose(found, [0.5594995, 0.59636384, 0.49371302], atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"shuffle": False}, {"validation_split": 0.2}, {"sample_weight": np.ones(56)}],
    ids=lambda options: next(iter(options)),
)
def test_what_keras_must_do_itself_it_still_does(options):
    assert trained(1, **options).provenance.epochs == 1
