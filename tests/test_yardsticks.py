"""The bare PyTorch loops compute what kseq computes, and the bound counts its products."""

import numpy as np
import pytest
import torch
from torch_twin import _by_torch_name, _readout_bias

import kseq
from kseq.backend.product_bound import flops, product_shapes, products
from kseq.backend.yardsticks import (
    D2lLoop,
    ExpertLoop,
    Yardstick,
    d2l_generate,
    expert_generate,
    mlp_step,
)

CELLS = ("simple_rnn", "gru", "lstm")
V, H, L, B, T = 5, 6, 2, 3, 4


def model_of(cell, tied=False):
    return kseq.LanguageModel(kseq.Vocab(list("abcd")), cell, H, L, tie_weights=tied, seed=3)


def yardstick_of(model, looked_up=False):
    """A yardstick with the weights of a model of kseq's; PyTorch's second bias is zero."""
    yardstick = Yardstick(model.cell, V, H, L, model.tie_weights, looked_up)
    with torch.no_grad():
        for layer, ours in enumerate(model.stack.recurrent):
            for name, values in _by_torch_name(model.cell, *ours.get_weights()).items():
                getattr(yardstick.recurrent, f"{name}_l{layer}").copy_(torch.from_numpy(values))
        if model.tie_weights:
            weights = model.stack.embedding.get_weights()[0]
        else:
            weights = model.stack.dense.get_weights()[0].T
        yardstick.readout.weight.copy_(torch.from_numpy(weights.copy()))
        yardstick.readout.bias.copy_(torch.from_numpy(_readout_bias(model)))
    return yardstick


def batches(count=3):
    return kseq.SequentialBatches(np.arange(count * B * T + 1) * 7 % V, B, T, seed=None)


@pytest.mark.parametrize("tied", [False, True], ids=["one-hot", "tied"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_first_loss_is_that_of_kseq(cell, tied):
    model, data = model_of(cell, tied), batches(1)
    model.compile()
    expected = model.evaluate(data, verbose=0)[0]

    (x, y) = data[0]
    found = D2lLoop(yardstick_of(model)).step(x, y) / (B * T)

    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("tied", [False, True], ids=["one-hot", "tied"])
def test_a_gru_learns_what_kseq_learns(tied):
    """Of the three cells its biases alone are two in both."""
    model = model_of("gru", tied)
    model.compile(kseq.clipped_optimizer("sgd", 1.0, global_clipnorm=1.0))
    loop, data = D2lLoop(yardstick_of(model)), batches()
    expected = model.fit(data, epochs=1, verbose=0).history["loss"][0]

    found = [loop.step(*data[i]) for i in range(len(data))]

    assert sum(found) / data.tokens_per_epoch == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("tied", [False, True], ids=["one-hot", "tied"])
@pytest.mark.parametrize("cell", CELLS)
def test_both_loops_take_the_same_steps(cell, tied):
    model, data = model_of(cell, tied), batches()
    plain, expert = yardstick_of(model), yardstick_of(model, looked_up=True)
    loops = D2lLoop(plain), ExpertLoop(expert)

    total = 0.0
    for x, y in (data[i] for i in range(len(data))):
        total += loops[0].step(x, y)
        loops[1].step(x, y)

    assert loops[1].total.item() == pytest.approx(total, rel=1e-5)
    for ours, theirs in zip(plain.parameters(), expert.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_loop_learns_a_batch_by_heart(dtype):
    torch.manual_seed(0)
    loop = ExpertLoop(Yardstick("lstm", V, 16, 1, looked_up=True), dtype)
    ids = np.tile(np.arange(T + 1, dtype="int32") % V, (B, 1))
    losses = []
    for _ in range(60):
        loop.total.zero_()
        loop.state = None
        loop.step(ids[:, :-1], ids[:, 1:])
        losses.append(loop.total.item() / (B * T))

    assert losses[0] == pytest.approx(np.log(V), rel=0.2)
    assert losses[-1] < losses[0] / 4


@pytest.mark.parametrize("cell", CELLS)
def test_both_ways_generate_what_kseq_generates(cell):
    model, prompt = model_of(cell), np.array([1, 2, 3], "int32")
    text = model.generate("".join(model.vocab.to_tokens(prompt)), 8)
    expected = model.decoder()  # ids, for a token may be the unknown one
    logits, _ = expected(prompt[None], None)
    first = int(np.argmax(logits[0, -1]))

    slow = d2l_generate(yardstick_of(model), prompt, 8)
    fast = expert_generate(yardstick_of(model, looked_up=True), np.stack([prompt, prompt]), 8)

    assert slow[3] == first
    assert fast.tolist() == [slow[3:], slow[3:]]
    if 0 not in slow:
        assert text == "".join(model.vocab.to_tokens(slow))


def test_the_perceptron_learns():
    torch.manual_seed(0)
    step = mlp_step()
    x = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
    y = x.mean(1, keepdims=True)
    losses = [step(x, y) for _ in range(200)]

    assert losses[-1] < losses[0] / 10


def test_products_of_the_yardstick_s_lstm():
    """About 4.9 million operations for each token of a step, counted by hand."""
    shapes = product_shapes("lstm", B=32, T=35, V=28, H=256, num_layers=2)
    W, R = 28 * 1024, 256 * 1024
    forward = W + R + R + R + 256 * 28
    backward = 2 * forward - W

    assert flops(shapes) == 2 * 32 * 35 * (forward + backward)
    assert flops(shapes) / (32 * 35) == pytest.approx(4.9e6, rel=0.01)


@pytest.mark.parametrize("tied", [False, True], ids=["one-hot", "tied"])
@pytest.mark.parametrize(("cell", "gates"), [("simple_rnn", 1), ("gru", 3), ("lstm", 4)])
def test_recurrent_products_come_one_after_another(cell, gates, tied):
    shapes = product_shapes(cell, B, T, V, H, num_layers=3, tied=tied)

    step_by_step = [(T, B, H, gates * H), (T, B, gates * H, H)]
    assert [shape for shape in shapes if shape[0] == T] == 3 * step_by_step
    assert sum(times == 1 for times, *_ in shapes) == 3 * 4 + 3 - (not tied)
    assert products(shapes)() is None
