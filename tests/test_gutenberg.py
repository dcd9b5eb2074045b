"""Books of Project Gutenberg: the body counts, whatever is around it."""

import hashlib
import os
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from kseq.data import downloads
from kseq.data.corpora import load_corpus
from kseq.data.downloads import NAMED_TEXTS, NamedText, download, find_text
from kseq.data.gutenberg import body_of
from kseq.data.reading import read_bytes
from kseq.errors import FileError

pytestmark = pytest.mark.engine("torch")

HEADER = (
    "\ufeffThe Project Gutenberg eBook of Some Text\n\nThis ebook is for the use of anyone\n"
    "*** START OF THE PROJECT GUTENBERG EBOOK SOME TEXT ***\n\n\n"
).encode()
FOOTER = b"\n\n*** END OF THE PROJECT GUTENBERG EBOOK SOME TEXT ***\nThe licence\n"
BODY = b"the time traveller \n" * 5000
EDITIONS = {
    "the body": BODY,
    "the edition": HEADER + BODY + FOOTER,
    "the edition, CR LF": (HEADER + BODY + FOOTER).replace(b"\n", b"\r\n"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "given").mkdir()
    return tmp_path / "given"


@pytest.fixture
def book():
    return NamedText(
        name="some_text",
        file_name="sometext.txt",
        size=len(BODY),
        sha256=hashlib.sha256(BODY).hexdigest(),
        url="http://127.0.0.1:9/book",
        cleaning="none",
        edition="",
        wrapped=True,
    )


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        body = EDITIONS["the edition, CR LF"]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/book"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("edition", EDITIONS.values(), ids=EDITIONS)
def test_a_book_is_downloaded_without_header_and_footer(book, tmp_path, monkeypatch, edition):
    blocks = [edition[start : start + 1000] for start in range(0, len(edition), 1000)]
    monkeypatch.setattr(downloads, "received", lambda *_: iter(blocks))
    path = download(book, tmp_path / "sometext.txt")
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("edition", EDITIONS.values(), ids=EDITIONS)
def test_a_book_placed_by_hand_may_have_header_and_footer(book, folder, edition):
    path = folder / "sometext.txt"
    path.write_bytes(edition)
    found = find_text(book, folder)
    assert (os.fspath(found), read_bytes(found)) == (str(path), BODY)
    assert path.read_bytes() == edition
    assert not (folder.parent / "cache").exists()


def test_a_plain_text_in_header_and_footer_is_another(book, folder):
    (folder / "sometext.txt").write_bytes(EDITIONS["the edition"])
    with pytest.raises(FileError, match=r"sometext\.txt: must have SHA-256 "):
        find_text(replace(book, wrapped=False), folder)


@pytest.mark.parametrize(
    ("edition", "found"),
    [
        (HEADER + BODY.replace(b"a", b"b") + FOOTER, "found SHA-256 "),
        (HEADER + BODY[:-100] + FOOTER, "found 99,900 of 100,000 bytes"),
        (b"<!DOCTYPE html>\n" + BODY, "found an HTML page"),
        (HEADER + BODY * 2 + FOOTER, "found more than 17"),
    ],
)
def test_another_book_is_refused(book, tmp_path, monkeypatch, edition, found):
    monkeypatch.setattr(downloads, "received", lambda *_: iter([edition]))
    with pytest.raises(FileError) as raised:
        download(book, tmp_path / "sometext.txt")
    assert str(raised.value).startswith("some_text: the download from 127.0.0.1:9 must give the ")
    assert found in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_book_over_the_network(book, address, tmp_path):
    path = download(replace(book, url=address), tmp_path / "sometext.txt")
    assert path.read_bytes() == BODY


def test_the_war_of_the_worlds_in_an_edition_of_our_own_making(data_dir, tmp_path):
    text = NAMED_TEXTS["war_of_the_worlds"]
    body = (data_dir / text.file_name).read_bytes()
    head = b"*** START OF THE PROJECT GUTENBERG EBOOK THE WAR OF THE WORLDS ***\n\n\n\n\n"
    foot = b"\n\n\n\n*** END OF THE PROJECT GUTENBERG EBOOK THE WAR OF THE WORLDS ***\n"
    edition = (b"\xef\xbb\xbfTitle\n" + head + body + foot).replace(b"\n", b"\r\n")
    (tmp_path / text.file_name).write_bytes(edition)
    assert read_bytes(find_text(text, tmp_path)) == body
    wrapped = load_corpus("war_of_the_worlds", data_dir=tmp_path)
    plain = load_corpus("war_of_the_worlds", data_dir=data_dir)
    assert wrapped.provenance == plain.provenance
    assert (wrapped.ids == plain.ids).all()
    assert wrapped.sha256 == text.sha256


def test_both_wells_books_by_their_names(data_dir):
    corpus = load_corpus(["time_machine", "war_of_the_worlds"], data_dir=data_dir)
    assert (corpus.cleaning, len(corpus.documents)) == ("d2l", 2)


def test_a_text_that_speaks_of_project_gutenberg_keeps_what_it_says():
    text = b"*** a START OF sorts ***\nPROJECT GUTENBERG EBOOK\n"
    assert body_of(text) == text
    assert body_of(body_of(EDITIONS["the edition"])) == BODY
