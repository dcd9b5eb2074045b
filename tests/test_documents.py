import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.data import documents
from kseq.data.corpora import Corpus, load_corpus
from kseq.data.documents import MOST_DOCUMENTS, Document, cut_each, gathered, listed, mixed_ranges
from kseq.errors import DataError, UsageError

pytestmark = pytest.mark.engine("torch")


@pytest.fixture
def books(tmp_path):
    """Two files: 20 times "ab" and 10 times "xyz", and the corpus of both."""
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, text in zip(paths, ("ab" * 20, "xyz" * 10), strict=True):
        path.write_text(text)
    return paths


def texts_of(corpus):
    return [corpus.text[each.start : each.stop] for each in corpus.documents]


# Borders


def test_a_file_is_one_document_and_several_are_as_many(books):
    both = load_corpus(books)
    assert both.documents == (Document("a.txt", 0, 41, 0), Document("b.txt", 41, 71, 41))
    assert texts_of(both) == ["ab" * 20 + "\n", "xyz" * 10]
    assert load_corpus(books[0]).documents == (Document("a.txt", 0, 40, 0),)
    assert Corpus.from_text("banana").documents == (Document("text", 0, 6, 0),)


TEXTS = st.lists(st.text(alphabet="aB \n1é", max_size=12), min_size=1, max_size=4)


@given(TEXTS, st.sampled_from(["char", "word"]), st.sampled_from(["d2l", "none"]))
@pytest.mark.filterwarnings("ignore:.* has one distinct token")
def test_borders_stand_where_each_text_alone_would_end(tmp_path_factory, parts, level, cleaning):
    folder = tmp_path_factory.mktemp("texts")
    paths = [folder / f"{number}.txt" for number in range(len(parts))]
    ended = [f"{part}ab\n" for part in parts]
    for path, text in zip(paths, ended, strict=True):
        path.write_text(text, "utf-8")
    corpus = load_corpus(paths, level, cleaning)
    alone = [Corpus.from_text(text, level, cleaning).tokens for text in ended]
    assert [corpus.tokens[each.start : each.stop] for each in corpus.documents] == alone
    assert corpus.tokens == Corpus.from_text("".join(ended), level, cleaning).tokens


def test_both_wells_books_have_their_border(data_dir):
    sources = ["time_machine", data_dir / "waroftheworlds.txt"]
    corpus = load_corpus(sources, cleaning="d2l", data_dir=data_dir)
    assert [(each.name, len(each)) for each in corpus.documents] == [
        ("time_machine", 173_428),
        ("waroftheworlds.txt", 327_364),
    ]
    assert corpus.text[173_428:].startswith("cover the war of the worlds")


def test_cuts_keep_the_documents(books):
    both = load_corpus(books)
    first, rest = both.divide(30, 20)
    assert first.documents == (Document("a.txt", 0, 30, 0),)
    assert rest.documents == (Document("a.txt", 0, 11, 30), Document("b.txt", 11, 20, 41))
    assert texts_of(rest) == ["ab" * 5 + "\n", "xyz" * 3]
    assert both.after(50).documents == (Document("b.txt", 0, 21, 50),)
    assert load_corpus(books, max_tokens=45).documents[1] == Document("b.txt", 41, 45, 41)
    again = rest.split(0.5)[1]
    assert again.documents == (Document("a.txt", 0, 1, 40), Document("b.txt", 1, 10, 41))
    assert again.start == 40


LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=5)


@given(LENGTHS, st.lists(st.tuples(st.integers(0, 60), st.integers(1, 40)), min_size=1, max_size=4))
def test_every_token_of_a_part_is_told_by_its_origin(lengths, pieces):
    stops = np.cumsum(lengths).tolist()
    whole = listed([str(number) for number in range(len(lengths))], stops)
    ranges = [(min(start, stops[-1] - 1), start + size) for start, size in pieces]
    ranges = [(start, min(max(stop, start + 1), stops[-1])) for start, stop in ranges]
    places = np.concatenate([np.arange(start, stop) for start, stop in ranges])
    owners = np.repeat(np.arange(len(lengths)), lengths)[places]
    found = gathered(whole, ranges)
    assert np.concatenate([np.arange(*each.piece) for each in found]).tolist() == places.tolist()
    assert "".join(each.name * len(each) for each in found) == "".join(map(str, owners))
    assert [each.start for each in found] == [0, *(each.stop for each in found[:-1])]


# A share held out of each


def test_every_document_gives_its_own_last_part(books):
    train, valid = load_corpus(books).split(0.9, each=True)
    assert texts_of(train) == ["ab" * 18, "xyz" * 9]
    assert texts_of(valid) == ["ab" * 2 + "\n", "xyz"]
    assert train.vocab == valid.vocab
    assert "\n" not in train.vocab
    assert (train.part, valid.part) == ("training", "validation")
    assert valid.documents == (Document("a.txt", 0, 5, 36), Document("b.txt", 5, 8, 68))
    assert train.held_out == valid.held_out == ((36, 41), (68, 71))


@given(st.text("abc ", min_size=40, max_size=90), st.floats(0.1, 0.9))
@pytest.mark.filterwarnings("ignore:.* has one distinct token")
def test_with_one_document_each_is_the_whole(text, fraction):
    corpus = Corpus.from_text(text)
    for one, other in zip(corpus.split(fraction), corpus.split(fraction, each=True), strict=True):
        assert np.array_equal(one.ids, other.ids)
        assert one.vocab == other.vocab
        assert one.documents == other.documents


def test_a_document_too_short_to_cut_is_named(tmp_path, books):
    (tmp_path / "c.txt").write_text("abc")
    with pytest.raises(DataError, match=r"^c\.txt: each part must have at least 2 tokens of every"):
        load_corpus([*books, tmp_path / "c.txt"]).split(0.9, each=True)
    with pytest.raises(UsageError, match=r"^fraction: must be a number above 0 and below 1"):
        load_corpus(books).split(1, each=True)


def test_the_provenance_says_the_documents(books):
    train, valid = load_corpus(books).split(0.9, each=True)
    found = json.loads(json.dumps(train.provenance))
    assert found["documents"] == ["a.txt", "b.txt"]
    assert found["pieces"] == [0, 36, 41, 68]
    assert found["held_out"] == valid.provenance["pieces"] == [36, 41, 68, 71]
    assert (found["start"], found["stop"], found["total"]) == (0, 68, 71)
    assert load_corpus(books).provenance["held_out"] == []


def test_documents_alone(books):
    _, valid = load_corpus(books).split(0.9, each=True)
    parts = valid.by_document()
    assert [(part.name, part.label, part.text) for part in parts] == [
        ("a.txt", "a.txt, validation part", "abab\n"),
        ("b.txt", "b.txt, validation part", "xyz"),
    ]
    assert all(part.vocab is valid.vocab for part in parts)


# Weights


def test_weights_say_how_often_each_is_read(books):
    train, valid = load_corpus(books).split(0.9, each=True)
    mixed = train.mixed([2.5, 1])
    assert texts_of(mixed) == ["ab" * 18, "xyz" * 9, "ab" * 18, "ab" * 9]
    assert mixed.text == "".join(texts_of(mixed))
    assert mixed.held_out == train.held_out
    assert mixed.vocab is train.vocab
    assert valid.text == "abab\nxyz"
    assert [each.origin for each in mixed.documents] == [0, 41, 0, 0]


def test_a_weight_of_nothing_leaves_a_document_out(books):
    train, _ = load_corpus(books).split(0.9, each=True)
    assert texts_of(train.mixed([0, 1])) == ["xyz" * 9]
    assert texts_of(train.mixed([0.25, 0])) == ["ab" * 4 + "a"]
    assert train.mixed([1, 1]).text == train.text


@given(LENGTHS, st.data())
def test_weights_are_kept_to_a_token(lengths, data):
    weights = data.draw(
        st.lists(st.floats(0, 7), min_size=len(lengths), max_size=len(lengths)).filter(any)
    )
    whole = listed([str(number) for number in range(len(lengths))], np.cumsum(lengths).tolist())
    ranges = mixed_ranges(whole, weights)
    for document, weight in zip(whole, weights, strict=True):
        read = sum(
            stop - start for start, stop in ranges if document.start <= start < document.stop
        )
        assert read == pytest.approx(weight * len(document), abs=1)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1], "must be one for each of the 2 documents, found 1; give as many as texts"),
        ([0, 0], "must have one above 0, found [0, 0]; raise one of them"),
        ([1, -1], "must be numbers from 0 to 100, found -1; 2 reads"),
        ([1, 101], "must be numbers from 0 to 100, found 101; 2 reads"),
        ([1, float("nan")], "must be numbers from 0 to 100, found nan; 2 reads"),
        ([1, "2"], "must be numbers from 0 to 100, found '2'; 2 reads"),
        ([0.001, 0], "must leave a token to read, found [0.001, 0] of"),
        ([True, 1], "must be numbers from 0 to 100, found True; 2 reads"),
    ],
)
def test_weights_that_cannot_be(books, weights, said):
    with pytest.raises(UsageError) as raised:
        load_corpus(books).mixed(weights)
    assert str(raised.value).startswith(f"weights: {said}")


def test_more_documents_than_a_file_can_list(monkeypatch, books):
    monkeypatch.setattr(documents, "MOST_DOCUMENTS", 5)
    corpus = load_corpus(books)
    with pytest.raises(DataError, match=r"^texts: must be at most 5 documents, found 6; join"):
        corpus.mixed([3, 3])
    with pytest.raises(DataError, match=r"^texts: must be at most 5 documents, found 6; join"):
        load_corpus(books * 3)
    assert MOST_DOCUMENTS == 10_000


def test_cuts_of_each_are_where_a_person_expects():
    assert cut_each(listed(["a", "b"], [100, 300]), 0.29) == (
        [(0, 29), (100, 158)],
        [(29, 100), (158, 300)],
    )


def test_a_text_without_tokens_is_refused_among_others_too(tmp_path):
    for name, content in (("words.txt", "some words"), ("digits.txt", "12 34")):
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=r"^digits\.txt: must have tokens at level 'char' after"):
        load_corpus([tmp_path / "words.txt", tmp_path / "digits.txt"], cleaning="d2l")


def test_an_empty_range_has_no_document():
    pieces = Corpus.from_text("banana band").pieces([(0, 3), (5, 5), (7, 9)])
    assert [document.piece for document in pieces.documents] == [(0, 3), (7, 9)]
    with pytest.raises(DataError, match="must be asked for at least one range, found none"):
        pieces.pieces([])


def test_a_mixture_is_not_split(tmp_path):
    mixture = Corpus.from_text("to be or not to be " * 5).mixed([2.5])
    for each in (False, True):
        with pytest.raises(UsageError, match="split first, then mix"):
            mixture.split(0.6, each=each)
