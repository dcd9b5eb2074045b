"""`kseq corpora`: which texts have a name, and whether they are here."""

import hashlib
import shutil

import pytest
from command_line import refused, works

from kseq.data import downloads
from kseq.data.corpora import load_corpus
from kseq.data.sources import CORPUS_NAMES

pytestmark = pytest.mark.engine("torch")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def refuse(*_):
        raise AssertionError("somebody asked for the network")

    monkeypatch.setattr(downloads, "received", refuse)
    return tmp_path


def listed(*words):
    report = works("corpora", "--json", *words).report
    return {entry.pop("name"): entry for entry in report["corpora"]}


def test_every_name_is_listed_with_what_is_true_of_its_text(data_dir):
    found = listed("--data-dir", data_dir)
    assert tuple(found) == CORPUS_NAMES
    for name, entry in found.items():
        corpus = load_corpus(name, data_dir=data_dir)
        with open(entry["path"], "rb") as file:
            content = file.read()
        assert entry["state"] == "here"
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest() == corpus.sha256
        assert (entry["edition"], entry["cleaning"]) == (corpus.edition, corpus.cleaning)
        assert entry["licence"]
        assert entry["source"]


def test_what_is_not_here_is_not_fetched(here):
    found = listed()
    assert found.pop("story")["state"] == "here"
    assert {entry["state"] for entry in found.values()} == {"missing"}
    assert {entry["path"] for entry in found.values()} == {None}
    assert not (here / "cache").exists()


def test_a_file_that_cannot_be_read_is_not_called_another(here, data_dir, monkeypatch):
    shutil.copy(data_dir / "timemachine.txt", here)

    def refuse(*_):
        raise PermissionError(13, "Permission denied", "timemachine.txt")

    monkeypatch.setattr(downloads.hashlib, "file_digest", refuse)
    assert listed("--data-dir", ".")["time_machine"]["state"] == "unreadable"
    assert (
        "timemachine.txt cannot be read: see its permissions"
        in works("corpora", "--data-dir", ".").out
    )


def test_a_file_of_other_contents_is_told(here, data_dir):
    (here / "timemachine.txt").write_text("another")
    shutil.copy(data_dir / "tinyshakespeare.txt", here)
    found = listed("--data-dir", ".")
    assert [found[name]["state"] for name in CORPUS_NAMES] == ["here", "wrong", "here", "missing"]
    said = works("corpora", "--data-dir", ".").out
    assert "timemachine.txt has other contents: remove it, or load it by its path\n" in said
    assert "not here: downloaded when it is first used\n" in said
    assert "\nwar_of_the_worlds  " in said
    assert "from https://www.gutenberg.org/" in said


def test_a_data_dir_that_is_missing():
    line = refused(5, "corpora", "--data-dir", "none")
    assert "none: must be a folder with texts, found none there; check --data-dir" in line
