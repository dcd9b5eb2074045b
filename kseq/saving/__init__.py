"""Reading `.keras` files, each treated as if a stranger had sent it to do harm.

Nothing unverified reaches Keras, HDF5's library or an engine: the file is checked byte by byte
and name by name in plain Python first, and the model is built from what was checked.
"""

from __future__ import annotations

import os
from typing import Any

from kseq.saving.checking import ModelFile, check_model_file, read_model_file
from kseq.saving.importing import import_weights

__all__ = ["check_model_file", "import_weights", "inspect_model", "load_model"]

_PRIVATE = ("vocab", "provenance", "name", "trainable", "dtype", "margins")


def load_model(
    path: str | os.PathLike[str],
    kind: str | None = None,
    compile: bool = True,  # noqa: A002 - Keras's word
) -> Any:
    """Return the model a `.keras` file holds, compiled as it was, on the engine in use.

    Safe for files from strangers: no file makes it run code, import a module or open another
    file.  A file of up to 64 MiB that is refused is refused within half a second and 100 MB; a
    larger one takes time and memory in proportion to its size.  The size is what the file system
    says, the holes of a sparse file included.

    Args:
        path: the file.
        kind: "LanguageModel" or "Forecaster" where only that will do.
        compile: whether to compile it as it was and to read its optimizer.  Without, a file can
            be read whose loss, metrics or optimizer somebody wrote themselves.

    Raises:
        UsageError: an unknown kind.
        FileError: there is no such file, or it cannot be read.
        ModelFileError: the file is incomplete, corrupt, not kseq's, of a newer kseq, holds
            another kind of model, or anything that no model of kseq has.

    Example:
        >>> import tempfile
        >>> from kseq import LanguageModel, Vocab
        >>> path = tempfile.mkdtemp() + "/tiny.keras"
        >>> LanguageModel(Vocab(list("ab")), units=2).save(path)
        >>> load_model(path).units
        2
    """
    file = read_model_file(path, kind, compile)
    from kseq.saving.building import build_model

    return build_model(file)


def inspect_model(
    path: str | os.PathLike[str],
    compile: bool = True,  # noqa: A002 - Keras's word
) -> dict[str, Any]:
    """Return what a model file says of itself, without building a model.

    kind, settings (cell, units, ...), vocab_size (None for a forecaster), parameters, provenance
    (corpus or series, epochs, results), versions, date_saved and bytes.  Everything has been
    checked as for `load_model`.

    Raises:
        FileError, ModelFileError: as for `load_model`.
    """
    return _facts(read_model_file(path, compiled=compile))


def _facts(file: ModelFile) -> dict[str, Any]:
    vocab = file.settings.get("vocab")
    return {
        "file": str(file.path),
        "bytes": file.bytes,
        "kind": file.kind,
        "settings": {name: value for name, value in file.settings.items() if name not in _PRIVATE},
        "vocab_size": vocab and len(vocab["tokens"]),
        "parameters": file.wanted.parameters,
        "provenance": file.settings.get("provenance"),
        "keras_version": file.metadata.get("keras_version"),
        "date_saved": file.metadata.get("date_saved"),
    }
