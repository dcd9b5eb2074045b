"""Sequential and random batches of a corpus, for `fit` and for plain iteration.

A corpus  a b c d e f g h i j k l m n o p q r s t u,  B = 2 rows, T = 3 steps, offset 1.

Sequential: the corpus is folded into B rows; batch after batch moves along the rows, so row b of
the next batch continues row b of this one, and a carried state stays meaningful.

        batch 0    batch 1    batch 2        targets are one step later:
        b c d      e f g      h i j          c d e      f g h      i j k
        k l m      n o p      q r s          l m n      o p q      r s t

Random: the corpus is cut into windows of T, the windows are shuffled; the state starts at zero
in every batch.

        batch 0    batch 1    batch 2
        k l m      b c d      q r s
        h i j      n o p      e f g

Every epoch starts at a fresh offset in 0 .. T-1, a pure function of the seed and the epoch, among
the offsets that keep the number of batches.  The index arithmetic is `kseq.data.windows`.

Source: Dive into Deep Learning 8.3 (there the offset may also be T, which can lose a batch).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import keras
import numpy as np

from kseq.checks import non_negative_int, positive_int
from kseq.data import lengths, windows
from kseq.data.corpora import Corpus


class EpochBatches(keras.utils.PyDataset):
    """Batches whose order is a pure function of the epoch; `fit` of kseq's models never shuffles.

    carries_state: whether row b of a batch continues row b of the one before.
    """

    carries_state = False
    # The steps whose learning rate is the optimizer's, where batches differ in theirs.
    base_steps: int | None = None
    batch_size: int
    epoch: int

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return self.batch(index)

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs and targets of one batch of the current epoch."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give the batches of the current epoch, then move on to the next."""
        for index in range(len(self)):
            yield self[index]
        self.on_epoch_end()

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`, counted from 0; the same epoch gives the same batches."""
        self.epoch = non_negative_int("epoch", epoch)

    def on_epoch_end(self) -> None:
        """Move on to the next epoch; Keras calls this too."""
        self.set_epoch(self.epoch + 1)

    def from_first_token(self) -> Self:
        """Return the batches an evaluation needs: in every epoch the same, from the start."""
        raise NotImplementedError


class _TokenBatches(EpochBatches):
    """What both kinds of batches of a corpus share: sizes, ids, and an epoch they stand at."""

    def __init__(
        self, corpus: Any, batch_size: int = 32, num_steps: int = 35, seed: int | None = 0
    ) -> None:
        super().__init__(workers=1)
        self.batch_size = positive_int("batch_size", batch_size)
        self.num_steps = positive_int("num_steps", num_steps)
        self.seed = None if seed is None else non_negative_int("seed", seed)
        self.corpus = corpus if isinstance(corpus, Corpus) else None
        self.ids = windows.as_ids(corpus.ids if isinstance(corpus, Corpus) else corpus)
        name = self.corpus.label if self.corpus else "corpus"
        self._len = windows.num_batches(len(self.ids), self.batch_size, self.num_steps, name)
        self.set_epoch(0)

    def __len__(self) -> int:
        return self._len

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs and targets of one batch of the current epoch, (B, T) each."""
        return windows.gather(self.ids, self._starts[index], self.num_steps)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`, counted from 0; the same epoch gives the same batches."""
        super().set_epoch(epoch)
        self._starts = self._starts_of(self.epoch)

    @property
    def tokens_per_epoch(self) -> int:
        """How many tokens are inputs in one epoch."""
        return self._len * self.batch_size * self.num_steps

    def from_first_token(self) -> Self:
        """Return the batches an evaluation needs: in every epoch the text from its first token."""
        source = self.ids if self.corpus is None else self.corpus
        return type(self)(source, self.batch_size, self.num_steps, seed=None)

    def _starts_of(self, epoch: int) -> np.ndarray:
        raise NotImplementedError


class RestOfEpoch(EpochBatches):
    """The batches of the current epoch from `first` on, for a training that goes on there."""

    def __init__(self, batches: Any, first: int) -> None:
        super().__init__(workers=1)
        self.batches, self.first, self.epoch = batches, first, batches.epoch
        self.base_steps = batches.base_steps
        self.carries_state, self.batch_size = batches.carries_state, batches.batch_size
        self.ids, self.corpus = batches.ids, batches.corpus

    def __len__(self) -> int:
        return len(self.batches) - self.first

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.batches.batch(self.first + index)

    def set_epoch(self, epoch: int) -> None:
        self.batches.set_epoch(epoch)
        self.epoch = self.batches.epoch


class SequentialBatches(_TokenBatches):
    """Batches (inputs, targets), int32 (B, T) each; row b of the next continues row b of this.

    Args:
        corpus: a `Corpus`, or a one-dimensional array of token ids.
        batch_size: B, rows of a batch.
        num_steps: T, tokens of a row.
        seed: draws the offset of each epoch; None means offset 0 always.
        num_steps_spread: s above 0 draws T anew for each batch, near `num_steps` or, one time in
            twenty, near half of it, with the standard deviation s; 5 is the paper's.  No token is
            then always the last to learn from.  `fit` multiplies the learning rate of a step by
            T / num_steps, for which the optimizer must be one of `kseq.clipped_optimizer`.

    Raises:
        UsageError: a size that is not a positive whole number; a spread beyond half of
            `num_steps`, or without a seed.
        DataError: fewer than B * T + 1 tokens.

    `LanguageModel.fit` carries the state from batch to batch and starts each epoch at zero.  With
    another Keras model pass `shuffle=False` to `fit`, which would reorder the batches.

    Drawn lengths are multiples of s up to 3 s above `num_steps`, with 5 and 35 at most ten of them:
    JAX and TensorFlow compile a step for each.  They are a function of the seed and the epoch,
    every epoch has as many batches, and their sum is that of the rows.

    Source: Dive into Deep Learning 8.3; for the lengths Merity, Keskar and Socher,
    arXiv:1708.02182, section 4.1.

    Example:
        >>> batches = SequentialBatches(np.arange(35), batch_size=2, num_steps=5, seed=None)
        >>> len(batches), batches[0][0].tolist(), batches[1][0][0].tolist()
        (3, [[0, 1, 2, 3, 4], [17, 18, 19, 20, 21]], [5, 6, 7, 8, 9])
    """

    carries_state = True

    def __init__(
        self,
        corpus: Any,
        batch_size: int = 32,
        num_steps: int = 35,
        seed: int | None = 0,
        num_steps_spread: int = 0,
    ) -> None:
        self.num_steps_spread = lengths.checked_spread(num_steps_spread, num_steps, seed)
        super().__init__(corpus, batch_size, num_steps, seed)
        if self.num_steps_spread:
            self.base_steps = self.num_steps
            self._len = len(self._lengths)

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs and targets of one batch of the current epoch, (B, T) each."""
        num_steps = self._lengths[index] if self.num_steps_spread else self.num_steps
        return windows.gather(self.ids, self._starts[index], int(num_steps))

    @property
    def tokens_per_epoch(self) -> int:
        """How many tokens are inputs in one epoch."""
        if not self.num_steps_spread:
            return super().tokens_per_epoch
        return int(self._lengths.sum()) * self.batch_size

    def _starts_of(self, epoch: int) -> np.ndarray:
        sizes = (len(self.ids), self.batch_size, self.num_steps)
        if not self.num_steps_spread:
            return windows.sequential_starts(*sizes, self.seed, epoch)
        assert self.seed is not None
        starts, self._lengths = lengths.drawn(*sizes, self.num_steps_spread, self.seed, epoch)
        return starts


class RandomBatches(_TokenBatches):
    """Batches (inputs, targets), int32 (B, T) each, of disjoint windows in random order.

    Args:
        corpus: a `Corpus`, or a one-dimensional array of token ids.
        batch_size: B, rows of a batch.
        num_steps: T, tokens of a row.
        seed: draws the offset and the order of each epoch; None means the order of the text, from
            offset 0.

    Raises:
        UsageError: a size that is not a positive whole number.
        DataError: fewer than B * T + 1 tokens.

    Example:
        >>> batches = RandomBatches(np.arange(35), batch_size=2, num_steps=5)
        >>> len(batches), [bool((y == x + 1).all()) for x, y in batches]
        (3, [True, True, True])
    """

    def _starts_of(self, epoch: int) -> np.ndarray:
        return windows.random_starts(
            len(self.ids), self.batch_size, self.num_steps, self.seed, epoch
        )
