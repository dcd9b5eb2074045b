"""One recurrent layer alone, forwards and backwards, in settings a fast path may leave out.

The contenders are the settings; each is kseq's own layer, to be held against the plain one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from kseq.benchmark.cases import CLIFFS, Case
from kseq.benchmark.measuring import Contender, Repeated
from kseq.nn.recurrent import GRU, LSTM, SimpleRNN

_LAYERS: dict[str, Any] = {"simple_rnn": SimpleRNN, "gru": GRU, "lstm": LSTM}
_OPTIONS: dict[str, dict[str, Any]] = {
    "go_backwards": {"go_backwards": True},
    "dropout": {"dropout": 0.2},
    "return_state": {"return_state": True},
    "mixed_bfloat16": {"dtype": "mixed_bfloat16"},
    "reset before": {"reset_after": False},
}


def layer_contenders(case: Case) -> dict[str, Callable[[], Contender]]:
    """Return the settings by name, each as a function that makes its layer ready."""
    names = [*CLIFFS, *(["reset before"] if case.cell == "gru" else [])]
    return {name: partial(layer_in, case, name) for name in names}


def layer_in(case: Case, setting: str) -> Contender:
    """A layer of H units that reads H features, in one setting.

    Both directions of a bidirectional layer count, so that what is told is one direction's time.
    """
    from kseq.backend.yardsticks import forward_backward

    x = _inputs(case)
    layer = _LAYERS[case.cell](case.units, return_sequences=True, **_OPTIONS.get(setting, {}))
    if setting == "bidirectional":
        layer = keras.layers.Bidirectional(layer)
    layer.build(x.shape)
    arguments: dict[str, Any] = {"training": True}
    if setting == "mask":
        arguments["mask"] = keras.ops.convert_to_tensor(unequal_ends(*x.shape[:2]))
    run = forward_backward(layer, x, **arguments)
    return Repeated(run, 2 if setting == "bidirectional" else 1)


def unequal_ends(B: int, T: int) -> np.ndarray:
    """Return a mask (B, T) of rows that end at different steps, the first at once after half.

    Example:
        >>> unequal_ends(2, 4).astype(int).tolist()
        [[1, 1, 0, 0], [1, 1, 1, 1]]
    """
    ends = np.linspace(T // 2, T, B).round()
    return np.arange(T)[None] < ends[:, None]


def _inputs(case: Case) -> np.ndarray:
    shape = (case.batch_size, case.num_steps, case.units)
    return np.random.default_rng(2).normal(size=shape).astype("float32")
