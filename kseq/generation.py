"""From a model's next-token logits to tokens: sampling, and a loop of constant work per token.

Nothing here knows a model.  It is handed a `step(ids (B, T), state) -> (logits (B, T, V), state)`
and numbers; randomness comes from NumPy, so one seed gives the same tokens on every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kseq.checks import non_negative_int, positive_int, shown
from kseq.errors import UsageError

Step = Callable[[Any, Any], tuple[np.ndarray, Any]]

# A prompt is read in blocks of this many tokens and then one by one, so that an engine that
# compiles a step for each length compiles two.
WARM_UP_BLOCK = 64


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
    if sampling.temperature == 0:
        return int(np.argmax(logits))
    probabilities = probabilities_of(logits, sampling)
    cumulative = np.cumsum(probabilities)
    drawn = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
    return int(min(drawn, np.flatnonzero(probabilities)[-1]))


def probabilities_of(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the float64 distribution (V,) that `sample` draws from, for a temperature above 0.

    Example:
        >>> probabilities_of(np.zeros(4), Sampling(temperature=1.0, top_k=2)).tolist()
        [0.5, 0.5, 0.0, 0.0]
    """
    logits = np.asarray(logits, "float64")
    # The largest is taken off first: a tiny temperature sends the others to minus infinity.
    with np.errstate(over="ignore"):
        scaled = np.exp((logits - logits.max()) / sampling.temperature)
    scaled /= scaled.sum()
    order = np.argsort(-scaled, kind="stable")
    kept = np.zeros(len(scaled), bool)
    kept[order[: _kept_count(scaled[order], sampling)]] = True
    kept_only = np.where(kept, scaled, 0.0)
    return kept_only / kept_only.sum()


def generate_ids(
    step: Step, prompts: Sequence[np.ndarray], max_new_tokens: int, sampling: Sampling
) -> Iterator[np.ndarray]:
    """Yield the next id of every prompt, (B,) int32 at a time, `max_new_tokens` times.

    Each prompt, ids (P,) with P at least 1, is read once from a zero state; after that a token
    costs one step whatever the length of the text behind it.
    """
    if max_new_tokens == 0:
        return
    logits, state = _read_all(step, prompts)
    generators = sampling.generators(len(prompts))
    for produced in range(max_new_tokens):
        drawn = [sample(row, sampling, rng) for row, rng in zip(logits, generators, strict=True)]
        ids = np.array(drawn, "int32")
        yield ids
        if produced + 1 < max_new_tokens:
            logits, state = step(ids[:, None], state)
            logits = logits[:, -1]


def read_prompt(step: Step, prompt: np.ndarray) -> tuple[np.ndarray, Any]:
    """Return the logits (1, V) after the last token of `prompt` (P,) and the state there."""
    logits, state = np.zeros((1, 1, 1)), None
    for block in _blocks(np.asarray(prompt, "int32")):
        logits, state = step(block[None, :], state)
    return logits[:, -1], state


def _read_all(step: Step, prompts: Sequence[np.ndarray]) -> tuple[np.ndarray, Any]:
    read = [read_prompt(step, prompt) for prompt in prompts]
    if len(read) == 1:
        return read[0]
    logits = np.concatenate([logits for logits, _ in read])
    return logits, _stack([state for _, state in read])


def _stack(states: Sequence[Any]) -> Any:
    """Join states of one row each into a state of many rows, layer by layer."""
    if isinstance(states[0], list | tuple):
        return [_stack(parts) for parts in zip(*states, strict=True)]
    return np.concatenate([_to_numpy(state) for state in states])


def _to_numpy(tensor: Any) -> np.ndarray:
    # A torch tensor may live on a GPU; the other engines' tensors convert by themselves.
    return tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)


def _blocks(prompt: np.ndarray) -> list[np.ndarray]:
    whole = len(prompt) - len(prompt) % WARM_UP_BLOCK
    blocks = [prompt[i : i + WARM_UP_BLOCK] for i in range(0, whole, WARM_UP_BLOCK)]
    return blocks + [prompt[i : i + 1] for i in range(whole, len(prompt))]


def _kept_count(descending: np.ndarray, sampling: Sampling) -> int:
    count = len(descending)
    if sampling.top_k is not None:
        count = min(count, sampling.top_k)
    if sampling.top_p is not None:
        reached = int(np.searchsorted(np.cumsum(descending), sampling.top_p, side="left"))
        count = min(count, reached + 1)
    return count


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
