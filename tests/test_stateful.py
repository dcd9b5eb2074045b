"""`stateful=True`: the state is remembered between batches and trained through, on every engine.

The last tests state what Keras's own layers do wrong.  They fail when a new Keras mends it: then
`FusedRecurrence` may have less to do.
"""

import keras
import numpy as np
import oracle
import pytest
from recurrent_cases import KERAS, KSEQ, B, D, H, T, as_list, assert_close, draw, make, to_numpy

KINDS = tuple(KSEQ)
N = 3  # batches that continue one another


def long_inputs():
    return draw(B, N * T, D)


def folded(sequences):
    """Give sequences (B, N T, ...) as N batches of (B, T, ...) that continue one another."""
    return np.concatenate(np.split(sequences, N, 1))


def stateful(kind, classes=KSEQ, **options):
    return make(classes, kind, stateful=True, return_sequences=True, **options)


def end_of(kind):
    """Give the oracle's states at the end of the long inputs."""
    weights, states = make(KSEQ, kind).get_weights(), oracle.zero_states(kind, B, H)
    return oracle.forward(kind, long_inputs(), states, weights)[1]


def sequential(*layers, features=D):
    return keras.Sequential([keras.Input(batch_shape=(B, T, features)), *layers])


@pytest.mark.parametrize("kind", KINDS)
def test_one_long_run_equals_carried_ones(kind):
    layer, whole = stateful(kind), make(KSEQ, kind, return_sequences=True)
    carried = [to_numpy(layer(batch)) for batch in np.split(long_inputs(), N, 1)]
    assert_close([np.concatenate(carried, 1)], as_list(whole(long_inputs())))
    assert_close([to_numpy(state) for state in layer.states], end_of(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_state_replaces_the_remembered_one(kind):
    layer, whole = stateful(kind), make(KSEQ, kind, return_sequences=True)
    layer(draw(B, T, D, seed=4))
    first = [draw(B, H, seed=i) for i in range(len(layer.states))]
    found = layer(draw(B, T, D), initial_state=first)
    expected = whole(draw(B, T, D), initial_state=first)
    assert_close(as_list(found), as_list(expected))


def test_predict_and_evaluate_remember_until_reset():
    stack = [stateful(kind) for kind in KINDS[:2]]
    stack[1] = make(KSEQ, "gru", H, stateful=True, return_sequences=True)
    model = sequential(*stack)
    model.compile(loss="mse")
    first, second = (model.predict(draw(B, T, D), verbose=0) for _ in range(2))
    assert not np.allclose(first, second, atol=1e-3)
    for layer in stack:
        layer.reset_state()
        assert [to_numpy(state).any() for state in layer.states] == [False]
    assert_close([model.predict(draw(B, T, D), verbose=0)], [first])
    assert model.evaluate(draw(B, T, D), second, B, verbose=0) < 1e-10


class ResetEveryEpoch(keras.callbacks.Callback):
    """Reset the states inside `fit`, and note the running loss after every batch."""

    def __init__(self):
        super().__init__()
        self.running = []

    def on_epoch_begin(self, epoch, logs=None):
        for layer in self.model.layers:
            if getattr(layer, "stateful", False):
                layer.reset_state()

    def on_train_batch_end(self, batch, logs=None):
        self.running.append(logs["loss"])


def test_fit_trains_through_the_carried_state():
    """The losses of a stack of all three are those of truncated backpropagation by hand."""
    V = 5
    ids = np.random.default_rng(0).integers(0, V, (B, N * T + 1))
    inputs, targets = folded(np.eye(V, dtype="float32")[ids[:, :-1]]), folded(ids[:, 1:])
    stack = [
        make(KSEQ, kind, H if i else V, stateful=True, return_sequences=True)
        for i, kind in enumerate(KINDS)
    ]
    model = sequential(*stack, keras.layers.Dense(V, kernel_initializer="zeros"), features=V)
    model.layers[-1].set_weights([draw(H, V), draw(V)])
    weights = model.get_weights()
    model.compile(
        keras.optimizers.SGD(0.5, global_clipnorm=0.3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    notes = ResetEveryEpoch()
    model.fit(inputs, targets, B, epochs=2, shuffle=False, verbose=0, callbacks=[notes])
    batches = list(zip(np.split(inputs.argmax(-1), N), np.split(targets, N), strict=True))
    losses = oracle.train_language_model(weights, batches, 0.5, clip=0.3, epochs=2)
    running = np.cumsum(np.reshape(losses, (2, N)), 1) / np.arange(1, N + 1)
    assert notes.running == pytest.approx(running.ravel().tolist(), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_no_part_of_the_saved_weights(tmp_path, kind):
    model = sequential(stateful(kind))
    model.predict(draw(B, T, D), verbose=0)
    assert len(model.get_weights()) == len(model.layers[0].weights) == 3
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert not any(to_numpy(state).any() for state in copy.layers[0].states)
    model.save_weights(tmp_path / "a.weights.h5")
    other = keras.Sequential([keras.Input(batch_shape=(2 * B, T, D)), KSEQ[kind](H, stateful=True)])
    other.load_weights(tmp_path / "a.weights.h5")
    pairs = zip(other.get_weights(), model.get_weights(), strict=True)
    assert all((a == b).all() for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_another_batch_size_is_refused(kind):
    with pytest.raises(ValueError, match="Expected batch size: 3"):
        stateful(kind)(draw(B + 1, T, D))


@pytest.mark.parametrize("kind", KINDS)
def test_states_in_half_precision_are_remembered_and_reset(kind):
    layer = stateful(kind, dtype="mixed_bfloat16")
    layer(draw(B, T, D))
    assert all(to_numpy(state).any() for state in layer.states)
    layer.reset_state()
    assert not any(to_numpy(state).any() for state in layer.states)


def fit_once(kind, classes):
    model = sequential(stateful(kind, classes))
    model.compile(keras.optimizers.SGD(1e-9), "mse")
    zeros = np.zeros((N * B, T, H), "float32")
    model.fit(folded(long_inputs()), zeros, B, shuffle=False, verbose=0)
    return [to_numpy(state) for state in model.layers[0].states]


def test_the_state_after_fit_is_that_of_all_batches():
    assert_close(fit_once("gru", KSEQ), end_of("gru"), 1e-5)


def test_tells_when_keras_changes_what_fit_does_with_a_state():
    engine = keras.backend.backend()
    if engine == "torch":
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            fit_once("gru", KERAS)
    elif engine == "jax":
        assert not any(state.any() for state in fit_once("gru", KERAS))
    else:
        assert_close(fit_once("gru", KERAS), end_of("gru"), 1e-5)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only on JAX does Keras forget")
def test_tells_when_keras_remembers_a_state_on_jax():
    model = sequential(stateful("lstm", KERAS))
    first, second = (model.predict(draw(B, T, D), verbose=0) for _ in range(2))
    assert_close([first], [second])
