"""The record of each epoch, the best weights, and when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from kseq.checks import non_negative_int, positive_int
from kseq.errors import NumericalError, UsageError
from kseq.nn.averaging import averaged_weights, averaging_of, mean_in_model, start_when_stuck
from kseq.nn.optimizers import inside, skipped_steps
from kseq.nn.watching import StepWatch
from kseq.runs.records import Record, Run, judged

# A loss so many times that of guessing uniformly is not learning any more.
DIVERGED = 10
PLATEAU_FACTOR = 0.25


class Keeper(keras.callbacks.Callback):
    """Makes the record of each epoch, keeps the best weights, and knows when to stop.

    Whatever it decides is a function of the records, so that a resumed run decides the same.  A
    training whose numbers are no numbers any more ends with the step named.
    """

    # `kseq.nn.listening` then reads no metrics for it.
    reads_logs = False

    def __init__(self, model: Any, epochs: int, tokens_per_epoch: int) -> None:
        super().__init__()
        self.trained, self.watch = model, StepWatch(model)
        self.epochs, self.tokens_per_epoch = epochs, tokens_per_epoch
        self.set_patience(None, None)
        self.set_reports(None, (), 0)
        self.start(Run(), None)

    def start(self, run: Run, best_weights: Sequence[np.ndarray] | None) -> None:
        """Keep the records in `run`, which may hold those of epochs before a resume."""
        self.run, self.best_weights = run, best_weights
        self.best_is_new = False
        self._note_stop()

    def set_patience(self, patience: int | None, plateau: int | None) -> None:
        """Stop after `patience`, lower the learning rate after `plateau` epochs of no gain."""
        self.patience = None if patience is None else positive_int("patience", patience)
        self.plateau = None if plateau is None else positive_int("plateau", plateau)
        if self.plateau is not None:
            _check_constant(self.trained.optimizer)

    def set_reports(
        self, report: Callable[[Record], None] | None, prompts: Sequence[str], every: int
    ) -> None:
        """Call `report` with each record; continue `prompts` after each `every` epochs."""
        self.report, self.prompts = report, list(prompts)
        self.sample_every = non_negative_int("sample_every", every)

    def goes_on(self) -> bool:
        """Whether epochs are left and, after a resume, patience too."""
        return len(self.run.records) < self.epochs and not self._is_out_of_patience()

    def count_from(self, step: int, seconds: float) -> None:
        """Say that so many steps of the epoch were done in so many seconds before a resume."""
        self.began -= seconds
        self.first_step = step
        self.watch.start(self.watch.epoch, step)

    def seconds_of_training(self) -> float:
        """Return how long the epoch underway has been trained."""
        return (self.trained_until or time.perf_counter()) - self.began

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()
        self.trained_until: float | None = None
        self.first_step = 0
        self.watch.start(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.watch.check(self.first_step + batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self.trained_until = self._now()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        record = self._record(epoch, dict(logs or {}))
        _check_learning(record, len(self.trained.vocab))
        _check_judged(record)
        self.watch.check_weights()
        self.run.records.append(record)
        if self.run.best_epoch == record["epoch"]:
            self.best_weights, self.best_is_new = averaged_weights(self.trained), True
        self._lower_rate()
        start_when_stuck(self.trained.optimizer, [judged(each) for each in self.run.records])
        self._note_stop()
        if self.report:
            self.report(record)
        if self.run.stopped_early:
            self.trained.stop_training = True

    def restore_best(self) -> None:
        """Give the model the weights of its best epoch, and that epoch's figures."""
        if self.best_weights is not None:
            self.trained.set_weights(self.best_weights)
            self.trained.provenance.note_best(self.run.records[self.run.best_epoch - 1])

    @contextmanager
    def best_in_model(self) -> Iterator[None]:
        """Give the model its best weights while the block runs."""
        weights, results = self.trained.get_weights(), self.trained.provenance.results
        self.restore_best()
        try:
            yield
        finally:
            self.trained.set_weights(weights)
            self.trained.provenance.results = results

    def _record(self, epoch: int, logs: dict[str, Any]) -> Record:
        now = self._now()
        record: Record = {
            "epoch": epoch + 1,
            **{name: float(value) for name, value in logs.items()},
            "learning_rate": float(
                keras.ops.convert_to_numpy(self.trained.optimizer.learning_rate)
            ),
            "tokens_per_second": self.tokens_per_epoch / max(self.seconds_of_training(), 1e-9),
            "seconds": now - self.began,
            "seconds_left": self._seconds_left(epoch, now - self.began),
            "skipped_steps": skipped_steps(self.trained.optimizer),
            **averaging_of(self.trained),
        }
        if self.prompts and self.sample_every and (epoch + 1) % self.sample_every == 0:
            with mean_in_model(self.trained):
                record["samples"] = self.trained.generate(self.prompts, 50)
        return record

    def _now(self) -> float:
        # JAX computes behind the scenes: reading a value waits for the last step.
        keras.ops.convert_to_numpy(self.trained.optimizer.iterations.value)
        return time.perf_counter()

    def _seconds_left(self, epoch: int, latest: float) -> float:
        recent = [record["seconds"] for record in self.run.records[-8:]] + [latest]
        return float(np.median(recent)) * (self.epochs - epoch - 1)

    def _is_out_of_patience(self) -> bool:
        if self.patience is None:
            return False
        # No gain is what begins a mean: patience is for the mean, where there is to be one.
        records = self.run.records
        without_mean = [each["epoch"] for each in records if not each.get("averaged", True)]
        return len(records) - max([self.run.best_epoch, *without_mean]) >= self.patience

    def _note_stop(self) -> None:
        epochs_are_left = len(self.run.records) < self.epochs
        self.run.stopped_early = epochs_are_left and self._is_out_of_patience()

    def _lower_rate(self) -> None:
        records = self.run.records
        rates = [record["learning_rate"] for record in records]
        same = next((n for n, rate in enumerate(reversed(rates)) if rate != rates[-1]), len(rates))
        waited = min(len(records) - self.run.best_epoch, same)
        if self.plateau is not None and waited >= self.plateau:
            inside(self.trained.optimizer).learning_rate = rates[-1] * PLATEAU_FACTOR


def _check_constant(optimizer: Any) -> None:
    rate = inside(optimizer).get_config()["learning_rate"]
    if isinstance(rate, dict):
        raise UsageError(
            "plateau: the learning rate must be a number, found a schedule "
            f"({rate['class_name']}); leave plateau out or give a number"
        )


def _check_learning(record: Record, vocab_size: int) -> None:
    most = DIVERGED * max(1.0, math.log(vocab_size))
    # Penalties of the weights and outputs are in the loss alone.
    nats = math.log(record["perplexity"]) if record.get("perplexity", 0) > 0 else record["loss"]
    if not (math.isfinite(record["loss"]) and nats <= most):
        raise NumericalError(
            f"loss: must stay finite and near or below guessing ({math.log(vocab_size):.1f} nats), "
            f"found {nats:.3g} in epoch {record['epoch']} "
            f"({record['skipped_steps']} steps skipped); lower the learning rate"
        )


def _check_judged(record: Record) -> None:
    if not math.isfinite(judged(record)):
        raise NumericalError(
            f"val_loss: must stay finite, found {judged(record)} on the held-out text in epoch "
            f"{record['epoch']}, whose loss in training was {record['loss']:.3g}; lower the "
            "learning rate, or clip (kseq.clipped_optimizer)"
        )
