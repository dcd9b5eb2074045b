"""Initial weights: what each preset draws, and the same numbers on every engine."""

import math

import numpy as np
import pytest
from language_cases import VOCAB, same, tiny
from torch_twin import RECURRENT

import kseq

H = 64


def weights_of(cell, init, **options):
    """Give the weights of a model's one recurrent layer and of its read-out."""
    model = kseq.LanguageModel(VOCAB, cell, units=H, num_layers=1, init=init, **options)
    return model.stack.recurrent[0].get_weights(), model.stack.dense.get_weights()


def glorot(shape):
    return math.sqrt(6 / sum(shape))


@pytest.mark.parametrize(("cell", "gates"), [("simple_rnn", 1), ("gru", 3), ("lstm", 4)])
def test_kerass_way(cell, gates):
    (kernel, recurrent, bias), (dense, dense_bias) = weights_of(cell, "keras")
    for weight in (kernel, dense):
        bound = glorot(weight.shape)
        assert 0.95 * bound < np.abs(weight).max() <= bound
        assert np.isclose(weight.std(), bound / math.sqrt(3), rtol=0.1)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(H), atol=1e-5)
    forget = np.ones(H) if cell == "lstm" else np.zeros(0)
    assert bias.sum() == forget.sum()
    assert not dense_bias.any()
    assert kernel.shape[1] == gates * H


def test_the_forget_gate_starts_open_in_kerass_way_alone():
    for init in ("keras", "d2l"):
        (_, _, bias), _ = weights_of("lstm", init)
        assert bias.reshape(4, H).any(1).tolist() == [False, init == "keras", False, False]


@pytest.mark.parametrize("cell", ["simple_rnn", "gru", "lstm"])
def test_pytorchs_way_has_pytorchs_distribution(cell):
    ours, dense = weights_of(cell, "torch")
    theirs = dict(RECURRENT[cell](len(VOCAB), H).named_parameters())
    kernel, recurrent, bias = ours
    bound = 1 / math.sqrt(H)
    for weight, name in ((kernel, "weight_ih_l0"), (recurrent, "weight_hh_l0")):
        assert weight.T.shape == tuple(theirs[name].shape)
        assert 0.97 * bound < np.abs(weight).max() <= bound
        assert np.isclose(weight.std(), theirs[name].std().item(), rtol=0.1)
    both = theirs["bias_ih_l0"] + theirs["bias_hh_l0"]
    summed = bias.sum(0) if cell == "gru" else bias
    assert np.isclose(summed.std(), both.std().item(), rtol=0.25)
    for weight in dense:
        assert weight.any()
        assert np.abs(weight).max() <= bound


@pytest.mark.parametrize("cell", ["simple_rnn", "gru", "lstm"])
def test_d2ls_way(cell):
    (kernel, recurrent, bias), (dense, dense_bias) = weights_of(cell, "d2l")
    for weight in (kernel, recurrent, dense):
        assert np.isclose(weight.std(), 0.01, rtol=0.15)
        assert abs(weight.mean()) < 0.002
    assert not bias.any()
    assert not dense_bias.any()


def test_embeddings():
    deviations = {
        init: np.std(tiny(embedding_dim=400, init=init).stack.embedding.get_weights()[0])
        for init in ("keras", "torch", "d2l")
    }
    expected = {"keras": 0.05 / math.sqrt(3), "torch": 1.0, "d2l": 0.01}
    for init, deviation in deviations.items():
        assert np.isclose(deviation, expected[init], rtol=0.05)


def test_every_weight_has_a_stream_of_its_own():
    model = tiny("gru", num_layers=3, init="d2l")
    second, third = (layer.get_weights()[:2] for layer in model.stack.recurrent[1:])
    for one in second:
        for other in third:
            assert not np.allclose(one, other)
    assert not np.allclose(*second)


def test_the_seed_decides():
    assert same(tiny("lstm", seed=1).get_weights(), tiny("lstm", seed=1).get_weights())
    assert not np.allclose(
        tiny("lstm", seed=1).get_weights()[0], tiny("lstm", seed=2).get_weights()[0]
    )


# The sum of all weights, each times its position from 1 on, of 2 layers.
STORED = {
    ("gru", "keras"): -1324.358778,
    ("gru", "torch"): -1087.298801,
    ("gru", "d2l"): -59.845006,
    ("lstm", "keras"): 3753.313185,
    ("lstm", "torch"): -1884.713293,
    ("lstm", "d2l"): -47.623332,
    ("peephole_lstm", "keras"): 11579.661940,
    ("peephole_lstm", "torch"): 9253.974798,
    ("peephole_lstm", "d2l"): -62.828068,
}


@pytest.mark.parametrize("case", STORED, ids=" ".join)
def test_the_same_weights_on_every_engine(case):
    cell, init = case
    model = tiny(cell, num_layers=2, init=init, embedding_dim=4, seed=3)
    assert checksum(model) == pytest.approx(STORED[case], abs=1e-3)


def checksum(model):
    flat = np.concatenate([w.ravel() for w in model.get_weights()]).astype("float64")
    return float(flat @ np.arange(1, flat.size + 1))
