"""Masked recurrent layers against Keras's own: values, gradients, and every form of a mask."""

import keras
import numpy as np
import pytest
from gradients import gradients, weighted_sum
from hypothesis import given, settings
from hypothesis import strategies as st
from recurrent_cases import (
    CASES,
    KSEQ,
    B,
    D,
    T,
    as_list,
    assert_close,
    draw,
    initial_state,
    make,
    twins,
)

pytestmark = pytest.mark.usefixtures("recurrences")

EVERYTHING = {"return_sequences": True, "return_state": True}
# Rows: the end hidden, the start hidden, everything hidden.
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], bool)
OPTIONS = {
    "sequences": EVERYTHING,
    "last output": {},
    "backwards": {"go_backwards": True, **EVERYTHING},
    "zero output": {"zero_output_for_mask": True, **EVERYTHING},
    "last zero output": {"zero_output_for_mask": True},
    "no bias": {"use_bias": False, **EVERYTHING},
}


def values_and_gradients(layer, mask):
    """Give what a layer makes of a mask, and the gradients by inputs, first states and weights."""
    case = "lstm" if isinstance(layer, keras.layers.LSTM) else "other"
    arrays = [draw(B, T, D), *initial_state(case)]

    def scalar(x, *first):
        outputs = layer(x, initial_state=list(first), mask=mask)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        return weighted_sum(outputs, [draw(*o.shape, seed=i) for i, o in enumerate(outputs)])

    values = as_list(layer(arrays[0], initial_state=arrays[1:], mask=mask))
    by_arrays, by_weights = gradients(scalar, arrays, layer.trainable_variables)
    return [*values, *by_arrays, *by_weights]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_values_and_gradients_equal_keras(case, options):
    ours, theirs = twins(case, **options)
    assert_close(values_and_gradients(ours, MASK), values_and_gradients(theirs, MASK), 1e-5)


@pytest.mark.engine("torch")
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=25)
@given(bits=st.lists(st.booleans(), min_size=B * T, max_size=B * T))
def test_any_mask_equals_keras(case, bits):
    mask = np.array(bits).reshape(B, T)
    found, expected = (values_and_gradients(each, mask) for each in twins(case, **EVERYTHING))
    assert_close(found, expected, 1e-5)


# On JAX Keras 3.15.1 puts the first states there.
@pytest.mark.engine("torch", "tensorflow")
@pytest.mark.parametrize("case", CASES)
def test_outputs_repeat_and_are_zero_before_the_first_step(case):
    layer, first = make(KSEQ, case, **EVERYTHING), initial_state(case)
    outputs, *last = as_list(layer(draw(B, T, D), initial_state=first, mask=MASK))
    np.testing.assert_array_equal(outputs[0, 3:], outputs[0, [2, 2]])
    assert not outputs[1, :2].any()
    assert not outputs[2].any()
    for one, start in zip(last, first, strict=True):
        np.testing.assert_array_equal(one[2], start[2])


@pytest.mark.parametrize("case", CASES)
def test_a_mask_that_hides_nothing_changes_nothing(case):
    layer = make(KSEQ, case, **EVERYTHING)
    masked = as_list(layer(draw(B, T, D), mask=np.ones((B, T), bool)))
    assert_close(masked, as_list(layer(draw(B, T, D))))


@pytest.mark.engine("torch")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", [lambda m: m.astype("int32"), lambda m: m[..., None]])
def test_masks_of_other_forms_mean_the_same(case, form):
    layer = make(KSEQ, case, **EVERYTHING)
    found, expected = (as_list(layer(draw(B, T, D), mask=mask)) for mask in (form(MASK), MASK))
    assert_close(found, expected, 0)


@pytest.mark.parametrize("case", KSEQ)
def test_masked_bidirectional_layers_equal_keras(case):
    found, expected = (
        as_list(keras.layers.Bidirectional(layer)(draw(B, T, D), mask=MASK))
        for layer in twins(case, return_sequences=True)
    )
    assert found[0].shape == expected[0].shape
    assert not found[0][2].any()


@pytest.mark.parametrize("case", KSEQ)
def test_a_masked_stateful_layer_carries_what_it_held(case):
    ours = KSEQ[case](6, stateful=True, return_state=True)
    ours.build((B, T, D))
    ours.set_weights([draw(*w.shape, seed=i) for i, w in enumerate(ours.get_weights())])
    _, *before = as_list(ours(draw(B, T, D)))
    _, *after = as_list(ours(draw(B, T, D, seed=1), mask=MASK))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one[2], other[2])
        assert np.abs(one[:2] - other[:2]).max(1).min() > 1e-3
