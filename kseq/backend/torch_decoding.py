"""One token at a time on PyTorch: two products and a few pointwise calls a layer, nothing else.

A layer called through Keras costs more than its arithmetic when it advances one step.  Here the
weights are taken out of the model once and the steps run on bare tensors.  In half precision the
weights are rounded as the model rounds them and everything else is computed in float32.  Where
C++ can be built a step is one call of it (`kseq.backend.torch_decoding_compiled`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kseq.backend.decoding import DecodingWeights, RecurrentWeights
from kseq.backend.torch_decoding_compiled import LARGEST_TABLE, CompiledNetwork, compiled_network
from kseq.data.token_ids import check_ids

Step = Callable[[Any, Any], tuple[Any, Any]]
Weights = Callable[[], DecodingWeights | None]

# Reading so many tokens costs less step by step than through Keras's layers.
_MOST_STEPS = 16
# From so many rows on oneDNN's product with a reordered weight is the faster one.
_FEWEST_PACKED = 16


def compile_step(model: Any, weights: Weights | None = None) -> Step:
    """Return step(ids (B, T), state) -> (logits (B, T, V) as NumPy, state) without gradients.

    weights: says where the model's weights are, or None if it must run layer by layer; asked
        at the beginning of every text.  Few tokens are read from them directly.
    """

    def through_layers(ids: Any, state: Any) -> tuple[Any, Any]:
        with torch.no_grad():
            logits, state = model(ids, initial_state=state, return_state=True, training=False)
        return logits.float().cpu().numpy(), state

    return through_layers if weights is None else _Decoder(through_layers, weights)


class _Decoder:
    """A step that reads many tokens through the layers, and a few past them."""

    def __init__(self, through_layers: Step, weights: Weights) -> None:
        self.through_layers, self.weights = through_layers, weights
        self.found: DecodingWeights | None = None
        self.network: _Network | CompiledNetwork | None = None
        self.sources: list[Tensor] = []
        self.versions: list[int] = []

    def __call__(self, ids: Any, state: Any) -> tuple[Any, Any]:
        if state is None:
            # A text begins: whatever was done to the weights is seen, even behind torch's back.
            self.found, self.network = self.weights(), None
        if self.found is None or not 1 <= np.shape(ids)[1] <= _MOST_STEPS:
            return self.through_layers(ids, state)
        # No inference mode: a state may be handed on to a model that trains.
        with torch.no_grad():
            network = self.network
            if network is None or self.versions != _versions(self.sources):
                network = self._lay_out(self.found)
            return network.read(np.asarray(ids), state)

    def _lay_out(self, weights: DecodingWeights) -> _Network | CompiledNetwork:
        self.sources = [variable.value for variable in weights.variables()]
        self.versions = _versions(self.sources)
        self.network = network = lay_out(weights)
        return network


def lay_out(weights: DecodingWeights) -> _Network | CompiledNetwork:
    """Return the weights ready for one step, in C++ where that can be."""
    return compiled_network(weights, _Rounded(weights.dtype)) or _Network(weights)


def _versions(tensors: list[Tensor]) -> list[int]:
    """Return numbers that are others once a tensor was written to."""
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]


class _Network:
    """A model's weights as they were when this was made, laid out for one step."""

    def __init__(self, weights: DecodingWeights) -> None:
        take = _Rounded(weights.dtype)
        self.cells = [_CELLS[layer.kind](layer, take) for layer in weights.layers]
        self.vectors = None if weights.embedding is None else take(weights.embedding)
        self.table = self._table()
        tied = weights.kernel is None
        kernel = take(weights.embedding).t() if tied else take(weights.kernel)
        self.read_out, self.bias = _Product(kernel), take(weights.bias)
        self.device = self.bias.device

    def read(self, ids: np.ndarray, state: Any) -> tuple[np.ndarray, list[list[Tensor]]]:
        """Return the logits (B, T, V) for ids (B, T), one step after the other, and the state."""
        if state is None:  # a text begins; those drawn later are from the vocabulary
            check_ids("ids", ids, len(self.bias))
        columns = torch.from_numpy(np.ascontiguousarray(ids.T)).to(self.device)
        state = self._zeros(len(ids)) if state is None else [self._tensors(s) for s in state]
        logits = []
        for tokens in columns.unbind():
            state = self._advance(tokens, state)
            logits.append(self.read_out(state[-1][0], self.bias))
        return torch.stack(logits, 1).float().cpu().numpy(), state

    def _advance(self, tokens: Tensor, state: list[list[Tensor]]) -> list[list[Tensor]]:
        states = [self.cells[0].advance(self._first(tokens), state[0])]
        for cell, before in zip(self.cells[1:], state[1:], strict=True):
            states.append(cell.advance(cell.project(states[-1][0]), before))
        return states

    def _first(self, ids: Tensor) -> Tensor:
        if self.table is not None:
            return self.table.index_select(0, ids)
        assert self.vectors is not None
        return self.cells[0].project(self.vectors.index_select(0, ids))

    def _table(self) -> Tensor | None:
        """Return the first layer's projection of every token (V, G H), if they are few."""
        first = self.cells[0]
        if self.vectors is None:
            return first.kernel.matrix + first.bias
        return first.project(self.vectors) if len(self.vectors) <= LARGEST_TABLE else None

    def _tensors(self, states: Sequence[Any]) -> list[Tensor]:
        # NumPy where rows were put together, half precision where the layers have read.
        dtype = self.bias.dtype
        return [torch.as_tensor(state, dtype=dtype, device=self.device) for state in states]

    def _zeros(self, rows: int) -> list[list[Tensor]]:
        return [[self.bias.new_zeros(rows, cell.units)] * cell.num_states for cell in self.cells]


class _Rounded:
    """Takes a variable's tensor, rounded to the dtype the model computes in."""

    def __init__(self, dtype: str) -> None:
        self.computed: torch.dtype = getattr(torch, dtype)
        self.dtype = torch.float64 if self.computed == torch.float64 else torch.float32

    def __call__(self, variable: Any) -> Tensor:
        return variable.value.detach().to(self.computed).to(self.dtype)


class _Product:
    """x @ matrix + added, on the fastest way there is for the number of rows."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.packed: Tensor | None = None
        self.packs = (
            matrix.device.type == "cpu"
            and matrix.dtype == torch.float32
            and torch.backends.mkldnn.is_available()
        )

    def __call__(self, x: Tensor, added: Tensor) -> Tensor:
        if not self.packs or len(x) < _FEWEST_PACKED:
            return torch.addmm(added, x, self.matrix)
        if self.packed is None:
            transposed = self.matrix.t().contiguous()
            self.packed = torch.ops.mkldnn._reorder_linear_weight(transposed, len(x))
        product = torch.ops.mkldnn._linear_pointwise(x, self.packed, None, "none", [], "")
        return product.add_(added)


class _Cell:
    """One recurrent layer; `advance` takes the input already projected (B, G H)."""

    num_states = 1

    def __init__(self, weights: RecurrentWeights, take: _Rounded) -> None:
        W, R, b = (self.arranged(take(variable)) for variable in weights.variables())
        self.units = R.shape[0]
        self.kernel, self.bias = _Product(W), b
        self.keep(R)

    def arranged(self, weight: Tensor) -> Tensor:
        """Return the weight with its gates in the order this class computes them in."""
        return weight

    def keep(self, R: Tensor) -> None:
        self.recurrent = _Product(R)

    def project(self, x: Tensor) -> Tensor:
        return self.kernel(x, self.bias)

    def advance(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        raise NotImplementedError


class _SimpleRNN(_Cell):
    def advance(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        return [self.recurrent(states[0], x).tanh_()]


class _GRU(_Cell):
    """The reset gate after the product: two biases."""

    def keep(self, R: Tensor) -> None:
        self.recurrent = _Product(R)
        self.bias, self.recurrent_bias = self.bias.unbind(0)

    def advance(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        h, H = states[0], self.units
        p = self.recurrent(h, self.recurrent_bias)
        z, r = p[:, : 2 * H].add_(x[:, : 2 * H]).sigmoid_().chunk(2, 1)
        n = torch.addcmul(x[:, 2 * H :], r, p[:, 2 * H :]).tanh_()
        return [torch.lerp(n, h, z)]


class _GRUResetBefore(_Cell):
    def keep(self, R: Tensor) -> None:
        H = self.units
        self.recurrent = _Product(R[:, : 2 * H].contiguous())
        self.candidate = _Product(R[:, 2 * H :].contiguous())

    def advance(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        h, H = states[0], self.units
        z, r = self.recurrent(h, x[:, : 2 * H]).sigmoid_().chunk(2, 1)
        n = self.candidate(r * h, x[:, 2 * H :]).tanh_()
        return [torch.lerp(n, h, z)]


class _LSTM(_Cell):
    num_states = 2

    def arranged(self, weight: Tensor) -> Tensor:
        """Give i, f, o, c, so that one call takes the sigmoid of three gates."""
        i, f, c, o = weight.chunk(4, -1)
        return torch.cat([i, f, o, c], -1)

    def advance(self, x: Tensor, states: list[Tensor]) -> list[Tensor]:
        h, c = states
        gates = self.recurrent(h, x)
        gates[:, : 3 * self.units].sigmoid_()
        i, f, o, g = gates.chunk(4, 1)
        c = torch.mul(f, c).addcmul_(i, g.tanh_())
        return [torch.tanh(c).mul_(o), c]


_CELLS: dict[str, type[_Cell]] = {
    "simple_rnn": _SimpleRNN,
    "gru": _GRU,
    "gru_reset_before": _GRUResetBefore,
    "lstm": _LSTM,
}
