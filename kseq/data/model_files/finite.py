"""Whether every number of an array is finite, at a few bytes of memory."""

from __future__ import annotations

import numpy as np

_CHUNK = 2**18
_BFLOAT16 = np.dtype("V2")
_LARGEST = {
    "float16": 65504.0,
    "bfloat16": 2.0**128 - 2.0**120,
    "float32": 2.0**128 - 2.0**104,
}


def all_finite(array: np.ndarray, dtype: str = "float32") -> bool:
    """Return whether no number is NaN or infinite; two bytes without a meaning are bfloat16.

    Args:
        array: the numbers.
        dtype: what they will be converted to; one too large for it is as good as infinite, and
            so is one too large for float32, which JAX has in place of float64.

    Example:
        >>> all_finite(np.ones(3, "float16")), all_finite(np.array([1.0, np.inf]))
        (True, False)
        >>> all_finite(np.array([1e300])), all_finite(np.array([1e5]), "float16")
        (False, False)
    """
    if array.dtype.kind in "iu":
        return True
    flat, largest = array.reshape(-1), _LARGEST.get(dtype, _LARGEST["float32"])
    pieces = (flat[at : at + _CHUNK] for at in range(0, len(flat), _CHUNK))
    return all(_within(piece, largest) for piece in pieces)


def _within(piece: np.ndarray, largest: float) -> bool:
    if piece.dtype == _BFLOAT16:
        # The upper half of a float32.
        piece = (piece.view("<u2").astype("<u4") << 16).view("<f4")
    most = min(largest, float(np.finfo(piece.dtype).max))
    with np.errstate(invalid="ignore"):
        # NaN is below nothing.
        return bool((np.abs(piece) <= most).all())
