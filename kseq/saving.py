"""Reading `.keras` files: what is in one, and a model ready to be used and to go on training."""

from __future__ import annotations

import json
import math
import os
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

from kseq.backend import require_engine
from kseq.checks import one_of
from kseq.errors import FileError, ModelFileError
from kseq.version import __version__

_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
_OTHER_FORMATS = {
    ".h5": "Keras 2 files must be converted first",
    ".hdf5": "Keras 2 files must be converted first",
    ".pt": "PyTorch's own files hold no model kseq could build",
    ".pth": "PyTorch's own files hold no model kseq could build",
    ".safetensors": "these files hold weights only",
}
# Where the class of each kind of model is defined.
_HOMES = {
    "LanguageModel": "kseq.nn.language_model",
    "Forecaster": "kseq.nn.forecaster",
}
_USES = {"LanguageModel": "kseq generate", "Forecaster": "kseq forecast"}
LARGEST_FILE = 16 * 2**30
# Where Keras puts the bias of the logits (V,): that of a Dense layer, or with tied weights our own.
_READ_OUT_BIASES = ("layers/stack/dense/vars/1", "layers/stack/vars/0")
# What reading a crafted archive or a deeply nested JSON raises, beside BadZipFile and ValueError.
_UNREADABLE = (EOFError, NotImplementedError, RecursionError, RuntimeError)

Shapes = dict[str, tuple[int, ...]]


def load_model(path: str | os.PathLike[str], kind: str | None = None) -> Any:
    """Return the model a `.keras` file holds, compiled as it was, on the engine in use.

    Args:
        path: the file.
        kind: "LanguageModel" or "Forecaster" where only that will do.

    Raises:
        UsageError: an unknown kind.
        FileError: there is no such file, or it cannot be read.
        ModelFileError: the file is incomplete, corrupt, not kseq's, of a newer kseq, or holds
            another kind of model.

    Example:
        >>> import tempfile
        >>> from kseq import LanguageModel, Vocab
        >>> path = tempfile.mkdtemp() + "/tiny.keras"
        >>> LanguageModel(Vocab(list("ab")), units=2).save(path)
        >>> load_model(path).units
        2
    """
    if kind is not None:
        one_of("kind", kind, _HOMES)
    config, _, _ = _read_facts(Path(path))
    _check_kind(path, config["class_name"], kind)
    require_engine()
    import keras

    import_module(_HOMES[config["class_name"]])  # registers the classes the file may name

    try:
        return keras.saving.load_model(path)
    except Exception as error:
        raise _broken(path, "it could not be built") from error


def inspect_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a model file says of itself, without building a model.

    kind, settings (cell, units, ...), vocab_size (None for a forecaster), parameters, provenance
    (corpus or series, epochs, results), versions, date_saved and bytes.

    Raises:
        FileError, ModelFileError: as for `load_model`.
    """
    path = Path(path)
    config, metadata, shapes = _read_facts(path)
    settings = dict(config["config"])
    vocab = settings.pop("vocab", None)
    provenance = settings.pop("provenance", None)
    for private in ("name", "trainable", "dtype", "margins"):
        settings.pop(private, None)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "kind": config.get("class_name"),
        "settings": settings,
        "vocab_size": vocab and len(vocab["tokens"]),
        "parameters": _count_parameters(shapes),
        "provenance": provenance,
        "keras_version": metadata.get("keras_version"),
        "date_saved": metadata.get("date_saved"),
    }


def _read_facts(path: Path) -> tuple[dict[str, Any], dict[str, Any], Shapes]:
    """Check the file as far as that needs no Keras; return its config, metadata and shapes."""
    _check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
            config = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json"))
    except (zipfile.BadZipFile, ValueError, *_UNREADABLE) as error:
        if isinstance(error, ModelFileError):
            raise
        raise _broken(path, str(error)[:80]) from error
    _check_ours(path, config)
    shapes = _read_shapes(path)
    if config["class_name"] == "LanguageModel":
        _check_vocabulary(path, config.get("config"), shapes)
    elif not isinstance(config.get("config"), dict):
        raise _broken(path, "it has no settings")
    return config, metadata, shapes


def _check_file(path: Path) -> None:
    if str(path).startswith(("http:/", "https:/")):
        raise ModelFileError(f"{path}: must be a local file, found a URL; download it first")
    if path.is_dir():
        raise ModelFileError(f"{path}: must be a .keras file, found a folder; name the file in it")
    if not path.exists():
        raise FileError(f"{path}: the model file must exist, found none; check the path")
    hint = _OTHER_FORMATS.get(path.suffix.lower())
    if hint:
        raise ModelFileError(
            f"{path}: must be a .keras file, found '{path.suffix}'; {hint}, use model.save"
        )
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        raise ModelFileError(f"{path}: must be a regular file below 16 GiB; choose another")
    if not os.access(path, os.R_OK):
        raise FileError(f"{path}: must be readable, found no permission; change its mode")


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    missing = _MEMBERS - set(archive.namelist())
    if missing:
        raise _broken(path, f"{', '.join(sorted(missing))} missing")
    damaged = archive.testzip()
    if damaged:
        raise _broken(path, f"{damaged} does not match its checksum")


def _check_ours(path: Path, config: Any) -> None:
    if not isinstance(config, dict) or not str(config.get("registered_name")).startswith("kseq>"):
        raise ModelFileError(
            f"{path}: must be a model saved by kseq, found another Keras model; "
            "load it with keras.saving.load_model"
        )
    if str(config.get("class_name")) not in _HOMES:
        raise _broken(path, "it names no model of kseq")
    facts = _members_of(_members_of(config.get("config")).get("provenance"))
    version = str(facts.get("kseq_version") or "0")
    if _numbers(version) > _numbers(__version__):
        raise ModelFileError(
            f"{path}: must be made by kseq {__version__} or older, found {version[:20]}; upgrade"
        )


def _members_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _check_kind(path: Any, found: str, wanted: str | None) -> None:
    if wanted is not None and found != wanted:
        raise ModelFileError(
            f"{path}: must hold a {wanted}, found a {found}; use it with {_USES[found]}, or name "
            "another file"
        )


def _check_vocabulary(path: Path, config: Any, shapes: Shapes) -> None:
    try:
        told = len(config["vocab"]["tokens"])
    except (KeyError, TypeError) as error:
        raise _broken(path, "it has no vocabulary") from error
    found = [shapes[name][0] for name in _READ_OUT_BIASES if name in shapes]
    if found and found != [told]:
        raise ModelFileError(
            f"{path}: vocabulary and layers must agree, found {told} and {found[0]} "
            "symbols; the file was altered, save the model again"
        )


def _read_shapes(path: Path) -> Shapes:
    """Return the shape of every array of the weights, by its name."""
    import h5py

    shapes: Shapes = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[name] = tuple(item.shape)

    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as member:
        try:
            with h5py.File(member, "r") as weights:
                weights.visititems(note)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise _broken(path, "its weights cannot be read") from error
    return shapes


def _count_parameters(shapes: Shapes) -> int:
    ours = (name for name in shapes if not name.startswith("optimizer"))
    return sum(math.prod(shapes[name]) for name in ours if "seed_generator" not in name)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:3] if part.isdigit()]


def _broken(path: Any, found: str) -> ModelFileError:
    return ModelFileError(
        f"{path}: must be a whole .keras file, found an incomplete or corrupt one ({found}); "
        "save the model again or fetch another copy"
    )
