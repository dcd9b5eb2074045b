"""Initial weights: the same numbers on every engine, and the distributions of each preset."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_cases import to_numpy

import kseq
from kseq.nn.initializers import PRESETS, ROLES, SeededInitializer


def draw(preset, role, shape, seed=(0, 1), **options):
    return to_numpy(SeededInitializer(preset, role, list(seed), **options)(shape))


# Drawn once with NumPy: (2, 3) weights of the stream [0, 1], fan 4.
UNIFORM = [[0.3897388, 0.05713805, 0.3009081], [0.4565138, -0.4413849, -0.2635993]]
NORMAL = [[0.1029677, -0.9805272, -0.8174783], [-1.027882, -0.5744589, 1.97113]]
ORTHOGONAL = [[0.1025137, -0.8138742, -0.5719262], [-0.3921725, -0.5614537, 0.7286772]]
KNOWN = {
    ("keras", "kernel"): np.array(UNIFORM) * 2 * math.sqrt(6 / 5),
    ("keras", "recurrent_kernel"): ORTHOGONAL,
    ("keras", "bias"): np.zeros((2, 3)),
    ("keras", "embedding"): np.array(UNIFORM) / 10,
    ("torch", "kernel"): UNIFORM,
    ("torch", "recurrent_kernel"): UNIFORM,
    ("torch", "bias"): UNIFORM,
    ("torch", "embedding"): NORMAL,
    ("d2l", "kernel"): np.array(NORMAL) / 100,
    ("d2l", "recurrent_kernel"): np.array(NORMAL) / 100,
    ("d2l", "bias"): np.zeros((2, 3)),
    ("d2l", "embedding"): np.array(NORMAL) / 100,
}


@pytest.mark.parametrize(("preset", "role"), KNOWN)
def test_the_numbers_are_the_same_on_every_engine(preset, role):
    found = draw(preset, role, (2, 3), fan=4)
    np.testing.assert_allclose(found, KNOWN[preset, role], rtol=2e-6)


def test_every_preset_and_role_is_known():
    assert set(KNOWN) == {(preset, role) for preset in PRESETS for role in ROLES}


@pytest.mark.parametrize(("preset", "role"), [key for key, value in KNOWN.items() if np.any(value)])
def test_a_stream_repeats_itself_and_differs_from_the_others(preset, role):
    first = draw(preset, role, (4, 8), seed=(0, 1))
    assert (first == draw(preset, role, (4, 8), seed=(0, 1))).all()
    for other in ((0, 2), (1, 1), (1, 0)):
        assert np.abs(first - draw(preset, role, (4, 8), seed=other)).max() > 1e-3


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 1000))
def test_recurrent_kernels_of_the_keras_preset_are_orthogonal(units, gates, seed):
    R = draw("keras", "recurrent_kernel", (units, gates * units), seed=(seed, 1))
    np.testing.assert_allclose(R @ R.T, np.eye(units), atol=2e-6)


@pytest.mark.parametrize("fan", [1, 16, 256])
@pytest.mark.parametrize("role", ["kernel", "recurrent_kernel", "bias"])
def test_the_torch_preset_is_uniform_within_one_over_the_root_of_fan(role, fan):
    weights, bound = draw("torch", role, (100, 100), fan=fan), 1 / math.sqrt(fan)
    assert np.abs(weights).max() <= bound
    assert np.abs(weights).max() > 0.99 * bound
    assert weights.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_two_draws_added_have_the_distribution_of_two_biases():
    bias, bound = draw("torch", "bias", (100_000,), fan=4, summed=2), 0.5
    assert bound < np.abs(bias).max() <= 2 * bound
    assert bias.std() == pytest.approx(bound * math.sqrt(2 / 3), rel=0.02)
    parts = np.random.default_rng([0, 1]).uniform(-bound, bound, (2, 100_000))
    np.testing.assert_allclose(bias, parts.sum(0), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("role", ["kernel", "recurrent_kernel", "embedding"])
def test_the_d2l_preset_is_normal_with_deviation_a_hundredth(role):
    weights = draw("d2l", role, (200, 200))
    assert weights.std() == pytest.approx(0.01, rel=0.02)
    assert abs(weights.mean()) < 2e-4
    within = (np.abs(weights) < 0.01).mean()
    assert within == pytest.approx(0.6827, abs=0.01)


def test_the_keras_preset_is_glorot_uniform():
    weights = draw("keras", "kernel", (60, 90))
    bound = math.sqrt(6 / 150)
    assert 0.99 * bound < np.abs(weights).max() <= bound
    assert weights.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("preset", PRESETS)
def test_configuration_makes_the_round_trip(preset):
    initializer = SeededInitializer(preset, "kernel", [3, 4], fan=5, summed=2)
    config = keras.initializers.serialize(initializer)
    copy = keras.initializers.deserialize(config)
    assert type(copy) is SeededInitializer
    assert copy.get_config() == initializer.get_config()
    assert (to_numpy(copy((2, 3))) == to_numpy(initializer((2, 3)))).all()


def test_a_layer_takes_it_and_keeps_the_forget_bias():
    weights = {
        "kernel_initializer": SeededInitializer("keras", "kernel", [0, 1]),
        "recurrent_initializer": SeededInitializer("keras", "recurrent_kernel", [0, 2]),
        "bias_initializer": SeededInitializer("keras", "bias", [0, 3]),
    }
    layer = kseq.LSTM(2, **weights)
    layer.build((None, None, 3))
    kernel, recurrent, bias = layer.get_weights()
    assert (kernel == draw("keras", "kernel", (3, 8))).all()
    assert (recurrent == draw("keras", "recurrent_kernel", (2, 8), seed=(0, 2))).all()
    assert bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


def test_the_dtype_asked_for_is_given():
    tensor = SeededInitializer("d2l", "kernel", [0])((2, 2), dtype="bfloat16")
    assert keras.backend.standardize_dtype(tensor.dtype) == "bfloat16"
