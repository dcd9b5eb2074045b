"""The layers of a forecaster: a perceptron over a window, or recurrent layers over a sequence."""

from __future__ import annotations

from typing import Any

import keras

from kseq.nn.initializers import Draw
from kseq.nn.recurrent_stack import RecurrentStack

ACTIVATIONS = ("relu", "tanh", "linear")


@keras.saving.register_keras_serializable(package="kseq")
class WindowNetwork(keras.layers.Layer):
    """A window (B, W, 1) -> the steps that follow it (B, outputs), through hidden layers.

        h = activation(x W_1 + b_1) ...,  y = h W + b

    Kernels Glorot (Xavier) uniform and biases zero with the preset "keras".  A hidden layer with
    fewer units than outputs and no activation is a regression of reduced rank: all steps ahead
    share the few directions of the window that the units read (Izenman 1975).
    """

    def __init__(
        self,
        window: int,
        units: int,
        num_layers: int,
        outputs: int,
        activation: str,
        use_bias: bool,
        draw: Draw,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.window, self.outputs = window, outputs
        self.flat = keras.layers.Flatten(dtype=self.dtype_policy)
        options: dict[str, Any] = {"use_bias": use_bias, "dtype": self.dtype_policy}
        widths = [window, *[units] * num_layers]
        self.hidden = [
            _dense(units, draw, fan, activation=activation, **options) for fan in widths[:-1]
        ]
        self.read_out = _dense(outputs, draw, widths[-1], **options)

    def build(self, input_shape: Any) -> None:
        self.flat.build((None, self.window, 1))
        width = self.window
        for layer in [*self.hidden, self.read_out]:
            layer.build((None, width))
            width = layer.units

    def call(self, x: Any, initial_state: Any = None, training: bool = False) -> Any:
        x = self.flat(x)
        for layer in self.hidden:
            x = layer(x)
        return self.read_out(x), []

    def state_widths(self) -> list[list[int]]:
        return []


@keras.saving.register_keras_serializable(package="kseq")
class RecurrentNetwork(RecurrentStack):
    """A sequence (B, T, 1) and a state -> what follows each step, or the last, and the new state.

    (B, T, outputs) with `every_step`, else (B, outputs); the read-out is linear.
    """

    def __init__(
        self,
        cell: str,
        units: int,
        num_layers: int,
        outputs: int,
        every_step: bool,
        dropout: float,
        use_bias: bool,
        draw: Draw,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.every_step = every_step
        self.stack_recurrent(cell, units, num_layers, dropout, draw)
        options: dict[str, Any] = {"use_bias": use_bias, "dtype": self.dtype_policy}
        self.read_out = _dense(outputs, draw, units, **options)

    def build(self, input_shape: Any) -> None:
        width = self.build_recurrent(1)
        self.read_out.build((None, None, width) if self.every_step else (None, width))

    def call(self, x: Any, initial_state: Any = None, training: bool = False) -> Any:
        x, state = self.run_recurrent(x, initial_state, training)
        return self.read_out(x if self.every_step else x[:, -1]), state


def _dense(units: int, draw: Draw, fan: int, **options: Any) -> keras.layers.Dense:
    return keras.layers.Dense(
        units,
        kernel_initializer=draw("kernel", fan=fan),
        bias_initializer=draw("bias", fan=fan),
        **options,
    )
