"""Recurrent layers one on another, with dropout between them; the state goes in and comes out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.nn import cells, recurrent
from kseq.nn.initializers import Draw

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

    def stack_recurrent(
        self, cell: str, units: int, num_layers: int, dropout: float, draw: Draw
    ) -> None:
        """Make the layers: each of `units`, with `dropout` between them, not after the last."""
        self.recurrent = [
            recurrent_layer(cell, units, draw, self.dtype_policy) for _ in range(num_layers)
        ]
        self.dropouts = [
            keras.layers.Dropout(dropout, seed=_spread(draw.seed, layer), dtype=self.dtype_policy)
            for layer in range(num_layers - 1)
        ]

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
            x, *last = layer(x, initial_state=list(first), training=training)
            state.append(last)
        return x, state

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
        dropping = [layer for layer in self.dropouts if layer.rate]
        return {f"seed_generator_{i}": d.seed_generator for i, d in enumerate(dropping)}


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


def _spread(seed: int, layer: int) -> int:
    # On torch Keras's generators of neighbouring seeds give the same stream shifted by one.
    return int(np.random.SeedSequence([seed, layer]).generate_state(1)[0] >> 1)
