"""The decoder in C++ against its twin in PyTorch's operations, and what only it can get wrong."""

import gc
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from language_cases import draw_ids, tiny
from test_decoding import opinionated, token_by_token

import kseq
from kseq.backend import compiled
from kseq.backend.decoding import DecodingWeights, RecurrentWeights
from kseq.nn.decoding import decoding_weights

torch = pytest.importorskip("torch")
from kseq.backend import torch_decoding, torch_decoding_compiled  # noqa: E402

pytestmark = [
    pytest.mark.engine("torch"),
    pytest.mark.skipif(compiled.library("float") is None, reason="no C++ compiler here"),
]

GATES = {"simple_rnn": 1, "gru": 3, "gru_reset_before": 3, "lstm": 4}
# Around the widths of a vector, of a panel and of a tile of rows.
ROWS = [1, 2, 7, 8, 9, 64]
SIZES = [1, 5, 16, 17, 40, 63, 130]


def variable(rng, *shape):
    """Give what has a variable's tensor and shape."""
    fan_in = shape[0] if len(shape) == 2 else 1
    value = torch.tensor(rng.normal(0, fan_in**-0.5, shape), dtype=torch.float32)
    return SimpleNamespace(value=value, shape=shape)


def drawn(kind, H, V, D=None, layers=2, tied=False):
    """Give weights of layers whose units differ, but for the last of tied ones."""
    rng, G, below, stack = np.random.default_rng([H, V]), GATES[kind], D or V, []
    for index in range(layers):
        units = H if index + 1 == layers else H + 3
        bias = (2, G * units) if kind == "gru" else (G * units,)
        shapes = [(below, G * units), (units, G * units), bias]
        stack.append(RecurrentWeights(kind, *(variable(rng, *shape) for shape in shapes)))
        below = units
    embedding = variable(rng, V, D) if D else None
    kernel = None if tied else variable(rng, H, V)
    return DecodingWeights(embedding, tuple(stack), kernel, variable(rng, V), "float32")


def networks(weights):
    """Give the one in C++ and its twin."""
    take = torch_decoding._Rounded(weights.dtype)
    ours = torch_decoding_compiled.compiled_network(weights, take)
    assert ours is not None
    return ours, torch_decoding._Network(weights)


def assert_twins(weights, rows, steps=3, tolerance=1e-5):
    V = weights.bias.shape[0]
    ids = np.random.default_rng(rows).integers(0, V, (rows, steps + 1)).astype("int32")
    results = []
    with torch.no_grad():
        for network in networks(weights):
            logits, state = network.read(ids[:, :steps], None)
            last, state = network.read(ids[:, steps:], state)
            results.append([logits, last, *[one.numpy() for layer in state for one in layer]])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("H", SIZES)
@pytest.mark.parametrize("kind", GATES)
def test_every_size_gives_what_pytorch_gives(kind, H):
    for rows in ROWS:
        assert_twins(drawn(kind, H, V=28), rows)


@pytest.mark.parametrize("V", [1, 2, 15, 16, 33, 49, 64, 70])
def test_every_vocabulary_is_read_out(V):
    for rows in (1, 9):
        assert_twins(drawn("lstm", 20, V), rows)
        assert_twins(drawn("lstm", 7, V, D=7, layers=1, tied=True), rows)


@pytest.mark.parametrize("kind", GATES)
def test_vectors_of_ten_thousand_words_tied(kind):
    assert_twins(drawn(kind, 24, 10_000, D=24, tied=True), 3)


@pytest.mark.parametrize("tied", [False, True])
def test_vectors_of_a_small_vocabulary_are_projected_once(tied):
    assert_twins(drawn("gru", 21, 12, D=21, layers=3, tied=tied), 5)


@pytest.mark.parametrize("rows", [1, 7, 40])
@pytest.mark.parametrize("kind", GATES)
def test_the_number_of_threads_changes_nothing(kind, rows):
    before, found = torch.get_num_threads(), []
    network, _ = networks(drawn(kind, 300, 28))  # enough work to be shared
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            logits, state = network.read(draw_ids(rows * 2).reshape(rows, 2), None)
            found.append([logits, *[one.numpy() for layer in state for one in layer]])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(other, found[0], strict=True))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "saved_models").glob("*.keras")), ids=lambda p: p.stem
)
def test_a_trained_model_writes_the_same_text(path):
    model = kseq.load_model(path)
    if not isinstance(model, kseq.LanguageModel):
        pytest.skip("not a language model")
    word = model.vocab.to_tokens([3])[0]
    for options in ({}, {"temperature": 0.8, "top_k": 9, "top_p": 0.95, "seed": 4}):
        found = model.generate(word, 100, **options)
        with compiled.disabled():
            assert model.generate(word, 100, **options) == found


def made_by(model):
    model.generate("a", 2)
    return type(model.decoder().network)


def test_it_is_used_where_it_can_be():
    assert made_by(tiny("lstm")) is torch_decoding_compiled.CompiledNetwork
    assert made_by(tiny("lstm", dtype="float64")) is torch_decoding._Network
    with compiled.disabled():
        assert made_by(tiny("lstm")) is torch_decoding._Network


def test_an_earlier_state_stays_as_it_was():
    step, ids = opinionated(cell="lstm").decoder(), draw_ids(5).reshape(1, 5)
    _, state = token_by_token(step, ids)
    kept = [one.clone() for layer in state for one in layer]
    token_by_token(lambda column, after: step(column, after or state), ids)
    assert all(torch.equal(a, b) for a, b in zip([s for y in state for s in y], kept, strict=True))


def test_strided_and_wide_states_are_read_right():
    network, _ = networks(drawn("lstm", 6, 9))
    ids = draw_ids(6).reshape(3, 2) % 9
    _, state = network.read(ids, None)
    expected, _ = network.read(ids, state)
    strange = [[one.t().contiguous().t(), two.double().numpy()] for one, two in state]
    assert np.array_equal(network.read(ids, strange)[0], expected)


def test_what_is_no_token_is_refused():
    network, _ = networks(drawn("gru", 6, 9))
    for wrong in (-1, 9):
        with pytest.raises(kseq.DataError, match=rf"^ids: must be .* 0 to 8, found .*{wrong}.*; "):
            network.read(np.array([[1], [wrong]]), None)


def test_a_state_of_other_rows_is_refused():
    network, _ = networks(drawn("gru", 6, 9, layers=1))
    _, state = network.read(np.array([[1], [2]]), None)
    with pytest.raises(kseq.DataError, match=r"^state: must be .*\(1, 6\).*found.*\(2, 6\).*; "):
        network.read(np.array([[1]]), state)


def test_a_thousand_texts_leave_one_decoder(monkeypatch):
    alive, made = [], torch_decoding_compiled._made
    freed, count = torch_decoding_compiled._free, []

    def making(*arguments):
        alive.append(made(*arguments))
        count.append(1)
        return alive[-1]

    def freeing(library, decoder):
        alive.remove(decoder)
        freed(library, decoder)

    monkeypatch.setattr(torch_decoding_compiled, "_made", making)
    monkeypatch.setattr(torch_decoding_compiled, "_free", freeing)
    model = tiny("lstm")
    for _ in range(1000):
        model.generate("a", 2)
    assert (len(count), len(alive)) == (1000, 1)
    del model
    gc.collect()
    assert not alive


def test_two_threads_may_use_one_decoder():
    network, _ = networks(drawn("gru_reset_before", 90, 28))
    ids = [draw_ids(200, seed).reshape(4, 50) for seed in range(2)]
    alone = [network.read(each, None)[0] for each in ids]
    found = [None, None]

    def read(which):
        for _ in range(5):
            found[which] = network.read(ids[which], None)[0]

    threads = [threading.Thread(target=read, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(map(np.array_equal, found, alone))


def test_the_twin_knows_the_same_kinds():
    assert list(torch_decoding_compiled.KINDS) == list(GATES)
    counts = {kind: cell.num_states for kind, cell in torch_decoding._CELLS.items()}
    assert counts == torch_decoding_compiled.KINDS
    assert decoding_weights(tiny("gru").stack).layers[0].kind in GATES
