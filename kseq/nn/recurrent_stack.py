"""Recurrent layers one on another, with dropout between them; the state goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.nn import cells, recurrent
from kseq.nn.initializers import Draw
from kseq.nn.regularization import dropout_layer, dropped_weights, spread, weight_drops

_FUSED = {
    "simple_rnn": recurrent.SimpleRNN,
    "gru": recurrent.GRU,
    "lstm": recurrent.LSTM,
}
_FROM_SCRATCH = {
    "scratch_simple_rnn": cells.SimpleRNNCell,
    "scratch_gru": cells.GRUCell,
    "scratch_lstm": cells.LSTMCell,
    "peephole_lstm": cells.PeepholeLSTMCell,
}
CELLS = (*_FUSED, *_FROM_SCRATCH)


class RecurrentStack(keras.layers.Layer):
    """What the layers of a language model and of a forecaster share."""

    recurrent: list[keras.layers.RNN]
    dropouts: list[keras.layers.Dropout]
    weight_drops: list[keras.layers.Dropout]

    def stack_recurrent(
        self,
        cell: str,
        units: int,
        num_layers: int,
        dropout: float,
        draw: Draw,
        locked: bool = False,
        weight_drop: float = 0.0,
    ) -> None:
        """Make the layers: each of `units`, with `dropout` between them, not after the last.

        locked, weight_drop: see `kseq.nn.regularization`.
        """
        self.recurrent = [
            recurrent_layer(cell, units, draw, self.dtype_policy) for _ in range(num_layers)
        ]
        self.dropouts = [
            dropout_layer(dropout, spread(draw.seed, layer), locked, self.dtype_policy)
            for layer in range(num_layers - 1)
        ]
        self.weight_drops = weight_drops(weight_drop, draw.seed, num_layers, self.dtype_policy)

    def build_recurrent(self, width: int) -> int:
        """Build the layers for vectors of `width`; return the width of what comes out."""
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = layer.cell.units
        return width

    def run_recurrent(self, x: Any, initial_state: Any, training: bool) -> tuple[Any, list[Any]]:
        """Return the outputs (B, T, H) of the last layer, and the state of every layer."""
        if initial_state is None:
            initial_state = self.zero_state(ops.shape(x)[0])
        state = []
        for index, (layer, first) in enumerate(zip(self.recurrent, initial_state, strict=True)):
            if index:
                x = self.dropouts[index - 1](x, training=training)
            with self.dropping(index, training):
                x, *last = layer(x, initial_state=list(first), training=training)
            state.append(last)
        return x, state

    def dropping(self, index: int, training: bool) -> AbstractContextManager[None]:
        """Return a context in which the recurrent kernels of a layer are as training drops them."""
        if not (training and self.weight_drops):
            return nullcontext()
        cell: Any = self.recurrent[index].cell
        return dropped_weights(cell, self.weight_drops[index], self.compute_dtype)

    def zero_state(self, batch_size: Any) -> list[list[Any]]:
        return [list(layer.get_initial_state(batch_size)) for layer in self.recurrent]

    def state_widths(self) -> list[list[int]]:
        """Return, for each layer, the width of each of its states."""
        return [list(layer.state_size) for layer in self.recurrent]

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        for name, generator in self._dropout_streams().items():
            store[name] = ops.convert_to_numpy(generator.state)

    def load_own_variables(self, store: Any) -> None:
        streams = self._dropout_streams()
        for name in streams.keys() & store.keys():
            streams[name].state.assign(np.array(store[name]))
        super().load_own_variables({name: store[name] for name in store.keys() - streams.keys()})

    def _dropout_streams(self) -> dict[str, Any]:
        """Return the random streams that Keras leaves out of a file, by the name they get there."""
        between = {str(i): d for i, d in enumerate(self.dropouts) if d.rate}
        weights = {f"weights_{i}": d for i, d in enumerate(self.weight_drops)}
        named = {**between, **weights, **self.end_dropouts()}
        return {f"seed_generator_{name}": d.seed_generator for name, d in named.items()}

    def end_dropouts(self) -> dict[str, keras.layers.Dropout]:
        """Return what is dropped before the first layer and after the last, by name."""
        return {}


def recurrent_layer(cell: str, units: int, draw: Draw, dtype: Any = None) -> keras.layers.RNN:
    """Return one recurrent layer that gives its outputs at every step, and its last state.

    The initial weights are `draw`'s.
    """
    # PyTorch adds two biases where Keras has one, except in the GRU, where both have two.
    summed = 1 if cell == "gru" else 2
    weights: dict[str, Any] = {
        "kernel_initializer": draw("kernel", fan=units),
        "recurrent_initializer": draw("recurrent_kernel", fan=units),
        "bias_initializer": draw("bias", fan=units, summed=summed),
    }
    options: dict[str, Any] = {"return_sequences": True, "return_state": True, "dtype": dtype}
    if cell in _FROM_SCRATCH:
        make: Callable[..., Any] = _FROM_SCRATCH[cell]
        return keras.layers.RNN(make(units, dtype=dtype, **weights), **options)
    if cell == "lstm":
        weights["unit_forget_bias"] = draw.init == "keras"
    # Of no use without dropout in the layer, but a variable, and else another in each process.
    return _FUSED[cell](units, seed=draw.seed, **weights, **options)
