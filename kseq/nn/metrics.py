"""Perplexity and bits per token, from exact totals.

Perplexity is exp(total negative log-likelihood / total tokens), one exponential of one quotient,
never a mean of exponentials or of batch means (Jelinek et al. 1977; Dive into Deep Learning 8.4).

A float32 running mean drifts by a percent over 10^8 tokens, and JAX has no float64 by default;
so each total is a pair of float32 numbers (high, low) added by Knuth's TwoSum, which carries
about 48 bits on every engine.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from kseq.backend import require_engine
from kseq.nn.weighing import check_weights

_IMPOSSIBLE = -1e30


class TokenTotals(keras.metrics.Metric):
    """Totals of nats and of tokens, over every batch since the last reset.

    update_state takes y_true (B, T) token ids, y_pred (B, T, V) logits (or probabilities, with
    `from_logits=False`) and optionally sample_weight, (B, T) or (B,): a token counts as much as
    its weight, and not at all where the mask of y_pred hides it.  Weights must be finite and not
    negative: arrays that are not raise DataError, and tensors make the result NaN.
    """

    def __init__(
        self, from_logits: bool = True, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype)
        self.from_logits = from_logits
        self._nats = [self._total("nats"), self._total("nats_low")]
        self._tokens = [self._total("tokens"), self._total("tokens_low")]

    default_name = "nats"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        check_weights(sample_weight)
        nats = self._token_nats(y_true, y_pred)
        weights = _weights(nats, y_pred, sample_weight)
        # A weight of zero hides even a token whose probability is zero (0 times infinity).
        nats = ops.where(weights > 0, nats * weights, ops.zeros_like(nats))
        _add(self._nats, ops.sum(nats))
        _add(self._tokens, ops.sum(weights))

    def add_nats(self, nats: Any) -> None:
        """Count each of `nats` (B, T), float32, as one token; for a step that has them at hand."""
        add = require_engine().steps().add_exactly
        add(*(part.value for part in self._nats), nats.sum())
        add(*(part.value for part in self._tokens), float(nats.numel()))

    @property
    def pairs(self) -> tuple[list[Any], list[Any]]:
        """The variables (high, low) of the nats, and those of the tokens."""
        return self._nats, self._tokens

    def reset_state(self) -> None:
        for part in (*self._nats, *self._tokens):
            part.assign(0.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits}

    def mean_nats(self) -> Any:
        """Return the nats per token so far, a float32 scalar; NaN when there were no tokens."""
        nats, tokens = (high + low for high, low in (self._nats, self._tokens))
        return nats / tokens

    def _total(self, name: str) -> Any:
        return self.add_variable((), "zeros", dtype="float32", name=name)

    def _token_nats(self, y_true: Any, y_pred: Any) -> Any:
        # Cross-entropy in half precision shifts perplexity by more than a tenth.
        y_pred = ops.cast(y_pred, "float32")
        # Beside a logit of minus infinity Keras's cross-entropy is NaN on JAX.
        y_pred = ops.where(y_pred < _IMPOSSIBLE, _IMPOSSIBLE, y_pred)
        return ops.sparse_categorical_crossentropy(
            ops.cast(y_true, "int32"), y_pred, from_logits=self.from_logits
        )


@keras.saving.register_keras_serializable(package="kseq")
class Perplexity(TokenTotals):
    """exp of the mean nats per token: the number of equally likely choices a guess amounts to.

    1 is certainty, V is what uniform logits give; without any token the result is NaN.

    Args:
        from_logits: whether y_pred holds logits (the default) or probabilities.

    Example:
        >>> import numpy as np
        >>> metric = Perplexity()
        >>> metric.update_state(np.array([[1, 2]]), np.zeros((1, 2, 28), "float32"))
        >>> round(float(metric.result()), 4)
        28.0
    """

    default_name = "perplexity"

    def result(self) -> Any:
        return ops.exp(self.mean_nats())


@keras.saving.register_keras_serializable(package="kseq")
class BitsPerToken(TokenTotals):
    """Mean nats per token divided by ln 2: bits per character for a character-level model.

    Without any token the result is NaN.

    Args:
        from_logits: whether y_pred holds logits (the default) or probabilities.

    Example:
        >>> import numpy as np
        >>> metric = BitsPerToken()
        >>> metric.update_state(np.array([[1, 2]]), np.zeros((1, 2, 32), "float32"))
        >>> round(float(metric.result()), 4)
        5.0
    """

    default_name = "bits_per_token"

    def result(self) -> Any:
        return self.mean_nats() / math.log(2)


def _weights(nats: Any, y_pred: Any, sample_weight: Any) -> Any:
    weights = ops.ones_like(nats)
    mask = getattr(y_pred, "_keras_mask", None)
    if mask is not None:
        weights = weights * ops.cast(mask, weights.dtype)
    if sample_weight is not None:
        sample_weight = ops.cast(sample_weight, weights.dtype)
        # Negative weights would shift the quotient without a word.
        sample_weight = ops.where(sample_weight < 0, math.nan, sample_weight)
        missing = len(weights.shape) - len(sample_weight.shape)
        weights = weights * ops.reshape(sample_weight, (*sample_weight.shape, *[1] * missing))
    return weights


def _add(total: list[Any], term: Any) -> None:
    """Add `term` to the pair (high, low) without losing what float32 rounds away."""
    high, low = total[0].value, total[1].value
    both = high + term
    shadow = both - high
    lost = (high - (both - shadow)) + (term - shadow)
    total[0].assign(both)
    total[1].assign(low + lost)
