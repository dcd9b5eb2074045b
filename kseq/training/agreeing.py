"""What several processes do together while they train: read, add up, stop and save as one."""

from __future__ import annotations

import signal
from typing import Any

import keras

from kseq.backend.processes import Place, Team, check_place
from kseq.nn.sharing import AddUp, RowsOfBatches, check_shareable, set_apart
from kseq.runs.sharing import check_alike
from kseq.training.stopping import Stop


class Share:
    """What one process reads of a training, and the callbacks that keep it in step with others.

    batches, validation: its rows, or everything where it is alone.
    callbacks: to come first; none where it is alone.
    """

    def __init__(self, checkpointing: Any, batches: Any, validation: Any) -> None:
        team, model = checkpointing.team, checkpointing.keeper.trained
        self.batches, self.validation = batches, validation
        self.callbacks: list[keras.callbacks.Callback] = []
        if team.is_alone:
            return
        team.level(model.trainable_variables)
        set_apart(model, team.place.rank)
        self.batches = RowsOfBatches(batches, team.place)
        if hasattr(validation, "from_first_token"):
            self.validation = RowsOfBatches(validation.from_first_token(), team.place)
        add_up = AddUp(team, self.batches, self.validation, done=checkpointing.cursor.batch)
        self.callbacks = [add_up, Wishes(checkpointing)]


class Wishes(keras.callbacks.Callback):
    """Sends with each step what this process wishes for: to stop, or to save."""

    reads_logs = False

    def __init__(self, checkpointing: Any) -> None:
        super().__init__()
        self.checkpointing = checkpointing

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        own = self.checkpointing
        wish(own.team, own.stop, own.is_due_by_time())


def check_together(model: Any, batches: Any) -> Place:
    """Return which of several processes this one is, after a look at what they are to train.

    Raises:
        UsageError: an engine, an optimizer or a size of batches that cannot be shared.
    """
    here = check_place(batches.batch_size)
    if here.size > 1:
        check_shareable(model)
    return here


def check_all_agree(
    checkpointing: Any, batches: Any, held_out: Any, settings: dict[str, Any], keeps: bool
) -> None:
    """Refuse processes of which one trains something else, or at other times talks to the others.

    settings: of `settings_of`, with hashes of what is read.  keeps: whether there is a run folder.

    Raises:
        UsageError: as said, or two processes have one GPU; in every process.
    """
    if checkpointing.team.is_alone:
        return
    timing = {
        "epochs": checkpointing.keeper.epochs,
        "number of batches": len(batches),
        "number of held-out batches": 0 if held_out is None else len(held_out),
        "checkpoint_steps": checkpointing.steps,
        "run_dir": keeps,
    }
    check_alike({**settings, **timing}, checkpointing.team)
    checkpointing.team.check_devices(checkpointing.keeper.trained.variables)


def wish(team: Team, stop: Stop, is_due: bool) -> None:
    """Note what is to go with the next message: two signals, and whether to save."""
    asked = (stop.wished == signal.SIGINT, stop.wished == signal.SIGTERM)
    # The clocks differ: it is the leading process's that counts.
    team.wishes = [float(each) for each in (*asked, is_due and team.leads)]


def settle(team: Team, stop: Stop, is_due: bool) -> bool:
    """Tell `stop` what the processes agree on; return whether they are to save."""
    if team.heard is None:
        wish(team, stop, is_due)
    interrupted, terminated, due = team.agreed()
    # A signal that came after the message was sent goes with the next one.
    if terminated or interrupted:
        stop.asked = signal.SIGTERM if terminated else signal.SIGINT
    return bool(due)
