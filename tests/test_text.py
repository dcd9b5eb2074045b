import errno
import gzip
import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
from children import LONGEST
from hypothesis import given
from hypothesis import strategies as st

from kseq.data import reading
from kseq.data.text import clean, cleaned_chunks, read_text, tokenize, word_chunks
from kseq.errors import DataError, FileError, UsageError

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")


@pytest.fixture
def write(tmp_path):
    def written(content: bytes) -> Path:
        path = tmp_path / "text.txt"
        path.write_bytes(content)
        return path

    return written


@pytest.fixture(scope="module")
def time_machine(data_dir) -> str:
    return read_text(data_dir / "timemachine.txt")


# Cleaning and tokens: the counts of d2l 8.2.


def test_time_machine_has_d2l_lines(time_machine):
    lines = clean(time_machine, "d2l")
    assert len(lines) == 3221
    assert lines[0] == "the time machine by h g wells"
    assert lines[10] == "twinkled and his usually pale face was flushed and animated the"


@pytest.mark.parametrize(("separator", "characters"), [(" ", 173_428), ("", 170_580)])
def test_time_machine_has_d2l_characters(time_machine, separator, characters):
    tokens = tokenize(clean(time_machine, "d2l"), "char", separator)
    assert len(tokens) == characters
    assert len(set(tokens)) == 27
    assert "  " not in "".join(tokens)


def test_time_machine_has_d2l_words(time_machine):
    assert len(tokenize(clean(time_machine, "d2l"), "word")) == 32_775


def test_the_empty_separator_joins_words_as_the_chinese_edition_does():
    text = "convenient to speak of\nhim)\nwas\n"
    assert "".join(tokenize(clean(text, "d2l"), "char", "")).endswith("ofhimwas")


def test_d2l_cleaning_by_hand():
    lines = clean("  It's 9 o'clock—\n\n\tÉcoute, MARX!\n123", "d2l")
    assert lines == ["it s o clock", "", "coute marx", ""]


def test_no_cleaning_keeps_lines_and_text():
    text = "One,\n\n  two \nthree\n"
    assert clean(text, "none") == ["One,", "", "  two ", "three"]
    assert "".join(tokenize(clean(text, "none"), "char", "\n")) == text


def test_blank_lines_get_no_separator():
    assert "".join(tokenize(["a", "", "", "b"], "char", " ")) == "a b "
    assert tokenize([], "char") == tokenize(["", ""], "char") == []


@pytest.mark.parametrize(("level", "hint"), [("wrod", "did you mean 'word'?"), ("byte", "choose")])
def test_another_level_is_refused(level, hint):
    with pytest.raises(UsageError, match=r"^level: must be 'char' or 'word', found ") as raised:
        tokenize(["a"], level)
    assert hint in str(raised.value)


def test_another_cleaning_is_refused():
    with pytest.raises(UsageError, match=r"^cleaning: must be 'd2l' or 'none', found 'dl2'; did"):
        clean("a", "dl2")


PIECES = st.lists(st.text(alphabet="aB \n\t1é"), max_size=8)


@given(PIECES, st.sampled_from(["d2l", "none"]), st.sampled_from([" ", "", "\n", "|"]))
def test_chunks_give_the_characters_of_the_lines(pieces, cleaning, separator):
    pieces = [*pieces, "\n"]
    whole = tokenize(clean("".join(pieces), cleaning), "char", separator)
    assert "".join(cleaned_chunks(pieces, cleaning, separator)) == "".join(whole)


@given(PIECES, st.sampled_from(["d2l", "none"]))
def test_chunks_give_the_words_of_the_lines(pieces, cleaning):
    words = [word for chunk in word_chunks(pieces, cleaning) for word in chunk]
    assert words == tokenize(clean("".join(pieces), cleaning), "word")


@pytest.mark.parametrize("separator", [" ", "", "\n"])
def test_a_last_line_without_an_end_gets_no_separator(separator):
    assert "".join(cleaned_chunks(["a", "b"], "d2l", separator)) == "ab"
    assert "".join(cleaned_chunks(["a\n", "b."], "d2l", separator)) == f"a{separator}b"


# Reading: one text however it is written.


@pytest.mark.parametrize(
    "content",
    [b"one\ntwo\n", b"one\r\ntwo\r\n", b"one\rtwo\r", b"\xef\xbb\xbfone\ntwo\n", b"one\r\ntwo\r"],
)
def test_line_ends_and_mark_do_not_matter(write, content):
    assert read_text(write(content)) == "one\ntwo\n"


def test_characters_and_line_ends_across_blocks(write, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_BYTES", 3)
    text = "\ufeffab\r\ncd🙂é\r\r\ne\u0301\n"
    expected = "ab\ncd🙂é\n\ne\u0301\n"
    assert read_text(write(text.encode())) == expected
    assert read_text(write(text.encode("utf-16")), "utf-16") == expected


def test_only_the_first_mark_is_dropped(write):
    assert read_text(write("\ufeff\ufeffa\ufeff".encode())) == "\ufeffa\ufeff"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-32", "gb18030"])
def test_other_encodings_are_read_when_named(write, encoding):
    assert read_text(write("aé\n".encode(encoding)), encoding) == "aé\n"


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"to be\r\n")))
    assert read_text("-") == "to be\n"


def test_closed_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(FileError, match=r"^standard input: must be open"):
        read_text("-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipe = tmp_path / "pipe"
    # Where nobody reads, it waits for ever.
    threading.Thread(target=lambda: pipe.write_bytes(b"through a pipe"), daemon=True).start()
    assert read_text(pipe) == "through a pipe"


# Bad texts.


def refused(path, encoding="utf-8", error=DataError) -> str:
    with pytest.raises(error) as raised:
        read_text(path, encoding)
    message = str(raised.value)
    assert len(message) <= 260
    assert "\n" not in message
    assert "; " in message
    return message


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file(write, content):
    assert "must be text, found an empty file" in refused(write(content))


@pytest.mark.parametrize("before", [0, 5, 2**20 - 1, 2**20, 2**20 + 7])
def test_bytes_that_are_not_utf8_are_named_by_offset(write, before):
    message = refused(write(b"a" * before + b"\xe9t\xe9"))
    assert f"must be utf-8 text, found byte 0xe9 at offset {before}; " in message
    assert "--encoding" in message


def test_utf16_without_a_mark_needs_its_byte_order(write):
    message = refused(write("plain text".encode("utf-16-be")), "utf-16")
    assert "must be utf-16 text, found UTF-16 stream does not start with BOM; check" in message


def test_a_character_cut_off_at_the_end(write):
    assert "byte 0xf0 at offset 3;" in refused(write(b"abc\xf0\x9f\x99"))


def png() -> bytes:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    check = zlib.crc32(b"IHDR" + header)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", check)
    )


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (gzip.compress(b"text", mtime=0), "a gzip file"),
        (png(), "a PNG image"),
        (b"\x7fELF\x02\x01\x01" + bytes(9), "an ELF program"),
        (b"PK\x03\x04" + bytes(30), "a zip archive"),
        (b"%PDF-1.7\n%", "a PDF document"),
    ],
)
def test_a_known_binary_format_is_named(write, content, name):
    assert f"found what looks like {name}; " in refused(write(content))
    assert f"found what looks like {name}; " in refused(write(content), "latin-1")


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("utf-32-le", "utf-32-le"),
    ],
)
def test_utf16_is_refused_with_a_hint_that_works(write, written, named):
    path = write("plain text".encode(written))
    message = refused(path)
    assert f"looks like {named.upper()}; read it with --encoding {named}" in message
    assert read_text(path, named) == "plain text"


@pytest.mark.parametrize("before", [1, 2**20 + 3])
def test_a_nul_character_is_refused_by_offset(write, before):
    assert f"found a NUL character at offset {before}; " in refused(write(b"a" * before + b"\0b"))


def test_a_folder(tmp_path):
    assert "must be text, found a folder; name the files inside it" in refused(tmp_path)


def test_a_missing_file(tmp_path):
    message = refused(tmp_path / "none.txt", error=FileError)
    assert "none.txt: must be an existing text file, found it missing; check the path" in message


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "text.txt/inside"])
def test_a_path_that_cannot_be(write, monkeypatch, path):
    monkeypatch.chdir(write(b"a").parent)
    assert "must be a" in refused(path, error=FileError)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may read anything")
def test_a_file_without_permission(write):
    path = write(b"text")
    path.chmod(0)
    assert "must be a readable file, found Permission denied" in refused(path, error=FileError)


def test_a_disk_that_fails_to_open_or_read(write, monkeypatch):
    path = write(b"text")

    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(reading, "open", lambda *_: Broken(), raising=False)
    assert "must be a readable file, found Input/output error" in refused(path, error=FileError)

    def deny(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(reading, "open", deny)
    assert "must be a readable file, found Permission denied" in refused(path, error=FileError)


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(10 * 2**30)
    assert "must be at most 2,147,483,648 bytes of text, found 10,737,418,240" in refused(path)


def test_a_pipe_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "LARGEST_TEXT_BYTES", 3 * reading.BLOCK_BYTES)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a" * 5 * 2**20)))
    assert "standard input: must be at most" in refused("-")


@pytest.mark.parametrize("encoding", ["utf9", "base64", "rot13", "", None, 3])
def test_an_unknown_encoding(write, encoding):
    with pytest.raises(UsageError, match=r"^encoding: must be a text encoding Python knows, found"):
        read_text(write(b"a"), encoding)


LOADING = """
import sys
from kseq.data.corpora import load_corpus

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024

before = peak()
for cleaning in ("none", "d2l"):
    load_corpus(sys.argv[1], cleaning=cleaning)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
def test_one_long_line_takes_memory_in_proportion(tmp_path):
    path = tmp_path / "line.txt"
    path.write_bytes(b"all on one line " * (2 * 2**20))
    command = [sys.executable, "-c", LOADING, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST)
    assert 0.9 < int(done.stdout) / path.stat().st_size < 3
