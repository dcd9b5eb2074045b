"""What a file may be compiled with, what is checked as it is saved, and files beyond 2 GiB."""

import os
import zipfile

import keras
import numpy as np
import pytest
from good_model_file import good, good_members
from language_cases import same, tiny

import kseq
from kseq import FileError, ModelFileError, inspect_model, load_model
from kseq.saving.optimizer_shapes import state_shapes
from kseq.saving.shapes import wanted

OPTIMIZERS = {
    "SGD": {},
    "SGD with momentum": {"momentum": 0.9},
    "Adam": {"amsgrad": True},
    "Adam with averages": {"use_ema": True},
    "AdamW": {"gradient_accumulation_steps": 2},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Adagrad": {},
    "Adadelta": {},
    "Adafactor": {},
    "Adamax": {},
    "Nadam": {},
    "Ftrl": {},
    "Lion": {},
    "Lamb": {},
    "Muon": {"exclude_layers": ["dense", "gru_1/cell"]},
}
SCHEDULES = {
    "ExponentialDecay": (0.1, 10, 0.9),
    "CosineDecay": (0.1, 10),
    "PiecewiseConstantDecay": ([1, 2], [1.0, 0.5, 0.1]),
}


def restored(model, path):
    """Save a compiled model, load it, and check that the optimizer is the same."""
    model.save(path)
    loaded = load_model(path)
    found, expected = (
        [np.asarray(variable) for variable in one.optimizer.variables] for one in (loaded, model)
    )
    assert same(found, expected)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    return loaded


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_keras_comes_back(name, tmp_path):
    model = tiny("gru", tie_weights=True)
    model.compile(getattr(keras.optimizers, name.split()[0])(**OPTIMIZERS[name]))
    restored(model, tmp_path / "model.keras")
    config = {"class_name": name.split()[0], "config": model.optimizer.get_config()}
    told = state_shapes(config, [tuple(w.shape) for w in model.trainable_variables])
    found = [tuple(variable.shape) for variable in model.optimizer.variables]
    assert told is None or told == found


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_of_keras_comes_back(name, tmp_path):
    rate = getattr(keras.optimizers.schedules, name)(*SCHEDULES[name])
    model = tiny()
    model.compile(kseq.clipped_optimizer("adam", rate))
    restored(model, tmp_path / "model.keras")


def test_losses_and_metrics_come_back_however_they_were_given(tmp_path):
    model = tiny()
    metrics = [
        "accuracy",
        keras.metrics.sparse_categorical_accuracy,
        keras.metrics.SparseTopKCategoricalAccuracy(3),
        kseq.BitsPerToken(),
    ]
    model.compile(loss=keras.losses.sparse_categorical_crossentropy, metrics=metrics)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.loss == "sparse_categorical_crossentropy"
    x, y = np.ones((2, 3), "int32"), np.ones((2, 3), "int32")
    assert len(loaded.evaluate(x, y, verbose=0)) == 5


# Without a setting JAX has no float64.
PRECISIONS = [
    *("float16", "bfloat16", "mixed_float16"),
    pytest.param("float64", marks=pytest.mark.engine("torch", "tensorflow")),
]


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_every_precision_comes_back(dtype, tmp_path):
    model = tiny("gru", dtype=dtype)
    model.compile()
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    assert same(loaded.get_weights(), model.get_weights())


def test_a_loss_scaling_optimizer_comes_back(tmp_path):
    model = tiny()
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()))
    model.save(tmp_path / "model.keras")
    assert type(load_model(tmp_path / "model.keras").optimizer.inner_optimizer).__name__ == "Adam"


def test_a_frozen_model_comes_back(tmp_path):
    model = tiny()
    model.trainable = False
    model.compile()
    assert not restored(model, tmp_path / "model.keras").trainable


def test_an_optimizer_of_ones_own_is_saved_and_named_when_loaded(tmp_path):
    class Mine(keras.optimizers.SGD):
        pass

    model = tiny()
    model.compile(Mine())
    model.save(tmp_path / "model.keras")
    words = r"found the optimizer 'Mine'; load_model\(path, compile=False\) reads the rest"
    for read in (load_model, inspect_model):
        with pytest.raises(ModelFileError, match=words):
            read(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras", compile=False)
    assert same(loaded.get_weights(), model.get_weights())


CELLS = ("simple_rnn", "gru", "lstm", "scratch_gru", "scratch_lstm", "peephole_lstm")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", [{}, {"embedding_dim": 3}, {"tie_weights": True}], ids=str)
def test_the_shapes_are_known_without_a_model(cell, options):
    model = tiny(cell, num_layers=2, dropout=0.5, **options)
    told = wanted("LanguageModel", model.get_config(), "float32")
    assert list(told.weights.values()) == [tuple(w.shape) for w in model.trainable_variables]
    assert told.parameters == model.count_params()
    assert len(told.streams) == 1


# As it is saved.


def test_weights_that_are_not_finite_are_saved_with_a_warning_and_refused(tmp_path):
    model, path = tiny(), tmp_path / "model.keras"
    broken = model.get_weights()
    broken[0][0, 0] = np.nan
    model.set_weights(broken)
    with pytest.raises(UserWarning, match=r"saved with NaN or infinity in layers/stack/.*/vars/0"):
        model.save(path)
    with pytest.raises(ModelFileError, match="must hold finite numbers, found NaN or infinity in"):
        load_model(path)


def test_what_the_disk_does_not_give_back_does_not_take_the_name(tmp_path, monkeypatch):
    model, path = tiny(), tmp_path / "model.keras"
    model.save(path)
    before = path.read_bytes()
    write = keras.Model.save

    def one_bit_off(self, filepath, **options):
        write(self, filepath, **options)
        with open(filepath, "r+b") as file:
            file.seek(filepath.stat().st_size // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))

    monkeypatch.setattr(keras.Model, "save", one_bit_off)
    with pytest.raises(FileError, match="the disk must give back what was written, found another"):
        model.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]


# Beyond 2 GiB Python's writer uses fields of 64 bits.


def test_an_archive_with_fields_of_64_bits_is_read(tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", 5000)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in good_members().items():
                archive.writestr(name, content)
    assert len(path.read_bytes()) > len(good())
    told = {**inspect_model(path), "file": None, "bytes": None}
    (tmp_path / "good.keras").write_bytes(good())
    assert told == {**inspect_model(tmp_path / "good.keras"), "file": None, "bytes": None}
