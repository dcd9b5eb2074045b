import hashlib
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from children import LONGEST
from hypothesis import given
from hypothesis import strategies as st

from kseq.checks import shown_path
from kseq.data import corpora
from kseq.data.corpora import Corpus, load_corpus
from kseq.data.text import clean, read_text, tokenize
from kseq.data.vocab import Vocab
from kseq.errors import DataError, FileError, UsageError

pytestmark = pytest.mark.engine("torch")


@pytest.fixture
def write(tmp_path):
    def written(content, name="book.txt"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


# Named texts.


@pytest.mark.parametrize(
    ("options", "tokens", "entries"),
    [
        ({}, 173_428, 28),
        ({"separator": ""}, 170_580, 28),
        ({"level": "word"}, 32_775, 4580),
        ({"separator": "", "max_tokens": 10_000}, 10_000, 28),
        ({"cleaning": "none"}, 178_979, 71),
    ],
)
def test_the_time_machine(data_dir, options, tokens, entries):
    corpus = load_corpus("time_machine", data_dir=data_dir, **options)
    assert (len(corpus), len(corpus.vocab)) == (tokens, entries)
    assert corpus.ids.shape == (tokens,)
    assert corpus.ids.dtype == np.int32
    assert corpus.unk_count == 0
    assert corpus.sha256.startswith("8424dbd9532ac81f")
    assert "Wells" in corpus.edition


def test_the_first_line_of_the_time_machine(data_dir):
    corpus = load_corpus("time_machine", level="word", data_dir=data_dir)
    assert corpus.ids[:7].tolist() == [1, 19, 50, 40, 2183, 2184, 400]
    assert corpus.decode(corpus.ids[:7]) == "the time machine by h g wells"


def test_a_cut_keeps_the_vocabulary_of_the_whole_text(data_dir):
    whole = load_corpus("time_machine", data_dir=data_dir)
    part = load_corpus("time_machine", data_dir=data_dir, max_tokens=100)
    assert part.vocab == whole.vocab
    assert np.array_equal(part.ids, whole.ids[:100])
    assert (part.start, len(part), part.total) == (0, 100, 173_428)
    assert len(load_corpus("time_machine", data_dir=data_dir, max_tokens=10**6)) == 173_428


def test_the_floor_of_the_first_10_000_characters(data_dir):
    corpus = load_corpus("time_machine", separator="", max_tokens=10_000, data_dir=data_dir)
    shares = np.bincount(corpus.ids)[1:] / len(corpus)
    shares = shares[shares > 0]
    assert np.exp(-(shares * np.log(shares)).sum()) == pytest.approx(17.41, abs=0.01)


def test_the_chinese_edition_joins_lines(data_dir):
    corpus = load_corpus("time_machine", separator="", data_dir=data_dir)
    assert "himwas" in corpus.text
    assert "himwas" not in load_corpus("time_machine", data_dir=data_dir).text


def test_tiny_shakespeare_is_left_as_it_is(data_dir):
    corpus = load_corpus("tiny_shakespeare", data_dir=data_dir)
    train, valid = corpus.split(0.9)
    assert corpus.text == read_text(data_dir / "tinyshakespeare.txt")
    assert (len(corpus), len(corpus.vocab)) == (1_115_394, 66)
    assert (len(train), len(valid)) == (1_003_854, 111_540)
    shares = np.bincount(train.ids, minlength=66) / len(train)
    assert -np.log(shares[valid.ids]).mean() == pytest.approx(3.347, abs=5e-4)


def test_the_story_comes_with_the_package():
    corpus = load_corpus("story")
    assert len(corpus) >= 20_000
    assert (len(corpus.vocab), corpus.level, corpus.cleaning) == (28, "char", "d2l")
    assert (corpus.name, corpus.label) == ("story", "story")


def test_a_name_wins_over_a_file_and_a_path_over_a_name(write, monkeypatch):
    path = write("something else", "story")
    monkeypatch.chdir(path.parent)
    assert load_corpus("story").sha256 != load_corpus("./story").sha256
    assert load_corpus("./story").text == load_corpus(path).text == "something else"


# Files.


def test_a_file_is_left_as_it_is(write):
    text = "Über—naïve\t🙂\n\n e\u0301\u0323 \U0001d54f\n"
    corpus = load_corpus(write(text))
    assert corpus.text == text
    assert corpus.decode(corpus.ids) == text
    assert np.array_equal(corpus.encode(text), corpus.ids)
    assert (corpus.name, corpus.cleaning, corpus.separator) == ("book.txt", "none", "\n")
    assert corpus.sha256 == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("content", [b"a\r\nb\r\n", b"a\rb\r", b"\xef\xbb\xbfa\nb\n"])
def test_line_ends_and_mark_give_the_same_ids(write, content):
    corpus, plain = load_corpus(write(content)), load_corpus(write(b"a\nb\n", "plain.txt"))
    assert np.array_equal(corpus.ids, plain.ids)
    assert corpus.vocab == plain.vocab
    assert "\ufeff" not in corpus.vocab


def test_another_encoding(write):
    assert load_corpus(write("né".encode("latin-1")), encoding="latin-1").text == "né"


@pytest.mark.parametrize(
    ("texts", "joined"),
    [(["a\n", "b\n"], "a\nb\n"), (["a", "b"], "a\nb"), (["a\r\n", "\ufeffb", "c"], "a\nb\nc")],
)
def test_several_files_follow_each_other(write, texts, joined):
    paths = [write(text, f"{number}.txt") for number, text in enumerate(texts)]
    corpus = load_corpus(paths)
    assert corpus.text == joined
    assert corpus.name == "+".join(path.name for path in paths)
    assert corpus.sha256 == hashlib.sha256("".join(texts).encode()).hexdigest()
    assert load_corpus(tuple(map(str, paths))).text == joined


def test_both_wells_books(data_dir):
    sources = ["time_machine", data_dir / "waroftheworlds.txt"]
    corpus = load_corpus(sources, cleaning="d2l", data_dir=data_dir)
    parts = [load_corpus(source, cleaning="d2l", data_dir=data_dir) for source in sources]
    assert corpus.text == "".join(part.text for part in parts)
    assert corpus.name == "time_machine+waroftheworlds.txt"
    with pytest.raises(UsageError, match=r"^cleaning: must be the same for all texts, found by"):
        load_corpus(sources, data_dir=data_dir)


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"to be\r\nor not")))
    corpus = load_corpus("-", level="word")
    assert corpus.tokens == ["to", "be", "or", "not"]
    assert corpus.name == "standard input"


TEXTS = st.text(alphabet="aB \n\t1é🙂", min_size=1)


@given(TEXTS, st.sampled_from(["char", "word"]), st.sampled_from(["d2l", "none"]))
@pytest.mark.filterwarnings("ignore:text. has one distinct token")
def test_a_corpus_is_its_tokens_under_their_vocabulary(text, level, cleaning):
    text += "abc\n"
    corpus = Corpus.from_text(text, level, cleaning)
    tokens = tokenize(clean(text, cleaning), level, corpus.separator)
    assert corpus.tokens == tokens
    assert corpus.vocab == Vocab(tokens)
    assert corpus.vocab.token_freqs == Vocab(tokens).token_freqs
    assert corpus.ids.tolist() == corpus.vocab[tokens]


# Vocabulary bounds.


def test_bounds_of_the_vocabulary_leave_unknown_tokens():
    corpus = Corpus.from_text("to be or not to be", "word", max_vocab=3)
    assert corpus.ids.tolist() == [1, 2, 0, 0, 1, 2]
    assert corpus.unk_count == 2
    assert corpus.text == "to be or not to be"
    assert corpus.decode(corpus.ids) == "to be <unk> <unk> to be"
    assert Corpus.from_text("to be or not to be", "word", min_freq=2).unk_count == 2


def test_another_vocabulary():
    corpus = Corpus.from_text("abc").with_vocab(Vocab("cb"))
    assert corpus.ids.tolist() == [0, 2, 1]
    assert corpus.unk_count == 1


@pytest.mark.parametrize("symbols", [5, 300, 70_000])
def test_many_symbols(symbols):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + min(symbols, 20_000))))
    text += "".join(map(chr, range(0x20000, 0x20000 + max(0, symbols - 20_000))))
    corpus = Corpus.from_text(text)
    assert corpus.text == text
    assert corpus.ids.tolist() == list(range(1, symbols + 1))
    assert corpus.ids.dtype == np.int32


def test_line_ends_of_a_text_in_memory():
    corpus = Corpus.from_text("a\r\nb\rc\n")
    assert corpus.text == "a\nb\nc\n"
    assert corpus.sha256 == hashlib.sha256(b"a\nb\nc\n").hexdigest()


def test_symbols_that_outgrow_their_codes_late():
    text = "ab" * 2**20 + "".join(map(chr, range(0x4E00, 0x4E00 + 300))) + "ba" * 2**20
    assert Corpus.from_text(text).text == text


@pytest.mark.parametrize(("symbols", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_a_huge_corpus_has_small_ids(monkeypatch, symbols, dtype):
    monkeypatch.setattr(corpora, "MOST_INT32_TOKENS", 100)
    corpus = Corpus.from_text("".join(map(chr, range(0x4E00, 0x4E00 + symbols))))
    assert corpus.ids.dtype == dtype
    assert corpus.ids.tolist() == list(range(1, symbols + 1))


# Splits.


def test_parts_are_contiguous_and_share_the_vocabulary_of_the_first():
    corpus = Corpus.from_text("banana band")
    train, valid = corpus.split(0.6)
    assert (train.text, valid.text) == ("banana", " band")
    assert train.vocab.idx_to_token == ["<unk>", "a", "n", "b"]
    assert valid.vocab == train.vocab
    assert valid.ids.tolist() == [0, 3, 1, 2, 0]
    assert (train.unk_count, valid.unk_count) == (0, 2)
    assert valid.decode(valid.ids) == "<unk>ban<unk>"


def test_the_second_part_has_no_say_in_the_vocabulary():
    texts = ["aab" + rest for rest in ("bbbbbbbb", "zzzzzzzz")]
    first, second = (Corpus.from_text(text, max_vocab=2).split(3 / 11)[0] for text in texts)
    assert first.vocab == second.vocab
    assert first.ids.tolist() == second.ids.tolist() == [1, 1, 0]
    assert first.vocab.token_freqs == [("a", 2), ("b", 1)]


@given(TEXTS, st.floats(0.01, 0.99), st.integers(0, 3), st.integers(1, 5))
def test_split_is_as_if_the_first_part_were_alone(text, fraction, min_freq, max_vocab):
    text = "ab" * 2 + text + "ba" * 200
    whole = Corpus.from_text(text, min_freq=min_freq, max_vocab=max_vocab)
    train, valid = whole.split(fraction)
    alone = Corpus.from_text(train.text, min_freq=min_freq, max_vocab=max_vocab)
    assert train.text + valid.text == text
    assert train.vocab == valid.vocab == alone.vocab
    assert train.vocab.token_freqs == alone.vocab.token_freqs
    assert np.array_equal(train.ids, alone.ids)
    assert valid.ids.tolist() == alone.vocab[list(valid.text)]


def test_ties_go_to_the_first_seen_of_each_part():
    _, valid = Corpus.from_text("abc cab cab").split(4 / 11)
    again, _ = valid.split(4 / 7)
    assert again.text == "cab "
    assert again.vocab.idx_to_token == ["<unk>", "c", "a", "b", " "]


def test_divide_keeps_the_vocabulary_of_the_whole():
    corpus = Corpus.from_text("banana band")
    train, held_out = corpus.divide(6, 3)
    assert (train.text, held_out.text) == ("banana", " ba")
    assert train.vocab is held_out.vocab is corpus.vocab
    assert (held_out.part, held_out.start, held_out.ids.tolist()) == (
        "validation",
        6,
        corpus.ids[6:9].tolist(),
    )
    assert [part.text for part in corpus.divide(None, 3)] == ["banana b", "and"]
    assert corpus.divide(4, 0)[1] is None
    assert corpus.after(7).text == "band"


def test_divide_refuses_more_than_there_is():
    corpus = Corpus.from_text("banana band")
    with pytest.raises(
        DataError, match=r"^text: must have the 10 tokens to train on and 2 to hold"
    ):
        corpus.divide(10, 2)
    with pytest.raises(UsageError, match=r"^training_tokens: must be"):
        corpus.divide(0, 2)
    with pytest.raises(UsageError, match=r"^held_out_tokens: must be"):
        corpus.divide(1, -2)


def test_a_corpus_shows_itself_briefly():
    train, _ = Corpus.from_text("banana band").split(0.6)
    assert (
        repr(train)
        == "Corpus(text, training part: 6 tokens by char, Vocab(4 tokens: '<unk> a n b'))"
    )


def test_parts_know_where_they_came_from(data_dir):
    corpus = load_corpus("time_machine", data_dir=data_dir)
    train, valid = corpus.split(0.9)
    rest, test = valid.split(0.5)
    assert (train.part, train.start, len(train)) == ("training", 0, 156_085)
    assert (valid.part, valid.start, valid.label) == (
        "validation",
        156_085,
        "time_machine, validation part",
    )
    assert (rest.start, test.start) == (156_085, 156_085 + len(rest))
    kept = ("name", "sha256", "edition", "level", "cleaning", "separator", "total")
    for part in (train, valid, rest, test):
        found = json.loads(json.dumps(part.provenance))
        assert {name: found[name] for name in kept} == {
            name: corpus.provenance[name] for name in kept
        }
        assert corpus.text[found["start"] : found["stop"]] == part.text


@pytest.mark.parametrize("percent", range(1, 100))
def test_fractions_cut_where_a_person_expects(percent):
    train, _ = Corpus.from_text("ab" * 500).split(percent / 100)
    assert len(train) == 10 * percent


@pytest.mark.parametrize("fraction", [0, 1, 0.0, 1.0, -0.1, 1.5, float("nan"), "0.9", None, True])
def test_fractions_that_cannot_be(fraction):
    with pytest.raises(UsageError, match=r"^fraction: must be a number above 0 and below 1, found"):
        Corpus.from_text("to be or not to be").split(fraction)


@pytest.mark.parametrize(
    ("fraction", "part", "change"), [(0.9, "validation", "lower"), (0.1, "training", "raise")]
)
def test_a_part_that_is_too_short_is_named(fraction, part, change):
    with pytest.raises(DataError) as raised:
        Corpus.from_text("tobeornot").split(fraction)
    number = 1 if part == "validation" else 0
    assert str(raised.value) == (
        f"text: the {part} part must have at least 2 tokens, found {number}; "
        f"{change} the fraction or use a longer text"
    )


# Bad sources.


def refused(error, source, **options) -> str:
    with pytest.raises(error) as raised:
        load_corpus(source, **options)
    message = str(raised.value)
    assert len(message) <= 260
    assert "\n" not in message
    assert "; " in message
    return message


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (" \n\t\n", {"level": "word"}),
        ("1895!\n", {"cleaning": "d2l"}),
        (b"\xef\xbb\xbf\n", {"level": "word"}),
    ],
)
def test_no_tokens(write, content, options):
    message = refused(DataError, write(content), **options)
    assert "book.txt: must have tokens at level" in message
    assert "found none; choose another text or cleaning" in message


def test_an_empty_file_among_others(write):
    paths = [write("a"), write("", "empty.txt")]
    assert "empty.txt: must be text, found an empty file" in refused(DataError, paths)


def test_the_unknown_token_cannot_be_a_word(write):
    path = write("so <unk> and <unk>\n")
    message = refused(DataError, path, level="word")
    assert "must not have the word <unk>, which stands for unknown words, found it 2" in message
    assert load_corpus(path).text == "so <unk> and <unk>\n"
    assert load_corpus(path, level="word", cleaning="d2l").tokens == ["so", "unk", "and", "unk"]


def test_one_distinct_symbol_warns(write):
    with pytest.warns(UserWarning, match=r"^book.txt: has one distinct token, 'a'; ") as caught:
        corpus = load_corpus(write("aaaa"))
    assert caught[0].filename == __file__
    assert corpus.ids.tolist() == [1, 1, 1, 1]
    with pytest.warns(UserWarning, match=r"^text: has one distinct") as caught:
        Corpus.from_text("aaaa")
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("time_machin", "did you mean 'time_machine'?"),
        ("Story", "did you mean 'story'?"),
        ("books/none.txt", "use story, time_machine, tiny_shakespeare or war_of_the_worlds"),
        ("text.txt/inside", "use story, time_machine, tiny_shakespeare or war_of_the_worlds"),
    ],
)
def test_a_missing_source(source, hint, write, monkeypatch):
    monkeypatch.chdir(write("a", "text.txt").parent)
    message = refused(FileError, source)
    assert message.startswith(f"{source}: must be a text file, found it missing; ")
    assert hint in message
    assert hint in refused(FileError, ["story", source])


def test_other_trouble_with_a_source(tmp_path):
    assert "found a folder" in refused(DataError, tmp_path)
    assert "must be a readable file" in refused(FileError, "a\0b")


@pytest.mark.parametrize("source", [None, 3, [], (), [1], b"story", ["story", None], {"story"}])
def test_what_is_no_source(source):
    message = refused(UsageError, source)
    assert message.startswith("source: must be the name or path of a text, or a list of them, foun")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("level", "wrod"),
        ("level", None),
        ("cleaning", "d2"),
        ("cleaning", ""),
        ("separator", 3),
        ("encoding", "utf9"),
        ("max_tokens", 0),
        ("max_tokens", 10**12),
        ("max_tokens", 0.5),
        ("min_freq", -1),
        ("max_vocab", 0),
        ("max_vocab", 10**12),
    ],
)
def test_options_that_cannot_be(option, value):
    message = refused(UsageError, "story", **{option: value})
    assert message.startswith(f"{option}: must be ")


def test_options_are_checked_before_any_file_is_looked_for():
    refused(UsageError, "no such file", level="wrod")


def test_a_wrong_named_text_is_not_used(write):
    folder = write("not the time machine", "timemachine.txt").parent
    message = refused(FileError, "time_machine", data_dir=folder)
    assert "timemachine.txt: must have SHA-256 8424dbd9532ac81f..., found " in message


def test_offline_fails_with_the_place_for_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setenv("no_proxy", "*")
    message = refused(FileError, "tiny_shakespeare")
    assert message.endswith(
        f"by hand at {shown_path(tmp_path / 'kseq' / 'tinyshakespeare.txt', 110)}"
    )


def test_texts_that_are_too_much_together(write, monkeypatch):
    monkeypatch.setattr("kseq.data.sources.LARGEST_TEXT_BYTES", 5)
    assert "must have at most 5 bytes together" in refused(
        DataError, [write("abc"), write("abc", "2.txt")]
    )


def test_the_data_room_imports_neither_keras_nor_an_engine():
    code = (
        "import sys, kseq.data.corpora, kseq.data.windows\n"
        "heavy = {'keras', 'torch', 'jax', 'tensorflow', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=LONGEST
    )
    assert done.stdout == "[]\n"
