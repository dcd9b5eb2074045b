"""The argument group of bad inputs: sizes, rates, names, run folders and resuming."""

import json
from pathlib import Path

import pytest
from command_line import FOX, QUICK, TINY, error_line, kseq, refused, snapshot, works

from kseq.runs.earlier import set_aside

# No engine has a part in it.
pytestmark = pytest.mark.engine("torch")

SIZES = ["batch-size", "num-steps", "units", "num-layers", "embedding-dim", "epochs", "patience"]
SIZES += ["max-tokens", "max-vocab"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(FOX * 3)
    return tmp_path


# Sizes, rates and names, refused before the text is read: there is none


@pytest.mark.parametrize("option", SIZES)
@pytest.mark.parametrize("word", ["0", "-1", "1.5", "1000000000000", "1e3", "many", "nan", ""])
def test_sizes_are_whole_numbers_from_1(option, word):
    line = refused(2, "train", "none.txt", f"--{option}", word)
    assert f"kseq: error: --{option}: must be a whole number, at " in line


@pytest.mark.parametrize("command", ["train", "demo", "generate"])
@pytest.mark.parametrize("word", ["-1", "2147483648", "1000000000000", "0.5", "x"])
def test_seeds_are_whole_numbers_in_range(command, word):
    model = ["none.keras"] if command == "generate" else []
    assert "--seed: must be a whole number" in refused(2, command, *model, "--seed", word)


@pytest.mark.parametrize("word", ["1.5", "1.0", "-0.1", "nan", "inf", "-1", "1000000000000", "x"])
def test_what_is_held_out_is_a_share_or_a_number_of_tokens(word):
    assert "--valid: must be a " in refused(2, "train", "none.txt", "--valid", word)


@pytest.mark.parametrize("option", ["learning-rate", "global-clipnorm", "clipnorm"])
@pytest.mark.parametrize("word", ["0", "-1", "-0.5", "nan", "inf", "fast"])
def test_rates_and_bounds_are_above_0(option, word):
    line = refused(2, "train", "none.txt", f"--{option}", word)
    assert f"--{option}: must be a finite number above 0" in line


@pytest.mark.parametrize("word", ["1.0", "1", "-0.1", "nan", "x"])
def test_dropout_is_below_1(word):
    assert "--dropout: must be a number at least 0 and below 1" in refused(
        2, "train", "none.txt", "--dropout", word
    )


def test_both_ways_of_clipping_are_refused_before_training():
    line = refused(2, "train", "a.txt", *QUICK, "--clipnorm", "1", "--global-clipnorm", "1")
    assert "clipping: must be by the global norm or by each variable's, found both" in line


def test_tied_weights_need_equal_widths():
    line = refused(2, "train", "a.txt", *QUICK, "--tie-weights", "--embedding-dim", "4")
    assert "embedding_dim must equal units, found 4 and 8" in line


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (["trian"], "'train'"),
        (["Generate"], "'generate'"),
        (["train", "--unit", "3"], "--units"),
        (["train", "--learning_rate=3"], "--learning-rate"),
        (["--verson"], "--version"),
        (["train", "--cell", "ltsm"], "'lstm'"),
        (["train", "--optimizer", "Adma"], "'adam'"),
        (["train", "--schedule", "onecycle"], "'one_cycle'"),
        (["train", "--batches", "sequentiell"], "'sequential'"),
        (["train", "--keep", "lats"], "'last'"),
        (["train", "--level", "chars"], "'char'"),
        (["train", "--cleaning", "d21"], "'d2l'"),
        (["train", "--init", "pytorch"], "'torch'"),
        (["generate", "m.keras", "--unknown", "unc"], "'unk'"),
    ],
)
def test_an_unknown_word_names_the_nearest(words, nearest):
    line = refused(2, *words)
    assert line.endswith(f"did you mean {nearest}?")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], "kseq: must get a command, found none; choose demo, train, evaluate"),
        (["--json", "train"], "found '--json'; write it after kseq train"),
        (["xyzzy"], "command: must be 'demo', 'train'"),
        (["train", "--xyzzy"], "found '--xyzzy'; see kseq train --help"),
        (["generate"], "found the following arguments are required"),
        (["train", "--units"], "found --units expected one argument; see kseq train --help"),
        (["generate", "m.keras", "time", "traveller"], "found 'traveller' too many; quote one"),
        (["inspect", "m.keras", "n.keras"], "found 'n.keras' too many"),
    ],
)
def test_a_command_line_that_does_not_fit_is_explained(words, found):
    assert found in refused(2, *words)


def test_an_endless_argument_leaves_room_for_the_remedy():
    line = refused(2, "train", "--units", "9" * 5000)
    assert line.endswith("; choose 1 or more")
    line = refused(2, "generate", "m.keras", "a", "b" * 5000)
    assert line.endswith("or see kseq generate --help")


def test_a_long_path_leaves_room_for_the_remedy():
    line = refused(5, "generate", "/".join(["folder"] * 100) + "/model.keras")
    assert len(line) == 300
    assert line.endswith("/model.keras: the model file must exist, found none; check the path")


# Numbers that go wrong


def test_a_diverging_learning_rate_ends_with_the_remedy_and_leaves_nothing():
    before = snapshot(Path.cwd())
    options = ["--optimizer", "sgd", "--learning-rate", "1e30"]

    said = kseq("train", "a.txt", *QUICK, *options)

    assert said.code == 6
    assert error_line(said).endswith("; lower the learning rate")
    assert "loss: must stay finite and near or below guessing (3.4 nats)" in said.err
    assert snapshot(Path.cwd()) == before


# Run folders


@pytest.mark.parametrize("place", ["a.txt", "a.txt/run", "/proc/kseq/run", "/dev/null"])
def test_a_run_folder_that_cannot_be_written_to_is_refused_before_training(place):
    line = refused(5, "train", "none.txt", "--run-dir", place)
    assert f"{place}: must be a folder that can be written to, found " in line
    assert line.endswith("; choose another --run-dir")


def test_an_earlier_run_is_not_overwritten_unless_asked():
    works("train", "a.txt", *QUICK)
    line = refused(2, "train", "a.txt", *QUICK)
    assert "runs/a-lstm: must hold no earlier run, found checkpoint-" in line
    before = snapshot(Path("runs"))

    works("train", "a.txt", *QUICK, "--seed", "1", "--overwrite")

    after = snapshot(Path("runs"))
    # The name of a checkpoint says what is in it.
    assert {path.suffix for path in before.keys() - after.keys()} == {".npz"}
    kept = before.keys() & after.keys()
    assert len(before) - len(kept) == len(after) - len(kept) == 1
    assert all(after[name] != before[name] for name in kept if name.suffix)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, ["--prompt", "#"]),
        (3, ["--batch-size", "4000"]),
        (3, ["--num-steps", "4000"]),
        (2, ["--device", "gpu7"]),
        (2, ["--resume"]),
        (6, ["--optimizer", "sgd", "--learning-rate", "1e30"]),
    ],
)
def test_an_overwrite_that_fails_keeps_the_earlier_run(code, words):
    works("train", "a.txt", *QUICK)
    Path("runs/a-lstm/notes.md").write_text("mine")

    refused(code, "train", "a.txt", *QUICK, "--run-dir", "runs/a-lstm", "--overwrite", *words)


def test_an_overwrite_that_was_killed_is_undone_by_the_next_command():
    works("train", "a.txt", *QUICK)
    before, run = snapshot(Path("runs")), Path("runs/a-lstm")
    # Killed when it had just begun.
    set_aside(run)
    (run / "settings.json").write_text("{}")

    assert "must hold no earlier run, found checkpoint-" in refused(2, "train", "a.txt", *QUICK)
    works("train", "a.txt", *QUICK, "--resume")

    assert snapshot(Path("runs")).keys() == before.keys()


def test_what_kseq_did_not_write_survives_an_overwrite():
    works("train", "a.txt", *QUICK)
    Path("runs/a-lstm/notes.md").write_text("mine")
    works("train", "a.txt", *QUICK, "--overwrite")

    assert Path("runs/a-lstm/notes.md").read_text() == "mine"


def test_a_folder_that_is_there_and_empty_will_do():
    Path("mine").mkdir()
    works("train", "a.txt", *QUICK, "--run-dir", "mine")
    assert Path("mine/model.keras").is_file()


# Resuming


def test_a_resumed_run_goes_on_to_what_an_unbroken_one_reaches():
    works("train", "a.txt", *TINY, "--quiet", "--epochs", "3", "--run-dir", "whole")
    works("train", "a.txt", *QUICK, "--run-dir", "broken")
    said = works("train", "a.txt", *TINY, "--epochs", "3", "--run-dir", "broken", "--resume")

    assert [line.split()[1] for line in said.err.splitlines() if "epoch" in line] == ["2/3", "3/3"]
    histories = [json.loads(Path(name, "history.json").read_text()) for name in ("whole", "broken")]
    whole, broken = ([each["loss"] for each in history["epochs"]] for history in histories)
    assert whole == broken


def test_a_finished_run_can_be_resumed_to_see_its_report_again():
    first = works("train", "a.txt", *QUICK, "--json").report
    again = works("train", "a.txt", *QUICK, "--json", "--resume").report

    assert again["held_out"] == first["held_out"]
    assert again["samples"] == first["samples"]


def test_nothing_to_resume_is_noted():
    said = works("train", "a.txt", *TINY, "--epochs", "1", "--resume")
    assert "nothing to resume in runs/a-lstm: a new run begins" in said.err


def test_other_settings_are_each_named():
    works("train", "a.txt", *QUICK, "--run-dir", "run")
    changed = ["--units", "9", "--cell", "gru", "--num-steps", "9", "--learning-rate", "0.5"]

    line = refused(2, "train", "a.txt", *QUICK, "--run-dir", "run", "--resume", *changed)

    assert "run: a resumed run must keep its settings, found cell 'lstm' then and 'gru' now" in line
    for difference in ("units 8 then and 9 now", "num_steps 10 then and 9 now"):
        assert difference in line
    assert "learning_rate 0.002" in line


@pytest.mark.parametrize(
    ("option", "difference"),
    [
        ("--optimizer=sgd", "optimizer 'ClippedAdam' then and 'ClippedSGD' now"),
        ("--schedule=cosine", "learning_rate schedule None then and 'CosineDecay' now"),
        ("--seed=1", "seed 0 then and 1 now"),
        ("--batches=random", "batches 'SequentialBatches' then and 'RandomBatches' now"),
        ("--cleaning=d2l", "corpus cleaning 'none' then and 'd2l' now"),
        ("--valid=0.2", "tokens 159 then and 141 now"),
        ("--patience=3", "patience None then and 3 now"),
        ("--schedule=plateau", "plateau None then and 3 now"),
        ("--keep=last", "keep 'best' then and 'last' now"),
        ("--init=d2l", "init 'keras' then and 'd2l' now"),
    ],
)
def test_one_other_setting_is_named(option, difference):
    works("train", "a.txt", *QUICK)
    assert difference in refused(2, "train", "a.txt", *QUICK, "--resume", option)


def test_another_held_out_part_of_the_same_text_is_named():
    works("train", "a.txt", *QUICK, "--max-tokens", "100", "--valid", "20")
    words = ["--max-tokens", "100", "--valid", "10", "--resume"]
    assert "validation tokens 20 then and 10 now" in refused(2, "train", "a.txt", *QUICK, *words)


def test_resume_and_overwrite_exclude_each_other():
    line = refused(2, "train", "none.txt", "--resume", "--overwrite")
    assert "--resume: must stand without --overwrite, found both" in line


def test_a_model_without_its_checkpoint_cannot_be_resumed():
    works("train", "a.txt", *QUICK)
    next(Path("runs/a-lstm").glob("checkpoint-*.npz")).unlink()

    assert "found best.keras; pass --overwrite" in refused(2, "train", "a.txt", *QUICK, "--resume")
