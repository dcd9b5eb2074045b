"""The same numbers again: to the bit in another process, and from the same seed on another engine.

Each run is a process of its own, whose hashes of strings, and so orders of sets, are others.
"""

import hashlib
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec

import numpy as np
import pytest
from children import running
from language_cases import draw_ids

import kseq
from kseq.generation import Sampling, generate_ids

RUN = """
import hashlib, json, sys
import numpy as np
import kseq
from keras import ops

options = json.loads(sys.argv[1])
epochs, rows, steps = options.pop("fit")

def digest(arrays):
    arrays = [ops.convert_to_numpy(a) for a in arrays]
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()

rng = np.random.default_rng(5)
ids = rng.integers(1, 28, rows * steps * 6 + 1).astype("int32")
vocab = kseq.Vocab([chr(97 + i) for i in range(27)])
batches = kseq.SequentialBatches(ids, rows, steps, seed=3)
model = kseq.LanguageModel(vocab, num_layers=2, seed=7, **options)
model.compile(kseq.clipped_optimizer("adam", 0.01))
found = {
    "initial": digest(model.get_weights()),
    "batches": digest([a for _ in range(2) for pair in batches for a in pair]),
    "sample": model.generate("abc", 60, temperature=1.0, seed=11),
}
batches.set_epoch(0)
held_out = kseq.RandomBatches(ids[: rows * steps + 1], rows, steps)
history = model.fit(batches, validation_data=held_out, epochs=epochs, verbose=0).history
print(json.dumps(found | {
    "history": {name: [float(v).hex() for v in values] for name, values in history.items()},
    "weights": digest(model.get_weights()),
    "optimizer": digest(model.optimizer.variables),
    "text": model.generate("abc", 60, temperature=1.0, seed=11),
}))
"""
SMALL = {"cell": "lstm", "units": 12, "dropout": 0.3, "embedding_dim": 8, "fit": [2, 4, 6]}
# From here on updates are fused and threads share the rows and the products.
LARGE = {"cell": "lstm", "units": 256, "dropout": 0.3, "fit": [2, 32, 35]}


def started(engine, options, order):
    """Start a run in a process whose strings hash in an order of its own."""
    more = {"KERAS_BACKEND": engine, "PYTHONHASHSEED": str(order), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-W", "ignore", "-c", RUN, json.dumps(options)]
    return running(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | more
    )


def result_of(process):
    out, err = process.communicate()
    assert process.returncode == 0, err[-2000:]
    return json.loads(out.splitlines()[-1])


def runs(*cases):
    """Give the results of runs side by side."""
    with ExitStack() as stack:
        processes = [stack.enter_context(started(*case)) for case in cases]
        return [result_of(process) for process in processes]


def test_another_process_ends_with_the_same_bits(engine):
    one, other = runs((engine, SMALL, 1), (engine, SMALL, 2))
    assert one == other
    assert len(one["history"]["loss"]) == 2
    assert one["weights"] != one["initial"]


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["simple_rnn", "gru", "lstm"])
def test_what_is_switched_on_by_size_ends_with_the_same_bits(engine, cell):
    options = LARGE | {"cell": cell}
    one, other = runs((engine, options, 1), (engine, options, 2))
    assert one == other


@pytest.mark.slow
@pytest.mark.engine("torch")
@pytest.mark.parametrize("cell", ["simple_rnn", "gru", "lstm"])
def test_every_engine_starts_from_the_same_weights_batches_and_samples(cell):
    engines = [name for name in ("torch", "jax", "tensorflow") if find_spec(name)]
    first, *others = runs(*((name, SMALL | {"cell": cell}, 1) for name in engines))
    for other in others:
        for what in ("initial", "batches", "sample"):
            assert other[what] == first[what]
        losses = [[float.fromhex(v) for v in run["history"]["val_loss"]] for run in (first, other)]
        # Dropout is the engine's own to draw.
        assert losses[0] == pytest.approx(losses[1], rel=0.2)


def checksum(ids):
    return hashlib.sha256(np.asarray(ids, "<i4").tobytes()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("batches", "stored"),
    [(kseq.SequentialBatches, "7db7e8949fe1"), (kseq.RandomBatches, "76f87a442ee6")],
    ids=["sequential", "random"],
)
def test_the_batches_of_a_seed_are_these(batches, stored):
    """On every engine, and from one release to the next."""
    source = batches(draw_ids(200), 3, 5, seed=1)
    assert checksum([pair for _ in range(3) for pair in source]) == stored


def test_the_samples_of_a_seed_are_these():
    """Of logits that are given; on every engine, and from one release to the next."""
    logits = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")

    def step(ids, state):
        place = 0 if state is None else state
        return logits[place][None, None].repeat(len(ids), 0), place + 1

    sampling = Sampling(temperature=0.9, top_p=0.95, seed=4)
    found = [ids.tolist() for ids in generate_ids(step, [np.array([1])] * 2, 40, sampling)]
    assert checksum(found) == "f8ce53a2e0fd"
