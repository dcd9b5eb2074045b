"""The lesson of a language model that reads ahead: wonderful figures, and no use for them.

The backward half of a bidirectional layer has read token t+1 when the model is asked for it, so
the training perplexity says only how well it copies.  Where the future is withheld, as it is
whenever a text is to be continued, the same weights are at a loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.checks import positive_int
from kseq.data.corpora import Corpus
from kseq.data.floors import ngram_floors
from kseq.nn.batches import SequentialBatches
from kseq.nn.initializers import Draw
from kseq.nn.metrics import Perplexity
from kseq.nn.optimizers import clipped_optimizer
from kseq.nn.recurrent import LSTM

EPOCHS = 500
PROMPT = "time traveller"
_JUDGED_AT_ONCE = 128
_LSTM: Any = LSTM  # type checkers lose Keras's constructor behind the mixin


@dataclass(eq=False)
class SeeingAhead:
    """What came of the lesson.

    records: epoch and perplexity of the training, which sees what it predicts.
    withheld: perplexity on the training text where each window ends with the token before the
        one to be predicted.
    bigram: perplexity of guessing bigrams on the training text.
    text: a prompt and what the model adds to it, one likeliest token after the other.
    parameters: how many numbers were learnt.
    """

    records: list[dict[str, float]] = field(default_factory=list)
    withheld: float = math.nan
    bigram: float = math.nan
    text: str = ""
    parameters: int = 0

    @property
    def perplexity(self) -> float:
        """Training perplexity, the median of the last 20 epochs."""
        return float(np.median([record["perplexity"] for record in self.records[-20:]]))


class _ReadsAhead(keras.Model):
    """One-hot tokens -> bidirectional LSTMs -> logits (B, T, V), float32."""

    def __init__(self, vocab_size: int, units: int, num_layers: int, seed: int) -> None:
        super().__init__(name="reads_ahead")  # TensorFlow takes no name that begins with "_"
        draw = Draw("keras", seed)
        self.vocab_size = vocab_size
        self.halves = [_both_ways(units, draw) for _ in range(num_layers)]
        self.dense = keras.layers.Dense(vocab_size, kernel_initializer=draw("kernel"))

    def call(self, ids: Any) -> Any:
        x = ops.one_hot(ids, self.vocab_size, dtype=self.compute_dtype)
        for layer in self.halves:
            x = layer(x)
        return ops.cast(self.dense(x), "float32")


def _both_ways(units: int, draw: Draw) -> keras.layers.Bidirectional:
    forward, backward = (
        _LSTM(
            units,
            kernel_initializer=draw("kernel"),
            recurrent_initializer=draw("recurrent_kernel"),
            return_sequences=True,
            go_backwards=backward,
            seed=draw.seed,
        )
        for backward in (False, True)
    )
    return keras.layers.Bidirectional(forward, backward_layer=backward)


def seeing_ahead(
    corpus: Corpus,
    units: int = 256,
    num_layers: int = 2,
    epochs: int = EPOCHS,
    seed: int = 0,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> SeeingAhead:
    """Train the bidirectional language model of the book; return what it is worth.

    32 rows of 35 steps, stochastic gradient descent at 1, clipped at a global norm of 1.  The
    state is zero at the start of every batch: the future has none to be carried.

    Args:
        corpus: the training text; the book takes 10,000 characters of The Time Machine.
        units: of each LSTM, in each direction.
        num_layers: of them.
        epochs: times the text is read.
        seed: draws the weights and the batches.
        report: called after each epoch with its number, loss and perplexity.

    Raises:
        UsageError: a size that is not a positive whole number.
        DataError: the text is too short for one batch.

    Source: Dive into Deep Learning 9.4.

    Example:
        >>> corpus = Corpus.from_text("time traveller " * 80)
        >>> found = seeing_ahead(corpus, units=4, num_layers=1, epochs=1)
        >>> len(found.text) - len(PROMPT)
        50
    """
    epochs, units = positive_int("epochs", epochs), positive_int("units", units)
    batches = SequentialBatches(corpus, 32, 35, seed=seed)
    model = _ReadsAhead(len(corpus.vocab), units, positive_int("num_layers", num_layers), seed)
    model.compile(
        clipped_optimizer("sgd", 1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=[Perplexity()],
    )
    notes = _Notes(report)
    model.fit(batches, epochs=epochs, callbacks=[notes], verbose=0)
    return SeeingAhead(
        notes.records,
        _withheld(model, corpus.ids, batches.num_steps),
        ngram_floors(corpus).bigram,
        _continued(model, corpus, PROMPT, 50),
        model.count_params(),
    )


class _Notes(keras.callbacks.Callback):
    def __init__(self, report: Callable[[dict[str, Any]], None] | None) -> None:
        super().__init__()
        self.report, self.records = report, []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        figures = {name: float((logs or {})[name]) for name in ("loss", "perplexity")}
        self.records.append({"epoch": epoch + 1, **figures})
        if self.report is not None:
            self.report(self.records[-1])


def _withheld(model: Any, ids: np.ndarray, num_steps: int, windows: int = 1024) -> float:
    """Perplexity of the token after each of `windows` windows, evenly spread over the text."""
    starts = np.linspace(0, len(ids) - num_steps - 1, windows).astype(int)
    places = starts[:, None] + np.arange(num_steps + 1)
    nats = [
        _last_nats(model, ids[rows[:, :-1]], ids[rows[:, -1]])
        for rows in np.array_split(places, windows // _JUDGED_AT_ONCE)
    ]
    return math.exp(float(np.concatenate(nats).mean()))


def _last_nats(model: Any, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    logits = _last_logits(model, inputs)
    totals = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    return totals - logits[np.arange(len(targets)), targets]


def _last_logits(model: Any, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict_on_batch(inputs))[:, -1].astype("float64")


def _continued(model: Any, corpus: Corpus, prompt: str, length: int) -> str:
    """Add the likeliest tokens one by one, each read off as many as the prompt has."""
    ids, window = list(corpus.encode(prompt)), len(corpus.encode(prompt))
    for _ in range(length):
        ids.append(int(_last_logits(model, np.array([ids[-window:]], "int32"))[0].argmax()))
    return corpus.decode(ids)
