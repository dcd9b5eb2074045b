"""SimpleRNN, GRU and LSTM: drop-in for Keras's, with a fused recurrence and a state that works.

Each layer is Keras's own class (same constructor, weights, options and configuration) with two
things mended.  Where the engine has a fused recurrence for the layer's settings it is used, with
a mask and with a GRU's reset gate before the product too; another activation, and training with
recurrent dropout, take Keras's loop.  With `stateful=True` the layer trains on torch, where
Keras raises, and remembers on JAX, where Keras forgets.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.backend import require_engine


class FusedRecurrence:
    """What the three layers share: the fused path, and states the trainer can see."""

    fused_kind: str
    cell: Any
    states: Any
    stateful: bool
    go_backwards: bool
    zero_output_for_mask: bool

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        super().build(sequences_shape, initial_state_shape)  # type: ignore[misc]
        for state in self.states or []:
            # In half precision torch would assign the new state to a cast copy of the variable.
            state._autocast = False

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        if self.stateful and initial_state is None:
            # The graph must hold a copy: the variable itself is overwritten by the new state.
            initial_state = [ops.copy(ops.stop_gradient(state.value)) for state in self.states]
        return super().call(sequences, initial_state, mask, training)  # type: ignore[misc]

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        if self._can_fuse(training):
            fused = self._run_fused(sequences, initial_state, mask, training)
            if fused is not None:
                outputs, states = fused
                return outputs[:, -1], outputs, states
        return super().inner_loop(sequences, initial_state, mask, training)  # type: ignore[misc]

    @property
    def variables(self) -> list[Any]:
        """The layer's variables and its carried state, which is never saved with the weights."""
        states = self.states if self.states is not None else []
        return [*super().variables, *states]  # type: ignore[misc]

    def reset_state(self) -> None:
        """Set the carried state of a stateful layer to zero.

        Inside `fit` call it between epochs: on JAX the trainer sees no change between batches.
        """
        for state in self.states or []:
            # A NumPy array: inside `fit` on JAX the variable holds no tensor to be shaped like.
            state.assign(np.zeros(state.shape, "float32"))

    def _can_fuse(self, training: bool) -> bool:
        cell = self.cell
        # Both kinds of dropout then differ from gate to gate.
        by_gate = cell.recurrent_dropout or (cell.dropout and _implementation(cell) == 1)
        return (
            cell.activation is keras.activations.tanh
            and getattr(cell, "recurrent_activation", _SIGMOID) is _SIGMOID
            and not (training and by_gate)
        )

    def _run_fused(self, sequences: Any, initial_state: Any, mask: Any, training: bool) -> Any:
        cell, mask = self.cell, _steps_to_take(mask)
        if training and cell.dropout:
            sequences = sequences * ops.expand_dims(cell.get_dropout_mask(sequences[:, 0, :]), 1)
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        fused = require_engine().recurrence(
            self.fused_kind,
            sequences,
            initial_state,
            ops.convert_to_tensor(cell.kernel),
            ops.convert_to_tensor(cell.recurrent_kernel),
            None if cell.bias is None else ops.convert_to_tensor(cell.bias),
            mask,
            getattr(cell, "reset_after", True),
        )
        return self._with_zeros(fused, mask) if self.zero_output_for_mask else fused

    @staticmethod
    def _with_zeros(fused: Any, mask: Any) -> Any:
        """Put zeros for the outputs of the steps that a mask passes over."""
        if fused is None or mask is None:
            return fused
        outputs, states = fused
        return ops.where(ops.expand_dims(mask, 2), outputs, ops.zeros_like(outputs)), states


def _implementation(cell: Any) -> int:
    return getattr(cell, "implementation", 2)


def _steps_to_take(mask: Any) -> Any:
    """Give a mask in any of the forms Keras takes as booleans (B, T), or None."""
    if isinstance(mask, list | tuple):
        mask = mask[0]
    if mask is None:
        return None
    mask = ops.cast(ops.convert_to_tensor(mask), "bool")
    return ops.squeeze(mask, 2) if len(mask.shape) == 3 else mask


@keras.saving.register_keras_serializable(package="kseq")
class SimpleRNN(FusedRecurrence, keras.layers.SimpleRNN):
    """Elman's recurrent layer; every argument of `keras.layers.SimpleRNN`.

        h_t = tanh(x_t W + h_{t-1} R + b)

    Weights: kernel W (D, H) Glorot uniform, recurrent_kernel R (H, H) orthogonal, bias b (H,)
    zero.  PyTorch's `nn.RNN` holds the transposes and a second bias.

    Input (B, T, D), output (B, H), or (B, T, H) with `return_sequences`; with `return_state`
    also the last h (B, H).  Float dtype of the layer.

    Source: Elman, "Finding structure in time" (1990); Dive into Deep Learning 8.4.

    Example:
        >>> import numpy as np
        >>> tuple(SimpleRNN(4, return_sequences=True)(np.zeros((2, 3, 5), "float32")).shape)
        (2, 3, 4)
    """

    fused_kind = "simple_rnn"


@keras.saving.register_keras_serializable(package="kseq")
class GRU(FusedRecurrence, keras.layers.GRU):
    """Gated recurrent unit; every argument of `keras.layers.GRU`.

    With `reset_after=True` (Keras's and PyTorch's default):

        z = sigmoid(x_t W_z + b_z + h_{t-1} R_z + c_z)            update gate
        r = sigmoid(x_t W_r + b_r + h_{t-1} R_r + c_r)            reset gate
        n = tanh(x_t W_h + b_h + r * (h_{t-1} R_h + c_h))         candidate
        h_t = z * h_{t-1} + (1 - z) * n                           z keeps the old state

    With `reset_after=False`, Cho's form and the one d2l writes from scratch, the gate comes
    before the product: n = tanh(x_t W_h + b_h + (r * h_{t-1}) R_h).

    Weights, gates in the order z, r, h: kernel (D, 3H) Glorot uniform, recurrent_kernel (H, 3H)
    orthogonal, bias (2, 3H) zero, input side b first, recurrent side c second; (3H,) when
    `reset_after=False`.  PyTorch's `nn.GRU` holds the transposes in the order r, z, n.

    Input (B, T, D), output (B, H), or (B, T, H) with `return_sequences`; with `return_state`
    also the last h (B, H).

    Source: Cho et al., arXiv:1406.1078 (2014); Dive into Deep Learning 9.1.

    Example:
        >>> import numpy as np
        >>> tuple(GRU(4)(np.zeros((2, 3, 5), "float32")).shape)
        (2, 4)
    """

    fused_kind = "gru"


@keras.saving.register_keras_serializable(package="kseq")
class LSTM(FusedRecurrence, keras.layers.LSTM):
    """Long short-term memory; every argument of `keras.layers.LSTM`.

        i = sigmoid(x_t W_i + h_{t-1} R_i + b_i)      input gate
        f = sigmoid(x_t W_f + h_{t-1} R_f + b_f)      forget gate: f keeps the old cell
        g = tanh(x_t W_c + h_{t-1} R_c + b_c)         candidate
        o = sigmoid(x_t W_o + h_{t-1} R_o + b_o)      output gate
        c_t = f * c_{t-1} + i * g
        h_t = o * tanh(c_t)

    Weights, gates in the order i, f, c, o: kernel (D, 4H) Glorot uniform, recurrent_kernel
    (H, 4H) orthogonal, bias (4H,) zero with the forget gate's part at one.  PyTorch's `nn.LSTM`
    holds the transposes in the same order and a second bias.

    Input (B, T, D), output (B, H), or (B, T, H) with `return_sequences`; with `return_state`
    also the last h and c, (B, H) each.

    Source: Hochreiter and Schmidhuber (1997); Gers et al. (2000) for the forget gate; Dive
    into Deep Learning 9.2.

    Example:
        >>> import numpy as np
        >>> y, h, c = LSTM(4, return_state=True)(np.zeros((2, 3, 5), "float32"))
        >>> tuple(y.shape), tuple(c.shape)
        ((2, 4), (2, 4))
    """

    fused_kind = "lstm"


_SIGMOID = keras.activations.sigmoid
