"""A gradient that is not finite: the step is skipped, nothing changes, and it is counted."""

import warnings

import keras
import numpy as np
import pytest
from recurrent_cases import assert_close, draw, to_numpy

import kseq
from kseq.nn.optimizers import OPTIMIZERS, ReportSkipped, skipped_steps

SHAPES = [(3, 4), (4,), ()]


def gradients(seed=0):
    return [draw(*shape, seed=seed) for shape in SHAPES]


def apply(optimizer, arrays, to):
    optimizer.apply([keras.ops.convert_to_tensor(a) for a in arrays], to)


def bits(values):
    """Give the bytes of each value: NaN equals itself, and 0.0 is not -0.0."""
    return [keras.ops.convert_to_numpy(value).tobytes() for value in values]


def state_of(optimizer):
    return [v for v in optimizer.variables if v.name != "skipped_steps"]


BAD = {"nan": np.nan, "inf": np.inf, "minus inf": -np.inf}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_bad_number_in_any_variable_leaves_everything_as_it_was(name, bad):
    weights = [keras.Variable(draw(*shape, seed=9)) for shape in SHAPES]
    options = {"momentum": 0.9} if name == "sgd" else {}
    optimizer = kseq.clipped_optimizer(name, 0.1, **options)
    apply(optimizer, gradients(), weights)
    for place in range(len(SHAPES)):
        before = bits(weights), bits(state_of(optimizer))
        ruined = gradients(1)
        ruined[place] = ruined[place].copy()
        ruined[place][(0,) * ruined[place].ndim] = bad
        apply(optimizer, ruined, weights)
        assert (bits(weights), bits(state_of(optimizer))) == before
        assert skipped_steps(optimizer) == place + 1
    apply(optimizer, gradients(2), weights)
    assert bits(weights) != before[0]
    assert skipped_steps(optimizer) == len(SHAPES)
    assert int(to_numpy(optimizer.iterations)) == 2


def test_the_very_first_step_may_be_skipped():
    weights = [keras.Variable(draw(*shape, seed=9)) for shape in SHAPES]
    optimizer, before = kseq.clipped_optimizer("adam"), bits(weights)
    apply(optimizer, [g * np.float32(np.nan) for g in gradients()], weights)
    assert bits(weights) == before
    assert not any(to_numpy(m).any() for m in optimizer._momentums)
    assert (skipped_steps(optimizer), int(to_numpy(optimizer.iterations))) == (1, 0)


def test_finite_gradients_whose_norm_overflows_are_skipped_too():
    weights = [keras.Variable(np.ones(2))]
    optimizer = kseq.clipped_optimizer("sgd", 1.0)
    apply(optimizer, [np.full(2, 1e30, "float32")], weights)
    assert to_numpy(weights[0]).tolist() == [1, 1]
    assert skipped_steps(optimizer) == 1


@pytest.mark.parametrize("bound", [{"global_clipnorm": 1.0}, {"clipnorm": 1.0}], ids=str)
def test_both_kinds_of_clipping_are_guarded(bound):
    weights = [keras.Variable(np.ones(2)), keras.Variable(np.ones(2))]
    optimizer = kseq.clipped_optimizer("sgd", 1.0, **bound)
    apply(optimizer, [np.ones(2, "float32"), np.array([np.inf, 0], "float32")], weights)
    assert [to_numpy(w).tolist() for w in weights] == [[1, 1], [1, 1]]


def fitted(name, inputs, targets, jit_compile="auto"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    for layer in model.layers:
        layer.set_weights([draw(*w.shape) for w in layer.get_weights()])
    optimizer = kseq.clipped_optimizer(name, 0.01)
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    model.fit(inputs, targets, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_in_fit_a_bad_batch_is_as_if_it_had_not_been(name):
    inputs, targets = draw(12, 3), draw(12, 1)
    ruined = inputs.copy()
    ruined[5, 1] = np.inf
    model = fitted(name, ruined, targets)
    without = fitted(name, np.delete(inputs, slice(4, 8), 0), np.delete(targets, slice(4, 8), 0))
    assert_close(model.get_weights(), without.get_weights())
    states = [[to_numpy(v) for v in state_of(m.optimizer)] for m in (model, without)]
    assert_close(*states)
    assert (skipped_steps(model.optimizer), skipped_steps(without.optimizer)) == (2, 0)
    before = bits(model.weights), bits(state_of(model.optimizer))
    model.fit(inputs * np.float32(np.nan), targets, batch_size=4, verbose=0)
    assert (bits(model.weights), bits(state_of(model.optimizer))) == before
    assert skipped_steps(model.optimizer) == 5


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA is optional there alone")
def test_in_fit_without_xla_a_bad_batch_is_skipped_too():
    inputs = draw(8, 3)
    inputs[5, 1] = np.nan
    model = fitted("adam", inputs, draw(8, 1), jit_compile=False)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert skipped_steps(model.optimizer) == 2


def test_variables_without_a_gradient_are_left_alone():
    weights = [keras.Variable(np.ones(2)), keras.Variable(np.ones(2))]
    optimizer = kseq.clipped_optimizer("sgd", 1.0)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([None, keras.ops.ones(2) / 2], weights)
    assert [to_numpy(w).tolist() for w in weights] == [[1, 1], [0.5, 0.5]]


def test_no_gradient_at_all_is_what_it_is_in_keras():
    optimizer = kseq.clipped_optimizer("sgd", 1.0)
    assert optimizer.apply([], []) is None
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        kseq.clipped_optimizer("sgd").apply([None], [keras.Variable(np.ones(2))])


def test_a_fit_that_skipped_steps_warns_at_its_end():
    inputs = draw(8, 3)
    inputs[5, 1] = np.nan
    model = fitted("sgd", inputs, draw(8, 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model.fit(inputs, draw(8, 1), 4, 2, 0, callbacks=[ReportSkipped()])
    messages = [str(w.message) for w in caught if w.category is UserWarning]
    assert len(messages) == 1
    assert messages[0].startswith("2 steps were skipped, their gradients were not finite;")
    model.fit(draw(8, 3), draw(8, 1), 4, 2, 0, callbacks=[ReportSkipped()])
    assert skipped_steps(model.optimizer) == 4
    assert skipped_steps(keras.optimizers.SGD()) == 0


def test_the_count_is_saved_with_the_model_and_made_once(tmp_path):
    inputs = draw(8, 3)
    inputs[5, 1] = np.nan
    model = fitted("adam", inputs, draw(8, 1))
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert skipped_steps(copy.optimizer) == skipped_steps(model.optimizer) == 2
    assert bits(copy.optimizer.variables) == bits(model.optimizer.variables)
    model.optimizer.build(model.trainable_variables)
    names = [v.name for v in model.optimizer.variables]
    assert names.count("skipped_steps") == 1
    assert skipped_steps(model.optimizer) == 2
