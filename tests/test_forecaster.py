"""The forecaster as a Keras model: parameters, forward pass, scaling, training, what it refuses."""

import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseq.data.processes import noisy_sine
from kseq.data.series import Scaling, sequence_windows, windows
from kseq.errors import DataError, UsageError
from kseq.nn.forecaster import Forecaster
from kseq.nn.optimizers import clipped_optimizer
from kseq.nn.series_batches import SeriesBatches, SineSegments

KINDS = ("mlp", "simple_rnn", "gru", "lstm")
SINE = noisy_sine(200, seed=3)


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


# Worked by hand.


def test_the_book_s_perceptron_has_61_parameters():
    assert Forecaster("mlp", window=4, units=10).count_params() == 4 * 10 + 10 + 10 + 1 == 61


def test_the_two_layer_network_has_the_book_s_361_less_its_second_biases():
    model = Forecaster("simple_rnn", window=None, units=10, num_layers=2)
    by_hand = (10 + 100 + 10) + (100 + 100 + 10) + 11
    assert model.count_params() == by_hand == 361 - 20


def test_the_book_s_lstm_has_223_parameters_less_its_second_bias():
    assert Forecaster("lstm", window=10, units=6).count_params() == 223 - 24


def test_the_first_weights_are_xavier_uniform_and_the_biases_zero():
    kernel, bias, _, _ = Forecaster("mlp", window=4, units=2000).get_weights()
    bound = np.sqrt(6 / 2004)
    assert np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.03)
    assert not bias.any()


@pytest.mark.parametrize(
    ("activation", "function"),
    [("relu", lambda z: np.maximum(z, 0)), ("tanh", np.tanh), ("linear", lambda z: z)],
)
def test_a_perceptron_computes_what_numpy_does(activation, function):
    model = Forecaster("mlp", 5, units=7, num_layers=2, outputs=3, activation=activation)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=w.shape) for w in model.get_weights()]
    model.set_weights(weights)
    x = rng.normal(size=(6, 5))
    h = function(function(x @ weights[0] + weights[1]) @ weights[2] + weights[3])
    found = to_numpy(model(x.astype("float32")))
    np.testing.assert_allclose(found, h @ weights[4] + weights[5], rtol=1e-5, atol=1e-5)
    assert found.dtype == "float32"


def test_without_a_bias_zeros_give_zeros():
    model = Forecaster("mlp", 4, outputs=3, use_bias=False)
    assert len(model.get_weights()) == 2
    assert not model.forecast(np.zeros(4), 9).any()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_shapes_of_a_call(kind):
    x = np.zeros((5, 7), "float32")
    last = Forecaster(kind, window=7, outputs=2)
    assert to_numpy(last(x)).shape == to_numpy(last(x[..., None])).shape == (5, 2)
    every = Forecaster(kind, window=None, num_layers=2, outputs=2)
    y, state = every(x, return_state=True)
    assert to_numpy(y).shape == (5, 7, 2)
    assert [[to_numpy(s).shape for s in layer] for layer in state] == [
        [(5, width) for width in widths] for widths in every.state_widths()
    ]


# Scaling.


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(constant=st.floats(-100, 100))
def test_a_model_that_scales_windows_moves_with_the_series(kind, constant):
    model = _windowed(kind)
    expected = model.forecast(SINE[:20], 10) + constant
    found = model.forecast(SINE[:20].astype("float64") + constant, 10)
    np.testing.assert_allclose(found, expected, atol=2e-6 * (50 + abs(constant)))


_MODELS = {}


def _windowed(kind):
    if kind not in _MODELS:
        _MODELS[kind] = Forecaster(kind, window=6, outputs=3, scaling="window")
        _MODELS[kind].adapt(SINE)
    return _MODELS[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("a", "b"), [(250.0, 30.0), (0.001, -0.002)])
def test_a_model_with_standard_scaling_knows_no_unit(kind, a, b):
    one, other = (Forecaster(kind, window=6, scaling="standard") for _ in range(2))
    moved = SINE.astype("float64") * a + b
    one.adapt(SINE[:100])
    other.adapt(moved[:100])
    expected = one.forecast(SINE[:150], 12) * a + b
    np.testing.assert_allclose(other.forecast(moved[:150], 12), expected, atol=1e-4 * a)


@pytest.mark.parametrize("scaling", ["standard", "window"])
def test_training_knows_no_unit_either(scaling):
    losses = []
    for a, b in ((1.0, 0.0), (40.0, 10.0)):
        model = Forecaster("mlp", 4, scaling=scaling)
        model.compile()
        pairs = windows(SINE.astype("float64") * a + b, 4)
        losses += model.fit(*pairs, shuffle=False, verbose=0).history["loss"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_the_loss_is_scaled_and_the_metrics_are_in_the_series_own_unit():
    series = SINE * 40 + 10
    x, y = windows(series, 4)
    model = Forecaster("mlp", 4, scaling="standard")
    model.adapt(series)
    model.compile(metrics=["mse"])
    loss, mse = model.evaluate(x, y, verbose=0)
    expected = np.mean((model.forecast(x, 1) - y) ** 2, dtype="float64")
    assert mse == pytest.approx(expected, rel=1e-4)
    assert loss == pytest.approx(expected / np.std(series) ** 2, rel=1e-4)


def test_fit_fits_the_scaling_where_nobody_has_and_leaves_it_then():
    x, y = windows(SINE * 40 + 10, 4)
    model = Forecaster("mlp", 4, scaling="standard")
    model.compile()
    model.fit(x, y, verbose=0)
    assert model.fitted == Scaling.of(x.ravel())
    model.fit(x * 3, y * 3, verbose=0)
    assert model.fitted == Scaling.of(x.ravel())


def test_scaling_of_windows_is_the_same_from_the_series_and_from_its_pairs():
    x, y = windows(SINE * 40 + 10, 4)
    one, other = (Forecaster("mlp", 4, scaling="window") for _ in range(2))
    one.adapt(SINE * 40 + 10)
    other.compile()
    other.fit(x, y, verbose=0)
    assert one.fitted.mean == other.fitted.mean == 0
    assert other.fitted.scale == pytest.approx(one.fitted.scale, rel=1e-6)
    assert one.fitted.scale == pytest.approx(np.std(y - x.mean(1, keepdims=True)), rel=1e-4)


def test_a_forecast_after_adapting_anew_uses_the_new_numbers():
    model = Forecaster("mlp", 4, scaling="standard")
    model.adapt(SINE)
    before = model.forecast(SINE[:4], 3)
    model.adapt(SINE * 5 + 3)
    assert np.abs(model.forecast(SINE[:4], 3) - before).max() > 0.1


# Training.


def test_the_book_s_perceptron_reaches_the_published_loss():
    x, y = windows(noisy_sine(1000, seed=0), 4)
    assert (x.shape, y.shape) == ((996, 4), (996, 1))
    model = Forecaster("mlp", window=4, units=10)
    model.compile(clipped_optimizer("adam", 0.01))
    model.fit(x[:600], y[:600], batch_size=16, epochs=5, verbose=0)
    assert 0.045 < model.evaluate(x[:600], y[:600], verbose=0) < 0.062
    assert model.provenance.epochs == 5


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_targets_may_leave_out_an_axis_of_one(kind):
    x, y = windows(SINE, 4) if kind == "mlp" else sequence_windows(SINE, 20)
    for targets in (y, y[..., 0]):
        model = Forecaster(kind, 4 if kind == "mlp" else None)
        model.compile(clipped_optimizer("sgd", 1e-9))
        (loss,) = model.fit(x, targets, verbose=0).history["loss"]
        assert loss == pytest.approx(np.mean((to_numpy(model(x)) - y) ** 2), rel=1e-4)


# Degenerate series.


@pytest.mark.parametrize("scaling", ["standard", "window"])
@pytest.mark.parametrize("level", [0.1, -3e4])
def test_a_constant_series_is_scaled_by_one_with_one_warning(scaling, level):
    model = Forecaster("mlp", 4, scaling=scaling)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.adapt(np.full(50, level))
    assert [str(w.message).endswith("; scaled by 1, not by 0") for w in caught] == [True]
    assert model.fitted.scale == 1
    assert np.isfinite(model.forecast(np.full(50, level), 5)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_straight_line_is_no_division_by_rounding(dtype):
    line = (0.1 * np.arange(60)).astype(dtype)
    model = Forecaster("mlp", 4, scaling="window")
    model.adapt(line)
    assert model.fitted.scale > 0.1
    assert np.abs(model.forecast(line, 3)).max() < 1e3


@pytest.mark.parametrize("kind", KINDS)
def test_lists_integers_and_either_float_give_the_same_forecast(kind):
    model = Forecaster(kind, 4)
    history = [1, 2, 3, 5, 8]
    expected = model.forecast(history, 3)
    assert expected.dtype == "float32"
    for same in (np.array(history), np.array(history, "float32"), np.array(history, "float64")):
        assert np.array_equal(model.forecast(same, 3), expected)
    assert model.forecast([history], 3).shape == (1, 3)


# Refusals.


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "ltsm"}, r"kind: must be 'mlp', .* found 'ltsm'; did you mean 'lstm'\?"),
        ({"window": 0}, "window: must be a whole number, at least 1, found 0; choose 1 or more"),
        ({"window": 10**12}, "window: must be a whole number, at most .* found 1000000000000; "),
        ({"units": 2.5}, "units: must be a whole number, at least 1, found 2.5; choose"),
        ({"outputs": -1}, "outputs: must be a whole number, at least 1, found -1; choose"),
        ({"window": None}, "a perceptron must read windows .* found window=None, .* recurrent"),
        ({"every_step": True}, "a perceptron must .* found .* every_step=True, .*; choose a rec"),
        ({"dropout": 0.5}, "a perceptron must .* has no dropout, found .* dropout=0.5; choose"),
        ({"kind": "gru", "dropout": 1.0}, "dropout: must be a number at least 0 and below 1, f"),
        ({"activation": "rely"}, r"activation: must be .* found 'rely'; did you mean 'relu'\?"),
        ({"scaling": "windows"}, r"scaling: must be .* found 'windows'; did you mean 'window'\?"),
        (
            {"kind": "gru", "scaling": "window", "every_step": True},
            "scaling: 'window' must know where a window begins, found .*; choose 'standard'",
        ),
        ({"seed": -1}, "seed: must be a whole number, at least 0, found -1; choose"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Forecaster(**wrong)


X, Y = windows(SINE, 4)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:, 1:], Y, r"x: must hold windows of 4 points, found shape \(196, 3\); make them with"),
        (np.where(X > 1, np.nan, X), Y, "x: must be finite numbers, found NaN or infinity in"),
        (X, np.full_like(Y, np.inf), "y: must be finite numbers, found NaN or infinity in 196 p"),
        (X, np.tile(Y, 5), r"y: must hold 1 values for each window, .*, found shape \(196, 5\); "),
        (X, Y[1:], r"y: must hold 1 values for each window, .*, found shape \(195, 1\); "),
    ],
    ids=["short", "nan", "infinite", "wide", "fewer"],
)
def test_pairs_that_are_none_are_refused_before_any_step(x, y, message):
    model = Forecaster("mlp", 4)
    model.compile()
    before = model.get_weights()
    with pytest.raises(DataError, match=message):
        model.fit(x, y, verbose=0)
    assert all(map(np.array_equal, model.get_weights(), before))


def test_batches_of_a_sequence_must_fit_the_model():
    batches = SeriesBatches(SINE, 2, 4, outputs=3)
    for model, message in (
        (Forecaster("mlp", 4, outputs=3), "SeriesBatches: must go to a model that learns at every"),
        (Forecaster("gru", None), "must look as far ahead as the model's outputs=1, found out.*=3"),
    ):
        model.compile()
        for call in (model.fit, model.evaluate):
            with pytest.raises(UsageError, match=message):
                call(batches, verbose=0)


def test_a_scaling_must_have_something_to_be_fitted_on():
    model = Forecaster("gru", None, scaling="standard")
    model.compile()
    with pytest.raises(UsageError, match=r"scaling: must be fitted first, .*; call adapt\(train\)"):
        model.fit(SineSegments(2), verbose=0)
