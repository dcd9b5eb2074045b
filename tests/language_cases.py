"""What the tests of the language model share: tiny models, their text, and the losses of a fit."""

import keras
import numpy as np

import kseq

LETTERS = "abcdef"
VOCAB = kseq.Vocab(list(LETTERS))
V = len(VOCAB)
UNITS = 6


def draw_ids(count, seed=0):
    """Give `count` ids, none of them `<unk>`."""
    return np.random.default_rng([seed, count]).integers(1, V, count).astype("int32")


def tiny(cell="simple_rnn", num_layers=1, **options):
    return kseq.LanguageModel(
        VOCAB, **{"cell": cell, "units": UNITS, "num_layers": num_layers, **options}
    )


def with_sgd(model, learning_rate=1.0, clip=0.5, **options):
    """Give the model compiled with clipped SGD: the steps `oracle.train_language_model` takes."""
    rate = kseq.clipped_optimizer("sgd", learning_rate, global_clipnorm=clip)
    model.compile(rate, **options)
    return model


class StepLosses(keras.callbacks.Callback):
    """Collects the loss of every training step.

    Keras logs the mean over the epoch so far, so step k's loss is k mean_k - (k-1) mean_{k-1}.
    """

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_epoch_begin(self, epoch, logs=None):
        self.total, self.steps = 0.0, 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        total = float(logs["loss"]) * self.steps
        self.losses.append(total - self.total)
        self.total = total


class Interrupt(keras.callbacks.Callback):
    """Raises KeyboardInterrupt after so many steps of training, or at the end of an epoch."""

    def __init__(self, step=None, epoch=None):
        super().__init__()
        self.step, self.epoch, self.steps = step, epoch, 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        if self.steps == self.step:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            raise KeyboardInterrupt


def fit_losses(model, batches, **options):
    """Fit; give the loss of every step."""
    steps = StepLosses()
    model.fit(batches, verbose=0, callbacks=[steps, *options.pop("callbacks", [])], **options)
    return np.array(steps.losses)


BATCH_STEPS = 2


def batch_steps(model):
    """Train the model on two batches, always the same."""
    for seed in range(BATCH_STEPS):
        model.train_on_batch(*draw_ids(24, seed).reshape(2, 3, 4))


def logits_of(model, ids, **options):
    return to_numpy(model(np.asarray(ids, "int32"), **options))


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def same(found, expected):
    """Whether two lists of arrays are equal to the bit."""
    pairs = zip(found, expected, strict=True)
    return all(np.array_equal(one, other) for one, other in pairs)
