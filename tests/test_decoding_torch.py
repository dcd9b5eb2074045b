"""PyTorch's decoder: each cell against the oracle, and what only this engine's has."""

import numpy as np
import oracle
import pytest
from language_cases import V, draw_ids, tiny, to_numpy
from test_decoding import ALL, close, opinionated, token_by_token

torch = pytest.importorskip("torch")

from kseq.backend import torch_decoding, torch_decoding_compiled  # noqa: E402
from kseq.nn.decoding import decoding_weights  # noqa: E402

pytestmark = [pytest.mark.engine("torch"), pytest.mark.usefixtures("recurrences")]


@pytest.mark.parametrize("rows", [2, 40])
@pytest.mark.parametrize("kind", ["simple_rnn", "gru", "lstm"])
def test_it_computes_what_the_equations_say(kind, rows):
    model, ids = opinionated(cell=kind), draw_ids(rows * 5).reshape(rows, 5)
    *weights, kernel, bias = [np.asarray(w, "float64") for w in model.get_weights()]
    first = oracle.zero_states(kind, rows, model.units)
    outputs, _ = oracle.forward(kind, np.eye(V)[ids], first, weights)
    close(token_by_token(model.decoder(), ids)[0], outputs @ kernel + bias)


@ALL
@pytest.mark.parametrize("rows", [1, 17])
def test_few_rows_and_many_give_the_logits_of_the_whole_text(options, rows):
    model, ids = opinionated(**options), draw_ids(rows * 9).reshape(rows, 9)
    close(token_by_token(model.decoder(), ids)[0], to_numpy(model(ids)))


def reset_before(model):
    """Give the model with GRU layers whose reset gate comes before the product."""
    rng = np.random.default_rng(3)
    for index, layer in enumerate(model.stack.recurrent):
        config = {**layer.get_config(), "reset_after": False}
        twin = type(layer).from_config(config)
        twin.build((None, None, V if index == 0 else model.units))
        twin.set_weights([rng.normal(0, 0.8, w.shape) for w in twin.get_weights()])
        model.stack.recurrent[index] = twin
    return model


@pytest.mark.parametrize("rows", [1, 20])
def test_the_reset_gate_before_the_product(rows):
    model, ids = reset_before(opinionated(cell="gru", num_layers=2)), draw_ids(rows * 6)
    kinds = [layer.kind for layer in decoding_weights(model.stack).layers]
    assert kinds == ["gru_reset_before"] * 2
    ids = ids.reshape(rows, 6)
    close(token_by_token(model.decoder(), ids)[0], to_numpy(model(ids)))


def test_a_large_vocabulary_is_looked_up_and_projected(monkeypatch):
    model, ids = opinionated(cell="lstm", embedding_dim=5), draw_ids(20).reshape(4, 5)
    few = token_by_token(model.decoder(), ids)[0]
    for module in (torch_decoding, torch_decoding_compiled):
        monkeypatch.setattr(module, "LARGEST_TABLE", 2)
    close(token_by_token(model.decoder(), ids)[0], few, 1e-6)


@pytest.mark.parametrize("cell", ["simple_rnn", "gru", "lstm"])
def test_half_precision_is_as_near_to_single_as_its_weights(cell):
    half, ids = tiny(cell, 2, dtype="mixed_bfloat16"), draw_ids(24).reshape(3, 8)
    rounded = [torch.tensor(w).bfloat16().float().numpy() for w in half.get_weights()]
    single = tiny(cell, 2)
    single.set_weights(rounded)
    found, state = token_by_token(half.decoder(), ids)
    close(found, to_numpy(single(ids)))
    close(found, to_numpy(half(ids)), 0.05)
    # A state of this step goes back through the layers, and one of the layers into this step.
    logits, after = half.decoder()(ids[:, :2], state)
    close(
        half.decoder()(ids[:, :1], after)[0], to_numpy(half(ids[:, :1], initial_state=after)), 0.05
    )
    assert logits.dtype == np.float32
    assert half.generate(["a", "bcd"], 3) == [half.generate(text, 3) for text in ("a", "bcd")]


def test_double_precision_stays_double():
    model, ids = opinionated(cell="gru", dtype="float64"), draw_ids(6).reshape(2, 3)
    _, state = token_by_token(model.decoder(), ids)
    assert state[0][0].dtype == torch.float64
    close(state[0][0].numpy(), model(ids, return_state=True)[1][0][0].detach().numpy(), 1e-12)


def test_weights_are_laid_out_once_a_text(monkeypatch):
    made, lay_out = [], torch_decoding.lay_out
    monkeypatch.setattr(torch_decoding, "lay_out", lambda w: made.append(w) or lay_out(w))
    model = tiny("lstm")
    model.generate("abc", 20)
    model.generate(["a", "abc"], 20)
    assert len(made) == 2


def test_adapted_weights_are_seen():
    model, ids = opinionated(cell="gru"), draw_ids(1).reshape(1, 1)
    model.generate("a", 2)
    model.stack.dense.enable_lora(2)
    adapter = model.stack.dense.lora_kernel_b
    adapter.assign(np.ones(adapter.shape))
    close(model.decoder()(ids, None)[0], to_numpy(model(ids)))


def test_texts_written_in_turns_do_not_disturb_each_other():
    model = opinionated(cell="lstm")
    alone = [model.generate(text, 30) for text in ("a", "fed")]
    pieces = zip(*(model.stream(text, 30) for text in ("a", "fed")), strict=True)
    assert ["".join(parts) for parts in zip(*pieces, strict=True)] == alone
