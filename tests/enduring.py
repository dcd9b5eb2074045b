"""Train, save, load, evaluate and generate over and over in one process, and weigh the process.

Run by `test_endurance.py`, or alone: `python tests/enduring.py MINUTES` prints one JSON object.
Linux alone: it reads /proc/self.
"""

import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import kseq
from kseq.backend import alone

PAGE = os.sysconf("SC_PAGE_SIZE")
# Until the engine's and the system's pools of memory are full: rounds, and a part of the time.
WARM_UP, WARM_UP_PART = 40, 0.3
JUDGED = 20
CHARACTERS = 100_000
BLOCK = 1000
TEXT = "the sea was calm and the stars were bright over the old harbour wall. " * 120


def resident():
    """Give the resident memory in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6


def descriptors():
    """Give how many files the process holds open, this listing among them."""
    return len(list(Path("/proc/self/fd").iterdir()))


def threads():
    return len(list(Path("/proc/self/task").iterdir()))


def texts():
    vocab = kseq.Vocab(list(TEXT))
    return vocab, np.asarray(vocab.encode(list(TEXT)), "int32")


class Rounds:
    """What is done over and over: a short training, a file, an evaluation, a text.

    samples: after each round the steps so far, resident MB, open files and threads.
    """

    def __init__(self, folder):
        self.folder, self.steps, self.samples = folder, 0, []
        vocab, self.ids = texts()
        self.model = kseq.LanguageModel(vocab, cell="gru", units=32, num_layers=2, dropout=0.1)

    def run(self, number):
        batches = kseq.SequentialBatches(self.ids[:-900], 8, 20, seed=number)
        validation = kseq.SequentialBatches(self.ids[-900:], 4, 20)
        run_dir = self.folder / f"run-{number}"
        kseq.train(self.model, batches, 3, validation=validation, run_dir=run_dir, patience=2)
        self.steps += 3 * len(batches)
        path = self.folder / "model.keras"
        self.model.save(path)
        self.model = kseq.load_model(path)
        self.model.evaluate(validation, verbose=0)
        self.model.generate(["the sea ", "a star "], 200, temperature=0.8, seed=number)
        for file in run_dir.iterdir():
            file.unlink()
        run_dir.rmdir()
        # What Python has not got round to collecting is no leak.
        gc.collect()
        self.samples.append((self.steps, resident(), descriptors(), threads()))


def trained(minutes, folder):
    """Go on for so many minutes; give the samples after the warm-up, (R, 4), and the model."""
    rounds, began, spent, warm = Rounds(folder), time.monotonic(), 0.0, WARM_UP
    while spent < minutes or len(rounds.samples) < warm + JUDGED:
        rounds.run(len(rounds.samples))
        spent = (time.monotonic() - began) / 60
        if spent < WARM_UP_PART * minutes:
            warm = max(WARM_UP, len(rounds.samples))
    return np.array(rounds.samples[warm:]), rounds.model


def streamed(model):
    """Give the seconds of each block of a long text, and the resident MB after it.

    They are this process's own: others share the cores.
    """
    seconds, memory, made = [], [], 0
    pieces, began = model.stream("the sea ", CHARACTERS, temperature=0.9, seed=0), None
    for piece in pieces:
        began = began or time.process_time()
        made += len(piece)
        if made >= BLOCK * (len(seconds) + 1):
            now = time.process_time()
            seconds.append(now - began)
            memory.append(resident())
            began = now
    return np.array(seconds), np.array(memory)


def figures(minutes):
    """Give what the test judges, as a dictionary of plain numbers."""
    with tempfile.TemporaryDirectory() as folder:
        samples, model = trained(minutes, Path(folder))
    steps, memory, files, running = samples.T
    seconds, held = streamed(model)
    tenth = len(seconds) // 10
    return {
        "steps": int(steps[-1] - steps[0]),
        "rounds": len(samples),
        "resident_mb": round(float(memory[-1]), 1),
        "mb_per_1000_steps": round(float(np.polyfit(steps / 1000, memory, 1)[0]), 3),
        "open_files": [int(files.min()), int(files.max())],
        "threads": [int(running.min()), int(running.max())],
        "characters": len(seconds) * BLOCK,
        "characters_per_second": round(float(BLOCK / np.median(seconds))),
        "mb_while_generating": round(float(held[-1] - held[tenth]), 2),
        # The fastest blocks: those that were disturbed say nothing.
        "last_tenth_to_first": round(float(seconds[-tenth:].min() / seconds[:tenth].min()), 3),
    }


if __name__ == "__main__":
    with alone():
        print(json.dumps(figures(float(sys.argv[1]))))
