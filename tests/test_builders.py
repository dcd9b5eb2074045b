import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from children import LONGEST, running

import kseq
from kseq.data import builders, downloads
from kseq.data.corpora import load_corpus
from kseq.errors import DataError, FileError, UsageError

pytestmark = [
    pytest.mark.engine("torch"),
    # Of libraries that TFDS imports.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

BOOKS = {"b.txt": "or not\r\nto be", "a.txt": "to bé\n", "10.txt": "x" * 300, "9.txt": "\ufeffy\n"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kseq"


@pytest.fixture
def books(tmp_path):
    folder = tmp_path / "books"
    folder.mkdir()
    for name, text in BOOKS.items():
        (folder / name).write_bytes(text.encode())
    (folder / "notes.md").write_text("no text of ours")
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("somebody asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def records(builder):
    return [(each["name"], each["text"]) for each in builder.as_data_source("texts")]


def array_record(builder):
    return next(builder.place.glob("*.array_record-*"))


# What is prepared


@pytest.mark.parametrize("name", ["time_machine", "tiny_shakespeare", "war_of_the_worlds"])
def test_a_named_text_is_one_record_and_gives_the_ids_of_the_plain_path(
    name, data_dir, tmp_path, no_network
):
    builder = kseq.corpus_builder(name, tmp_path / "sets", data_dir)
    text = downloads.NAMED_TEXTS[name]
    assert records(builder) == [(name.encode(), (data_dir / text.file_name).read_bytes())]
    plain = load_corpus(name, data_dir=data_dir)
    for source in (builder, builder.as_data_source("texts")):
        corpus = load_corpus(source)
        assert np.array_equal(corpus.ids, plain.ids)
        assert corpus.vocab == plain.vocab
        assert corpus.provenance == plain.provenance
    files = [{"url": text.url, "size": text.size, "sha256": text.sha256}]
    assert json.loads((builder.place / "metadata.json").read_text())["files"] == files
    version = f"1.0.{int(text.sha256[:8], 16)}"
    assert str(builder.data_dir).endswith(f"{name}/{text.sha256[:16]}/{version}")
    assert str(builder.version) == str(builder.info.version) == version


def test_a_folder_is_a_record_for_each_text_in_the_order_of_their_names(books, tmp_path):
    builder = kseq.corpus_builder(books, tmp_path / "sets")
    names = sorted(BOOKS)
    assert records(builder) == [(name.encode(), BOOKS[name].encode()) for name in names]
    paths = [books / name for name in names]
    corpus, plain = load_corpus(builder, level="word"), load_corpus(paths, level="word")
    assert corpus.tokens == plain.tokens
    assert corpus.documents == plain.documents
    assert corpus.provenance == plain.provenance
    assert [each.name for each in corpus.documents] == names


def test_files_and_builders_among_others(books, tmp_path):
    builder = kseq.corpus_builder([books / "b.txt"], tmp_path / "sets")
    corpus = load_corpus([books / "a.txt", builder], cleaning="d2l")
    assert corpus.text == "to b or not to be"
    assert corpus.name == "a.txt+b.txt"
    assert kseq.corpus_builder(books / "b.txt", tmp_path / "sets").place == builder.place


def test_another_encoding_is_read_as_from_the_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("né".encode("latin-1"))
    builder = kseq.corpus_builder(path, tmp_path / "sets")
    assert load_corpus(builder, encoding="latin-1").text == "né"
    with pytest.raises(DataError, match=r"^a\.txt: must be utf-8 text, found byte 0xe9 at offset"):
        load_corpus(builder)


# Never the old, nor the half


@pytest.mark.parametrize("change", ["content", "name", "more", "fewer"])
def test_other_files_never_give_the_old_texts(books, tmp_path, change):
    before = kseq.corpus_builder(books, tmp_path / "sets")
    if change == "content":
        (books / "a.txt").write_bytes(b"to be\n!")  # as many bytes
    elif change == "name":
        (books / "a.txt").rename(books / "aa.txt")
    elif change == "more":
        (books / "c.txt").write_text("new")
    else:
        (books / "9.txt").unlink()
    after = kseq.corpus_builder(books, tmp_path / "sets")
    assert after.place != before.place
    assert after.version != before.version
    assert records(after) == [
        (path.name.encode(), path.read_bytes()) for path in sorted(books.glob("*.txt"))
    ]


def test_what_is_right_is_not_made_again(data_dir, tmp_path):
    builder = kseq.corpus_builder("time_machine", tmp_path / "sets", data_dir)
    made = array_record(builder).stat().st_mtime_ns
    again = kseq.corpus_builder("time_machine", tmp_path / "sets", tmp_path)
    assert array_record(again).stat().st_mtime_ns == made


def truncated(place):
    path = next(place.glob("*.array_record-*"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def altered(place):
    path = next(place.glob("*.array_record-*"))
    path.write_bytes(path.read_bytes().replace(b"or not", b"or now"))


def empty_folder(place):
    for path in place.iterdir():
        path.unlink()


def without_records(place):
    next(place.glob("*.array_record-*")).unlink()


def broken_facts(place):
    (place / "dataset_info.json").write_text("{")


def without_facts(place):
    (place / "dataset_info.json").unlink()


def without_features(place):
    (place / "features.json").unlink()


@pytest.mark.parametrize(
    "harm",
    [
        truncated,
        altered,
        empty_folder,
        without_records,
        broken_facts,
        without_facts,
        without_features,
    ],
)
def test_half_a_data_set_is_never_taken_for_whole(books, tmp_path, harm):
    good = records(kseq.corpus_builder(books, tmp_path / "sets"))
    harm(kseq.corpus_builder(books, tmp_path / "sets").place)
    assert records(kseq.corpus_builder(books, tmp_path / "sets")) == good


def test_what_is_stopped_on_the_way_leaves_nothing_that_counts(books, tmp_path, monkeypatch):
    from kseq.data.builders.texts import TextFiles

    def one_and_then_stop(self):
        yield {"name": b"a.txt", "text": b"to b"}
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TextFiles, "records", one_and_then_stop)
        with pytest.raises(KeyboardInterrupt):
            kseq.corpus_builder(books, tmp_path / "sets")
    assert list((tmp_path / "sets").rglob("*1.0.*")) == []
    assert len(records(kseq.corpus_builder(books, tmp_path / "sets"))) == len(BOOKS)


def test_a_text_that_changes_while_it_is_prepared_is_told(books, tmp_path, monkeypatch):
    from kseq.data.builders.texts import TextFiles

    monkeypatch.setattr(TextFiles, "records", lambda self: iter([{"name": b"a", "text": b"b"}]))
    with pytest.raises(
        FileError, match=r"must hold the texts as they were read, found others; see"
    ):
        kseq.corpus_builder(books, tmp_path / "sets")


def test_many_at_once_all_get_the_texts(books, tmp_path):
    kseq.corpus_builder(books, tmp_path / "warm")  # what TFDS imports late is imported once
    program = (
        "import sys, kseq\n"
        "builder = kseq.corpus_builder(sys.argv[1], sys.argv[2])\n"
        "print(len(kseq.load_corpus(builder)))\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", program, str(books), str(tmp_path / "sets")]
    options = {"stdout": subprocess.PIPE, "text": True, "cwd": Path(kseq.__file__).parents[1]}
    with ExitStack() as stack:
        processes = [stack.enter_context(running(words, **options)) for _ in range(3)]
        said = [process.communicate()[0].strip() for process in processes]
    assert said == [str(len(load_corpus([books / name for name in sorted(BOOKS)])))] * 3


# Without a network, TensorFlow, or the packages


def test_without_a_network_it_fails_at_once_and_tfds_is_not_asked(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(downloads, "received", lambda url, _: asked.append(url) or iter([b""]))
    with pytest.raises(
        FileError, match=r"^time_machine: the download from d2l-data\..*place it by"
    ):
        kseq.corpus_builder("time_machine", tmp_path / "sets", tmp_path)
    assert asked == [downloads.NAMED_TEXTS["time_machine"].url]
    assert list((tmp_path / "sets").rglob("*1.0.*")) == []


def test_a_download_is_verified_before_it_is_prepared(data_dir, tmp_path, monkeypatch):
    content = (data_dir / "timemachine.txt").read_bytes()
    monkeypatch.setattr(downloads, "received", lambda *_: iter([content[:-1], b"!"]))
    with pytest.raises(FileError, match=r"found SHA-256 "):
        kseq.corpus_builder("time_machine", tmp_path / "sets")
    monkeypatch.setattr(downloads, "received", lambda *_: iter([content]))
    assert records(kseq.corpus_builder("time_machine", tmp_path / "sets"))[0][1] == content


@pytest.mark.parametrize("hidden", ["nothing", "tensorflow"])
def test_it_works_with_and_without_tensorflow_and_never_imports_it(books, tmp_path, hidden):
    program = (
        "import sys, importlib.machinery as machinery\n"
        "find = machinery.PathFinder.find_spec.__func__\n"
        "def find_spec(cls, name, *rest):\n"
        "    hidden = name.partition('.')[0] == sys.argv[1]\n"
        "    return None if hidden else find(cls, name, *rest)\n"
        "machinery.PathFinder.find_spec = classmethod(find_spec)\n"
        "import kseq\n"
        "corpus = kseq.load_corpus(kseq.corpus_builder(sys.argv[2], sys.argv[3]))\n"
        "print(len(corpus.documents), sorted({'keras', 'tensorflow', 'torch'} & {*sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, hidden, str(books), str(tmp_path / "sets")],
        capture_output=True,
        text=True,
        timeout=LONGEST,
        cwd=Path(kseq.__file__).parents[1],
        check=False,
    )
    assert (done.stdout, done.stderr) == ("4 []\n", "")


def test_nothing_is_said(books, tmp_path, capfd):
    kseq.corpus_builder(books, tmp_path / "sets")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("missing", ["array_record", "tensorflow_datasets"])
def test_a_missing_package_is_named(missing, books, monkeypatch):
    monkeypatch.setattr(builders, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(UsageError) as raised:
        kseq.corpus_builder(books)
    assert str(raised.value) == (
        f"corpus_builder: must have the package {missing}, found it missing (array_record is "
        "made for Linux alone); load the text by its name or path instead"
    )


# Refusals


def test_sources_that_cannot_be(tmp_path, books, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: must be a folder of text files ending in \.txt, "):
        kseq.corpus_builder(tmp_path / "empty")
    with pytest.raises(FileError, match=r"must be a text file, found it missing"):
        kseq.corpus_builder(tmp_path / "none.txt")
    with pytest.raises(UsageError, match=r"^source: must be files that stay, found standard input"):
        kseq.corpus_builder("-")
    with pytest.raises(UsageError, match=r"^source: must be the name or path"):
        kseq.corpus_builder(7)
    monkeypatch.setattr("kseq.data.builders.texts.MOST_BYTES", 100)
    with pytest.raises(DataError, match=r"10\.txt: must have at most 100 bytes, found 300; cut"):
        kseq.corpus_builder(books)


def test_a_folder_that_cannot_be_written_to(books, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match=r"must be a place where a data set can be written, found"):
        kseq.corpus_builder(books, tmp_path / "file")


def test_builders_that_hold_no_texts(books, tmp_path):
    from kseq.data.builders.texts import TextFiles
    from kseq.data.sources import find_sources

    unprepared = TextFiles(tmp_path / "sets", find_sources([books / "a.txt"]))
    with pytest.raises(UsageError, match=r"^source: must be a builder that is prepared as array_"):
        load_corpus(unprepared)
    with pytest.raises(UsageError, match=r"^source: must have records with a 'text', found"):
        load_corpus(np.arange(3))
    with pytest.raises(UsageError, match=r"^source: must have records with a 'text', found none;"):
        load_corpus(np.arange(0))
    with pytest.raises(UsageError, match=r"^source: must be the name or path of a text"):
        load_corpus({"text": "a"})
