"""Which language models a fast decoder can run, and where their weights are."""

from __future__ import annotations

from typing import Any

import keras

from kseq.backend.decoding import DecodingWeights, RecurrentWeights
from kseq.nn import recurrent
from kseq.nn.stack import Stack

_FUSED = (recurrent.SimpleRNN, recurrent.GRU, recurrent.LSTM)


def decoding_weights(stack: Any) -> DecodingWeights | None:
    """Return the weights of a language model's layers, or None if it must run layer by layer.

    None for cells written out for teaching, other activations, layers of a user's own, and
    weights that are quantized or adapted (LoRA).

    Example:
        >>> import kseq
        >>> model = kseq.LanguageModel(kseq.Vocab("banana"), cell="gru", units=8, num_layers=1)
        >>> [layer.kind for layer in decoding_weights(model.stack).layers]
        ['gru']
    """
    if type(stack) is not Stack or not all(map(_is_plain, _layers(stack))):
        return None
    if any(layer.compute_dtype != stack.compute_dtype for layer in _layers(stack)):
        return None
    return DecodingWeights(
        embedding=stack.embedding.embeddings if stack.embedding is not None else None,
        layers=tuple(map(_recurrent_weights, stack.recurrent)),
        kernel=stack.dense.kernel if stack.dense is not None else None,
        bias=stack.dense.bias if stack.dense is not None else stack.bias,
        dtype=stack.compute_dtype,
    )


def _layers(stack: Stack) -> list[Any]:
    ends = [layer for layer in (stack.embedding, stack.dense) if layer is not None]
    return [*ends, *stack.recurrent]


def _is_plain(layer: Any) -> bool:
    if type(layer) in _FUSED:
        return _is_plain_cell(layer.cell) and not (layer.go_backwards or layer.stateful)
    if type(layer) not in (keras.layers.Embedding, keras.layers.Dense):
        return False
    linear = getattr(layer, "activation", keras.activations.linear) is keras.activations.linear
    return linear and not (layer.quantization_mode or layer.lora_enabled)


def _is_plain_cell(cell: Any) -> bool:
    gate = getattr(cell, "recurrent_activation", keras.activations.sigmoid)
    both = cell.activation is keras.activations.tanh and gate is keras.activations.sigmoid
    return both and cell.bias is not None


def _recurrent_weights(layer: Any) -> RecurrentWeights:
    cell = layer.cell
    kind = layer.fused_kind if getattr(cell, "reset_after", True) else "gru_reset_before"
    return RecurrentWeights(kind, cell.kernel, cell.recurrent_kernel, cell.bias)
