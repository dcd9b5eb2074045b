"""Initial weights drawn by NumPy, so that one seed gives the same weights on every engine.

Three presets, by the habit they follow:

    keras   kernels Glorot uniform, recurrent kernels orthogonal, biases zero (forget gate one)
    torch   everything in a recurrent or linear layer uniform on +-1/sqrt(fan), as `nn.LSTM` and
            `nn.Linear` do; embeddings normal with deviation 1
    d2l     weights normal with deviation 0.01, biases zero, as the from-scratch sections do
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

PRESETS = ("keras", "torch", "d2l")
ROLES = ("kernel", "recurrent_kernel", "bias", "embedding")


@keras.saving.register_keras_serializable(package="kseq")
class SeededInitializer(keras.initializers.Initializer):
    """Draw a weight by NumPy.

    Args:
        preset: "keras", "torch" or "d2l".
        role: "kernel", "recurrent_kernel", "bias" or "embedding".
        seed: whole numbers that name the stream, such as [seed, layer, weight].
        fan: for the torch preset, 1/sqrt(fan) is the bound of the uniform distribution: the units
            of a recurrent layer, the inputs of a linear one.
        summed: how many draws are added; 2 gives the one bias of a Keras layer the distribution
            of the sum of PyTorch's two.

    Example:
        >>> draw = SeededInitializer("d2l", "kernel", [0, 1])
        >>> bool((np.asarray(draw((2, 3))) == np.asarray(draw((2, 3)))).all())
        True
    """

    def __init__(
        self, preset: str, role: str, seed: Sequence[int], fan: int = 1, summed: int = 1
    ) -> None:
        self.preset, self.role, self.seed = preset, role, list(seed)
        self.fan, self.summed = fan, summed

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        rng = np.random.default_rng(self.seed)
        weight = sum(self._draw(rng, tuple(shape)) for _ in range(self.summed))
        return keras.ops.convert_to_tensor(np.ascontiguousarray(weight, "float32"), dtype=dtype)

    def get_config(self) -> dict[str, Any]:
        names = ("preset", "role", "seed", "fan", "summed")
        return {name: getattr(self, name) for name in names}

    def _draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        if self.preset == "torch":
            return _torch(rng, shape, self.role, self.fan)
        if self.role == "bias":
            return np.zeros(shape)
        if self.preset == "d2l":
            return rng.normal(0.0, 0.01, shape)
        return _KERAS[self.role](rng, shape)


def _torch(rng: np.random.Generator, shape: tuple[int, ...], role: str, fan: int) -> np.ndarray:
    if role == "embedding":
        return rng.normal(0.0, 1.0, shape)
    bound = 1 / math.sqrt(fan)
    return rng.uniform(-bound, bound, shape)


def _glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    bound = math.sqrt(6 / (shape[0] + shape[-1]))
    return rng.uniform(-bound, bound, shape)


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Rows of a random orthogonal basis (Saxe et al., arXiv:1312.6120)."""
    rows, columns = shape
    q, r = np.linalg.qr(rng.normal(size=(max(shape), min(shape))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T


def _embedding(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-0.05, 0.05, shape)


_KERAS = {
    "kernel": _glorot_uniform,
    "recurrent_kernel": _orthogonal,
    "embedding": _embedding,
}


class Draw:
    """Hands out initializers of one preset, each with a stream of its own: [seed, its number].

    Example:
        >>> draw = Draw("keras", seed=0)
        >>> draw("kernel").seed, draw("bias").seed
        ([0, 1], [0, 2])
    """

    def __init__(self, init: str, seed: int) -> None:
        self.init, self.seed, self.count = init, seed, 0

    def __call__(self, role: str, fan: int = 1, summed: int = 1) -> SeededInitializer:
        self.count += 1
        return SeededInitializer(self.init, role, [self.seed, self.count], fan, summed)
