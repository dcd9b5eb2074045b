"""The decoder against the model called whole: every engine, every cell, every way of reading."""

import keras
import numpy as np
import pytest
from conftest import ROOT
from language_cases import VOCAB, V, draw_ids, tiny, to_numpy

import kseq
from kseq.backend import require_engine
from kseq.generation import Sampling, generate_ids, sample
from kseq.nn.decoding import decoding_weights

CASES = {
    "simple_rnn": {"cell": "simple_rnn", "num_layers": 2},
    "gru": {"cell": "gru", "num_layers": 2},
    "lstm": {"cell": "lstm", "num_layers": 2},
    "embedding": {"cell": "lstm", "embedding_dim": 5},
    "tied": {"cell": "gru", "tie_weights": True, "dropout": 0.3, "num_layers": 2},
    "teaching": {"cell": "peephole_lstm"},
}
ALL = pytest.mark.parametrize("options", CASES.values(), ids=CASES)


def opinionated(**options):
    """Give a tiny model whose weights, biases included, are drawn large."""
    model, rng = tiny(**options), np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.8, w.shape) for w in model.get_weights()])
    return model


def token_by_token(step, ids):
    """Give the logits (B, T, V) of reading one token at a time, and the last state."""
    logits, state = [], None
    for column in ids.T:
        read, state = step(column[:, None], state)
        logits.append(read)
    return np.concatenate(logits, 1), state


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)


@ALL
def test_token_by_token_it_gives_the_logits_of_the_whole_text(options):
    model, ids = opinionated(**options), draw_ids(27).reshape(3, 9)
    logits, state = model(ids, return_state=True)
    found, last = token_by_token(model.decoder(), ids)
    assert found.dtype == np.float32
    close(found, to_numpy(logits))
    for layer, expected in zip(last, state, strict=True):
        for one, other in zip(layer, expected, strict=True):
            close(to_numpy(one), to_numpy(other))


@ALL
def test_prompts_of_any_lengths_are_read_as_each_alone(options):
    model, sampling = opinionated(**options), Sampling(1.0, seed=3)
    prompts, whole = [draw_ids(n) for n in (1, 7, 70, 7)], require_engine().compile_step(model)
    together = np.stack(list(generate_ids(model.decoder(), prompts, 8, sampling)), 1)
    for row, prompt in enumerate(prompts):
        text, rng = prompt.tolist(), sampling.generators(row + 1)[row]
        for _ in range(8):
            # The zeros behind the text change nothing, and one shape is compiled.
            padded = np.zeros((1, 80), "int32")
            padded[0, : len(text)] = text
            logits = whole(padded, None)[0][0, len(text) - 1]
            text.append(sample(logits, sampling, rng))
        assert together[row].tolist() == text[len(prompt) :]


@pytest.mark.parametrize("name", ["story-lstm", "time_machine-gru"])
@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(0.7, 9, 0.95, seed=1)], ids=["greedy", "drawn"]
)
def test_a_trained_model_writes_what_it_writes_through_its_layers(name, sampling):
    model = kseq.load_model(ROOT / "saved_models" / f"{name}.keras")
    prompts = [model.vocab.encode(text) for text in ("the sea ", "time")]

    slow = require_engine().compile_step(model)
    fast = list(generate_ids(model.decoder(), prompts, 60, sampling))
    assert np.array_equal(fast, list(generate_ids(slow, prompts, 60, sampling)))


@pytest.mark.engine("jax", "tensorflow")
def test_prompts_of_all_lengths_are_compiled_for_once(engine):
    model = tiny("gru")
    for length in (1, 5, 64, 65, 200):
        model.generate("a" * length, 2)
    step = model.decoder()
    if engine == "jax":
        assert (step.compiled_read._cache_size(), step.compiled._cache_size()) == (1, 1)
    else:
        counts = [f.experimental_get_tracing_count() for f in (step.traced_read, step.traced)]
        assert counts == [1, 1]


def test_an_earlier_state_may_be_gone_on_from():
    step, ids = opinionated(cell="lstm").decoder(), draw_ids(4).reshape(1, 4)
    _, state = token_by_token(step, ids)
    first, _ = step(ids[:, :1], state)
    step(ids[:, 1:2], state)
    again, _ = step(ids[:, :1], state)
    assert np.array_equal(first, again)


def test_new_weights_are_seen_at_once():
    model, ids = opinionated(cell="gru"), draw_ids(1).reshape(1, 1)
    step = model.decoder()
    _, state = step(ids, None)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()[:-1]] + [np.arange(V)])
    close(step(ids, state)[0][0, 0], np.arange(V))
    model.compile(keras.optimizers.SGD(0.5))
    model.train_on_batch(draw_ids(12).reshape(3, 4), draw_ids(12, 1).reshape(3, 4))
    close(step(ids, state)[0], to_numpy(model(ids, initial_state=state)))


# Which models can be read past their layers.


def kinds(model):
    weights = decoding_weights(model.stack)
    return weights and [layer.kind for layer in weights.layers]


def test_what_is_known_of_a_plain_model():
    model = tiny("lstm", 2, tie_weights=True)
    weights = decoding_weights(model.stack)
    assert kinds(model) == ["lstm", "lstm"]
    assert weights.dtype == "float32"
    assert weights.kernel is None
    assert {id(v) for v in weights.variables()} == {id(v) for v in model.trainable_variables}
    assert decoding_weights(tiny("gru").stack).embedding is None


def test_a_layer_that_is_not_plain_is_run_as_it_is():
    assert kinds(tiny("scratch_gru")) is None
    for change in (
        {"activation": keras.activations.relu},
        {"recurrent_activation": keras.activations.hard_sigmoid},
        {"bias": None},
    ):
        model = opinionated(cell="lstm")
        for name, value in change.items():
            setattr(model.stack.recurrent[0].cell, name, value)
        assert kinds(model) is None
    model = opinionated(cell="gru")
    assert kinds(model) == ["gru"]
    model.stack.dense.activation = keras.activations.tanh
    ids = draw_ids(6).reshape(2, 3)
    close(token_by_token(model.decoder(), ids)[0], to_numpy(model(ids)))


def test_a_model_with_a_call_of_its_own_is_called():
    class Louder(kseq.LanguageModel):
        def call(self, ids, initial_state=None, return_state=False, training=False):
            logits, state = super().call(ids, initial_state, True, training)
            return (logits * 2, state) if return_state else logits * 2

    model, ids = Louder(VOCAB, cell="gru", units=4, num_layers=1), draw_ids(4).reshape(2, 2)
    close(token_by_token(model.decoder(), ids)[0], to_numpy(model(ids)))
