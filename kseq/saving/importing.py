"""Weights that plain Keras saved, put into a model of kseq with the same layers."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kseq.data.model_files.archive import WEIGHTS, Archive, check_regular, open_regular
from kseq.data.model_files.finite import all_finite
from kseq.data.model_files.hdf5 import read_arrays
from kseq.data.model_files.refusing import DamageError, FlawError, refusal
from kseq.errors import UsageError

# A file has the optimizer's arrays beside a weight, perhaps in float64, and groups around each.
_MOST_BESIDE, _ROOM = 16, 64 * 2**20
_PARTS_OF_AN_ARRAY, _MORE_PARTS = 20, 1000
_BYTES_OF_A_WEIGHT = 4
_KINDS = ("embedding", "simple_rnn", "gru", "lstm", "dense")

Layers = dict[str, list[list[np.ndarray]]]


def import_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Take the weights that plain Keras saved for the same layers; on any doubt change nothing.

    The layers of a kind are matched in their order: for a `LanguageModel` an Embedding (where it
    has one), its recurrent layers and a Dense; for a `Forecaster` its Dense layers, or its
    recurrent layers and a Dense.  Their sizes must be the model's.  The optimizer's state, and
    layers without weights, are passed over.

    Args:
        model: a `LanguageModel` or a `Forecaster`, whose weights are replaced.
        path: a `.weights.h5` file of `save_weights`, or a `.keras` file, of a Sequential or
            functional Keras model.  It is read as warily as by `load_model`, and whole: a file of
            more than 64 MiB and 16 times the model's own weights is refused unread.

    Raises:
        UsageError: the model has tied weights or a teaching cell, which plain Keras has not.
        FileError, ModelFileError: the file cannot be read, or holds other layers.

    Example:
        >>> import keras, tempfile
        >>> from kseq import Forecaster
        >>> plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10, "relu")])
        >>> plain.add(keras.layers.Dense(1))
        >>> path = tempfile.mkdtemp() + "/plain.weights.h5"
        >>> plain.save_weights(path)
        >>> import_weights(Forecaster("mlp", window=4, units=10), path)
    """
    from kseq.saving.building import assign

    path = Path(path)
    wanted = list(_layers_of(model))
    try:
        pairs = _matched(wanted, _by_kind(_read(path, [one for _, each in wanted for one in each])))
    except FlawError as flaw:
        raise refusal(path, flaw) from flaw
    for variable, array in pairs:
        assign(variable, array)


def _read(path: Path, variables: list[Any]) -> dict[str, np.ndarray]:
    """Return the arrays of a file, which may be so much larger than `variables` and no more."""
    parts = _PARTS_OF_AN_ARRAY * len(variables) + _MORE_PARTS
    if path.suffix == ".keras":
        with Archive(path) as archive:
            _check_size(archive.size_of(WEIGHTS), variables)
            return read_arrays(archive.read(WEIGHTS), parts)
    if not path.name.endswith(".weights.h5"):
        remedy = "save the weights with save_weights"
        raise FlawError("must be a .weights.h5 or .keras file", f"'{path.suffix}'", remedy)
    check_regular(path)
    with open(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        _check_size(size, variables)
        return read_arrays(memoryview(file.read(size)), parts)


def _check_size(size: int, variables: list[Any]) -> None:
    numbers = sum(math.prod(one.shape) for one in variables)
    if size > _MOST_BESIDE * _BYTES_OF_A_WEIGHT * numbers + _ROOM:
        raise _differs(f"{size / 2**20:,.0f} MiB for {numbers:,} weights")


def _layers_of(model: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the kind of each layer of the model that has weights, and its variables."""
    stack = getattr(model, "stack", None) or getattr(model, "network", None)
    if stack is None or getattr(model, "tie_weights", False):
        found = "none" if stack is None else "tied weights"
        raise UsageError(
            f"model: must be a model of kseq with layers of plain Keras, found {found}; "
            "make one without"
        )
    if getattr(stack, "embedding", None) is not None:
        yield "embedding", stack.embedding.weights
    for layer in getattr(stack, "recurrent", []):
        yield _kind_of(layer), layer.cell.weights
    for layer in [*getattr(stack, "hidden", []), getattr(stack, "dense", None) or stack.read_out]:
        yield "dense", layer.weights


def _kind_of(layer: Any) -> str:
    kind = getattr(layer, "fused_kind", None)
    if kind is None:
        raise UsageError(
            "model: must have layers that plain Keras has, found a teaching cell; "
            "use simple_rnn, gru or lstm"
        )
    return kind


def _by_kind(arrays: dict[str, np.ndarray]) -> Layers:
    """Return the arrays of each layer in the file, the layers of a kind in their order."""
    layers: dict[tuple[str, int], dict[int, np.ndarray]] = {}
    for path, array in arrays.items():
        if path.startswith("optimizer/") or "seed_generator" in path:
            continue
        layer, _, number = path.rpartition("/vars/")
        place = _place(layer.removesuffix("/cell"))
        if place[0] not in _KINDS or not number.isdecimal():
            raise _differs(f"{layer or path}, which kseq has not")
        if int(number) in layers.setdefault(place, {}):
            raise _differs(f"two layers called {layer}")
        layers[place][int(number)] = array
    found: Layers = {}
    for (kind, _), parts in sorted(layers.items()):
        found.setdefault(kind, []).append([parts[number] for number in sorted(parts)])
    return found


def _place(layer: str) -> tuple[str, int]:
    """Return the kind and the number of a layer by its path: gru_2 is the third GRU."""
    name = layer.rpartition("/")[2]
    kind, _, number = name.rpartition("_")
    return (kind, int(number)) if number.isdecimal() and kind in _KINDS else (name, 0)


def _matched(wanted: list[tuple[str, list[Any]]], found: Layers) -> list[tuple[Any, np.ndarray]]:
    """Return each variable with the array it gets, after every shape has been compared."""
    for kind in _KINDS:
        told, there = sum(one == kind for one, _ in wanted), len(found.get(kind, []))
        if told != there:
            raise _differs(f"{there} layers of kind {kind} where the model has {told}")
    pairs = []
    for kind, variables in wanted:
        arrays = found[kind].pop(0)
        _check_shapes(kind, [tuple(one.shape) for one in variables], [a.shape for a in arrays])
        pairs += zip(variables, map(_numbers, arrays, variables), strict=True)
    return pairs


def _check_shapes(kind: str, wanted: list[tuple[int, ...]], found: list[tuple[int, ...]]) -> None:
    if wanted != found:
        raise _differs(f"{_listed(found)} for {kind} where the model has {_listed(wanted)}")


def _numbers(array: np.ndarray, variable: Any) -> np.ndarray:
    if array.dtype.kind not in "fV":
        raise DamageError(f"its weights are {array.dtype}")
    if not all_finite(array, variable.dtype):
        raise FlawError("must hold finite numbers", "NaN or infinity", "save the weights again")
    return array


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return " ".join(str(shape).replace(" ", "") for shape in shapes)


def _differs(found: str) -> FlawError:
    return FlawError("must hold the layers of the model", found, "make a model of the same sizes")
