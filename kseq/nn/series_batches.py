"""Batches of a series: shuffled pairs, or stretches along which a state is carried.

The points 1 2 ... 13, B = 2 rows, T = 3 steps, offset 0:

        batch 0                      batch 1
        1 2 3 -> 2 3 4               4 5 6 -> 5 6 7            row 0
        7 8 9 -> 8 9 10              10 11 12 -> 11 12 13      row 1
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from kseq.checks import non_negative_int, positive_int
from kseq.data import windows
from kseq.data.processes import sine_segment
from kseq.data.series import as_series
from kseq.errors import DataError
from kseq.nn.batches import EpochBatches


class SeriesBatches(EpochBatches):
    """Batches x (B, T, 1) and what follows each step (B, T, outputs), in the series' dtype.

    Row b of the next batch continues row b of this one, and `Forecaster.fit` carries the state
    along; each epoch begins at zero and at an offset of its own.

    Args:
        series: (N,).
        batch_size: B, how many stretches of the series are read side by side.
        num_steps: T, points of a row; gradients go back no further (truncated backpropagation).
        outputs: steps ahead at every step, as many as the model's.
        seed: draws the offset of each epoch; None means offset 0 always.

    Raises:
        UsageError: a size that is not a positive whole number.
        DataError: fewer than B * T + outputs points.

    Source: Dive into Deep Learning 8.3, for a series instead of a text.

    Example:
        >>> batches = SeriesBatches(np.arange(13.0), batch_size=2, num_steps=3, seed=None)
        >>> x, y = batches[1]
        >>> x[..., 0].tolist(), y[0, :, 0].tolist()
        ([[3.0, 4.0, 5.0], [9.0, 10.0, 11.0]], [4.0, 5.0, 6.0])
    """

    carries_state = True

    def __init__(
        self,
        series: Any,
        batch_size: int = 1,
        num_steps: int = 64,
        outputs: int = 1,
        seed: int | None = 0,
    ) -> None:
        super().__init__(workers=1)
        self.series = as_series(series)
        self.batch_size = positive_int("batch_size", batch_size)
        self.num_steps = positive_int("num_steps", num_steps)
        self.outputs = positive_int("outputs", outputs)
        self.seed = None if seed is None else non_negative_int("seed", seed)
        _require_batch(len(self.series), self.batch_size, self.num_steps, self.outputs)
        # The last `outputs` points are targets only; the arithmetic of a text leaves room for one.
        self._points = len(self.series) - self.outputs + 1
        self._len = windows.num_batches(self._points, self.batch_size, self.num_steps)
        self.set_epoch(0)

    def __len__(self) -> int:
        return self._len

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs and targets of one batch of the current epoch."""
        steps = self._starts[index][:, np.newaxis] + np.arange(self.num_steps)
        ahead = steps[..., np.newaxis] + np.arange(1, self.outputs + 1)
        return self.series[steps][..., np.newaxis], self.series[ahead]

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`, counted from 0; the same epoch gives the same batches."""
        super().set_epoch(epoch)
        self._starts = windows.sequential_starts(
            self._points, self.batch_size, self.num_steps, self.seed, self.epoch
        )

    def from_first_token(self) -> Self:
        """Return the batches an evaluation needs: in every epoch the series from its start."""
        return type(self)(self.series, self.batch_size, self.num_steps, self.outputs, seed=None)


class PairBatches(EpochBatches):
    """Windows and what follows them, in an order drawn anew each epoch, the same on every engine.

    What `Forecaster.fit` makes of arrays; nothing is carried from batch to batch.

    Args:
        x, y: arrays of one length M.
        batch_size: B; the last batch of an epoch may be smaller.
        seed: draws the orders, with the epoch.
        epoch: the first one, counted from 0.

    Example:
        >>> batches = PairBatches(np.arange(5), np.arange(5), batch_size=3)
        >>> [len(x) for x, _ in batches], bool((batches[0][0] == batches[0][1]).all())
        ([3, 2], True)
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, batch_size: int = 32, seed: int = 0, epoch: int = 0
    ) -> None:
        super().__init__(workers=1)
        self.x, self.y = x, y
        self.batch_size = positive_int("batch_size", batch_size)
        self.seed = non_negative_int("seed", seed)
        self.set_epoch(epoch)

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch_size)

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs and targets of one batch of the current epoch."""
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.x[rows], self.y[rows]

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of `epoch`, counted from 0; the same epoch gives the same batches."""
        super().set_epoch(epoch)
        self._order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.x))


class SineSegments(EpochBatches):
    """One piece of a sine an iteration, (1, 59, 1) and the same a step later; the state goes on.

    Each piece is drawn anew, from one of three phases, and yet the state is carried from piece to
    piece: what the published experiment does (see `kseq.data.processes.sine_segment`).

    Args:
        iterations: pieces in an epoch.
        seed: draws the phases.
        same_every_epoch: whether every epoch is the first; for evaluation.

    Example:
        >>> x, y = SineSegments(iterations=2)[0]
        >>> x.shape, bool((x[0, 1:] == y[0, :-1]).all())
        ((1, 59, 1), True)
    """

    carries_state = True

    def __init__(self, iterations: int, seed: int = 0, same_every_epoch: bool = False) -> None:
        super().__init__(workers=1)
        self.same_every_epoch = same_every_epoch
        self.iterations = positive_int("iterations", iterations)
        self.batch_size = 1
        self.seed = non_negative_int("seed", seed)
        self.set_epoch(0)

    def __len__(self) -> int:
        return self.iterations

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the inputs and targets of one batch of the current epoch."""
        piece = sine_segment(self.seed, self.epoch * self.iterations + index)
        return piece[np.newaxis, :-1, np.newaxis], piece[np.newaxis, 1:, np.newaxis]

    def set_epoch(self, epoch: int) -> None:
        """Go to the pieces of `epoch`, counted from 0."""
        super().set_epoch(0 if self.same_every_epoch else epoch)

    def from_first_token(self) -> Self:
        """Return the pieces of the first epoch, in every epoch the same."""
        return type(self)(self.iterations, self.seed, same_every_epoch=True)


def _require_batch(points: int, batch_size: int, num_steps: int, outputs: int) -> None:
    needed = batch_size * num_steps + outputs
    if points < needed:
        raise DataError(
            f"series: must have at least {needed} points for {batch_size} rows of {num_steps} "
            f"steps and {outputs} ahead, found {points}; use fewer rows or steps"
        )
