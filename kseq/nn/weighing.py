"""Sample weights: what `fit`, `evaluate` and the metrics refuse before they count anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from kseq.errors import DataError

_ON_HOST = (np.ndarray, np.generic, float, int, list, tuple)


def check_weights(sample_weight: Any) -> None:
    """Refuse weights that are negative or not finite; None and an engine's tensors pass.

    Raises:
        DataError: as said.

    Example:
        >>> check_weights(np.array([0.0, 0.5, 2.0]))
        >>> check_weights(np.array([1.0, -1.0]))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        kseq.errors.DataError: sample_weight: must be finite and 0 or more, found -1.0 at index 1...
    """
    if not isinstance(sample_weight, _ON_HOST):
        return
    weights = np.ravel(np.asarray(sample_weight))
    if weights.dtype.kind not in "biuf":
        return
    good = np.isfinite(weights) & (weights >= 0)
    if not good.all():
        index = int(good.argmin())
        raise DataError(
            f"sample_weight: must be finite and 0 or more, found {weights[index]} at index {index} "
            "of the flattened weights; a weight of 0 leaves a token or a window out"
        )


class ChecksWeights:
    """Mixed into a Keras model: `fit` and `evaluate` check the weights of arrays once."""

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """As Keras's; refuses sample weights that are negative or not finite."""
        check_weights(kwargs.get("sample_weight"))
        check_weights(_weights_of(kwargs.get("validation_data")))
        return super().fit(x, y, **kwargs)  # type: ignore[misc]

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """As Keras's; refuses sample weights that are negative or not finite."""
        check_weights(kwargs.get("sample_weight"))
        return super().evaluate(x, y, **kwargs)  # type: ignore[misc]


def _weights_of(validation: Any) -> Any:
    """Return the weights of validation data (x, y, weights), or None."""
    is_weighted = isinstance(validation, list | tuple) and len(validation) == 3
    return validation[2] if is_weighted else None
