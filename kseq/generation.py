"""From a model's next-token logits to tokens: sampling, and a loop of constant work per token.

Nothing here knows a model.  It is handed a `step(ids (B, T), state) -> (logits (B, T, V), state)`
and numbers; randomness comes from NumPy, so one seed gives the same tokens on every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from kseq.checks import non_negative_int, positive_int, shown
from kseq.errors import NumericalError, UsageError

Step = Callable[[Any, Any], tuple[np.ndarray, Any]]

# Prompts are read in blocks of so many tokens, so that an engine that compiles its reading for
# each length compiles one.
READING_BLOCK = 64


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from the logits.

    temperature: 0 takes the likeliest token; otherwise logits are divided by it.
    top_k: keep the k likeliest tokens; more than V means all.
    top_p: keep the fewest likeliest tokens whose probabilities reach p (Holtzman et al.,
        arXiv:1904.09751).
    seed: prompt number i of a call draws from NumPy's generator [seed, i]; None draws afresh.

    Raises:
        UsageError: a temperature that is negative or not finite, top_k below 1, top_p outside
            (0, 1], a negative seed.

    Example:
        >>> Sampling(temperature=0.8, top_k=40, seed=1).top_k
        40
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)
        if self.top_k is not None:
            positive_int("top_k", self.top_k)
        if self.top_p is not None:
            _check_top_p(self.top_p)
        if self.seed is not None:
            non_negative_int("seed", self.seed, most=2**64 - 1)

    def generators(self, count: int) -> list[np.random.Generator]:
        """Return one random generator for each of `count` prompts."""
        if self.seed is None:
            return [np.random.default_rng() for _ in range(count)]
        return [np.random.default_rng([self.seed, row]) for row in range(count)]


def sample(logits: np.ndarray, sampling: Sampling, rng: np.random.Generator) -> int:
    """Return one token id drawn from logits (V,); at temperature 0 the first of the largest.

    Draws one uniform number and looks it up in the cumulative distribution, in float64.

    Example:
        >>> sample(np.array([0.0, 2.0, 1.0]), Sampling(), np.random.default_rng(0))
        1
    """
    return int(draw(np.asarray(logits)[None], sampling, [rng])[0])


def draw(
    logits: np.ndarray, sampling: Sampling, generators: Sequence[np.random.Generator]
) -> np.ndarray:
    """Return one token id for each row of logits (B, V), as `sample` draws it: (B,) int32.

    generators: one for each row; at temperature 0 they are left alone.

    Example:
        >>> draw(np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 3.0]]), Sampling(), []).tolist()
        [1, 0]
    """
    if sampling.temperature == 0:
        return logits.argmax(1).astype("int32")
    probabilities = probabilities_of(logits, sampling)
    cumulative = np.cumsum(probabilities, axis=1)
    uniform = np.array([rng.random() for rng in generators])
    above = cumulative > (uniform * cumulative[:, -1])[:, None]
    V = logits.shape[1]
    last = V - 1 - (probabilities[:, ::-1] != 0).argmax(1)
    return np.minimum(V - above.sum(1), last).astype("int32")


def probabilities_of(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the float64 distributions (..., V) that are drawn from at a temperature above 0.

    Example:
        >>> probabilities_of(np.zeros(4), Sampling(temperature=1.0, top_k=2)).tolist()
        [0.5, 0.5, 0.0, 0.0]
    """
    logits = np.asarray(logits, "float64")
    # The largest is taken off first: a tiny temperature sends the others to minus infinity.
    with np.errstate(over="ignore"):
        scaled = np.exp((logits - logits.max(-1, keepdims=True)) / sampling.temperature)
    scaled /= scaled.sum(-1, keepdims=True)
    if sampling.top_k is not None or sampling.top_p is not None:
        scaled = np.where(_kept(scaled, sampling), scaled, 0.0)
    return scaled / scaled.sum(-1, keepdims=True)


def generate_ids(
    step: Step, prompts: Sequence[np.ndarray], max_new_tokens: int, sampling: Sampling
) -> Iterator[np.ndarray]:
    """Yield the next id of every prompt, (B,) int32 at a time, `max_new_tokens` times.

    Each prompt, ids (P,) with P at least 1, is read once from a zero state; after that a token
    costs one step whatever the length of the text behind it.

    Raises:
        NumericalError: the logits after a prompt are NaN, as those of a model that diverged are.
    """
    if max_new_tokens == 0:
        return
    logits, state = read_prompts(step, prompts)
    _check_finite(logits)
    generators = sampling.generators(len(prompts))
    for produced in range(max_new_tokens):
        ids = draw(logits, sampling, generators)
        yield ids
        if produced + 1 < max_new_tokens:
            logits, state = step(ids[:, None], state)
            logits = logits[:, -1]


def read_prompts(step: Step, prompts: Sequence[np.ndarray]) -> tuple[np.ndarray, Any]:
    """Return the logits (B, V) after the last token of each prompt (P,), and the state there.

    Prompts of any lengths are read side by side.  A step that has `read(ids (B, T),
    counts (B,), state) -> (logits (B, V), state)`, which reads of each row as many tokens as are
    counted and leaves a row without any as it was, is asked with T = `READING_BLOCK` alone.
    """
    read = getattr(step, "read", None) or partial(_read_rows, step)
    counts = np.array([len(prompt) for prompt in prompts])
    ids = np.zeros((len(prompts), -(-counts.max() // READING_BLOCK) * READING_BLOCK), "int32")
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = prompt
    logits, state = np.zeros((1, 1)), None
    for start in range(0, ids.shape[1], READING_BLOCK):
        left = np.clip(counts - start, 0, READING_BLOCK)
        last, state = read(ids[:, start : start + READING_BLOCK], left, state)
        logits = np.where(left[:, None] > 0, last, logits)
    return logits, state


def _read_rows(
    step: Step, ids: np.ndarray, counts: np.ndarray, state: Any
) -> tuple[np.ndarray, Any]:
    """Read with a plain step: all rows to the first end, the others on to the next, and so on."""
    if counts.min() == counts.max():
        logits, state = step(ids[:, : counts[0]], state)
        return logits[:, -1], state
    # What is known of every row: its logits and its state.
    known = None if state is None else [np.zeros((len(ids), 1)), _map(_to_numpy, state)]
    start = 0
    for end in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts >= end)
        before = None if known is None else _map(itemgetter(rows), known[1])
        logits, after = step(ids[rows, start:end], before)
        known = _with_rows(known, rows, [logits[:, -1], _map(_to_numpy, after)], len(ids))
        start = end
    assert known is not None
    return known[0], known[1]


def _with_rows(whole: Any, rows: np.ndarray, parts: Any, count: int) -> Any:
    """Return `whole`, or zeros of `count` rows, with some of its rows replaced."""

    def replaced(new: np.ndarray, old: np.ndarray | None = None) -> np.ndarray:
        out = np.zeros((count, *new.shape[1:]), new.dtype)
        out[...] = 0 if old is None else old
        out[rows] = new
        return out

    return _map(replaced, parts) if whole is None else _map(replaced, parts, whole)


def _map(function: Callable[..., Any], *states: Any) -> Any:
    """Apply to each array of a state, or of several of one structure."""
    if isinstance(states[0], list | tuple):
        return [_map(function, *parts) for parts in zip(*states, strict=True)]
    return function(*states)


def _to_numpy(tensor: Any) -> np.ndarray:
    # A torch tensor may live on a GPU, or be in a bfloat16 that NumPy has not; the other
    # engines' tensors convert by themselves.
    if not hasattr(tensor, "detach"):
        return np.asarray(tensor)
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype.itemsize == 2 else tensor).numpy()


def _kept(scaled: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Say which tokens are kept; of equals the first.  Both are (..., V)."""
    descending = -np.sort(-scaled, axis=-1)
    count = _kept_count(descending, sampling)
    among = np.arange(scaled.shape[-1]) < count
    least = np.where(among, descending, np.inf).min(-1, keepdims=True)
    kept = ~(scaled < least)
    if (kept.sum(-1, keepdims=True) == count).all():
        return kept
    above = scaled > least
    equal = kept & ~above
    return above | (equal & (np.cumsum(equal, axis=-1) <= count - above.sum(-1, keepdims=True)))


def _kept_count(descending: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return how many tokens of each row are kept, (..., 1)."""
    V = descending.shape[-1]
    count = np.full((*descending.shape[:-1], 1), min(V, sampling.top_k or V))
    if sampling.top_p is None:
        return count
    short = np.cumsum(descending, axis=-1) < sampling.top_p
    return np.minimum(count, short.sum(-1, keepdims=True) + 1)


def _check_finite(logits: np.ndarray) -> None:
    # Minus infinity rules a token out; the largest of a row with NaN is NaN.
    if not np.isfinite(logits.max(-1)).all():
        raise NumericalError(
            "logits: must be numbers, found NaN or infinity after the prompt; the model's weights "
            "are not finite or far too large: load an earlier file, or train again"
        )


def _check_temperature(temperature: object) -> None:
    if not 0 <= _number(temperature) < np.inf:
        raise UsageError(
            f"temperature: must be a finite number, at least 0, found {shown(temperature)}; "
            "0 takes the likeliest token, 1 samples from the model"
        )


def _check_top_p(top_p: object) -> None:
    if not 0 < _number(top_p) <= 1:
        raise UsageError(
            f"top_p: must be above 0 and at most 1, found {shown(top_p)}; 1 keeps every token"
        )


def _number(value: object) -> float:
    """The number, or NaN for what is none."""
    return float(value) if isinstance(value, int | float | np.number) else np.nan
