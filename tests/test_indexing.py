"""Ids on the disk: the same corpus as in memory, whole or not at all, and never another text's."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from children import LONGEST
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from kseq import Corpus, DataError, FileError, RandomBatches, SequentialBatches, load_corpus
from kseq.data import id_cache, indexing, segments
from kseq.data.floors import ngram_floors
from kseq.data.id_files import CodeFile
from kseq.data.mapped import MappedIds
from kseq.data.preparation import Preparation
from kseq.data.text import cleaned_chunks, word_chunks

pytestmark = pytest.mark.engine("torch")

WAYS = [("char", "none"), ("char", "d2l"), ("word", "none"), ("word", "d2l")]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(("Ein Mond, zwei Monde;\r\n\n  drei – vier!\n" * 300).encode())
    _make_old(path)
    return path


@pytest.fixture
def small_segments(monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_CHARACTERS", 1000)
    monkeypatch.setattr("kseq.data.reading.BLOCK_BYTES", 700)


def _make_old(path):
    """A file modified just now is not trusted to be the one that was read."""
    os.utime(path, (1e9, 1e9))


def _assert_same(found: Corpus, expected: Corpus) -> None:
    assert np.array_equal(np.asarray(found.ids), expected.ids)
    assert found.vocab == expected.vocab
    assert found.vocab.token_freqs == expected.vocab.token_freqs
    assert found.unk_count == expected.unk_count
    assert found.provenance == expected.provenance


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize(("level", "cleaning"), WAYS)
@pytest.mark.parametrize("separator", [None, "\n", " ", "", "--"])
def test_a_corpus_on_the_disk_is_that_in_memory(text, tmp_path, level, cleaning, separator):
    how = {"level": level, "cleaning": cleaning, "separator": separator, "min_freq": 2}

    found, expected = load_corpus(text, cache_dir=tmp_path, **how), load_corpus(text, **how)

    assert isinstance(found.ids, MappedIds)
    _assert_same(found, expected)
    assert found.text == expected.text
    for part, other in zip(found.split(0.7), expected.split(0.7), strict=True):
        _assert_same(part, other)
    for part, other in zip(found.divide(100, 50), expected.divide(100, 50), strict=True):
        _assert_same(part, other)
    _assert_same(found.after(123), expected.after(123))
    assert ngram_floors(*found.split(0.3)) == ngram_floors(*expected.split(0.3))


@pytest.mark.parametrize("make", [SequentialBatches, RandomBatches])
def test_batches_of_ids_on_the_disk_are_those_in_memory(text, tmp_path, make):
    found = make(load_corpus(text, cache_dir=tmp_path), 4, 9)
    expected = make(load_corpus(text), 4, 9)

    assert isinstance(found.ids, MappedIds)
    for epoch in range(2):
        found.set_epoch(epoch)
        expected.set_epoch(epoch)
        for index in range(len(expected)):
            assert found[index][0].dtype == np.int32
            assert np.array_equal(found[index], expected[index])


@pytest.fixture
def texts(text, tmp_path):
    """One without a line end, one long, one short."""
    paths = [tmp_path / "a.txt", text, tmp_path / "b.txt"]
    paths[0].write_bytes(b"no end of line")
    paths[2].write_bytes(b"\n  after all is said\n\n")
    for path in paths:
        _make_old(path)
    return paths


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize(("level", "cleaning"), WAYS)
def test_several_texts_on_the_disk_are_those_in_memory(texts, tmp_path, level, cleaning):
    how = {"level": level, "cleaning": cleaning, "min_freq": 2}
    found, expected = (
        load_corpus(texts, cache_dir=tmp_path / "ids", **how),
        load_corpus(texts, **how),
    )
    _assert_same(found, expected)
    assert [document.name for document in found.documents] == ["a.txt", "text.txt", "b.txt"]

    parts = zip(found.split(0.5, each=True), expected.split(0.5, each=True), strict=True)
    for one, other in parts:
        _assert_same(one, other)
        assert isinstance(one.ids, MappedIds)
    one, other = (each.split(0.5, each=True)[0].mixed([2, 0.5, 0]) for each in (found, expected))
    _assert_same(one, other)
    for mine, theirs in zip(found.by_document(), expected.by_document(), strict=True):
        _assert_same(mine, theirs)
    assert ngram_floors(one) == ngram_floors(other)


def test_several_texts_are_found_again_with_their_borders(texts, tmp_path, monkeypatch):
    first = load_corpus(texts, cache_dir=tmp_path / "ids")
    monkeypatch.setattr(indexing, "_Indexing", None)
    again = load_corpus(texts, cache_dir=tmp_path / "ids")
    assert again.documents == first.documents
    assert again.provenance == first.provenance


def test_a_text_without_tokens_is_refused_among_others_on_the_disk(text, tmp_path):
    (tmp_path / "blank.txt").write_text("123")
    with pytest.raises(DataError, match=r"blank\.txt: must have tokens"):
        load_corpus([text, tmp_path / "blank.txt"], cleaning="d2l", cache_dir=tmp_path / "ids")


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("stopped_after", [500, 6000, 13_000, 20_000, 24_640])
def test_several_texts_are_gone_on_with_where_they_were_left(texts, tmp_path, stopped_after):
    many = [*texts, texts[1], texts[0]]

    def stop(done, _):
        if done > stopped_after:
            raise Stopped

    with pytest.raises(Stopped):
        load_corpus(many, cache_dir=tmp_path / "ids", progress=stop)
    left = list((tmp_path / "ids").glob("*.partial.json"))
    assert bool(left) == (stopped_after > 1000)
    if stopped_after > 13_000:
        assert len(json.loads(left[0].read_text())["stops"]) == 3
    _assert_same(load_corpus(many, cache_dir=tmp_path / "ids"), load_corpus(many))


@pytest.mark.usefixtures("small_segments")
def test_a_run_stopped_while_it_reads_again_loses_nothing(texts, tmp_path):
    cache = tmp_path / "ids"
    for stopped_after in (9000, 2000):

        def stop(done, _, last=stopped_after):
            if done > last:
                raise Stopped

        with pytest.raises(Stopped):
            load_corpus([*texts, texts[1]], cache_dir=cache, progress=stop)
        assert json.loads(next(cache.glob("*.partial.json")).read_text())["count"] > 7000


@pytest.mark.parametrize("name", ["stops", "counts", "symbols", "tokens", "seal"])
@pytest.mark.parametrize("value", [None, 7, [1], "ab"], ids=str)
def test_facts_that_were_changed_are_not_believed(texts, tmp_path, name, value):
    cache = tmp_path / "ids"
    expected = load_corpus(texts, cache_dir=cache).documents
    path = next(each for each in cache.glob("char-*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    assert load_corpus(texts, cache_dir=cache).documents == expected


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("stops", [None, [17], [1, 2, 3, 4]], ids=str)
def test_a_changed_partial_is_not_gone_on_with(texts, tmp_path, stops):
    def stop(done, _):
        if done > 9000:
            raise Stopped

    with pytest.raises(Stopped):
        load_corpus(texts, cache_dir=tmp_path / "ids", progress=stop)
    path = next((tmp_path / "ids").glob("*.partial.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stops": stops}))
    _assert_same(load_corpus(texts, cache_dir=tmp_path / "ids"), load_corpus(texts))


def test_many_short_texts_are_not_each_forced_to_the_disk(text, tmp_path, monkeypatch):
    forced, force = [], CodeFile.force
    monkeypatch.setattr(CodeFile, "force", lambda file: forced.append(1) or force(file))
    load_corpus([text] * 20, cache_dir=tmp_path / "ids")
    assert len(forced) == 1


def test_a_pipe_is_read_anew_each_time(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for content in ("one two", "three"):
        writer = threading.Thread(target=pipe.write_text, args=(content,), daemon=True)
        writer.start()
        assert load_corpus(pipe, cache_dir=tmp_path / "ids").text == content
        writer.join(20)


def test_codes_that_were_lost_are_made_anew(text, tmp_path, monkeypatch):
    cache = tmp_path / "ids"
    with monkeypatch.context() as stopped:
        stopped.setattr(segments, "SEGMENT_CHARACTERS", 1000)
        stopped.setattr(indexing._Indexing, "_note", _noted_then_stopped)
        with pytest.raises(KeyboardInterrupt):
            load_corpus(text, cache_dir=cache)
    for codes in cache.glob("*.partial-*"):
        codes.unlink()
    _assert_same(load_corpus(text, cache_dir=cache), load_corpus(text))


def _noted_then_stopped(self, *arguments, note=indexing._Indexing._note):
    note(self, *arguments)
    raise KeyboardInterrupt


PIECES = st.text(alphabet="ab \n.é", min_size=1, max_size=60)


@given(
    text=PIECES, size=st.integers(1, 9), block=st.integers(1, 9), separator=st.sampled_from("- \n")
)
def test_segments_have_the_tokens_of_the_whole(text, size, block, separator):
    chunks = [text[start : start + block] for start in range(0, len(text), block)]
    for level, cleaning in WAYS:
        how = Preparation.checked(level, cleaning, separator)
        if level == "char":
            whole = list("".join(cleaned_chunks(chunks, cleaning, separator)))
        else:
            whole = [word for words in word_chunks(chunks, cleaning) for word in words]
        places, found = [], []
        reader = segments.Segments(chunks, cleaning, size=size)
        for segment in reader:
            places.append((reader.position, len(found)))
            pieces = segments.segment_tokens(segment, how, first=reader.position == 0)
            found += [token for piece in pieces for token in piece]
        assert found == whole
        for position, count in places[1:]:
            rest = segments.Segments(chunks, cleaning, position, size=10**6)
            pieces = segments.segment_tokens(next(iter(rest)), how, first=False)
            assert [token for piece in pieces for token in piece] == whole[count:]


def test_a_long_text_has_more_than_one_segment():
    reader = segments.Segments(["one two ", "three"], "none", size=3)

    assert ["".join(segment) for segment in reader] == ["one", " two", " three"]


@given(
    blocks=st.lists(st.tuples(st.integers(0, 40), st.sampled_from([5, 256, 257, 65_536, 70_000]))),
    reopen=st.booleans(),
)
def test_a_file_widens_and_keeps_its_codes(tmp_path_factory, blocks, reopen):
    stem = tmp_path_factory.mktemp("codes") / "codes"
    expected, known = np.zeros(0, np.int64), 1
    file = CodeFile(stem)
    for count, symbols in blocks:
        known = max(known, symbols)
        codes = np.random.default_rng(count).integers(symbols, size=count)
        file.append(codes, known)
        expected = np.append(expected, codes)
        if reopen:
            with file:
                file.force()
            file = CodeFile(stem, file.count, file.dtype.itemsize)
    with file:
        file.force()

    found = np.load(file.path)
    assert np.array_equal(found, expected)
    assert found.dtype.itemsize == (1 if known <= 256 else 2 if known <= 65_536 else 4)
    assert file.path.stat().st_size == 128 + found.nbytes


def test_ids_beyond_two_bytes(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(" ".join(map(str, range(70_000))), "utf-8")

    found = load_corpus(path, level="word", cache_dir=tmp_path)

    assert next(tmp_path.glob("*.npy")).stat().st_size == 128 + 4 * 70_000
    assert np.array_equal(np.asarray(found.ids), np.arange(1, 70_001))


class Stopped(BaseException):
    pass


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize(("level", "cleaning"), WAYS)
def test_a_run_that_was_stopped_goes_on(text, tmp_path, monkeypatch, level, cleaning):
    how = {"level": level, "cleaning": cleaning}
    cache, read, coded = tmp_path / "ids", [], []

    def stop(done, _):
        read.append(done)
        if done > 6000:
            raise Stopped

    with pytest.raises(Stopped):
        load_corpus(text, cache_dir=cache, progress=stop, **how)
    assert not list(cache.glob("*.npy"))
    partial = json.loads(next(cache.glob("*.partial.json")).read_text())
    assert partial["count"] > 0

    append = CodeFile.append
    monkeypatch.setattr(
        CodeFile,
        "append",
        lambda file, codes, n: coded.append(len(codes)) or append(file, codes, n),
    )
    found = load_corpus(text, cache_dir=cache, **how)

    _assert_same(found, load_corpus(text, **how))
    assert sum(coded) == len(found) - partial["count"]
    assert not list(cache.glob("*partial*"))


KILLED = """
import os, signal, sys
import kseq
from kseq.data import reading, segments

def kill(done, _):
    if done > 6000:
        os.kill(os.getpid(), signal.SIGKILL)

segments.SEGMENT_CHARACTERS, reading.BLOCK_BYTES = 1000, 700
kseq.load_corpus(sys.argv[1], level="word", cache_dir=sys.argv[2], progress=kill)
"""


@pytest.mark.usefixtures("small_segments")
def test_a_run_that_was_killed_goes_on(text, tmp_path):
    command = [sys.executable, "-c", KILLED, str(text), str(tmp_path / "ids")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert json.loads(next((tmp_path / "ids").glob("*.partial.json")).read_text())["count"] > 0

    _assert_same(
        load_corpus(text, level="word", cache_dir=tmp_path / "ids"), load_corpus(text, level="word")
    )


@pytest.mark.usefixtures("small_segments")
def test_a_text_that_changed_between_two_runs_is_begun_anew(text, tmp_path):
    def stop(done, _):
        if done > 6000:
            raise Stopped

    with pytest.raises(Stopped):
        load_corpus(text, cache_dir=tmp_path / "ids", progress=stop)
    text.write_bytes(text.read_bytes().replace(b"Mond", b"Haus", 1))

    _assert_same(load_corpus(text, cache_dir=tmp_path / "ids"), load_corpus(text))


def test_an_index_is_read_and_not_made_again(text, tmp_path, monkeypatch):
    first = load_corpus(text, cache_dir=tmp_path / "ids")
    monkeypatch.setattr(indexing, "chunks_of", None)  # whoever reads the text fails
    monkeypatch.setattr(id_cache, "_NOT_TRUSTED_NS", 0)

    _assert_same(load_corpus(text, cache_dir=tmp_path / "ids"), first)


def test_a_text_that_was_only_touched_is_hashed_and_not_tokenized(text, tmp_path, monkeypatch):
    first = load_corpus(text, cache_dir=tmp_path / "ids")
    copy = tmp_path / "copy.txt"
    copy.write_bytes(text.read_bytes())
    monkeypatch.setattr(indexing, "Segments", None)  # whoever tokenizes fails

    found = load_corpus(copy, cache_dir=tmp_path / "ids")

    assert np.array_equal(np.asarray(found.ids), np.asarray(first.ids))


def test_a_changed_text_of_the_same_length_and_time_is_noticed(text, tmp_path):
    load_corpus(text, cache_dir=tmp_path / "ids")
    text.write_bytes(text.read_bytes().replace(b"Mond", b"Haus"))
    _make_old(text)

    found = load_corpus(text, cache_dir=tmp_path / "ids")

    assert "Haus" in found.text


def test_a_text_just_written_is_not_trusted(text, tmp_path, monkeypatch):
    """A second change in the same tick of the clock would bear the same time."""
    marks = [id_cache._mark(text)]
    monkeypatch.setattr(id_cache, "_mark", lambda path: marks[0])
    for newest, expected in ((0, "first"), (10**30, None)):
        marks[0] = [*marks[0][:3], newest, *marks[0][4:]]
        cache = id_cache.IdCache(
            tmp_path, [type("Text", (), {"path": text})], "utf-8", Preparation("char", "none", "")
        )
        cache.remember("first")
        assert cache.remembered() == expected


@pytest.mark.parametrize("damage", ["cut", "grown", "no header", "no json", "other json", "no ids"])
def test_a_damaged_index_is_made_anew(text, tmp_path, damage):
    cache = tmp_path / "ids"
    load_corpus(text, cache_dir=cache)
    ids, facts = next(cache.glob("char*.npy")), next(cache.glob("char*.json"))
    content = ids.read_bytes()
    if damage in ("cut", "grown", "no header"):
        changed = {"cut": content[:-1], "grown": content + b"1", "no header": content[10:]}
        ids.write_bytes(changed[damage])
    elif damage == "no ids":
        ids.unlink()
    else:
        facts.write_text("[" if damage == "no json" else json.dumps({"format": 0}))

    _assert_same(load_corpus(text, cache_dir=cache), load_corpus(text))
    assert next(cache.glob("char*.npy")).read_bytes() == content


def test_codes_that_were_changed_are_refused(text, tmp_path):
    load_corpus(text, cache_dir=tmp_path / "ids")
    path = next((tmp_path / "ids").glob("*.npy"))
    with path.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")

    found = load_corpus(text, cache_dir=tmp_path / "ids")

    with pytest.raises(FileError, match=r"must be codes below \d+, found 255"):
        found.ids[-5:]


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b...", b"text\0", b" \n \n"])
def test_what_is_no_text_leaves_nothing_behind(tmp_path, content):
    path = tmp_path / "none.txt"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"must (be|have)"):
        load_corpus(path, level="word", cache_dir=tmp_path / "ids")

    assert not list((tmp_path / "ids").glob("*partial*"))


def test_a_cache_where_none_can_be(text):
    with pytest.raises(FileError, match=r"must exist and be writable"):
        load_corpus(text, cache_dir=text / "ids")


def test_progress_tells_bytes_read_and_those_there_are(text, tmp_path):
    told = []
    load_corpus(text, cache_dir=tmp_path, progress=lambda *numbers: told.append(numbers))

    assert told[-1] == (text.stat().st_size, text.stat().st_size)


@pytest.mark.parametrize(
    "ranges",
    [[(3, 15)], [(3, 9), (9, 15)], [(12, 15), (0, 0), (0, 8), (4, 5)]],
    ids=lambda ranges: str(len(ranges)),
)
def test_ids_are_indexed_as_an_array_is(ranges):
    whole = np.arange(20, 40, dtype=np.uint8)
    ids, expected = (
        MappedIds(whole, ranges=ranges),
        np.concatenate([whole[slice(*each)] for each in ranges]),
    )

    assert ids.shape == expected.shape
    assert (len(ids), ids.size, ids.ndim, ids.dtype) == (12, 12, 1, expected.dtype)
    for where in (0, 11, slice(None), slice(2, 99), slice(-3, None), slice(5, 2), slice(1, 9, 3)):
        assert np.array_equal(ids[where], expected[where])
    for places in ([0, 11], [[1, 2], [3, 4]], np.zeros((2, 0), int)):
        assert np.array_equal(ids[np.array(places)], expected[np.array(places)])
    assert np.array_equal(ids.parts([(2, 5)])[:], expected[2:5])
    assert (ids.max(), ids.parts([(2, 5)]).max()) == (expected.max(), expected[2:5].max())
    table = np.arange(100, 0, -1)
    reversed_ids, expected_reversed = ids.under(table), table[expected]
    assert (reversed_ids.max(), reversed_ids.parts([(2, 5)]).max()) == (
        expected_reversed.max(),
        expected_reversed[2:5].max(),
    )
    assert np.array_equal(ids[np.array([3, 11], np.uint64)], expected[[3, 11]])
    for wrong in (12, -13, np.array([0, 12]), np.array([-1]), np.array([True] * 12), [0.5]):
        with pytest.raises(IndexError):
            ids[wrong]


PROGRAM = """
import sys
import numpy as np
import kseq
kseq.SequentialBatches, kseq.ngram_floors
kseq.Corpus.from_text("warm up")

def peak():  # ru_maxrss would be that of whoever started this process, if it was larger
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])

before = peak()
train, valid = kseq.load_corpus(sys.argv[1], cache_dir=sys.argv[2]).split(0.9)
kseq.ngram_floors(train, valid)
for make in (kseq.SequentialBatches, kseq.RandomBatches):
    for inputs, targets in make(train, 256, 512):
        pass
print((peak() - before) / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_text(tmp_path):
    path, words = tmp_path / "long.txt", b"the same words over and over in\n" * 2**15
    with path.open("wb") as file:
        for _ in range(300):
            file.write(words)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), str(tmp_path / "ids")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST,
    )

    assert float(done.stdout) < 200  # MiB, of a text of 300
