"""Mutated texts, tables and vocabularies: a kseq error or a result that obeys its laws.

Every mutant has a seed of its own, so that a find can be made again.  Half of `--mutants` are
these; the rest are model files and checkpoints.
"""

import json
import os
import random
import re
import signal
import warnings
from contextlib import contextmanager

import numpy as np
import pytest

from kseq.data.corpora import load_corpus
from kseq.data.reading import read_text
from kseq.data.series import LARGEST_VALUE
from kseq.data.tables import read_series
from kseq.data.vocab import UNKNOWN, Vocab
from kseq.errors import FileError, KseqError, ModelFileError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

DEFAULT_MUTANTS = 2000
LONGEST_SECONDS = 120  # one of them writes a file, which waits for a busy disk
MESSAGE = re.compile(r".+: .*must .+ found .+; .+")

PROSE = "The time traveller, for so it will be\nconvenient to speak of him,\n\nwas naïve. 🚀 中文\n"
TEXTS = [
    PROSE.encode(),
    PROSE.replace("\n", "\r\n").encode(),
    b"\xef\xbb\xbf" + PROSE.encode(),
    PROSE.encode("utf-16"),
    PROSE.encode("gb18030"),
    b"to be or not to be",
    b"aaaa\raaaa\n",
]
ENCODINGS = {3: "utf-16", 4: "gb18030"}
TABLES = [
    b"day,visitors\n2024-01-01,160\n2024-01-02,158\n2024-01-03,151.5\n2024-01-05,1e3\n",
    b"t;y\n1;2,5\n2;3,5\n3;\n4;-1,25\n",
    b"when,a,b\n2024-01-01T00:00:00+01:00,1,x\n2024-01-01T01:00:00Z,2,y\n",
    b'"a ""quoted"" name",y\n"x, y",1\n"z\nz",2\n',
    b"1\n2\n3\n\n4\nNaN\n",
    b"t\ty\n2024-01\t5\n2024-02\t6\n2024-03\t-7\n",
    b"y\r\n1000\r\n2\r\n-1e30\r\n",
]
# Of each table above, and others that may be mistaken for them.
TABLE_OPTIONS = [
    {"time": "day", "column": "visitors"},
    {"delimiter": ";", "decimal": ",", "column": "y", "fill": "linear"},
    {"time": "when", "column": "a"},
    {"column": "y", "fill": "previous"},
    {"fill": "previous"},
    {"delimiter": "tab", "time": "t"},
    {},
    {"encoding": "utf-16"},
    {"encoding": "latin-1", "column": "1"},
]
VOCABULARIES = [
    json.dumps(Vocab("banana bread").to_dict(), ensure_ascii=False).encode(),
    json.dumps(Vocab(["to", "be", "or", "naïve", "🚀"]).to_dict(), indent=1).encode(),
    json.dumps({"tokens": [UNKNOWN, "a"]}).encode(),
    json.dumps({"tokens": [UNKNOWN], "counts": [0]}).encode("utf-16"),
]
# What is odd somewhere: ends of lines, marks, numbers and dates at their bounds, foreign bytes.
ODD = [
    *(b"\0", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\x80", b"\x1a"),
    *(b'"', b'""', b"'", b",", b";", b"\t", b"|", b" ", b"\\", b"\\u0000", b"\\ud800", b"\xc2\x85"),
    *(b"nan", b"inf", b"-inf", b"1e999", b"1e308", b"-0", b"1_0", b"0x1f", b"9" * 400, b"1e-400"),
    *(b"0001-01-01", b"9999-12-31T23:59:59.999999+14:00", b"0001-01-01T00:00:00+23:59", b"24:00"),
    *(b"2024-02-30", b"2024-W01-1", b"20240101", b"2024-01-01T", b"-2024-01-01", b"0000-00-00"),
    *("٣".encode(), "½".encode(), "\u2028".encode(), "e\u0301".encode(), "\ufeff".encode()),
    *(UNKNOWN.encode(), b"null", b"true", b"{}", b"[", b"[" * 2000, b'{"tokens":', b"-1", b"1.0"),
    *(b"\x1f\x8b", b"PK\x03\x04", b"+ACE-", b"=1+1", b"#", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
]


def mutant(start, seeds, chance):
    content = bytearray(seeds[start])
    for _ in range(chance.choice([0, 1, 1, 2, 3, 8])):
        chance.choice([_flip, _insert, _remove, _repeat, _cut_short, _splice])(
            content, seeds, chance
        )
    return bytes(content)


def _place(content, chance):
    return chance.randrange(len(content) + 1)


def _flip(content, _, chance):
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _insert(content, _, chance):
    at = _place(content, chance)
    content[at:at] = chance.choice(ODD)


def _remove(content, _, chance):
    at = _place(content, chance)
    del content[at : at + chance.choice([1, 2, 10])]


def _repeat(content, _, chance):
    at = _place(content, chance)
    piece = content[at : at + chance.choice([1, 10, 100])]
    content[at:at] = piece * chance.choice([1, 2, 50])


def _cut_short(content, _, chance):
    del content[_place(content, chance) :]


def _splice(content, seeds, chance):
    other = chance.choice(seeds)
    content[_place(content, chance) :] = other[_place(other, chance) :]


@contextmanager
def no_hang():
    def late(*_):
        raise AssertionError(f"no answer within {LONGEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(check, path, start, chance):
    """Return "result" or "error"; anything else is raised."""
    with no_hang(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            check(path, start, chance)
        except KseqError as error:
            message = str(error)
        else:
            return "result"
    assert MESSAGE.fullmatch(message), message
    return "error"


def check_text(path, start, chance):
    others = ["utf-8", "utf-16", "latin-1", "gb18030", "utf-7", "ascii", "utf-8-sig"]
    encoding = chance.choice([ENCODINGS.get(start, "utf-8"), chance.choice(others)])
    level, cleaning = chance.choice(["char", "word"]), chance.choice(["none", "none", "d2l"])
    bounds = {"min_freq": chance.choice([0, 2]), "max_vocab": chance.choice([None, 1, 5])}
    corpus = load_corpus(path, level=level, cleaning=cleaning, encoding=encoding, **bounds)
    counts = [count for _, count in corpus.vocab.token_freqs]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == len(corpus) == len(corpus.ids)
    assert np.isin(corpus.ids, np.arange(len(corpus.vocab))).all()
    assert (corpus.ids == corpus.vocab.encode(corpus.coded.tokens())).all()
    assert Vocab.from_dict(json.loads(json.dumps(corpus.vocab.to_dict()))) == corpus.vocab
    if (level, cleaning) == ("char", "none"):
        assert "".join(corpus.coded.tokens()) == read_text(path, encoding)


def check_table(path, start, chance):
    options = TABLE_OPTIONS[start]
    if chance.random() < 0.2:
        options = options | chance.choice(TABLE_OPTIONS)
    table = read_series(path, **options)
    assert len(table.values) == len(table.rows) >= 2
    assert (np.abs(table.values) <= LARGEST_VALUE).all()
    assert len(set(table.rows.tolist())) == len(table.rows)
    if table.times is not None:
        assert (table.times[1:] > table.times[:-1]).all()
        assert len(table.times) == len(table.values)
    again = read_series(path, **options)
    np.testing.assert_array_equal(again.values, table.values)


def check_vocabulary(path, *_):
    vocab = Vocab.load(path)
    assert vocab.idx_to_token[0] == UNKNOWN
    assert [vocab[token] for token in vocab.idx_to_token] == list(range(len(vocab)))
    counts = [count for _, count in vocab.token_freqs]
    assert counts == sorted(counts, reverse=True)
    vocab.save(path)
    again = Vocab.load(path)
    assert again == vocab
    assert again.token_freqs == vocab.token_freqs
    assert vocab.decode(vocab.encode(vocab.idx_to_token)) == vocab.idx_to_token


KINDS = {
    "text": (check_text, TEXTS),
    "table": (check_table, TABLES),
    "vocabulary": (check_vocabulary, VOCABULARIES),
}


@pytest.mark.parametrize("kind", KINDS)
def test_mutants_are_refused_or_obey_the_laws(kind, tmp_path, request):
    check, seeds = KINDS[kind]
    path, outcomes = tmp_path / "mutant", []
    mutants = request.config.getoption("--mutants", default=DEFAULT_MUTANTS)
    for number in range(-(-mutants // 6)):
        chance = random.Random(f"{kind} {number}")
        start = chance.randrange(len(seeds))
        content = mutant(start, seeds, chance)
        path.write_bytes(content)
        try:
            outcomes.append(outcome(check, path, start, chance))
        except Exception as error:
            raise AssertionError(f"{kind} {number}: {content[:300]!r}") from error
    # Both ways are gone often enough to mean something.
    assert min(map(outcomes.count, ("error", "result"))) >= len(outcomes) // 20


# Finds


def test_half_a_surrogate_pair_is_saved_and_read_again(tmp_path):
    vocab = Vocab(["\ud83d", "a", "b\ude80c"])
    vocab.save(tmp_path / "vocab.json")
    assert Vocab.load(tmp_path / "vocab.json") == vocab
    (tmp_path / "vocab.json").read_text("utf-8")


def test_a_count_of_the_unknown_token_is_not_kept():
    vocab = Vocab.from_dict({"tokens": [UNKNOWN, "a"], "counts": [3, 2]})
    assert vocab.token_freqs == [("a", 2)]
    assert vocab.to_dict()["counts"] == [0, 2]


@pytest.mark.parametrize("content", [b"9" * 5000, b'{"tokens": ["<unk>"], "counts": [%s]}'])
def test_a_number_too_long_for_python_is_no_vocabulary(tmp_path, content):
    (tmp_path / "vocab.json").write_bytes(content.replace(b"%s", b"9" * 5000))
    with pytest.raises(ModelFileError, match="must be a list of different strings"):
        Vocab.load(tmp_path / "vocab.json")


def test_a_vocabulary_without_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge.json").touch()
    os.truncate(tmp_path / "huge.json", 2**31)
    with no_hang():
        for path, found in ((tmp_path / "pipe", "a device"), (tmp_path / "huge.json", "2,147,483")):
            with pytest.raises(FileError, match=f"must be a readable vocabulary.*found {found}"):
                Vocab.load(path)
