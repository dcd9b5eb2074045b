"""The reader of HDF5 against h5py, and against what a writer of HDF5 may do and Keras does not."""

import io
import struct

import h5py
import keras
import numpy as np
import pytest
from good_model_file import weights
from language_cases import V, tiny

import kseq
from kseq.data.model_files.archive import WEIGHTS, Archive
from kseq.data.model_files.finite import all_finite
from kseq.data.model_files.hdf5 import read_arrays
from kseq.data.model_files.refusing import DamageError


def read(content, most=10_000):
    return read_arrays(memoryview(content), most)


def by_h5py(content):
    found = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(note)
    return found


def same_as_h5py(content):
    found, expected = read(content), by_h5py(content)
    assert found.keys() == expected.keys()
    for path, array in expected.items():
        assert found[path].shape == array.shape, path
        assert found[path].tobytes() == array.tobytes(), path
        assert found[path].dtype == array.dtype, path
    return found


def weights_of(model, path):
    model.save(path)
    with Archive(path) as archive:
        return bytes(archive.read(WEIGHTS))


# Against h5py, on what Keras writes.

CELLS = ("simple_rnn", "gru", "lstm", "scratch_simple_rnn", "scratch_gru", "peephole_lstm")


@pytest.mark.parametrize("cell", CELLS)
def test_the_weights_of_every_cell(cell, tmp_path):
    model = tiny(cell, num_layers=2, dropout=0.5, embedding_dim=3)
    model.compile()
    found = same_as_h5py(weights_of(model, tmp_path / "model.keras"))
    assert len(found) > 2 * len(model.weights)


# Without a setting JAX has no float64.
PRECISIONS = [
    *("float16", "bfloat16", "mixed_float16"),
    pytest.param("float64", marks=pytest.mark.engine("torch", "tensorflow")),
]


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_weights_of_every_precision(dtype, tmp_path):
    model = tiny("gru", dtype=dtype)
    model.compile()
    same_as_h5py(weights_of(model, tmp_path / "model.keras"))


def test_a_forecasters_weights(tmp_path):
    for model in (kseq.Forecaster("mlp", num_layers=3), kseq.Forecaster("gru", None)):
        same_as_h5py(weights_of(model, tmp_path / "model.keras"))


def test_groups_of_so_many_that_their_trees_have_levels(tmp_path):
    model = tiny(num_layers=40)
    model.compile("adam")
    found = same_as_h5py(weights_of(model, tmp_path / "model.keras"))
    assert len(found) == 3 * 40 + 2 + 2 + 2 * (3 * 40 + 2)


@pytest.mark.parametrize("count", [1, 8, 9, 64, 65, 1000])
def test_any_number_of_arrays_in_one_group(count):
    arrays = {f"group/{index}": np.float32(index) for index in range(count)}
    assert len(same_as_h5py(weights(arrays))) == count


def test_weights_that_keras_saves_alone(tmp_path):
    plain = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)])
    plain.save_weights(tmp_path / "plain.weights.h5")
    assert len(same_as_h5py((tmp_path / "plain.weights.h5").read_bytes())) == 5


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u4", "u8"])
def test_every_kind_of_number_at_any_place(dtype):
    rng = np.random.default_rng(0)
    arrays = {"odd": np.ones(3, "u1"), "a/b": rng.integers(0, 100, (2, 3, 5)).astype(dtype)}
    found = same_as_h5py(weights(arrays))
    np.testing.assert_array_equal(found["a/b"], arrays["a/b"])


# What is refused.


def test_an_array_is_a_view_of_the_bytes_that_were_checked():
    content = bytearray(weights({"a": np.arange(1000.0)}))
    found = read(content)["a"]
    assert found.base is not None
    content[content.index(found.tobytes())] ^= 255
    assert not np.array_equal(found, np.arange(1000.0))


def test_no_more_objects_than_expected():
    content = weights({f"g/{index}": np.float32(1) for index in range(50)})
    # The root, g, vars, layers, layers/stack, its dense and its vars, and fifty arrays.
    assert len(read(content, most=57)) == 50
    with pytest.raises(DamageError, match="more parts than the model"):
        read(content, most=56)


@pytest.mark.parametrize("length", [0, 7, 8, 95, 96, 500, 1500])
def test_any_part_of_a_file_is_refused(length):
    content = weights({"a": np.arange(300.0)})
    with pytest.raises(DamageError):
        read(content[:length])


def places(content, signature):
    start, found = 0, []
    while (at := content.find(signature, start)) >= 0:
        found.append(at)
        start = at + 1
    return found


def test_a_tree_that_leads_to_itself_is_refused():
    content = bytearray(weights({f"g/{index}": np.float32(1) for index in range(1000)}))
    tree = next(at for at in places(content, b"TREE") if content[at + 5] == 1)
    struct.pack_into("<Q", content, tree + 32, tree)
    with pytest.raises(DamageError):
        read(content)


def test_arrays_over_each_other_are_refused():
    content = bytearray(weights({"a": np.arange(100.0), "b": np.arange(100.0) + 1}))
    where = [content.index(array.tobytes()) for array in read(content).values()]
    told = [content.index(struct.pack("<2Q", at, 800)) for at in where]
    content[told[0] : told[0] + 8] = content[told[1] : told[1] + 8]
    with pytest.raises(DamageError, match="overlap"):
        read(content)


def test_no_byte_makes_it_fail_in_another_way():
    whole = weights({f"layers/{name}/vars/0": np.arange(5, dtype="f4") for name in "abcdefghij"})
    rng, refusals = np.random.default_rng(0), 0
    for _ in range(2000):
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 4)):
            content[at] = rng.choice([0, 1, 0x7F, 0xFF, rng.integers(256)])
        try:
            read(content)
        except DamageError:
            refusals += 1
    assert refusals > 100


# Finite or not.


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_seen(dtype, bad):
    array = np.ones(300_000, dtype)
    assert all_finite(array)
    array[-1] = bad
    assert not all_finite(array)


@pytest.mark.parametrize(
    ("stored", "number", "kept_as", "finite"),
    [
        ("float64", 3.4028234663852886e38, "float32", True),
        ("float64", 3.5e38, "float32", False),
        ("float64", -1e300, "float64", False),  # JAX has float32 in its place
        ("float32", 65504.0, "float16", True),
        ("float32", -65536.0, "float16", False),
        ("float32", 3.4e38, "bfloat16", False),
        ("float16", -65504.0, "bfloat16", True),
        ("int64", 2**62, "float16", True),
    ],
)
def test_a_number_too_large_for_what_keeps_it_is_not_finite(stored, number, kept_as, finite):
    assert all_finite(np.array([0, number], stored), kept_as) is finite


@pytest.mark.parametrize(
    ("bits", "finite"),
    [(0x3F80, True), (0x7F7F, True), (0x7F80, False), (0xFF80, False), (0x7FC1, False)],
)
def test_a_bfloat16_is_read_by_its_bits(bits, finite):
    assert all_finite(np.array([bits], "<u2").view("V2")) is finite
    assert V > 0
