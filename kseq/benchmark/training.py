"""Contenders in training: a recurrent language model, learnt by kseq, by Keras and by PyTorch.

kseq carries its state through `fit`, clips by the global norm and keeps the perplexity.  Keras's
own layers do the same without the state, which they cannot carry on torch, and without the
perplexity, which Keras has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import keras
import numpy as np
from keras import ops

from kseq.backend import compiled, engine
from kseq.benchmark.cases import Case
from kseq.benchmark.fits import fitting
from kseq.benchmark.measuring import Contender, Repeated, Uncompiled
from kseq.data.vocab import Vocab
from kseq.nn.batches import SequentialBatches
from kseq.nn.language_model import LanguageModel
from kseq.nn.optimizers import clipped_optimizer

# As many as the book's first 10,000 characters make.
BATCHES_PER_EPOCH = 8
LEARNING_RATE = 1.0
_FIRST_CHARACTER = 0x4E00  # of 20,992 in a row that are all letters
LAYERS = {
    "simple_rnn": keras.layers.SimpleRNN,
    "gru": keras.layers.GRU,
    "lstm": keras.layers.LSTM,
}


def training_contenders(case: Case) -> dict[str, Callable[[], Contender]]:
    """Return those of the engine in use by name, each as a function that makes it ready."""
    found: dict[str, Callable[[], Contender]] = {
        "kseq": lambda: kseq_fit(case),
        "keras": lambda: keras_fit(case),
    }
    if engine() == "torch" and compiled.library() is not None:
        found["kseq, eager"] = lambda: Uncompiled(lambda: kseq_fit(case))
    if engine() == "torch":
        found["d2l loop"] = lambda: d2l_loop(case)
        found["expert loop"] = lambda: expert_loop(case)
        found["products alone"] = lambda: products_alone(case)
    return found


def vocab_of(case: Case) -> Vocab:
    """Return a vocabulary of V entries, one of them `<unk>`; each token is one character."""
    return Vocab([chr(_FIRST_CHARACTER + number) for number in range(case.vocab_size - 1)])


def ids_of(case: Case) -> np.ndarray:
    """Return random token ids, enough for `BATCHES_PER_EPOCH` batches from any offset."""
    count = case.batch_size * case.num_steps * BATCHES_PER_EPOCH + case.num_steps
    return np.random.default_rng(0).integers(0, case.vocab_size, count).astype("int32")


def language_model(case: Case) -> LanguageModel:
    """Return kseq's model of these sizes, not compiled."""
    return LanguageModel(
        vocab_of(case),
        case.cell,
        case.units,
        case.num_layers,
        tie_weights=case.tied,
        dtype=case.dtype,
    )


def kseq_fit(case: Case) -> Contender:
    """`LanguageModel.fit` with carried state, clipping at 1, and perplexity."""
    model = language_model(case)
    model.compile(clipped_optimizer("sgd", LEARNING_RATE, global_clipnorm=1.0))
    batches = _batches(case)
    return fitting(model, {"x": batches}, batches.tokens_per_epoch)


def keras_fit(case: Case) -> Contender:
    """`Model.fit` with Keras's own layers, the same sizes, and clipping at 1."""
    model = keras_model(case)
    model.compile(
        keras.optimizers.SGD(LEARNING_RATE, global_clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    batches = _batches(case)
    return fitting(model, {"x": batches, "shuffle": False}, batches.tokens_per_epoch)


def keras_model(case: Case) -> keras.Model:
    """Return ids (B, T) -> logits (B, T, V) of Keras's own layers."""
    ids = keras.Input((case.num_steps,), dtype="int32")
    embedding = None
    if case.tied:
        embedding = keras.layers.ReversibleEmbedding(case.vocab_size, case.units)
        x = embedding(ids)
    else:
        shape = (case.num_steps, case.vocab_size)
        x = keras.layers.Lambda(lambda i: ops.one_hot(i, case.vocab_size), output_shape=shape)(ids)
    for _ in range(case.num_layers):
        x = LAYERS[case.cell](case.units, return_sequences=True)(x)
    logits = embedding(x, reverse=True) if embedding else keras.layers.Dense(case.vocab_size)(x)
    return keras.Model(ids, logits)


def yardstick(case: Case, looked_up: bool = False) -> Any:
    """Return the model of the bare PyTorch loops."""
    from kseq.backend.yardsticks import Yardstick

    sizes = (case.vocab_size, case.units, case.num_layers)
    return Yardstick(case.cell, *sizes, tied=case.tied, looked_up=looked_up)


def d2l_loop(case: Case) -> Contender:
    """The book's loop."""
    from kseq.backend.yardsticks import D2lLoop

    return _looped(case, D2lLoop(yardstick(case)).step)


def expert_loop(case: Case) -> Contender:
    """The loop of someone who knows PyTorch."""
    from kseq.backend.yardsticks import ExpertLoop

    return _looped(case, ExpertLoop(yardstick(case, looked_up=True), case.dtype).step)


def products_alone(case: Case) -> Contender:
    """The bound: the matrix products of a training step, and nothing between them."""
    from kseq.backend.product_bound import product_shapes, products

    sizes = (case.batch_size, case.num_steps, case.vocab_size, case.units, case.num_layers)
    run = products(product_shapes(case.cell, *sizes, tied=case.tied))
    return Repeated(run, case.batch_size * case.num_steps)


def _batches(case: Case) -> SequentialBatches:
    return SequentialBatches(ids_of(case), case.batch_size, case.num_steps)


def _looped(case: Case, step: Callable[[np.ndarray, np.ndarray], Any]) -> Contender:
    batches = _endless(case)
    return Repeated(lambda: step(*next(batches)), case.batch_size * case.num_steps)


def _endless(case: Case) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return cycle(list(_batches(case)))
