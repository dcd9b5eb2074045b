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

IDS = np.random.default_rng(0).choice(5, 1300, p=[0.4, 0.3, 0.15, 0.1, 0.05]) + 1
RANK = int(os.environ.get("RANK", "0"))


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


def learn(
    folder,
    cell="gru",
    batches="SequentialBatches",
    optimizer="adam",
    dropout=0.0,
    epochs=2,
    rows=4,
    strike=None,
    **options,
):
    """Train; strike: after how many steps, in which process, which signal."""
    text = getattr(kseq, batches)(IDS, rows, 13 * 4 // rows)
    model = kseq.LanguageModel(kseq.Vocab(list("abcde")), cell, 8, 2, dropout=dropout)
    model.compile(kseq.clipped_optimizer(optimizer, 0.02, global_clipnorm=0.5))
    callbacks = [SignalAfter(strike[0], strike[2])] if strike and strike[1] == RANK else []
    judged = kseq.SequentialBatches(IDS[:400], 3, 7)
    folder = folder / "run"
    options = {"keep": "last", "validation": judged, "callbacks": callbacks, **options}
    run = kseq.train(model, text, epochs, run_dir=folder, resume=True, **options)
    return model, run


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
    state = {n: a for n, a in ModelState(model).read().items() if n.startswith(("model", "opt"))}
    np.savez(folder / f"{RANK}.npz", records=json.dumps(run.records), **state)


if __name__ == "__main__":
    with alone():
        main(Path(sys.argv[1]), json.loads(sys.argv[2]))
