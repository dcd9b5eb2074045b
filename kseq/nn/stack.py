"""The layers of a language model: tokens to vectors, recurrent layers, vectors to logits."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kseq.nn.initializers import Draw
from kseq.nn.recurrent_stack import RecurrentStack


@keras.saving.register_keras_serializable(package="kseq")
class Stack(RecurrentStack):
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
        draw = Draw(init, seed)
        self.embedding = self._make_embedding(draw)
        self.stack_recurrent(cell, units, num_layers, dropout, draw)
        self.dense = None if tie_weights else self._make_dense(draw)

    def build(self, input_shape: Any) -> None:
        if self.embedding is not None:
            self.embedding.build((None, None))
        width = self.vocab_size if self.embedding_dim is None else self.embedding_dim
        width = self.build_recurrent(width)
        if self.dense is not None:
            self.dense.build((None, None, width))
        else:
            self.bias = self.add_weight((self.vocab_size,), "zeros", name="bias")

    def call(self, ids: Any, initial_state: Any = None, training: bool = False) -> Any:
        x, state = self.run_recurrent(self._vectors(ids), initial_state, training)
        return ops.cast(self._logits(x), "float32"), state

    def _vectors(self, ids: Any) -> Any:
        if self.embedding is not None:
            return self.embedding(ids)
        return ops.one_hot(ids, self.vocab_size, dtype=self.compute_dtype)

    def _logits(self, x: Any) -> Any:
        if self.dense is not None:
            return self.dense(x)
        assert self.embedding is not None
        return ops.matmul(x, ops.transpose(self.embedding.embeddings)) + self.bias

    def _make_embedding(self, draw: Draw) -> keras.layers.Embedding | None:
        if self.embedding_dim is None:
            return None
        initializer = draw("embedding")
        return keras.layers.Embedding(
            self.vocab_size, self.embedding_dim, initializer, dtype=self.dtype_policy
        )

    def _make_dense(self, draw: Draw) -> keras.layers.Dense:
        return keras.layers.Dense(
            self.vocab_size,
            kernel_initializer=draw("kernel", fan=self.units),
            bias_initializer=draw("bias", fan=self.units),
            dtype=self.dtype_policy,
        )
