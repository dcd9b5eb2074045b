"""What keeps a language model from learning its text by heart, as the literature does it.

Everything here acts in training and is off in evaluation.  Whatever is dropped, the rest is
divided by the share that is kept, so that its expectation stays what it was.

Source: Merity, Keskar and Socher, "Regularizing and Optimizing LSTM Language Models",
arXiv:1708.02182, and the papers it takes from, named beside each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.checks import non_negative_float, one_of, unit_interval

DROPOUT_KINDS = ("standard", "locked")
# Of each sequence and feature one choice for all its steps.
_LOCKED = (None, 1, None)
# Numbers that tell the random streams of a model apart.
_INPUT, _OUTPUT, _EMBEDDING, _WEIGHTS = range(1, 5)


@dataclass(frozen=True)
class Regularization:
    """How a language model is regularised; see `LanguageModel` for the arguments.

    dropout: between recurrent layers (Zaremba et al., arXiv:1409.2329).
    dropout_kind: "standard" draws anew at each step; "locked", also called variational, draws one
        mask for a sequence, the same at all its steps (Gal and Ghahramani, arXiv:1512.05287).
    input_dropout, output_dropout: on what enters the first recurrent layer and leaves the last.
    embedding_dropout: of whole types of token: a type's vector is zero wherever it stands in the
        batch (Gal and Ghahramani, arXiv:1512.05287).
    weight_drop: of the entries of the recurrent kernels, the same at all steps of a batch
        (DropConnect: Wan et al., "Regularization of neural networks using DropConnect", 2013).
    activation_l2: alpha of alpha mean(h^2), h the last output after its dropout (Merity, McCann
        and Socher, arXiv:1708.01009).
    temporal_l2: beta of beta mean((h_t - h_{t-1})^2), h the last output before it (the same).

    Example:
        >>> Regularization(weight_drop=0.5).changed()
        {'weight_drop': 0.5}
    """

    dropout: float = 0.0
    dropout_kind: str = "standard"
    input_dropout: float = 0.0
    output_dropout: float = 0.0
    embedding_dropout: float = 0.0
    weight_drop: float = 0.0
    activation_l2: float = 0.0
    temporal_l2: float = 0.0

    @classmethod
    def checked(cls, **given: Any) -> Regularization:
        """Return it with every value checked.

        Raises:
            UsageError: a rate outside 0 <= rate < 1, a penalty below 0, or an unknown kind.
        """
        return cls(**{name: _CHECKS.get(name, unit_interval)(name, given[name]) for name in given})

    def changed(self) -> dict[str, Any]:
        """Return what is not as in a model without any, by name."""
        return changed_names({field.name: getattr(self, field.name) for field in fields(self)})


_CHECKS: dict[str, Any] = {
    "dropout_kind": lambda name, value: one_of(name, value, DROPOUT_KINDS),
    "activation_l2": non_negative_float,
    "temporal_l2": non_negative_float,
}
NAMES = tuple(field.name for field in fields(Regularization))


def changed_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a configuration what regularises and is not as in a model without any."""
    plain = Regularization()
    named = {name: config[name] for name in NAMES if name in config}
    return {name: value for name, value in named.items() if value != getattr(plain, name)}


def dropout_layer(rate: float, seed: int, locked: bool = False, dtype: Any = None) -> Any:
    """Return Keras's dropout of vectors (B, T, D), with one mask for all steps if it is locked."""
    noise_shape = _LOCKED if locked else None
    return keras.layers.Dropout(rate, noise_shape=noise_shape, seed=seed, dtype=dtype)


def weight_drops(rate: float, seed: int, num_layers: int, dtype: Any = None) -> list[Any]:
    """Return for each recurrent layer what drops the entries of its kernels; [] for rate 0."""
    seeds = [spread(seed, layer, _WEIGHTS) for layer in range(num_layers if rate else 0)]
    return [dropout_layer(rate, each, dtype=dtype) for each in seeds]


@contextmanager
def dropped_weights(cell: Any, drop: Any, dtype: str) -> Iterator[None]:
    """Give a cell recurrent kernels with entries dropped while the block runs.

    The kernels are tensors then, through which gradients reach the variables.
    """
    attributes = vars(cell)
    kept = {name: attributes[name] for name in _recurrent_kernels(cell)}
    for name, kernel in kept.items():
        # Past Keras's bookkeeping: a tensor is no weight of the cell.
        attributes[name] = drop(ops.cast(ops.convert_to_tensor(kernel), dtype), training=True)
    try:
        yield
    finally:
        attributes.update(kept)


def _recurrent_kernels(cell: Any) -> list[str]:
    gates = getattr(cell, "gates", None)
    return [f"W_h{gate}" for gate in gates] if gates else ["recurrent_kernel"]


class EndDropouts:
    """What is dropped where vectors enter the first recurrent layer and leave the last."""

    def __init__(self, chosen: Regularization, vocab_size: int, seed: int, dtype: Any) -> None:
        locked, self.vocab_size = chosen.dropout_kind == "locked", vocab_size
        rates = (chosen.input_dropout, chosen.output_dropout)
        self.input, self.output = (
            dropout_layer(rate, spread(seed, 0, number), locked, dtype) if rate else None
            for rate, number in zip(rates, (_INPUT, _OUTPUT), strict=True)
        )
        rate = chosen.embedding_dropout
        self.embedding = dropout_layer(rate, spread(seed, 0, _EMBEDDING), dtype=dtype)
        self.embedding = self.embedding if rate else None

    def layers(self) -> dict[str, Any]:
        """Return the layers that drop something, by their name."""
        named = {"input": self.input, "output": self.output, "embedding": self.embedding}
        return {name: layer for name, layer in named.items() if layer is not None}

    def enter(self, ids: Any, x: Any, training: bool) -> Any:
        """Return the vectors x (B, T, D) of ids (B, T), with types and features dropped."""
        if training and self.embedding is not None:
            kept = self.embedding(ops.ones((self.vocab_size, 1), x.dtype), training=True)
            x = x * ops.take(kept, ops.cast(ids, "int32"), axis=0)
        return x if self.input is None else self.input(x, training=training)

    def leave(self, x: Any, training: bool) -> Any:
        """Return the outputs x (B, T, H) of the last layer with features dropped."""
        return x if self.output is None else self.output(x, training=training)


def penalty(chosen: Regularization, raw: Any, dropped: Any) -> Any:
    """Return what is added to the loss for outputs (B, T, H) before and after dropout, or None."""
    terms = []
    if chosen.activation_l2:
        terms.append(chosen.activation_l2 * _mean_square(dropped))
    if chosen.temporal_l2:
        raw = ops.cast(raw, "float32")
        terms.append(chosen.temporal_l2 * _mean_square(raw[:, 1:] - raw[:, :-1]))
    return sum(terms[1:], terms[0]) if terms else None


def _mean_square(x: Any) -> Any:
    # Of a single step there are no differences, and their mean would be no number.
    count = ops.cast(ops.maximum(ops.size(x), 1), "float32")
    return ops.sum(ops.square(ops.cast(x, "float32"))) / count


def spread(*numbers: int) -> int:
    """Return a seed far from those of neighbouring numbers."""
    # On torch Keras's generators of neighbouring seeds give the same stream shifted by one.
    return int(np.random.SeedSequence(numbers).generate_state(1)[0] >> 1)
