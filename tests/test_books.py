import math
import re

import numpy as np
import pytest

import kseq
from kseq.data.windows import num_batches
from kseq.errors import DataError, UsageError
from kseq.experiments.books import BookRow, books_in_words, compare_books

# Which engine trains plays no part here, and some compile each row anew.
pytestmark = pytest.mark.engine("torch")

TINY = {"steps": 6, "units": 8, "batch_size": 4, "num_steps": 10}


@pytest.fixture
def books(tmp_path):
    """A book of one line, and one of twice as many tokens of another line."""
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    paths[0].write_text("the cat sat on the mat\n" * 20)
    paths[1].write_text("xyzzy plugh xyzzy plov\n" * 40)
    return paths


def test_each_book_alone_all_and_all_evenly_are_judged_on_every_book(books):
    heard = []
    rows = compare_books(books, report=lambda name, record: heard.append(name), **TINY)
    assert [row.trained_on for row in rows] == ["a.txt", "b.txt", "all", "all, evenly"]
    assert [row.weights for row in rows] == [(1, 0), (0, 1), (1, 1), (pytest.approx(2.0), 1)]
    assert [row.tokens for row in rows] == [414, 828, 1242, 1656]
    assert all(list(row.held_out) == ["a.txt", "b.txt"] for row in rows)
    assert [heard.count(row.trained_on) for row in rows] == [row.epochs for row in rows]
    for score in (score for row in rows for score in row.held_out.values()):
        assert score["perplexity"] == pytest.approx(2 ** score["bits"], rel=1e-4)
        assert math.isfinite(score["bigram"])


def test_every_row_has_about_the_same_steps(books):
    rows = compare_books(books, **TINY | {"steps": 60, "units": 2})
    assert [row.steps for row in rows] == [
        row.epochs * num_batches(row.tokens, 4, 10) for row in rows
    ]
    assert all(abs(row.steps - 60) <= row.steps / row.epochs / 2 for row in rows)


def test_a_model_knows_the_book_it_was_trained_on(books):
    rows = compare_books(books, **TINY | {"steps": 80, "units": 16, "learning_rate": 0.02})
    one, other, both, _ = ([score["bits"] for score in row.held_out.values()] for row in rows)
    assert one[0] < other[0] - 0.5
    assert other[1] < one[1] - 0.5
    assert both[0] < other[0]
    assert both[1] < one[1]


def test_the_same_seed_gives_the_same_numbers(books):
    first, again = (compare_books(books, **TINY) for _ in range(2))
    assert [row.held_out for row in first] == [row.held_out for row in again]


def test_several_seeds_are_the_mean_of_each(books):
    both = compare_books(books, **TINY, seed=3, seeds=2)
    one, other = (compare_books(books, **TINY, seed=seed) for seed in (3, 4))
    for mean, first, second in zip(both, one, other, strict=True):
        for name, score in mean.held_out.items():
            bits = [row.held_out[name]["bits"] for row in (first, second)]
            assert score["bits"] == pytest.approx(sum(bits) / 2)
            assert score["spread"] == pytest.approx(abs(bits[0] - bits[1]) / 2)
            assert score["spread"] > 0
            assert score["perplexity"] == pytest.approx(2 ** score["bits"])
    assert re.search(r"\nseeds differ by up to 0\.\d\d\d bits", books_in_words(both))
    assert "seeds differ" not in books_in_words(one)


def test_what_is_held_out_is_judged_as_by_hand(books):
    """The first row again by the public face: the vocabulary is that of both training parts."""
    row = compare_books(books, **TINY)[0]
    train, valid = kseq.load_corpus(books).split(0.9, each=True)
    text = train.mixed([1, 0])
    assert np.array_equal(text.ids, train.ids[:414])
    batches = kseq.SequentialBatches(text, 4, 10, seed=0)
    model = kseq.LanguageModel(train.vocab, cell="gru", units=8, num_layers=1, seed=0)
    rate = kseq.schedule("one_cycle", 0.005, row.steps)
    model.compile(kseq.clipped_optimizer("adam", rate))
    kseq.train(model, batches, row.epochs, keep="last")
    part = valid.by_document()[1]
    assert len(part) == 92
    held_out = kseq.SequentialBatches(part, 1, 10, seed=None)
    perplexity = model.evaluate(held_out, verbose=0)[1]
    assert row.held_out["b.txt"]["perplexity"] == pytest.approx(perplexity, rel=0.05)
    floor = kseq.ngram_floors(text, part).bigram
    assert row.held_out["b.txt"]["bigram"] == pytest.approx(floor)


def test_the_table_says_what_merging_costs():
    score = {"perplexity": 4.0, "bits": 2.0, "bigram": 9.0}
    better = {"perplexity": 3.0, "bits": 1.585, "bigram": 9.5}
    rows = [
        BookRow("a", (1, 0), 900, 2, 8, 1.0, {"a": score, "b": score}),
        BookRow("b", (0, 1), 900, 2, 8, 1.0, {"a": score, "b": score}),
        BookRow("all", (1, 1), 1800, 1, 8, 1.0, {"a": better, "b": score}),
    ]
    lines = books_in_words(rows).splitlines()
    assert len(lines) == 6
    assert lines[-1] == "all against its own: a -0.415 bits, b +0.000 bits"
    assert rows[0].to_dict()["held_out"]["a"] == score


def test_what_cannot_be_compared(books, tmp_path):
    with pytest.raises(UsageError, match=r"^sources: must be at least two books, found one; name"):
        compare_books(books[:1])
    with pytest.raises(UsageError, match=r"^steps: must be a whole number"):
        compare_books(books, steps=0)
    with pytest.raises(UsageError, match=r"^seeds: must be a whole number"):
        compare_books(books, seeds=0)
    with pytest.raises(UsageError, match=r"^setting: must be .*did you mean 'steps'"):
        compare_books(books, step=3)
    with pytest.raises(DataError, match=r"a\.txt.* must have at least"):
        compare_books(books, units=8)


def test_texts_are_read_as_asked(books):
    one = compare_books(books, **TINY)[0]
    raw = compare_books(books, **TINY, cleaning="none")[0]
    assert raw.tokens == one.tokens
    books[0].write_text("The Cat!\n" * 60)
    assert compare_books(books, **TINY, cleaning="d2l")[0].tokens < 60 * 9 * 0.9
