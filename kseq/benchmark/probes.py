"""What start-up and data cost, each measured in a process of its own.

`python -m kseq.benchmark.probes NAME` writes one number on standard output.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHARACTERS = 20_000_000
_EPOCHS = 1000


def encoding() -> float:
    """Return how fast a vocabulary turns text into ids, character by character, in MB/s."""
    from kseq.data.corpora import load_corpus

    corpus = load_corpus("story")
    story = "".join(corpus.vocab.to_tokens(corpus.ids))
    text = story * (_CHARACTERS // len(story) + 1)
    corpus.vocab.encode(story)
    began = time.perf_counter()
    corpus.vocab.encode(text)
    return len(text) / 1e6 / (time.perf_counter() - began)


def next_batch() -> float:
    """Return the time to make a batch as a share of the time of a training step, in percent."""
    from kseq.benchmark.cases import Case
    from kseq.benchmark.measuring import Repeated
    from kseq.benchmark.training import BATCHES_PER_EPOCH, ids_of, kseq_fit
    from kseq.nn.batches import SequentialBatches

    case = Case("training", "next batch")
    batches = SequentialBatches(ids_of(case), case.batch_size, case.num_steps)
    count, seconds = Repeated(lambda: list(batches), BATCHES_PER_EPOCH).measure(0.2)
    tokens, training = _warm(kseq_fit(case)).measure(0.5)
    return 100 * (seconds / count) / (training * case.batch_size * case.num_steps / tokens)


def memory_growth() -> float:
    """Return by how much resident memory grows over a thousand epochs of `fit`, in MiB."""
    import keras

    from kseq.benchmark.cases import Case
    from kseq.benchmark.training import ids_of, language_model
    from kseq.nn.batches import SequentialBatches

    case = Case("training", "", units=8, num_layers=1, batch_size=2, num_steps=5)
    model = language_model(case)
    model.compile()
    held: list[float] = []
    note: Any = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: held.append(resident()))
    batches = SequentialBatches(ids_of(case)[:11], case.batch_size, case.num_steps)
    model.fit(batches, epochs=_EPOCHS, callbacks=[note], verbose=0)
    # What the first epochs allocate is kept and used again.
    return held[-1] - held[len(held) // 10]


def resident() -> float:
    """Return the memory this process holds now, in MiB.

    Example:
        >>> resident() > 1
        True
    """
    table = Path("/proc/self/statm")
    if not table.exists():
        from kseq.benchmark.worker import peak

        return peak()
    return int(table.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _warm(contender: Any) -> Any:
    contender.measure(0.0)
    return contender


PROBES: dict[str, Callable[[], float]] = {
    "encoding": encoding,
    "next-batch": next_batch,
    "memory-growth": memory_growth,
}

if __name__ == "__main__":
    sys.stdout.write(f"{PROBES[sys.argv[1]]()}\n")
