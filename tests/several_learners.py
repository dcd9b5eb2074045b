"""A training to be started by torchrun, for the tests of several processes and their harness.

    torchrun --nproc-per-node 2 tests/several_learners.py FOLDER '{"cell": "gru", ...}'

Each process trains as the settings say, in the run FOLDER/run; writes its weights, optimizer state
and records to FOLDER/RANK.npz.
"""

import json
import os
import signal
import sys
import warnings
from pathlib import Path

import keras
import numpy as np

import kseq
from kseq.backend import alone
from kseq.runs.snapshots import ModelState

IDS = np.random.default_rng(0).choice(5, 1301, p=[0.4, 0.3, 0.15, 0.1, 0.05]) + 1
RANK = int(os.environ.get("RANK", "0"))


class OwnModel(kseq.LanguageModel):
    """What a step of it is, kseq cannot know."""


class SignalAfter(keras.callbacks.Callback):
    """Sends a signal to one of the processes, this one, after so many steps."""

    reads_logs = False

    def __init__(self, steps, number):
        super().__init__()
        self.left, self.number = steps, number

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)


class Spoil(keras.callbacks.Callback):
    """Makes one step's gradient infinite in this process, its loss and its rows being fine."""

    reads_logs = False

    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        self.hold = self.left == 0 and self.model.train_function.parts
        if self.hold:
            self.gradients = self.hold.gradients
            self.hold.gradients = lambda *of: [g * float("inf") for g in self.gradients(*of)]

    def on_train_batch_end(self, batch, logs=None):
        if self.hold:
            self.hold.gradients = self.gradients


def learn(
    folder,
    cell="gru",
    batches="SequentialBatches",
    optimizer="adam",
    dropout=0.0,
    epochs=2,
    rows=4,
    strike=None,
    spoil=None,
    own=False,
    cut=0,
    spread=0,
    regularization=None,
    averages=False,
    **options,
):
    """Train; strike: after how many steps, in which process, which signal; spoil: the first two;
    own: a class of one's own, with which Keras's step is taken; cut: how many tokens are left out
    in all processes but the first; spread: of drawn lengths; averages: from the first step."""
    drawn = {"num_steps_spread": spread} if spread else {}
    text = getattr(kseq, batches)(IDS[: len(IDS) - cut * RANK], rows, 13 * 4 // rows, **drawn)
    make = OwnModel if own else kseq.LanguageModel
    model = make(kseq.Vocab(list("abcde")), cell, 8, 2, dropout=dropout, **(regularization or {}))
    rate, more = (2.0, {"nonmonotone": 1}) if optimizer == "asgd" else (0.02, {})
    model.compile(kseq.clipped_optimizer(optimizer, rate, global_clipnorm=0.5, **more))
    if averages:
        model.optimizer.build(model.trainable_variables)
        model.optimizer.start_averaging()
    callbacks = [SignalAfter(strike[0], strike[2])] if strike and strike[1] == RANK else []
    callbacks += [Spoil(spoil[0])] if spoil and spoil[1] == RANK else []
    judged = kseq.SequentialBatches(IDS[:400], 3, 7)
    folder = folder / "run"
    options = {"keep": "last", "validation": judged, "callbacks": callbacks, **options}
    run = kseq.train(model, text, epochs, run_dir=folder, resume=True, **options)
    return model, run


def state_of(model):
    """Give every array of the model and of its optimizer by kind and number."""
    return {n: a for n, a in ModelState(model).read().items() if n.startswith(("model", "opt"))}


def main(folder, settings):
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        model, run = learn(folder, **settings)
    except KeyboardInterrupt:
        sys.exit(130)
    except kseq.KseqError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    np.savez(folder / f"{RANK}.npz", records=json.dumps(run.records), **state_of(model))


if __name__ == "__main__":
    with alone():
        main(Path(sys.argv[1]), json.loads(sys.argv[2]))
