"""What each command does when all is well, in words and as JSON."""

import json
import math
import signal
import warnings
from pathlib import Path

import pytest
from command_line import FOX, QUICK, TINY, refused, works

from kseq import load_model
from kseq.cli import main
from kseq.cli import train as train_room
from kseq.errors import FileError
from kseq.version import __version__

LENGTH = 6 * len(FOX)
CUT = int(0.9 * LENGTH)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A text, and the folder of a run of two epochs on it."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "fox.txt").write_text(FOX * 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said = works("train", "fox.txt", *TINY, "--epochs", "2", "--run-dir", "out", "--json")
    return folder, said


@pytest.fixture(autouse=True)
def folder(run, monkeypatch):
    monkeypatch.chdir(run[0])


def train(*options, folder):
    return works("train", "fox.txt", *TINY, "--json", "--run-dir", folder, *options)


# Train


def test_training_reports_every_figure_as_one_object(run, engine):
    report = run[1].report

    assert run[1].out.count("\n") == 1
    assert (report["corpus"], report["engine"], report["kseq"]) == ("fox.txt", engine, __version__)
    assert (report["epochs"], report["units"], report["vocab_size"]) == (2, 8, 29)
    assert (report["skipped_steps"], report["stopped_early"]) == (0, False)
    assert report["tokens_per_second"] > 0
    for part in ("training", "held_out"):
        figures = report[part]
        assert figures["perplexity"] == pytest.approx(math.exp(figures["loss"]), rel=1e-5)
        assert figures["floors"]["bigram"] < figures["floors"]["unigram"] < 29
    assert report["training"]["tokens"] == CUT
    assert report["held_out"]["bits_per_token"] == pytest.approx(
        report["held_out"]["loss"] / math.log(2)
    )
    assert report["samples"][0].startswith("the quick brown ")
    assert len(report["samples"][0]) == len("the quick brown ") + 50


def test_training_writes_the_files_it_names(run):
    files = run[1].report["files"]
    assert files == {
        "model": "out/model.keras",
        "curve": "out/curve.png",
        "history": "out/history.json",
    }
    assert Path(files["curve"]).read_bytes().startswith(b"\x89PNG")
    history = json.loads(Path(files["history"]).read_text())
    assert [record["epoch"] for record in history["epochs"]] == [1, 2]
    kept = history["epochs"][run[1].report["epoch"] - 1]
    assert kept["perplexity"] == run[1].report["training"]["perplexity"]


def test_progress_is_a_line_an_epoch_on_standard_error(run):
    lines = run[1].err.splitlines()

    held_out = LENGTH - CUT
    assert lines[0] == (f"text: fox.txt, {CUT} tokens by char; {held_out} held out, vocabulary 29")
    assert lines[1].startswith("model: ")
    assert [line.split()[:2] for line in lines[2:]] == [["epoch", "1/2"], ["epoch", "2/2"]]
    for word in ("loss", "perplexity", "held-out", "tokens/s", "left"):
        assert word in lines[2]


def test_training_in_words_is_a_table_with_floors():
    said = works("train", "fox.txt", *QUICK, "--run-dir", "words")

    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0] == ["perplexity", "model", "bigram", "unigram", "uniform"]
    assert [row[0] for row in rows[1:3]] == ["training", "held-out"]
    assert rows[1][4] == "29.00"
    assert ["model", "words/model.keras"] in rows
    assert " the quick brown " in said.out


def test_quiet_training_says_nothing_on_standard_error():
    assert works("train", "fox.txt", *QUICK, "--run-dir", "quiet").err == ""


def test_by_word_with_tied_weights_and_random_batches():
    options = ["--level", "word", "--tie-weights", "--batches", "random", "--epochs", "1"]
    said = train(*options, "--num-steps", "4", "--dropout", "0.2", folder="word")

    report = said.report
    assert report["training"]["tokens"] == int(0.9 * len(FOX.split()) * 6)
    assert report["vocab_size"] == len(set(FOX.split())) + 1
    assert report["samples"][0].startswith("the quick brown ")
    settings = json.loads(Path("word/settings.json").read_text())
    assert (settings["tie_weights"], settings["embedding_dim"]) == (True, 8)


def test_the_first_tokens_under_the_vocabulary_of_the_whole_text():
    Path("ends.txt").write_text(FOX * 4 + "0123456789")
    options = ["--max-tokens", "100", "--valid", "30", "--epochs", "1"]
    report = works("train", "ends.txt", *TINY, *options, "--json").report

    assert report["training"]["tokens"] == 100
    assert report["held_out"]["tokens"] <= 29
    assert report["vocab_size"] == 29 + 10


def test_a_share_held_out_follows_the_first_tokens():
    said = train("--max-tokens", "90", "--epochs", "1", folder="share")
    assert "text: fox.txt, 90 tokens by char; 10 held out" in said.err


@pytest.mark.parametrize("zero", ["0", "0.0"])
def test_nothing_held_out_on_request(zero):
    said = train("--valid", zero, "--epochs", "1", "--overwrite", folder="all")

    assert "held_out" not in said.report
    assert said.report["training"]["tokens"] == LENGTH
    assert "held" not in said.err


def test_the_weights_of_the_last_epoch_can_be_kept():
    options = ["--epochs", "3", "--optimizer", "sgd", "--learning-rate", "20"]
    best = train(*options, folder="best").report
    last = train(*options, "--keep", "last", folder="last").report

    assert last["epoch"] == 3
    assert best["epoch"] == best["best"]["epoch"] == last["best"]["epoch"] < 3
    assert last["held_out"]["perplexity"] > best["held_out"]["perplexity"]


def test_patience_ends_a_training_early():
    options = ["--optimizer", "sgd", "--learning-rate", "20", "--patience", "1"]
    report = train(*options, "--epochs", "50", folder="patient").report

    assert report["stopped_early"]
    assert report["epochs"] == report["best"]["epoch"] + 1 < 50


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "plateau"])
def test_schedules_change_the_learning_rate(schedule):
    options = ["--schedule", schedule, "--epochs", "6", "--optimizer", "sgd"]
    train(*options, "--learning-rate", "20", folder=schedule)
    history = json.loads(Path(schedule, "history.json").read_text())

    assert len({record["learning_rate"] for record in history["epochs"]}) > 1


def test_samples_on_the_way_continue_each_prompt():
    options = ["--prompt", "the ", "--prompt", "dog", "--sample-every", "2", "--epochs", "2"]
    said = train(*options, folder="samples")

    assert [sample[:3] for sample in said.report["samples"]] == ["the", "dog"]
    bars = [line for line in said.err.splitlines() if line.startswith("  | ")]
    assert [line[4:7] for line in bars] == ["the", "dog"]


def test_a_run_folder_is_named_after_text_and_cell():
    said = works("train", "fox.txt", *QUICK, "--cell", "peephole_lstm", "--json")
    assert said.report["files"]["model"] == "runs/fox-peephole_lstm/model.keras"


def test_the_demo_trains_on_the_story_and_replaces_what_it_left(monkeypatch):
    small = [*train_room.DEMO, "--units", "4", "--num-layers", "1", "--num-steps", "100"]
    monkeypatch.setattr(train_room, "DEMO", small)
    first = works("demo", "--epochs", "1", "--json", "--quiet", "--run-dir", "tour")
    again = works("demo", "--epochs", "1", "--run-dir", "tour", "--seed", "5")

    assert first.report["corpus"] == "story"
    assert first.report["files"]["model"] == "tour/model.keras"
    assert "text: story, " in again.err
    assert "tour/curve.png" in again.out


# Evaluate, inspect, devices


def test_evaluate_gives_what_training_reported_of_the_held_out_part(run):
    said = works("evaluate", "out/model.keras", "--batch-size", "4", "--num-steps", "10", "--json")
    report, reported = said.report, run[1].report["held_out"]

    assert report["floors_from"] == "the training text"
    assert report["floors"] == reported["floors"]
    assert report["tokens"] == reported["tokens"]
    assert report["loss"] == pytest.approx(reported["loss"], rel=1e-5)
    assert said.err == ""


def test_evaluate_on_a_named_text_in_words():
    said = works("evaluate", "out/model.keras", "fox.txt")

    lines = said.out.splitlines()
    assert lines[0].startswith("fox.txt: ")
    assert lines[1].startswith("perplexity ")
    assert "(guessing from the text itself: uniform 29.00, unigram " in lines[1]
    assert lines[2].endswith(" bits per token")


def test_a_text_whose_perplexity_is_no_number_is_exit_6(tmp_path):
    model = load_model("out/model.keras")
    model.set_weights([1e30 * weights for weights in model.get_weights()])
    model.save(tmp_path / "huge.keras")
    line = refused(6, "evaluate", tmp_path / "huge.keras", "fox.txt")
    assert "huge.keras: must give a text a finite loss and perplexity, found " in line


def test_evaluate_reads_standard_input():
    said = works("evaluate", "out/model.keras", "-", "--json", stdin=FOX.encode())
    assert said.report["corpus"] == "standard input"
    assert said.report["tokens"] == len(FOX) - 1


def test_inspect_tells_what_training_reported(run):
    facts = works("inspect", "out/model.keras", "--json").report

    assert facts["parameters"] == run[1].report["parameters"]
    assert (facts["settings"]["cell"], facts["settings"]["units"]) == ("lstm", 8)
    assert facts["vocab_size"] == 29
    assert facts["provenance"]["corpus"]["name"] == "fox.txt"
    assert facts["provenance"]["results"]["epoch"] == run[1].report["epoch"]


def test_inspect_in_words():
    said = works("inspect", "out/model.keras")

    names = [line.split()[0] for line in said.out.splitlines()]
    assert names == ["file", "model", "size", "text", "sha256", "trained", "saved"]
    assert f"fox.txt by char, cleaning none, tokens 0 to {CUT} of {LENGTH}" in said.out
    assert "2 epochs, weights of epoch " in said.out


def test_devices_end_with_a_cpu(engine):
    report = works("devices", "--json").report
    assert report["engine"] == engine
    assert report["devices"][-1]["kind"] == "cpu"

    assert works("devices").out.splitlines()[0] == f"engine {engine}"


# The program itself


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["--help"], "usage: kseq "),
        (["--version"], f"kseq {__version__}"),
        (["train", "-h"], "usa"),
    ],
)
def test_help_and_version_go_to_standard_output(words, first):
    said = works(*words)
    assert said.out.startswith(first)
    assert said.err == ""


def test_debug_shows_where_it_failed():
    with pytest.raises(FileError):
        main(["train", "none.txt", "--debug"])


def test_signals_and_warnings_are_left_as_they_were():
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    shown = warnings.showwarning, list(warnings.filters)

    works("devices")

    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert (warnings.showwarning, list(warnings.filters)) == shown
