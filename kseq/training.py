"""train: `fit`, and what a person wants around it.

The figures of every epoch and the time left, the best weights kept, early stopping, samples on
the way, and a run folder that a stopped training goes on from (`kseq.runs`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kseq.checks import non_negative_int, one_of, positive_int
from kseq.data import windows
from kseq.errors import NumericalError, UsageError
from kseq.nn.batches import SequentialBatches
from kseq.nn.optimizers import skipped_steps
from kseq.runs import Record, Run, RunFolder, settings_of

# A loss so many times that of guessing uniformly is not learning any more.
DIVERGED = 10
PLATEAU_FACTOR = 0.25


def train(
    model: Any,
    batches: Any,
    epochs: int = 10,
    *,
    validation: Any = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    patience: int | None = None,
    plateau: int | None = None,
    keep: str = "best",
    prompts: Sequence[str] = (),
    sample_every: int = 0,
    report: Callable[[Record], None] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Train a language model; return the `Run`, the model having its best weights (or its last).

    Args:
        model: a `LanguageModel`; compiled with its defaults if it is not compiled yet.
        batches: `SequentialBatches` or `RandomBatches`.
        epochs: the epochs of the whole training, those before a resume included.
        validation: held-out text, a Corpus or batches, judged after every epoch.
        run_dir: folder for the history and checkpoints, made if missing; None keeps nothing.
        resume: go on after the last epoch in `run_dir`, if there is one.
        patience: stop after so many epochs without a better loss.
        plateau: quarter a constant learning rate after so many epochs without a better loss.
        keep: whose weights the model ends with, "best" (lowest held-out loss) or "last".
        prompts: texts to continue greedily for the records.
        sample_every: after so many epochs; 0 for never.
        report: called with the record of each epoch.
        callbacks: more Keras callbacks.

    Raises:
        UsageError: a size that cannot be used, or a run folder of other settings.
        FileError: the run folder cannot be written to.
        NumericalError: the loss is not finite, or far worse than guessing.

    Example:
        >>> from kseq import LanguageModel, Vocab
        >>> model = LanguageModel(Vocab(list("ab")), cell="gru", units=4, num_layers=1)
        >>> run = train(model, SequentialBatches(np.array([1, 2] * 40), 2, 5), epochs=2)
        >>> [record["epoch"] for record in run.records]
        [1, 2]
    """
    epochs = positive_int("epochs", epochs)
    one_of("keep", keep, ("best", "last"))
    if not model.compiled:
        model.compile()
    folder = RunFolder(run_dir)
    keeper = Keeper(model, folder, epochs, batches.tokens_per_epoch)
    keeper.set_patience(patience, plateau)
    keeper.set_reports(report, prompts, sample_every)
    run = Run(folder.start(model, settings_of(model, batches), resume))
    keeper.start(run)
    if keeper.goes_on():
        if not run.records:
            batches.set_epoch(0)
        model.fit(
            batches,
            epochs=epochs,
            initial_epoch=len(run.records),
            validation_data=held_out_batches(validation, batches),
            callbacks=[keeper, *callbacks],
            verbose=0,
        )
    if keep == "best":
        keeper.restore_best()
    return run


def held_out_batches(held_out: Any, batches: Any) -> Any:
    """Return batches that judge a held-out Corpus with little waste; batches as they are.

    A short text gets fewer rows, so that the cold start of each weighs little, and windows of
    equal length, so that few tokens are left over.
    """
    if held_out is None or isinstance(held_out, keras.utils.PyDataset):
        return held_out
    rows, steps = windows.evaluation_layout(
        len(held_out), batches.batch_size, batches.num_steps, held_out.label
    )
    return SequentialBatches(held_out, rows, steps, seed=None)


class Keeper(keras.callbacks.Callback):
    """Makes the record of each epoch, keeps checkpoints and best weights, and knows when to stop.

    Whatever it decides is a function of the records, so that a resumed run decides the same.
    """

    def __init__(self, model: Any, folder: RunFolder, epochs: int, tokens_per_epoch: int) -> None:
        super().__init__()
        self.trained, self.folder = model, folder
        self.epochs, self.tokens_per_epoch = epochs, tokens_per_epoch
        self.set_patience(None, None)
        self.set_reports(None, (), 0)
        self.start(Run())

    def start(self, run: Run) -> None:
        """Keep the records in `run`, which may hold those of epochs before a resume."""
        self.run = run
        self.best_weights = self.folder.best_weights() if run.records else None
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

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()
        self.trained_until: float | None = None

    def on_test_begin(self, logs: Any = None) -> None:
        self.trained_until = self._now()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        record = self._record(epoch, dict(logs or {}))
        _check_learning(record, len(self.trained.vocab))
        self.run.records.append(record)
        is_best = self.run.best_epoch == record["epoch"]
        if is_best:
            self.best_weights = self.trained.get_weights()
        self._lower_rate()
        self.folder.keep(self.trained, self.run, is_best)
        if self.report:
            self.report(record)
        if self._is_out_of_patience():
            self._note_stop()
            self.folder.write_history(self.run)
            self.trained.stop_training = True

    def restore_best(self) -> None:
        """Give the model the weights of its best epoch, and that epoch's figures."""
        if self.best_weights is not None:
            self.trained.set_weights(self.best_weights)
            self.trained.provenance.note_best(self.run.records[self.run.best_epoch - 1])

    def _record(self, epoch: int, logs: dict[str, Any]) -> Record:
        now = self._now()
        training_seconds = (self.trained_until or now) - self.began
        record: Record = {
            "epoch": epoch + 1,
            **{name: float(value) for name, value in logs.items()},
            "learning_rate": float(
                keras.ops.convert_to_numpy(self.trained.optimizer.learning_rate)
            ),
            "tokens_per_second": self.tokens_per_epoch / max(training_seconds, 1e-9),
            "seconds": now - self.began,
            "seconds_left": self._seconds_left(epoch, now - self.began),
            "skipped_steps": skipped_steps(self.trained.optimizer),
        }
        if self.prompts and self.sample_every and (epoch + 1) % self.sample_every == 0:
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
        done = len(self.run.records)
        return self.patience is not None and done - self.run.best_epoch >= self.patience

    def _note_stop(self) -> None:
        epochs_are_left = len(self.run.records) < self.epochs
        self.run.stopped_early = epochs_are_left and self._is_out_of_patience()

    def _lower_rate(self) -> None:
        records = self.run.records
        rates = [record["learning_rate"] for record in records]
        same = next((n for n, rate in enumerate(reversed(rates)) if rate != rates[-1]), len(rates))
        waited = min(len(records) - self.run.best_epoch, same)
        if self.plateau is not None and waited >= self.plateau:
            self.trained.optimizer.learning_rate = rates[-1] * PLATEAU_FACTOR


def _check_constant(optimizer: Any) -> None:
    rate = optimizer.get_config()["learning_rate"]
    if isinstance(rate, dict):
        raise UsageError(
            "plateau: the learning rate must be a number, found a schedule "
            f"({rate['class_name']}); leave plateau out or give a number"
        )


def _check_learning(record: Record, vocab_size: int) -> None:
    most = DIVERGED * max(1.0, math.log(vocab_size))
    if not record["loss"] <= most:
        raise NumericalError(
            f"loss: must stay finite and near or below guessing ({math.log(vocab_size):.1f} nats), "
            f"found {record['loss']:.3g} in epoch {record['epoch']} "
            f"({record['skipped_steps']} steps skipped); lower the learning rate"
        )
