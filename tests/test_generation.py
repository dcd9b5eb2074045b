"""Sampling: the distribution, the draw, the options; no model, no engine."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq import UsageError
from kseq.generation import Sampling, draw, probabilities_of, sample

pytestmark = pytest.mark.engine("torch")

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


def drawn_slowly(logits, sampling, rng):
    """Draw one token of logits (V,) by sorting them all."""
    if sampling.temperature == 0:
        return int(np.argmax(logits))
    logits = np.asarray(logits, "float64")
    with np.errstate(over="ignore"):
        scaled = np.exp((logits - logits.max()) / sampling.temperature)
    scaled /= scaled.sum()
    order = np.argsort(-scaled, kind="stable")
    count = min(len(scaled), sampling.top_k or len(scaled))
    if sampling.top_p is not None:
        count = min(count, int(np.searchsorted(np.cumsum(scaled[order]), sampling.top_p)) + 1)
    kept = np.isin(np.arange(len(scaled)), order[:count])
    scaled = np.where(kept, scaled, 0.0)
    scaled /= scaled.sum()
    cumulative = np.cumsum(scaled)
    drawn = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
    return int(min(drawn, np.flatnonzero(scaled)[-1]))


@given(
    st.integers(1, 9),
    st.integers(1, 300),
    st.sampled_from([0.0, 5e-324, 0.3, 1.0, 3.0]),
    st.none() | st.integers(1, 40),
    st.none() | st.floats(0.01, 1.0),
    st.integers(0, 1000),
)
def test_rows_are_drawn_at_once_as_one_by_one(rows, size, temperature, top_k, top_p, seed):
    # Halves of whole numbers, so that there are equals to choose among.
    logits = np.random.default_rng(seed).integers(-12, 12, (rows, size)).astype("float32") / 2
    sampling = Sampling(temperature, top_k, top_p, seed)
    at_once, one_by_one = sampling.generators(rows), sampling.generators(rows)
    for _ in range(3):
        slowly = [
            drawn_slowly(*each) for each in zip(logits, [sampling] * rows, one_by_one, strict=True)
        ]
        assert draw(logits, sampling, at_once).tolist() == slowly


def test_logits_that_are_no_numbers_draw_what_they_always_drew():
    logits = np.full((1, 5), np.nan)
    for sampling in (Sampling(), Sampling(1.0), Sampling(1.0, 2), Sampling(1.0, None, 0.5)):
        slow = drawn_slowly(logits[0], sampling, np.random.default_rng(0))
        assert draw(logits, sampling, [np.random.default_rng(0)]).tolist() == [slow]


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
