"""Contenders in doing little: a training step of the book's perceptron of 61 parameters."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import keras

from kseq.backend import engine
from kseq.benchmark.cases import Case
from kseq.benchmark.fits import fitting
from kseq.benchmark.measuring import Contender, Repeated
from kseq.data.processes import noisy_sine
from kseq.data.series import windows
from kseq.nn.forecaster import Forecaster
from kseq.nn.optimizers import clipped_optimizer

WINDOW, UNITS, PAIRS = 4, 10, 600


def overhead_contenders(case: Case) -> dict[str, Callable[[], Contender]]:
    """Return those of the engine in use by name, each as a function that makes it ready."""
    found: dict[str, Callable[[], Contender]] = {
        "kseq": lambda: kseq_mlp(case),
        "keras": lambda: keras_mlp(case),
    }
    if engine() == "torch":
        found["d2l loop"] = lambda: bare_mlp(case)
    return found


def kseq_mlp(case: Case) -> Contender:
    """`Forecaster.fit`."""
    model = Forecaster("mlp", WINDOW, UNITS)
    model.compile(clipped_optimizer("adam", 0.01))
    return _fitting(case, model)


def keras_mlp(case: Case) -> Contender:
    """`Sequential.fit` with Keras's own layers."""
    layers = [keras.layers.Dense(UNITS, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((WINDOW,)), *layers])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return _fitting(case, model)


def bare_mlp(case: Case) -> Contender:
    """The book's loop in PyTorch."""
    from kseq.backend.yardsticks import mlp_step

    x, y = _pairs()
    size, step = case.batch_size, mlp_step(WINDOW, UNITS)
    batches = cycle([(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)])
    return Repeated(lambda: step(*next(batches)))


def _fitting(case: Case, model: Any) -> Contender:
    x, y = _pairs()
    data = {"x": x, "y": y, "batch_size": case.batch_size}
    return fitting(model, data, -(-len(x) // case.batch_size))


def _pairs() -> Any:
    return windows(noisy_sine(PAIRS + WINDOW, seed=0), WINDOW)
