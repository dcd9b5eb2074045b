"""--cache-dir: the same figures with ids on the disk, and progress on the way there."""

import io
from pathlib import Path

import pytest
from command_line import works

from kseq.cli import indexing
from kseq.cli.indexing import IndexProgress

pytestmark = pytest.mark.engine("torch")

TINY = ("--units", "4", "--num-layers", "1", "--batch-size", "4", "--num-steps", "8", "--quiet")
FIGURES = ("training", "held_out", "vocab_size", "samples", "drawn")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fox.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 12, "utf-8")


@pytest.mark.parametrize("batches", ["sequential", "random"])
@pytest.mark.parametrize("texts", [["fox.txt"], ["fox.txt", "owl.txt", "--mix=1,1.5"]], ids=len)
def test_ids_on_the_disk_train_and_evaluate_the_same_model(batches, texts):
    Path("owl.txt").write_text("An owl is no fox.\n" * 12, "utf-8")
    command = ("train", *texts, *TINY, "--epochs", "2", "--batches", batches, "--json")
    kept = ("--cache-dir", "ids")
    expected = works(*command, "--run-dir", "memory").report
    found = works(*command, "--run-dir", "disk", *kept).report

    assert {name: found[name] for name in FIGURES} == {name: expected[name] for name in FIGURES}
    assert list(Path("ids").glob("char-*.npy"))
    judged = works("evaluate", "disk/model.keras", "--json", *kept).report
    expected = works("evaluate", "memory/model.keras", "--json").report
    assert judged["perplexity"] == expected["perplexity"]
    assert judged["floors"] == expected["floors"]


def test_the_end_is_told_even_where_nobody_knew_how_much_there_is(monkeypatch):
    told = []
    monkeypatch.setattr(IndexProgress, "__call__", lambda _, *figures: told.append(figures))
    text = Path("fox.txt").read_bytes()
    words = ("train", "-", *TINY[:-1], "--epochs", "1", "--run-dir", "disk", "--cache-dir", "ids")
    works(*words, stdin=text)
    assert told == [(len(text), None), (len(text), len(text))]


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(indexing.time, "monotonic", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, monkeypatch, seconds, quiet=False):
    clock = Clock(monkeypatch)
    progress = IndexProgress(quiet, stream)
    for done in range(1, 11):
        clock.now += seconds
        progress(done * 10**8, 10**9)
    return stream.getvalue()


def test_a_terminal_has_one_living_line(monkeypatch):
    said = shown(Terminal(), monkeypatch, seconds=1.0)

    assert said.count("\n") == 1
    assert said.endswith("\n")
    last = said.rstrip().rpartition("\r\x1b[K")[2]
    assert last == "indexing: 900 of 1,000 MB, 100 MB/s, 0:01 left"


def test_the_living_line_is_ended_once(monkeypatch):
    clock, stream = Clock(monkeypatch), Terminal()
    progress = IndexProgress(False, stream)
    for done in (50, 100, 100):
        clock.now += 1
        progress(done, 100)
    assert stream.getvalue().count("\n") == 1


def test_elsewhere_there_is_a_line_in_ten_seconds(monkeypatch):
    lines = shown(io.StringIO(), monkeypatch, seconds=4.0).splitlines()

    assert len(lines) == 3
    assert lines[0] == "indexing: 300 of 1,000 MB, 25 MB/s, 0:28 left"


def test_a_short_text_and_a_quiet_one_are_read_in_silence(monkeypatch):
    assert shown(io.StringIO(), monkeypatch, seconds=0.01) == ""
    assert shown(Terminal(), monkeypatch, seconds=0.01) == ""
    assert shown(Terminal(), monkeypatch, seconds=1.0, quiet=True) == ""
