"""Reading `.keras` files: what is in one, and a model ready to speak and to go on training."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

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
LARGEST_FILE = 16 * 2**30


def load_model(path: str | os.PathLike[str]) -> Any:
    """Return the model a `.keras` file holds, compiled as it was, on the engine in use.

    Raises:
        FileError: there is no such file, or it cannot be read.
        ModelFileError: the file is incomplete, corrupt, not kseq's, or of a newer kseq.

    Example:
        >>> import tempfile
        >>> from kseq import LanguageModel, Vocab
        >>> path = tempfile.mkdtemp() + "/tiny.keras"
        >>> LanguageModel(Vocab(list("ab")), units=2).save(path)
        >>> load_model(path).units
        2
    """
    _read_config(Path(path))
    import keras

    import kseq.nn.language_model  # noqa: F401  registers the classes a file may name

    try:
        model = keras.saving.load_model(path)
    except Exception as error:
        raise _broken(path, "it could not be built") from error
    _check_vocabulary(path, model)
    return model


def inspect_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a model file says of itself, without building a model.

    kind, settings (cell, units, ...), vocab_size, parameters, provenance (corpus, epochs,
    results), versions, date_saved and bytes.

    Raises:
        FileError, ModelFileError: as for `load_model`.
    """
    path = Path(path)
    config, metadata = _read_config(path)
    settings = dict(config["config"])
    vocab = settings.pop("vocab")
    provenance = settings.pop("provenance")
    for private in ("name", "trainable", "dtype"):
        settings.pop(private, None)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "kind": config["class_name"],
        "settings": settings,
        "vocab_size": len(vocab["tokens"]),
        "parameters": _count_parameters(path),
        "provenance": provenance,
        "keras_version": metadata.get("keras_version"),
        "date_saved": metadata.get("date_saved"),
    }


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the archive as far as that needs no Keras; return its config and metadata."""
    _check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
            config = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json"))
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise _broken(path, str(error)[:80]) from error
    _check_ours(path, config)
    return config, metadata


def _check_file(path: Path) -> None:
    if str(path).startswith(("http://", "https://")):
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
    facts = (config.get("config") or {}).get("provenance") or {}
    version = str(facts.get("kseq_version") or "0")
    if _numbers(version) > _numbers(__version__):
        raise ModelFileError(
            f"{path}: must be made by kseq {__version__} or older, found {version[:20]}; upgrade"
        )


def _check_vocabulary(path: Any, model: Any) -> None:
    found = model.stack.vocab_size
    if found != len(model.vocab):
        raise ModelFileError(
            f"{path}: vocabulary and layers must agree, found {len(model.vocab)} and {found} "
            "symbols; the file was altered, save the model again"
        )


def _count_parameters(path: Path) -> int:
    import h5py

    total = 0

    def count(name: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
            total += int(item.size) if "seed_generator" not in name else 0

    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as member:
        try:
            with h5py.File(member, "r") as weights:
                weights.visititems(count)
        except OSError as error:
            raise _broken(path, "its weights cannot be read") from error
    return total


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")[:3] if part.isdigit()]


def _broken(path: Any, found: str) -> ModelFileError:
    return ModelFileError(
        f"{path}: must be a whole .keras file, found an incomplete or corrupt one ({found}); "
        "save the model again or fetch another copy"
    )
