"""LanguageModel: shapes, sizes, state, and the same logits as a NumPy oracle and bare PyTorch."""

import gradients
import keras
import numpy as np
import oracle
import pytest
import torch
from language_cases import UNITS, VOCAB, V, draw_ids, logits_of, same, tiny, to_numpy
from torch_twin import RECURRENT, Twin

import kseq
from kseq import UsageError

FUSED = ("simple_rnn", "gru", "lstm")
CELLS = (*FUSED, "scratch_simple_rnn", "scratch_gru", "scratch_lstm", "peephole_lstm")
B, T = 3, 5
IDS = draw_ids(B * T).reshape(B, T)


def with_random_weights(model, seed=0):
    """Give the model with every weight drawn, the biases and the peepholes too."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.4, w.shape).astype("float32") for w in model.get_weights()])
    return model


def run(model, ids, state=None):
    """Give the logits and the state as NumPy arrays."""
    logits, state = model(np.asarray(ids, "int32"), initial_state=state, return_state=True)
    return to_numpy(logits), [[to_numpy(part) for part in layer] for layer in state]


def assert_close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


# Shapes.


@pytest.mark.parametrize("cell", CELLS)
def test_shapes_and_types(cell):
    logits, state = tiny(cell, num_layers=2)(IDS, return_state=True)
    assert tuple(logits.shape) == (B, T, V)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    parts = 2 if "lstm" in cell else 1
    assert [[tuple(part.shape) for part in layer] for layer in state] == [[(B, UNITS)] * parts] * 2


def test_any_depth_any_batch_and_any_length():
    model = with_random_weights(tiny("simple_rnn", num_layers=4))
    assert len(model.stack.recurrent) == 4
    together = logits_of(model, IDS)
    assert_close(logits_of(model, IDS[1:2]), together[1:2], 1e-6)
    assert_close(logits_of(model, IDS[:, :1]), together[:, :1], 1e-6)


def test_logits_do_not_see_the_tokens_to_come():
    model = with_random_weights(tiny("lstm", num_layers=2))
    other = IDS.copy()
    other[:, 3:] = other[:, 3:] % (V - 1) + 1
    found, changed = logits_of(model, IDS), logits_of(model, other)
    assert_close(found[:, :3], changed[:, :3], 1e-6)
    assert np.abs(found[:, 3:] - changed[:, 3:]).max() > 1e-2


# Equal to what others compute.


@pytest.mark.parametrize("cell", FUSED)
@pytest.mark.parametrize(
    "options",
    [{}, {"embedding_dim": 4}, {"tie_weights": True}],
    ids=["one-hot", "embedding", "tied"],
)
def test_equals_bare_pytorch(cell, options):
    model = with_random_weights(tiny(cell, num_layers=2, **options))
    with torch.no_grad():
        expected, last = Twin(model)(torch.from_numpy(IDS).long())
    logits, state = run(model, IDS)
    assert_close(logits, expected.numpy())
    parts = last if cell == "lstm" else [last]
    for number, part in enumerate(parts):
        assert_close(np.stack([layer[number] for layer in state]), part.numpy())


@pytest.mark.parametrize("cell", ["scratch_simple_rnn", "scratch_lstm", "peephole_lstm"])
def test_cells_from_scratch_equal_the_fused_layers(cell):
    fused = with_random_weights(tiny(cell.replace("scratch_", "").replace("peephole_", "")))
    model = tiny(cell)
    model.stack.recurrent[0].cell.assign_fused(*fused.stack.recurrent[0].get_weights())
    model.stack.dense.set_weights(fused.stack.dense.get_weights())
    assert_close(logits_of(model, IDS), logits_of(fused, IDS))


def test_the_gru_from_scratch_resets_before_the_product():
    weights = [w.astype("float64") for w in with_random_weights(tiny("lstm")).get_weights()]
    kernel, recurrent, bias = (w[..., : 3 * UNITS] for w in weights[:3])
    model = tiny("scratch_gru")
    model.stack.recurrent[0].cell.assign_fused(kernel, recurrent, bias)
    model.stack.dense.set_weights(weights[3:])
    zeros = oracle.zero_states("gru", B, UNITS)
    outputs, _ = oracle.forward("gru", np.eye(V)[IDS], zeros, (kernel, recurrent, bias))
    assert_close(logits_of(model, IDS), outputs @ weights[3] + weights[4])


def test_an_embedding_of_unit_vectors_is_one_hot():
    one_hot = with_random_weights(tiny("gru"))
    embedded = tiny("gru", embedding_dim=V)
    embedded.set_weights([np.eye(V), *one_hot.get_weights()])
    assert_close(logits_of(embedded, IDS), logits_of(one_hot, IDS), 1e-6)


# Tied weights.


def test_tied_weights_are_one_matrix():
    tied, loose = tiny(tie_weights=True), tiny(embedding_dim=UNITS)
    assert tied.embedding_dim == UNITS
    assert loose.count_params() - tied.count_params() == UNITS * V
    assert sum(w.shape == (V, UNITS) for w in tied.weights) == 1


def test_the_gradient_of_a_tied_matrix_is_the_sum_of_both_uses():
    tied = with_random_weights(tiny(tie_weights=True))
    loose = tiny(embedding_dim=UNITS)
    matrix = tied.stack.embedding.get_weights()[0]
    loose.stack.embedding.set_weights([matrix])
    loose.stack.recurrent[0].set_weights(tied.stack.recurrent[0].get_weights())
    loose.stack.dense.set_weights([matrix.T, to_numpy(tied.stack.bias)])
    assert_close(logits_of(loose, IDS), logits_of(tied, IDS), 1e-6)

    def gradient(model, *variables):
        weights = [np.random.default_rng(1).normal(size=(B, T, V)).astype("float32")]
        _, found = gradients.gradients(
            lambda: gradients.weighted_sum([model(IDS)], weights), [], variables
        )
        return found

    (both,) = gradient(tied, tied.stack.embedding.embeddings)
    read_in, read_out = gradient(loose, loose.stack.embedding.embeddings, loose.stack.dense.kernel)
    assert np.abs(read_in).max() > 1e-2
    assert_close(both, read_in + read_out.T)


# State.


@pytest.mark.parametrize("cell", ["lstm", "scratch_gru"])
def test_one_long_run_equals_two_that_hand_the_state_on(cell):
    model = with_random_weights(tiny(cell, num_layers=2))
    whole, last = run(model, IDS)
    first, state = run(model, IDS[:, :2])
    second, carried = run(model, IDS[:, 2:], state)
    assert_close(np.concatenate([first, second], 1), whole, 1e-6)
    for found, expected in zip(carried, last, strict=True):
        assert_close(found, expected, 1e-6)
    assert np.abs(second - run(model, IDS[:, 2:])[0]).max() > 1e-2


def test_a_text_starts_at_a_state_of_zeros():
    model = with_random_weights(tiny("lstm"))
    zeros = model.zero_state(B)
    assert [[to_numpy(part).any() for part in layer] for layer in zeros] == [[False, False]]
    assert same([logits_of(model, IDS)], [logits_of(model, IDS, initial_state=zeros)])
    assert same([logits_of(model, IDS)], [logits_of(model, IDS, training=True)])
    with pytest.raises(UsageError, match=r"^batch_size: must be a whole number, at least 1"):
        model.zero_state(0)


# Dropout.


def test_dropout_acts_in_training_only_and_between_layers_only():
    model = with_random_weights(tiny(num_layers=2, dropout=0.5))
    still, (bottom, top) = run(model, IDS)
    assert same([still], [run(model, IDS)[0]])
    logits, state = model(IDS, return_state=True, training=True)
    logits, state = to_numpy(logits), [to_numpy(layer[0]) for layer in state]
    assert same([state[0]], bottom)
    assert np.abs(state[1] - top[0]).max() > 1e-2
    kernel, bias = model.stack.dense.get_weights()
    assert_close(logits[:, -1], state[1] @ kernel + bias)
    again = to_numpy(model(IDS, training=True))
    assert np.abs(again - logits).max() > 1e-2


def test_one_layer_has_nothing_to_drop():
    model = with_random_weights(tiny(dropout=0.9))
    assert same([logits_of(model, IDS)], [logits_of(model, IDS, training=True)])


# Half precision.


@pytest.mark.parametrize("cell", FUSED)
def test_half_precision_gives_float32_logits_close_by(cell):
    full = with_random_weights(tiny(cell))
    half = tiny(cell, dtype="mixed_bfloat16")
    half.set_weights(full.get_weights())
    logits, state = half(IDS, return_state=True)
    dtypes = [keras.backend.standardize_dtype(x.dtype) for x in (logits, state[0][0])]
    assert dtypes == ["float32", "bfloat16"]
    assert {w.dtype for w in half.weights} == {"float32"}
    assert_close(to_numpy(logits), logits_of(full, IDS), 0.05)


# Sizes.

D2L = [
    ("simple_rnn", 256, 1, 80_412),
    ("gru", 256, 1, 226_844),
    ("lstm", 256, 1, 300_060),
    ("lstm", 256, 2, 826_396),
    ("gru", 256, 2, 621_596),
]


@pytest.mark.parametrize(("cell", "units", "num_layers", "published"), D2L)
def test_parameters_are_those_of_d2l_less_pytorchs_second_biases(
    cell, units, num_layers, published
):
    V = 28
    vocab = kseq.Vocab([chr(ord("a") + i) for i in range(26)] + [" "])
    model = kseq.LanguageModel(vocab, cell, units, num_layers)
    gates = {"simple_rnn": 1, "gru": 3, "lstm": 4}[cell]
    biases = 2 if cell == "gru" else 1
    widths = [V] + [units] * (num_layers - 1)
    layers = sum(gates * units * (width + units + biases) for width in widths)
    assert model.count_params() == layers + units * V + V
    twin = RECURRENT[cell](V, units, num_layers)
    assert sum(p.numel() for p in twin.parameters()) + units * V + V == published
    assert published - model.count_params() == (2 - biases) * gates * units * num_layers


def test_parameters_of_the_rnn_from_scratch_are_those_of_d2l():
    vocab = kseq.Vocab([chr(ord("a") + i) for i in range(26)] + [" "])
    assert kseq.LanguageModel(vocab, "scratch_simple_rnn", 512, 1).count_params() == 291_356


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cell": "ltsm"}, r"^cell: must be .*found 'ltsm'; did you mean 'lstm'\?"),
        ({"init": "pytorch"}, r"^init: must be 'keras', 'torch' or 'd2l', found 'pytorch'"),
        ({"units": 0}, r"^units: must be a whole number, at least 1, found 0"),
        ({"units": 10**12}, r"^units: must be a whole number, at most 65,536, found 1000000000000"),
        ({"num_layers": 1.5}, r"^num_layers: must be a whole number, at least 1, found 1.5"),
        ({"embedding_dim": -3}, r"^embedding_dim: must be a whole number, at least 1, found -3"),
        ({"dropout": 1.0}, r"^dropout: must be a number at least 0 and below 1, found 1.0"),
        ({"dropout": float("nan")}, r"^dropout: must be a number at least 0 and below 1"),
        ({"seed": -1}, r"^seed: must be a whole number, at least 0, found -1"),
        (
            {"tie_weights": True, "embedding_dim": 5},
            r"^tie_weights: embedding_dim must equal units, found 5 and 6; ",
        ),
        (
            {"bidirectional": True},
            r"^bidirectional: a language model must not see the token it is to predict",
        ),
    ],
)
def test_arguments_that_cannot_be_used(options, words):
    with pytest.raises(UsageError, match=words):
        tiny(**options)


def test_the_configuration_makes_the_same_model():
    model = tiny("gru", num_layers=2, embedding_dim=3, dropout=0.25, init="torch", seed=5)
    twin = kseq.LanguageModel.from_config(model.get_config())
    assert twin.get_config() == model.get_config()
    assert twin.vocab == VOCAB
    assert same(twin.get_weights(), model.get_weights())


def test_a_vocabulary_of_nothing_is_refused():
    with pytest.raises(UsageError, match=r"^vocab: must hold a token besides <unk>, found none; "):
        kseq.LanguageModel(kseq.Vocab(), "gru", 2, 1)
