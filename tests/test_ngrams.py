"""Runs of tokens: counted as in the book, slowly for comparison, and drawn with their exponents."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from command_line import works
from hypothesis import given
from hypothesis import strategies as st

from kseq import (
    Corpus,
    DataError,
    UsageError,
    load_corpus,
    ngram_counts,
    ngram_statistics,
    plot_ngrams,
)
from kseq.data.ngrams import zipf_fit

pytestmark = pytest.mark.engine("torch")

HAMLET = ["to", "be", "or", "not", "to", "be"]


@pytest.fixture(scope="module")
def book(data_dir):
    return load_corpus("time_machine", level="word", data_dir=data_dir)


def test_runs_of_words_of_the_time_machine(book):
    assert ngram_counts(book, 1)[:2] == [(("the",), 2261), (("i",), 1267)]
    assert ngram_counts(book, 2)[:3] == [
        (("of", "the"), 309),
        (("in", "the"), 169),
        (("i", "had"), 130),
    ]
    triples = ngram_counts(book, 3)
    assert triples[0] == (("the", "time", "traveller"), 59)
    assert sum(count for _, count in triples) == len(book) - 2


def test_a_corpus_is_counted_as_the_list_of_its_tokens(book):
    for n in (1, 2, 3, 5):
        assert ngram_counts(book, n) == ngram_counts(book.tokens, n)


def test_tokens_the_vocabulary_lacks_are_counted_as_they_stand():
    corpus = Corpus.from_text("to be or not to be", level="word", min_freq=2)

    assert corpus.unk_count == 2
    assert ngram_counts(corpus, 2) == ngram_counts(HAMLET, 2)


def test_ids_on_the_disk_are_counted_alike(tmp_path):
    found = load_corpus("story", cache_dir=tmp_path)

    assert ngram_counts(found, 3) == ngram_counts(load_corpus("story"), 3)


@given(text=st.text(alphabet="abc", max_size=40).map("ab".__add__), n=st.integers(1, 6))
def test_counts_are_those_of_a_dictionary(text, n):
    expected = Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1)).most_common()

    assert ngram_counts(Corpus.from_text(text), n) == expected
    assert ngram_counts(text, n) == expected


@pytest.mark.parametrize("n", [0, -1, 1.0])
def test_wrong_length_of_runs(n):
    with pytest.raises(UsageError, match=r"^n: must be"):
        ngram_counts(HAMLET, n)


def test_runs_longer_than_the_text():
    assert ngram_counts(HAMLET, 7) == []
    assert ngram_counts(Corpus.from_text("ab"), 3) == []
    assert ngram_counts("aaa", 2) == [(("a", "a"), 2)]
    with pytest.raises(DataError, match=r"tokens: must be at least 7 .*, found 6"):
        ngram_statistics(HAMLET, [7])


# The fit.


@given(exponent=st.floats(0.1, 2), scale=st.floats(1e6, 1e9))
def test_a_power_law_is_found_again(exponent, scale):
    fit = zipf_fit(scale * np.arange(1, 201.0) ** -exponent)

    assert fit.exponent == pytest.approx(exponent)
    assert fit.scale == pytest.approx(scale)
    assert (fit.first, fit.last) == (10, 200)


def test_the_first_ranks_and_rare_runs_are_left_out():
    counts = [10**9] * 9 + [1000 / rank for rank in range(10, 201)] + [1, 1, 1]

    fit = zipf_fit(counts)

    assert (fit.exponent, fit.last) == (pytest.approx(1), 200)


def test_too_few_ranks_have_no_fit():
    assert zipf_fit([9] * 18) is None
    assert zipf_fit([9] * 19).exponent == pytest.approx(0)


def test_exponents_of_the_time_machine(book):
    found = ngram_statistics(book)

    assert [each.total for each in found] == [32_775, 32_774, 32_773]
    assert len(found[0].counts) == 4579
    exponents = [each.fit.exponent for each in found]
    assert exponents == sorted(exponents, reverse=True)
    assert exponents[0] == pytest.approx(1, abs=0.15)
    assert found[2].to_dict()["top"][0] == [["the", "time", "traveller"], 59]


# The figure and the command.


def test_the_figure_has_counts_and_fitted_lines(book):
    statistics = ngram_statistics(book)

    axes = plot_ngrams(statistics).axes[0]

    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    solid = [line for line in axes.lines if line.get_linestyle() == "-"]
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    for each, line, fitted in zip(statistics, solid, dashed, strict=True):
        assert line.get_xydata()[0].tolist() == [1, each.counts[0]]
        assert line.get_xydata()[-1].tolist() == [len(each.counts), 1]
        assert fitted.get_xdata().tolist() == [each.fit.first, each.fit.last]
        assert fitted.get_ydata()[0] == pytest.approx(each.fit.scale * 10**-each.fit.exponent)
        assert f"exponent {each.fit.exponent:.2f}" in line.get_label()


def test_a_text_too_short_to_fit_is_drawn_all_the_same():
    labels = [text.get_text() for text in plot_ngrams("abc").axes[0].get_legend().get_texts()]

    assert labels == ["unigrams", "bigrams", "trigrams"]
    with pytest.raises(DataError, match=r"found none"):
        plot_ngrams([])


def test_the_command_draws_and_tells_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = works("figures", "ngrams", "--json", "--min-freq", "2", "--cache-dir", "ids")

    numbers = json.loads(said.out)["ngrams"]["numbers"]
    story = load_corpus("story", level="word", min_freq=2)
    train, held_out = story.split(0.9)
    assert numbers["statistics"][0]["top"][0] == [["the"], story.tokens.count("the")]
    assert numbers["unknown"]["held_out"]["share"] == held_out.unk_count / len(held_out)
    assert numbers["vocab_size"] == len(train.vocab)
    found = numbers["perplexities"]
    assert found["kneser_ney"]["3"] < found["witten_bell"]["3"] < found["laplace"]["3"]
    assert Path("figures/ngrams.svg").exists()
    assert list(Path("ids").glob("word-*.npy"))
    words = works("figures", "ngrams", "--out", "again").out
    assert "kneser_ney" in words
    assert "of it <unk>" in words
