"""Runs of tokens, counted: how often each occurs, and how its count falls with its rank.

    to be or not to be      n = 2:  to-be 2, be-or 1, or-not 1, not-to 1

Counted in NumPy by growing runs: a run of n is the number of the run of n - 1 before it times V,
plus its last token, and is numbered anew, so that no number outgrows 64 bits whatever n is.  A
text is held as 8 bytes a token meanwhile.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseq.checks import positive_int
from kseq.errors import DataError

# Zipf's law says nothing about the first few ranks (Mandelbrot 1953), and below five occurrences a
# rank tells the order of reading more than the frequency.
FIRST_FITTED_RANK, LEAST_FITTED_COUNT, LEAST_FITTED_RANKS = 10, 5, 10

Counted = list[tuple[tuple[str, ...], int]]


@dataclass(frozen=True)
class Runs:
    """The different runs of n tokens of a text.

    Attributes:
        keys: (K,) the number of the run of n - 1 before it times V, plus the last token; rising.
        counts: (K,) how often each occurs.
        of_text: (N - n + 1,) which run stands at each place of the text.
        firsts: (K,) at which of these places each occurs first.
    """

    keys: np.ndarray
    counts: np.ndarray
    of_text: np.ndarray
    firsts: np.ndarray


def grown_runs(ids: np.ndarray, vocab_size: int, n: int) -> Iterator[Runs]:
    """Yield the runs of 1, 2 ... n tokens of `ids` (N,), as long as there are any.

    Example:
        >>> [runs.counts.tolist() for runs in grown_runs(np.array([0, 1, 0, 1]), 2, 2)]
        [[2, 2], [2, 1]]
    """
    before = np.zeros(len(ids), np.int64)
    for length in range(1, n + 1):
        last = ids[length - 1 :]
        if not len(last):
            return
        keys = before[: len(last)] * vocab_size + last
        found, firsts, of_text, counts = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        yield Runs(found, counts, of_text, firsts)
        before = of_text


def ngram_counts(tokens: Any, n: int) -> Counted:
    """Return each run of `n` tokens with its count, by falling count, first seen first.

    Args:
        tokens: a Corpus, whose tokens are counted as they stand in the text, whether its vocabulary
            has them or not; or a sequence of tokens.
        n: how many tokens a run has.

    Raises:
        UsageError: `n` is no positive whole number.

    Example:
        >>> ngram_counts(["to", "be", "or", "not", "to", "be"], 2)[0]
        (('to', 'be'), 2)
    """
    n = positive_int("n", n)
    if not hasattr(tokens, "coded"):
        return Counter(zip(*(tokens[start:] for start in range(n)), strict=False)).most_common()
    codes, symbols = np.asarray(tokens.coded.codes), tokens.coded.symbols
    if len(codes) < n:
        return []
    *_, runs = grown_runs(codes, len(symbols), n)
    order = np.lexsort((runs.firsts, -runs.counts))
    return [
        (tuple(symbols[code] for code in codes[first : first + n]), count)
        for first, count in zip(
            runs.firsts[order].tolist(), runs.counts[order].tolist(), strict=True
        )
    ]


@dataclass(frozen=True)
class ZipfFit:
    """A line through log count over log rank: count = scale * rank ** -exponent.

    By least squares over the ranks from `first` to `last`, each rank weighing the same.
    """

    exponent: float
    scale: float
    first: int
    last: int


def zipf_fit(counts: Sequence[int] | np.ndarray) -> ZipfFit | None:
    """Return the line through counts that fall with their rank; None where too few can be fitted.

    Fitted are the ranks from 10 on, as far as a count is 5 or more, if these are 10 ranks or more.
    Source: Zipf (1949), "Human Behavior and the Principle of Least Effort".

    Example:
        >>> fit = zipf_fit(1000 / np.arange(1, 101) ** 0.5)
        >>> round(fit.exponent, 6), round(fit.scale), fit.first, fit.last
        (0.5, 1000, 10, 100)
    """
    counts = np.asarray(counts, float)
    last = int((counts >= LEAST_FITTED_COUNT).sum())
    if last - FIRST_FITTED_RANK + 1 < LEAST_FITTED_RANKS:
        return None
    ranks = np.arange(FIRST_FITTED_RANK, last + 1)
    slope, height = np.polyfit(np.log(ranks), np.log(counts[FIRST_FITTED_RANK - 1 : last]), 1)
    return ZipfFit(-float(slope), float(np.exp(height)), FIRST_FITTED_RANK, last)


@dataclass(frozen=True)
class NgramStatistics:
    """How often the runs of n tokens of a text occur.

    Attributes:
        n: how many tokens a run has.
        total: runs in the text; the first token of each is another token of the text.
        counts: how often each different run occurs, falling; (K,).
        top: the most frequent runs and their counts.
        fit: the line through the counts, or None.
    """

    n: int
    total: int
    counts: np.ndarray
    top: Counted
    fit: ZipfFit | None

    @property
    def once(self) -> int:
        """How many of the runs occur a single time."""
        return int((self.counts == 1).sum())

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values; of the counts only how many there are."""
        facts = {"n": self.n, "total": self.total, "different": len(self.counts)}
        return facts | {
            "once": self.once,
            "fit": None if self.fit is None else vars(self.fit),
            "top": [[list(tokens), count] for tokens, count in self.top],
        }


def ngram_statistics(
    tokens: Any, orders: Sequence[int] = (1, 2, 3), top: int = 10
) -> list[NgramStatistics]:
    """Return how often the runs of n tokens of a Corpus or a sequence occur, for each n.

    Raises:
        UsageError: an order that is no positive whole number.
        DataError: a text shorter than an order.

    Example:
        >>> words = ngram_statistics(["to", "be", "or", "not", "to", "be"], orders=[1])[0]
        >>> words.total, len(words.counts), words.once, words.top[0]
        (6, 4, 2, (('to',), 2))
    """
    return [_statistics(tokens, n, positive_int("top", top)) for n in orders]


def _statistics(tokens: Any, n: int, top: int) -> NgramStatistics:
    found = ngram_counts(tokens, n)
    if not found:
        raise DataError(
            f"tokens: must be at least {n} to be counted in runs of {n}, found {len(tokens)}; "
            "pass a longer text or lower n"
        )
    counts = np.array([count for _, count in found])
    return NgramStatistics(n, int(counts.sum()), counts, found[:top], zipf_fit(counts))
