"""What a fast decoder has to know of a language model: its weights, in words of no engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RecurrentWeights:
    """The variables of one recurrent layer with tanh and sigmoid, in Keras's layout.

    kind: "simple_rnn", "gru" (reset gate after the product), "gru_reset_before" or "lstm".
    kernel (D, G H), recurrent_kernel (H, G H); bias (G H,), for "gru" (2, 3H).
    """

    kind: str
    kernel: Any
    recurrent_kernel: Any
    bias: Any

    def variables(self) -> list[Any]:
        """Return the three Keras variables."""
        return [self.kernel, self.recurrent_kernel, self.bias]


@dataclass(frozen=True)
class DecodingWeights:
    """The variables of a language model: ids -> vectors -> recurrent layers -> logits.

    embedding (V, D), or None where ids are fed as one-hot vectors; layers from the bottom up;
    kernel (H, V), or None where the logits are read out through the transposed embedding;
    bias (V,); dtype: the name of the dtype the model computes in.
    """

    embedding: Any
    layers: tuple[RecurrentWeights, ...]
    kernel: Any
    bias: Any
    dtype: str

    def variables(self) -> list[Any]:
        """Return every Keras variable, each once."""
        ends = [self.embedding, self.kernel, self.bias]
        inner = [variable for layer in self.layers for variable in layer.variables()]
        return [variable for variable in (*ends, *inner) if variable is not None]
