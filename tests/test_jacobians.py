"""What one step passes back: against finite differences, the oracle, and layers run as a whole."""

import math

import numpy as np
import oracle
import pytest
from keras import ops
from recurrent_cases import to_numpy

from kseq.backend import gradient
from kseq.nn.jacobians import (
    back_through_time,
    drawn_layer,
    drawn_sequence,
    jacobians,
    kernel_terms,
    states_before,
)

CELLS = ("simple_rnn", "gru", "lstm")
STEPS = {"simple_rnn": oracle.simple_rnn_step, "gru": oracle.gru_step, "lstm": oracle.lstm_step}
T, H = 12, 5


def weights_of(layer):
    return [w.astype("float64") for w in layer.get_weights()]


def states_by_oracle(cell, layer, inputs):
    """Give the states before each step and after the last: T + 1 lists of (1, H)."""
    states = [oracle.zero_states(cell, 1, layer.units)]
    for x in inputs.astype("float64"):
        states.append(STEPS[cell](x[None], states[-1], weights_of(layer)))
    return states


def sequence_and_layer(cell, **options):
    inputs, direction = drawn_sequence(T, H, seed=3)
    return drawn_layer(cell, H, **{"gain": 1.2, "seed": 3, **options}), inputs, direction


# Layers drawn for the lesson


@pytest.mark.parametrize("cell", CELLS)
def test_each_recurrent_matrix_is_orthogonal_times_the_gain(cell):
    recurrent = weights_of(drawn_layer(cell, H, gain=1.5))[1]

    for matrix in np.split(recurrent, recurrent.shape[1] // H, axis=1):
        np.testing.assert_allclose(matrix @ matrix.T, 2.25 * np.eye(H), atol=1e-5)


def test_the_gate_that_keeps_the_old_state_has_the_bias():
    lstm, gru = (drawn_layer(cell, 2, gate_bias=-3).get_weights()[2] for cell in ("lstm", "gru"))

    assert lstm.tolist() == [0, 0, -3, -3, 0, 0, 0, 0]
    assert gru.tolist() == [[-3, -3, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
    assert drawn_layer("lstm", 2).get_weights()[2].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_the_seed_decides_weights_and_inputs():
    one, same, other = (drawn_layer("gru", 3, seed=seed).get_weights() for seed in (1, 1, 2))

    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert not (one[0] == other[0]).any()
    assert not (one[1] == other[1]).any()
    assert not (drawn_sequence(5, 3, 1)[0] == drawn_sequence(5, 3, 2)[0]).any()


# States and Jacobians


@pytest.mark.parametrize("cell", CELLS)
def test_the_states_are_the_oracles(cell):
    layer, inputs, _ = sequence_and_layer(cell)
    expected = states_by_oracle(cell, layer, inputs)[:-1]

    for number, found in enumerate(states_before(layer, inputs)):
        by_oracle = np.concatenate([states[number] for states in expected])
        np.testing.assert_allclose(found, by_oracle, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_jacobians_are_finite_differences_of_the_oracle(cell):
    layer, inputs, _ = sequence_and_layer(cell)
    states, eps = states_by_oracle(cell, layer, inputs), 1e-6
    found = jacobians(layer, inputs)

    S = found.shape[1]
    assert found.shape == (T - 1, S, S)
    for t in range(1, T):
        before = np.concatenate(states[t], axis=-1)
        moved = before + eps * np.concatenate([np.eye(S), -np.eye(S)])
        x = np.repeat(inputs[t : t + 1].astype("float64"), 2 * S, axis=0)
        split = np.split(moved, S // H, axis=-1)
        after = np.concatenate(STEPS[cell](x, split, weights_of(layer)), axis=-1)
        np.testing.assert_allclose(found[t - 1].T, (after[:S] - after[S:]) / 2 / eps, atol=2e-6)


def test_an_lstm_without_weights_keeps_its_cell_times_the_forget_gate():
    layer = drawn_layer("lstm", 1, gate_bias=2)
    layer.set_weights([np.zeros((1, 4)), np.zeros((1, 4)), np.array([0, 2, 0, 0])])
    f = 1 / (1 + math.exp(-2))

    # h = o tanh(c) at c = 0, where tanh is straight and the output gate is a half.
    expected = [[0, f / 2], [0, f]]
    np.testing.assert_allclose(jacobians(layer, np.ones((3, 1), "float32")), 2 * [expected], 1e-6)


def test_a_gru_without_weights_keeps_its_state_times_the_update_gate():
    layer = drawn_layer("gru", 1)
    layer.set_weights([np.zeros((1, 3)), np.zeros((1, 3)), np.array([[-1, 0, 0], [0, 0, 0]])])
    z = 1 / (1 + math.e)

    np.testing.assert_allclose(jacobians(layer, np.ones((2, 1), "float32")), [[[z]]], 1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_product_is_the_gradient_of_the_layer_run_at_once(cell):
    layer, inputs, direction = sequence_and_layer(cell)
    after_first = [state[1:2] for state in states_before(layer, inputs)]

    def loss(states):
        _, h, *_ = layer(inputs[None, 1:], initial_state=states)
        return ops.sum(h * ops.convert_to_tensor(direction))

    _, found = gradient(loss, after_first)
    back = back_through_time(jacobians(layer, inputs), direction)

    np.testing.assert_allclose(back[0], np.hstack([to_numpy(d)[0] for d in found]), atol=1e-6)


# Terms of the kernel's gradient


def kernel_gradient(layer, inputs, direction, links):
    """Give the gradient by R with each state passed on by so much, one step at a time."""
    kernel, recurrent, bias = layer.get_weights()
    x = ops.convert_to_tensor(inputs[None])
    others = [variable.value for variable in layer.non_trainable_variables]
    first = [np.zeros((1, H), "float32") for _ in states_before(layer, inputs)]

    def loss(tensors):
        recurrent, links = tensors
        states = [ops.convert_to_tensor(state) for state in first]
        for t in range(len(inputs)):
            held = [ops.stop_gradient(state) for state in states]
            pairs = zip(states, held, strict=True)
            states = [links[t] * s + (1 - links[t]) * h for s, h in pairs]
            weights = [ops.convert_to_tensor(kernel), recurrent, ops.convert_to_tensor(bias)]
            (_, *states), _ = layer.stateless_call(
                weights, others, x[:, t : t + 1], initial_state=states
            )
        return ops.sum(states[0] * ops.convert_to_tensor(direction))

    return [to_numpy(gradient(loss, [recurrent, each])[1][0]).ravel() for each in links]


@pytest.mark.parametrize("cell", ["simple_rnn", "lstm"])
def test_the_terms_make_what_a_layer_gives_whose_states_are_cut(cell):
    layer, inputs, direction = sequence_and_layer(cell)
    inputs = inputs[:4]
    links = np.float32([[1, 1, 1, 1], [1, 1, 0, 1], [1.25, 0, 1.25, 1.25]])

    terms = kernel_terms(layer, inputs, direction)
    found = kernel_gradient(layer, inputs, direction, links)

    np.testing.assert_allclose(terms.sum(0), found[0], atol=2e-6)
    np.testing.assert_allclose(terms[2:].sum(0), found[1], atol=2e-6)
    factors = [0, 1.25**2, 1.25, 1]
    np.testing.assert_allclose(factors @ terms, found[2], atol=5e-6)


def test_the_full_gradient_is_the_oracles():
    layer, inputs, direction = sequence_and_layer("gru")
    first, last = oracle.zero_states("gru", 1, H), [direction[None].astype("float64")]
    args = (inputs[None].astype("float64"), first, weights_of(layer), np.zeros((1, T, H)), last)
    by_oracle = oracle.backward("gru", *args)[2][1]

    found = kernel_terms(layer, inputs, direction).sum(0)

    np.testing.assert_allclose(found, by_oracle.ravel(), atol=2e-6)
