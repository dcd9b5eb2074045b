"""SimpleRNN, GRU and LSTM against the oracle and against Keras's own layers."""

import keras
import numpy as np
import oracle
import pytest
from gradients import gradients, weighted_sum
from recurrent_cases import (
    CASES,
    KERAS,
    KSEQ,
    QUICK,
    B,
    D,
    H,
    T,
    as_list,
    assert_close,
    draw,
    initial_state,
    kind_of,
    make,
    to_numpy,
    twins,
)

from kseq.backend import require_engine

EVERYTHING = {"return_sequences": True, "return_state": True}
OPTIONS = {
    "last output": {},
    "no bias": {"use_bias": False, "return_state": True},
    "backwards": {"go_backwards": True, **EVERYTHING},
    "relu, unrolled": {"activation": "relu", "unroll": True, **EVERYTHING},
    "dropout": {"dropout": 0.4, "seed": 3, **EVERYTHING},
    "both dropouts": {"dropout": 0.4, "recurrent_dropout": 0.4, "seed": 3},
}


@pytest.mark.parametrize("case", CASES)
def test_values_equal_the_oracle(case):
    layer, inputs, states = make(KSEQ, case, **EVERYTHING), draw(B, T, D), initial_state(case)
    outputs, last = oracle.forward(kind_of(case), inputs, states, layer.get_weights())
    assert_close(as_list(layer(inputs, initial_state=states)), [outputs, *last])


@pytest.mark.parametrize("case", CASES)
def test_gradients_equal_the_oracle(case):
    layer, inputs, states = make(KSEQ, case, **EVERYTHING), draw(B, T, D), initial_state(case)
    out_grads = [
        draw(B, T, H, seed=1),
        *(draw(B, H, seed=2 + i) for i in range(len(states))),
    ]

    def scalar(x, *first):
        return weighted_sum(layer(x, initial_state=list(first)), out_grads)

    found = gradients(scalar, [inputs, *states], layer.trainable_variables)
    d_inputs, d_first, d_weights = oracle.backward(
        kind_of(case),
        *(inputs.astype("float64"), states, layer.get_weights()),
        *(out_grads[0], out_grads[1:]),
    )
    assert_close(found[0], [d_inputs, *d_first], 1e-5)
    assert_close(found[1], d_weights, 1e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_equals_keras(case, options):
    ours, theirs = twins(case, **options)
    inputs, training = draw(B, T, D), "seed" in options
    found, expected = (as_list(layer(inputs, training=training)) for layer in (ours, theirs))
    assert_close(found, expected)
    if training:
        assert not np.allclose(found[0], as_list(ours(inputs))[0], atol=1e-2)


@pytest.mark.parametrize("case", ["gru", "lstm"])
@pytest.mark.parametrize(
    "options", [{"implementation": 1}, {"recurrent_activation": "hard_sigmoid"}], ids=str
)
def test_options_of_gated_layers_equal_keras(case, options):
    ours, theirs = twins(case, **options, **EVERYTHING)
    assert_close(as_list(ours(draw(B, T, D))), as_list(theirs(draw(B, T, D))))


def test_an_lstm_without_forget_bias_starts_like_keras():
    for bias in (True, False):
        layers = [kind["lstm"](H, unit_forget_bias=bias, **QUICK) for kind in (KSEQ, KERAS)]
        biases = [to_numpy(layer.cell.bias) for layer in layers if not layer.build((B, T, D))]
        assert (biases[0] == biases[1]).all()
        assert biases[0][H : 2 * H].tolist() == [float(bias)] * H


# Rows: nothing hidden, the end hidden, and steps hidden here and there.
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 0, 1, 1]], bool)


@pytest.mark.parametrize("case", CASES)
def test_masks_equal_keras(case):
    ours, theirs = twins(case, **EVERYTHING)
    call = {"mask": MASK, "initial_state": initial_state(case)}
    found = as_list(ours(draw(B, T, D), **call))
    assert_close(found, as_list(theirs(draw(B, T, D), **call)))
    unmasked = as_list(ours(draw(B, T, D), initial_state=initial_state(case)))
    assert np.abs(found[1] - unmasked[1]).max(1).round(5).astype(bool).tolist() == [0, 1, 1]


@pytest.mark.parametrize("case", KSEQ)
def test_bidirectional_equals_keras(case):
    wrapped = [keras.layers.Bidirectional(layer) for layer in twins(case, return_sequences=True)]
    for layer in wrapped:
        layer.build((B, T, D))
        layer.set_weights([draw(*w.shape, seed=i) for i, w in enumerate(layer.get_weights())])
    ours, theirs = wrapped
    assert type(ours.backward_layer) is KSEQ[kind_of(case)]
    assert_close(as_list(ours(draw(B, T, D))), as_list(theirs(draw(B, T, D))))


@pytest.mark.parametrize("case", KSEQ)
def test_half_precision_stays_near_keras(case):
    ours, theirs = twins(case, dtype="mixed_bfloat16", **EVERYTHING)
    found = ours(draw(B, T, D))
    assert {keras.backend.standardize_dtype(output.dtype) for output in found} == {"bfloat16"}
    assert_close(as_list(found), as_list(theirs(draw(B, T, D))), 0.03)


@pytest.mark.parametrize("case", CASES)
def test_a_frozen_layer_passes_gradients_to_its_inputs(case):
    layer, weights = make(KSEQ, case, trainable=False), [draw(B, H)]
    found, _ = gradients(lambda x: weighted_sum([layer(x)], weights), [draw(B, T, D)])
    d_outputs = np.zeros((B, T, H))
    d_outputs[:, -1] = weights[0]
    zeros = oracle.zero_states(case, B, H)
    expected, _, _ = oracle.backward(
        kind_of(case), draw(B, T, D), zeros, layer.get_weights(), d_outputs, zeros
    )
    assert_close(found, [expected], 1e-5)


def test_fit_takes_the_steps_keras_takes():
    trained = []
    for stack in zip(*(twins(kind, H, return_sequences=True) for kind in KSEQ), strict=True):
        model = keras.Sequential([keras.Input((T, H)), *stack])
        model.compile(keras.optimizers.SGD(0.5), "mse")
        before = model.get_weights()
        model.fit(draw(B, T, H), draw(B, T, H, seed=1), epochs=2, verbose=0)
        trained.append(model.get_weights())
        assert all(np.abs(w - old).max() > 1e-3 for w, old in zip(trained[-1], before, strict=True))
    assert_close(trained[0], trained[1], 1e-5)


ONLY_TORCH = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="only torch has fused recurrences"
)


@ONLY_TORCH
@pytest.mark.parametrize("case", KSEQ)
def test_gradients_of_a_backward_layer_with_dropout_equal_keras(case):
    options = {"go_backwards": True, "dropout": 0.4, "seed": 3, "use_bias": False}
    weights = [draw(B, T, H, seed=4)]

    def by_all(layer):
        def scalar(x):
            return weighted_sum([layer(x, training=True)], weights)

        return gradients(scalar, [draw(B, T, D)], layer.trainable_variables)

    ours, theirs = (by_all(layer) for layer in twins(case, return_sequences=True, **options))
    assert_close(ours[0] + ours[1], theirs[0] + theirs[1], 1e-5)


@ONLY_TORCH
@pytest.mark.parametrize(
    ("case", "options", "call", "fuses"),
    [
        *((case, {}, {}, True) for case in CASES),
        *((case, {}, {"mask": MASK}, True) for case in CASES),
        *((case, {"unroll": True}, {}, True) for case in KSEQ),
        *((case, OPTIONS["backwards"], {}, True) for case in KSEQ),
        *((case, OPTIONS["no bias"], {}, True) for case in KSEQ),
        *((case, OPTIONS["dropout"], {"training": True}, True) for case in KSEQ),
        *((case, OPTIONS["both dropouts"], {}, True) for case in KSEQ),
        *((case, OPTIONS["both dropouts"], {"training": True}, False) for case in KSEQ),
        *((case, {"implementation": 1}, {}, True) for case in ("gru", "lstm")),
        *((case, {"activation": "relu"}, {}, False) for case in KSEQ),
    ],
)
def test_the_fused_recurrence_runs_where_it_can(monkeypatch, case, options, call, fuses):
    room, ran = require_engine(), []
    original = room.recurrence
    monkeypatch.setattr(room, "recurrence", lambda *args: ran.append(original(*args)) or ran[-1])
    make(KSEQ, case, **options)(draw(B, T, D), **call)
    assert [outcome is not None for outcome in ran] == ([True] if fuses else [])
