"""train: `fit`, and what a person wants around it.

The figures of every epoch and the time left, the best weights kept, early stopping, samples on
the way, and a run folder from which a training that was stopped goes on to the bit (`kseq.runs`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kseq.backend.processes import joined
from kseq.checks import one_of, positive_int
from kseq.data import windows
from kseq.errors import UsageError
from kseq.nn.averaging import JudgeAverage, begin_anew, take_average
from kseq.nn.batches import RestOfEpoch, SequentialBatches
from kseq.runs.folder import RunFolder
from kseq.runs.records import Record, Run
from kseq.runs.settings import settings_of
from kseq.runs.sharing import begun
from kseq.training.agreeing import Share, check_all_agree, check_together
from kseq.training.checkpointing import Checkpointing
from kseq.training.keeper import Keeper
from kseq.training.stopping import stopping_gently

CHECKPOINT_SECONDS = 30.0


def train(
    model: Any,
    batches: Any,
    epochs: int = 10,
    *,
    validation: Any = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_seconds: float | None = CHECKPOINT_SECONDS,
    checkpoint_steps: int | None = None,
    patience: int | None = None,
    plateau: int | None = None,
    keep: str = "best",
    prompts: Sequence[str] = (),
    sample_every: int = 0,
    report: Callable[[Record], None] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Run:
    """Train a language model; return the `Run`, the model having its best weights (or its last).

    With a run folder, a training that is stopped in whatever way and resumed ends with the
    weights, records and texts of one that was not, to the bit: same versions, engine, threads and
    device.  Ctrl-C and SIGTERM then wait for the end of the step and leave a checkpoint of it,
    the second of them acts at once (of several processes all stop at the same step); after a
    SIGKILL what was trained since the last checkpoint is trained again.  A run may go on on another
    engine, in the middle of an epoch too: with the same weights, optimizer, schedule and data, but
    to rounding, and with other draws of dropout.

    Started by `torchrun`, the processes train one model together, each on its rows of the batches
    (`kseq.nn.sharing`); the first of them reports and saves.  They may resume in another number.
    `model.fit` does not know of the others: each process trains a model of its own.

    Args:
        model: a `LanguageModel`; compiled with its defaults if it is not compiled yet.
        batches: `SequentialBatches` or `RandomBatches`.
        epochs: the epochs of the whole training, those before a resume included.
        validation: held-out text, a Corpus or batches, judged after every epoch.
        run_dir: folder for the history and checkpoints, made if missing; None keeps nothing.
        resume: go on from the newest whole checkpoint in `run_dir`, if there is one.
        overwrite: replace the run in `run_dir`, if there is one.  It is kept in a hidden folder
            there until the new one has finished, and put back if that ends, in whatever way,
            before its first checkpoint.
        checkpoint_seconds: least time between two checkpoints; they are rarer where they would
            cost more than 2 % of the training.  None takes them by steps, or at the end alone.
        checkpoint_steps: or take one after so many steps.
        patience: stop after so many epochs without a better loss; of averaged SGD the epochs
            before its mean begins do not count.
        plateau: quarter a constant learning rate after so many epochs without a better loss.
        keep: whose weights the model ends with, "best" (lowest held-out loss) or "last".
        prompts: texts to continue greedily for the records.
        sample_every: after so many epochs; 0 for never.
        report: called with the record of each epoch.
        callbacks: more Keras callbacks; what they remember themselves is in no checkpoint.

    Raises:
        UsageError: a size that cannot be used; a run folder of other settings, or with a run that
            is to be neither gone on with nor overwritten; or processes that would not train the
            same, or that have one GPU.
        DataError: the text is another than the run was begun with.
        FileError: the run folder cannot be written to, is in use by another training, or holds
            no checkpoint that is whole.
        NumericalError: the loss, or the held-out loss, is not finite, or far worse than guessing;
            the checkpoints before are kept.

    Example:
        >>> import numpy as np
        >>> from kseq import LanguageModel, SequentialBatches, Vocab
        >>> model = LanguageModel(Vocab(list("ab")), cell="gru", units=4, num_layers=1)
        >>> run = train(model, SequentialBatches(np.array([1, 2] * 40), 2, 5), epochs=2)
        >>> [record["epoch"] for record in run.records]
        [1, 2]
    """
    epochs = positive_int("epochs", epochs)
    one_of("keep", keep, ("best", "last"))
    _check_one_wish(resume, overwrite)
    if not model.compiled:
        model.compile()
    keeper = Keeper(model, epochs, batches.tokens_per_epoch)
    keeper.set_patience(patience, plateau)
    here, keeps = check_together(model, batches), run_dir is not None
    held_out = held_out_batches(validation, batches)
    folder = RunFolder(run_dir if here.leads else None, overwrite)
    if here.leads:
        keeper.set_reports(report, prompts, sample_every)
    with joined(here) as team, stopping_gently(keeps, patient=here.size > 1) as stop:
        checkpointing = Checkpointing(keeper, folder, len(batches), stop, team)
        checkpointing.set_interval(checkpoint_seconds, checkpoint_steps)
        judging = {"patience": patience, "plateau": plateau, "keep": keep}
        settings = settings_of(model, batches, validation, **judging)
        check_all_agree(checkpointing, batches, held_out, settings, keeps)
        with folder.in_use():
            start = begun(folder, settings, resume, team)
            if start:
                checkpointing.go_on_from(start)
            else:
                begin_anew(model)
            added = [JudgeAverage(), keeper, *callbacks, *([checkpointing] if keeps else [])]
            share = Share(checkpointing, batches, held_out)
            _fit(checkpointing, share, [*share.callbacks, *added])
            folder.finish()
    if keep == "best":
        keeper.restore_best()
    else:
        take_average(model)
    return keeper.run


def _check_one_wish(resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise UsageError("resume: must stand without overwrite, found both; leave one of them out")


def _fit(checkpointing: Checkpointing, share: Share, callbacks: Sequence[Any]) -> None:
    """Train the epochs that are left: the rest of one that was underway, and then whole ones."""
    keeper, cursor, batches = checkpointing.keeper, checkpointing.cursor, share.batches
    options = {"validation_data": share.validation, "callbacks": list(callbacks), "verbose": 0}
    batches.set_epoch(cursor.epoch)
    if cursor.batch == len(batches):
        _judge(checkpointing, share)
    elif cursor.batch:
        rest, epoch = RestOfEpoch(batches, cursor.batch), cursor.epoch
        # TensorFlow makes the metrics in the first step, and what they had is put back before it.
        keeper.trained.test_on_batch(*rest[0])
        keeper.trained.fit(rest, epochs=epoch + 1, initial_epoch=epoch, **options)
    if keeper.goes_on():
        done = len(keeper.run.records)
        keeper.trained.fit(batches, epochs=keeper.epochs, initial_epoch=done, **options)


def _judge(checkpointing: Checkpointing, share: Share) -> None:
    """Finish an epoch whose batches were all done when the training was stopped."""
    keeper, cursor = checkpointing.keeper, checkpointing.cursor
    keeper.on_epoch_begin(cursor.epoch)
    keeper.count_from(cursor.batch, cursor.seconds)
    logs = dict(cursor.logs)
    if share.validation is not None:
        keeper.on_test_begin()
        judges = [JudgeAverage(), *share.callbacks]
        options = {"callbacks": judges, "verbose": 0, "return_dict": True}
        figures = keeper.trained.evaluate(share.validation, **options)
        logs |= {f"val_{name}": value for name, value in figures.items()}
    keeper.trained.provenance.note_epoch({"epoch": cursor.epoch + 1, **logs})
    keeper.on_epoch_end(cursor.epoch, logs)
    checkpointing.set_model(keeper.trained)
    checkpointing.on_epoch_end(cursor.epoch)


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
