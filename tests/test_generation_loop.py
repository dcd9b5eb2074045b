"""The loop over tokens and the reading of prompts, with steps that are plain NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.generation import READING_BLOCK, Sampling, generate_ids, read_prompts, sample

pytestmark = pytest.mark.engine("torch")

SEEDS = st.integers(0, 2**64 - 1)

V = 50


class Chain:
    """A step whose next logits depend on every token read so far, in order, through a hash."""

    def __init__(self):
        self.shapes = []
        self.table = np.random.default_rng(0).normal(0, 3, (1009, V))

    def __call__(self, ids, state):
        ids = np.asarray(ids)
        self.shapes.append(ids.shape)
        hashes = np.zeros((len(ids), 1), "int64") if state is None else state[0][0]
        logits = []
        for column in ids.T:
            hashes = (hashes * 31 + column[:, None] + 1) % len(self.table)
            logits.append(self.table[hashes[:, 0]])
        return np.stack(logits, 1), [[hashes]]


def generated(prompts, count, sampling, step=None):
    rows = list(generate_ids(step or Chain(), prompts, count, sampling))
    return np.stack(rows, 1).tolist()


def slowly(prompt, count, sampling, row=0):
    """Read the whole text anew for every token."""
    text, rng, step = list(prompt), sampling.generators(row + 1)[row], Chain()
    for _ in range(count):
        logits, _ = step(np.array([text]), None)
        text.append(sample(logits[0, -1], sampling, rng))
    return text[len(prompt) :]


PROMPTS = [
    np.arange(n) % V for n in (1, 7, READING_BLOCK - 1, READING_BLOCK, READING_BLOCK * 2 + 3)
]
HOW = pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(0.8, top_k=9, top_p=0.9, seed=5)], ids=["greedy", "sampled"]
)


@HOW
@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_tokens_equal_those_of_reading_the_whole_text_each_time(sampling, prompt):
    assert generated([prompt], 30, sampling) == [slowly(prompt, 30, sampling)]


@HOW
def test_many_prompts_at_once_equal_each_alone(sampling):
    expected = [slowly(prompt, 30, sampling, row) for row, prompt in enumerate(PROMPTS)]
    assert generated(PROMPTS, 30, sampling) == expected


def test_other_prompts_do_not_change_a_text():
    sampling = Sampling(1.0, seed=2)
    first = generated(PROMPTS[:2], 20, sampling)
    assert generated([PROMPTS[0], PROMPTS[4]], 20, sampling)[0] == first[0]
    assert generated([PROMPTS[0]], 20, sampling)[0] == first[0]
    # Equal prompts side by side have streams of their own.
    twice = generated([PROMPTS[1], PROMPTS[1]], 20, sampling)
    assert twice[0] != twice[1]


@given(st.integers(1, 300), st.integers(1, 3), st.integers(1, 20))
def test_a_token_costs_one_step_however_long_the_text(length, rows, count):
    step = Chain()
    generated([np.zeros(length, int)] * rows, count, Sampling(), step)
    blocks, rest = divmod(length, READING_BLOCK)
    reading = [(rows, READING_BLOCK)] * blocks + [(rows, rest)] * (rest > 0)
    assert step.shapes == reading + [(rows, 1)] * (count - 1)


def test_prompts_of_many_lengths_are_read_side_by_side():
    step = Chain()
    read_prompts(step, [np.zeros(n, int) for n in (3, 5, 3, READING_BLOCK + 2)])
    # All to the third token, two of them on to the fifth, the last one alone.
    assert step.shapes == [(4, 3), (2, 2), (1, READING_BLOCK - 5), (1, 2)]


class Reader(Chain):
    """A step that reads prompts itself, whatever their lengths, and says what it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def read(self, ids, counts, state):
        self.asked.append((ids.shape, counts.tolist()))
        logits, hashes = np.full((len(ids), V), np.nan), np.zeros((len(ids), 1), "int64")
        for row, count in enumerate(counts):
            before = None if state is None else [[state[0][0][[row]]]]
            if count:
                read, before = self(ids[[row], :count], before)
                logits[row] = read[0, -1]
            hashes[row] = before[0][0]
        return logits, [[hashes]]


@HOW
def test_a_step_may_read_prompts_itself(sampling):
    step = Reader()
    assert generated(PROMPTS, 10, sampling, step) == generated(PROMPTS, 10, sampling)
    assert {shape for shape, _ in step.asked} == {(len(PROMPTS), READING_BLOCK)}
    assert step.asked[1][1] == [0, 0, 0, 0, READING_BLOCK]


def test_nothing_is_read_for_nothing():
    step = Chain()
    assert list(generate_ids(step, PROMPTS, 0, Sampling())) == []
    assert step.shapes == []


def test_tokens_come_as_soon_as_they_are_drawn():
    step = Chain()
    tokens = generate_ids(step, [np.zeros(1, int)], 10**6, Sampling())
    drawn = [next(tokens) for _ in range(3)]
    assert len(step.shapes) == 3
    assert [(ids.shape, ids.dtype) for ids in drawn] == [((1,), np.int32)] * 3


@given(SEEDS)
def test_the_same_seed_gives_the_same_tokens(seed):
    sampling = Sampling(1.0, seed=seed)
    assert generated(PROMPTS[:2], 10, sampling) == generated(PROMPTS[:2], 10, sampling)


def test_without_a_seed_every_call_draws_afresh():
    runs = {str(generated([PROMPTS[0]], 30, Sampling(5.0))) for _ in range(3)}
    assert len(runs) == 3
    assert generated([PROMPTS[0]], 30, Sampling(5.0, seed=1)) != generated(
        [PROMPTS[0]], 30, Sampling(5.0, seed=2)
    )
