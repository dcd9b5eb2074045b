"""Recurrent cells written as the book writes them: one weight per gate, one line per equation.

They are for reading and for checking the fused layers against.  A cell advances one step:
`output, states = cell(x, states)`, with x (B, D) and each state (B, H); `keras.layers.RNN(cell)`
runs it over time, and `keras.layers.RNN([cell, cell])` is a real two-layer recurrence.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.checks import positive_int


class GatedCell(keras.layers.Layer):
    """What the cells share: for each gate g the weights W_xg (D, H), W_hg (H, H), b_g (H,).

    Args:
        units: H, the width of the state.
        kernel_initializer, recurrent_initializer, bias_initializer: as in Keras's layers.
    """

    gates: tuple[str, ...] = ()
    num_states = 1

    def __init__(
        self,
        units: int,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = positive_int("units", units)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.state_size = [self.units] * self.num_states
        self.output_size = self.units

    def build(self, input_shape: Any) -> None:
        D, H = input_shape[-1], self.units
        for gate in self.gates:
            kernel = self.add_weight((D, H), self.kernel_initializer, name=f"W_x{gate}")
            recurrent = self.add_weight((H, H), self.recurrent_initializer, name=f"W_h{gate}")
            bias = self.add_weight((H,), self.bias_initializer, name=f"b_{gate}")
            setattr(self, f"W_x{gate}", kernel)
            setattr(self, f"W_h{gate}", recurrent)
            setattr(self, f"b_{gate}", bias)

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        return [ops.zeros((batch_size, self.units), self.compute_dtype) for _ in self.state_size]

    def assign_fused(self, kernel: Any, recurrent_kernel: Any, bias: Any) -> None:
        """Take the weights of a layer that keeps its gates side by side, in the same order.

        kernel (D, G H), recurrent_kernel (H, G H), bias (G H,), as `keras.layers.LSTM` and
        `keras.layers.GRU(reset_after=False)` hold them.
        """
        parts = [
            np.split(np.asarray(w), len(self.gates), -1) for w in (kernel, recurrent_kernel, bias)
        ]
        for gate, w, r, b in zip(self.gates, *parts, strict=True):
            getattr(self, f"W_x{gate}").assign(w)
            getattr(self, f"W_h{gate}").assign(r)
            getattr(self, f"b_{gate}").assign(b)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": serialize(self.kernel_initializer),
            "recurrent_initializer": serialize(self.recurrent_initializer),
            "bias_initializer": serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="kseq")
class SimpleRNNCell(GatedCell):
    """H_t = tanh(X_t W_xh + H_{t-1} W_hh + b_h).  Source: Dive into Deep Learning 8.4-8.5.

    Example:
        >>> cell = SimpleRNNCell(4)
        >>> output, states = cell(np.zeros((2, 3), "float32"), cell.get_initial_state(2))
        >>> tuple(output.shape), len(states)
        ((2, 4), 1)
    """

    gates = ("h",)

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        X, H = inputs, states[0]
        H = ops.tanh(X @ self.W_xh + H @ self.W_hh + self.b_h)
        return H, [H]


@keras.saving.register_keras_serializable(package="kseq")
class GRUCell(GatedCell):
    """Gated recurrent unit with the reset gate before the product (Cho et al. 2014; d2l 9.1).

        Z = sigmoid(X W_xz + H W_hz + b_z)
        R = sigmoid(X W_xr + H W_hr + b_r)
        N = tanh(X W_xh + (R * H) W_hh + b_h)
        H' = Z * H + (1 - Z) * N                 Z keeps the old state

    Keras's default `GRU` and PyTorch's `nn.GRU` apply R after the product instead; this cell
    equals `GRU(reset_after=False)`.

    Example:
        >>> cell = GRUCell(4)
        >>> output, states = cell(np.zeros((2, 3), "float32"), cell.get_initial_state(2))
        >>> tuple(output.shape), len(states)
        ((2, 4), 1)
    """

    gates = ("z", "r", "h")

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        X, H = inputs, states[0]
        Z = ops.sigmoid(X @ self.W_xz + H @ self.W_hz + self.b_z)
        R = ops.sigmoid(X @ self.W_xr + H @ self.W_hr + self.b_r)
        N = ops.tanh(X @ self.W_xh + (R * H) @ self.W_hh + self.b_h)
        H = Z * H + (1 - Z) * N
        return H, [H]


@keras.saving.register_keras_serializable(package="kseq")
class LSTMCell(GatedCell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; d2l 9.2).

        I = sigmoid(X W_xi + H W_hi + b_i)
        F = sigmoid(X W_xf + H W_hf + b_f)       F keeps the old cell
        G = tanh(X W_xc + H W_hc + b_c)
        O = sigmoid(X W_xo + H W_ho + b_o)
        C' = F * C + I * G,  H' = O * tanh(C')

    Example:
        >>> cell = LSTMCell(4)
        >>> output, states = cell(np.zeros((2, 3), "float32"), cell.get_initial_state(2))
        >>> tuple(output.shape), len(states)
        ((2, 4), 2)
    """

    gates = ("i", "f", "c", "o")
    num_states = 2

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        X, (H, C) = inputs, states
        I = ops.sigmoid(X @ self.W_xi + H @ self.W_hi + self.b_i)
        F = ops.sigmoid(X @ self.W_xf + H @ self.W_hf + self.b_f)
        G = ops.tanh(X @ self.W_xc + H @ self.W_hc + self.b_c)
        O = ops.sigmoid(X @ self.W_xo + H @ self.W_ho + self.b_o)
        C = F * C + I * G
        H = O * ops.tanh(C)
        return H, [H, C]


@keras.saving.register_keras_serializable(package="kseq")
class PeepholeLSTMCell(GatedCell):
    """LSTM whose gates also see the cell, through one weight per unit (Gers et al. 2002).

        I = sigmoid(X W_xi + H W_hi + p_i * C + b_i)
        F = sigmoid(X W_xf + H W_hf + p_f * C + b_f)
        G = tanh(X W_xc + H W_hc + b_c)
        C' = F * C + I * G
        O = sigmoid(X W_xo + H W_ho + p_o * C' + b_o)     the output gate sees the new cell
        H' = O * tanh(C')

    The peepholes p start at zero, where the cell equals `LSTMCell`.

    Example:
        >>> cell = PeepholeLSTMCell(4)
        >>> output, states = cell(np.zeros((2, 3), "float32"), cell.get_initial_state(2))
        >>> tuple(output.shape), len(states)
        ((2, 4), 2)
    """

    gates = ("i", "f", "c", "o")
    num_states = 2

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.p_i = self.add_weight((self.units,), "zeros", name="p_i")
        self.p_f = self.add_weight((self.units,), "zeros", name="p_f")
        self.p_o = self.add_weight((self.units,), "zeros", name="p_o")

    def call(self, inputs: Any, states: Any) -> tuple[Any, list[Any]]:
        X, (H, C) = inputs, states
        I = ops.sigmoid(X @ self.W_xi + H @ self.W_hi + self.p_i * C + self.b_i)
        F = ops.sigmoid(X @ self.W_xf + H @ self.W_hf + self.p_f * C + self.b_f)
        G = ops.tanh(X @ self.W_xc + H @ self.W_hc + self.b_c)
        C = F * C + I * G
        O = ops.sigmoid(X @ self.W_xo + H @ self.W_ho + self.p_o * C + self.b_o)
        H = O * ops.tanh(C)
        return H, [H, C]
