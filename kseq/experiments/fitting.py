"""Training a forecaster as a plan says, on the first part of a series."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kseq.data.series import windows
from kseq.errors import NumericalError
from kseq.experiments.plan import Plan
from kseq.nn.forecaster import Forecaster
from kseq.nn.optimizers import NEVER, clipped_optimizer
from kseq.nn.schedules import schedule
from kseq.nn.series_batches import SeriesBatches

Record = dict[str, Any]


def compiled(plan: Plan, name: str | None = None) -> Forecaster:
    """Return the untrained forecaster of a plan, with its optimizer; its name is the kind's."""
    model = Forecaster(
        plan.kind,
        plan.window,
        plan.units,
        plan.num_layers,
        plan.outputs,
        plan.every_step,
        plan.activation,
        plan.use_bias,
        plan.scaling,
        plan.dropout,
        seed=plan.seed,
        name=name or plan.kind,
    )
    rate = schedule(plan.schedule, plan.learning_rate, _num_updates(plan))
    decay = {} if plan.weight_decay is None else {"weight_decay": plan.weight_decay}
    model.compile(clipped_optimizer(plan.optimizer, rate, plan.clip or NEVER, **decay))
    return model


def fitted(
    model: Forecaster, series: np.ndarray, plan: Plan, report: Callable[[Record], None] | None
) -> list[Record]:
    """Train a forecaster in place; return a record for each epoch."""
    train = series[: plan.train]
    model.adapt(train)
    progress = _Records(plan, report)
    best = keras.callbacks.EarlyStopping(patience=plan.epochs, restore_best_weights=True)
    callbacks = [progress, best] if plan.keep == "best" else [progress]
    model.fit(
        **_training_data(train, plan),
        epochs=plan.epochs,
        validation_data=_judging_data(series, plan),
        callbacks=callbacks,
        verbose=0,
    )
    # What Keras calls val_loss is the training part's where the last epoch is kept.
    kept = best.best_epoch if plan.keep == "best" else -1
    model.provenance.note_best(progress.records[kept])
    return progress.records


class _Records(keras.callbacks.Callback):
    """Keeps what every epoch reached, and stops a training that has diverged."""

    def __init__(self, plan: Plan, report: Callable[[Record], None] | None) -> None:
        super().__init__()
        self.plan, self.report = plan, report
        self.records: list[Record] = []
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        losses = {name: float(value) for name, value in (logs or {}).items()}
        if not all(map(math.isfinite, losses.values())):
            raise NumericalError(
                f"training: the loss must stay finite, found {losses} in epoch {epoch + 1}; lower "
                "the learning rate"
            )
        if self.plan.keep == "last":
            # Judged on the training pairs, with the weights the epoch ended with.
            losses["loss"] = losses.pop("val_loss", losses["loss"])
        seconds = time.perf_counter() - self.began
        left = seconds / (epoch + 1) * (self.plan.epochs - epoch - 1)
        timing = {"seconds": round(seconds, 3), "seconds_left": round(left, 1)}
        self.records.append({"epoch": epoch + 1, **losses, **timing})
        if self.report:
            self.report(self.records[-1])


def _training_data(train: np.ndarray, plan: Plan) -> dict[str, Any]:
    if plan.every_step:
        sizes = (plan.batch_size, plan.num_steps, plan.outputs)
        return {"x": SeriesBatches(train, *sizes, seed=plan.seed)}
    x, y = windows(train, plan.window or 1, plan.outputs)
    return {"x": x, "y": y, "batch_size": plan.batch_size}


def _judging_data(series: np.ndarray, plan: Plan) -> Any:
    """The pairs an epoch is judged by: of the valid part, or where it is not used of training."""
    start, stop = (plan.train, plan.train + plan.valid) if plan.keep == "best" else (0, plan.train)
    if plan.every_step:
        steps = min(plan.num_steps, stop - start - plan.outputs)
        return SeriesBatches(series[start:stop], 1, steps, plan.outputs, seed=None)
    return windows(
        series[max(0, start - (plan.window or 1)) : stop], plan.window or 1, plan.outputs
    )


def _num_updates(plan: Plan) -> int:
    if plan.every_step:
        rows = (plan.train - plan.outputs) // (plan.batch_size * plan.num_steps)
    else:
        pairs = plan.train - (plan.window or 1) - plan.outputs + 1
        rows = math.ceil(pairs / plan.batch_size)
    return max(1, rows * plan.epochs)
