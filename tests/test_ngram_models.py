"""Models that count: worked by hand, proper distributions, and counted slowly for comparison."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq import Corpus, DataError, NgramModel, UsageError, load_corpus, ngram_floors
from kseq.data.ngram_models import SMOOTHINGS

pytestmark = pytest.mark.engine("torch")

V = 4
ids = st.lists(st.integers(0, V - 1), min_size=4, max_size=25)


def test_laplace_by_hand():
    # a a b a, V = 3.  n = 3: a a -> b, a b -> a.  P(b | a a) = 2 / 4, P(c | a a) = 1 / 4.
    model = NgramModel(np.array([0, 0, 1, 0]), 3, "laplace", vocab_size=3)

    assert model.probabilities([0, 0, 1]).tolist() == [0.5]
    assert model.probabilities([0, 0, 2]).tolist() == [0.25]
    assert model.probabilities([2, 2, 2]).tolist() == [pytest.approx(1 / 3)]


def test_witten_bell_by_hand():
    # a a b a, V = 3.  P(b) = 2/7; after a: a, b: (1 + 2 * 2/7) / 4 = 11/28;
    # after a a: b: (1 + 1 * 11/28) / 2 = 39/56.
    model = NgramModel(np.array([0, 0, 1, 0]), 3, "witten_bell", vocab_size=3)

    assert model.probabilities([0, 0, 1]) == pytest.approx(39 / 56)
    assert model.probabilities([2, 0, 1]) == pytest.approx(11 / 28)
    assert model.probabilities([0, 2, 1]) == pytest.approx(2 / 7)


def test_kneser_ney_by_hand():
    # a b a c a, V = 3, n = 2.  Pairs ab, ba, ac, ca, each once: D = 1/2.
    # Different tokens before a: 2, before b: 1, before c: 1: n1 = 2, n2 = 1, D = 2/4.
    # P(b) = (1 - 1/2) / 4 + 1/2 * 3/4 * 1/3 = 1/4; P(a) = 3/8 + 1/8 = 1/2.
    # P(b | a) = (1 - 1/2) / 2 + 1/2 * 2/2 * 1/4 = 3/8; P(a | a) = 1/4.
    model = NgramModel(np.array([0, 1, 0, 2, 0]), 2, "kneser_ney")

    assert model.probabilities([0, 1, 0]) == pytest.approx([3 / 8, 1 / 2 + 1 / 2 * 1 / 2])
    assert model.probabilities([0, 0]) == pytest.approx(1 / 4)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@given(train=ids, before=st.lists(st.integers(0, V - 1), min_size=3, max_size=3))
def test_what_may_come_next_adds_up_to_one(n, smoothing, train, before):
    model = NgramModel(train, n, smoothing, vocab_size=V)

    each = [model.probabilities([*before, token])[-1] for token in range(V)]

    assert sum(each) == pytest.approx(1)
    assert min(each) > 0


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
@given(train=ids, text=ids)
def test_probabilities_are_those_counted_one_by_one(n, smoothing, train, text):
    slow = Counting(train, n, smoothing)
    expected = [slow.of(text[i - n + 1 : i], text[i]) for i in range(n - 1, len(text))]

    found = NgramModel(train, n, smoothing, vocab_size=V).probabilities(text)

    assert found.tolist() == pytest.approx([float(each) for each in expected])


class Counting:
    """The formulas of the module, one run at a time, in fractions."""

    def __init__(self, train, n, smoothing):
        self.train, self.n, self.smoothing = train, n, smoothing
        self.tables = [self.table(length) for length in range(1, n + 1)]

    def table(self, length):
        if self.smoothing == "kneser_ney" and length < self.n:
            runs_here = [run[1:] for run in set(self.runs(length + 1))]
        else:
            runs_here = self.runs(length)
        return {run: runs_here.count(run) for run in runs_here}

    def runs(self, size):
        return [tuple(self.train[i : i + size]) for i in range(len(self.train) - size + 1)]

    def of(self, before, token):
        table = self.tables[len(before)]
        follow = {run[-1]: count for run, count in table.items() if run[:-1] == tuple(before)}
        count, total, kinds = follow.get(token, 0), sum(follow.values()), len(follow)
        if self.smoothing == "laplace" or (self.smoothing == "witten_bell" and not before):
            return Fraction(count + 1, total + V)
        shorter = self.of(before[1:], token) if before else Fraction(1, V)
        if not total:
            return shorter
        if self.smoothing == "witten_bell":
            return (count + kinds * shorter) / (total + kinds)
        once, twice = (list(table.values()).count(times) for times in (1, 2))
        cut = Fraction(once, once + 2 * twice) if once and twice else Fraction(1, 2)
        return (max(count - cut, 0) + cut * kinds * shorter) / total


def test_orders_one_and_two_are_the_floors_of_every_report():
    train, held_out = Corpus.from_text("the cat sat on the mat, the dog on the cat").split(0.6)
    floors = ngram_floors(train, held_out)

    assert NgramModel(train, 1, "laplace").perplexity(held_out) == pytest.approx(floors.unigram)
    assert NgramModel(train, 2, "witten_bell").perplexity(held_out) == pytest.approx(floors.bigram)


def test_perplexity_is_that_of_the_mean_over_all_judged():
    model = NgramModel([0, 1, 0, 1, 1], 2)
    text = [0, 1, 1, 0]

    nats = -np.log(model.probabilities(text))
    assert len(nats) == 3
    assert model.perplexity(text) == pytest.approx(math.exp(nats.mean()))


def test_longer_runs_help_on_a_real_text():
    train, held_out = load_corpus("story").split(0.9)
    found = [NgramModel(train, n).perplexity(held_out) for n in (1, 2, 3, 4)]

    assert found == sorted(found, reverse=True)
    assert found[-1] < 8


def test_runs_longer_than_64_bits_could_number():
    rng = np.random.default_rng(0)
    train = np.append(rng.integers(50_000, size=500), [7])
    model = NgramModel(train, 12, "kneser_ney", vocab_size=50_000)

    assert model.probabilities(train).min() > 0.2
    assert NgramModel(train, 12, "laplace", 50_000).probabilities(train).max() <= 2 / 50_001


@pytest.mark.parametrize("n", [0, 1.5, "two"])
def test_an_order_that_is_none(n):
    with pytest.raises(UsageError, match=r"n: must be a whole number, at least 1"):
        NgramModel([0, 1], n)


def test_a_smoothing_that_is_none():
    with pytest.raises(UsageError, match=r"smoothing: must be .*did you mean 'kneser_ney'"):
        NgramModel([0, 1], 1, "kneser-ney")


def test_what_cannot_be_counted_or_judged():
    with pytest.raises(
        DataError, match=r"train: must have at least 3 tokens .* found shape \(2,\)"
    ):
        NgramModel([0, 1], 3)
    with pytest.raises(DataError, match=r"train: must be ids from 0 to 1, found 0 to 2"):
        NgramModel([0, 2], 1, vocab_size=2)
    with pytest.raises(DataError, match=r"ids: must be ids from 0 to 1, found -1 to 1"):
        NgramModel([0, 1], 1).probabilities([1, -1])
    with pytest.raises(DataError, match=r"ids: must have at least 2 tokens"):
        NgramModel([0, 1], 2).perplexity([1])


def test_ids_that_are_no_whole_numbers_are_refused():
    with pytest.raises(DataError, match="train: must be whole numbers, found float64"):
        NgramModel(np.array([0.2, 1.9, 0.7]), 1)
