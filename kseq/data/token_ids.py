"""Token ids against the vocabulary they are to be from.

An id outside costs no error on every engine: a look-up of -1 is the last row, a one-hot vector of
-1 is zeros, and on JAX an id beyond the end gives NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kseq.errors import DataError


def check_ids(name: str, ids: Any, vocab_size: int) -> None:
    """Refuse an array with a number outside 0 to `vocab_size` - 1; anything but arrays passes.

    Raises:
        DataError: as said; the message begins with `name`.

    Example:
        >>> check_ids("x", np.array([[0, 27]]), vocab_size=28)
        >>> check_ids("x", np.array([[0, -1]]), vocab_size=28)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        kseq.errors.DataError: x: must be tokens of the vocabulary, 0 to 27, found -1 to 0; ...
    """
    if not isinstance(ids, np.ndarray) or ids.dtype.kind not in "iuf" or not ids.size:
        return
    least, most = ids.min(), ids.max()
    # Written so that NaN is refused too.
    if not (least >= 0 and most < vocab_size):
        raise DataError(
            f"{name}: must be tokens of the vocabulary, 0 to {vocab_size - 1}, found {least} to "
            f"{most}; encode the text with the model's own vocabulary"
        )
