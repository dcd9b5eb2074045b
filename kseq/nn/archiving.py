"""How a model becomes one `.keras` file: whole or not at all, and in words every engine knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kseq.data.files import atomic_path
from kseq.errors import UsageError
from kseq.nn.optimizers import clipped_optimizer, with_public_optimizer


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

        Raises:
            UsageError: the name does not end in ".keras", or the file exists and may not be
                overwritten.
            FileError: the folder cannot be written to.
        """
        _check_target(filepath, overwrite)
        with atomic_path(filepath) as part:
            super().save(part, overwrite=True, **kwargs)  # type: ignore[misc]

    def get_compile_config(self) -> dict[str, Any]:
        """Keras's, in words that every engine knows."""
        config = with_public_optimizer(super().get_compile_config())  # type: ignore[misc]
        return {**config, "jit_compile": self._asked_to_jit} if config else config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))


def _check_target(path: Any, overwrite: bool) -> None:
    if not str(path).endswith(".keras"):
        raise UsageError(f"{path}: a model file must end in '.keras', found another ending; add it")
    if not overwrite and Path(path).exists():
        raise UsageError(
            f"{path}: the file must not exist yet, found one; pass overwrite=True to replace it"
        )
