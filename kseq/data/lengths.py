"""Sequential batches of drawn lengths: where each starts, and how many steps it has.

With fixed lengths the same tokens are always the last of a batch, which learn from what is before
them but whose error goes back to a batch's start alone.  Lengths that differ move the borders.

Source: Merity, Keskar and Socher, arXiv:1708.02182, section 4.1: near T with probability 0.95, else
near T / 2, normal with a standard deviation of 5.
"""

from __future__ import annotations

import numpy as np

from kseq.checks import non_negative_int, positive_int, shown
from kseq.data import windows
from kseq.errors import UsageError

HALVED = 0.05
_WIDEST = 3  # standard deviations
_STREAM = 2  # beside those of offsets and shuffles


def checked_spread(spread: object, num_steps: int, seed: int | None) -> int:
    """Return the standard deviation of lengths, if batches can have it; 0 is for fixed ones.

    Raises:
        UsageError: no whole number, more than half of `num_steps`, or above 0 without a seed.

    Example:
        >>> checked_spread(5, 35, seed=0)
        5
    """
    spread = non_negative_int("num_steps_spread", spread)
    if spread and seed is None:
        raise UsageError(
            "num_steps_spread: lengths must be drawn by a seed, found seed=None; give a seed, or "
            "leave num_steps_spread out"
        )
    if spread and 2 * spread > positive_int("num_steps", num_steps):
        raise UsageError(
            f"num_steps_spread: must be at most half of num_steps ({num_steps}), found "
            f"{shown(spread)}; choose a smaller one, such as {max(1, num_steps // 7)}"
        )
    return spread


def drawn(
    n_tokens: int, batch_size: int, num_steps: int, spread: int, seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return where each row of each batch starts (batches, B), and the steps of each (batches,).

    Batch after batch moves along the rows: each starts where the one before it ends, and the
    lengths sum up to the same in every epoch, all of a row but less than `spread` tokens.  They
    are multiples of `spread`, from `spread` to three deviations above `num_steps`, which is rounded
    up to such a multiple.  How many
    batches there are is the same in every epoch.

    Raises: as `kseq.data.windows.offset`.

    Example:
        >>> starts, lengths = drawn(71, batch_size=1, num_steps=10, spread=2, seed=0, epoch=0)
        >>> lengths.tolist(), starts[:3, 0].tolist()
        ([8, 4, 10, 10, 10, 10, 10, 8], [0, 8, 12])
    """
    windows.num_batches(n_tokens, batch_size, num_steps)
    total = (n_tokens - 1) // batch_size // spread
    rng = windows.generator(seed, epoch, _STREAM)
    lengths = spread * _units(rng, total, num_steps, spread)
    left_over = n_tokens - 1 - batch_size * total * spread
    first = int(rng.integers(min(num_steps - 1, left_over) + 1))
    rows = first + (n_tokens - 1 - first) // batch_size * np.arange(batch_size)
    begins = np.cumsum(lengths) - lengths
    return rows + begins[:, np.newaxis], lengths


def _units(rng: np.random.Generator, total: int, num_steps: int, spread: int) -> np.ndarray:
    """Return lengths in units of the spread that sum up to `total`."""
    mean = (1 - HALVED) * num_steps + HALVED * (num_steps // 2)
    count = max(1, int(np.ceil(total * spread / mean)))
    base = np.where(rng.random(count) < HALVED, num_steps // 2, num_steps)
    deviation = np.clip(rng.normal(size=count), -_WIDEST, _WIDEST)
    most = -(-num_steps // spread) + _WIDEST
    units = np.clip(np.rint(base / spread + deviation), 1, most).astype(np.int64)
    while missing := total - int(units.sum()):
        # One unit more or less for batches chosen by chance, until the sum is right.
        way = 1 if missing > 0 else -1
        free = np.flatnonzero((units + way >= 1) & (units + way <= most))
        units[rng.permutation(free)[: abs(missing)]] += way
    return units
