"""The steps of `fit` and `evaluate` without Keras's costs, where the engine offers its parts.

A step of Keras on PyTorch spends more than a millisecond of Python: calling a layer, updating a
metric and applying an optimizer each convert, check and cast all over again.  Here a model's step
is planned once an epoch, and then is tensors alone.  The plan covers what kseq's own models are
compiled with; for anything else, a batch with sample weights among it, Keras's step is taken,
whose results the plan's equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from kseq.backend import require_engine
from kseq.nn.optimizers import update_kind
from kseq.nn.programs import Outcome, compiled_metrics

_ERRORS = {
    keras.metrics.MeanSquaredError: "squared_error",
    keras.metrics.RootMeanSquaredError: "squared_error",
    keras.metrics.MeanAbsoluteError: "absolute_error",
}


class Results(Mapping):
    """The metrics of a model, read when somebody looks."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __getitem__(self, name: str) -> Any:
        return self.model.get_metrics_result()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.model.get_metrics_result())

    def __len__(self) -> int:
        return len(self.model.get_metrics_result())


class PlannedStep:
    """What Keras's `fit` or `evaluate` calls with a batch: the planned step, or Keras's.

    is_lazy: whether the logs may follow the metrics, for a caller that reads them at once.
    """

    def __init__(self, model: Any, program: Any, training: bool) -> None:
        self.model, self.program, self.training = model, program, training
        self.is_lazy = False
        self.parts = require_engine().steps()
        self.optimizer, self.weights = model.optimizer, list(model.weights)
        self.flags = [weight.trainable for weight in self.weights]
        variables = model.trainable_variables
        self.tensors = [v.value for v in variables]
        self.update = self._make_update(variables) if training else None
        tracker = model.metrics[0]
        self.total, self.count = tracker.total.value, tracker.count.value
        self.observers = [
            _observer(metric, program, self.parts) for metric in compiled_metrics(model)
        ]

    def __call__(self, data: Any) -> Any:
        batch = data[0]
        pair = self._pair_of(batch)
        if pair is None:
            return self._step_of_keras(batch)
        x, y = pair
        carried = self.model.carried(self.training)
        state = carried.tensors() if carried else None
        outcome = self._learn(x, y, state) if self.training else self._judge(x, y, state)
        with self.parts.no_gradients():
            if carried:
                self.parts.keep(outcome.state, state)
            self.parts.add_mean(self.total, self.count, outcome.loss, len(x))
            for observe in self.observers:
                observe(outcome)
        return Results(self.model) if self.is_lazy else self.model.get_metrics_result()

    def _make_update(self, variables: Any) -> Any:
        kind, guarded = update_kind(self.optimizer)
        return self.parts.Update(kind, self.optimizer, guarded, variables)

    def _learn(self, x: Any, y: Any, state: Any) -> Outcome:
        self.model.note_steps(x)
        outcome = self.program.forward(x, y, state, True)
        self.update(self.parts.gradients(outcome.loss, self.tensors))  # type: ignore[misc]
        return outcome

    def _judge(self, x: Any, y: Any, state: Any) -> Outcome:
        with self.parts.no_gradients():
            return self.program.forward(x, y, state, False)

    def _pair_of(self, batch: Any) -> Any:
        """Return inputs and targets, or None where the plan does not cover the batch."""
        pair = tuple(batch[:2]) if isinstance(batch, list | tuple) else ()
        weights = batch[2:] if pair else ()
        if len(pair) != 2 or any(w is not None for w in weights) or self._is_outdated():
            return None
        x, y = (self.parts.as_tensor(each) for each in pair)
        return (x, y) if x is not None and y is not None and self.program.suits(x, y) else None

    def _is_outdated(self) -> bool:
        flags = [weight.trainable for weight in self.weights]
        return flags != self.flags or self.optimizer is not self.model.optimizer

    def _step_of_keras(self, batch: Any) -> Any:
        if self.training:
            return self.model.train_step(batch)
        with self.parts.no_gradients():
            return self.model.test_step(batch)


def steps_are_planned() -> bool:
    """Whether the engine in use offers the parts of a step."""
    return require_engine().steps() is not None


def planned_step(model: Any, training: bool) -> PlannedStep | None:
    """Return the planned step of a compiled model, or None where Keras's must be taken."""
    # A class that derives from ours may have changed what a step is.
    find = vars(type(model)).get("program")
    if not steps_are_planned() or find is None or not _is_compiled_plainly(model):
        return None
    program = find(model)
    return PlannedStep(model, program, training) if program else None


def _is_compiled_plainly(model: Any) -> bool:
    if not model.compiled or model.optimizer is None or not model.optimizer.built:
        return False
    odd = (
        model.run_eagerly,
        model.jit_compile,
        model.steps_per_execution != 1,
        model.weighs_losses,
        isinstance(model.loss, list | tuple | dict) or model.loss is None,
        isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer),
        model.optimizer.loss_scale_factor,
        not model.trainable_variables,
        not all(m.built for m in model.metrics if hasattr(m, "metrics")),
        type(model.metrics[0]) is not keras.metrics.Mean,
    )
    return not any(odd) and not _losses_of_others(model)


def _losses_of_others(model: Any) -> list[Any]:
    """Return the losses of layers and weights that the model's program does not know."""
    own = {id(loss) for loss in getattr(getattr(model, "stack", None), "_losses", ())}
    return [loss for loss in model.losses if id(loss) not in own]


def _observer(metric: Any, program: Any, parts: Any) -> Callable[[Outcome], None]:
    if program.gives_nats:
        return lambda outcome: metric.add_nats(outcome.nats)
    error = _ERRORS.get(type(metric))
    if error is None or metric.dtype != "float32":
        return lambda outcome: metric.update_state(outcome.y, outcome.y_pred)
    total, count = metric.total.value, metric.count.value
    measure = getattr(parts, error)
    return lambda outcome: parts.add_mean(
        total, count, measure(outcome.y, outcome.y_pred), len(outcome.y)
    )
