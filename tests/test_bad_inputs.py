"""Bad inputs through the command line that no other test has: exit code, one line, no file.

The lines of texts stand in test_cli_text.py, of series in test_cli_series.py, of arguments and
run folders in test_cli_arguments.py, of prompts in test_cli_generation.py, of engines in
test_cli_backend.py, of model files in test_saving.py and beside it.
"""

import os
import socket
from pathlib import Path

import pytest
from command_line import FOX, QUICK, kseq, refused, works

pytestmark = pytest.mark.engine("torch")

DAYS = [f"2024-01-{day:02d},{day % 7}" for day in range(1, 32)]


def table(*rows, header="t,y"):
    return "\n".join([header, *rows, ""])


FILES = {
    "a.txt": FOX * 3,
    "days.csv": table(*DAYS),
    "never.csv": table(*DAYS[:5], "9999-12-31,6"),
    "missing.csv": table(*["nan"] * 9, header="y"),
    "latin.csv": table("1,\u00e9").encode("latin-1"),
    "wide.csv": table("1,2").encode("utf-16"),
    "packed.csv": b"\x1f\x8b\x08 and so on",
    "nul.csv": table("1,2", "2,\0"),
    "quote.csv": table('1,"2', "2,3"),
    "one.csv": table("1,2", "2,3"),
    "nul.txt": FOX + "\0",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


# id: exit code, arguments, words of the message
CASES = {
    # Texts
    "a text without a name": (5, ["train", ""], "'': must be a text file, found it missing"),
    "one of two texts missing": (5, ["train", "a.txt", "b.txt"], "b.txt: must be a text file"),
    "standard input twice": (
        3,
        ["train", "-", "-"],
        "standard input: must be text, found an empty",
    ),
    "a device without end": (3, ["train", "/dev/zero"], "found a NUL character at offset 0"),
    "an empty device": (3, ["train", "/dev/null"], "/dev/null: must be text, found an empty file"),
    "NUL in a text": (3, ["train", "nul.txt"], f"found a NUL character at offset {len(FOX)}"),
    "another encoding than a named text has": (
        3,
        ["train", "story", "--encoding", "utf-16"],
        "story.txt: must be utf-16 text, found ",
    ),
    "the same NUL for evaluate": (4, ["evaluate", "a.txt", "nul.txt"], "a.txt: must be a "),
    # Options of a table without a table
    **{
        f"{option} without a table": (
            2,
            ["forecast", option, value],
            f"{option}: must have something to act on, found the noisy sine, which fixes it",
        )
        for option, value in (("--delimiter", ";"), ("--decimal", ","), ("--encoding", "latin-1"))
    },
    "an encoding for a preset": (
        2,
        ["forecast", "--preset", "calendar", "--encoding", "latin-1"],
        "--encoding: must have something to act on, found calendar",
    ),
    "no delimiter": (
        2,
        ["forecast", "one.csv", "--delimiter", ""],
        "delimiter: must be one character, or 'tab', found ''",
    ),
    "a delimiter that is the decimal mark": (
        2,
        ["forecast", "one.csv", "--decimal", ","],
        "delimiter: must be another character than the decimal mark, found ','",
    ),
    "another decimal mark": (2, ["forecast", "one.csv", "--decimal", ":"], "decimal: must be '.'"),
    "an encoding nobody knows": (
        2,
        ["forecast", "one.csv", "--encoding", "utf-9"],
        "encoding: must be a text encoding Python knows, found 'utf-9'; did you mean 'utf-8'?",
    ),
    "a fill nobody knows": (2, ["forecast", "one.csv", "--fill", "zero"], "--fill: must be "),
    # Tables
    "a column without a name": (
        3,
        ["forecast", "days.csv", "--column", ""],
        "days.csv: must have column '' for --column, found 't', 'y'",
    ),
    "a time without a name": (
        3,
        ["forecast", "days.csv", "--time", ""],
        "days.csv: must have column '' for --time, found 't', 'y'",
    ),
    "times that are the values": (
        2,
        ["forecast", "days.csv", "--column", "y", "--time", "y"],
        "time: must be another column than the values', found 'y' for both",
    ),
    "a date that stands for never": (
        3,
        ["forecast", "never.csv", "--time", "t"],
        "never.csv, row 7, column 't': must be an ISO 8601 date without a time zone, as above, "
        "before year 9000, found '9999-12-31'",
    ),
    "nothing to fill from": (
        3,
        ["forecast", "missing.csv", "--fill", "linear"],
        "row 2, column 'y': must have a value to fill from, found only missing cells",
    ),
    "a table in Latin-1": (
        3,
        ["forecast", "latin.csv"],
        "latin.csv: must be utf-8 text, found byte 0xe9 at offset 6; name its encoding",
    ),
    "a table in UTF-16": (3, ["forecast", "wide.csv"], "found what looks like UTF-16"),
    "a packed table": (3, ["forecast", "packed.csv"], "found what looks like a gzip file"),
    "NUL in a table": (3, ["forecast", "nul.csv"], "found a NUL character at offset 10"),
    "a quote that does not end": (
        3,
        ["forecast", "quote.csv"],
        "quote.csv, row 2: must be CSV, found unexpected end of data; check its quotes",
    ),
    "an empty standard input": (
        3,
        ["forecast", "-"],
        "standard input: must be text, found an empt",
    ),
    "too few days": (3, ["forecast", "days.csv"], "must have at least 130 points"),
    "a model that is not there": (
        5,
        ["forecast", "none.keras", "days.csv"],
        "none.keras: the model file must exist",
    ),
    # Places
    "a folder for texts that is none": (
        5,
        ["train", "time_machine", "--data-dir", "a.txt"],
        "a.txt: must be a folder with texts, found none there; check --data-dir",
    ),
    "a folder for texts that is missing": (
        5,
        ["train", "time_machine", "--data-dir", "none"],
        "none: must be a folder with texts",
    ),
    "pictures into a file": (
        5,
        ["figures", "--out", "a.txt"],
        "a.txt: must be a folder that can be written to, found ",
    ),
    "a forecast into a file": (
        5,
        ["forecast", "--run-dir", "a.txt"],
        "a.txt: must be a folder that can be written to, found ",
    ),
    "a name too long for a folder": (5, ["train", "a.txt", "--run-dir", "a" * 300], "too long; "),
    # Words
    "a picture nobody knows": (2, ["figures", "gradientz"], "did you mean 'gradients'?"),
    "a batch of nothing to evaluate": (
        2,
        ["evaluate", "m.keras", "--batch-size", "0"],
        "--batch-size: must be a whole number, at least 1, found 0",
    ),
    "a negative frequency": (
        2,
        ["train", "a.txt", "--min-freq", "-1"],
        "--min-freq: must be a whole number, at least 0, found -1",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_its_exit_code_and_words(case):
    code, words, found = CASES[case]
    assert found in refused(code, *words)


# A bad day for a download


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No text at hand, and a network where every connection is refused."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{deaf.getsockname()[1]}")
        yield


@pytest.mark.parametrize("name", ["time_machine", "tiny_shakespeare"])
def test_offline_a_named_text_comes_with_the_path_to_put_it(offline, name):
    said = kseq("train", name, *QUICK)
    assert said.code == 5
    assert said.err.count("\n") == 1
    assert "must give the right file, found Connection refused; place it by hand at " in said.err
    assert f"{os.sep}cache{os.sep}kseq{os.sep}" in said.err
    assert not any(path.is_file() for path in Path("cache").rglob("*"))


def test_a_cache_that_cannot_be_made_is_named(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("a.txt").absolute()))
    line = refused(5, "train", "time_machine", *QUICK)
    assert "a.txt/kseq: must be a folder for downloads, found " in line
    assert line.endswith("; make it writable, or set XDG_CACHE_HOME or --data-dir")


# Words that are no UTF-8: what a terminal hands over as it is


def test_a_text_whose_name_is_no_utf_8_is_trained_on():
    name = os.fsdecode(b"caf\xe9.txt")
    Path(name).write_text(FOX * 3)
    works("train", name, *QUICK, "--run-dir", os.fsdecode(b"run\xff"))
    works("evaluate", os.fsdecode(b"run\xff/model.keras"), name, "--batch-size", "2")


def test_a_separator_that_is_no_utf_8_is_a_separator_like_any_other():
    Path("lines.txt").write_text("the quick fox\n" * 20)
    words = ["train", "lines.txt", *QUICK, "--separator", os.fsdecode(b"\xff"), "--json"]
    assert works(*words).report["vocab_size"] == len(set("the quick fox")) + 2


def test_a_prompt_that_is_no_utf_8_is_refused():
    line = refused(3, "train", "a.txt", *QUICK, "--prompt", os.fsdecode(b"\xff"))
    assert r"found '\udcff' at position 1; choose another --prompt" in line
