"""Cross-entropy of a linear read-out, chunk by chunk, against PyTorch's over all logits."""

import numpy as np
import pytest

pytestmark = [pytest.mark.engine("torch"), pytest.mark.usefixtures("recurrences")]

torch = pytest.importorskip("torch")

from kseq.backend import torch_losses, torch_read_out  # noqa: E402  PyTorch comes first


def drawn(rows, width, vocab, dtype=torch.float32, transposed=False):
    """Give hidden states, weights, biases and targets; the first three want gradients."""
    generator = torch.Generator().manual_seed(rows + width + vocab)
    shape = (vocab, width) if transposed else (width, vocab)
    tensors = [torch.randn(s, generator=generator) for s in ((rows, width), shape, (vocab,))]
    leaves = [tensor.to(dtype).requires_grad_() for tensor in tensors]
    return leaves, torch.randint(0, vocab, (rows,), generator=generator)


def by_torch(leaves, targets, transposed=False):
    hidden, weight, bias = leaves
    logits = hidden @ (weight.t() if transposed else weight) + bias
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def ours(leaves, targets, transposed=False):
    hidden, weight, bias = leaves
    weight = weight.t() if transposed else weight
    return torch_losses.linear_cross_entropy(hidden, weight, bias, targets)


def test_uniform_logits_cost_the_logarithm_of_the_vocabulary():
    zeros = torch.zeros(3, 2), torch.zeros(2, 4), torch.zeros(4)
    loss, nats = torch_losses.linear_cross_entropy(*zeros, torch.tensor([0, 1, 3]))

    assert nats.tolist() == pytest.approx([np.log(4)] * 3, rel=1e-6)
    assert float(loss) == pytest.approx(np.log(4), rel=1e-6)


@pytest.mark.parametrize("transposed", [False, True], ids=["dense", "tied"])
@pytest.mark.parametrize("rows", [1, 64, 65, 200])
def test_values_and_gradients_are_those_of_all_logits_at_once(rows, transposed, monkeypatch):
    monkeypatch.setattr(torch_losses, "CHUNK", 1)
    leaves, targets = drawn(rows, 5, 11, transposed=transposed)
    loss, nats = ours(leaves, targets, transposed)
    expected = by_torch(leaves, targets, transposed)

    torch.testing.assert_close(nats, expected.detach(), rtol=1e-5, atol=1e-6)
    assert not nats.requires_grad
    pairs = zip(
        torch.autograd.grad(3 * loss, leaves),
        torch.autograd.grad(3 * expected.mean(), leaves),
        strict=True,
    )
    for found, wanted in pairs:
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_the_loss_of_bfloat16_is_taken_in_float32():
    leaves, targets = drawn(70, 5, 11, torch.bfloat16)
    loss, nats = ours(leaves, targets)
    expected = by_torch(leaves, targets)

    assert loss.dtype == nats.dtype == torch.float32
    torch.testing.assert_close(nats, expected.detach(), rtol=2e-2, atol=2e-2)
    pairs = zip(
        torch.autograd.grad(loss, leaves),
        torch.autograd.grad(expected.mean(), leaves),
        strict=True,
    )
    for found, wanted in pairs:
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found, wanted, rtol=5e-2, atol=2e-3)


def test_far_logits_stay_finite():
    weight = torch.tensor([[0.0, 1e4]])
    loss, nats = torch_losses.linear_cross_entropy(
        torch.ones(2, 1), weight, torch.zeros(2), torch.tensor([0, 1])
    )

    assert nats.tolist() == [1e4, 0.0]
    assert float(loss) == 5e3


def test_without_gradients_none_are_computed():
    leaves, targets = drawn(70, 5, 11)
    with torch.no_grad():
        loss, _ = ours(leaves, targets)

    assert not loss.requires_grad


def test_nothing_as_large_as_all_logits_is_held(monkeypatch):
    monkeypatch.setattr(torch_read_out, "MOST_TOKENS", 1)
    monkeypatch.setattr(torch_losses, "CHUNK", 1)
    rows, vocab = 640, 50
    leaves, targets = drawn(rows, 5, vocab)
    with torch.profiler.profile(profile_memory=True) as profile:
        loss, _ = ours(leaves, targets)
        torch.autograd.grad(loss, leaves)
    largest = max(abs(event.cpu_memory_usage) for event in profile.events())

    assert largest < rows * vocab * 4
