"""Clipped optimizers: what they accept, the laws of clipping, equality with bare PyTorch."""

# PyTorch is loaded before TensorFlow: in the other order they crash over libraries they share.
import torch  # isort: skip
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_cases import assert_close, draw, to_numpy

import kseq
from kseq.errors import UsageError
from kseq.nn.guarding import global_norm
from kseq.nn.optimizers import OPTIMIZERS

SHAPES = [(3, 4), (4,), ()]


def variables(values=None):
    values = [np.zeros(shape, "float32") for shape in SHAPES] if values is None else values
    return [keras.Variable(value) for value in values]


def apply(optimizer, gradients, to):
    tensors = [keras.ops.convert_to_tensor(np.asarray(g, "float32")) for g in gradients]
    optimizer.apply(tensors, to)


def clipped(gradients, **bound):
    """Give the gradients as an optimizer clips them: what a step of rate 1 from zero subtracts."""
    weights = [keras.Variable(np.zeros(np.shape(g), "float32")) for g in gradients]
    apply(kseq.clipped_optimizer("sgd", 1.0, **bound), gradients, weights)
    return [-to_numpy(weight).astype("float64") for weight in weights]


def norm(arrays):
    return math.sqrt(sum(float((np.asarray(a, "float64") ** 2).sum()) for a in arrays))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_name_gives_that_optimizer_clipping_at_one(name):
    optimizer = kseq.clipped_optimizer(name)
    public = {"sgd": "SGD", "asgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}[
        name
    ]
    assert isinstance(optimizer, getattr(keras.optimizers, public))
    assert (optimizer.global_clipnorm, optimizer.clipnorm) == (1.0, None)
    rate = 1.0 if name.endswith("sgd") else 0.002
    assert float(to_numpy(optimizer.learning_rate)) == pytest.approx(rate)


def test_options_go_to_the_keras_optimizer():
    optimizer = kseq.clipped_optimizer("sgd", 0.5, clipnorm=2, momentum=0.9, nesterov=True)
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)
    assert (optimizer.global_clipnorm, optimizer.clipnorm) == (None, 2.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "adm"}, r"optimizer: must be .*, found 'adm'; did you mean 'adam'\?"),
        ({"name": "RMSProp"}, r"found 'RMSProp'; did you mean 'rmsprop'\?"),
        (
            {"name": 3},
            "optimizer: must be 'sgd', 'asgd', 'adam', 'adamw' or 'rmsprop', found 3; choose",
        ),
        ({"global_clipnorm": 1, "clipnorm": 1}, "clipping: must be by .* found both .*; leave one"),
        *(
            ({argument: value}, f"{argument}: must be a finite number above 0, found .*; choose")
            for argument in ("learning_rate", "global_clipnorm", "clipnorm")
            for value in (0, -1.0, math.nan, math.inf, "1", True)
        ),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        kseq.clipped_optimizer(**{"name": "adam", **wrong})


numbers = st.floats(-1e6, 1e6, width=32)
gradient_lists = st.lists(st.lists(numbers, min_size=1, max_size=4), min_size=1, max_size=3)
bounds = st.floats(1e-3, 1e3)
few = settings(max_examples=20)


@few
@given(gradient_lists, bounds)
def test_the_global_norm_after_clipping_is_at_most_the_bound(gradients, bound):
    found = clipped(gradients, global_clipnorm=bound)
    assert norm(found) <= bound * (1 + 1e-5)
    scale = min(1.0, bound / norm(gradients)) if norm(gradients) else 1.0
    for one, gradient in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, scale * np.array(gradient), rtol=1e-5, atol=1e-35)


@few
@given(gradient_lists, bounds)
def test_each_norm_after_clipping_each_variable_is_at_most_the_bound(gradients, bound):
    for found, gradient in zip(clipped(gradients, clipnorm=bound), gradients, strict=True):
        scale = min(1.0, bound / norm([gradient])) if norm([gradient]) else 1.0
        np.testing.assert_allclose(found, scale * np.array(gradient), rtol=1e-5, atol=1e-35)


@few
@given(gradient_lists, bounds, bounds)
def test_clipping_in_stages_equals_clipping_once(gradients, first, second):
    staged = clipped(clipped(gradients, global_clipnorm=first), global_clipnorm=second)
    once = clipped(gradients, global_clipnorm=min(first, second))
    for one, other in zip(staged, once, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-35)


@few
@given(gradient_lists, st.floats(1.01, 100))
def test_under_the_bound_nothing_changes(gradients, slack):
    bound = max(norm(gradients) * slack, 1e-3)
    for found, gradient in zip(clipped(gradients, global_clipnorm=bound), gradients, strict=True):
        np.testing.assert_allclose(found, gradient, rtol=2e-7, atol=1e-35)


def test_both_meanings_of_clipping_worked_by_hand():
    """Gradients 3 and 4: one norm of 5 over both, or norms of 3 and 4."""
    assert_close(clipped([[3], [4]], global_clipnorm=1), [np.array([0.6]), np.array([0.8])])
    assert_close(clipped([[3], [4]], clipnorm=1), [np.array([1.0]), np.array([1.0])])
    assert_close(clipped([[3], [4]], clipnorm=3.5), [np.array([3.0]), np.array([3.5])])
    assert float(to_numpy(global_norm(variables([np.array([3.0]), np.array([4.0])])))) == 5


# Keras and PyTorch differ in where epsilon is added and in RMSprop's default decay: with epsilon
# next to nothing and the decay given, they are the same functions.
TINY = 1e-12
TWINS = {
    "sgd": ("sgd", {}, torch.optim.SGD, {}),
    "momentum": ("sgd", {"momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9}),
    "nesterov": (
        *("sgd", {"momentum": 0.9, "nesterov": True}),
        *(torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    ),
    "adam": ("adam", {"epsilon": TINY}, torch.optim.Adam, {"eps": TINY}),
    "adamw": (
        *("adamw", {"epsilon": TINY, "weight_decay": 0.1}),
        *(torch.optim.AdamW, {"eps": TINY, "weight_decay": 0.1}),
    ),
    "rmsprop": (
        *("rmsprop", {"epsilon": TINY, "rho": 0.8}),
        *(torch.optim.RMSprop, {"eps": TINY, "alpha": 0.8}),
    ),
}


@pytest.mark.parametrize(("name", "options", "bare", "bare_options"), TWINS.values(), ids=TWINS)
def test_several_steps_equal_bare_pytorch(name, options, bare, bare_options):
    optimizer = kseq.clipped_optimizer(name, 0.05, global_clipnorm=1.5, **options)
    ours = variables([draw(*shape) for shape in SHAPES])
    theirs = [torch.tensor(draw(*shape), requires_grad=True) for shape in SHAPES]
    torch_optimizer = bare(theirs, lr=0.05, **bare_options)
    for step in range(6):
        # Some steps are clipped and some are not.
        gradients = [draw(*shape, seed=step) * (0.1 if step % 2 else 3) for shape in SHAPES]
        apply(optimizer, gradients, ours)
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = torch.tensor(gradient)
        torch.nn.utils.clip_grad_norm_(theirs, 1.5)
        torch_optimizer.step()
        assert_close([to_numpy(v) for v in ours], [t.detach().numpy() for t in theirs], 1e-5)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("bound", [{"global_clipnorm": 0.5}, {"clipnorm": 0.25}], ids=str)
def test_configuration_makes_the_round_trip(name, bound):
    optimizer = kseq.clipped_optimizer(name, 0.125, **bound)
    config = keras.optimizers.serialize(optimizer)
    copy = keras.optimizers.deserialize(config)
    assert type(copy) is type(optimizer)
    assert config["registered_name"] == f"kseq>{type(optimizer).__name__}"
    assert copy.get_config() == optimizer.get_config()
    assert copy.get_config()["learning_rate"] == 0.125
    assert {key: copy.get_config()[key] for key in bound} == bound


def test_a_schedule_makes_the_round_trip():
    rate = kseq.schedule("one_cycle", 0.01, total_steps=100)
    optimizer = kseq.clipped_optimizer("adam", rate)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(copy._learning_rate) is type(rate)
    assert copy._learning_rate.get_config() == rate.get_config()


def test_clipping_by_value_is_refused_by_name():
    with pytest.raises(
        UsageError, match=r"^clipping: must be by a norm, found clipvalue, .*; choo"
    ):
        kseq.clipped_optimizer("adam", 0.1, clipvalue=1.0)
