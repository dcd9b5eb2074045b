"""Recurrent layers and a language model, gate by gate, in NumPy float64: slow, plain, trusted.

The layers of kseq are compared with what is written here; what is written here is compared with
finite differences in test_oracle.py.

Weights are in Keras's layout, gates side by side on the last axis (GRU z, r, h; LSTM i, f, c, o):
W (D, G H), R (H, G H) and b (G H,).  A GRU whose b is (2, 3H), one row for the inputs and one for
the state, applies its reset gate after the product; one whose b is (3H,) before it.  A layer
without bias has a b of zeros.  States are lists: [h], or for an LSTM [h, c], each (B, H).
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn_step(x, states, weights):
    W, R, b = weights
    (h,) = states
    return [np.tanh(x @ W + h @ R + b)]


def simple_rnn_back(x, states, weights, d_states):
    """Give the gradients of x, of the states and of W, R, b from those of the next states."""
    W, R, _ = weights
    (h,), (d_new,) = states, d_states
    (new,) = simple_rnn_step(x, states, weights)
    d_a = d_new * (1 - new**2)
    return d_a @ W.T, [d_a @ R.T], [x.T @ d_a, h.T @ d_a, d_a.sum(0)]


def gru_step(x, states, weights):
    (h,) = states
    z, _, n, _ = _gru_gates(x, h, weights)
    return [z * h + (1 - z) * n]


def gru_back(x, states, weights, d_states):
    (h,), (d_new,) = states, d_states
    z, r, n, p = _gru_gates(x, h, weights)
    d_z = d_new * (h - n) * z * (1 - z)
    d_n = d_new * (1 - z) * (1 - n**2)
    back = _gru_back_after if weights[2].ndim == 2 else _gru_back_before
    d_x, d_h, d_weights = back(x, h, weights, (r, p), (d_z, d_n))
    return d_x, [d_h + d_new * z], d_weights


def _gru_gates(x, h, weights):
    """Give z, r, n and what the reset gate multiplies: h R_h + c_h after, h before the product."""
    W_z, W_r, W_h = np.split(weights[0], 3, -1)
    R_z, R_r, R_h = np.split(weights[1], 3, -1)
    after = weights[2].ndim == 2
    b, c = weights[2] if after else (weights[2], np.zeros_like(weights[2]))
    (b_z, b_r, b_h), (c_z, c_r, c_h) = np.split(b, 3), np.split(c, 3)
    z = sigmoid(x @ W_z + b_z + h @ R_z + c_z)
    r = sigmoid(x @ W_r + b_r + h @ R_r + c_r)
    p = h @ R_h + c_h if after else h
    n = np.tanh(x @ W_h + b_h + (r * p if after else (r * h) @ R_h))
    return z, r, n, p


def _gru_back_after(x, h, weights, gates, d_gates):
    W, R, _ = weights
    (r, p), (d_z, d_n) = gates, d_gates
    d_r = d_n * p * r * (1 - r)
    d_inputs = np.concatenate([d_z, d_r, d_n], -1)
    d_products = np.concatenate([d_z, d_r, d_n * r], -1)
    d_b = np.stack([d_inputs.sum(0), d_products.sum(0)])
    return d_inputs @ W.T, d_products @ R.T, [x.T @ d_inputs, h.T @ d_products, d_b]


def _gru_back_before(x, h, weights, gates, d_gates):
    W, R, _ = weights
    (r, _), (d_z, d_n) = gates, d_gates
    R_z, R_r, R_h = np.split(R, 3, -1)
    d_kept = d_n @ R_h.T
    d_r = d_kept * h * r * (1 - r)
    d_a = np.concatenate([d_z, d_r, d_n], -1)
    d_h = d_z @ R_z.T + d_r @ R_r.T + d_kept * r
    d_R = np.concatenate([h.T @ d_z, h.T @ d_r, (r * h).T @ d_n], -1)
    return d_a @ W.T, d_h, [x.T @ d_a, d_R, d_a.sum(0)]


def lstm_step(x, states, weights):
    _, c = states
    i, f, g, o = _lstm_gates(x, states, weights)
    c = f * c + i * g
    return [o * np.tanh(c), c]


def lstm_back(x, states, weights, d_states):
    W, R, _ = weights
    (h, c), (d_h, d_c) = states, d_states
    i, f, g, o = _lstm_gates(x, states, weights)
    squashed = np.tanh(f * c + i * g)
    d_c = d_c + d_h * o * (1 - squashed**2)
    d_i = d_c * g * i * (1 - i)
    d_f = d_c * c * f * (1 - f)
    d_g = d_c * i * (1 - g**2)
    d_o = d_h * squashed * o * (1 - o)
    d_a = np.concatenate([d_i, d_f, d_g, d_o], -1)
    return d_a @ W.T, [d_a @ R.T, d_c * f], [x.T @ d_a, h.T @ d_a, d_a.sum(0)]


def _lstm_gates(x, states, weights):
    W, R, b = weights
    i, f, g, o = np.split(x @ W + states[0] @ R + b, 4, -1)
    return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


def peephole_lstm_step(x, states, weights):
    """Advance an LSTM whose weights are W, R, b and the peepholes P (3, H) of i, f and o."""
    W, R, b, (p_i, p_f, p_o) = weights
    h, c = states
    i, f, g, o = np.split(x @ W + h @ R + b, 4, -1)
    c_new = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
    return [sigmoid(o + p_o * c_new) * np.tanh(c_new), c_new]


_STEPS = {
    "simple_rnn": simple_rnn_step,
    "gru": gru_step,
    "lstm": lstm_step,
    "peephole_lstm": peephole_lstm_step,
}
_BACKS = {"simple_rnn": simple_rnn_back, "gru": gru_back, "lstm": lstm_back}


def forward(kind, inputs, states, weights):
    """Run inputs (B, T, D) from `states`; give the outputs (B, T, H) and the last states."""
    outputs = []
    for x in np.swapaxes(inputs, 0, 1):
        states = _STEPS[kind](x, states, weights)
        outputs.append(states[0])
    return np.stack(outputs, 1), states


def backward(kind, inputs, states, weights, d_outputs, d_states):
    """Backpropagate through time from the gradients of the outputs and of the last states.

    Gives the gradients of the inputs (B, T, D), of the first states and of the weights W, R, b.
    """
    steps = np.swapaxes(inputs, 0, 1)
    before = [states]
    for x in steps[:-1]:
        before.append(_STEPS[kind](x, before[-1], weights))
    d_inputs, d_weights = np.zeros_like(inputs), [np.zeros_like(w) for w in weights]
    for t in reversed(range(len(steps))):
        d_states = [d_states[0] + d_outputs[:, t], *d_states[1:]]
        d_x, d_states, d_w = _BACKS[kind](steps[t], before[t], weights, d_states)
        d_inputs[:, t] = d_x
        d_weights = [total + d for total, d in zip(d_weights, d_w, strict=True)]
    return d_inputs, d_states, d_weights


def zero_states(kind, batch_size, units):
    return [np.zeros((batch_size, units)) for _ in range(2 if "lstm" in kind else 1)]


def token_nats(logits, targets):
    """Give -ln of the probability of each target: logits (..., V), targets (...)."""
    logits = np.asarray(logits, "float64")
    with np.errstate(divide="ignore"):
        shifted = logits - logits.max(-1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -np.take_along_axis(log_probabilities, np.asarray(targets)[..., None], -1)[..., 0]


def mean_nats(logits, targets, weights=None):
    """Give the mean nats per token, weighted by `weights` of the targets' shape if given."""
    nats = token_nats(logits, targets)
    weights = np.ones(nats.shape) if weights is None else np.asarray(weights, "float64")
    return (np.where(weights > 0, nats, 0) * weights).sum() / weights.sum()


def cross_entropy(logits, targets):
    """Give the mean nats per token and its gradient by the logits."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    d_logits = exponentials / exponentials.sum(-1, keepdims=True)
    d_logits -= np.eye(logits.shape[-1])[targets]
    return mean_nats(logits, targets), d_logits / targets.size


def clip_by_global_norm(gradients, bound):
    """Scale all gradients by bound / norm if the norm over all of them exceeds the bound."""
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    return [g * min(1.0, bound / norm) if norm else g for g in gradients]


def train_language_model(weights, batches, learning_rate, clip, epochs=1):
    """Train by truncated backpropagation through time; give the loss of every step, in nats.

    weights: as `model.get_weights()` of a one-hot language model gives them: W, R, b of each
    recurrent layer, then the read-out's kernel (H, V) and bias (V,).  They are left as they are.
    batches: pairs of ids (B, T) and targets (B, T), in order; iterated anew in every epoch.  The
    state is zero at the start of an epoch and carried, without its gradient, from then on.
    clip: bound on the norm over all gradients together; SGD takes the step.
    """
    weights = [np.asarray(w, "float64") for w in weights]
    losses = []
    for _ in range(epochs):
        state = None
        for ids, targets in batches:
            loss, gradients, state = language_model_step(weights, ids, targets, state)
            gradients = clip_by_global_norm(gradients, clip)
            weights = [w - learning_rate * g for w, g in zip(weights, gradients, strict=True)]
            losses.append(loss)
    return losses


def language_model_step(weights, ids, targets, state=None):
    """Give the loss of one batch, its gradients in the order of `weights`, and the last state.

    state: for each layer its list of states, or None for zeros.
    """
    layers = [weights[i : i + 3] for i in range(0, len(weights) - 2, 3)]
    kernel, bias = weights[-2:]
    if state is None:
        state = [zero_states(_kind(layer), len(ids), layer[1].shape[0]) for layer in layers]
    inputs, last = [np.eye(kernel.shape[1])[ids]], []
    for layer, first in zip(layers, state, strict=True):
        outputs, states = forward(_kind(layer), inputs[-1], first, layer)
        inputs.append(outputs)
        last.append(states)
    loss, d_logits = cross_entropy(inputs[-1] @ kernel + bias, targets)
    gradients = [np.einsum("bth,btv->hv", inputs[-1], d_logits), d_logits.sum((0, 1))]
    d_outputs = d_logits @ kernel.T
    for layer, first, x in reversed(list(zip(layers, state, inputs[:-1], strict=True))):
        d_last = [np.zeros_like(s) for s in first]
        d_outputs, _, d_weights = backward(_kind(layer), x, first, layer, d_outputs, d_last)
        gradients = [*d_weights, *gradients]
    return loss, gradients, last


def _kind(layer):
    """Tell a layer's kind by how many gates its recurrent kernel (H, G H) holds."""
    H, width = layer[1].shape
    return {1: "simple_rnn", 3: "gru", 4: "lstm"}[width // H]
