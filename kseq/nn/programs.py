"""What a planned step computes: a model's loss from a batch, in tensors alone.

A program is written for one kind of model beside its `call`, and gives what `call` and the loss
give.  Where a model was changed so that it would not, there is no program for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from kseq.backend import require_engine
from kseq.nn.metrics import TokenTotals


class Outcome(NamedTuple):
    """What the forward part of a step gives.

    loss: (), with gradients in training.  y: the targets.  y_pred: the outputs, or None.
    nats: those of each token, or None.  state: the last states of the recurrent layers.
    """

    loss: Any
    y: Any
    y_pred: Any
    nats: Any
    state: Any


class TokenProgram:
    """A language model's loss from its hidden states: no logits are kept, nats come with it."""

    gives_nats = True

    def __init__(self, model: Any) -> None:
        self.stack, self.parts = model.stack, require_engine().steps()
        self.vocab_size = len(model.vocab)
        self.dtype = model.stack.compute_dtype

    @classmethod
    def of(cls, model: Any) -> TokenProgram | None:
        """Return the program, or None for a loss, metrics or layers that need the logits."""
        stack = model.stack
        plain = (
            _is_cross_entropy(model.loss),
            all(map(_counts_tokens, compiled_metrics(model))),
            all(map(_is_unchanged, (stack.embedding, stack.dense))),
            stack.compute_dtype in ("float32", "bfloat16"),
        )
        return cls(model) if all(plain) else None

    def suits(self, x: Any, y: Any) -> bool:
        """Whether ids and targets are (B, T) and name tokens of the vocabulary."""
        if x.shape != y.shape or len(x.shape) != 2 or not len(x) * x.shape[1]:
            return False
        return self.parts.are_below(self.vocab_size, x, y)

    def forward(self, x: Any, y: Any, state: Any, training: bool) -> Outcome:
        stack = self.stack
        raw, state = run_layers(stack, self._vectors(x, training), state, training)
        hidden = stack.ends.leave(raw, training)
        if stack.dense is not None:
            weight, bias = stack.dense.kernel.value, stack.dense.bias.value
        else:
            weight, bias = stack.embedding.embeddings.value.T, stack.bias.value
        loss, nats = self.parts.linear_cross_entropy(hidden, weight, bias, y)
        added = stack.penalty(raw, hidden) if training else None
        return Outcome(loss if added is None else loss + added, y, None, nats, state)

    def _vectors(self, ids: Any, training: bool) -> Any:
        if self.stack.embedding is not None:
            table = self.stack.embedding.embeddings.value
            x = self.parts.lookup(ids, table, self.dtype)
        else:
            x = self.parts.one_hot(ids, self.vocab_size, self.dtype)
        return self.stack.ends.enter(ids, x, training)


class SeriesProgram:
    """A forecaster's outputs and loss, without the calls of its layers."""

    gives_nats = False

    def __init__(self, model: Any) -> None:
        self.model, self.network = model, model.network
        self.parts = require_engine().steps()
        self.squares = _is_squared_error(model.loss)

    @classmethod
    def of(cls, model: Any) -> SeriesProgram | None:
        """Return the program, or None for layers in other dtypes or changed ones."""
        network = model.network
        layers = [*getattr(network, "hidden", []), network.read_out]
        plain = network.compute_dtype == "float32" and all(map(_is_unchanged, layers))
        return cls(model) if plain else None

    def suits(self, x: Any, y: Any) -> bool:
        """Whether inputs and targets are floats of the shapes that the outputs will have."""
        sizes = (len(x), *x.shape[1:2]) if self.model.every_step else (len(x),)
        fits = tuple(y.shape) == (*sizes, self.model.outputs) and len(x.shape) in (2, 3)
        return fits and len(x) > 0 and self.parts.are_float32(x, y)

    def forward(self, x: Any, y: Any, state: Any, training: bool) -> Outcome:
        model = self.model
        scale, window = model.scale, model.scaling == "window"
        x = x if len(x.shape) == 3 else x[..., None]
        centre = x.mean(1, keepdim=True) if window else model._centre(x)
        if model.fitted or window:
            x = (x - centre) / scale
        y_pred, state = self._network(x, state, training)
        if model.fitted or window:
            y_pred = y_pred * scale + (centre[:, 0] if window else centre)
        return Outcome(self._loss(x, y, y_pred, training), y, y_pred, None, state)

    def _loss(self, x: Any, y: Any, y_pred: Any, training: bool) -> Any:
        scale = self.model.scale
        if not self.squares:
            return self.model.compute_loss(x, y, y_pred, None, training)
        if scale != 1.0:
            y, y_pred = y / scale, y_pred / scale
        return self.parts.squared_error(y, y_pred)

    def _network(self, x: Any, state: Any, training: bool) -> tuple[Any, Any]:
        network = self.network
        if not hasattr(network, "hidden"):
            x, state = run_layers(network, x, state, training)
            return self._dense(network.read_out, x if network.every_step else x[:, -1]), state
        x = x.flatten(1)
        for layer in (*network.hidden, network.read_out):
            x = self._dense(layer, x)
        return x, []

    def _dense(self, layer: Any, x: Any) -> Any:
        bias = layer.bias.value if layer.use_bias else None
        return self.parts.dense(x, layer.kernel.value, bias, layer.activation.__name__)


def run_layers(stack: Any, x: Any, initial_state: Any, training: bool) -> tuple[Any, Any]:
    """As `RecurrentStack.run_recurrent`; in float32 without Keras's wrapper around each layer."""
    first = stack.zero_state(len(x)) if initial_state is None else initial_state
    wrapped, state = stack.compute_dtype != "float32", []
    for index, (layer, given) in enumerate(zip(stack.recurrent, first, strict=True)):
        if index and stack.dropouts[index - 1].rate:
            x = stack.dropouts[index - 1](x, training=training)
        run = layer if wrapped else layer.call
        with stack.dropping(index, training):
            x, *last = run(x, initial_state=list(given), training=training)
        state.append(last)
    return x, state


def compiled_metrics(model: Any) -> list[Any]:
    """Return the metrics handed to `compile`, which Keras keeps together in one."""
    return [each for m in model.metrics for each in getattr(m, "metrics", [])]


def _counts_tokens(metric: Any) -> bool:
    return (
        isinstance(metric, TokenTotals)
        and type(metric).update_state is TokenTotals.update_state
        and metric.from_logits
    )


def _is_mean(loss: Any) -> bool:
    return loss.reduction in ("sum_over_batch_size", "mean") and loss.dtype == "float32"


def _is_cross_entropy(loss: Any) -> bool:
    if type(loss) is not keras.losses.SparseCategoricalCrossentropy or not _is_mean(loss):
        return False
    settings = loss.get_config()
    usual = settings["ignore_class"] is None and settings.get("axis", -1) == -1
    return usual and settings["from_logits"]


def _is_squared_error(loss: Any) -> bool:
    if isinstance(loss, str):
        return keras.losses.get(loss) is keras.losses.mean_squared_error
    return type(loss) is keras.losses.MeanSquaredError and _is_mean(loss)


def _is_unchanged(layer: Any) -> bool:
    """Whether a layer is absent or Keras's own, neither quantized nor adapted (LoRA)."""
    if layer is None:
        return True
    known = type(layer) in (keras.layers.Dense, keras.layers.Embedding)
    return known and not (layer.quantization_mode or layer.lora_enabled)
