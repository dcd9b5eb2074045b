"""Which arrays a file must hold, by what its configuration says: paths, shapes, kinds of number.

Computed in plain Python, so that a configuration that asks for more than is there is refused
before anything is allocated.  The paths are those under which Keras saves the variables of our
models: a layer by the attribute it is, one in a list by its class, a variable by its number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]

# Gates, and the class by which Keras names the layer in a list.
_GATES = {"simple_rnn": 1, "gru": 3, "lstm": 4}
_SCRATCH_GATES = {"scratch_simple_rnn": 1, "scratch_gru": 3, "scratch_lstm": 4, "peephole_lstm": 4}
_PEEPHOLES = 3
_ENDS = ("input", "output", "embedding")
_ITEM_SIZES = {"float16": 2, "bfloat16": 2, "float64": 8}

# What a model is built with where its file does not say.
DEFAULTS: dict[str, dict[str, Any]] = {
    "LanguageModel": {
        "cell": "lstm",
        "units": 256,
        "num_layers": 2,
        "embedding_dim": None,
        "tie_weights": False,
        "dropout": 0.0,
    },
    "Forecaster": {
        "kind": "mlp",
        "window": 4,
        "units": 10,
        "num_layers": 1,
        "outputs": 1,
        "use_bias": True,
        "dropout": 0.0,
    },
}


@dataclass(frozen=True)
class Wanted:
    """The arrays of a model, in the order in which Keras counts its variables.

    weights: the shape of each trainable weight, by its path.
    streams: the shape of the state of each random stream, by its path.
    item_size: bytes of one number of a weight.
    """

    weights: dict[str, Shape]
    streams: dict[str, Shape]
    item_size: int

    @property
    def parameters(self) -> int:
        """How many numbers the weights are."""
        return sum(math.prod(shape) for shape in self.weights.values())

    @property
    def bytes(self) -> int:
        """How many bytes the weights take."""
        return self.parameters * self.item_size


def wanted(kind: str, config: dict[str, Any], dtype: str) -> Wanted:
    """Return what a file of that kind, configuration and dtype policy must hold.

    Example:
        >>> config = {"kind": "mlp", "window": 4, "units": 10}
        >>> wanted("Forecaster", config, "float32").weights["layers/window_network/read_out/vars/0"]
        (10, 1)
    """
    settings = {**DEFAULTS[kind], **config}
    root, weights = _LAYERS[kind](settings)
    streams: dict[str, Shape] = {
        f"{root}/vars/seed_generator_{name}": (2,) for name in _streams(settings)
    }
    return Wanted(dict(weights), streams, _ITEM_SIZES.get(dtype, 4))


def _streams(settings: dict[str, Any]) -> Iterator[str]:
    """Give the name of each random stream: between the layers, of their weights, at the ends."""
    layers = settings["num_layers"]
    yield from map(str, range(layers - 1 if settings["dropout"] else 0))
    yield from (f"weights_{i}" for i in range(layers if settings.get("weight_drop") else 0))
    yield from (name for name in _ENDS if settings.get(f"{name}_dropout"))


def _language_model(settings: dict[str, Any]) -> tuple[str, Iterator[tuple[str, Shape]]]:
    return "layers/stack", _of_language_model("layers/stack", settings)


def _of_language_model(root: str, settings: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    V, H, tied = len(settings["vocab"]["tokens"]), settings["units"], settings["tie_weights"]
    width = settings["embedding_dim"] or (H if tied else None)
    if tied:
        yield f"{root}/vars/0", (V,)
    if width:
        yield f"{root}/embedding/vars/0", (V, width)
    yield from _recurrent(root, settings["cell"], H, settings["num_layers"], width or V)
    if not tied:
        yield from _dense(f"{root}/dense", H, V)


def _forecaster(settings: dict[str, Any]) -> tuple[str, Iterator[tuple[str, Shape]]]:
    if settings["kind"] == "mlp":
        return "layers/window_network", _of_perceptron("layers/window_network", settings)
    return "layers/recurrent_network", _of_recurrent("layers/recurrent_network", settings)


def _of_perceptron(root: str, settings: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    bias, width = settings["use_bias"], settings["window"]
    for layer in range(settings["num_layers"]):
        yield from _dense(
            f"{root}/hidden/{numbered('dense', layer)}", width, settings["units"], bias
        )
        width = settings["units"]
    yield from _dense(f"{root}/read_out", width, settings["outputs"], bias)


def _of_recurrent(root: str, settings: dict[str, Any]) -> Iterator[tuple[str, Shape]]:
    yield from _recurrent(root, settings["kind"], settings["units"], settings["num_layers"], 1)
    yield from _dense(
        f"{root}/read_out", settings["units"], settings["outputs"], settings["use_bias"]
    )


_LAYERS = {"LanguageModel": _language_model, "Forecaster": _forecaster}


def _dense(path: str, D: int, H: int, bias: bool = True) -> Iterator[tuple[str, Shape]]:
    yield f"{path}/vars/0", (D, H)
    if bias:
        yield f"{path}/vars/1", (H,)


def _recurrent(root: str, cell: str, H: int, layers: int, D: int) -> Iterator[tuple[str, Shape]]:
    name = cell if cell in _GATES else "rnn"
    for layer in range(layers):
        path = f"{root}/recurrent/{numbered(name, layer)}/cell/vars"
        for index, shape in enumerate(_of_cell(cell, D, H)):
            yield f"{path}/{index}", shape
        D = H


def _of_cell(cell: str, D: int, H: int) -> list[Shape]:
    if cell in _GATES:
        G = _GATES[cell]
        return [(D, G * H), (H, G * H), (2, G * H) if cell == "gru" else (G * H,)]
    gate: list[Shape] = [(D, H), (H, H), (H,)]
    peepholes: list[Shape] = [(H,)] * _PEEPHOLES if cell == "peephole_lstm" else []
    return gate * _SCRATCH_GATES[cell] + peepholes


def numbered(name: str, index: int) -> str:
    """Return what Keras calls the layer `index` of a list of layers of one class.

    Example:
        >>> numbered("gru", 0), numbered("gru", 2)
        ('gru', 'gru_2')
    """
    return f"{name}_{index}" if index else name
