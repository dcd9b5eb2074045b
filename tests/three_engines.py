"""A part of a training in a process of its own, for the tests that go from engine to engine.

    KERAS_BACKEND=torch python tests/three_engines.py FOLDER STEP NAME ...

For each name of `learn` goes on with the run FOLDER/NAME and stops after STEP more steps, or at
the end for 0; writes weights and the optimizer's state to FOLDER/NAME.npz.
"""

import signal
import sys
import warnings
from pathlib import Path

import keras
import numpy as np

import kseq
from kseq.backend import alone
from kseq.runs.snapshots import ModelState

OPTIMIZERS = ("sgd", "asgd", "adam", "adamw", "rmsprop")
OF_SGD = {"sgd": (0.5, {"momentum": 0.9}), "asgd": (0.5, {})}
EPOCHS, B, T = 4, 3, 4
IDS = np.random.default_rng(0).choice(5, 120, p=[0.4, 0.3, 0.15, 0.1, 0.05]) + 1


class StopAfter(keras.callbacks.Callback):
    """Asks this process to stop, as Ctrl-C does, after so many steps."""

    reads_logs = False

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


def learn(folder, name, stop_after=0):
    """Train as far as asked; with carried state, offsets drawn, windows shuffled, a schedule.

    name: an optimizer, or "dropout", which is Adam with it.
    """
    optimizer, dropout = ("adam", 0.5) if name == "dropout" else (name, 0.0)
    make = kseq.RandomBatches if optimizer == "adamw" else kseq.SequentialBatches
    batches = make(IDS, B, T)
    vocab = kseq.Vocab(list("abcde"))
    model = kseq.LanguageModel(vocab, "gru", 6, 2, embedding_dim=4, dropout=dropout)
    rate = kseq.schedule("one_cycle", 0.02, EPOCHS * len(batches))
    rate, options = OF_SGD.get(optimizer, (rate, {}))
    model.compile(kseq.clipped_optimizer(optimizer, rate, **options))
    if optimizer == "asgd":
        # From the first step, where it is not resumed.
        model.optimizer.build(model.trainable_variables)
        model.optimizer.start_averaging()
    run = kseq.train(
        model,
        batches,
        EPOCHS,
        validation=kseq.SequentialBatches(IDS[:60], 2, T),
        run_dir=folder,
        resume=True,
        plateau=1 if optimizer == "sgd" else None,
        keep="last",
        callbacks=[StopAfter(stop_after)] if stop_after else [],
    )
    return model, run


def state_of(model):
    """Give every array of the model and of its optimizer by kind and number."""
    return {n: a for n, a in ModelState(model).read().items() if n.startswith(("model", "optim"))}


def main(folder, stop_after, names):
    warnings.simplefilter("ignore")
    for name in names:
        try:
            model, run = learn(folder / name, name, stop_after)
        except KeyboardInterrupt:
            continue
        losses = [[record["loss"], record["val_loss"]] for record in run.records]
        averaged = [record.get("averaged", False) for record in run.records]
        arrays = {"losses": losses, "averaged": averaged, **state_of(model)}
        np.savez(folder / f"{name}.npz", **arrays)


if __name__ == "__main__":
    with alone():
        main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
