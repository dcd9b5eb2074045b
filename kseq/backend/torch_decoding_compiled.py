"""One token at a time in C++ (see `kseq.backend.compiled`), on PyTorch's tensors.

A step is one call, whatever the number of layers.  Its twin in PyTorch's own operations, which is
the oracle of this one, is in `kseq.backend.torch_decoding`.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kseq.backend import compiled
from kseq.backend.decoding import DecodingWeights, RecurrentWeights
from kseq.data.token_ids import check_ids
from kseq.errors import DataError

# In the order of decoding.cpp's; with the number of states.
KINDS = {"simple_rnn": 1, "gru": 1, "gru_reset_before": 1, "lstm": 2}
# Products of a small vocabulary with the first kernel are taken once for all tokens.
LARGEST_TABLE = 256

_Address = ctypes.c_void_p


class _LayerWeights(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("kind", "D", "H")] + [
        (name, _Address) for name in ("kernel", "recurrent", "bias")
    ]


class _EndWeights(ctypes.Structure):
    _fields_ = [
        *[(name, ctypes.c_int64) for name in ("V", "D")],
        *[(name, _Address) for name in ("table", "vectors", "read_out")],
        *[(name, ctypes.c_int64) for name in ("by_unit", "by_token")],
        ("bias", _Address),
    ]


def compiled_network(
    weights: DecodingWeights, take: Callable[[Any], Tensor]
) -> CompiledNetwork | None:
    """Return the network in C++, or None where it cannot be built or is not float32 on the CPU.

    take: gives the tensor of a variable.
    """
    bias = take(weights.bias)
    if bias.dtype != torch.float32 or bias.device.type != "cpu":
        return None
    library = compiled.library("float")
    return None if library is None else CompiledNetwork(library, weights, take)


class CompiledNetwork:
    """A model's weights as they were when this was made, laid out for one step."""

    def __init__(
        self, library: ctypes.CDLL, weights: DecodingWeights, take: Callable[[Any], Tensor]
    ) -> None:
        # What decoding.cpp reads from where it is, and so must live as long.
        self.kept: list[Tensor] = []
        self.take = take
        layers = (_LayerWeights * len(weights.layers))(*map(self._layer, weights.layers))
        ends = self._ends(weights, layers[0])
        self.vocab_size = ends.V
        self.units = [layer.H for layer in layers for _ in range(_count(layer))]
        self.counts = [_count(layer) for layer in layers]
        self.decoder = _made(library, ends, layers)
        weakref.finalize(self, _free, library, self.decoder)
        self.step = library.decoder_step
        self.addresses = _Address * len(self.units)

    def read(self, ids: np.ndarray, state: Any) -> tuple[np.ndarray, list[list[Tensor]]]:
        """Return the logits (B, T, V) for ids (B, T), one step after the other, and the state.

        Raises:
            DataError: an id that is not in [0, V), or a state of another shape.
        """
        columns = np.ascontiguousarray(ids.T, "int32")
        T, B = columns.shape
        before = self._given(state, B)
        logits = torch.empty(T, B, self.vocab_size)
        at, line = logits.data_ptr(), logits.element_size() * B * self.vocab_size
        for t, column in enumerate(columns):
            before = self._advance(column, before, at + t * line)
        return logits.numpy().swapaxes(0, 1), self._by_layer(before)

    def _advance(self, ids: np.ndarray, before: list[Tensor], logits: int) -> list[Tensor]:
        B = len(ids)
        after = [torch.empty(B, H) for H in self.units]
        given = self.addresses(*[state.data_ptr() for state in before])
        to = self.addresses(*[state.data_ptr() for state in after])
        threads = torch.get_num_threads()
        if self.step(self.decoder, B, threads, ids.ctypes.data, given, to, logits):
            check_ids("ids", ids, self.vocab_size)
        return after

    def _given(self, state: Any, rows: int) -> list[Tensor]:
        if state is None:
            return [torch.zeros(rows, H) for H in self.units]
        # NumPy where rows were put together, half precision where the layers have read.
        states = [one if _is_ready(one) else _ready(one) for layer in state for one in layer]
        shapes, expected = [one.shape for one in states], [(rows, H) for H in self.units]
        if shapes != expected:
            raise DataError(
                f"state: must be of the shapes {expected}, found {[tuple(s) for s in shapes]}; "
                "hand on the state that the step before gave for the same rows"
            )
        return states

    def _by_layer(self, states: list[Tensor]) -> list[list[Tensor]]:
        rest = iter(states)
        return [[next(rest) for _ in range(count)] for count in self.counts]

    def _layer(self, weights: RecurrentWeights) -> _LayerWeights:
        W, R, b = map(self.take, weights.variables())
        H, kind = len(R), list(KINDS).index(weights.kind)
        if weights.kind == "gru":
            b = torch.cat([b[0, : 2 * H] + b[1, : 2 * H], b[0, 2 * H :], b[1, 2 * H :]])
        return _LayerWeights(kind, len(W), H, self._at(W), self._at(R), self._at(b))

    def _ends(self, weights: DecodingWeights, first: _LayerWeights) -> _EndWeights:
        bias, V = self._at(self.take(weights.bias)), weights.bias.shape[0]
        tied = weights.kernel is None
        out = self.take(weights.embedding if tied else weights.kernel)
        strides = (1, out.shape[1]) if tied else (V, 1)
        table, vectors = self._looked_up(weights, first)
        return _EndWeights(V, first.D, table, vectors, self._at(out), *strides, bias)

    def _looked_up(
        self, weights: DecodingWeights, first: _LayerWeights
    ) -> tuple[int | None, int | None]:
        """Return where the first layer's products of all tokens are, or else their vectors."""
        if weights.embedding is None:
            table, first.kernel = first.kernel, None
            return table, None
        vectors = self.take(weights.embedding)
        if len(vectors) > LARGEST_TABLE:
            return None, self._at(vectors)
        first.kernel = None
        return self._at(vectors @ self.take(weights.layers[0].kernel)), None

    def _at(self, tensor: Tensor) -> int:
        tensor = tensor.contiguous()
        self.kept.append(tensor)
        return tensor.data_ptr()


def _is_ready(state: Any) -> bool:
    return (
        type(state) is Tensor
        and state.dtype is torch.float32
        and state.is_cpu
        and state.is_contiguous()
    )


def _ready(state: Any) -> Tensor:
    return torch.as_tensor(state, dtype=torch.float32, device="cpu").contiguous()


def _count(layer: _LayerWeights) -> int:
    """Return how many states a layer has."""
    return list(KINDS.values())[layer.kind]


def _made(library: ctypes.CDLL, ends: _EndWeights, layers: ctypes.Array[_LayerWeights]) -> int:
    i64, pointer = ctypes.c_int64, ctypes.c_void_p
    library.decoder_new.argtypes = [pointer, pointer, i64, i64]
    library.decoder_new.restype = pointer
    library.decoder_free.argtypes, library.decoder_free.restype = [pointer], None
    library.decoder_step.argtypes = [pointer, i64, i64, *[pointer] * 4]
    addresses = ctypes.addressof(ends), ctypes.addressof(layers)
    return library.decoder_new(*addresses, len(layers), torch.get_num_threads())


def _free(library: ctypes.CDLL, decoder: int) -> None:
    library.decoder_free(decoder)
