"""The recurrent layers against bare PyTorch, under every engine, and their gradients written by
hand, under torch."""

# PyTorch is loaded before TensorFlow: in the other order they crash over libraries they share.
import torch  # isort: skip
import keras
import numpy as np
import pytest
from gradients import gradients, weighted_sum
from recurrent_cases import KSEQ, B, D, H, T, as_list, assert_close, draw, initial_state, make

pytestmark = pytest.mark.usefixtures("recurrences")

KINDS = ("simple_rnn", "gru", "lstm")
BARE = {"simple_rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


def swap_gates(kind, weight):
    """Reorder a GRU's gates, z, r, h in Keras and r, z, n in PyTorch; the way back is the same."""
    if kind != "gru":
        return weight
    first, second, third = np.split(weight, 3, -1)
    return np.concatenate([second, first, third], -1)


def carry_over(kind, weights, num_layers=1):
    """Give PyTorch's module with the weights W, R, b of one Keras layer after the other."""
    module = BARE[kind](D, H, num_layers, batch_first=True)
    parameters = []
    for W, R, b in zip(weights[::3], weights[1::3], weights[2::3], strict=True):
        b, c = b if b.ndim == 2 else (b, np.zeros_like(b))
        parameters += [swap_gates(kind, w).T.copy() for w in (W, R, b, c)]
    with torch.no_grad():
        for parameter, array in zip(module.parameters(), parameters, strict=True):
            parameter.copy_(torch.from_numpy(array))
    return module


def run_bare(kind, module, inputs, states):
    states = [state.unsqueeze(0) for state in states]
    outputs, last = module(inputs, tuple(states) if kind == "lstm" else states[0])
    return [outputs, *(s[0] for s in (last if kind == "lstm" else [last]))]


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_bare_pytorch(kind):
    layer = make(KSEQ, kind, return_sequences=True, return_state=True)
    arrays = [draw(B, T, D), *initial_state(kind)]
    weights = [draw(B, T, H, seed=1), *(draw(B, H, seed=2 + i) for i in range(len(arrays) - 1))]
    module = carry_over(kind, layer.get_weights())
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    expected = run_bare(kind, module, tensors[0], tensors[1:])
    pairs = zip(expected, weights, strict=True)
    sum((e * torch.from_numpy(w)).sum() for e, w in pairs).backward()

    found = as_list(layer(arrays[0], initial_state=arrays[1:]))
    assert_close(found, [e.detach().numpy() for e in expected])
    by_arrays, by_weights = gradients(
        lambda x, *first: weighted_sum(layer(x, initial_state=list(first)), weights),
        arrays,
        layer.trainable_variables,
    )
    assert_close(by_arrays, [tensor.grad.numpy() for tensor in tensors], 1e-5)
    assert_close(by_weights, _in_keras_layout(kind, module), 1e-5)


def _in_keras_layout(kind, module):
    W, R, b, c = (swap_gates(kind, p.grad.numpy().T) for p in module.parameters())
    return [W, R, np.stack([b, c]) if kind == "gru" else b]


def test_stacked_layers_equal_a_deep_pytorch_module():
    kind = "gru"
    layers = [make(KSEQ, kind, H if i else D, return_sequences=True) for i in range(3)]
    layers[2].set_weights([draw(*w.shape, seed=9) for w in layers[2].get_weights()])
    weights = [w for layer in layers for w in layer.get_weights()]
    outputs = draw(B, T, D)
    for layer in layers:
        outputs = layer(outputs)
    with torch.no_grad():
        expected, _ = carry_over(kind, weights, 3)(torch.from_numpy(draw(B, T, D)))
    assert_close(as_list(outputs), [expected.numpy()])


if keras.backend.backend() != "torch":
    REASON = "gradients written by hand are torch's alone"
else:
    from kseq.backend import torch_kernels, torch_recurrences

    REASON = ""
ONLY_TORCH = pytest.mark.skipif(bool(REASON), reason=REASON)
GATES = {"simple_rnn": 1, "gru": 3, "lstm": 4}


def doubles(kind, batch=2, steps=3, bias=True):
    """Give the tensors a recurrence takes, float64 and wanting gradients."""
    width, states = GATES[kind] * 3, 2 if kind == "lstm" else 1
    shapes = [(batch, steps, 2), *[(batch, 3)] * states, (2, width), (3, width)]
    if bias:
        shapes.append((2, width) if kind == "gru" else (width,))
    return [torch.tensor(draw(*s, seed=i)).double().requires_grad_() for i, s in enumerate(shapes)]


def recurrence_of(kind, run=None):
    """Give the recurrence as a function of the tensors of `doubles`."""

    def function(inputs, *rest):
        states, weights = (rest[:2], rest[2:]) if kind == "lstm" else (rest[:1], rest[1:])
        kernel, recurrent, bias = (*weights, None)[:3]
        call = run or (lambda *args: torch_recurrences.recurrence(kind, *args))
        outputs, last = call(inputs, states, kernel, recurrent, bias)
        return (outputs, *last)

    return function


@ONLY_TORCH
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sizes", [{}, {"steps": 1}, {"batch": 1}, {"batch": 1, "steps": 1}, {"bias": False}], ids=str
)
def test_gradients_agree_with_finite_differences(kind, sizes):
    assert torch.autograd.gradcheck(recurrence_of(kind), doubles(kind, **sizes), atol=1e-7)


@ONLY_TORCH
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_tensors_that_are_not_contiguous(kind):
    def function(inputs, *rest):
        outputs, *last = recurrence_of(kind)(inputs.transpose(0, 1), *(r.t() for r in rest))
        return outputs[:, ::2].transpose(1, 2), *(state.t() for state in last)

    inputs, *rest = doubles(kind)
    flipped = [inputs.detach().transpose(0, 1), *(r.detach().t() for r in rest)]
    tensors = [tensor.contiguous().requires_grad_() for tensor in flipped]
    assert torch.autograd.gradcheck(function, tensors, atol=1e-7)


@ONLY_TORCH
@pytest.mark.parametrize("kind", KINDS)
def test_each_output_has_a_gradient_of_its_own(kind):
    """A loss of the last state alone, or of one step alone, leaves the others without gradient."""
    for pick in (lambda out: out[-1], lambda out: out[0][:, 1], lambda out: out[0].sum().expand(3)):
        tensors = doubles(kind)
        assert torch.autograd.gradcheck(
            lambda *args, pick=pick: pick(recurrence_of(kind)(*args)), tensors, atol=1e-7
        )


@ONLY_TORCH
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_values_are_the_same(kind, without):
    tensors = doubles(kind)
    expected = recurrence_of(kind)(*tensors)
    with without():
        found = recurrence_of(kind)(*tensors)
    for one, other in zip(found, expected, strict=True):
        assert other.requires_grad
        assert not one.requires_grad
        assert torch.allclose(one, other, rtol=1e-12)


@ONLY_TORCH
@pytest.mark.parametrize("kind", KINDS)
def test_a_second_derivative_is_refused_rather_than_wrong(kind):
    tensors = doubles(kind)
    outputs = recurrence_of(kind)(*tensors)[0]
    (first,) = torch.autograd.grad(outputs.square().sum(), tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@ONLY_TORCH
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_the_accelerator_recurrence_is_the_same_function(kind, bias):
    """What runs on a GPU, run on the CPU: values and gradients in Keras's layout."""
    tensors = doubles(kind, bias=bias)
    accelerated = recurrence_of(kind, torch_kernels.KERNELS[kind])
    outcomes = [function(*tensors) for function in (recurrence_of(kind), accelerated)]
    by = [torch.autograd.grad(sum(o.sin().sum() for o in out), tensors) for out in outcomes]
    for here, there in zip((*outcomes[0], *by[0]), (*outcomes[1], *by[1]), strict=True):
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-12)


@ONLY_TORCH
@pytest.mark.parametrize("kind", KINDS)
def test_no_steps_leave_the_states_as_they_are(kind):
    inputs, *rest = doubles(kind)
    outputs, *last = recurrence_of(kind)(inputs[:, :0], *rest)
    assert outputs.shape == (2, 0, 3)
    for one, first in zip(last, rest, strict=False):
        assert torch.equal(one, first)


@ONLY_TORCH
@pytest.mark.parametrize("kind", KINDS)
def test_tensors_without_memory_are_left_to_keras(kind):
    inputs, *rest = doubles(kind)
    assert torch_recurrences.recurrence(kind, inputs.to("meta"), rest[:-3], *rest[-3:]) is None
