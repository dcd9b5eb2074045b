"""The recurrences written by hand on PyTorch: the oracle, finite differences, every way of running
them against every other."""

# PyTorch is loaded before TensorFlow: in the other order they crash over libraries they share.
import torch  # isort: skip
from types import SimpleNamespace

import numpy as np
import oracle
import pytest
from recurrent_cases import draw

from kseq.backend import torch_kernels, torch_products, torch_recurrences, torch_through_time

pytestmark = pytest.mark.engine("torch")

KINDS = tuple(torch_recurrences.FUNCTIONS)
GATES = {"simple_rnn": 1, "gru": 3, "gru_reset_before": 3, "lstm": 4}
# Steps by sequences: nothing hidden, the start and a step within, everything.
MASK = torch.tensor([[1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]]).bool().t()


def arguments(kind, T=4, B=3, H=2, dtype=torch.float64):
    """Give what `apply` of a kind takes before the mask, wanting gradients."""
    width, states = GATES[kind] * H, 2 if kind == "lstm" else 1
    shapes = [(T, B, width), *[(B, H)] * states, (H, width)] + [(width,)] * (kind == "gru")
    arrays = [draw(*shape, seed=i) for i, shape in enumerate(shapes)]
    arrays[1 + states] *= 2 / H**0.5
    return [torch.tensor(array).to(dtype).requires_grad_() for array in arrays]


def apply(kind, tensors, mask=None):
    """Give the outputs of a kind as a tuple, (all h) or (all h, last c)."""
    found = torch_recurrences.FUNCTIONS[kind].apply(*tensors, mask)
    return found if isinstance(found, tuple) else (found,)


def with_gradients(kind, tensors, mask=None):
    found = apply(kind, tensors, mask)
    weights = [torch.tensor(draw(*f.shape, seed=20 + i)).to(f.dtype) for i, f in enumerate(found)]
    total = sum((f * w).sum() for f, w in zip(found, weights, strict=True))
    return [*found, *torch.autograd.grad(total, tensors)]


def by_the_oracle(kind, x, states, R, b, mask):
    """Give all h and the last states, one step of the oracle after the other, held by hand."""
    outputs = []
    for x_t, m_t in zip(x, mask, strict=True):
        weights = [np.eye(x.shape[2]), R, b]
        _, new = oracle.forward(kind.removesuffix("_reset_before"), x_t[:, None], states, weights)
        states = [np.where(m_t[:, None], n, s) for n, s in zip(new, states, strict=True)]
        outputs.append(states[0])
    return np.stack(outputs), states


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [None, MASK], ids=["plain", "masked"])
def test_values_equal_the_oracle(kind, mask):
    tensors = arguments(kind)
    x, *states = (t.detach().numpy() for t in tensors[: 3 if kind == "lstm" else 2])
    R = tensors[1 + len(states)].detach().numpy()
    b = np.zeros(R.shape[1])
    if kind == "gru":
        b = np.stack([b, tensors[-1].detach().numpy()])
    hidden = np.ones((4, 3), bool) if mask is None else mask.numpy()
    expected, last = by_the_oracle(kind, x, states, R, b, hidden)
    found = [each.detach().numpy() for each in apply(kind, tensors, mask)]
    for one, other in zip(found, [expected, *last[1:]], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", [None, MASK, MASK[:1]], ids=["plain", "masked", "one step"])
def test_gradients_agree_with_finite_differences(kind, mask):
    tensors = arguments(kind, T=4 if mask is None else len(mask))
    assert torch.autograd.gradcheck(lambda *t: apply(kind, t, mask), tensors, atol=1e-8)


@pytest.mark.parametrize(
    ("sizes", "threads", "pays"),
    [((16, 8), 2, True), ((15, 8), 2, False), ((16, 7), 2, False), ((16, 8), 1, False)],
    ids=str,
)
def test_a_weight_is_reordered_only_for_many_products(sizes, threads, pays, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch_products, "_can_reorder", lambda dtype: True)
    assert torch_products._pays(torch.zeros(64, 192), *sizes) == pays
    assert not torch_products._pays(torch.zeros(63, 192), *sizes)
    assert not torch_products._pays(torch.zeros(64, 191), *sizes)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masked", [False, True])
def test_products_on_a_reordered_weight_give_the_same(kind, masked, monkeypatch):
    tensors = arguments(kind, T=9, B=8, H=64, dtype=torch.float32)
    mask = torch.tensor(draw(9, 8) > 0) if masked else None
    can, ways = torch_products._can_reorder(torch.float32), []
    for pays in (can, False):
        monkeypatch.setattr(torch_products, "_pays", lambda *sizes, pays=pays: pays)
        ways.append(with_gradients(kind, tensors, mask))
    torch.testing.assert_close(*ways, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reordered", [False, True])
def test_half_precision_is_near_float32(kind, dtype, reordered, monkeypatch):
    # The float32 twin is never reordered.
    pays = {dtype: reordered and torch_products._can_reorder(dtype), torch.float32: False}
    monkeypatch.setattr(torch_products, "_pays", lambda weight, *sizes: pays[weight.dtype])
    tensors = arguments(kind, dtype=dtype, **({"T": 9, "B": 8, "H": 64} if reordered else {}))
    mask = torch.tensor(draw(*tensors[0].shape[:2]) > -0.3)
    found = with_gradients(kind, tensors, mask)
    wide = [tensor.detach().float().requires_grad_() for tensor in tensors]
    for one, other in zip(found, with_gradients(kind, wide, mask), strict=True):
        assert one.dtype == dtype
        error = (one.float() - other).abs().max() / other.abs().max()
        assert error < 2.5 * torch.finfo(dtype).eps


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_recurrence_in_bfloat16_keeps_its_state_in_float32(kind):
    """200 steps, each far below half a unit of bfloat16, move a state by their sum."""
    if kind == "simple_rnn":
        pytest.skip("its state is made anew at every step")
    tensors = arguments(kind, T=200, B=1, H=1, dtype=torch.bfloat16)
    x = torch.zeros_like(tensors[0])
    shut, wide_open = ((0, 8.0), (2, 8.0)) if kind != "lstm" else ((0, -7.0), (1, 12.0))
    for gate, value in (shut, wide_open):
        x[..., gate] = value
    if kind == "lstm":
        x[..., 2:] = 8.0
    states = [torch.full_like(t, 0.5) for t in tensors[1 : 3 if kind == "lstm" else 2]]
    rest = [torch.zeros_like(t) for t in tensors[1 + len(states) :]]
    low = apply(kind, [x, *states, *rest])
    wide = apply(kind, [t.float() for t in (x, *states, *rest)])
    assert (wide[-1].flatten()[-1] - 0.5).abs() > 0.02
    torch.testing.assert_close(low[-1].float(), wide[-1], rtol=0.005, atol=0.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [1, 3])
def test_without_gradients_the_values_are_the_same(kind, steps):
    tensors = arguments(kind, T=steps)
    expected = apply(kind, tensors, MASK[:steps])
    found = apply(kind, [tensor.detach() for tensor in tensors], MASK[:steps])
    torch.testing.assert_close(found, tuple(e.detach() for e in expected), rtol=0, atol=0)


@pytest.mark.parametrize("wanted", [False, True])
def test_only_a_gradient_to_come_takes_room_for_all_steps(wanted):
    context = SimpleNamespace(needs_input_grad=(False, wanted))
    room = torch_through_time._room(context, torch.zeros(7, 2, 3), 5)
    assert room.shape == (7, 2, 5)
    assert room.untyped_storage().nbytes() == (7 if wanted else 1) * 2 * 5 * 4


def layer_arguments(kind, B=3, T=4, D=2, H=3, dtype=torch.float64):
    """Give what `recurrence` takes, batch first, wanting gradients: inputs, states, weights."""
    width, states = GATES[kind] * H, 2 if kind == "lstm" else 1
    bias = (2, width) if kind == "gru" else (width,)
    shapes = [(B, T, D), *[(B, H)] * states, (D, width), (H, width), bias]
    tensors = [
        torch.tensor(draw(*s, seed=i)).to(dtype).requires_grad_() for i, s in enumerate(shapes)
    ]
    return tensors[0], tensors[1:-3], tuple(tensors[-3:])


@pytest.mark.parametrize("kind", torch_kernels.KERNELS)
def test_masked_kernels_equal_masked_functions(kind):
    inputs, states, weights = layer_arguments(kind)
    ways = [
        way(kind, inputs, states, weights, MASK.t())
        for way in (torch_kernels.run, torch_recurrences._run_function)
    ]
    leaves, by = [inputs, *states, *weights], []
    for outputs, last in ways:
        total = outputs.sin().sum() + sum((s * s).sum() for s in last)
        by.append([outputs, *last, *torch.autograd.grad(total, leaves)])
    torch.testing.assert_close(by[0], by[1], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_hidden_steps_are_not_read(kind, dtype):
    """Padding may hold anything, even what is no number."""
    inputs, states, weights = layer_arguments(kind, dtype=dtype)
    broken = inputs.detach().clone()
    broken[~MASK.t()] = float("nan")
    name, after = kind.removesuffix("_reset_before"), kind == "gru"
    found, expected = (
        torch_recurrences.recurrence(name, x, states, *weights, MASK.t(), after)
        for x in (broken, inputs)
    )
    assert all(torch.isfinite(each).all() for each in (found[0], *found[1]))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_states_of_another_dtype_are_taken(kind):
    inputs, states, weights = layer_arguments(kind, dtype=torch.bfloat16)
    name, after = kind.removesuffix("_reset_before"), kind == "gru"
    states = [state.detach().float().requires_grad_() for state in states]
    outputs, last = torch_recurrences.recurrence(name, inputs, states, *weights, None, after)
    sum(each.float().sum() for each in (outputs, *last)).backward()
    assert {each.dtype for each in (outputs, *last)} == {torch.bfloat16}
    assert all(state.grad.dtype is torch.float32 for state in states)
    assert all(state.grad.abs().max() > 0 for state in states)
