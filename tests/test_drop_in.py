"""The recurrent layers take the place of Keras's: configuration, weights, files, model building."""

import inspect

import keras
import numpy as np
import pytest
from recurrent_cases import (
    CASES,
    KERAS,
    KSEQ,
    B,
    D,
    H,
    T,
    as_list,
    assert_close,
    draw,
    initial_state,
    kind_of,
    make,
    to_numpy,
    twins,
)

KINDS = tuple(KSEQ)


@pytest.mark.parametrize("kind", KINDS)
def test_is_keras_layer_with_the_same_constructor(kind):
    assert issubclass(KSEQ[kind], KERAS[kind])
    assert inspect.signature(KSEQ[kind]) == inspect.signature(KERAS[kind])


OPTIONS = {
    "name": "layer",
    "use_bias": False,
    "dropout": 0.25,
    "recurrent_dropout": 0.5,
    "seed": 3,
    "go_backwards": True,
    "return_sequences": True,
    "return_state": True,
    "unroll": True,
    "activation": "relu",
    "kernel_regularizer": "l2",
    "recurrent_constraint": "max_norm",
    "dtype": "mixed_bfloat16",
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", [{"name": "layer"}, OPTIONS], ids=["defaults", "all"])
def test_configuration_is_that_of_keras(case, options):
    options = {**options, **({"reset_after": False} if case == "gru_before" else {})}
    ours, theirs = (classes[kind_of(case)](H, **options) for classes in (KSEQ, KERAS))
    assert ours.get_config() == theirs.get_config()
    assert type(ours).from_config(ours.get_config()).get_config() == ours.get_config()
    assert type(theirs).from_config(ours.get_config()).get_config() == ours.get_config()


@pytest.mark.parametrize("case", CASES)
def test_weights_are_named_shaped_and_ordered_like_keras(case):
    described = [
        [(w.name, w.path.split("/")[1:], w.shape, w.dtype, w.trainable) for w in layer.weights]
        for layer in twins(case)
    ]
    assert described[0] == described[1]
    assert len(described[0]) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_is_named_like_keras(kind):
    names = []
    for classes in (KSEQ, KERAS):
        keras.utils.clear_session(free_memory=False)
        names.append(classes[kind](H).name)
    assert names == [kind, kind]


def test_one_seed_gives_keras_initial_weights():
    def weights(classes):
        keras.utils.set_random_seed(5)
        layer = classes["lstm"](H)
        layer.build((B, T, D))
        return layer.get_weights()

    assert all((a == b).all() for a, b in zip(weights(KSEQ), weights(KERAS), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_is_serialized_under_its_own_name(kind):
    layer = KSEQ[kind](H, name="layer")
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == f"kseq>{type(layer).__name__}"
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is KSEQ[kind]
    assert copy.get_config() == layer.get_config()


def model_of(case, classes=KSEQ):
    """Give a functional model that takes the inputs and the initial state, unknown B and T."""
    inputs = keras.Input((None, D))
    states = [keras.Input((H,)) for _ in initial_state(case)]
    layer = make(classes, case, return_sequences=True, return_state=True)
    return keras.Model([inputs, *states], layer(inputs, initial_state=states))


@pytest.mark.parametrize("case", CASES)
def test_functional_models_with_a_symbolic_state_equal_keras(case):
    arrays = [draw(2, 4, D), *initial_state(case, 2)]
    ours, theirs = model_of(case), model_of(case, KERAS)
    assert [o.shape for o in ours.outputs] == [o.shape for o in theirs.outputs]
    assert_close(as_list(ours(arrays)), as_list(theirs(arrays)))


@pytest.mark.parametrize("case", CASES)
def test_a_saved_model_reads_back(tmp_path, case):
    model, arrays = model_of(case), [draw(B, T, D), *initial_state(case)]
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    assert type(copy.layers[-1]) is KSEQ[kind_of(case)]
    assert_close(as_list(copy(arrays)), as_list(model(arrays)))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_files_go_between_kseq_and_keras(tmp_path, kind):
    ours, theirs = (keras.Sequential([make(classes, kind)]) for classes in (KSEQ, KERAS))
    ours.build((B, T, D))
    theirs.build((B, T, D))
    theirs.layers[0].set_weights([draw(*w.shape, seed=8) for w in theirs.get_weights()])
    theirs.save_weights(tmp_path / "a.weights.h5")
    ours.load_weights(tmp_path / "a.weights.h5")
    pairs = zip(ours.get_weights(), theirs.get_weights(), strict=True)
    assert all((a == b).all() for a, b in pairs)


@pytest.mark.parametrize("case", CASES)
def test_penalties_and_constraints_equal_keras(case):
    options = {"kernel_regularizer": "l2", "recurrent_regularizer": "l1", "bias_regularizer": "l2"}
    ours, theirs = twins(case, **options, recurrent_constraint="non_neg")
    found, expected = ([to_numpy(loss) for loss in layer.losses] for layer in (ours, theirs))
    assert len(expected) == 3
    assert_close(found, expected)
    assert type(ours.cell.recurrent_kernel.constraint) is keras.constraints.NonNeg


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_of_another_rank_are_refused(kind):
    with pytest.raises(ValueError, match="expected ndim=3, found ndim=2"):
        KSEQ[kind](H)(np.zeros((B, D), "float32"))
