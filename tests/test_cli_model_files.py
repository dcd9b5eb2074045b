"""Model files of strangers on the command line: what is refused, and what one may ask for."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import good_model_file
import hostile_files
import hostile_ways
import hostile_weights
import pytest
from command_line import kseq, refused, works

from kseq.data import downloads

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

TEXT = "abcdef" * 11 + "fade"
SMALL = ("--batch-size", "2", "--num-steps", "3")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


# What is refused

BAD = {
    "nan.keras": (
        lambda: hostile_weights.arrays()["nan-weight"],
        "must hold finite numbers, found",
    ),
    "newer.keras": (lambda: hostile_files.formats()["newer"], "found 99.0; upgrade"),
    "longer.keras": (
        lambda: hostile_files.sizes()["vocabulary-longer"],
        "vocabulary and layers must agree, found 8 and 7 symbols",
    ),
    "model.pt": (lambda: (good_model_file.good(), ""), "found '.pt'; PyTorch's own files hold no"),
    "model.h5": (lambda: (good_model_file.good(), ""), "found '.h5'; Keras 2 files must be"),
    "model.safetensors": (
        lambda: (good_model_file.good(), ""),
        "found '.safetensors'; these files hold weights only",
    ),
}
COMMANDS = ("inspect", "generate", "evaluate", "forecast")
# A language model is none for `forecast`, whatever else it is.
TOO_LATE = ("nan.keras", "longer.keras")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_exit_4_for_every_command(command, name):
    make, words = BAD[name]
    Path(name).write_bytes(make()[0])
    line = refused(4, command, name)
    late = command == "forecast" and name in TOO_LATE
    assert ("must hold a Forecaster" if late else words) in line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("scheme", ["https", "s3", "gs", "file"])
def test_addresses_are_exit_4_for_every_command(command, scheme):
    line = refused(4, command, f"{scheme}://example.org/m.keras")
    assert "must be a local file, found a URL" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_folders_are_exit_4_for_every_command(command):
    Path("model.keras").mkdir()
    assert "must be a .keras file, found a folder" in refused(4, command, "model.keras")


# What a file may have opened


def model_of(name, text=TEXT):
    """Write a model that says to have been trained on 60 of 70 letters of a text of that name."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    corpus = {**hostile_ways.good_corpus(), "name": name, "sha256": digest}
    content = hostile_ways.with_settings(provenance={"corpus": corpus, "results": {}})
    Path("model.keras").write_bytes(content)
    return ("evaluate", "model.keras", *SMALL)


def test_a_text_in_this_folder_is_found_without_being_named():
    Path("a.txt").write_text(TEXT)
    report = works(*model_of("a.txt"), "--json").report
    assert (report["corpus"], report["tokens"]) == ("a.txt", 9)
    assert report["floors_from"] == "the training text"


@pytest.mark.parametrize("name", ["sub/a.txt", "sub/../a.txt", "./a.txt", "..", ""])
def test_a_file_may_not_have_another_place_opened(name, folder):
    for path in (Path("a.txt"), Path("sub/a.txt")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(TEXT)
    line = refused(5, *model_of(name))
    assert "the text the model was trained on must be in this folder, found " in line
    assert line.endswith("; name a text after the model")
    assert "found a path" in refused(5, *model_of(str(folder / "a.txt")))


def test_a_file_may_not_have_anything_but_files_opened():
    os.mkfifo("pipe")
    Path("-").write_text(TEXT)
    for name in ("pipe", "-", "a" * 999):
        assert "must be in this folder, found it missing" in refused(5, *model_of(name))


def test_a_file_may_not_have_a_text_downloaded(monkeypatch):
    monkeypatch.setattr(downloads, "download", lambda *_: pytest.fail("it was downloaded"))
    for name in ("time_machine", "story+time_machine"):
        line = refused(5, *model_of(name))
        assert "time_machine: the text the model was trained on must be here, found no copy" in line
        assert line.endswith("cache/kseq, or name a text after the model")


def test_a_named_text_that_is_here_is_taken(monkeypatch):
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    text = replace(downloads.NAMED_TEXTS["time_machine"], sha256=digest, size=len(TEXT))
    monkeypatch.setitem(downloads.NAMED_TEXTS, "time_machine", text)
    Path("texts").mkdir()
    Path("texts/timemachine.txt").write_text(TEXT)
    command = model_of("time_machine")
    assert works(*command, "--data-dir", "texts", "--json").report["tokens"] == 9
    monkeypatch.setenv("KSEQ_DATA_DIR", "texts")
    assert works(*command, "--json").report["corpus"] == "time_machine"


# What a file may have printed


def test_a_token_does_not_move_the_cursor():
    tokens = ["<unk>", *"abcd\x1b\x9b"]
    content = hostile_ways.with_settings(vocab={"tokens": tokens})
    Path("model.keras").write_bytes(content)
    drawn = ("--length", "200", "--temperature", "100", "--seed", "0")
    out = works("generate", "model.keras", "a\x9b", *drawn).out
    assert out.startswith(r"a\x9b")
    assert r"\x1b" in out
    assert not {"\x1b", "\x9b"} & set(out)


def test_lines_and_tabs_are_printed_as_they_are():
    tokens = ["<unk>", *"abcd\n\t"]
    Path("model.keras").write_bytes(hostile_ways.with_settings(vocab={"tokens": tokens}))
    assert kseq("generate", "model.keras", "a\n\tb", "--length", "0").out == "a\n\tb\n"
