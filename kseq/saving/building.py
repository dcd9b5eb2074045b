"""A model from a file that has been checked: built by its own class, its variables assigned."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from kseq.backend import require_engine
from kseq.data.model_files.refusing import DamageError, refusal
from kseq.saving.checking import KINDS, ModelFile, state_of
from kseq.saving.shapes import numbered

_BFLOAT16 = np.dtype("V2")


def build_model(file: ModelFile) -> Any:
    """Return the model a checked file holds, compiled as it was.

    Raises:
        ModelFileError: its settings and its arrays do not make a model.
    """
    require_engine()
    module = import_module(KINDS[file.kind])
    try:
        model = getattr(module, file.kind).from_config(file.settings)
        if file.compilation:
            model.compile_from_config(file.compilation)
        _assign(file, model)
    except Exception as error:
        flaw = DamageError(
            str(error) if isinstance(error, DamageError) else "it could not be built"
        )
        raise refusal(file.path, flaw) from error
    return model


def _assign(file: ModelFile, model: Any) -> None:
    variables = variables_by_path(model)
    paths = file.wanted.weights.keys() | file.wanted.streams.keys()
    if variables.keys() != paths:
        raise DamageError("it could not be built: its variables have other names")
    pairs = [(variable, file.arrays[path]) for path, variable in variables.items()]
    if file.compilation:
        pairs += _state_pairs(file, model.optimizer)
    for variable, array in pairs:
        assign(variable, array)


def _state_pairs(file: ModelFile, optimizer: Any) -> list[tuple[Any, np.ndarray]]:
    state = state_of(file.arrays)
    shapes = [tuple(variable.shape) for variable in optimizer.variables]
    if shapes != [state[index].shape for index in range(len(state))]:
        raise DamageError("it could not be built: the optimizer's state is another's")
    return [(variable, state[index]) for index, variable in enumerate(optimizer.variables)]


def assign(variable: Any, array: np.ndarray) -> None:
    """Give a variable the numbers of an array of its shape."""
    if array.dtype == _BFLOAT16:
        import ml_dtypes

        array = array.view(ml_dtypes.bfloat16)
    # A copy: what a file is read into is neither writable nor aligned.
    variable.assign(np.array(array))


def variables_by_path(model: Any) -> dict[str, Any]:
    """Return the variables of a model of kseq by the paths under which Keras saves them."""
    name = "stack" if hasattr(model, "stack") else "network"
    layer = getattr(model, name)
    if name == "network":
        name = "recurrent_network" if hasattr(layer, "recurrent") else "window_network"
    return dict(_of_layer(f"layers/{name}", layer))


def _of_layer(root: str, layer: Any) -> list[tuple[str, Any]]:
    found = []
    if getattr(layer, "bias", None) is not None:
        found.append((f"{root}/vars/0", layer.bias))
    for part in ("embedding", "dense", "read_out"):
        if getattr(layer, part, None) is not None:
            found += _numbered(f"{root}/{part}", getattr(layer, part))
    for index, hidden in enumerate(getattr(layer, "hidden", [])):
        found += _numbered(f"{root}/hidden/{numbered('dense', index)}", hidden)
    if hasattr(layer, "recurrent"):
        found += _of_recurrent(root, layer)
    return found


def _of_recurrent(root: str, layer: Any) -> list[tuple[str, Any]]:
    found = []
    for index, recurrent in enumerate(layer.recurrent):
        name = numbered(getattr(recurrent, "fused_kind", "rnn"), index)
        found += _numbered(f"{root}/recurrent/{name}/cell", recurrent.cell)
    streams = layer._dropout_streams().items()
    return found + [(f"{root}/vars/{name}", stream.state) for name, stream in streams]


def _numbered(path: str, layer: Any) -> list[tuple[str, Any]]:
    return [(f"{path}/vars/{index}", weight) for index, weight in enumerate(layer.weights)]
