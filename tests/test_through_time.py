"""Gradients through time: the engine's gradient by hand, the norms and the truncations."""

import math

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from recurrent_cases import to_numpy

from kseq.backend import gradient
from kseq.errors import UsageError
from kseq.nn.jacobians import drawn_layer, drawn_sequence, kernel_terms
from kseq.nn.through_time import state_gradients, truncation

CELLS = ("simple_rnn", "gru", "lstm")
STEPS = {"simple_rnn": oracle.simple_rnn_step, "gru": oracle.gru_step, "lstm": oracle.lstm_step}
BACKS = {"simple_rnn": oracle.simple_rnn_back, "gru": oracle.gru_back, "lstm": oracle.lstm_back}
T, H = 12, 5


def weights_of(layer):
    return [w.astype("float64") for w in layer.get_weights()]


def states_by_oracle(cell, layer, inputs):
    """Give the states before each step and after the last: T + 1 lists of (1, H)."""
    states = [oracle.zero_states(cell, 1, layer.units)]
    for x in inputs.astype("float64"):
        states.append(STEPS[cell](x[None], states[-1], weights_of(layer)))
    return states


# The engine's gradient


def test_a_gradient_worked_by_hand():
    def function(tensors):
        x, y, _ = tensors
        return ops.sum(x * x) + 3 * ops.sum(x) * ops.sum(y)

    x, y, unused = np.float32([1, 2]), np.float32([[5.0]]), np.float32([7, 7, 7])
    value, (by_x, by_y, by_unused) = gradient(function, [x, y, unused])

    assert float(value) == 5 + 45
    assert to_numpy(by_x).tolist() == [2 + 15, 4 + 15]
    assert to_numpy(by_y).tolist() == [[9]]
    assert to_numpy(by_unused).tolist() == [0, 0, 0]


def test_a_gradient_is_that_of_the_tensors_given_now():
    def function(tensors):
        return ops.sum(tensors[0] ** 3)

    slopes = [to_numpy(gradient(function, [np.float32([x])])[1][0]) for x in (1, 2, 3)]

    assert np.ravel(slopes).tolist() == [3, 12, 27]


def test_the_gradient_of_a_look_up_has_the_shape_of_the_table():
    rows = np.array([2, 0, 2])
    _, (by_table,) = gradient(
        lambda tensors: ops.sum(ops.take(tensors[0], ops.convert_to_tensor(rows), axis=0)),
        [np.zeros((4, 2), "float32")],
    )

    assert to_numpy(by_table).tolist() == [[1, 1], [0, 0], [2, 2], [0, 0]]


def test_the_tensors_are_left_as_they_are():
    x = ops.convert_to_tensor(np.float32([2.0]))
    gradient(lambda tensors: ops.sum(tensors[0] ** 2), [x])

    assert not getattr(x, "requires_grad", False)
    assert to_numpy(x).tolist() == [2]


# Norms step by step back


def test_two_steps_worked_by_hand():
    layer, (inputs, _) = drawn_layer("simple_rnn", 1, gain=0.8), drawn_sequence(2, 1)
    W, R, _ = (w.item() for w in weights_of(layer))
    h_1 = math.tanh(inputs[0, 0] * W)
    h_2 = math.tanh(inputs[1, 0] * W + h_1 * R)

    found = state_gradients("simple_rnn", num_steps=2, units=1, gain=0.8).norms

    assert abs(R) == pytest.approx(0.8)
    assert found == pytest.approx([0.8 * (1 - h_2**2), 1], rel=1e-6)
    assert found.dtype == np.float64


@pytest.mark.parametrize("cell", CELLS)
def test_the_norms_are_the_oracles(cell):
    layer, (inputs, direction) = drawn_layer(cell, H, gain=1.2, seed=3), drawn_sequence(T, H, 3)
    states = states_by_oracle(cell, layer, inputs)
    back = [[direction[None].astype("float64"), np.zeros((1, H))][: len(states[0])]]
    for t in range(T - 1, 0, -1):
        x = inputs[t : t + 1].astype("float64")
        back.append(BACKS[cell](x, states[t], weights_of(layer), back[-1])[1])
    norms = np.array([[np.linalg.norm(part) for part in d_states] for d_states in back[::-1]])

    found = state_gradients(cell, T, H, gain=1.2, seed=3)

    np.testing.assert_allclose(found.norms, norms[:, 0], rtol=1e-5)
    if cell == "lstm":
        np.testing.assert_allclose(found.cell_norms, norms[:, 1], rtol=1e-5)
    else:
        assert found.cell_norms is None


@settings(max_examples=4)
@given(st.floats(0.2, 1.0), st.integers(0, 100))
def test_a_plain_rnn_passes_back_no_more_than_its_gain(gain, seed):
    norms = state_gradients("simple_rnn", num_steps=30, units=4, gain=gain, seed=seed).norms

    assert (norms <= gain ** np.arange(29.0, -1, -1) * (1 + 1e-4)).all()
    assert norms[-1] == pytest.approx(1)


def test_a_vanishing_gradient_is_not_lost_below_the_smallest_float32():
    norms = state_gradients("simple_rnn", num_steps=100, units=3, gain=0.1).norms

    assert 0 < norms[0] < 1e-98


def test_gradients_explode_above_a_gain_of_one():
    norms = state_gradients("simple_rnn", num_steps=100, gain=2.0).norms

    assert norms[0] > 1e3


@pytest.mark.parametrize(
    ("cell", "gate_bias"), [("lstm", -1), ("lstm", 1), ("lstm", 3), ("gru", 3)]
)
def test_beside_a_small_matrix_the_gate_alone_decides(cell, gate_bias):
    found = state_gradients(cell, 60, 8, gain=0.1, gate_bias=gate_bias)
    norms = found.norms if cell == "gru" else found.cell_norms
    a_step = (norms[9] / norms[49]) ** (1 / 40)

    assert found.gate_bias == gate_bias
    assert a_step == pytest.approx(1 / (1 + math.exp(-gate_bias)), rel=0.1)


def test_open_forget_gates_keep_the_gradient_alive():
    closed, usual, wide = (
        state_gradients("lstm", 60, gain=0.5, gate_bias=b) for b in (-1, None, 3)
    )
    plain = state_gradients("simple_rnn", 60, gain=0.5)

    assert closed.norms[0] < 1e-20 < plain.norms[0] < 0.5**59
    assert plain.norms[0] < 1e-8 < usual.norms[0] < 1e-2 < wide.norms[0]
    assert [result.gate_bias for result in (plain, closed, usual, wide)] == [None, -1, 1, 3]
    assert (wide.norms[-1], wide.cell_norms[-1]) == (pytest.approx(1), 0)
    assert plain.cell_norms is None


# Truncation


def test_random_truncation_has_no_bias_and_the_variance_it_must():
    steps, tau, draws = 6, 3, 10_000
    result = truncation(num_steps=steps, units=4, tau=tau, draws=draws, seed=1)
    terms = kernel_terms(drawn_layer("simple_rnn", 4, seed=1), *drawn_sequence(steps, 4, 1))
    # E[w_s w_t] is 1/keep for each step that both go through.
    shared = np.subtract(steps - 1, np.maximum.outer(np.arange(steps), np.arange(steps)))
    second = (result.keep ** -shared.astype(float) * (terms @ terms.T)).sum()
    size = (terms.sum(0) ** 2).sum()

    assert result.keep == pytest.approx(2 / 3)
    assert result.random.deviation == pytest.approx(math.sqrt(second / size - 1), rel=0.05)
    assert result.random.bias < 3 * result.random.deviation / math.sqrt(draws)
    assert result.random.bias < result.regular.bias / 10
    assert result.random.length == pytest.approx(sum((2 / 3) ** k for k in range(6)), rel=0.03)


def test_the_mean_of_random_truncations_comes_near_the_full_gradient():
    result = truncation("lstm", num_steps=12, units=3, tau=4, draws=4000)

    assert result.errors.shape == (4000,)
    assert result.errors[-1] == pytest.approx(result.random.bias)
    assert result.errors[-1] < result.errors[9] / 3
    assert result.errors[-1] < result.regular.bias / 3


def test_regular_truncation_keeps_the_last_steps():
    result = truncation(num_steps=9, units=3, tau=4, draws=5)
    terms = kernel_terms(drawn_layer("simple_rnn", 3), *drawn_sequence(9, 3))
    full, kept = terms.sum(0), terms[-4:].sum(0)
    size = np.linalg.norm(full)

    assert result.regular.cosine == pytest.approx(kept @ full / size / np.linalg.norm(kept))
    assert result.regular.relative_norm == pytest.approx(np.linalg.norm(kept) / size)
    assert result.regular.bias == pytest.approx(np.linalg.norm(kept - full) / size)
    assert (result.regular.deviation, result.regular.length) == (0, 4)


def test_to_truncate_after_all_steps_is_not_to_truncate():
    result = truncation(num_steps=7, units=3, tau=7, draws=5)

    for way in (result.full, result.regular):
        assert (way.cosine, way.relative_norm) == (pytest.approx(1), pytest.approx(1))
        assert (way.bias, way.deviation, way.length) == (pytest.approx(0, abs=1e-12), 0, 7)


# Arguments


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: state_gradients("ltsm"), "cell: must be .*, found 'ltsm'; did you mean 'lstm'"),
        (lambda: state_gradients(num_steps=1), "num_steps: must be .*, at least 2, found 1"),
        (lambda: state_gradients(num_steps=501), "num_steps: must be .*, at most 500, found 501"),
        (lambda: state_gradients(units=65), "units: must be .*, at most 64, found 65"),
        (lambda: state_gradients(gain=0), "gain: must be a finite number above 0, found 0"),
        (lambda: state_gradients(seed=-1), "seed: must be a whole number, at least 0, found -1"),
        (lambda: state_gradients(gate_bias=1.0), "gate_bias: must be left out .*, found 1.0"),
        (lambda: state_gradients("gru", gate_bias=math.nan), "gate_bias: must be .*, found nan"),
        (lambda: truncation(tau=1), "tau: must be a whole number, at least 2, found 1"),
        (lambda: truncation(num_steps=4, tau=5), "tau: must be .*, at most 4, found 5"),
        (lambda: truncation(units=33), "units: must be .*, at most 32, found 33"),
        (lambda: truncation(draws=0), "draws: must be a whole number, at least 1, found 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()
