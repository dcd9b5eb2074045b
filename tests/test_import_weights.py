"""Weights of plain Keras in a model of kseq: the same outputs, or not a weight changed."""

import os

import h5py
import keras
import numpy as np
import pytest
from language_cases import UNITS, V, draw_ids, logits_of, same, tiny, to_numpy

import kseq
from kseq import ModelFileError, UsageError
from kseq.saving import import_weights

IDS = draw_ids(15).reshape(3, 5)
PLAIN = {
    "simple_rnn": keras.layers.SimpleRNN,
    "gru": keras.layers.GRU,
    "lstm": keras.layers.LSTM,
}


def plain_language_model(cell, layers=2, width=3, units=UNITS, symbols=V):
    """Build the layers of a language model as anybody would in Keras, with random weights."""
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(symbols, width)(inputs)
    for _ in range(layers):
        x = PLAIN[cell](units, return_sequences=True)(x)
    return with_random_weights(keras.Model(inputs, keras.layers.Dense(symbols)(x)))


def plain_forecaster(*layers, window=4):
    return with_random_weights(keras.Sequential([keras.Input((window,)), *layers]))


def with_random_weights(model):
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape, scale=0.5) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
@pytest.mark.parametrize("cell", PLAIN)
def test_a_language_model_gives_the_logits_of_the_plain_one(cell, ending, tmp_path):
    plain, path = plain_language_model(cell), tmp_path / f"plain{ending}"
    plain.save_weights(path) if ending == ".weights.h5" else plain.save(path)
    model = tiny(cell, num_layers=2, embedding_dim=3)
    import_weights(model, path)
    np.testing.assert_allclose(logits_of(model, IDS), to_numpy(plain(IDS)), atol=1e-6)


def test_without_an_embedding_the_plain_model_reads_one_hot_vectors(tmp_path):
    layers = [keras.layers.LSTM(UNITS, return_sequences=True), keras.layers.Dense(V)]
    plain = with_random_weights(keras.Sequential([keras.Input((None, V)), *layers]))
    plain.save_weights(tmp_path / "plain.weights.h5")
    model = tiny("lstm")
    import_weights(model, tmp_path / "plain.weights.h5")
    expected = to_numpy(plain(np.eye(V, dtype="float32")[IDS]))
    np.testing.assert_allclose(logits_of(model, IDS), expected, atol=1e-6)


def test_a_perceptron_of_many_layers_keeps_their_order(tmp_path):
    hidden = [keras.layers.Dense(5, "tanh") for _ in range(11)]
    plain = plain_forecaster(*hidden, keras.layers.Dropout(0.5), keras.layers.Dense(2))
    plain.compile("adam", "mse")
    plain.save(tmp_path / "plain.keras")
    model = kseq.Forecaster("mlp", 4, units=5, num_layers=11, outputs=2, activation="tanh")
    import_weights(model, tmp_path / "plain.keras")
    x = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(to_numpy(model(x)), to_numpy(plain(x)), atol=1e-6)


def test_a_recurrent_forecaster(tmp_path):
    plain = keras.Sequential([keras.Input((4, 1)), keras.layers.GRU(3), keras.layers.Dense(1)])
    with_random_weights(plain).save_weights(tmp_path / "plain.weights.h5")
    model = kseq.Forecaster("gru", 4, units=3)
    import_weights(model, tmp_path / "plain.weights.h5")
    x = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(to_numpy(model(x)), to_numpy(plain(x[..., None])), atol=1e-6)


DIFFERENT = {
    "more layers": ({"layers": 3}, "found 3 layers of kind gru where the model has 2; make"),
    "wider": ({"units": 7}, r"found \(3,21\) \(7,21\) \(2,21\) for gru where .* \(3,18\)"),
    "more symbols": ({"symbols": 9}, r"found \(9,3\) for embedding where the model has \(7,3\)"),
    "another cell": ({"cell": "lstm"}, "found 0 layers of kind gru where the model has 2"),
}


@pytest.mark.parametrize(("options", "words"), DIFFERENT.values(), ids=DIFFERENT)
def test_other_layers_are_named_and_nothing_is_changed(options, words, tmp_path):
    plain_language_model(**{"cell": "gru", **options}).save_weights(tmp_path / "p.weights.h5")
    model = tiny("gru", num_layers=2, embedding_dim=3)
    before = model.get_weights()
    with pytest.raises(ModelFileError, match=f"must hold the layers of the model, {words}"):
        import_weights(model, tmp_path / "p.weights.h5")
    assert same(model.get_weights(), before)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    plain = plain_language_model("gru")
    last = plain.get_weights()
    last[-1][0] = np.nan
    plain.set_weights(last)
    plain.save_weights(tmp_path / "p.weights.h5")
    model = tiny("gru", num_layers=2, embedding_dim=3)
    before = model.get_weights()
    with pytest.raises(ModelFileError, match="must hold finite numbers, found NaN or infinity"):
        import_weights(model, tmp_path / "p.weights.h5")
    assert same(model.get_weights(), before)


@pytest.mark.parametrize("name", ["p.weights.h5", "p.keras", "p.npz", "folder"])
def test_what_is_no_file_of_weights_is_refused(name, tmp_path):
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.write_bytes(b"weights" * 100)
    with pytest.raises(ModelFileError, match="must be "):
        import_weights(tiny(), path)


@pytest.mark.parametrize("options", [{"tie_weights": True}, {"cell": "scratch_gru"}], ids=str)
def test_a_model_that_plain_keras_has_not_is_refused(options, tmp_path):
    plain_language_model("gru").save_weights(tmp_path / "p.weights.h5")
    with pytest.raises(UsageError, match=r"model: must (be a|have layers)"):
        import_weights(tiny(**options), tmp_path / "p.weights.h5")


def test_weights_too_large_for_the_model_are_refused(tmp_path):
    plain = plain_forecaster(keras.layers.Dense(1, "relu"), keras.layers.Dense(1))
    plain.save_weights(tmp_path / "p.weights.h5")
    with h5py.File(tmp_path / "p.weights.h5", "r+") as file:
        del file["layers/dense_1/vars/0"]
        file["layers/dense_1/vars/0"] = np.full((1, 1), 1e300)
    model = kseq.Forecaster("mlp", 4, units=1)
    before = model.get_weights()
    with pytest.raises(ModelFileError, match="must hold finite numbers, found NaN or infinity"):
        import_weights(model, tmp_path / "p.weights.h5")
    assert same(model.get_weights(), before)


def test_a_file_many_times_the_model_is_refused_unread(tmp_path):
    path = tmp_path / "p.weights.h5"
    path.touch()
    os.truncate(path, 15 * 2**30)
    with pytest.raises(ModelFileError, match="found 15,360 MiB for 61 weights; make a model"):
        import_weights(kseq.Forecaster("mlp", 4, units=10), path)
