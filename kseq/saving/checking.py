"""The whole check of a `.keras` file, before any of it reaches Keras or an engine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kseq.checks import one_of
from kseq.data.model_files.archive import WEIGHTS, Archive
from kseq.data.model_files.finite import all_finite
from kseq.data.model_files.hdf5 import read_arrays
from kseq.data.model_files.json_facts import read_config, read_metadata
from kseq.data.model_files.refusing import DamageError, FlawError, refusal
from kseq.saving.allowed import check_compilation
from kseq.saving.optimizer_shapes import check_state
from kseq.saving.settings import check_settings, policy_name, word
from kseq.saving.shapes import Wanted, wanted
from kseq.version import __version__

KINDS = {"LanguageModel": "kseq.nn.language_model", "Forecaster": "kseq.nn.forecaster"}
_USES = {"LanguageModel": "kseq generate", "Forecaster": "kseq forecast"}
_KEYS = {"module", "class_name", "config", "registered_name", "build_config", "compile_config"}
# Where Keras puts the bias of the logits (V,): that of a Dense layer, or with tied weights our own.
_READ_OUT_BIASES = ("layers/stack/dense/vars/1", "layers/stack/vars/0")
_STATE, _INNER_STATE = "optimizer/vars/", "optimizer/inner_optimizer/vars/"
_SCALED = {"class_name": "LossScaleOptimizer", "config": {}}
# By the dtype policy; JAX has no float64 unless told to, and then keeps such weights in float32.
_DTYPES = {"float16": ("<f2",), "bfloat16": ("V2",), "float64": ("<f8", "<f4")}
# An optimizer keeps at most so many numbers beside a weight; the rest is room for small models.
_MOST_BESIDE, _ROOM = 16, 64 * 2**20

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ModelFile:
    """A file that has been checked: all that a model is built from.

    kind: "LanguageModel" or "Forecaster".
    settings: what the model is built with; the dtype policy by its name.
    compilation: what it is compiled with, or None.
    arrays: every array by its path, views of the bytes that were checked.
    """

    path: Path
    bytes: int
    kind: str
    settings: dict[str, Any]
    compilation: dict[str, Any] | None
    metadata: dict[str, Any]
    arrays: Arrays
    wanted: Wanted


def check_model_file(path: str | os.PathLike[str], kind: str | None = None) -> None:
    """Refuse a file that `load_model` would refuse, in milliseconds and without an engine.

    Raises:
        UsageError, FileError, ModelFileError: as for `load_model`.

    Example:
        >>> check_model_file("model.pt")
        Traceback (most recent call last):
        ...
        kseq.errors.FileError: model.pt: the model file must exist, found none; check the path
    """
    read_model_file(path, kind)


def read_model_file(
    path: str | os.PathLike[str], kind: str | None = None, compiled: bool = True
) -> ModelFile:
    """Return what a file holds once all of it has been checked.

    Args:
        path: the file.
        kind: "LanguageModel" or "Forecaster" where only that will do.
        compiled: whether what the model was compiled with, and its optimizer, are read too.

    Raises:
        UsageError, FileError, ModelFileError: as for `load_model`.
    """
    if kind is not None:
        one_of("kind", kind, KINDS)
    path = Path(path)
    try:
        with Archive(path) as archive:
            return _read(path, archive, kind, compiled)
    except FlawError as flaw:
        raise refusal(path, flaw) from flaw


def _read(path: Path, archive: Archive, kind: str | None, compiled: bool) -> ModelFile:
    weights = archive.size_of(WEIGHTS)
    config = read_config(archive)
    metadata = read_metadata(archive)
    found = _check_ours(config)
    _check_metadata(metadata)
    _check_kind(found, kind)
    settings = check_settings(found, config.get("config"))
    dtype = policy_name(settings.get("dtype", "float32"))
    told = wanted(found, settings, dtype)
    if weights > _MOST_BESIDE * told.bytes + _ROOM:
        raise DamageError("its weights are many times what its settings say")
    arrays = read_arrays(archive.read(WEIGHTS), 20 * len(told.weights) + 200)
    compilation = _compilation(config) if compiled else None
    _check_arrays(arrays, told, settings, dtype)
    _check_optimizer(arrays, told, settings, compilation)
    settings = {**settings, "dtype": dtype}
    return ModelFile(path, archive.size, found, settings, compilation, metadata, arrays, told)


def _compilation(config: dict[str, Any]) -> dict[str, Any] | None:
    told = config.get("compile_config")
    return check_compilation(told) if told else None


def _check_metadata(metadata: dict[str, Any]) -> None:
    if len(metadata) > 100 or not all(map(word, metadata.values())):
        raise DamageError("metadata.json holds more than words")


def _check_ours(config: dict[str, Any]) -> str:
    """Return which kind of model a configuration is of."""
    if not str(config.get("registered_name")).startswith("kseq>"):
        remedy = "load it with keras.saving.load_model"
        raise FlawError("must be a model saved by kseq", "another Keras model", remedy)
    kind = config.get("class_name")
    if not isinstance(kind, str) or kind not in KINDS:
        raise DamageError("it names no model of kseq")
    names = (config.get("module"), config["registered_name"])
    if names != (KINDS[kind], f"kseq>{kind}") or not config.keys() <= _KEYS:
        raise DamageError("it names a model in words that are not kseq's")
    _check_build(config.get("build_config"))
    _check_version(config.get("config"))
    return kind


def _check_build(config: Any) -> None:
    shape = config.get("input_shape") if isinstance(config, dict) and len(config) == 1 else config
    sizes = shape if isinstance(shape, list) else [shape]
    if len(sizes) > 4 or not all(one is None or type(one) is int for one in sizes):
        raise DamageError("it is built for no shape")


def _check_version(config: Any) -> None:
    facts = _members_of(_members_of(config).get("provenance"))
    version = str(facts.get("kseq_version") or "0")[:100]
    if _numbers(version) > _numbers(__version__):
        raise FlawError(f"must be made by kseq {__version__} or older", version[:20], "upgrade")


def _members_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:3] if part.isdecimal()]


def _check_kind(found: str, wanted_kind: str | None) -> None:
    if wanted_kind is not None and found != wanted_kind:
        remedy = f"use it with {_USES[found]}, or name another file"
        raise FlawError(f"must hold a {wanted_kind}", f"a {found}", remedy)


def _check_arrays(arrays: Arrays, told: Wanted, settings: dict[str, Any], dtype: str) -> None:
    """Compare what is there with what the configuration says must be there."""
    if "vocab" in settings:
        _check_agreement(len(settings["vocab"]["tokens"]), arrays)
    _check_shapes(arrays, {**told.weights, **told.streams})
    for path in told.weights:
        _check_numbers(path, arrays[path], dtype)
    for path in told.streams:
        if arrays[path].dtype.kind not in "iu":
            raise DamageError(f"it could not be built: {_short(path)} holds no whole numbers")


def _check_shapes(arrays: Arrays, told: dict[str, tuple[int, ...]]) -> None:
    ours = {path for path in arrays if not path.startswith("optimizer/")}
    missing, strange = sorted(told.keys() - ours), sorted(ours - told.keys())
    if missing or strange:
        wrong = f"{_short(missing[0])} missing" if missing else f"{strange[0]} does not belong"
        raise DamageError(f"it could not be built: {wrong}")
    for path, shape in told.items():
        found = arrays[path].shape
        if found != shape:
            wrong = f"{_short(path)} must be {shape}, not {found}"
            raise DamageError(f"it could not be built: {wrong}")


def _short(path: str) -> str:
    return path.removeprefix("layers/")


def _check_agreement(tokens: int, arrays: Arrays) -> None:
    found = [len(arrays[name]) for name in _READ_OUT_BIASES if name in arrays and arrays[name].ndim]
    if found and found != [tokens]:
        raise FlawError(
            "vocabulary and layers must agree",
            f"{tokens} and {found[0]} symbols",
            "the file was altered, save the model again",
        )


def _check_numbers(path: str, array: np.ndarray, dtype: str) -> None:
    dtypes = _DTYPES.get(dtype, ("<f4",))
    if array.dtype not in map(np.dtype, dtypes):
        wrong = f"{_short(path)} must be {np.dtype(dtypes[0])}, not {array.dtype}"
        raise DamageError(f"it could not be built: {wrong}")
    _check_finite(path, array, dtype)


def _check_finite(path: str, array: np.ndarray, dtype: str) -> None:
    if not all_finite(array, dtype):
        found = f"NaN or infinity in {path}"
        raise FlawError("must hold finite numbers", found, "load an older file")


def _check_optimizer(
    arrays: Arrays, told: Wanted, settings: dict[str, Any], compilation: dict[str, Any] | None
) -> None:
    """Compare the optimizer's state with the optimizer that the file names."""
    if compilation is None:
        return
    weights = list(told.weights.values()) if settings.get("trainable", True) else []
    dtype = policy_name(settings.get("dtype", "float32"))
    # Keras wraps the optimizer to scale the loss, and writes the one inside a second time.
    optimizer = _SCALED if dtype == "mixed_float16" else compilation.get("optimizer")
    state, inner = state_of(arrays, _STATE), state_of(arrays, _INNER_STATE)
    if len(state) + len(inner) != sum(path.startswith("optimizer/") for path in arrays):
        raise DamageError("its optimizer has a part that does not belong")
    shapes = {index: array.shape for index, array in state.items()}
    wrong = check_state(shapes, optimizer or "sgd", weights)
    if wrong:
        raise DamageError(f"it could not be built: {wrong}")
    for index, array in state.items():
        # What stands beside a weight is of its kind; a learning rate is not.
        _check_finite(f"{_STATE}{index}", array, dtype if array.ndim else "float32")


def state_of(arrays: Arrays, prefix: str = _STATE) -> dict[int, np.ndarray]:
    """Return the arrays of an optimizer's state by their number."""
    found = {path.removeprefix(prefix): path for path in arrays if path.startswith(prefix)}
    return {int(name): arrays[path] for name, path in found.items() if _is_number(name)}


def _is_number(name: str) -> bool:
    return name.isdecimal() and (name == "0" or not name.startswith("0"))
