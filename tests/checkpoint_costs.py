"""What checkpoints cost a training: the time of one, and of asking after each step.

python tests/checkpoint_costs.py        prints one JSON object
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

import kseq
from kseq.backend import alone
from kseq.training import CHECKPOINT_SECONDS, checkpointing

SIZES = {"LSTM 2 x 256": (256, 2), "LSTM 2 x 1024": (1024, 2)}
SECONDS = 20
ROUNDS = 3


class Timed(checkpointing.Checkpointing):
    """Notes how long each checkpoint took, and all calls after a step together."""

    saves, calls = [], []

    def save(self, with_best=False):
        began = time.perf_counter()
        super().save(with_best)
        self.saves.append(time.perf_counter() - began)

    def on_train_batch_end(self, batch, logs=None):
        saved, began = len(self.saves), time.perf_counter()
        super().on_train_batch_end(batch, logs)
        if len(self.saves) == saved:
            self.calls.append(time.perf_counter() - began)


def trained(units, num_layers, folder, epochs):
    """Train on random ids with a checkpoint every two seconds; return the seconds it took."""
    ids = np.random.default_rng(0).integers(1, 28, 32 * (35 * 40 + 1)).astype("int32")
    model = kseq.LanguageModel(
        kseq.Vocab([chr(97 + i) for i in range(27)]), "lstm", units, num_layers
    )
    began = time.perf_counter()
    kseq.train(
        model,
        kseq.SequentialBatches(ids, 32, 35),
        epochs,
        run_dir=folder,
        checkpoint_seconds=2.0,
        keep="last",
    )
    return time.perf_counter() - began


def cost_of(units, num_layers):
    Timed.saves, Timed.calls = [], []
    with tempfile.TemporaryDirectory() as scratch:
        first = trained(units, num_layers, Path(scratch) / "warm", 1)
        epochs = max(1, round(SECONDS / first))
        for number in range(ROUNDS):
            trained(units, num_layers, Path(scratch) / f"{number}", epochs)
    save = statistics.median(Timed.saves)
    interval = max(CHECKPOINT_SECONDS, checkpointing.LEAST_SHARE * save)
    return {
        "checkpoint_ms": 1000 * save,
        "checkpoints": len(Timed.saves),
        "call_after_a_step_us": 1e6 * statistics.median(Timed.calls),
        "share_of_time_at_the_default_interval": save / interval,
    }


def main():
    kseq.training.Checkpointing = Timed
    with alone():
        print(json.dumps({name: cost_of(*size) for name, size in SIZES.items()}))


if __name__ == "__main__":
    main()
