"""Hostile and broken weights inside a model file: what HDF5 can do, and arrays that do not fit."""

import io
import struct

import h5py
import numpy as np
from good_model_file import WEIGHTS, V, good_arrays, good_members, weights
from hostile_ways import DAMAGED, with_members

# The ways.


def with_arrays(change=None, finish=None):
    arrays = good_arrays()
    if change:
        change(arrays)
    return with_members(weights=weights(arrays, finish))


def with_weights_bytes(change):
    content = bytearray(good_members()[WEIGHTS])
    change(content)
    return with_members(weights=bytes(content))


def without_dataset(file, path="layers/stack/dense/vars/1"):
    del file[path]
    return path


def replaced(make):
    """Give weights where one array is what `make(file, path)` puts there instead."""

    def finish(file):
        make(file, without_dataset(file))

    return with_arrays(finish=finish)


def external(file, path):
    file.create_dataset(path, (V,), "float32", external=[("/etc/passwd", 0, V * 4)])


def virtual(file, path):
    layout = h5py.VirtualLayout((V,), "float32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (V,))
    file.create_virtual_dataset(path, layout)


def deep_groups(file):
    group = file.create_group("layers/deep")
    for _ in range(200):
        group = group.create_group("a")


def big_endian(file, path):
    file[path] = np.ones(V, ">f4")


def soft(file):
    file["layers/again"] = h5py.SoftLink("/layers")


def elsewhere(file):
    file["layers/other"] = h5py.ExternalLink("/etc/passwd", "/")


def loop(file):
    file["layers/loop"] = file["layers"]


def twice(file):
    file["layers/stack/dense/vars/2"] = file["layers/stack/dense/vars/1"]


def text(file, path):
    file[path] = "text"


def compound(file, path):
    file[path] = np.zeros(V, [("a", "f4"), ("b", "f4")])


def zipped(file, path):
    file.create_dataset(path, (V,), "f4", compression="gzip", data=np.zeros(V))


def chunked(file, path):
    file.create_dataset(path, (10**12,), "f4", chunks=(1000,))


def never_written(file, path):
    file.create_dataset(path, (10**9,), "f4")


def resizable(file, path):
    file.create_dataset(path, (V,), "f4", maxshape=(None,), data=np.zeros(V))


def newest_format():
    """Give the weights as the HDF5 library would write them in its newest format."""
    latest = io.BytesIO()
    with h5py.File(latest, "w", libver="latest") as file:
        for path, array in good_arrays().items():
            file[path] = array
    return latest.getvalue()


# Every file: what it holds, and the words with which it is refused.


def hdf5():
    found = {
        "soft-link": with_arrays(finish=soft),
        "external-link": with_arrays(finish=elsewhere),
        "group-loop": with_arrays(finish=loop),
        "array-twice": with_arrays(finish=twice),
        "external-storage": replaced(external),
        "virtual-dataset": replaced(virtual),
        "text-array": replaced(text),
        "compound-array": replaced(compound),
        "gzip-filter": replaced(zipped),
        "chunked-huge": replaced(chunked),
        "never-written": replaced(never_written),
        "resizable": replaced(resizable),
        "big-endian": replaced(big_endian),
        "deep-groups": with_arrays(finish=deep_groups),
        "many-groups": with_arrays(finish=lambda f: [f.create_group(f"g/{i}") for i in range(999)]),
        "newest-format": with_members(weights=newest_format()),
        "no-hdf5": with_members(weights=b"weights" * 100),
        "hdf5-cut": with_members(weights=good_members()[WEIGHTS][:-100]),
        "hdf5-longer": with_members(weights=good_members()[WEIGHTS] + bytes(100)),
        "hdf5-empty": with_members(weights=b""),
        "hdf5-root-to-itself": with_weights_bytes(lambda c: struct.pack_into("<Q", c, 64, 0)),
        "hdf5-root-outside": with_weights_bytes(lambda c: struct.pack_into("<Q", c, 64, 2**63)),
    }
    return {name: (content, DAMAGED) for name, content in found.items()}


def arrays():
    def change(path, make):
        def apply(arrays):
            arrays[path] = make(arrays[path])

        return with_arrays(apply)

    def remove(path):
        return with_arrays(lambda arrays: arrays.pop(path))

    def put(value, index):
        def make(array):
            array.flat[index] = value
            return array

        return make

    bias, kernel = "layers/stack/dense/vars/1", "layers/stack/recurrent/gru/cell/vars/0"
    return {
        "nan-weight": (change(kernel, put(np.nan, -1)), "NaN or infinity in"),
        "infinite-weight": (change(bias, put(-np.inf, 0)), "NaN or infinity in"),
        "nan-learning-rate": (
            change("optimizer/vars/1", lambda _: np.float32("nan")),
            "NaN or infinity in",
        ),
        "too-large-learning-rate": (
            change("optimizer/vars/1", lambda _: np.float64(1e300)),
            "NaN or infinity in",
        ),
        "float64-weight": (change(kernel, lambda a: a.astype("float64")), "must be float32"),
        "int-weight": (change(kernel, lambda a: a.astype("int32")), "must be float32"),
        "bool-weight": (change(kernel, lambda a: a.astype(bool)), DAMAGED),
        "float-stream": (
            change("layers/stack/vars/seed_generator_0", lambda a: a.astype("float32")),
            "no whole numbers",
        ),
        "turned-weight": (change(kernel, lambda a: a.T.copy()), "must be (7, 18), not (18, 7)"),
        "flat-weight": (change(kernel, np.ravel), "must be (7, 18), not (126,)"),
        "short-stream": (change("layers/stack/vars/seed_generator_0", lambda a: a[:1]), "(2,)"),
        "without-weight": (remove(kernel), "missing"),
        "without-stream": (remove("layers/stack/vars/seed_generator_0"), "missing"),
        "without-iterations": (remove("optimizer/vars/0"), "of the optimizer is missing"),
        "without-skipped": (remove("optimizer/vars/2"), "optimizer must have 3 arrays, not 2"),
        "extra-weight": (
            with_arrays(lambda a: a.update({"layers/stack/dense/vars/2": np.ones(3)})),
            "does not belong",
        ),
        "extra-layer": (with_arrays(lambda a: a.update({"layers/x": np.ones(3)})), "not belong"),
        "extra-state": (
            with_arrays(lambda a: a.update({"optimizer/vars/3": np.ones(3)})),
            "optimizer must have 3 arrays, not 4",
        ),
        "extra-optimizer": (
            with_arrays(lambda a: a.update({"optimizer/x": np.ones(3)})),
            "does not belong",
        ),
        "huge-state": (
            change("optimizer/vars/1", lambda _: np.ones(1000, "float32")),
            "must be (), not (1000,)",
        ),
    }
