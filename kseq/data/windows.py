"""Where the batches of a corpus start: index arithmetic, and nothing but.

21 tokens  a b c d e f g h i j k l m n o p q r s t u,  B = 2 rows, T = 3 steps, offset 1.

Sequential: the tokens from the offset on are folded into B rows of (21 - 1 - 1) // 2 = 9, and
batch after batch moves along the rows, so row b of the next batch continues row b of this one.
A target is the token one step after its input.

        batch 0        batch 1        batch 2
        b c d -> c d e   e f g -> f g h   h i j -> i j k      row 0
        k l m -> l m n   n o p -> o p q   q r s -> r s t      row 1
    starts 1, 10         4, 13            7, 16

Random: the same tokens are cut into windows of T, b c d | e f g | h i j | k l m | n o p | q r s,
the windows are shuffled and dealt out, B to a batch.

How many batches: (N - 1 - offset) // (B * T); the last token is a target only.  An epoch's offset
is drawn from those of 0 .. T-1 that keep the number of batches of offset 0, so every epoch has the
same length.  With N = 35, B = 2, T = 5 that is 3 batches at each offset 0-4; an offset of 5, which
Dive into Deep Learning also draws, would give 2.  B * T + 1 tokens are enough for one batch.

Source: Dive into Deep Learning 8.3 (`seq_data_iter_sequential`, `seq_data_iter_random`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from kseq.checks import non_negative_int, positive_int
from kseq.data.mapped import MappedIds
from kseq.errors import DataError

LARGEST_SEED = 2**32 - 1
_LEAST_WINDOWS = 8
_MOST_TRIED = 256
_MOST_STARTS = 2**22


def as_ids(values: Any) -> np.ndarray:
    """Return token ids as a one-dimensional array of integers, in the dtype they come in.

    Ids that stay on the disk stay there.

    Raises:
        DataError: not one-dimensional, not integers, or an id below 0.

    Example:
        >>> as_ids([3, 1, 2])
        array([3, 1, 2])
    """
    if isinstance(values, MappedIds):
        return values  # type: ignore[return-value]  # indexed as an array is, and never below 0
    ids = np.asarray(values)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise DataError(
            f"ids: must be whole numbers in one dimension, found {ids.dtype} of shape "
            f"{ids.shape}; pass a corpus, or an array (N,) of token ids"
        )
    if ids.size and ids.min() < 0:
        raise DataError(
            f"ids: must be 0 or more, found {ids.min()} at index {int(ids.argmin())}; "
            "make them with Vocab.encode"
        )
    return ids


def num_batches(n_tokens: int, batch_size: int, num_steps: int, name: str = "corpus") -> int:
    """Return how many batches (B, T) an epoch of `n_tokens` has, at every offset `offset` gives.

    Raises:
        UsageError: a size that is not a positive whole number.
        DataError: there are fewer than B * T + 1 tokens; the message begins with `name`.

    Example:
        >>> num_batches(35, 2, 5), num_batches(10_000, 32, 35), num_batches(170_580, 32, 35)
        (3, 8, 152)
    """
    batch_tokens = positive_int("batch_size", batch_size) * positive_int("num_steps", num_steps)
    if n_tokens < batch_tokens + 1:
        raise DataError(
            f"{name}: must have at least {batch_tokens + 1:,} tokens for one batch of "
            f"{batch_size} x {num_steps} and its targets, found {n_tokens:,}; "
            "use a smaller batch_size or num_steps, or a longer text"
        )
    return (n_tokens - 1) // batch_tokens


def offset(seed: int | None, epoch: int, n_tokens: int, batch_size: int, num_steps: int) -> int:
    """Return how many tokens `epoch` leaves out at the start: 0 .. T-1, 0 without a seed.

    A pure function of its arguments, uniform over the offsets that lose no batch.

    Raises: as `num_batches`, and UsageError for a seed beyond 2**32 - 1 or an epoch below 0.

    Example:
        >>> [offset(0, epoch, 35, 2, 5) for epoch in range(8)]
        [4, 2, 4, 2, 2, 3, 2, 3]
        >>> offset(0, 3, 11, 2, 5)
        0
    """
    used = num_batches(n_tokens, batch_size, num_steps) * batch_size * num_steps
    rng = _generator_of(seed, epoch)
    largest = min(num_steps - 1, n_tokens - 1 - used)
    return 0 if rng is None else int(rng.integers(largest + 1))


def sequential_starts(
    n_tokens: int, batch_size: int, num_steps: int, seed: int | None = 0, epoch: int = 0
) -> Any:
    """Return where each row of each batch starts; (num_batches, B) int64.

    Row b of the next batch starts where row b of this one ends.  Beyond 4 million rows the starts
    are a `Starts`, which counts them out when it is indexed.

    Raises: as `offset`.

    Example:
        >>> sequential_starts(21, batch_size=2, num_steps=3, seed=None).tolist()
        [[0, 10], [3, 13], [6, 16]]
    """
    first = offset(seed, epoch, n_tokens, batch_size, num_steps)
    batches = num_batches(n_tokens, batch_size, num_steps)
    row_length = (n_tokens - 1 - first) // batch_size
    rows = first + row_length * np.arange(batch_size)
    if batches * batch_size > _MOST_STARTS:
        return Starts(lambda index: rows + num_steps * index, (batches, batch_size))
    return rows + num_steps * np.arange(batches)[:, np.newaxis]


def random_starts(
    n_tokens: int, batch_size: int, num_steps: int, seed: int | None = 0, epoch: int = 0
) -> Any:
    """Return where each window of each batch starts, shuffled; (num_batches, B) int64.

    Beyond 4 million windows the starts are a `Starts`, which holds 4 bytes for each.

    The windows are disjoint; those that fill no batch are left out, others each epoch.  Without a
    seed they come in the order of the text.

    Raises: as `offset`.

    Example:
        >>> random_starts(21, batch_size=2, num_steps=3, seed=None).tolist()
        [[0, 3], [6, 9], [12, 15]]
    """
    first = offset(seed, epoch, n_tokens, batch_size, num_steps)
    batches = num_batches(n_tokens, batch_size, num_steps)
    order = np.arange((n_tokens - 1 - first) // num_steps, dtype=np.uint32)
    rng = _generator_of(seed, epoch, stream=1)
    if rng is not None:
        rng.shuffle(order)
    order = order[: batches * batch_size].reshape(batches, batch_size)
    if order.size > _MOST_STARTS:
        return Starts(lambda index: _placed(order[index], first, num_steps), order.shape)
    return _placed(order, first, num_steps)


def _placed(windows: np.ndarray, first: int, num_steps: int) -> np.ndarray:
    return first + num_steps * windows.astype(np.int64)


class Starts:
    """Where the rows of each batch start, found when they are asked for; (num_batches, B) int64.

    Args:
        of: gives the starts (B,) of the batch of a number.
        shape: (num_batches, B).

    Example:
        >>> starts = Starts(lambda index: np.array([0, 10]) + 3 * index, (3, 2))
        >>> len(starts), starts[1]
        (3, array([ 3, 13]))
    """

    def __init__(self, of: Callable[[int], np.ndarray], shape: tuple[int, ...]) -> None:
        self._of, self.shape = of, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        return self._of(index)


def gather(ids: np.ndarray, starts: np.ndarray, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the inputs that start at `starts` (B,) and their targets; (B, T) int32 each.

    Example:
        >>> inputs, targets = gather(np.arange(35), np.array([0, 17]), 5)
        >>> inputs.tolist(), targets.tolist()
        ([[0, 1, 2, 3, 4], [17, 18, 19, 20, 21]], [[1, 2, 3, 4, 5], [18, 19, 20, 21, 22]])
    """
    inputs = np.asarray(starts)[:, np.newaxis] + np.arange(num_steps)
    return ids[inputs].astype(np.int32), ids[inputs + 1].astype(np.int32)


def evaluation_layout(
    n_tokens: int, max_batch_size: int, num_steps: int, name: str = "corpus"
) -> tuple[int, int]:
    """Return (batch size, steps) that score nearly every token of a text, fast.

    Of the sizes between half of `max_batch_size` and all of it, and likewise of `num_steps`, those
    are taken whose product leaves the fewest of the N - 1 targets over, and the larger of equals.
    Each row gets at least 8 windows, so that few tokens are scored right after a zero state; a
    text too short for that gets a single row.

    Raises:
        UsageError: a size that is not a positive whole number.
        DataError: there are fewer than 2 tokens; the message begins with `name`.

    Example:
        >>> evaluation_layout(10_000, 32, 35)
        (28, 21)
    """
    num_batches(n_tokens, 1, 1, name)
    targets = n_tokens - 1
    most_rows = max(1, targets // (_LEAST_WINDOWS * positive_int("num_steps", num_steps)))
    rows = _upper_half(min(positive_int("max_batch_size", max_batch_size), most_rows))
    steps = _upper_half(min(num_steps, targets))
    left_over = targets % (rows[:, np.newaxis] * steps)
    row, step = np.unravel_index(np.argmin(left_over), left_over.shape)
    return int(rows[row]), int(steps[step])


def _upper_half(most: int) -> np.ndarray:
    """Return `most`, `most` - 1 ... down to its half, at most 256 of them."""
    return np.arange(most, max(most // 2, most - _MOST_TRIED, 1 if most > 1 else 0), -1)


def generator(seed: int, epoch: int, stream: int = 0) -> np.random.Generator:
    """Return the generator of one of an epoch's random streams.

    Raises:
        UsageError: a seed beyond 2**32 - 1, or an epoch below 0.
    """
    epoch = non_negative_int("epoch", epoch)
    return np.random.default_rng([non_negative_int("seed", seed, LARGEST_SEED), epoch, stream])


def _generator_of(seed: int | None, epoch: int, stream: int = 0) -> np.random.Generator | None:
    epoch = non_negative_int("epoch", epoch)
    return None if seed is None else generator(seed, epoch, stream)
