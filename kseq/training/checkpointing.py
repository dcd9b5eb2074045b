"""Checkpoints while `fit` runs: by time or steps, within epochs too, and when asked to stop."""

from __future__ import annotations

import time
import warnings
from typing import Any

import keras

from kseq.backend import engine
from kseq.backend.processes import Team
from kseq.checks import positive_float, positive_int
from kseq.runs.checkpoints import Checkpoint
from kseq.runs.folder import RunFolder
from kseq.runs.records import Run
from kseq.runs.sharing import gathered, share_of
from kseq.runs.snapshots import Cursor, best_weights, put_back, resume_epoch, taken
from kseq.training.agreeing import settle
from kseq.training.keeper import Keeper
from kseq.training.stopping import Stop

# A checkpoint is taken at most so often that it costs two percent of the time.
LEAST_SHARE = 50


class Checkpointing(keras.callbacks.Callback):
    """Writes checkpoints when they are due, and puts a running `fit` back where one was taken.

    To be the last of the callbacks, so that what the others do to the model is in them.

    seconds: the least time between two.  steps: or so many steps between two.
    """

    # `kseq.nn.listening` then reads no metrics for it.
    reads_logs = False

    def __init__(
        self, keeper: Keeper, folder: RunFolder, batches: int, stop: Stop, team: Team
    ) -> None:
        super().__init__()
        self.team = team
        self.keeper, self.folder, self.batches, self.stop = keeper, folder, batches, stop
        self.start: Checkpoint | None = None
        self.cursor = Cursor()
        self.judging = False
        self.set_interval(None, None)
        self._note_saved(cost=0.0)

    def set_interval(self, seconds: float | None, steps: int | None) -> None:
        """Take a checkpoint after so many seconds, or steps; without both only at the end."""
        self.seconds = None if seconds is None else positive_float("checkpoint_seconds", seconds)
        self.steps = None if steps is None else positive_int("checkpoint_steps", steps)

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Give the model the state of a checkpoint, and the keeper its records."""
        _note_engine(checkpoint)
        self.start = share_of(checkpoint, self.team.place)
        self.cursor, records = put_back(checkpoint, self.keeper.trained)
        self.keeper.start(Run(records), best_weights(checkpoint))
        self.keeper.best_is_new = bool(checkpoint.facts.get("best_is_new"))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        done, seconds = 0, 0.0
        if self.start and self.cursor.batch and epoch == self.cursor.epoch:
            done, seconds = self.cursor.batch, self.cursor.seconds
            resume_epoch(self.start, self.model)
            self.keeper.count_from(done, seconds)
        self.cursor = Cursor(epoch, done)
        self.first, self.start, self.judging = done, None, False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps_since += 1
        self.cursor.batch = self.first + batch + 1
        # Whole epochs are for the judge.
        if self.cursor.batch < self.batches:
            self._pause()

    def on_test_begin(self, logs: Any = None) -> None:
        # The figures of training are gone when judging begins.
        figures = self.model.get_metrics_result()
        self.cursor.logs = {name: float(value) for name, value in figures.items()}
        self.judging = True
        self._pause()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._pause()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.cursor = Cursor(epoch + 1)
        self.judging = False
        is_due = self._settled()
        if not self.keeper.goes_on() or is_due or self.stop.asked:
            self.save(with_best=True)
        self.stop.act()

    def save(self, with_best: bool = False) -> None:
        """Write a checkpoint of where the training stands, and the best model before it."""
        began = time.perf_counter()
        keeper = self.keeper
        if with_best:
            self._save_best()
        self.cursor.seconds = keeper.seconds_of_training() if self.cursor.batch else 0.0
        state = taken(self.model, self.cursor, keeper.run, keeper.best_weights, self.batches)
        state = gathered(state, self.model, self.team)
        # Whether best.keras is still to be written.
        state.facts["best_is_new"] = keeper.best_is_new
        self.folder.save(state, keeper.run)
        self._note_saved(cost=time.perf_counter() - began)

    def _save_best(self) -> None:
        """Write the model of the best epoch, where it is another than the one written.

        Before the checkpoint that says so: killed in between, the same is written again.
        """
        if self.keeper.best_is_new:
            # On JAX asking for it brings its variables up to date.
            model = self.model
            if self.team.leads:
                with self.keeper.best_in_model():
                    self.folder.save_best(model)
            self.keeper.best_is_new = False

    def _pause(self) -> None:
        is_due = self._settled()
        if self.stop.asked:
            self.save(with_best=True)
            self.stop.act()
        elif is_due:
            self.save()

    def _settled(self) -> bool:
        """Return whether a checkpoint is due; several processes stop and save at the same step."""
        if self.team.is_alone:
            return self._is_due_by_steps() or self.is_due_by_time()
        is_due = settle(self.team, self.stop, self.is_due_by_time())
        return self._is_due_by_steps() or is_due

    def _is_due_by_steps(self) -> bool:
        return self.steps is not None and self.steps_since >= self.steps

    def is_due_by_time(self) -> bool:
        """Whether so much time has passed since the last checkpoint."""
        if self.seconds is None:
            return False
        least = max(self.seconds, LEAST_SHARE * self.cost)
        return time.perf_counter() - self.saved_at >= least

    def _note_saved(self, cost: float) -> None:
        self.cost, self.steps_since = cost, 0
        self.saved_at = time.perf_counter()


def _note_engine(checkpoint: Checkpoint) -> None:
    before = checkpoint.facts.get("engine")
    if before != engine():
        warnings.warn(
            f"trained on {before} until now, goes on on {engine()}: with the same weights, "
            "optimizer, schedule and data, but not to the bit, and with other draws of dropout",
            stacklevel=4,
        )
