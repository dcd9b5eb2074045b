"""How a model becomes one `.keras` file: whole or not at all, and in words every engine knows."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras

from kseq.data.files import atomic_path
from kseq.data.model_files.archive import CONFIG, METADATA, WEIGHTS, Archive
from kseq.data.model_files.finite import all_finite
from kseq.data.model_files.hdf5 import read_arrays
from kseq.data.model_files.json_facts import read_config
from kseq.data.model_files.refusing import DamageError, FlawError
from kseq.errors import FileError, UsageError
from kseq.nn.optimizers import clipped_optimizer, with_public_optimizer

_MOST_PARTS = 1_000_000


class SavedWhole:
    """Mixed into a Keras model: compiled and saved so that the file resumes on any engine."""

    optimizer: Any
    trainable_variables: list[Any]
    _asked_to_jit: Any = "auto"

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """As Keras's; without an optimizer it is a clipped Adam."""
        optimizer = clipped_optimizer() if optimizer is None else optimizer
        super().compile(optimizer=optimizer, **kwargs)  # type: ignore[misc]
        # What "auto" comes to differs between engines: a file must hold what was asked for.
        self._asked_to_jit = kwargs.get("jit_compile", "auto")
        # Built now, so that a file saved before training holds all that it says it holds.
        self.optimizer.build(self.trainable_variables)

    def save(self, filepath: Any, overwrite: bool = True, **kwargs: Any) -> None:
        """Write the model to one `.keras` file, whole or not at all.

        The bytes are read back and checked before they take the name.  A model whose weights are
        not finite is saved all the same, with a warning.

        Raises:
            UsageError: the name does not end in ".keras", or the file exists and may not be
                overwritten.
            FileError: the folder cannot be written to, or does not give back what was written.
        """
        _check_target(filepath, overwrite)
        with atomic_path(filepath) as part:
            super().save(part, overwrite=True, **kwargs)  # type: ignore[misc]
            broken = _read_back(filepath, part)
        # After the file has its name: a warning may be an error.
        if broken is not None:
            text = f"{filepath}: saved with NaN or infinity in {broken}; load_model will refuse it"
            warnings.warn(text, stacklevel=2)

    def get_compile_config(self) -> dict[str, Any]:
        """Keras's, in words that every engine knows."""
        config = _with_public_optimizers(super().get_compile_config())  # type: ignore[misc]
        return {**config, "jit_compile": self._asked_to_jit} if config else config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))


def _with_public_optimizers(config: dict[str, Any]) -> dict[str, Any]:
    """As `with_public_optimizer`, for the optimizer inside a loss-scaling one too."""
    config = with_public_optimizer(config)
    optimizer = config.get("optimizer")
    if not isinstance(optimizer, dict) or "inner_optimizer" not in optimizer["config"]:
        return config
    inside = optimizer["config"]
    inner = with_public_optimizer({"optimizer": inside["inner_optimizer"]})["optimizer"]
    return {**config, "optimizer": {**optimizer, "config": {**inside, "inner_optimizer": inner}}}


def _check_target(path: Any, overwrite: bool) -> None:
    if not str(path).endswith(".keras"):
        raise UsageError(f"{path}: a model file must end in '.keras', found another ending; add it")
    if not overwrite and Path(path).exists():
        raise UsageError(
            f"{path}: the file must not exist yet, found one; pass overwrite=True to replace it"
        )


def _check_loadable(path: Any, archive: Archive) -> None:
    try:
        read_config(archive)
    except DamageError as flaw:
        raise UsageError(
            f"{path}: the model must have a configuration that may be loaded, found "
            f"{archive.size_of(CONFIG):,} bytes of it for {archive.size_of(WEIGHTS):,} of weights; "
            "give it more units, or a smaller vocabulary"
        ) from flaw


def _read_back(path: Any, part: Path) -> str | None:
    """Read what Keras wrote as whoever loads it will; return an array that is not finite, or None.

    Raises:
        FileError: what is there is not what was written.
        UsageError: it has more configuration than whoever loads it would read.
    """
    try:
        with Archive(part) as archive:
            for member in (CONFIG, METADATA):
                archive.read(member)
            _check_loadable(path, archive)
            arrays = read_arrays(archive.read(WEIGHTS), _MOST_PARTS)
    except FlawError as flaw:
        raise FileError(
            f"{path}: the disk must give back what was written, found another file ({flaw.found}); "
            "save it in another folder"
        ) from flaw
    return next((name for name, array in arrays.items() if not all_finite(array)), None)
