import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseq.data.corpora import load_corpus
from kseq.data.text import clean, read_text, tokenize
from kseq.data.vocab import Vocab
from kseq.errors import DataError, FileError, ModelFileError, UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

HAMLET = ["to", "be", "or", "not", "to", "be"]


@pytest.fixture(scope="module")
def lines(data_dir):
    text = clean(read_text(data_dir / "timemachine.txt"), "d2l")
    return [tokenize([line], "word") for line in text]


@pytest.fixture(scope="module")
def words(lines):
    return [word for line in lines for word in line]


# The counts of d2l 8.2 and 8.3.


def test_word_vocabulary_of_the_time_machine(lines):
    vocab = Vocab(lines)
    assert len(vocab) == 4580
    assert " ".join(vocab.idx_to_token[:10]) == "<unk> the i and of a to was in that"
    assert vocab[lines[0]] == [1, 19, 50, 40, 2183, 2184, 400]
    assert vocab.token_freqs[:10] == [
        ("the", 2261),
        ("i", 1267),
        ("and", 1245),
        ("of", 1155),
        ("a", 816),
        ("to", 695),
        ("was", 552),
        ("in", 541),
        ("that", 443),
        ("my", 440),
    ]


def test_character_vocabulary_of_the_time_machine(data_dir):
    corpus = load_corpus("time_machine", separator="", data_dir=data_dir)
    assert (len(corpus), len(corpus.vocab)) == (170_580, 28)
    assert corpus.vocab == Vocab(corpus.tokens)


def test_pairs_of_words_make_a_vocabulary_as_in_d2l(words):
    vocab = Vocab(pairwise(words))
    assert vocab.token_freqs[0] == (("of", "the"), 309)


# The rules, by hand.


def test_falling_frequency_first_seen_first_among_equals():
    assert Vocab(HAMLET).idx_to_token == ["<unk>", "to", "be", "or", "not"]
    assert Vocab(["b", "a", "c", "c"]).idx_to_token == ["<unk>", "c", "b", "a"]


def test_reserved_tokens_come_before_the_others_once():
    vocab = Vocab(HAMLET, reserved_tokens=["<pad>", "be"])
    assert vocab.idx_to_token == ["<unk>", "<pad>", "be", "to", "or", "not"]


def test_rare_tokens_are_left_out_but_stay_in_the_frequencies():
    vocab = Vocab(HAMLET, min_freq=2)
    assert vocab.idx_to_token == ["<unk>", "to", "be"]
    assert vocab.token_freqs == [("to", 2), ("be", 2), ("or", 1), ("not", 1)]


def test_max_size_keeps_the_most_frequent():
    assert Vocab(HAMLET, max_size=3).idx_to_token == ["<unk>", "to", "be"]
    assert Vocab(HAMLET, max_size=1).idx_to_token == ["<unk>"]
    assert len(Vocab(HAMLET, max_size=100)) == 5
    assert Vocab(HAMLET, max_size=3, reserved_tokens=["<pad>"]).idx_to_token[1:] == ["<pad>", "to"]


def test_all_ways_to_give_tokens():
    counts = {"to": 2, "be": 2, "or": 1, "not": 1}
    nested = [HAMLET[:2], [], HAMLET[2:]]
    assert Vocab(HAMLET) == Vocab(nested) == Vocab(counts) == Vocab(iter(HAMLET))
    assert Vocab("abca").idx_to_token == ["<unk>", "a", "b", "c"]
    assert Vocab().idx_to_token == Vocab([]).idx_to_token == ["<unk>"]


def test_lookup_follows_the_nesting():
    vocab = Vocab(HAMLET)
    assert vocab["be"] == 2
    assert vocab["ghost"] == vocab.unk == 0
    assert vocab[["not", ("to", ["ghost"])]] == [4, [1, [0]]]
    assert vocab.to_tokens(4) == vocab.to_tokens(np.int32(4)) == "not"
    assert vocab.to_tokens([1, (2, [0])]) == ["to", ["be", ["<unk>"]]]
    assert vocab.to_tokens(np.array([[1, 2], [3, 4]])) == [["to", "be"], ["or", "not"]]
    assert "be" in vocab
    assert "ghost" not in vocab


@pytest.mark.parametrize("index", [-1, 5, [0, 5], np.array([[1], [-1]])])
def test_ids_beyond_the_vocabulary_are_refused(index):
    with pytest.raises(DataError, match=r"^ids: must be from 0 to 4, found (-1|5); "):
        Vocab(HAMLET).to_tokens(index)


def test_encode_takes_words_or_the_characters_of_a_string():
    words, letters = Vocab(HAMLET), Vocab("banana🙂")
    assert words.encode(["be", "ghost"]).tolist() == [2, 0]
    assert words.encode(iter(["be"])).dtype == letters.encode("b").dtype == np.int32
    assert letters.encode("nab!é🙂😀\U0010ffff").tolist() == [2, 1, 3, 0, 0, 4, 0, 0]
    assert letters.encode("").shape == words.encode([]).shape == (0,)
    assert Vocab().encode("ab").tolist() == [0, 0]


@given(st.text(), st.text())
def test_encode_is_lookup(text, other):
    vocab = Vocab(text)
    assert vocab.encode(other).tolist() == vocab[list(other)]
    assert vocab.encode(list(other)).tolist() == vocab[list(other)]
    assert "".join(vocab.decode(vocab.encode(text))) == text


def test_decode_gives_one_flat_list():
    vocab = Vocab("banana")
    assert vocab.decode(np.array([[2, 1], [3, 0]])) == ["n", "a", "b", "<unk>"]
    assert vocab.decode(2) == ["n"]
    assert vocab.decode([]) == []


def test_equality_is_of_ids():
    assert Vocab("aab") == Vocab("aaab")
    assert Vocab("ab") != Vocab("ba")
    assert Vocab("ab") != ["<unk>", "a", "b"]
    assert repr(Vocab("ab")) == "Vocab(3 tokens: '<unk> a b')"


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_freq": -1},
        {"max_size": 0},
        {"max_size": 1.5},
        {"max_size": 10**12},
        {"max_size": 2, "reserved_tokens": ["a", "b"]},
        {"reserved_tokens": ["a", "a"]},
        {"reserved_tokens": ["<unk>"]},
    ],
)
def test_wrong_bounds(wrong):
    with pytest.raises(UsageError, match=r"^(min_freq|max_size|reserved_tokens): must .*; "):
        Vocab(HAMLET, **wrong)


# Files.


@given(tokens=st.lists(st.text()).filter(lambda tokens: "<unk>" not in tokens))
def test_dict_round_trip(tokens):
    vocab = Vocab(tokens, min_freq=2, reserved_tokens=("<pad>",))
    again = Vocab.from_dict(json.loads(json.dumps(vocab.to_dict())))
    assert again == vocab
    kept = [(token, count) for token, count in vocab.token_freqs if token in vocab]
    assert again.token_freqs == kept


def test_file_round_trip(tmp_path):
    path = tmp_path / "vocab.json"
    vocab = Vocab("naïve 🙂 e\u0301\n")
    vocab.save(path)
    assert Vocab.load(path) == vocab
    assert [entry.name for entry in tmp_path.iterdir()] == ["vocab.json"]


def test_only_strings_can_be_saved(tmp_path):
    with pytest.raises(DataError, match=r"^vocabulary: must hold only strings to be saved, found"):
        Vocab([("of", "the")]).save(tmp_path / "vocab.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"tokens": "<unk>"},
        {"tokens": []},
        {"tokens": ["a", "<unk>"]},
        {"tokens": ["<unk>", 1]},
        {"tokens": ["<unk>", ["a"]]},
        {"tokens": ["<unk>", "a", "a"]},
        {"tokens": ["<unk>", "<unk>"]},
        {"tokens": ["<unk>", "a"], "counts": [0]},
        {"tokens": ["<unk>", "a"], "counts": {"a": 1}},
        {"tokens": ["<unk>", "a"], "counts": [0, -1]},
        {"tokens": ["<unk>", "a"], "counts": [0, 1.5]},
        {"tokens": ["<unk>", "a"], "counts": [0, True]},
    ],
)
def test_what_is_no_vocabulary(content):
    with pytest.raises(ModelFileError, match=r"^vocabulary: must be .*, found .*; save it again"):
        Vocab.from_dict(content)


def test_counts_may_be_missing():
    assert Vocab.from_dict({"tokens": ["<unk>", "a"]}).token_freqs == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{}"])
def test_a_broken_file(tmp_path, content):
    path = tmp_path / "vocab.json"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"^vocabulary: must be"):
        Vocab.load(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileError, match=r"none.json: must be a readable vocabulary file, found"):
        Vocab.load(tmp_path / "none.json")
    with pytest.raises(FileError, match=r"the folder must exist"):
        Vocab("a").save(tmp_path / "none" / "vocab.json")
