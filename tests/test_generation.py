"""Sampling and the loop over tokens, with steps that are plain NumPy: no model, no engine."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq import UsageError
from kseq.generation import WARM_UP_BLOCK, Sampling, generate_ids, probabilities_of, sample

# Quarters, so that ties occur and no difference is lost to rounding.
LOGITS = st.lists(st.integers(-80, 80).map(lambda n: n / 4), min_size=1, max_size=30).map(np.array)
TEMPERATURES = st.floats(0.5, 4.0)
SEEDS = st.integers(0, 2**64 - 1)


def softmax(logits, temperature=1.0):
    exponentials = [math.exp((x - max(logits)) / temperature) for x in logits]
    return np.array(exponentials) / math.fsum(exponentials)


# The distribution.


def test_worked_by_hand():
    logits = np.log([0.5, 0.2, 0.2, 0.1])
    kept = {
        (None, None): [0.5, 0.2, 0.2, 0.1],
        (3, None): [5 / 9, 2 / 9, 2 / 9, 0],
        (1, None): [1, 0, 0, 0],
        # The first of equals is kept.
        (2, None): [5 / 7, 2 / 7, 0, 0],
        (None, 0.4): [1, 0, 0, 0],
        (None, 0.6): [5 / 7, 2 / 7, 0, 0],
        (None, 0.8): [5 / 9, 2 / 9, 2 / 9, 0],
        (2, 0.8): [5 / 7, 2 / 7, 0, 0],
        (99, 1.0): [0.5, 0.2, 0.2, 0.1],
    }
    for (top_k, top_p), expected in kept.items():
        found = probabilities_of(logits, Sampling(temperature=1.0, top_k=top_k, top_p=top_p))
        np.testing.assert_allclose(found, expected, atol=1e-12)


@given(LOGITS, TEMPERATURES)
def test_without_filters_it_is_the_softmax(logits, temperature):
    found = probabilities_of(logits, Sampling(temperature=temperature))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, softmax(logits, temperature), rtol=1e-9)


@given(LOGITS, TEMPERATURES, st.integers(1, 40), st.floats(0.01, 1.0))
def test_probabilities_are_those_of_the_kept_scaled_to_one(logits, temperature, top_k, top_p):
    found = probabilities_of(logits, Sampling(temperature, top_k, top_p))
    whole = softmax(logits, temperature)
    kept = found > 0
    assert math.isclose(found.sum(), 1.0, rel_tol=1e-12)
    np.testing.assert_allclose(found[kept], whole[kept] / whole[kept].sum(), rtol=1e-9)
    assert kept[np.argmax(logits)]
    assert logits[kept].min() >= logits[~kept].max(initial=-np.inf)


@given(LOGITS, TEMPERATURES, st.integers(1, 40))
def test_top_k_keeps_k(logits, temperature, top_k):
    found = probabilities_of(logits, Sampling(temperature, top_k=top_k))
    assert np.count_nonzero(found) == min(top_k, len(logits))


@given(LOGITS, TEMPERATURES, st.floats(0.01, 1.0))
def test_top_p_keeps_the_fewest_that_reach_p(logits, temperature, top_p):
    kept = probabilities_of(logits, Sampling(temperature, top_p=top_p)) > 0
    whole = softmax(logits, temperature)
    assert whole[kept].sum() >= top_p - 1e-9
    assert whole[kept].sum() - whole[kept].min() < top_p + 1e-9


@given(LOGITS, st.sampled_from([5e-324, 1e-300, 1e-30, 1e-3]), SEEDS)
def test_a_temperature_near_0_takes_one_of_the_largest(logits, temperature, seed):
    sampling = Sampling(temperature)
    found = probabilities_of(logits, sampling)
    best = logits == logits.max()
    np.testing.assert_allclose(found, best / best.sum())
    assert best[sample(logits, sampling, np.random.default_rng(seed))]


@given(LOGITS, SEEDS)
def test_temperature_0_takes_the_first_of_the_largest(logits, seed):
    greedy = sample(logits, Sampling(0.0), np.random.default_rng(seed))
    assert greedy == logits.tolist().index(max(logits))


def test_a_high_temperature_approaches_uniform():
    found = probabilities_of(np.array([3.0, -2.0, 0.0]), Sampling(1e9))
    np.testing.assert_allclose(found, 1 / 3, atol=1e-8)


def test_half_precision_logits_are_read_in_float64():
    found = probabilities_of(np.arange(20, dtype="float16"), Sampling(0.01))
    assert found.dtype == np.float64
    assert found[-1] == pytest.approx(1.0)


# The draw.


@given(LOGITS, st.integers(1, 5), st.floats(0.05, 1.0), SEEDS)
def test_what_is_not_kept_is_never_drawn(logits, top_k, top_p, seed):
    sampling = Sampling(1.0, top_k, top_p)
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(probabilities_of(logits, sampling))
    assert {sample(logits, sampling, rng) for _ in range(20)} <= set(kept.tolist())


class Always:
    """A generator whose every number is the same."""

    def __init__(self, number):
        self.number = number

    def random(self):
        return self.number


@given(LOGITS, st.integers(1, 5))
def test_the_smallest_and_the_largest_number_draw_kept_tokens(logits, top_k):
    sampling = Sampling(1.0, top_k)
    kept = np.flatnonzero(probabilities_of(logits, sampling))
    assert sample(logits, sampling, Always(0.0)) == kept[0]
    assert sample(logits, sampling, Always(np.nextafter(1.0, 0.0))) == kept[-1]


def test_tokens_come_as_often_as_their_probabilities_say():
    logits, sampling = np.array([1.0, 0.0, 2.0, -1.0]), Sampling(1.5, top_k=3)
    rng, draws = np.random.default_rng(0), 20_000
    counts = np.bincount([sample(logits, sampling, rng) for _ in range(draws)], minlength=4)
    p = probabilities_of(logits, sampling)
    # Five standard deviations of a binomial count.
    assert (np.abs(counts - draws * p) <= 5 * np.sqrt(draws * p * (1 - p))).all()


# The loop.

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
    np.arange(n) % V for n in (1, 7, WARM_UP_BLOCK - 1, WARM_UP_BLOCK, WARM_UP_BLOCK * 2 + 3)
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
    blocks, singles = divmod(length, WARM_UP_BLOCK)
    reading = [(1, WARM_UP_BLOCK)] * blocks + [(1, 1)] * singles
    assert step.shapes == reading * rows + [(rows, 1)] * (count - 1)


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


# Options that cannot be used.


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"temperature": -0.5},
            r"^temperature: must be a finite number, at least 0, found -0.5; 0 ",
        ),
        (
            {"temperature": math.nan},
            r"^temperature: must be a finite number, at least 0, found nan",
        ),
        (
            {"temperature": math.inf},
            r"^temperature: must be a finite number, at least 0, found inf",
        ),
        ({"temperature": "hot"}, r"^temperature: must be a finite number, at least 0, found 'hot'"),
        ({"top_k": 0}, r"^top_k: must be a whole number, at least 1, found 0; choose 1 or more"),
        ({"top_k": 2.0}, r"^top_k: must be a whole number, at least 1, found 2.0"),
        ({"top_p": 0.0}, r"^top_p: must be above 0 and at most 1, found 0.0; 1 keeps every token"),
        ({"top_p": 1.5}, r"^top_p: must be above 0 and at most 1, found 1.5"),
        ({"top_p": math.nan}, r"^top_p: must be above 0 and at most 1, found nan"),
        ({"top_p": "most"}, r"^top_p: must be above 0 and at most 1, found 'most'"),
        ({"seed": -1}, r"^seed: must be a whole number, at least 0, found -1"),
        ({"seed": 2**64}, r"^seed: must be a whole number, at most 18,446,744,073,709,551,615"),
    ],
)
def test_options_that_cannot_be_used(options, words):
    with pytest.raises(UsageError, match=words):
        Sampling(**options)
