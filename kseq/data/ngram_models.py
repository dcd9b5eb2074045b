"""Models that count: the next token by how often it followed the n - 1 before it.

Three ways to leave room for what was never seen, c(h w) the count of token w after the run h, c(h)
that of the run before any token, k(h) how many different tokens followed it, V tokens in all:

    laplace       (c(h w) + 1) / (c(h) + V)
    witten_bell   (c(h w) + k(h) P(w | h')) / (c(h) + k(h))
    kneser_ney    max(c(h w) - D, 0) / c(h) + D k(h) / c(h) P(w | h')

h' is h without its first token: what is not known of a long run is asked of the shorter one, down
to single tokens (witten_bell: by adding one) or to 1 / V (kneser_ney).  In the shorter runs of
kneser_ney c counts the different tokens before the run instead of its occurrences, and D is
n1 / (n1 + 2 n2), with n1 and n2 the runs counted once and twice, for each length by itself.  After
a run never seen the shorter one decides alone.

Sources: Witten and Bell (1991), "The zero-frequency problem", method C; Kneser and Ney (1995),
"Improved backing-off for m-gram language modeling"; both interpolated as in Chen and Goodman
(1999), "An empirical study of smoothing techniques for language modeling", sections 2.4 and 2.7.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseq.checks import one_of, positive_int
from kseq.data.ngrams import Runs, grown_runs
from kseq.errors import DataError

SMOOTHINGS = ("laplace", "witten_bell", "kneser_ney")
# Where no run is counted once, or none twice, the estimate of D says nothing.
_USUAL_DISCOUNT = 0.5


@dataclass(frozen=True)
class _Order:
    """The runs of one length: keys as in `Runs`; counts, and what follows each run before."""

    keys: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray


class NgramModel:
    """The probability of a token after the n - 1 before it, from the counts of a text.

    Args:
        train: a Corpus or an array of ids (N,), at least n of them; held as 8 bytes a token while
            it is counted.
        n: the length of the runs that are counted; 1 looks at nothing before.
        smoothing: "laplace", "witten_bell" or "kneser_ney".
        vocab_size: V; by default that of the corpus, or the largest id plus one.

    Raises:
        UsageError: `n` is no positive whole number, or there is no such smoothing.
        DataError: fewer than n tokens, or an id that is not below V.

    Example:
        >>> model = NgramModel(np.array([0, 0, 1, 0]), 2, "laplace", vocab_size=3)
        >>> model.probabilities(np.array([0, 2]))  # after 0: 0, then 1; (0 + 1) / (2 + 3)
        array([0.2])
    """

    def __init__(
        self,
        train: Any,
        n: int,
        smoothing: str = "kneser_ney",
        vocab_size: int | None = None,
    ) -> None:
        self.n = positive_int("n", n)
        self.smoothing = one_of("smoothing", smoothing, SMOOTHINGS)
        ids = _ids(train, self.n, "train")
        size = vocab_size or (len(train.vocab) if hasattr(train, "vocab") else int(ids.max()) + 1)
        self.vocab_size = positive_int("vocab_size", size)
        _require_below(ids, self.vocab_size, "train")
        self._orders = self._counted(list(grown_runs(ids, self.vocab_size, self.n)))

    def probabilities(self, ids: Any) -> np.ndarray:
        """Return the probability of each token after the n - 1 before it; (M - n + 1,) float64.

        ids: a Corpus or an array of ids (M,); the first n - 1 are read and not judged.

        Raises:
            DataError: fewer than n tokens, or an id that is not below V.
        """
        ids = _ids(ids, self.n, "ids")
        _require_below(ids, self.vocab_size, "ids")
        judged = len(ids) - self.n + 1
        before = np.zeros(len(ids), np.int64)
        found = np.full(judged, 1 / self.vocab_size)
        for length, order in enumerate(self._orders, start=1):
            before = before[: len(ids) - length + 1]
            run, count = _looked_up(order, before, ids[length - 1 :], self.vocab_size)
            known = np.maximum(before[-judged:], 0)
            seen = np.where(before[-judged:] >= 0, 1, 0)
            facts = count[-judged:], order.totals[known] * seen, order.kinds[known] * seen
            found = self._smoothed(length, order, found, *facts)
            before = run
        return found

    def perplexity(self, ids: Any) -> float:
        """Return exp of the mean negative log-probability of a text; arguments as `probabilities`.

        Example:
            >>> round(NgramModel(np.array([0, 1] * 50), 2, "witten_bell").perplexity([0, 1, 0]), 4)
            1.01
        """
        return math.exp(-float(np.log(self.probabilities(ids)).mean()))

    def _counted(self, runs: list[Runs]) -> list[_Order]:
        counts = [found.counts for found in runs]
        if self.smoothing == "kneser_ney":
            for shorter, longer in zip(range(self.n - 1), runs[1:], strict=True):
                # The run without its first token, of each longer run, where it occurs first.
                rest = runs[shorter].of_text[longer.firsts + 1]
                counts[shorter] = np.bincount(rest, minlength=len(runs[shorter].keys))
        sizes = [1, *(len(found.keys) for found in runs)]
        return [
            _order(found.keys, count, self.vocab_size, size)
            for found, count, size in zip(runs, counts, sizes, strict=False)
        ]

    def _smoothed(
        self,
        length: int,
        order: _Order,
        shorter: np.ndarray,
        count: np.ndarray,
        total: np.ndarray,
        kinds: np.ndarray,
    ) -> np.ndarray:
        if self.smoothing == "laplace" or (self.smoothing == "witten_bell" and length == 1):
            return (count + 1) / (total + self.vocab_size)
        seen = total > 0
        if self.smoothing == "witten_bell":
            return np.where(seen, (count + kinds * shorter) / np.maximum(total + kinds, 1), shorter)
        cut = _discount(order.counts)
        kept = np.maximum(count - cut, 0) + cut * kinds * shorter
        return np.where(seen, kept / np.maximum(total, 1), shorter)


def ngram_perplexities(
    train: Any, held_out: Any, orders: Sequence[int] = (1, 2, 3), vocab_size: int | None = None
) -> dict[str, dict[int, float]]:
    """Return the perplexity of held-out text by smoothing and by n; arguments as `NgramModel`.

    Raises: as `NgramModel`.

    Example:
        >>> found = ngram_perplexities(np.array([0, 1] * 50), np.array([0, 1, 0, 1]), orders=[1, 2])
        >>> round(found["laplace"][1], 3), round(found["laplace"][2], 3)
        (2.0, 1.02)
    """
    return {
        smoothing: {
            n: NgramModel(train, n, smoothing, vocab_size).perplexity(held_out) for n in orders
        }
        for smoothing in SMOOTHINGS
    }


def _order(keys: np.ndarray, counts: np.ndarray, vocab_size: int, runs_before: int) -> _Order:
    before = keys // vocab_size
    totals = np.bincount(before, counts, runs_before)
    return _Order(keys, counts, totals, np.bincount(before, counts > 0, runs_before))


def _looked_up(
    order: _Order, before: np.ndarray, last: np.ndarray, vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which run stands at each place, -1 for one never seen, and its count."""
    keys = np.where(before >= 0, before * vocab_size + last, -1)
    places = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
    seen = order.keys[places] == keys
    return np.where(seen, places, -1), np.where(seen, order.counts[places], 0)


def _discount(counts: np.ndarray) -> float:
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once and twice else _USUAL_DISCOUNT


def _ids(source: Any, least: int, name: str) -> np.ndarray:
    ids = np.asarray(getattr(source, "ids", source))
    if ids.dtype.kind not in "iu":
        raise DataError(
            f"{name}: must be whole numbers, found {ids.dtype}; pass a corpus, or token ids"
        )
    if ids.ndim != 1 or len(ids) < least:
        raise DataError(
            f"{name}: must have at least {least} tokens in one dimension for runs of {least}, "
            f"found shape {ids.shape}; pass a longer text or lower n"
        )
    return ids.astype(np.int64)


def _require_below(ids: np.ndarray, vocab_size: int, name: str) -> None:
    if not 0 <= ids.min() <= ids.max() < vocab_size:
        raise DataError(
            f"{name}: must be ids from 0 to {vocab_size - 1}, found {ids.min()} to {ids.max()}; "
            "make both texts with one vocabulary, or pass its size"
        )
