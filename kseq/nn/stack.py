"""The layers of a language model: tokens to vectors, recurrent layers, vectors to logits.

The state goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.nn import cells, recurrent
from kseq.nn.initializers import SeededInitializer

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


@keras.saving.register_keras_serializable(package="kseq")
class Stack(keras.layers.Layer):
    """Token ids (B, T) and a state -> logits (B, T, V) float32 and the new state.

    The arguments are those of `LanguageModel`, with `vocab_size` for V.
    """

    def __init__(
        self,
        vocab_size: int,
        cell: str,
        units: int,
        num_layers: int,
        embedding_dim: int | None,
        tie_weights: bool,
        dropout: float,
        init: str,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size, self.units, self.tie_weights = vocab_size, units, tie_weights
        self.embedding_dim = embedding_dim
        draw = _Draw(init, seed)
        self.embedding = self._make_embedding(draw)
        self.recurrent = [
            _recurrent(cell, units, draw, self.dtype_policy) for _ in range(num_layers)
        ]
        self.dropouts = [
            keras.layers.Dropout(dropout, seed=_spread(seed, layer), dtype=self.dtype_policy)
            for layer in range(num_layers - 1)
        ]
        self.dense = None if tie_weights else self._make_dense(draw)

    def build(self, input_shape: Any) -> None:
        width = self.vocab_size if self.embedding_dim is None else self.embedding_dim
        if self.embedding is not None:
            self.embedding.build((None, None))
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = self.units
        if self.dense is not None:
            self.dense.build((None, None, width))
        else:
            self.bias = self.add_weight((self.vocab_size,), "zeros", name="bias")

    def call(self, ids: Any, initial_state: Any = None, training: bool = False) -> Any:
        x = self._vectors(ids)
        if initial_state is None:
            initial_state = self.zero_state(ops.shape(ids)[0])
        state = []
        for index, (layer, first) in enumerate(zip(self.recurrent, initial_state, strict=True)):
            if index:
                x = self.dropouts[index - 1](x, training=training)
            x, *last = layer(x, initial_state=list(first), training=training)
            state.append(last)
        return ops.cast(self._logits(x), "float32"), state

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

    def _vectors(self, ids: Any) -> Any:
        if self.embedding is not None:
            return self.embedding(ids)
        return ops.one_hot(ids, self.vocab_size, dtype=self.compute_dtype)

    def _logits(self, x: Any) -> Any:
        if self.dense is not None:
            return self.dense(x)
        assert self.embedding is not None
        return ops.matmul(x, ops.transpose(self.embedding.embeddings)) + self.bias

    def _make_embedding(self, draw: _Draw) -> keras.layers.Embedding | None:
        if self.embedding_dim is None:
            return None
        initializer = draw("embedding")
        return keras.layers.Embedding(
            self.vocab_size, self.embedding_dim, initializer, dtype=self.dtype_policy
        )

    def _make_dense(self, draw: _Draw) -> keras.layers.Dense:
        return keras.layers.Dense(
            self.vocab_size,
            kernel_initializer=draw("kernel", fan=self.units),
            bias_initializer=draw("bias", fan=self.units),
            dtype=self.dtype_policy,
        )


class _Draw:
    """Hands out initializers, each with a stream of its own: [seed, number of the weight]."""

    def __init__(self, init: str, seed: int) -> None:
        self.init, self.seed, self.count = init, seed, 0

    def __call__(self, role: str, fan: int = 1, summed: int = 1) -> SeededInitializer:
        self.count += 1
        return SeededInitializer(self.init, role, [self.seed, self.count], fan, summed)


def _recurrent(cell: str, units: int, draw: _Draw, dtype: Any) -> keras.layers.RNN:
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
    return _FUSED[cell](units, **weights, **options)


def _spread(seed: int, layer: int) -> int:
    # On torch Keras's generators of neighbouring seeds give the same stream shifted by one.
    return int(np.random.SeedSequence([seed, layer]).generate_state(1)[0] >> 1)
