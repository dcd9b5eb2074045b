"""`kseq train` with what the literature adds: its options reach the model, or are refused."""

import json
from pathlib import Path

import pytest
from command_line import FOX, TINY, kseq, works

from kseq.saving import load_model

pytestmark = pytest.mark.engine("torch")

EVERYTHING = {
    "dropout": 0.3,
    "dropout_kind": "locked",
    "input_dropout": 0.1,
    "output_dropout": 0.2,
    "embedding_dropout": 0.05,
    "weight_drop": 0.4,
    "activation_l2": 2.0,
    "temporal_l2": 1.0,
}
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in EVERYTHING.items()]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fox.txt").write_text(FOX * 6)


def test_everything_reaches_the_model_and_the_settings_of_the_run():
    more = ["--num-steps-spread=2", "--optimizer=asgd", "--nonmonotone=1", "--learning-rate=4"]
    said = works(
        "train", "fox.txt", *TINY, *OPTIONS, *more, "--epochs=4", "--run-dir=run", "--json"
    )

    model = load_model("run/model.keras")
    config = model.get_config()
    assert {name: config[name] for name in EVERYTHING} == EVERYTHING
    assert model.optimizer.nonmonotone == 1
    settings = json.loads(Path("run/settings.json").read_text())
    expected = {**EVERYTHING, "num_steps_spread": 2, "nonmonotone": 1, "optimizer": "ClippedASGD"}
    assert {name: settings[name] for name in expected} == expected
    assert said.report["epochs"] == 4
    assert {name: said.report[name] for name in EVERYTHING} == EVERYTHING


def test_a_resumed_run_must_keep_them():
    works("train", "fox.txt", *TINY, *OPTIONS, "--epochs=1", "--run-dir=run")
    said = kseq("train", "fox.txt", *TINY, "--epochs=2", "--run-dir=run", "--resume")
    assert said.code == 2
    assert "weight_drop 0.4 then and None now" in said.err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--weight-drop=1", "--weight-drop: must be a number at least 0 and below 1, found 1"),
        ("--temporal-l2=-1", "--temporal-l2: must be a finite number, 0 or more, found -1"),
        ("--dropout-kind=lockd", "did you mean 'locked'"),
        ("--num-steps-spread=6", "must be at most half of num_steps (10), found 6"),
        ("--nonmonotone=0", "--nonmonotone: must be a whole number, at least 1, found 0"),
    ],
)
def test_values_out_of_range_are_refused(option, words):
    said = kseq("train", "fox.txt", *TINY, option)
    assert said.code == 2
    assert words in said.err


def test_lengths_are_drawn_of_sequential_batches_alone():
    said = kseq("train", "fox.txt", *TINY, "--num-steps-spread=2", "--batches=random")
    assert said.code == 2
    assert "--num-steps-spread: batches must be sequential" in said.err
    assert not Path("runs").exists()
