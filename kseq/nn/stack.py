"""The layers of a language model: tokens to vectors, recurrent layers, vectors to logits."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kseq.nn.initializers import Draw
from kseq.nn.recurrent_stack import RecurrentStack
from kseq.nn.regularization import EndDropouts, Regularization, penalty


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
        regularization: Regularization,
        init: str,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size, self.units, self.tie_weights = vocab_size, units, tie_weights
        self.embedding_dim = embedding_dim
        draw = Draw(init, seed)
        self.embedding = self._make_embedding(draw)
        self.regularization = regularization
        self._stack_regularized(cell, num_layers, draw)
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
        x = self.ends.enter(ids, self._vectors(ids), training)
        raw, state = self.run_recurrent(x, initial_state, training)
        x = self.ends.leave(raw, training)
        added = self.penalty(raw, x) if training else None
        if added is not None:
            self.add_loss(added)
        return ops.cast(self._logits(x), "float32"), state

    def penalty(self, raw: Any, dropped: Any) -> Any:
        """Return what training adds to the loss, for the last outputs before and after dropout."""
        return penalty(self.regularization, raw, dropped)

    def end_dropouts(self) -> dict[str, keras.layers.Dropout]:
        return self.ends.layers()

    def _stack_regularized(self, cell: str, num_layers: int, draw: Draw) -> None:
        chosen, locked = self.regularization, self.regularization.dropout_kind == "locked"
        self.stack_recurrent(
            cell, self.units, num_layers, chosen.dropout, draw, locked, chosen.weight_drop
        )
        self.ends = EndDropouts(chosen, self.vocab_size, draw.seed, self.dtype_policy)
        # Keras finds the layers in what it tracks alone.
        self.dropped_ends = list(self.ends.layers().values())

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
