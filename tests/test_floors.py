"""The floors: worked by hand, known on the real text, and proper distributions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq import Corpus, DataError, load_corpus, ngram_floors
from kseq.data import floors

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")


def test_training_floors_by_hand():
    # a a b a: P(a) = 3/4; after a comes a once and b once, after b always a.
    found = ngram_floors(np.array([0, 0, 1, 0]))

    assert found.uniform == 2
    assert found.unigram == pytest.approx(math.exp(-(3 * math.log(3 / 4) + math.log(1 / 4)) / 4))
    assert found.bigram == pytest.approx(math.exp(2 * math.log(2) / 3))


def test_held_out_floors_by_hand():
    # Training a a b a, V = 3: P1(a) = 4/7, P1(b) = 2/7, P1(c) = 1/7.
    # After a: 2 tokens of 2 kinds, so P(c|a) = (0 + 2/7) / (2 + 2) = 1/14.
    found = ngram_floors(np.array([0, 0, 1, 0]), np.array([0, 2]), vocab_size=3)

    assert found.unigram == pytest.approx(math.sqrt(7 / 4 * 7))
    assert found.bigram == pytest.approx(14)


def test_the_first_ten_thousand_characters_of_the_time_machine(data_dir):
    book = load_corpus("time_machine", separator="", data_dir=data_dir)
    found = ngram_floors(book.divide(10_000, 0)[0])

    assert found.uniform == 28
    assert found.unigram == pytest.approx(17.41, abs=0.005)
    assert found.bigram == pytest.approx(9.87, abs=0.005)


ids = st.lists(st.integers(0, 4), min_size=2, max_size=30).map(np.array)


@given(train=ids)
def test_held_out_bigrams_are_a_distribution(train):
    """For every token before, the probabilities of what comes after sum to one."""
    for before in range(5):
        total = sum(
            1 / floors.ngram_floors(train, np.array([before, after]), vocab_size=5).bigram
            for after in range(5)
        )
        assert total == pytest.approx(1)


@given(train=ids)
def test_held_out_unigrams_are_a_distribution(train):
    total = sum(
        1 / floors.ngram_floors(train, np.array([token, token]), vocab_size=5).unigram
        for token in range(5)
    )

    assert total == pytest.approx(1)


@given(train=ids, held_out=ids)
def test_held_out_bigrams_are_those_of_witten_and_bell(train, held_out):
    """Counted one by one, as the paper has it: room for the new as for kinds seen."""
    pairs, nats = list(itertools.pairwise(train)), 0.0
    for before, after in itertools.pairwise(held_out):
        followers = [b for a, b in pairs if a == before]
        alone = (train.tolist().count(after) + 1) / (len(train) + 5)
        kinds = len(set(followers))
        mixed = (followers.count(after) + kinds * alone) / (len(followers) + kinds or 1)
        nats -= math.log(mixed if followers else alone)

    found = ngram_floors(train, held_out, vocab_size=5)
    assert found.bigram == pytest.approx(math.exp(nats / (len(held_out) - 1)))
    assert found.bigram < math.inf
    assert found.unigram < math.inf


def test_tokens_never_seen_in_training_cost_much_but_not_everything():
    found = ngram_floors(np.array([0, 1] * 50), np.array([2, 2, 2]), vocab_size=3)

    assert found.unigram == pytest.approx(103)
    assert found.bigram == pytest.approx(103)


@given(text=ids)
def test_knowing_more_of_the_text_never_costs(text):
    found = ngram_floors(text, vocab_size=5)

    assert 1 <= found.unigram <= found.uniform + 1e-9
    assert found.bigram >= 1


def test_a_corpus_brings_its_vocabulary():
    train, held_out = Corpus.from_text("abracadabra abracadabra").split(0.7)

    assert ngram_floors(train, held_out).uniform == len(train.vocab)


def test_one_token_has_no_floor():
    with pytest.raises(DataError, match=r"at least 2 tokens, found 1"):
        ngram_floors(np.array([0]))
