"""The oracle itself, against finite differences and numbers worked by hand: NumPy alone."""

import math

import numpy as np
import oracle
import pytest

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

B, T, D, H, V = 2, 4, 3, 5, 6
GATES = {"simple_rnn": 1, "gru": 3, "gru_before": 3, "lstm": 4}


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(0, 0.8, shape)


def layer_weights(case, inputs=D, units=H, seed=0):
    width = GATES[case] * units
    bias_shape = (2, width) if case == "gru" else (width,)
    return [draw(inputs, width, seed=seed), draw(units, width, seed=seed), draw(*bias_shape)]


def by_differences(function, array, step=1e-5):
    """Give the gradient of a scalar function by each entry of `array`, by central differences."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = function()
        array[index] = value - step
        below = function()
        array[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient


@pytest.mark.parametrize("case", GATES)
def test_backward_agrees_with_finite_differences(case):
    kind, weights, inputs = case.removesuffix("_before"), layer_weights(case), draw(B, T, D)
    states = [draw(B, H, seed=1 + i) for i in range(2 if case == "lstm" else 1)]
    d_outputs = draw(B, T, H)
    d_states = [draw(B, H, seed=3 + i) for i in range(len(states))]

    def scalar():
        outputs, last = oracle.forward(kind, inputs, states, weights)
        ends = sum((d * s).sum() for d, s in zip(d_states, last, strict=True))
        return (outputs * d_outputs).sum() + ends

    d_inputs, d_first, d_weights = oracle.backward(
        kind, inputs, states, weights, d_outputs, d_states
    )
    pairs = [(inputs, d_inputs), *zip(states, d_first, strict=True)]
    for array, gradient in [*pairs, *zip(weights, d_weights, strict=True)]:
        np.testing.assert_allclose(gradient, by_differences(scalar, array), rtol=0, atol=1e-8)


def test_one_unit_steps_worked_by_hand():
    x, h, c = np.array([[2.0]]), np.array([[0.5]]), np.array([[0.25]])
    one = np.ones((1, 4))
    (rnn,) = oracle.simple_rnn_step(x, [h], [one[:, :1], 2 * one[:, :1], np.array([-1.0])])
    assert rnn.item() == pytest.approx(math.tanh(2 + 1 - 1))
    s = 1 / (1 + math.exp(-2.5))
    (gru,) = oracle.gru_step(x, [h], [one[:, :3], one[:, :3], np.zeros((2, 3))])
    assert gru.item() == pytest.approx(s * 0.5 + (1 - s) * math.tanh(2 + s * 0.5))
    lstm_h, lstm_c = oracle.lstm_step(x, [h, c], [one, one, np.zeros(4)])
    assert lstm_c.item() == pytest.approx(s * 0.25 + s * math.tanh(2.5))
    assert lstm_h.item() == pytest.approx(s * math.tanh(lstm_c.item()))


def test_peephole_step_worked_by_hand():
    x, h, c, zero = np.array([[1.0]]), np.array([[0.0]]), np.array([[0.5]]), np.zeros((1, 4))
    peepholes = np.array([[2.0], [4.0], [8.0]])
    _, new = oracle.peephole_lstm_step(x, [h, c], [zero, zero, np.array([0, 0, 1, 0]), peepholes])
    expected = oracle.sigmoid(4 * 0.5) * 0.5 + oracle.sigmoid(2 * 0.5) * math.tanh(1)
    assert new.item() == pytest.approx(expected)
    out, _ = oracle.peephole_lstm_step(x, [h, c], [zero, zero, np.array([0, 0, 1, 0]), peepholes])
    assert out.item() == pytest.approx(oracle.sigmoid(8 * expected) * math.tanh(expected))


def test_where_the_reset_gate_stands_matters_only_with_a_state():
    x, zero, h = draw(B, D), np.zeros((B, H)), draw(B, H)
    W, R, b = layer_weights("gru_before")
    after = [W, R, np.stack([b, np.zeros_like(b)])]
    assert np.allclose(oracle.gru_step(x, [zero], [W, R, b]), oracle.gru_step(x, [zero], after))
    assert not np.allclose(oracle.gru_step(x, [h], [W, R, b]), oracle.gru_step(x, [h], after))


@pytest.mark.parametrize("case", GATES)
def test_one_long_run_is_two_carried_ones(case):
    kind, weights, inputs = case.removesuffix("_before"), layer_weights(case), draw(B, 2 * T, D)
    outputs, last = oracle.forward(kind, inputs, oracle.zero_states(kind, B, H), weights)
    _, middle = oracle.forward(kind, inputs[:, :T], oracle.zero_states(kind, B, H), weights)
    second, end = oracle.forward(kind, inputs[:, T:], middle, weights)
    for one, other in [(outputs[:, T:], second), *zip(last, end, strict=True)]:
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_mean_nats_counts_tokens_as_much_as_their_weights():
    logits = np.log(np.array([[[0.5, 0.5], [0.25, 0.75]]]))
    targets = np.array([[0, 0]])
    assert oracle.mean_nats(logits, targets) == pytest.approx((math.log(2) + math.log(4)) / 2)
    weighted = oracle.mean_nats(logits, targets, [[3, 1]])
    assert weighted == pytest.approx((3 * math.log(2) + math.log(4)) / 4)
    impossible = np.array([[[0.0, 0.0], [-np.inf, 0.0]]])
    assert oracle.mean_nats(impossible, targets, [[1, 0]]) == pytest.approx(math.log(2))


def test_clipping_scales_all_gradients_together():
    clipped = oracle.clip_by_global_norm([np.array([3.0]), np.array([4.0])], 1.0)
    assert np.allclose(np.concatenate(clipped), [0.6, 0.8])
    assert oracle.clip_by_global_norm([np.array([3.0])], 4.0) == [np.array([3.0])]


def language_model_weights(*cases):
    recurrent = [
        w for i, case in enumerate(cases) for w in layer_weights(case, H if i else V, seed=i)
    ]
    return [*recurrent, draw(H, V), draw(V)]


@pytest.mark.parametrize("cases", [("simple_rnn", "gru"), ("lstm", "lstm"), ("gru_before",)])
def test_language_model_gradients_agree_with_finite_differences(cases):
    weights, rng = language_model_weights(*cases), np.random.default_rng(0)
    ids, targets = rng.integers(0, V, (2, B, T))
    _, _, state = oracle.language_model_step(weights, ids, targets)
    _, gradients, _ = oracle.language_model_step(weights, targets, ids, state)

    def loss():
        return oracle.language_model_step(weights, targets, ids, state)[0]

    for weight, gradient in zip(weights, gradients, strict=True):
        np.testing.assert_allclose(gradient, by_differences(loss, weight), rtol=0, atol=1e-9)


def test_training_carries_the_state_and_learns():
    weights, rng = language_model_weights("lstm"), np.random.default_rng(1)
    text = np.tile(rng.integers(0, V, 8), 20)
    batches = [(text[None, i : i + 4], text[None, i + 1 : i + 5]) for i in range(0, 60, 4)]
    losses = oracle.train_language_model(weights, batches, 1.0, clip=1.0, epochs=15)
    fresh = [oracle.train_language_model(weights, [batch], 1.0, 1.0)[0] for batch in batches]
    assert losses[0] == pytest.approx(fresh[0], rel=1e-12)
    assert losses[1] != pytest.approx(fresh[1], rel=1e-3)
    assert np.mean(losses[-15:]) < 0.2 < 1.5 < np.mean(losses[:2])
